//! RDATA from text, as master files write it (RFC 1035 §5.1; `\# LENGTH HEX` of RFC 3597 §5).
//!
//! A type is a list of fields, and every field knows how its text becomes wire format. `words` splits,
//! `text` unescapes, `types` lists the types and `field` reads their parts; `service` knows the
//! parameters of SVCB and HTTPS (RFC 9460 §2.1), `location` LOC.

mod field;
mod location;
mod prefix_list;
mod service;
mod text;
mod types;
mod words;

use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{
    BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict,
};

use field::{Field, number};
pub(super) use text::{name, unescape};
pub(super) use types::{is_made_by_signers, mnemonics, record_type, written};
pub(super) use words::{Entries, Entry, Newline, Spot, Word, Words, Wrong};

/// Reads RDATA; names that are not absolute are below `origin`. An error says what would be right.
pub(super) fn read(record_type: RecordType, text: &str, origin: &Name) -> Result<RData, String> {
    let mut words = Words::split(text.as_bytes()).map_err(|wrong| wrong.message)?;
    read_words(record_type, &mut words, origin)
}

/// The same from words, all of them. What is wrong, is so at [`Words::at`].
pub(super) fn read_words(
    record_type: RecordType,
    words: &mut Words<'_>,
    origin: &Name,
) -> Result<RData, String> {
    let number = u16::from(record_type);
    let wire = if words.peek().is_some_and(|word| word.is("\\#")) {
        generic(words)?
    } else {
        let fields = types::fields(number);
        let fields = fields.ok_or("the form `\\# LENGTH HEX` is expected (RFC 3597 §5)")?;
        let mut wire = Vec::new();
        for field in fields {
            field.read(words, origin, &mut wire)?;
        }
        wire
    };
    if let Some(rest) = words.next() {
        return Err(format!("`{}` is too much", rest.text()));
    }
    check_lengths(number, &wire)?;
    check_presence(number, &wire)?;
    decode(record_type, &wire)
}

/// The data of a record, which must be of its type's form.
fn decode(record_type: RecordType, wire: &[u8]) -> Result<RData, String> {
    let length = u16::try_from(wire.len()).map_err(|_| "it is over 65,535 bytes".to_owned())?;
    let mut decoder = BinDecoder::new(wire);
    let data = RData::read(&mut decoder, record_type, Restrict::new(length))
        .map_err(|error| error.to_string())?;
    if encoded(&data).is_some_and(|again| again == wire) {
        return Ok(data);
    }
    let fields = types::fields(record_type.into()).unwrap_or_default();
    if fields.iter().any(|field| matches!(field, Field::Name)) {
        // RFC 3597 §4: a pointer means nothing outside the message that it stood in.
        return Err("a name in it is compressed".to_owned());
    }
    // What a library would write otherwise than it was, stays the bytes that it is.
    Ok(RData::Unknown {
        code: record_type,
        rdata: NULL::with(wire.to_vec()),
    })
}

fn encoded(data: &RData) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(wire)
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
        // RFC 4034 §5.1.4, RFC 4509, RFC 6605 §2; CDS is alike (RFC 7344 §3.1).
        43 | 59 => digest(4, wire.get(3).copied(), &[(1, 20), (2, 32), (4, 48)]),
        // RFC 6698 §2.1.3.
        52 | 53 => digest(3, wire.get(2).copied(), &[(1, 32), (2, 64)]),
        // RFC 8976 §2.2.
        63 => digest(6, wire.get(5).copied(), &[(1, 48), (2, 64)]),
        // RFC 7043 §3, §4.
        108 => Some(6),
        109 => Some(8),
        _ => None,
    };
    match expected {
        // RFC 8976 §2.2.4.
        None if record_type == 63 && wire.len() < 6 + 12 => {
            Err("a digest has 12 bytes or more".to_owned())
        }
        Some(expected) if wire.len() != expected => Err(format!(
            "{} bytes where {expected} are expected",
            wire.len()
        )),
        Some(_) | None => Ok(()),
    }
}

/// Of the types that have a form here, only a list of prefixes may be empty (RFC 3123 §4).
fn check_presence(record_type: u16, wire: &[u8]) -> Result<(), String> {
    match types::fields(record_type) {
        None | Some([Field::Prefixes]) => Ok(()),
        Some(_) if wire.is_empty() => Err("it has no data".to_owned()),
        Some(_) => Ok(()),
    }
}

/// `\# 4 C0000201`.
fn generic(words: &mut Words<'_>) -> Result<Vec<u8>, String> {
    words.next();
    let length: usize = number(&words.expect("a length in bytes")?.text())?;
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

#[cfg(test)]
mod tests;
