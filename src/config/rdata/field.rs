//! The parts of RDATA, and how the text of each becomes wire format.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use base64::Engine;
use hickory_proto::rr::Name;

use super::text::{name, unescape};
use super::words::Words;
use super::{location, prefix_list, service, types};
use crate::units::Ttl;

/// A part of RDATA.
#[derive(Clone, Copy)]
pub(super) enum Field {
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
    /// Bytes as pairs of hexadecimal digits with hyphens between them (RFC 7043 §3.2).
    Hyphenated,
    /// Base64 up to the end, spaces between them allowed.
    Base64,
    /// The same, or nothing.
    OptionalBase64,
    /// Parameters up to the end.
    ServiceParameters,
    /// A number or a mnemonic of DNSSEC's algorithms (RFC 4034 §2.2).
    Algorithm,
    /// A number or a mnemonic (RFC 4398 §2.1).
    CertificateType,
    /// Types up to the end (RFC 4034 §4.1.2).
    TypeBitmap,
    /// 64 bits as four groups of hexadecimal digits (RFC 6742 §2.1.2).
    Groups,
    /// Type of the gateway, algorithm, gateway (RFC 4025 §3.1).
    Gateway,
    /// A place on earth (RFC 1876 §3).
    Location,
    /// Prefixes of addresses up to the end (RFC 3123 §5).
    Prefixes,
}

/// The algorithms of the IANA registry that have ever signed a zone.
const ALGORITHMS: &[(&str, u8)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// RFC 4398 §2.1.
const CERTIFICATE_TYPES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

impl Field {
    /// Takes its words and appends what they stand for.
    pub(super) fn read(
        self,
        words: &mut Words<'_>,
        origin: &Name,
        wire: &mut Vec<u8>,
    ) -> Result<(), String> {
        match self {
            Self::U8 => wire.push(number(&words.expect("a number")?.text())?),
            Self::U16 => put_u16(number(&words.expect("a number")?.text())?, wire),
            Self::U32 => {
                let number: u32 = number(&words.expect("a number")?.text())?;
                wire.extend(number.to_be_bytes());
            }
            Self::Time => {
                let time = seconds(&words.expect("a time in seconds")?.text())?;
                wire.extend(time.to_be_bytes());
            }
            Self::Name => {
                let word = words.expect("a name")?;
                put_name(&name(word.bytes(), origin)?, wire);
            }
            Self::Ipv4 => wire.extend(ipv4(&words.expect("an IPv4 address")?.text())?.octets()),
            Self::Ipv6 => wire.extend(ipv6(&words.expect("an IPv6 address")?.text())?.octets()),
            Self::Text => put_text(&unescape(words.expect("a text")?.bytes())?, wire)?,
            Self::Texts => put_texts(words, wire)?,
            Self::Value => wire.extend(unescape(words.expect("a value")?.bytes())?),
            Self::Tag => put_tag(&words.expect("a tag such as issue")?.text(), wire)?,
            Self::Hex => wire.extend(hex(&words.rest("hexadecimal digits")?)?),
            Self::Hyphenated => {
                let word = words.expect("pairs of hexadecimal digits")?;
                wire.extend(hyphenated(&word.text())?);
            }
            Self::Base64 => wire.extend(base64(&words.rest("base64")?)?),
            Self::OptionalBase64 if words.peek().is_none() => {}
            Self::OptionalBase64 => wire.extend(base64(&words.rest("base64")?)?),
            Self::ServiceParameters => service::parameters(words, wire)?,
            Self::Algorithm => {
                let word = words.expect("an algorithm")?.text();
                wire.push(number_or_mnemonic(&word, ALGORITHMS)?);
            }
            Self::CertificateType => {
                let word = words.expect("a type of certificate")?.text();
                put_u16(number_or_mnemonic(&word, CERTIFICATE_TYPES)?, wire);
            }
            Self::TypeBitmap => put_types(words, wire)?,
            Self::Groups => put_groups(&words.expect("64 bits")?.text(), wire)?,
            Self::Gateway => put_gateway(words, origin, wire)?,
            Self::Location => location::put(words, wire)?,
            Self::Prefixes => prefix_list::put(words, wire)?,
        }
        Ok(())
    }
}

/// RFC 1035 §3.3.13: times of the SOA are 32 bits, of which a TTL has one less.
fn seconds(word: &str) -> Result<u32, String> {
    match word.parse::<u32>() {
        Ok(seconds) if word.bytes().all(|byte| byte.is_ascii_digit()) => Ok(seconds),
        Ok(_) | Err(_) => Ok(parsed::<Ttl>(word)?.secs()),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error: T::Err| error.to_string())
}

/// A whole number without a sign.
pub(super) fn number<T: FromStr>(word: &str) -> Result<T, String> {
    let bits = size_of::<T>() * 8;
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("`{word}` is not a number of {bits} bits"))
}

