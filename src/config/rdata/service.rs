//! Service parameters of SVCB and HTTPS records (RFC 9460 §2.1, §7).

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;

use super::text::{Words, unescape};
use super::{number, put_text};

/// The keys of RFC 9460 §14.3.2, by number.
const KEYS: [&str; 7] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
];

/// `alpn=h2,http/1.1 port=8443`, in wire format: in the order of the keys, each at most once.
pub(super) fn parameters(words: &mut Words, wire: &mut Vec<u8>) -> Result<(), String> {
    let mut parameters: Vec<(u16, Vec<u8>)> = Vec::new();
    while let Some(word) = words.next() {
        let (key, value) = match word.split_once('=') {
            // `key="value"` was split at its quote.
            Some((key, "")) => (key, words.next().unwrap_or_default()),
            Some((key, value)) => (key, value.to_owned()),
            None => (&*word, String::new()),
        };
        let number = key_number(key)?;
        if parameters.iter().any(|(known, _)| *known == number) {
            return Err(format!("`{key}` appears twice"));
        }
        let value = read(number, &value).map_err(|why| format!("{key}: {why}"))?;
        parameters.push((number, value));
    }
    parameters.sort_by_key(|(number, _)| *number);
    for (number, value) in parameters {
        wire.extend(number.to_be_bytes());
        let length = u16::try_from(value.len()).map_err(|_| "a value is too long".to_owned())?;
        wire.extend(length.to_be_bytes());
        wire.extend(value);
    }
    Ok(())
}

fn key_number(key: &str) -> Result<u16, String> {
    let known = KEYS.iter().position(|known| *known == key);
    let number = known.and_then(|at| u16::try_from(at).ok());
    let generic = || key.strip_prefix("key")?.parse::<u16>().ok();
    let unknown = || {
        format!(
            "`{key}` is not a parameter: expected {} or keyN",
            KEYS.join(", ")
        )
    };
    number.or_else(generic).ok_or_else(unknown)
}

fn read(key: u16, value: &str) -> Result<Vec<u8>, String> {
    let mut wire = Vec::new();
    let items = || value.split(',').filter(|item| !item.is_empty());
    match key {
        0 => {
            let mut keys = items().map(key_number).collect::<Result<Vec<_>, _>>()?;
            keys.sort_unstable();
            wire.extend(keys.into_iter().flat_map(u16::to_be_bytes));
        }
        1 => {
            for item in list(&unescape(value)?) {
                put_text(&item, &mut wire)?;
            }
        }
        2 if value.is_empty() => return Ok(wire),
        2 => return Err("it has no value".to_owned()),
        3 => wire.extend(number::<u16>(value)?.to_be_bytes()),
        4 => {
            for item in items() {
                let address: Ipv4Addr = item
                    .parse()
                    .map_err(|_| format!("`{item}` is not an IPv4 address"))?;
                wire.extend(address.octets());
            }
        }
        5 => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value);
            wire.extend(bytes.map_err(|error| format!("not base64: {error}"))?);
        }
        6 => {
            for item in items() {
                let address: Ipv6Addr = item
                    .parse()
                    .map_err(|_| format!("`{item}` is not an IPv6 address"))?;
                wire.extend(address.octets());
            }
        }
        7.. => return unescape(value),
    }
    if wire.is_empty() {
        return Err("a value is expected".to_owned());
    }
    Ok(wire)
}

/// The items of a comma-separated list, in which `\,` and `\\` stand for themselves (RFC 9460 A.1).
fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b',' => {
                items.push(Vec::new());
                continue;
            }
            b'\\' => bytes.next().unwrap_or(b'\\'),
            byte => byte,
        };
        if let Some(item) = items.last_mut() {
            item.push(byte);
        }
    }
    items.retain(|item| !item.is_empty());
    items
}
