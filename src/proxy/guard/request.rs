//! How a request begins: its line, its Host, and what frames it. RFC 9112 §3, §6.3.

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};

use super::field::{Framing, Version, is_token, read_head_fields, split_head};
use super::{LONGEST_TARGET, Refusal};

/// Reads a whole head, and what frames its body.
pub(super) fn read_head(text: &Bytes) -> Result<(Request<()>, Framing), Refusal> {
    let (request_line, lines) = split_head(text)?;
    let (method, target, version) = read_request_line(request_line)?;
    let (headers, framing) = read_head_fields(text, lines)?;
    framing.check_version(version)?;
    check_host(version, &headers)?;
    let mut head = Request::new(());
    *head.method_mut() = Method::from_bytes(method).map_err(|_| NO_METHOD)?;
    *head.uri_mut() = read_target(method, text.slice_ref(target))?;
    *head.version_mut() = version.into();
    *head.headers_mut() = headers;
    Ok((head, framing))
}

/// RFC 9112 §3.2: HTTP/1.1 names the host once.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), version) {
        (Some(host), None, _) => check_authority(host.as_bytes()),
        (None, _, Version::Http10) => Ok(()),
        (None, _, Version::Http11) => Err(Refusal::Malformed("the request has no Host")),
        (Some(_), Some(_), _) => Err(Refusal::Malformed("the request has more than one Host")),
    }
}

const NO_URI: Refusal = Refusal::Malformed("the target is no URI");
const NO_METHOD: Refusal = Refusal::Malformed("the method is no token");

/// `METHOD target HTTP/1.1`.
fn read_request_line(text: &[u8]) -> Result<(&[u8], &[u8], Version), Refusal> {
    let mut words = text.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Refusal::Malformed(
            "the request line is not `METHOD target HTTP/1.1`",
        ));
    };
    if !is_token(method) {
        return Err(NO_METHOD);
    }
    if method == b"CONNECT" {
        return Err(Refusal::Malformed("this is no forward proxy: CONNECT"));
    }
    check_target(method, target)?;
    Ok((method, target, Version::read(version)?))
}

/// RFC 3986: what is left to tell is whether its characters are those of a URI, and that it is not too long.
fn read_target(method: &[u8], target: Bytes) -> Result<Uri, Refusal> {
    if target.len() > LONGEST_TARGET {
        return Err(Refusal::TargetTooLong);
    }
    let names_no_path = method == b"OPTIONS" && is_authority_alone(&target);
    let uri = Uri::from_maybe_shared(target).map_err(|_| NO_URI)?;
    if !names_no_path {
        return Ok(uri);
    }
    // RFC 9112 §3.2.4: what the last proxy makes of it.
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("*"));
    Uri::from_parts(parts).map_err(|_| NO_URI)
}

/// Whether a target in absolute form has neither a path nor a query.
fn is_authority_alone(target: &[u8]) -> bool {
    // An authority has a byte at least, so that it begins no later than this, whatever the scheme.
    let mut rest = target.iter().skip(b"https://".len());
    authority(target).is_ok() && !rest.any(|byte| matches!(byte, b'/' | b'?'))
}

/// RFC 9112 §3.2: a path, a URI, or `*` for OPTIONS.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if !target.iter().all(|byte| *byte > b' ' && *byte != 0x7f) {
        return Err(Refusal::Malformed("the target has control characters"));
    }
    if target.contains(&b'#') {
        return Err(Refusal::Malformed("the target has a fragment"));
    }
    match target {
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        _ => check_authority(authority(target)?),
    }
}

/// The authority of a target in absolute form.
fn authority(target: &[u8]) -> Result<&[u8], Refusal> {
    let after = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = after(b"http://").or_else(|| after(b"https://"));
    let rest = rest.ok_or(Refusal::Malformed("the target is neither a path nor a URI"))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, _) = rest.split_at(end.unwrap_or(rest.len()));
    Ok(authority)
}

/// RFC 9110 §7.2: a host and perhaps a port; no user, no list.
fn check_authority(text: &[u8]) -> Result<(), Refusal> {
    // The colons of an IPv6 address stand in brackets.
    let address = text.iter().rposition(|byte| *byte == b']').unwrap_or(0);
    let (_, rest) = text.split_at(address);
    let port = rest.iter().position(|byte| *byte == b':');
    let (host, port) = text.split_at(port.map_or(text.len(), |colon| address + colon));
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    if host.is_empty() || !host.iter().all(is_host) || !is_port(port) {
        return Err(Refusal::Malformed(
            "the Host is no host name or address, with or without a port",
        ));
    }
    Ok(())
}

