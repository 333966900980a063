//! Fields of requests that only the edge says, because origins believe them: who the client is, and how it came here.
//!
//! A name counts with `_` for `-` too, of which CGI makes one variable (RFC 3875 §4.1.18); so do those of the connection's own. In trailers nobody may say
//! them: whoever puts trailers among the fields of the head would take them for the edge's word.

use http::header::{AUTHORIZATION, COOKIE, TRAILER, VIA};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::headers::{self, OWN_PREFIX, announce_without, remove_each};
use super::trace::{TRACEPARENT, TRACESTATE};

/// All of them but Meridian's own.
const NAMES: [&str; 9] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Those of the connection and of the body's framing, as far as they can be spelt otherwise. In their own spelling they have
/// ended here before.
const OF_CONNECTIONS: [&str; 7] = [
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
];

/// What of a request's head would come too late behind it: who asks, and by which way (RFC 9110 §6.5.1).
static OF_HEADS: [HeaderName; 5] = [AUTHORIZATION, COOKIE, VIA, TRACEPARENT, TRACESTATE];

/// Whether a name is one of these.
fn is_reserved(name: &str) -> bool {
    // Most names are told by their first letter.
    match name.as_bytes().first() {
        Some(b'c' | b'f' | b'm' | b'x') => {
            name.get(..OWN_PREFIX.len()).is_some_and(is_own)
                || NAMES.iter().any(|reserved| is_spelling(name, reserved))
                || is_misspelt(name)
        }
        Some(b'h' | b'k' | b'p' | b't') => is_misspelt(name),
        _ => false,
    }
}

fn is_misspelt(name: &str) -> bool {
    name.contains('_') && OF_CONNECTIONS.iter().any(|own| is_spelling(name, own))
}

fn is_own(start: &str) -> bool {
    is_spelling(start, OWN_PREFIX)
}

fn is_spelling(name: &str, reserved: &str) -> bool {
    let mut pairs = name.bytes().zip(reserved.bytes());
    name.len() == reserved.len() && pairs.all(|(a, b)| a == b || (a, b) == (b'_', b'-'))
}

/// Removes from a request's head what its client says of itself. What a trusted proxy says in the right spelling stays.
pub(super) fn remove_from_head(headers: &mut HeaderMap, is_trusted: bool) {
    let (mut gone, mut announces) = (SmallVec::<[HeaderName; 4]>::new(), false);
    for name in headers.keys() {
        announces |= *name == TRAILER;
        if is_reserved(name.as_str()) && (!is_trusted || name.as_str().contains('_')) {
            gone.push(name.clone());
        }
    }
    remove_each(headers, gone);
    if announces {
        announce_without(headers, is_late);
    }
}

/// Removes from a request's trailers what goes no further.
pub(super) fn remove_from_trailers(trailers: &mut HeaderMap) {
    headers::remove_from_trailers(trailers);
    let late = trailers.keys().filter(|name| is_late(name.as_str()));
    let late: SmallVec<[HeaderName; 4]> = late.cloned().collect();
    remove_each(trailers, late);
}

fn is_late(name: &str) -> bool {
    is_reserved(name) || OF_HEADS.iter().any(|late| is_spelling(name, late.as_str()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SAID: [&str; 8] = [
        "x-forwarded-for",
        "x_forwarded_for",
        "x-forwarded_proto",
        "client_cert",
        "x-real-ip",
        "meridian_require",
        "x-tenant",
        "x_tenant",
    ];

    fn said(more: &[&'static str]) -> HeaderMap {
        let names = SAID.iter().chain(more);
        let field = |name: &&'static str| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static("forged"))
        };
        names.map(field).collect()
    }

    fn left(headers: &HeaderMap) -> Vec<&str> {
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn what_a_client_says_of_itself_goes_in_every_spelling_and_a_trusted_proxy_has_one() {
        let (mut client, mut proxy) = (said(&["cookie", "via"]), said(&[]));
        for name in [
            "transfer_encoding",
            "keep_alive",
            "proxy_connection",
            "http2_settings",
            "content_length",
        ] {
            for headers in [&mut client, &mut proxy] {
                headers.insert(name, HeaderValue::from_static("forged"));
            }
        }
        remove_from_head(&mut client, false);
        assert_eq!(left(&client), ["cookie", "via", "x-tenant", "x_tenant"]);
        remove_from_head(&mut proxy, true);
        let expected = ["x-forwarded-for", "x-real-ip", "x-tenant", "x_tenant"];
        assert_eq!(left(&proxy), expected);
    }

    #[test]
    fn trailers_say_nothing_that_origins_believe_of_a_head_and_nothing_of_the_connection() {
        let mut trailers = said(&[
            "authorization",
            "cookie",
            "connection",
            "content-length",
            "keep-alive",
            "meridian-token",
            "te",
            "traceparent",
            "via",
        ]);
        remove_from_trailers(&mut trailers);
        assert_eq!(left(&trailers), ["x-tenant", "x_tenant"]);
    }

    #[test]
    fn a_trailer_that_is_removed_is_not_announced() {
        let announced = HeaderValue::from_static("X-Sum, Client-Cert, COOKIE, X_Real_Ip");
        let mut headers = HeaderMap::from_iter([(TRAILER, announced)]);
        remove_from_head(&mut headers, true);
        assert_eq!(headers[TRAILER], "X-Sum");
    }
}
