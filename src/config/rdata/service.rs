//! Service parameters of SVCB and HTTPS records (RFC 9460 §2.1, §7).

use base64::Engine;

use super::field::{ipv4, ipv6, number, put_text};
use super::text::unescape;
use super::words::{Word, Words};

/// The keys of RFC 9460 §14.3.2, RFC 9461, RFC 9540 and their registry, by number.
const KEYS: [&str; 10] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
    "ohttp",
    "tls-supported-groups",
];

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;

/// `alpn=h2,http/1.1 port=8443`, in wire format: in the order of the keys, each at most once.
pub(super) fn parameters(words: &mut Words<'_>, wire: &mut Vec<u8>) -> Result<(), String> {
    let mut parameters: Vec<(u16, Vec<u8>)> = Vec::new();
    while let Some(word) = words.next() {
        let (key, value) = key_and_value(&word, words);
        let key = String::from_utf8_lossy(key);
        let number = key_number(&key)?;
        if parameters.iter().any(|(known, _)| *known == number) {
            return Err(format!("`{key}` appears twice"));
        }
        let value = read(number, value).map_err(|why| format!("{key}: {why}"))?;
        parameters.push((number, value));
    }
    parameters.sort_by_key(|(number, _)| *number);
    check_mandatory(&parameters)?;
    // RFC 9460 §7.1.1.
    let has = |key: u16| parameters.iter().any(|(known, _)| *known == key);
    if has(NO_DEFAULT_ALPN) && !has(ALPN) {
        return Err("no-default-alpn: it needs alpn beside it".to_owned());
    }
    for (number, value) in parameters {
        wire.extend(number.to_be_bytes());
        let length = u16::try_from(value.len()).map_err(|_| "a value is too long".to_owned())?;
        wire.extend(length.to_be_bytes());
        wire.extend(value);
    }
    Ok(())
}

/// RFC 9460 §8: what is mandatory is there, is there once, and is not `mandatory` itself.
fn check_mandatory(parameters: &[(u16, Vec<u8>)]) -> Result<(), String> {
    let Some((MANDATORY, keys)) = parameters.first() else {
        return Ok(());
    };
    let keys = keys.as_chunks().0.iter();
    let keys: Vec<u16> = keys.map(|bytes| u16::from_be_bytes(*bytes)).collect();
    let is_there = |key: &u16| parameters.iter().any(|(known, _)| known == key);
    if keys.contains(&MANDATORY) {
        Err("mandatory: it does not name itself".to_owned())
    } else if keys.windows(2).any(|pair| pair.first() == pair.last()) {
        Err("mandatory: it names a parameter twice".to_owned())
    } else if let Some(key) = keys.iter().find(|key| !is_there(key)) {
        let name = KEYS.get(usize::from(*key)).copied();
        let name = name.map_or_else(|| format!("key{key}"), str::to_owned);
        Err(format!("mandatory: `{name}` is not among the parameters"))
    } else {
        Ok(())
    }
}

/// The two sides of `=`; a quoted value is a word of its own.
fn key_and_value<'t>(word: &Word<'t>, words: &mut Words<'t>) -> (&'t [u8], &'t [u8]) {
    let mut sides = word.bytes().splitn(2, |byte| *byte == b'=');
    let (key, value) = (sides.next().unwrap_or_default(), sides.next());
    let is_quoted = value == Some(b"") && words.peek().is_some_and(Word::is_quoted);
    let quoted = is_quoted.then(|| words.next()).flatten();
    let quoted = quoted.map(|word| word.bytes());
    (key, quoted.or(value).unwrap_or_default())
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

fn read(key: u16, value: &[u8]) -> Result<Vec<u8>, String> {
    let mut wire = Vec::new();
    let text = String::from_utf8_lossy(value);
    let items = || text.split(',').filter(|item| !item.is_empty());
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
        2 | 8 if value.is_empty() => return Ok(wire),
        2 | 8 => return Err("it has no value".to_owned()),
        3 => wire.extend(number::<u16>(&text)?.to_be_bytes()),
        4 => {
            for item in items() {
                wire.extend(ipv4(item)?.octets());
            }
        }
        5 => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(&*text);
            wire.extend(bytes.map_err(|error| format!("not base64: {error}"))?);
        }
        6 => {
            for item in items() {
                wire.extend(ipv6(item)?.octets());
            }
        }
        9 => {
            for item in items() {
                wire.extend(number::<u16>(item)?.to_be_bytes());
            }
        }
        7 | 10.. => return unescape(value),
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
