//! Words of a master file: quoted or not, with escapes (RFC 1035 §5.1).

use std::collections::VecDeque;

use hickory_proto::rr::Name;

/// The words of one RDATA, escapes still in them.
#[derive(Debug)]
pub(super) struct Words(VecDeque<String>);

impl Words {
    /// Splits at white space outside quotes. Parentheses group lines, and are dropped; `;` begins a comment.
    pub(super) fn split(text: &str) -> Result<Self, String> {
        let mut words = VecDeque::new();
        let mut word: Option<String> = None;
        let mut quoted = false;
        let mut depth = 0_usize;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    let escaped = chars.next().ok_or("it ends with a `\\`")?;
                    word.get_or_insert_default().extend(['\\', escaped]);
                }
                '"' if quoted => {
                    words.extend(word.take());
                    quoted = false;
                }
                '"' => {
                    words.extend(word.replace(String::new()));
                    quoted = true;
                }
                _ if quoted => word.get_or_insert_default().push(c),
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1).ok_or("a `)` without a `(`")?,
                ';' => {
                    // Up to the end of the line.
                    chars.by_ref().find(|c| *c == '\n');
                    words.extend(word.take());
                }
                _ if c.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_default().push(c),
            }
        }
        if quoted {
            return Err("a quote is not closed".to_owned());
        }
        if depth > 0 {
            return Err("a `(` is not closed".to_owned());
        }
        words.extend(word);
        Ok(Self(words))
    }

    pub(super) fn peek(&self) -> Option<&str> {
        self.0.front().map(String::as_str)
    }

    /// The next word as it was written, escapes in it.
    pub(super) fn next(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// The next word, which must be there.
    pub(super) fn expect(&mut self, what: &str) -> Result<String, String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// The next word, unescaped.
    pub(super) fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, String> {
        self.next().map(|word| unescape(&word)).transpose()
    }

    /// The next word, unescaped, which must be there.
    pub(super) fn expect_bytes(&mut self, what: &str) -> Result<Vec<u8>, String> {
        unescape(&self.expect(what)?)
    }

    /// All that is left, joined.
    pub(super) fn rest(&mut self, what: &str) -> Result<String, String> {
        if self.0.is_empty() {
            return Err(format!("{what} is missing"));
        }
        Ok(self.0.drain(..).collect())
    }
}

/// A byte of a word, and whether it was escaped.
fn bytes(word: &str) -> Result<Vec<(u8, bool)>, String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push((byte, false));
            continue;
        }
        let first = rest.next().ok_or("it ends with a `\\`")?;
        if !first.is_ascii_digit() {
            bytes.push((first, true));
            continue;
        }
        let mut value = u16::from(first - b'0');
        for _ in 0..2 {
            let digit = rest.next_if(u8::is_ascii_digit);
            let digit =
                digit.ok_or_else(|| format!("`{word}`: `\\` is followed by three digits"))?;
            value = value * 10 + u16::from(digit - b'0');
        }
        let byte = u8::try_from(value).map_err(|_| format!("`\\{value}` is over 255"))?;
        bytes.push((byte, true));
    }
    Ok(bytes)
}

/// The bytes that a word stands for.
pub(super) fn unescape(word: &str) -> Result<Vec<u8>, String> {
    Ok(bytes(word)?.into_iter().map(|(byte, _)| byte).collect())
}

/// A name as master files write it: `@`, relative to `origin`, or absolute with a final dot.
pub(in crate::config) fn name(text: &str, origin: &Name) -> Result<Name, String> {
    let refuse = |why: &str| format!("`{text}` is not a name: {why}");
    match text {
        "@" => return Ok(origin.clone()),
        "." => return Ok(Name::root()),
        _ => {}
    }
    let bytes = bytes(text).map_err(|why| refuse(&why))?;
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    for (byte, escaped) in bytes {
        match labels.last_mut() {
            Some(label) if escaped || byte != b'.' => label.push(byte),
            Some(_) | None => labels.push(Vec::new()),
        }
    }
    let absolute = labels.last().is_some_and(Vec::is_empty);
    if absolute {
        labels.pop();
    }
    if labels.is_empty() || labels.iter().any(Vec::is_empty) {
        return Err(refuse("a label is empty"));
    }
    if labels.iter().any(|label| label.len() > 63) {
        return Err(refuse("a label has more than 63 characters"));
    }
    let name = Name::from_labels(labels.iter().map(Vec::as_slice));
    let name = name.and_then(|mut name| {
        // From labels comes an absolute name; below an origin it is not.
        name.set_fqdn(absolute);
        if absolute {
            Ok(name)
        } else {
            name.append_domain(origin)
        }
    });
    name.map_err(|_| refuse("it has more than 255 bytes"))
}
