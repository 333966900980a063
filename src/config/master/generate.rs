//! `$GENERATE`, as BIND has it: one line that stands for many, which differ by a number.
//!
//! Writes the lines out; `entry` reads them as it reads others.

use super::Spot;
use crate::config::rdata::{Word, Words, record_type};

/// How many records a zone may have from `$GENERATE`: those of four IPv4 networks of 16 bits.
pub(super) const MOST_GENERATED: usize = 1 << 18;

/// The longest line, as BIND has it: no owner with an address or a name needs more.
const LONGEST_LINE: usize = 2_048;

/// The most digits of a number, nearly twice a label's 63 bytes: nibbles are labels of their own.
const MOST_DIGITS: usize = 127;

/// The greatest number, as BIND counts.
const GREATEST: u32 = 0x7fff_ffff;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The lines of one `$GENERATE`.
pub(super) struct Generate {
    pub(super) at: Spot,
    range: Range,
    words: Vec<Template>,
}

impl Generate {
    /// Reads what follows the directive: a range, an owner, perhaps TTL and class, a type and its data.
    pub(super) fn read(words: &mut Words<'_>) -> Result<Self, String> {
        let at = words.at();
        let range = Range::read(&words.expect("a range such as 1-100")?.text())?;
        let owner = words.expect("an owner such as host-$")?;
        let (mut templates, mut given) = (vec![Template::read(&owner)?], vec![owner]);
        while let Some(word) = words.next() {
            templates.push(Template::read(&word)?);
            given.push(word);
        }
        // BIND reads data as one word, which is quoted if it is of several.
        if let Some(last) = templates.last_mut().filter(|_| is_whole_data(&given)) {
            last.quote = Quote::Whole;
        }
        Ok(Self {
            at,
            range,
            words: templates,
        })
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> usize {
        self.range.count()
    }

    /// The lines, in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = Result<Vec<u8>, String>> {
        self.range.numbers().map(|number| {
            let mut line = Vec::new();
            for word in &self.words {
                word.write(number, &mut line)?;
                line.push(b' ');
            }
            if line.len() > LONGEST_LINE {
                return Err(format!("a line of more than {LONGEST_LINE} bytes"));
            }
            Ok(line)
        })
    }
}

/// Whether the data is one word, and quoted.
fn is_whole_data(words: &[Word<'_>]) -> bool {
    let is_type = |word: &Word<'_>| !word.is_quoted() && record_type(&word.text()).is_some();
    let mut behind_owner = words.iter().skip(1).skip_while(|word| !is_type(word));
    let data = (behind_owner.nth(1), behind_owner.next());
    matches!(data, (Some(only), None) if only.is_quoted())
}

/// Numbers from the first to the last, by steps.
struct Range {
    first: u32,
    last: u32,
    step: u32,
}

impl Range {
    /// `1-100` or `0-254/2`.
    fn read(text: &str) -> Result<Self, String> {
        let (bounds, step) = text.split_once('/').unwrap_or((text, "1"));
        let range = bounds.split_once('-').and_then(|(first, last)| {
            Some(Self {
                first: whole(first)?,
                last: whole(last)?,
                step: whole(step)?,
            })
        });
        range
            .filter(|range| range.first <= range.last && range.step > 0)
            .ok_or_else(|| {
                format!(
                    "`{text}` is not a range: FIRST-LAST or FIRST-LAST/STEP is expected, such as 1-100 or 0-254/2"
                )
            })
    }

    fn count(&self) -> usize {
        let steps = (self.last - self.first) / self.step.max(1);
        usize::try_from(steps).map_or(usize::MAX, |steps| steps.saturating_add(1))
    }

    fn numbers(&self) -> impl Iterator<Item = i64> {
        let step = usize::try_from(self.step).unwrap_or(usize::MAX);
        (i64::from(self.first)..=i64::from(self.last)).step_by(step.max(1))
    }
}

fn whole(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok())??;
    (number <= GREATEST).then_some(number)
}

/// How a word of a line is quoted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    /// As it was.
    Around,
    /// Its quotes are around words, and not of one of them.
    Whole,
}

/// A word in which numbers have places.
struct Template {
    quote: Quote,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(Vec<u8>),
    Number(Format),
}

