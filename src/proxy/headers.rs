//! Header fields that a proxy adds, changes and removes.

use std::time::Duration;

use http::header::{CONNECTION, COOKIE, FORWARDED, TE, TRAILER, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use smallvec::SmallVec;

use super::inbound::cookie_pairs;
use crate::chance;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const MERIDIAN_REGION: HeaderName = HeaderName::from_static("meridian-region");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The longest request id that is taken over from a client.
const LONGEST_REQUEST_ID: usize = 128;

/// Prefix of every header of Meridian's own.
const OWN_PREFIX: &str = "meridian-";

/// What a request's forwarding headers are made of.
pub(super) struct Hop<'a> {
    /// The peer's address.
    pub(super) peer: &'a HeaderValue,
    pub(super) trusted: bool,
    pub(super) host: &'a str,
    pub(super) scheme: &'static str,
    pub(super) version: Version,
    pub(super) via: &'a Via,
    pub(super) request_id: &'a HeaderValue,
}

/// The request's id: the client's if it is a sensible one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sensible = |value: &&HeaderValue| {
        !value.is_empty()
            && value.len() <= LONGEST_REQUEST_ID
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers
        .get(X_REQUEST_ID)
        .filter(sensible)
        .cloned()
        .unwrap_or_else(|| {
            let mut id = String::with_capacity(32);
            push_hex(&mut id, &chance::id_128().to_be_bytes());
            HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
        })
}

/// Removes what goes no further: what concerns one connection only (RFC 9110 §7.6.1), and every header of
/// Meridian's own that a client or an origin has sent. `TE: trailers` stays: gRPC needs it.
pub(super) fn remove_what_ends_here(headers: &mut HeaderMap) {
    let takes_trailers = lists(headers, &TE, "trailers");
    if headers.contains_key(TRAILER) {
        announce_without_own(headers);
    }
    let mut ending: SmallVec<[HeaderName; 8]> = SmallVec::new();
    for (name, value) in &*headers {
        if *name == CONNECTION {
            let named = value.as_bytes().split(|byte| *byte == b',');
            ending.extend(named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
        }
        if ends_here(name.as_str()) {
            ending.push(name.clone());
        }
    }
    for name in ending {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Announces no trailer that is dropped.
fn announce_without_own(headers: &mut HeaderMap) {
    let is_own = |name: &&[u8]| {
        let start = name.get(..OWN_PREFIX.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(OWN_PREFIX.as_bytes()))
    };
    let lines = headers.get_all(TRAILER).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let (own, others): (Vec<&[u8]>, Vec<&[u8]>) = names.map(<[u8]>::trim_ascii).partition(is_own);
    if own.is_empty() {
        return;
    }
    match HeaderValue::from_bytes(&others.join(&b", "[..])) {
        Ok(names) if !names.is_empty() => headers.insert(TRAILER, names),
        Ok(_) | Err(_) => headers.remove(TRAILER),
    };
}

/// Removes every header of Meridian's own, as from trailers.
pub(super) fn remove_own(headers: &mut HeaderMap) {
    let own = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OWN_PREFIX));
    let own: SmallVec<[HeaderName; 4]> = own.cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

fn ends_here(name: &str) -> bool {
    // Most names are told by their first letter.
    let first = name.as_bytes().first();
    matches!(first, Some(b'c' | b'h' | b'k' | b'm' | b'p' | b't' | b'u')) && is_of_connection(name)
}

fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "http2-settings"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    ) || name.starts_with(OWN_PREFIX)
}

/// Writes a field as HTTP/1.1 has it.
pub(super) fn write_field(name: &HeaderName, value: &HeaderValue, text: &mut Vec<u8>) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        text.extend_from_slice(part);
    }
}

/// Whether a list has this member, in any case.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, member: &str) -> bool {
    let lines = headers.get_all(name).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|given| given.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
}

