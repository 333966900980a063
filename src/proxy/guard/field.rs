//! What requests and answers have in common: lines, fields, framing, chunks. RFC 9112 §5, §6, §7.1.

use bytes::Bytes;
use http::header::{self, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{PARSED_FIELDS, Refusal};

/// Room for the fields of most heads, and for what the edge adds to them.
const FIELDS: usize = 24;

static TOKEN: HeaderName = HeaderName::from_static("meridian-token");
static APPLIED: HeaderName = HeaderName::from_static("meridian-applied");

/// A line without its CRLF.
pub(super) fn line(text: &[u8]) -> Result<&[u8], Refusal> {
    text.strip_suffix(b"\r\n")
        .ok_or(Refusal::Malformed("a line does not end in CRLF"))
}

/// What may stand in a field's value (RFC 9110 §5.5): visible characters, space, tab, and obs-text.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether all of this may stand in a field's value. Without a way out early, so that many bytes are looked
/// at together.
pub(super) fn are_text(text: &[u8]) -> bool {
    text.iter().fold(true, |all, byte| all & is_text(*byte))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_character(byte: u8) -> bool {
    matches!(
        byte,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.'
            | b'^'..=b'`' | b'|' | b'~'
    )
}

/// Whether this is a token.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_character)
}

/// The first line of a whole head, and the lines of its fields.
pub(super) fn split_head(
    head: &[u8],
) -> Result<(&[u8], impl Iterator<Item = &[u8]> + use<'_>), Refusal> {
    let head = head.strip_suffix(b"\r\n").unwrap_or(head);
    let (mut feeds, mut begin) = (memchr::memchr_iter(b'\n', head), 0);
    let mut lines = std::iter::from_fn(move || {
        let end = feeds.next().map_or(head.len(), |feed| feed + 1);
        let line = head.get(begin..end)?;
        begin = end;
        (!line.is_empty()).then_some(line)
    });
    let first = line(lines.next().unwrap_or_default())?;
    Ok((first, lines))
}

/// Reads a head's fields, but for Transfer-Encoding, which ends here, and what they say of the framing. Values are parts
/// of its text and not copied.
pub(super) fn read_head_fields<'a>(
    text: &Bytes,
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<(HeaderMap, Framing), Refusal> {
    let (mut headers, mut framing) = (HeaderMap::with_capacity(FIELDS), Framing::default());
    for (number, field) in lines.enumerate() {
        if number == PARSED_FIELDS {
            return Err(Refusal::TooManyFields);
        }
        let (name, value) = split_field(line(field)?)?;
        let name = field_name(name)?;
        framing.add(&name, value)?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(value)).map_err(|_| NO_TEXT)?;
        if name != TRANSFER_ENCODING {
            headers.append(name, value);
        }
    }
    Ok((headers, framing.check()?))
}

/// A name. Some come often, in these spellings, and need not be looked up or made anew each time.
fn field_name(text: &[u8]) -> Result<HeaderName, Refusal> {
    Ok(match text {
        b"Date" | b"date" => header::DATE,
        b"Server" | b"server" => header::SERVER,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Content-Length" | b"content-length" => CONTENT_LENGTH,
        b"Connection" | b"connection" => CONNECTION,
        b"Host" | b"host" => header::HOST,
        b"Accept" | b"accept" => header::ACCEPT,
        b"User-Agent" | b"user-agent" => header::USER_AGENT,
        b"Last-Modified" | b"last-modified" => header::LAST_MODIFIED,
        b"ETag" | b"etag" => header::ETAG,
        b"meridian-token" | b"Meridian-Token" => TOKEN.clone(),
        b"meridian-applied" | b"Meridian-Applied" => APPLIED.clone(),
        _ => return HeaderName::from_bytes(text).map_err(|_| NO_TOKEN),
    })
}

/// Whether another message may follow one of this version with these fields on its connection (RFC 9112 §9.3).
pub(in crate::proxy) fn keeps_connection(version: http::Version, headers: &HeaderMap) -> bool {
    let says = |option: &[u8]| {
        let values = headers.get_all(CONNECTION).into_iter();
        let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        options.any(|named| named.trim_ascii().eq_ignore_ascii_case(option))
    };
    !says(b"close") && (version == http::Version::HTTP_11 || says(b"keep-alive"))
}

/// A field's name and value, neither of which is judged yet; blanks around the value are no part of it.
pub(super) fn split_field(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if text
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
    {
        return Err(Refusal::Malformed(
            "a field goes on in the next line (obs-fold)",
        ));
    }
    // Names are short: looking at each byte takes less than a search that is made for many.
    let colon = text.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(Refusal::Malformed("a field has no colon"))?;
    let (name, value) = text.split_at(colon);
    Ok((name, trim_blanks(value.get(1..).unwrap_or_default())))
}

/// RFC 9110 §5.6.3: spaces and tabs, and nothing else that ASCII calls white.
fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A field's name and value.
fn read_field(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let (name, value) = split_field(text)?;
    if !is_token(name) {
        return Err(NO_TOKEN);
    }
    if !are_text(value) {
        return Err(NO_TEXT);
    }
    Ok((name, value))
}

pub(super) const NO_TOKEN: Refusal = Refusal::Malformed("the name of a field is no token");
pub(super) const NO_TEXT: Refusal = Refusal::Malformed("a field's value has control characters");

/// RFC 9110 §6.5.1: what frames or routes a message comes too late behind it.
pub(super) fn read_trailer(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let (name, value) = read_field(line(text)?)?;
    let is_late = [&b"content-length"[..], b"transfer-encoding", b"host"]
        .iter()
        .any(|late| name.eq_ignore_ascii_case(late));
    if is_late {
        return Err(Refusal::Malformed("a trailer frames or routes its message"));
    }
    Ok((name, value))
}

