//! Words of a master file and where they stand: quotes, parentheses, comments (RFC 1035 §5.1).
//!
//! The one place that splits, for whole files and for the RDATA of a YAML file alike. Words are
//! slices of what was read, bytes of any kind; escapes stay in them until it is known what a word
//! stands for, which is `text`'s to say.

use std::borrow::Cow;

/// An RDATA has at most 65,535 bytes, and no word stands for less than one of them.
const MOST_WORDS: usize = 70_000;

/// Where a word begins; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Spot {
    pub(in crate::config) line: u32,
    pub(in crate::config) column: u32,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Wrong {
    pub(in crate::config) at: Spot,
    pub(in crate::config) message: String,
}

impl Wrong {
    pub(in crate::config) fn new(at: Spot, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, message }
    }
}

/// What the end of a line means outside parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Newline {
    /// The end of an entry, as in a file.
    Ends,
    /// No more than a space, as in the RDATA of a YAML file.
    Separates,
}

/// A word, its quotes taken away and its escapes kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Word<'t> {
    bytes: &'t [u8],
    is_quoted: bool,
    at: Spot,
}

impl<'t> Word<'t> {
    /// As it was written.
    pub(in crate::config) fn bytes(&self) -> &'t [u8] {
        self.bytes
    }

    /// As it was written, to be read and shown.
    pub(in crate::config) fn text(&self) -> Cow<'t, str> {
        String::from_utf8_lossy(self.bytes)
    }

    pub(in crate::config) fn at(&self) -> Spot {
        self.at
    }

    pub(in crate::config) fn is_quoted(&self) -> bool {
        self.is_quoted
    }

    /// Whether it is this letter, in either case.
    pub(super) fn is_letter(&self, letter: &str) -> bool {
        self.bytes.eq_ignore_ascii_case(letter.as_bytes())
    }

    /// Whether it is this, without quotes.
    pub(in crate::config) fn is(&self, plain: &str) -> bool {
        !self.is_quoted && self.bytes == plain.as_bytes()
    }
}

/// The words of an entry, taken one after the other.
#[derive(Debug)]
pub(in crate::config) struct Words<'t> {
    rest: std::vec::IntoIter<Word<'t>>,
    at: Spot,
}

impl<'t> Words<'t> {
    /// The words of one RDATA.
    pub(in crate::config) fn split(text: &'t [u8]) -> Result<Self, Wrong> {
        let mut entries = Entries::new(text, Newline::Separates);
        match entries.next() {
            Some(entry) => Ok(entry?.words),
            None => Ok(Self::of(Vec::new(), Spot { line: 1, column: 1 })),
        }
    }

    fn of(words: Vec<Word<'t>>, start: Spot) -> Self {
        Self {
            at: words.first().map_or(start, Word::at),
            rest: words.into_iter(),
        }
    }

    /// Where the word stands that was taken last; at first, where the next one does.
    pub(in crate::config) fn at(&self) -> Spot {
        self.at
    }

    pub(in crate::config) fn peek(&self) -> Option<&Word<'t>> {
        self.rest.as_slice().first()
    }

    pub(in crate::config) fn next(&mut self) -> Option<Word<'t>> {
        let word = self.rest.next()?;
        self.at = word.at;
        Some(word)
    }

    /// The next word, which must be there.
    pub(in crate::config) fn expect(&mut self, what: &str) -> Result<Word<'t>, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// All that is left, joined.
    pub(in crate::config) fn rest(&mut self, what: &str) -> Result<String, String> {
        let first = self.expect(what)?;
        let mut joined = first.text().into_owned();
        for word in self.rest.by_ref() {
            joined.push_str(&word.text());
        }
        Ok(joined)
    }
}

/// A line, or the lines that parentheses make one.
#[derive(Debug)]
pub(in crate::config) struct Entry<'t> {
    /// RFC 1035 §5.1: its owner is that of the entry before.
    pub(in crate::config) begins_blank: bool,
    pub(in crate::config) words: Words<'t>,
}

/// The entries of a text; empty ones are passed over. After an error the next line goes on.
#[derive(Debug)]
pub(in crate::config) struct Entries<'t> {
    text: &'t [u8],
    next: usize,
    spot: Spot,
    newline: Newline,
}

/// An entry while it is gathered.
struct Gathering<'t> {
    words: Vec<Word<'t>>,
    depth: usize,
    /// The first parenthesis that is not closed.
    open: Spot,
    wrong: Option<Wrong>,
}

