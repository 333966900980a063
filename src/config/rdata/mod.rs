//! RDATA from text, as master files write it (RFC 1035 §5.1; `\# LENGTH HEX` of RFC 3597 §5).
//!
//! A type is a list of fields, and every field knows how its text becomes wire format. `text` splits
//! and unescapes, `service` reads the parameters of SVCB and HTTPS (RFC 9460 §2.1).

mod service;
mod text;

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

use text::Words;
pub(super) use text::name;

use crate::units::Ttl;

/// A part of RDATA.
#[derive(Clone, Copy)]
enum Field {
    U8,
    U16,
    U32,
    /// Seconds, or a duration such as 2h.
    Time,
    Name,
    Ipv4,
    Ipv6,
    /// One character-string.
    Text,
    /// Character-strings up to the end, at least one.
    Texts,
    /// Text up to the end of RDATA, without a length (CAA, RFC 8659 §4.1.1).
    Value,
    /// Letters and digits with a length before them.
    Tag,
    /// Hexadecimal digits up to the end, spaces between them allowed.
    Hex,
    /// Base64 up to the end, spaces between them allowed.
    Base64,
    /// Parameters up to the end.
    ServiceParameters,
}

/// The types that have a form of their own: mnemonic, number, fields in order.
static TYPES: &[(&str, u16, &[Field])] = {
    use Field::*;
    &[
        ("A", 1, &[Ipv4]),
        ("NS", 2, &[Name]),
        ("CNAME", 5, &[Name]),
        ("SOA", 6, &[Name, Name, U32, Time, Time, Time, Time]),
        ("PTR", 12, &[Name]),
        ("HINFO", 13, &[Text, Text]),
        ("MX", 15, &[U16, Name]),
        ("TXT", 16, &[Texts]),
        ("RP", 17, &[Name, Name]),
        ("AFSDB", 18, &[U16, Name]),
        ("AAAA", 28, &[Ipv6]),
        ("SRV", 33, &[U16, U16, U16, Name]),
        ("NAPTR", 35, &[U16, U16, Text, Text, Text, Name]),
        ("KX", 36, &[U16, Name]),
        ("CERT", 37, &[U16, U16, U8, Base64]),
        ("DNAME", 39, &[Name]),
        ("DS", 43, &[U16, U8, U8, Hex]),
        ("SSHFP", 44, &[U8, U8, Hex]),
        ("DHCID", 49, &[Base64]),
        ("TLSA", 52, &[U8, U8, U8, Hex]),
        ("SMIMEA", 53, &[U8, U8, U8, Hex]),
        ("OPENPGPKEY", 61, &[Base64]),
        ("SVCB", 64, &[U16, Name, ServiceParameters]),
        ("HTTPS", 65, &[U16, Name, ServiceParameters]),
        ("SPF", 99, &[Texts]),
        ("EUI48", 108, &[Hex]),
        ("EUI64", 109, &[Hex]),
        ("URI", 256, &[U16, U16, Value]),
        ("CAA", 257, &[U8, Tag, Value]),
    ]
};

/// Types that are nobody's data: reserved, OPT, signatures and denials, which a signer makes, and
/// QTYPEs and meta-types (RFC 6895 §3.1).
static NO_DATA: &[std::ops::RangeInclusive<u16>] =
    &[0..=0, 41..=41, 46..=47, 50..=51, 128..=255, 65_535..=65_535];

/// The mnemonics of the types that can be written.
pub(super) fn mnemonics() -> impl Iterator<Item = &'static str> + Clone {
    TYPES.iter().map(|(mnemonic, ..)| *mnemonic)
}

/// The type of a mnemonic, or of `TYPE65534` (RFC 3597 §5).
pub(super) fn record_type(mnemonic: &str) -> Option<RecordType> {
    let upper = mnemonic.to_ascii_uppercase();
    let known = TYPES.iter().find(|(known, ..)| *known == upper);
    let number = match known {
        Some((_, number, _)) => *number,
        None => upper.strip_prefix("TYPE")?.parse().ok()?,
    };
    let is_data = !NO_DATA.iter().any(|range| range.contains(&number));
    is_data.then(|| RecordType::from(number))
}

/// Reads RDATA; names that are not absolute are below `origin`. An error says what would be right.
pub(super) fn read(record_type: RecordType, text: &str, origin: &Name) -> Result<RData, String> {
    let number = u16::from(record_type);
    let known = TYPES.iter().find(|(_, known, _)| *known == number);
    let mut words = Words::split(text)?;
    let wire = if words.peek() == Some("\\#") {
        generic(&mut words)?
    } else {
        let (.., fields) = known.ok_or("the form `\\# LENGTH HEX` is expected (RFC 3597 §5)")?;
        let mut wire = Vec::new();
        for field in *fields {
            field.read(&mut words, origin, &mut wire)?;
        }
        wire
    };
    if let Some(rest) = words.next() {
        return Err(format!("`{rest}` is too much"));
    }
    check_lengths(number, &wire)?;
    let length = u16::try_from(wire.len()).map_err(|_| "it is over 65,535 bytes".to_owned())?;
    let mut decoder = BinDecoder::new(&wire);
    RData::read(&mut decoder, record_type, Restrict::new(length)).map_err(|error| error.to_string())
}

