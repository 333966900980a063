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
        let (number, form) = key_number(&key)?;
        if parameters.iter().any(|(known, _)| *known == number) {
            return Err(format!("`{key}` appears twice"));
        }
        let value = match form {
            Form::Own => read(number, value),
            Form::Bytes => unescape(value).and_then(|wire| checked(number, wire)),
        };
        let value = value.map_err(|why| format!("{key}: {why}"))?;
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

/// How a value is written.
enum Form {
    /// As its key says.
    Own,
    /// As the bytes that are sent (RFC 9460 §2.1), behind a key that is a number.
    Bytes,
}

fn key_number(key: &str) -> Result<(u16, Form), String> {
    let known = KEYS.iter().position(|known| *known == key);
    let named = known.and_then(|at| Some((u16::try_from(at).ok()?, Form::Own)));
    let numbered = || {
        let digits = key.strip_prefix("key")?;
        let number: u16 = digits.parse().ok()?;
        // RFC 9460 §2.1: without leading zeros; §14.3.2: 65535 is no key.
        let is_one = number.to_string() == digits && number != u16::MAX;
        is_one.then_some((number, Form::Bytes))
    };
    let unknown = || {
        format!(
            "`{key}` is not a parameter: expected {} or keyN, with a number up to 65534",
            KEYS.join(", ")
        )
    };
    named.or_else(numbered).ok_or_else(unknown)
}

/// Bytes in which a value was given, if they can be that of the key (RFC 9460 §7, §8).
fn checked(key: u16, wire: Vec<u8>) -> Result<Vec<u8>, String> {
    let length = wire.len();
    let is_of = |size: usize| length > 0 && length.is_multiple_of(size);
    let is_possible = match key {
        0 | 9 => is_of(2),
        1 => is_alpn(&wire),
        2 | 8 => wire.is_empty(),
        3 => length == 2,
        4 => is_of(4),
        5 => length > 0,
        6 => is_of(16),
        7 => doh_path(wire.clone()).is_ok(),
        10.. => true,
    };
    let name = KEYS.get(usize::from(key)).unwrap_or(&"it");
    let why = || format!("these {length} bytes are no value of {name}");
    is_possible.then_some(wire).ok_or_else(why)
}

/// Whether bytes are texts behind their lengths, none of them empty.
fn is_alpn(mut wire: &[u8]) -> bool {
    let is_empty = wire.is_empty();
    while let Some((length, rest)) = wire.split_first() {
        match rest.split_at_checked(usize::from(*length)) {
            Some((text, rest)) if !text.is_empty() => wire = rest,
            Some(_) | None => return false,
        }
    }
    !is_empty
}

fn read(key: u16, value: &[u8]) -> Result<Vec<u8>, String> {
    let mut wire = Vec::new();
    let text = String::from_utf8_lossy(value);
    // RFC 9460 A.1: a list has at least one item, and no item is empty.
    let items = || text.split(',');
    if text.is_empty() && !matches!(key, 2 | 7 | 8 | 10..) {
        return Err("a value is expected".to_owned());
    }
    match key {
        0 => {
            let keys = items().map(|key| key_number(key).map(|(number, _)| number));
            let mut keys = keys.collect::<Result<Vec<_>, _>>()?;
            keys.sort_unstable();
            wire.extend(keys.into_iter().flat_map(u16::to_be_bytes));
        }
        1 => {
            for item in list(&unescape(value)?) {
                if item.is_empty() {
                    return Err("an item of the list is empty".to_owned());
                }
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
        7 => return doh_path(unescape(value)?),
        10.. => return unescape(value),
    }
    Ok(wire)
}

/// A relative URI template that has the variable `dns` (RFC 9461 §5, RFC 6570 §2).
fn doh_path(wire: Vec<u8>) -> Result<Vec<u8>, String> {
    let path = std::str::from_utf8(&wire).unwrap_or_default();
    let expressions = path.split('{').skip(1);
    let expressions = expressions.filter_map(|rest| Some(rest.split_once('}')?.0));
    let mut variables = expressions.flat_map(|expression| {
        let names = expression.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        let names = names.split(',');
        names.map(|name| name.split([':', '*']).next().unwrap_or_default())
    });
    let is_one = path.starts_with('/') && variables.any(|name| name == "dns");
    let why = "a path with the variable `dns` is expected, such as /dns-query{?dns}";
    is_one.then_some(wire).ok_or_else(|| why.to_owned())
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
    items
}