impl<'t> Gathering<'t> {
    fn push(&mut self, word: Word<'t>) {
        if self.words.len() < MOST_WORDS {
            self.words.push(word);
        } else {
            self.complain(word.at, format!("more than {MOST_WORDS} words"));
        }
    }

    /// What is wrong first, is told.
    fn complain(&mut self, at: Spot, message: impl Into<String>) {
        self.wrong.get_or_insert_with(|| Wrong::new(at, message));
    }
}

impl<'t> Entries<'t> {
    pub(in crate::config) fn new(text: &'t [u8], newline: Newline) -> Self {
        // Some editors put a byte order mark before UTF-8.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let spot = Spot { line: 1, column: 1 };
        Self {
            text,
            next: 0,
            spot,
            newline,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.next).copied()
    }

    fn bump(&mut self) {
        match self.peek() {
            Some(b'\n') => {
                self.spot.line = self.spot.line.saturating_add(1);
                self.spot.column = 1;
            }
            // A further byte of a character in UTF-8.
            Some(0x80..=0xbf) | None => {}
            Some(_) => self.spot.column = self.spot.column.saturating_add(1),
        }
        self.next += 1;
    }

    fn bump_while(&mut self, goes_on: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&goes_on) {
            self.bump();
        }
    }

    fn since(&self, start: usize) -> &'t [u8] {
        self.text.get(start..self.next).unwrap_or_default()
    }

    /// A word up to what ends it; a byte behind a `\` ends nothing.
    fn take_word(&mut self, is_quoted: bool, ends: impl Fn(u8) -> bool) -> Word<'t> {
        let (start, at) = (self.next, self.spot);
        while let Some(byte) = self.peek().filter(|byte| !ends(*byte)) {
            self.bump();
            if byte == b'\\' && self.peek().is_some_and(|byte| byte != b'\n') {
                self.bump();
            }
        }
        Word {
            bytes: self.since(start),
            is_quoted,
            at,
        }
    }

    fn quoted(&mut self, gathering: &mut Gathering<'t>) {
        let at = self.spot;
        let ends_line = self.newline == Newline::Ends;
        self.bump();
        let word = self.take_word(true, |byte| byte == b'"' || (ends_line && byte == b'\n'));
        if self.peek() == Some(b'"') {
            self.bump();
            gathering.push(Word { at, ..word });
        } else {
            gathering.complain(at, "a quote is not closed");
        }
    }

    fn close(&mut self, gathering: &mut Gathering<'t>) {
        match gathering.depth.checked_sub(1) {
            Some(depth) => gathering.depth = depth,
            None => gathering.complain(self.spot, "a `)` without a `(`"),
        }
        self.bump();
    }

    fn open(&mut self, gathering: &mut Gathering<'t>) {
        if gathering.depth == 0 {
            gathering.open = self.spot;
        }
        gathering.depth += 1;
        self.bump();
    }

    /// One entry, perhaps without a word; `None` at the end.
    fn entry(&mut self) -> Option<Result<Entry<'t>, Wrong>> {
        let begins_blank = matches!(self.peek()?, b' ' | b'\t');
        let start = self.spot;
        let mut gathering = Gathering {
            words: Vec::new(),
            depth: 0,
            open: start,
            wrong: None,
        };
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => {
                    self.bump();
                    if gathering.depth == 0 && self.newline == Newline::Ends {
                        break;
                    }
                }
                b';' => self.bump_while(|byte| byte != b'\n'),
                b'(' => self.open(&mut gathering),
                b')' => self.close(&mut gathering),
                b'"' => self.quoted(&mut gathering),
                _ if is_blank(byte) => self.bump(),
                _ => {
                    let word = self.take_word(false, ends_word);
                    gathering.push(word);
                }
            }
        }
        if gathering.depth > 0 {
            gathering.complain(gathering.open, "a `(` is not closed");
        }
        Some(match gathering.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(Entry {
                begins_blank,
                words: Words::of(gathering.words, start),
            }),
        })
    }
}

impl<'t> Iterator for Entries<'t> {
    type Item = Result<Entry<'t>, Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.entry()?;
            let is_empty = entry.as_ref().is_ok_and(|e| e.words.peek().is_none());
            if !is_empty {
                return Some(entry);
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn ends_word(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b'\n' | b';' | b'(' | b')' | b'"')
}
