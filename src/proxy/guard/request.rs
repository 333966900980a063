//! How a request begins: its line, its Host, and what frames it. RFC 9112 §3, §6.3.

use super::Refusal;
use super::field::{Version, is_token, read_fields, split_head};
use super::pieces::Place;

/// Reads a whole head; where the next byte stands.
pub(super) fn read_head(head: &[u8]) -> Result<Place, Refusal> {
    let (request_line, fields) = split_head(head)?;
    let version = read_request_line(request_line)?;
    let (mut hosts, mut asks_websocket) = (0, false);
    let framing = read_fields(fields, |name, value| {
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            check_authority(value)?;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            asks_websocket |= value.eq_ignore_ascii_case(b"websocket");
        }
        Ok(())
    })?;
    framing.check_version(version)?;
    match (hosts, version) {
        (1, _) | (0, Version::Http10) => {}
        // RFC 9112 §3.2.
        (0, Version::Http11) => return Err(Refusal::Malformed("the request has no Host")),
        (_, Version::Http10 | Version::Http11) => {
            return Err(Refusal::Malformed("the request has more than one Host"));
        }
    }
    Ok(match framing.length {
        _ if framing.is_chunked => Place::ChunkSize,
        Some(length) if length > 0 => Place::Body(length),
        _ if asks_websocket => Place::Undecided,
        _ => Place::Head,
    })
}

/// `METHOD target HTTP/1.1`.
fn read_request_line(text: &[u8]) -> Result<Version, Refusal> {
    let mut words = text.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Refusal::Malformed(
            "the request line is not `METHOD target HTTP/1.1`",
        ));
    };
    if !is_token(method) {
        return Err(Refusal::Malformed("the method is no token"));
    }
    if method == b"CONNECT" {
        return Err(Refusal::Malformed("this is no forward proxy: CONNECT"));
    }
    check_target(method, target)?;
    Version::read(version)
}

/// RFC 9112 §3.2: a path, a URI, or `*` for OPTIONS. Characters that no URI has are the origin's affair,
/// except those that end a line or a path.
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
        return Err(Refusal::Malformed("the Host is none"));
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

    use super::super::{Guard, LONGEST_HEAD, PARSED_FIELDS};
    use super::*;

    /// What passes of these bytes, and what is refused, whatever pieces they come in.
    fn pass(bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), Refusal>) {
        let (mut guard, mut out) = (Guard::default(), Vec::new());
        for piece in bytes.chunks(size) {
            if let Err(refusal) = guard.judge(piece, &mut out) {
                return (out, Err(refusal));
            }
        }
        (out, Ok(()))
    }

    #[track_caller]
    fn check_passes(text: &str) {
        for size in [1, 7, 1 << 20] {
            let (out, verdict) = pass(text.as_bytes(), size);
            assert_eq!(verdict, Ok(()), "{text:?}");
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[track_caller]
    fn check_refused(text: &str) {
        for size in [1, 7, 1 << 20] {
            let (_, verdict) = pass(text.as_bytes(), size);
            assert!(matches!(verdict, Err(Refusal::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn what_every_parser_reads_alike_passes() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /?q=\u{e4} HTTP/1.1\r\nHost: a\r\nX: \u{e4}\t b\r\nEmpty:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\na\nb\r\n00a\r\n0123456789\r\n0\r\nSum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]:65535\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
            "GET HTTP://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            check_passes(text);
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
        assert_eq!(pass(head(LONGEST_HEAD).as_bytes(), 1 << 20).1, Ok(()));
        assert_eq!(
            pass(head(LONGEST_HEAD + 1).as_bytes(), 1 << 20).1,
            Err(Refusal::HeadTooLarge)
        );
        let chunk = |length: usize| {
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
                "x".repeat(length - 2)
            )
        };
        assert_eq!(pass(chunk(256).as_bytes(), 1 << 20).1, Ok(()));
        assert!(pass(chunk(256 + 1).as_bytes(), 1 << 20).1.is_err());
    }

    #[test]
    fn a_head_has_only_so_many_fields() {
        let head = |fields: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(fields - 1)
            )
        };
        assert_eq!(pass(head(PARSED_FIELDS).as_bytes(), 1 << 20).1, Ok(()));
        let one_more = pass(head(PARSED_FIELDS + 1).as_bytes(), 1 << 20).1;
        assert_eq!(one_more, Err(Refusal::TooManyFields));
    }

    #[test]
    fn behind_a_websocket_s_request_nothing_passes_before_the_answer() {
        let request =
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        let frames = b"\x81\x85\n\r\0\xffGET";
        for (is_tunnel, expected) in [
            (true, Ok(())),
            (
                false,
                Err(Refusal::Malformed("a line ends in LF without CR")),
            ),
        ] {
            let (mut guard, mut out) = (Guard::default(), Vec::new());
            let bytes = [request.as_slice(), frames].concat();
            guard.judge(&bytes, &mut out).unwrap();
            assert_eq!(out, request);
            assert!(guard.is_undecided());
            guard.decide(is_tunnel);
            assert_eq!(guard.release(&mut out), expected);
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_a_beginning_of_what_came(text in "[A-Z :/\\r\\n0-9a-fHTP.;,-]{0,300}", size in 1_usize..40) {
            let (out, _) = pass(text.as_bytes(), size);
            prop_assert!(text.as_bytes().starts_with(&out));
        }

        #[test]
        fn pieces_make_no_difference(body in "[ -~]{0,60}", size in 1_usize..40) {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n", body.len());
            let (out, verdict) = pass(text.as_bytes(), size);
            prop_assert_eq!(verdict, Ok(()));
            prop_assert_eq!(out, text.into_bytes());
        }
    }
}
