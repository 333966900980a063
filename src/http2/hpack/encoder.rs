//! Writes blocks of fields (RFC 7541 §6).

use http::{HeaderName, HeaderValue, StatusCode};

use super::integer::write_number;
use super::table::STATIC;

/// A field of the static table; one whose name alone is of it; one of which it is better not kept.
const INDEXED: u8 = 0x80;
const LITERAL: u8 = 0x00;
const SENSITIVE: u8 = 0x10;

/// The size of the table, which is for the beginning of a block.
const RESIZE: u8 = 0x20;

/// Where the first of `:status` is, 200.
const STATUS: usize = 8;

/// Writes the status of an answer, which is before its fields.
pub(in crate::http2) fn write_status(status: StatusCode, block: &mut Vec<u8>) {
    let known = STATIC.iter().enumerate().skip(STATUS - 1).take(7);
    let mut known = known.filter(|(_, (_, value))| *value == status.as_str());
    if let Some((at, _)) = known.next() {
        return write_number(INDEXED, 7, at + 1, block);
    }
    write_number(LITERAL, 4, STATUS, block);
    write_string(status.as_str().as_bytes(), block);
}

/// Writes that nothing of the peer's table is used from here on.
pub(in crate::http2) fn write_no_table(block: &mut Vec<u8>) {
    write_number(RESIZE, 5, 0, block);
}

/// Writes a field.
pub(in crate::http2) fn write_field(name: &HeaderName, value: &HeaderValue, block: &mut Vec<u8>) {
    let shape = if value.is_sensitive() {
        SENSITIVE
    } else {
        LITERAL
    };
    let index = index_of(name.as_str());
    write_number(shape, 4, index.unwrap_or(0), block);
    if index.is_none() {
        write_string(name.as_str().as_bytes(), block);
    }
    write_string(value.as_bytes(), block);
}

fn write_string(string: &[u8], block: &mut Vec<u8>) {
    write_number(0, 7, string.len(), block);
    block.extend_from_slice(string);
}

/// Where the static table has a name that is of answers.
fn index_of(name: &str) -> Option<usize> {
    Some(match name {
        "accept-ranges" => 18,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-length" => 28,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "date" => 33,
        "etag" => 34,
        "expires" => 36,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_where_the_static_table_has_them() {
        let found = STATIC.iter().enumerate().filter_map(|(at, (name, _))| {
            let index = index_of(name)?;
            assert_eq!(index, at + 1, "{name}");
            Some(index)
        });
        assert_eq!(found.count(), 25);
    }

    #[test]
    fn a_status_of_the_static_table_is_one_byte() {
        for (status, written) in [(200, &[0x88][..]), (404, &[0x8d]), (431, b"\x08\x03431")] {
            let mut block = Vec::new();
            write_status(StatusCode::from_u16(status).unwrap(), &mut block);
            assert_eq!(block, written);
        }
    }
}