fn number_or_mnemonic<T: FromStr + Copy>(word: &str, known: &[(&str, T)]) -> Result<T, String> {
    let meant = known
        .iter()
        .find(|(mnemonic, _)| mnemonic.eq_ignore_ascii_case(word));
    meant.map_or_else(|| number(word), |(_, number)| Ok(*number))
}

pub(super) fn ipv4(word: &str) -> Result<Ipv4Addr, String> {
    let address = word.parse();
    address.map_err(|_| format!("`{word}` is not an IPv4 address"))
}

pub(super) fn ipv6(word: &str) -> Result<Ipv6Addr, String> {
    let address = word.parse();
    address.map_err(|_| format!("`{word}` is not an IPv6 address"))
}

fn put_u16(number: u16, wire: &mut Vec<u8>) {
    wire.extend(number.to_be_bytes());
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
pub(super) fn put_text(text: &[u8], wire: &mut Vec<u8>) -> Result<(), String> {
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

fn put_texts(words: &mut Words<'_>, wire: &mut Vec<u8>) -> Result<(), String> {
    put_text(&unescape(words.expect("a text")?.bytes())?, wire)?;
    while let Some(word) = words.next() {
        put_text(&unescape(word.bytes())?, wire)?;
    }
    Ok(())
}

fn put_tag(tag: &str, wire: &mut Vec<u8>) -> Result<(), String> {
    if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!(
            "`{tag}` is not a tag: letters and digits are expected"
        ));
    }
    put_text(tag.as_bytes(), wire)
}

/// RFC 4034 §4.1.2: for each 256 types that have any, their number, a length, and a bit a type.
fn put_types(words: &mut Words<'_>, wire: &mut Vec<u8>) -> Result<(), String> {
    let mut numbers = Vec::new();
    while let Some(word) = words.next() {
        let number = types::number(&word.text());
        numbers.push(number.ok_or_else(|| format!("`{}` is not a record type", word.text()))?);
    }
    numbers.sort_unstable();
    for window in numbers.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0_u8; 32];
        for [_, low] in window.iter().map(|number| number.to_be_bytes()) {
            if let Some(byte) = bits.get_mut(usize::from(low >> 3)) {
                *byte |= 0x80 >> (low & 7);
            }
        }
        let used = bits.iter().rposition(|byte| *byte != 0).unwrap_or_default() + 1;
        let [high, _] = window.first().copied().unwrap_or_default().to_be_bytes();
        wire.push(high);
        put_text(bits.get(..used).unwrap_or_default(), wire)?;
    }
    Ok(())
}

fn put_groups(word: &str, wire: &mut Vec<u8>) -> Result<(), String> {
    let group = |group: &str| {
        let is_hex = (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
        u16::from_str_radix(group, 16).ok().filter(|_| is_hex)
    };
    let groups: Option<Vec<u16>> = word.split(':').map(group).collect();
    let groups = groups.filter(|groups| groups.len() == 4).ok_or_else(|| {
        format!("`{word}` is not four groups of hexadecimal digits, such as 2001:db8:0:1")
    })?;
    wire.extend(groups.into_iter().flat_map(u16::to_be_bytes));
    Ok(())
}

fn put_gateway(words: &mut Words<'_>, origin: &Name, wire: &mut Vec<u8>) -> Result<(), String> {
    let kind: u8 = number(&words.expect("a type of gateway")?.text())?;
    let algorithm: u8 = number(&words.expect("an algorithm")?.text())?;
    wire.extend([kind, algorithm]);
    let gateway = words.expect("a gateway")?;
    match kind {
        0 if gateway.is(".") => {}
        0 => return Err("a gateway of type 0 is written as `.`".to_owned()),
        1 => wire.extend(ipv4(&gateway.text())?.octets()),
        2 => wire.extend(ipv6(&gateway.text())?.octets()),
        3 => put_name(&name(gateway.bytes(), origin)?, wire),
        _ => return Err(format!("`{kind}` is not a type of gateway: 0 to 3 are")),
    }
    Ok(())
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.map_err(|error| format!("`{text}` is not base64: {error}"))
}

fn hyphenated(word: &str) -> Result<Vec<u8>, String> {
    let pair = |pair: &str| hex(pair).ok().filter(|_| pair.len() == 2);
    let pairs: Option<Vec<Vec<u8>>> = word.split('-').map(pair).collect();
    let bytes = pairs.map(|pairs| pairs.concat());
    bytes.ok_or_else(|| format!("`{word}` is not pairs of hexadecimal digits, such as 00-1b"))
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = digits
        .chars()
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