/// Nothing, a colon, or a colon and a number of 16 bits.
fn is_port(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b":").unwrap_or(text);
    let number = std::str::from_utf8(digits).map(str::parse::<u16>);
    digits.is_empty() || (digits.iter().all(u8::is_ascii_digit) && matches!(number, Ok(Ok(_))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{LONGEST_HEAD, PARSED_FIELDS, what_requests_say};
    use super::*;

    /// What these bytes say, and why the rest says nothing, whatever pieces they come in.
    fn read(text: &str, size: usize) -> (String, Option<String>) {
        let (said, why) = what_requests_say(text.as_bytes(), size);
        (String::from_utf8_lossy(&said).into_owned(), why)
    }

    #[track_caller]
    fn check_says(text: &str, expected: &str) {
        for size in [1, 7, 1 << 20] {
            assert_eq!(read(text, size), (expected.to_owned(), None), "{text:?}");
        }
    }

    #[track_caller]
    fn check_refused(text: &str) {
        for size in [1, 7, 1 << 20] {
            assert!(read(text, size).1.is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_every_parser_reads_alike_passes() {
        let get = "GET / HTTP/1.1\nhost: a\n";
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", get.to_owned()),
            ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\n".to_owned()),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", get.to_owned()),
            (
                "GET /?q=\u{e4} HTTP/1.1\r\nHost: a\r\nX: \u{e4}\t b\r\nEmpty:\r\n\r\n",
                "GET /?q=\u{e4} HTTP/1.1\nhost: a\nx: \u{e4}\t b\nempty: \n".to_owned(),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                format!("POST / HTTP/1.1\nhost: a\ncontent-length: 3\nabc{get}"),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                format!("POST / HTTP/1.1\nhost: a\ncontent-length: 0\n{get}"),
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\na\nb\r\n00a\r\n0123456789\r\n0\r\nSum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                format!("POST / HTTP/1.1\nhost: a\na\nb0123456789\nsum: 1\n{get}"),
            ),
            (
                "GET / HTTP/1.1\r\nHost: [2001:db8::1]:65535\r\n\r\n",
                "GET / HTTP/1.1\nhost: [2001:db8::1]:65535\n".to_owned(),
            ),
            (
                "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
                "GET / HTTP/1.1\nhost: a:\n".to_owned(),
            ),
            (
                "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET http://a/?b HTTP/1.1\nhost: a\n".to_owned(),
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS * HTTP/1.1\nhost: a\n".to_owned(),
            ),
            (
                "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS http://a* HTTP/1.1\nhost: a\n".to_owned(),
            ),
            (
                "OPTIONS http://a?a HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS http://a/?a HTTP/1.1\nhost: a\n".to_owned(),
            ),
            (
                "OPTIONS http://a/a HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS http://a/a HTTP/1.1\nhost: a\n".to_owned(),
            ),
            (
                "OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                "OPTIONS http://a/ HTTP/1.1\nhost: a\n".to_owned(),
            ),
        ] {
            check_says(text, &expected);
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for head in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Content-Length: 3 3",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            " Transfer-Encoding: chunked",
            "X: a\r\n b",
            "X: a\r\n\tb",
            "X: a\nY: b",
            "X: a\rY: b",
            "X: a\r\r\nY: b",
            "X: \0",
            "X: \u{7f}",
            "X",
            ": x",
            "X@: a",
            "X\u{e4}: a",
        ] {
            check_refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nabc"));
        }
        for request in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: 2001:db8::1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            check_refused(request);
        }
    }

    #[test]
    fn chunks_are_what_they_say() {
        for body in [
            "g\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "-3\r\nabc\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3;\u{1}\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "10000000000000000\r\nabc\r\n0\r\n\r\n",
            "0\r\nX : a\r\n\r\n",
            "0\r\n\n",
            "3;\r\nabc\r\n0\r\n\r\n",
            "0\r\nContent-Length: 3\r\n\r\n",
            "0\r\nHost: a\r\n\r\n",
        ] {
            check_refused(&format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
            ));
        }
    }

    #[test]
    fn a_head_has_a_length_and_so_has_the_line_of_a_chunk() {
        let head = |length: usize| format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(length - 19));
        assert_eq!(read(&head(LONGEST_HEAD), 1 << 20).1, None);
        let too_long = Refusal::HeadTooLarge.to_string();
        assert_eq!(read(&head(LONGEST_HEAD + 1), 1 << 20).1, Some(too_long));
        let chunk = |length: usize| {
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
                "x".repeat(length - 2)
            )
        };
        assert_eq!(read(&chunk(256), 1 << 20).1, None);
        assert!(read(&chunk(256 + 1), 1 << 20).1.is_some());
    }

    #[test]
    fn a_head_has_only_so_many_fields() {
        let head = |fields: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(fields - 1)
            )
        };
        assert_eq!(read(&head(PARSED_FIELDS), 1 << 20).1, None);
        let too_many = Refusal::TooManyFields.to_string();
        assert_eq!(read(&head(PARSED_FIELDS + 1), 1 << 20).1, Some(too_many));
    }

    #[test]
    fn a_target_has_a_length() {
        let request = |length: usize| {
            let path = "x".repeat(length - 1);
            format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")
        };
        assert_eq!(read(&request(LONGEST_TARGET), 1 << 20).1, None);
        let too_long = Refusal::TargetTooLong.to_string();
        let one_more = request(LONGEST_TARGET + 1);
        assert_eq!(read(&one_more, 1 << 20).1, Some(too_long));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[A-Z :/\\r\\n0-9a-fHTP.;,-]{0,300}", size in 1_usize..40) {
            prop_assert_eq!(read(&text, size), read(&text, text.len()));
        }

        #[test]
        fn bodies_are_read_as_they_are(body in "[ -~]{0,60}", size in 1_usize..40) {
            let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}{next}", body.len());
            let (said, why) = read(&text, size);
            prop_assert_eq!(why, None);
            let expected = format!("\n{body}GET / HTTP/1.1\nhost: a\n");
            prop_assert!(said.ends_with(&expected), "{}", said);
        }
    }
}