/// Sends cookies on in one field: HTTP/2 may split Cookie, HTTP/1.1 may not (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines = headers.get_all(COOKIE).iter();
    let pairs: Vec<&[u8]> = lines
        .flat_map(|line| cookie_pairs(line.as_bytes()))
        .collect();
    match HeaderValue::from_bytes(&pairs.join(&b"; "[..])) {
        Ok(joined) if !joined.is_empty() => headers.insert(COOKIE, joined),
        Ok(_) | Err(_) => headers.remove(COOKIE),
    };
}

/// Adds what tells the origin who asked, and how it came here.
pub(super) fn add_forwarding(headers: &mut HeaderMap, hop: &Hop<'_>) {
    if !hop.trusted {
        // Origins may believe these as they believe X-Forwarded-For.
        for name in [FORWARDED, X_FORWARDED_PORT, X_REAL_IP] {
            headers.remove(name);
        }
    }
    forward_for(headers, hop);
    if !hop.trusted || !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(hop.scheme));
    }
    if (!hop.trusted || !headers.contains_key(X_FORWARDED_HOST))
        && let Ok(host) = HeaderValue::from_str(hop.host)
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_REQUEST_ID, hop.request_id.clone());
    hop.via.add(headers, hop.version);
    continue_trace(headers);
}

/// What a trusted proxy sent is kept, anybody else's replaced; the peer is appended.
fn forward_for(headers: &mut HeaderMap, hop: &Hop<'_>) {
    let given: Vec<&[u8]> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter(|value| hop.trusted && value.to_str().is_ok())
        .map(HeaderValue::as_bytes)
        .chain([hop.peer.as_bytes()])
        .collect();
    let value = match &given[..] {
        [_] => Ok(hop.peer.clone()),
        given => HeaderValue::from_bytes(&given.join(&b", "[..])),
    };
    if let Ok(value) = value {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// What this node is called in answers: its name, as far as a token of RFC 9110 §5.6.2 can hold it.
pub(super) fn pseudonym(node: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let plain = node.chars().map(|c| if is_plain(c) { c } else { '-' });
    plain.collect()
}

/// What this node appends to Via (RFC 9110 §7.6.3), made once for each version that is received.
pub(super) struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    pub(super) fn new(node: &str) -> Self {
        let pseudonym = pseudonym(node);
        let value = |version| {
            let value = HeaderValue::from_str(&format!("{version} {pseudonym}"));
            value.unwrap_or_else(|_| HeaderValue::from_static("1.1 meridian"))
        };
        Self {
            http10: value("1.0"),
            http11: value("1.1"),
            http2: value("2"),
        }
    }

    /// Says that a message was received over this version.
    pub(super) fn add(&self, headers: &mut HeaderMap, version: Version) {
        let value = match version {
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        };
        headers.append(VIA, value.clone());
    }
}

/// Continues a trace with a span of the edge's own, or begins one (W3C Trace Context §3.2).
fn continue_trace(headers: &mut HeaderMap) {
    let given = headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .and_then(trace_of);
    let is_new = given.is_none();
    let mut value = String::with_capacity(55);
    value.push_str("00-");
    match given {
        Some((trace, _)) => value.push_str(trace),
        None => push_hex(&mut value, &chance::id_128().to_be_bytes()),
    }
    value.push('-');
    push_hex(&mut value, &chance::id_64().to_be_bytes());
    value.push('-');
    value.push_str(given.map_or("01", |(_, flags)| flags));
    if is_new {
        headers.remove(TRACESTATE); // It belongs to the trace that is not continued (§3.4).
    }
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Appends bytes as lower-case hexadecimal digits.
fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
}

/// The trace id and flags of a valid `traceparent`.
fn trace_of(text: &str) -> Option<(&str, &str)> {
    let mut fields = text.split('-');
    let (version, trace, parent, flags) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |text: &str| text.bytes().all(|b| b == b'0');
    let valid = hex(version, 2)
        && version != "ff"
        && (version != "00" || fields.next().is_none())
        && hex(trace, 32)
        && !zero(trace)
        && hex(parent, 16)
        && !zero(parent)
        && hex(flags, 2);
    valid.then_some((trace, flags))
}

/// Whether a message leaves HTTP/1.1 for WebSocket. Other protocols stay out: h2c would carry requests
/// past every check of the edge.
pub(super) fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_websocket =
        |protocol: &&HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    let protocol = headers.get(UPGRADE).filter(is_websocket);
    protocol
        .filter(|_| lists(headers, &CONNECTION, "upgrade"))
        .cloned()
}