impl Template {
    fn read(word: &Word<'_>) -> Result<Self, String> {
        let (mut pieces, mut text) = (Vec::new(), Vec::new());
        let mut rest = word.bytes();
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            match (byte, rest.first()) {
                (b'\\', Some(escaped)) => {
                    text.extend([b'\\', *escaped]);
                    rest = rest.get(1..).unwrap_or_default();
                }
                // As a `$` that is escaped, because no directive is made.
                (b'$', Some(b'$')) => {
                    text.extend(b"\\$");
                    rest = rest.get(1..).unwrap_or_default();
                }
                (b'$', _) => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::Number(Format::take(&mut rest)?));
                }
                (byte, _) => text.push(*byte),
            }
        }
        pieces.push(Piece::Text(text));
        let quote = if word.is_quoted() {
            Quote::Around
        } else {
            Quote::None
        };
        Ok(Self { quote, pieces })
    }

    fn write(&self, number: i64, line: &mut Vec<u8>) -> Result<(), String> {
        let quote = matches!(self.quote, Quote::Around).then_some(b'"');
        line.extend(quote);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) if self.quote == Quote::Whole => put_whole(text, line),
                Piece::Text(text) => line.extend(text),
                Piece::Number(format) => format.write(number, line)?,
            }
        }
        line.extend(quote);
        Ok(())
    }
}

/// Escaped quotes are quotes once those around are gone.
fn put_whole(text: &[u8], line: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, rest.split_first()) {
            (b'\\', Some((b'"', behind))) => {
                line.push(b'"');
                rest = behind;
            }
            (b'\\', Some((escaped, behind))) => {
                line.extend([b'\\', *escaped]);
                rest = behind;
            }
            (byte, _) => line.push(*byte),
        }
    }
}

/// How a number is written.
struct Format {
    /// Added to it.
    offset: i64,
    /// Filled up with zeros.
    width: usize,
    base: Base,
}

#[derive(Clone, Copy)]
enum Base {
    Decimal,
    Octal,
    Hex,
    UpperHex,
    /// Hexadecimal digits from the last to the first with dots between, as in names of reverse zones.
    Nibbles,
    UpperNibbles,
}

impl Format {
    /// Takes `{OFFSET,WIDTH,BASE}` from behind a `$`, if it is there.
    fn take(rest: &mut &[u8]) -> Result<Self, String> {
        let Some(behind) = rest.strip_prefix(b"{") else {
            return Ok(Self {
                offset: 0,
                width: 0,
                base: Base::Decimal,
            });
        };
        let end = behind.iter().position(|byte| *byte == b'}');
        let (inner, after) = end
            .and_then(|end| behind.split_at_checked(end))
            .ok_or("a `${` is not closed by a `}`")?;
        *rest = after.get(1..).unwrap_or_default();
        let inner = String::from_utf8_lossy(inner);
        Self::read(&inner).ok_or_else(|| {
            format!(
                "`${{{inner}}}`: ${{OFFSET}}, ${{OFFSET,WIDTH}} or ${{OFFSET,WIDTH,BASE}} is expected, with a width of at most {MOST_DIGITS} and d, o, x, X, n or N as the base"
            )
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let offset = parts.next()?;
        let size = i64::from(whole(offset.strip_prefix('-').unwrap_or(offset))?);
        let width = usize::try_from(whole(parts.next().unwrap_or("0"))?).ok()?;
        let base = match parts.next().unwrap_or("d") {
            "d" => Base::Decimal,
            "o" => Base::Octal,
            "x" => Base::Hex,
            "X" => Base::UpperHex,
            "n" => Base::Nibbles,
            "N" => Base::UpperNibbles,
            _ => return None,
        };
        let is_whole = parts.next().is_none() && width <= MOST_DIGITS;
        is_whole.then_some(Self {
            offset: if offset.starts_with('-') { -size } else { size },
            width,
            base,
        })
    }

    fn write(&self, number: i64, line: &mut Vec<u8>) -> Result<(), String> {
        let sum = number + self.offset;
        let shifted = i32::try_from(sum).map_err(|_| {
            format!(
                "{number} and the offset {} are {sum}: {} to {} is expected",
                self.offset,
                i32::MIN,
                i32::MAX
            )
        })?;
        let width = self.width;
        // Below zero the bits of the complement, as BIND has it; the formats of the language do the same.
        match self.base {
            Base::Decimal => line.extend(format!("{shifted:0width$}").bytes()),
            Base::Octal => line.extend(format!("{shifted:0width$o}").bytes()),
            Base::Hex => line.extend(format!("{shifted:0width$x}").bytes()),
            Base::UpperHex => line.extend(format!("{shifted:0width$X}").bytes()),
            Base::Nibbles => line.extend(nibbles(shifted.cast_unsigned(), width)),
            Base::UpperNibbles => {
                line.extend(nibbles(shifted.cast_unsigned(), width).to_ascii_uppercase());
            }
        }
        Ok(())
    }
}

/// The width counts dots too. One that ends at a dot keeps it, as BIND has it.
fn nibbles(number: u32, width: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = number;
    loop {
        let digit = usize::try_from(rest & 0xf).unwrap_or(0);
        text.extend(HEX.get(digit));
        rest >>= 4;
        if rest == 0 && text.len() >= width {
            return text;
        }
        text.push(b'.');
        if rest == 0 && text.len() >= width {
            return text;
        }
    }
}