/// What a head says of its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
}

impl Framing {
    /// Takes a field, if it is one of framing.
    fn add(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Refusal> {
        if *name == CONTENT_LENGTH {
            // RFC 9110 §8.6: a list of equal lengths may be taken; none that is honest sends one.
            let length = length(value).ok_or(Refusal::Malformed(
                "Content-Length is no number up to 2^63 - 1",
            ))?;
            if self.length.replace(length).is_some() {
                return Err(Refusal::Malformed("Content-Length is there twice"));
            }
        } else if *name == TRANSFER_ENCODING {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed(
                    "Transfer-Encoding is not `chunked`, once",
                ));
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    /// RFC 9112 §6.3, without its tolerance.
    pub(super) fn check(self) -> Result<Self, Refusal> {
        if self.is_chunked && self.length.is_some() {
            return Err(Refusal::Malformed(
                "Content-Length and Transfer-Encoding are both there",
            ));
        }
        Ok(self)
    }

    /// RFC 9112 §6.1: HTTP/1.0 knows no transfer codings.
    pub(super) fn check_version(self, version: Version) -> Result<(), Refusal> {
        if self.is_chunked && version == Version::Http10 {
            return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        Ok(())
    }
}

/// The version that a message says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => Self::HTTP_10,
            Version::Http11 => Self::HTTP_11,
        }
    }
}

impl Version {
    /// RFC 9112 §2.3: case-sensitive.
    pub(super) fn read(text: &[u8]) -> Result<Self, Refusal> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            _ => Err(Refusal::Malformed(
                "the version is not HTTP/1.1 or HTTP/1.0",
            )),
        }
    }
}

/// Of a body, bytes: many parsers count in signed numbers of 64 bits.
pub(in crate::proxy) const LONGEST_BODY: u64 = u64::MAX >> 1;

/// Of a chunk, bytes: nginx takes no larger ones.
const LONGEST_CHUNK: u64 = u64::MAX >> 6;

/// Digits and nothing else; no sign, no list.
fn length(value: &[u8]) -> Option<u64> {
    let is_number = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok()?;
    let length = is_number.then(|| text.parse().ok())??;
    (length <= LONGEST_BODY).then_some(length)
}

/// RFC 9112 §7.1: hexadecimal digits, and extensions that have no say.
pub(super) fn chunk_size(text: &[u8]) -> Result<u64, Refusal> {
    let refuse = || Refusal::Malformed("the size of a chunk is no hexadecimal number");
    let text = line(text)?;
    let digits = text
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(text.len());
    let (digits, extensions) = text.split_at(digits);
    if !(1..=16).contains(&digits.len()) || !matches!(extensions.first(), None | Some(b';')) {
        return Err(refuse());
    }
    if !are_extensions(extensions) {
        return Err(Refusal::Malformed("a chunk's extension is none"));
    }
    let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| refuse())?;
    if size > LONGEST_CHUNK {
        return Err(Refusal::Malformed("a chunk is over 2^58 - 1 bytes"));
    }
    Ok(size)
}

/// RFC 9112 §7.1.1: `;name`, `;name=token` or `;name="text"`, any number of them.
fn are_extensions(mut text: &[u8]) -> bool {
    while let Some(rest) = text.strip_prefix(b";") {
        let (name, rest) = take_token(skip_blanks(rest));
        if name.is_empty() {
            return false;
        }
        text = skip_blanks(rest);
        if let Some(rest) = text.strip_prefix(b"=") {
            let Some(rest) = skip_value(skip_blanks(rest)) else {
                return false;
            };
            text = skip_blanks(rest);
        }
    }
    text.is_empty()
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    text.get(blanks..).unwrap_or_default()
}

fn take_token(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text
        .iter()
        .take_while(|byte| is_token_character(**byte))
        .count();
    text.split_at(length)
}

/// What follows a token or a quoted string (RFC 9110 §5.6.4).
fn skip_value(text: &[u8]) -> Option<&[u8]> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let (token, rest) = take_token(text);
        return (!token.is_empty()).then_some(rest);
    };
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(*escaped) => rest,
            [byte, rest @ ..] if *byte != b'\\' && is_text(*byte) => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_often_are_read_as_any_other() {
        let often = "Date Server Content-Type Content-Length Connection Host Accept User-Agent Last-Modified \
                     ETag Meridian-Token Meridian-Applied";
        for name in often.split_whitespace() {
            for spelled in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                let expected = HeaderName::from_bytes(spelled.as_bytes()).unwrap();
                assert_eq!(field_name(spelled.as_bytes()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn an_extension_is_a_name_and_perhaps_a_value() {
        for line in [
            "3",
            "3;x",
            "3;x=y",
            "3;x=\"y;\\\"z\"",
            "3; a ; b = c",
            "00000000000000aF;x",
        ] {
            assert!(
                chunk_size(format!("{line}\r\n").as_bytes()).is_ok(),
                "{line}"
            );
        }
        for line in [
            "3;",
            "3;;x",
            "3;=y",
            "3;x=",
            "3;x=\"y",
            "3;x=y z",
            "3;x=\"\\",
            "3;\u{1}",
            "3 ;x",
            "3x",
            "",
            ";x",
            "00000000000000003",
        ] {
            assert!(
                chunk_size(format!("{line}\r\n").as_bytes()).is_err(),
                "{line}"
            );
        }
    }
}
