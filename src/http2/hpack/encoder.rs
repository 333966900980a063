//! Writes blocks of fields (RFC 7541 §6).

use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};

use super::integer::write_number;
use super::table::STATIC;

/// A field of the static table; one whose name alone is of it; one of which it is better not kept.
const INDEXED: u8 = 0x80;
const LITERAL: u8 = 0x00;
const SENSITIVE: u8 = 0x10;

/// The size of the table, which is for the beginning of a block.
const RESIZE: u8 = 0x20;

/// Where the static table has the pseudo-headers, and the values of them that it has.
const AUTHORITY: usize = 1;
const GET: usize = 2;
const POST: usize = 3;
const ROOT: usize = 4;
const HTTP: usize = 6;
const HTTPS: usize = 7;

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

/// Writes what a request asks for (and by what protocol, RFC 8441 §4), which is before its fields.
pub(in crate::http2) fn write_request(
    request: &Request<()>,
    protocol: Option<&str>,
    block: &mut Vec<u8>,
) {
    let uri = request.uri();
    match *request.method() {
        Method::GET => write_number(INDEXED, 7, GET, block),
        Method::POST => write_number(INDEXED, 7, POST, block),
        ref other => write_pseudo(GET, other.as_str(), block),
    }
    match uri.scheme_str() {
        Some("http") => write_number(INDEXED, 7, HTTP, block),
        Some("https") | None => write_number(INDEXED, 7, HTTPS, block),
        Some(other) => write_pseudo(HTTP, other, block),
    }
    if let Some(authority) = uri.authority() {
        write_pseudo(AUTHORITY, Authority::as_str(authority), block);
    }
    match uri.path_and_query().map(PathAndQuery::as_str) {
        Some("/") | None => write_number(INDEXED, 7, ROOT, block),
        Some(path) => write_pseudo(ROOT, path, block),
    }
    if let Some(protocol) = protocol {
        write_number(LITERAL, 4, 0, block);
        write_string(b":protocol", block);
        write_string(protocol.as_bytes(), block);
    }
}

/// Writes a pseudo-header whose name the static table has.
fn write_pseudo(name: usize, value: &str, block: &mut Vec<u8>) {
    write_number(LITERAL, 4, name, block);
    write_string(value.as_bytes(), block);
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

/// Where the static table has a name.
fn index_of(name: &str) -> Option<usize> {
    Some(match name {
        "accept-charset" => 15,
        "accept-encoding" => 16,
        "accept-language" => 17,
        "accept-ranges" => 18,
        "accept" => 19,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "authorization" => 23,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-length" => 28,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "cookie" => 32,
        "date" => 33,
        "etag" => 34,
        "expect" => 35,
        "expires" => 36,
        "from" => 37,
        "if-match" => 39,
        "if-modified-since" => 40,
        "if-none-match" => 41,
        "if-range" => 42,
        "if-unmodified-since" => 43,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "max-forwards" => 47,
        "proxy-authorization" => 49,
        "range" => 50,
        "referer" => 51,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "user-agent" => 58,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::head::{Fields, Protocol};
    use crate::http2::hpack::Decoder;

    #[test]
    fn names_are_where_the_static_table_has_them() {
        let found = STATIC.iter().enumerate().filter_map(|(at, (name, _))| {
            let index = index_of(name)?;
            assert_eq!(index, at + 1, "{name}");
            Some(index)
        });
        assert_eq!(found.count(), 43);
    }

    #[test]
    fn what_a_request_asks_for_is_read_as_it_was_written() {
        let connect = Request::builder()
            .method(Method::CONNECT)
            .uri("https://a:1/b?c");
        let get = Request::builder().uri("http://a/").body(()).unwrap();
        let post = Request::builder().method(Method::POST).uri("https://a/b");
        let options = Request::builder().method(Method::OPTIONS).uri("*");
        for (request, protocol) in [
            (get, None),
            (post.body(()).unwrap(), None),
            (options.body(()).unwrap(), None),
            (connect.body(()).unwrap(), Some("websocket")),
        ] {
            let mut block = Vec::new();
            write_request(&request, protocol, &mut block);
            let mut fields = Fields::new(0, 1_000);
            Decoder::default()
                .decode(&block, |field| fields.take(field))
                .unwrap();
            let read = fields.into_request().unwrap();
            assert_eq!(
                (read.method(), read.uri()),
                (request.method(), request.uri())
            );
            let read = read.extensions().get::<Protocol>().map(Protocol::as_str);
            assert_eq!(read, protocol);
        }
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
