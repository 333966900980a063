//! Address prefixes of APL records (RFC 3123 §4, §5).

use super::field::{ipv4, ipv6, number};
use super::words::Words;

/// The bit that excludes a prefix, beside the length of its address.
const NEGATION: u8 = 0x80;

/// `1:192.0.2.0/24 !2:2001:db8::/32`, in wire format; there may be none.
pub(super) fn put(words: &mut Words<'_>, wire: &mut Vec<u8>) -> Result<(), String> {
    while let Some(word) = words.next() {
        let text = word.text();
        put_prefix(&text, wire).map_err(|why| format!("`{text}`: {why}"))?;
    }
    Ok(())
}

fn put_prefix(text: &str, wire: &mut Vec<u8>) -> Result<(), String> {
    let (negation, item) = match text.strip_prefix('!') {
        Some(item) => (NEGATION, item),
        None => (0, text),
    };
    let parts = item.split_once(':');
    let parts = parts.and_then(|(family, rest)| Some((family, rest.split_once('/')?)));
    let (family, (address, length)) = parts.ok_or("FAMILY:ADDRESS/LENGTH is expected")?;
    let octets = match family {
        "1" => ipv4(address)?.octets().to_vec(),
        "2" => ipv6(address)?.octets().to_vec(),
        _ => return Err("the family is 1 (IPv4) or 2 (IPv6)".to_owned()),
    };
    let length: u8 = number(length)?;
    if usize::from(length) > octets.len() * 8 {
        return Err(format!("an address has {} bits", octets.len() * 8));
    }
    // RFC 3123 §4: trailing zero octets are left out.
    let used = octets.iter().rposition(|octet| *octet != 0);
    let used = octets.get(..used.map_or(0, |last| last + 1));
    let used = used.unwrap_or_default();
    let size = u8::try_from(used.len()).unwrap_or_default();
    wire.extend([
        0,
        if family == "1" { 1 } else { 2 },
        length,
        negation | size,
    ]);
    wire.extend(used);
    Ok(())
}