/// Asks the next hop to leave HTTP/1.1 too.
pub(super) fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// `Server-Timing: edge;dur=…, origin;dur=…` in ms: the edge's own share and the origin's.
pub(super) fn add_server_timing(headers: &mut HeaderMap, edge: Duration, origin: Duration) {
    let tenths = |time: Duration| u64::try_from((time.as_micros() + 50) / 100).unwrap_or(u64::MAX);
    let [edge, origin] = [edge, origin].map(tenths);
    let text = format!(
        "edge;dur={}.{}, origin;dur={}.{}",
        edge / 10,
        edge % 10,
        origin / 10,
        origin % 10,
    );
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(SERVER_TIMING, value);
    }
}

/// Whether a request is a call of gRPC, or of its form for browsers.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let media = headers.get(http::header::CONTENT_TYPE);
    media.is_some_and(|media| media.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_concerns_one_connection_is_removed() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        remove_what_ends_here(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*"), ("te", "trailers")]));
    }

    #[test]
    fn a_trailer_that_is_dropped_is_not_announced() {
        for (given, expected) in [
            ("Meridian-Committed", None),
            ("grpc-status, meridian-applied", Some("grpc-status")),
            ("Grpc-Status,X", Some("Grpc-Status,X")),
            ("Meridian", Some("Meridian")),
        ] {
            let mut headers = map(&[("trailer", given)]);
            remove_what_ends_here(&mut headers);
            let said = headers.get(TRAILER).map(|said| said.to_str().unwrap());
            assert_eq!(said, expected, "{given}");
        }
    }

    #[test]
    fn cookies_are_sent_on_in_one_field() {
        let mut headers = map(&[("cookie", "a=1;b=2"), ("cookie", "c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2; c=3")]));
    }

    fn forwarded(trusted: bool) -> HeaderMap {
        let mut headers = map(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "http"),
        ]);
        let hop = Hop {
            peer: &HeaderValue::from_static("203.0.113.9"),
            trusted,
            host: "api.example.com",
            scheme: "https",
            version: Version::HTTP_2,
            via: &Via::new("fra 1"),
            request_id: &HeaderValue::from_static("abc"),
        };
        add_forwarding(&mut headers, &hop);
        headers
    }

    #[test]
    fn a_trusted_proxy_s_word_is_kept_and_anybody_else_s_replaced() {
        assert_eq!(forwarded(true)["x-forwarded-for"], "1.2.3.4, 203.0.113.9");
        assert_eq!(forwarded(true)["x-forwarded-proto"], "http");
        assert_eq!(forwarded(false)["x-forwarded-for"], "203.0.113.9");
        assert_eq!(forwarded(false)["x-forwarded-proto"], "https");
        assert_eq!(forwarded(false)["via"], "2 fra-1");
    }

    #[test]
    fn a_trace_is_continued_or_begun() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let mut headers = map(&[("traceparent", &format!("00-{id}-00f067aa0ba902b7-00"))]);
        continue_trace(&mut headers);
        let text = headers["traceparent"].to_str().unwrap();
        assert!(text.starts_with(&format!("00-{id}-")) && text.ends_with("-00"));
        assert!(!text.contains("00f067aa0ba902b7"));
        for bad in [
            "",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_of(bad), None);
        }
    }

    #[test]
    fn a_request_id_of_128_characters_is_taken_over_and_a_longer_one_is_not() {
        for (length, is_taken_over) in [(1, true), (128, true), (129, false), (0, false)] {
            let own = "a".repeat(length);
            let id = request_id(&map(&[("x-request-id", &own)]));
            assert_eq!(id == own, is_taken_over, "{length}");
        }
    }
}