/// Digests and identifiers have the length that their type says.
fn check_lengths(record_type: u16, wire: &[u8]) -> Result<(), String> {
    let digest = |head: usize, kind: Option<u8>, lengths: &[(u8, usize)]| {
        let expected = lengths.iter().find(|(known, _)| Some(*known) == kind);
        expected.map(|(_, length)| head + length)
    };
    let expected = match record_type {
        // RFC 4255 §3.1.2, RFC 6594 §5.
        44 => digest(2, wire.get(1).copied(), &[(1, 20), (2, 32)]),
        // RFC 4034 §5.1.4, RFC 4509, RFC 6605 §2.
        43 => digest(4, wire.get(3).copied(), &[(1, 20), (2, 32), (4, 48)]),
        // RFC 6698 §2.1.3.
        52 | 53 => digest(3, wire.get(2).copied(), &[(1, 32), (2, 64)]),
        // RFC 7043 §3, §4.
        108 => Some(6),
        109 => Some(8),
        _ => None,
    };
    match expected {
        Some(expected) if wire.len() != expected => Err(format!(
            "{} bytes where {expected} are expected",
            wire.len()
        )),
        Some(_) | None => Ok(()),
    }
}

/// `\# 4 C0000201`.
fn generic(words: &mut Words) -> Result<Vec<u8>, String> {
    words.next();
    let length: usize = number(&words.expect("a length in bytes")?)?;
    let mut wire = Vec::new();
    if length > 0 {
        Field::Hex.read(words, &Name::root(), &mut wire)?;
    }
    if wire.len() == length {
        Ok(wire)
    } else {
        Err(format!(
            "{length} bytes are announced, {} follow",
            wire.len()
        ))
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    let bits = size_of::<T>() * 8;
    word.parse()
        .map_err(|_| format!("`{word}` is not a number of {bits} bits"))
}

impl Field {
    fn read(self, words: &mut Words, origin: &Name, wire: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::U8 => wire.push(number(&words.expect("a number")?)?),
            Self::U16 => {
                wire.extend(number::<u16>(&words.expect("a number")?)?.to_be_bytes());
            }
            Self::U32 => {
                wire.extend(number::<u32>(&words.expect("a number")?)?.to_be_bytes());
            }
            Self::Time => {
                let word = words.expect("a time in seconds")?;
                let time: Ttl = word.parse().map_err(|error| format!("{error}"))?;
                wire.extend(time.secs().to_be_bytes());
            }
            Self::Name => {
                let word = words.expect("a name")?;
                put_name(&name(&word, origin)?, wire);
            }
            Self::Ipv4 => {
                let word = words.expect("an IPv4 address")?;
                let address = word.parse::<Ipv4Addr>();
                let address = address.map_err(|_| format!("`{word}` is not an IPv4 address"))?;
                wire.extend(address.octets());
            }
            Self::Ipv6 => {
                let word = words.expect("an IPv6 address")?;
                let address = word.parse::<Ipv6Addr>();
                let address = address.map_err(|_| format!("`{word}` is not an IPv6 address"))?;
                wire.extend(address.octets());
            }
            Self::Text => put_text(&words.expect_bytes("a text")?, wire)?,
            Self::Texts => {
                put_text(&words.expect_bytes("a text")?, wire)?;
                while let Some(text) = words.next_bytes()? {
                    put_text(&text, wire)?;
                }
            }
            Self::Value => wire.extend(words.expect_bytes("a value")?),
            Self::Tag => {
                let tag = words.expect("a tag such as issue")?;
                if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(format!(
                        "`{tag}` is not a tag: letters and digits are expected"
                    ));
                }
                put_text(tag.as_bytes(), wire)?;
            }
            Self::Hex => wire.extend(hex(&words.rest("hexadecimal digits")?)?),
            Self::Base64 => {
                let text = words.rest("base64")?;
                let bytes = base64::engine::general_purpose::STANDARD.decode(&text);
                wire.extend(bytes.map_err(|error| format!("`{text}` is not base64: {error}"))?);
            }
            Self::ServiceParameters => service::parameters(words, wire)?,
        }
        Ok(())
    }
}

/// A name in wire format, without compression.
fn put_name(name: &Name, wire: &mut Vec<u8>) {
    for label in name.iter() {
        // A label has at most 63 bytes.
        wire.push(u8::try_from(label.len()).unwrap_or_default());
        wire.extend(label);
    }
    wire.push(0);
}

/// A character-string (RFC 1035 §3.3).
fn put_text(text: &[u8], wire: &mut Vec<u8>) -> Result<(), String> {
    let length = u8::try_from(text.len());
    wire.push(length.map_err(|_| {
        format!(
            "a text of {} bytes: at most 255 are allowed, so split it into several",
            text.len()
        )
    })?);
    wire.extend(text);
    Ok(())
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = digits
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("`{digits}` is not hexadecimal"))?;
    if digits.len() % 2 == 1 {
        return Err("there is half a byte: hexadecimal digits come in pairs".to_owned());
    }
    Ok(digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect())
}

#[cfg(test)]
mod tests;
