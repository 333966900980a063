//! Header fields that a proxy adds, changes and removes.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRAILER, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use smallvec::SmallVec;

use super::inbound::cookie_pairs;
use super::trace::{X_REQUEST_ID, continue_trace, new_each_time};

pub(super) const MERIDIAN_REGION: HeaderName = HeaderName::from_static("meridian-region");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Prefix of every header of Meridian's own.
pub(super) const OWN_PREFIX: &str = "meridian-";

/// Fields that are added to a request.
const ADDED: usize = 8;

/// How often a request passes a node: one that comes once more goes round.
const MOST_PASSES: usize = 3;

/// What a request's forwarding headers are made of.
pub(super) struct Hop<'a> {
    /// The peer's address.
    pub(super) peer: &'a HeaderValue,
    pub(super) trusted: bool,
    /// As the client named it.
    pub(super) host: &'a HeaderValue,
    pub(super) scheme: &'static str,
    pub(super) version: Version,
    pub(super) via: &'a Via,
    pub(super) request_id: &'a HeaderValue,
}

/// Removes what goes no further: what concerns one connection only (RFC 9110 §7.6.1), and every header of
/// Meridian's own that a client or an origin has sent. `TE: trailers` stays: gRPC needs it.
pub(super) fn remove_what_ends_here(headers: &mut HeaderMap) {
    let mut ending: SmallVec<[HeaderName; 4]> = SmallVec::new();
    let mut announces = false;
    for (name, value) in &*headers {
        if *name == CONNECTION {
            let named = value.as_bytes().split(|byte| *byte == b',');
            let named = named.map(<[u8]>::trim_ascii);
            // The one that most name ends here in any case.
            let named = named.filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"));
            ending.extend(named.filter_map(|name| HeaderName::from_bytes(name).ok()));
        }
        announces |= *name == TRAILER;
        if ends_here(name.as_str()) {
            ending.push(name.clone());
        }
    }
    if announces {
        announce_without(headers, is_no_trailer);
    }
    let takes_trailers = ending.contains(&TE) && lists(headers, &TE, "trailers");
    remove_each(headers, ending);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Announces no trailer that is removed, by its name in lower case.
pub(super) fn announce_without(headers: &mut HeaderMap, is_removed: impl Fn(&str) -> bool) {
    let is_removed = |name: &&[u8]| {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        is_removed(&name)
    };
    let lines = headers.get_all(TRAILER).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii);
    let (removed, others): (Vec<&[u8]>, Vec<&[u8]>) = names.partition(is_removed);
    if removed.is_empty() {
        return;
    }
    match HeaderValue::from_bytes(&others.join(&b", "[..])) {
        Ok(names) if !names.is_empty() => headers.insert(TRAILER, names),
        Ok(_) | Err(_) => headers.remove(TRAILER),
    };
}

/// Removes from an answer's trailers what goes no further.
pub(super) fn remove_from_trailers(trailers: &mut HeaderMap) {
    remove_what_ends_here(trailers);
    remove_each(trailers, [TE, HOST, CONTENT_LENGTH]);
}

/// RFC 9110 §6.5.1: what frames or routes a message comes too late behind it.
fn is_no_trailer(name: &str) -> bool {
    ends_here(name) || [HOST, CONTENT_LENGTH].iter().any(|late| name == *late)
}

fn ends_here(name: &str) -> bool {
    is_of_connection(name) || name.starts_with(OWN_PREFIX)
}

/// Whether a field concerns one connection only.
pub(super) fn is_of_connection(name: &str) -> bool {
    // Most names are told by their first letter.
    let first = name.as_bytes().first();
    matches!(first, Some(b'c' | b'h' | b'k' | b'p' | b't' | b'u'))
        && matches!(
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
        )
}

/// Removes these fields.
pub(super) fn remove_each(headers: &mut HeaderMap, names: impl IntoIterator<Item = HeaderName>) {
    for name in names {
        headers.remove(name);
    }
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
    headers.reserve(ADDED);
    forward_for(headers, hop);
    if !hop.trusted || !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(hop.scheme));
    }
    if !hop.trusted || !headers.contains_key(X_FORWARDED_HOST) {
        headers.insert(X_FORWARDED_HOST, hop.host.clone());
    }
    headers.insert(X_REQUEST_ID, hop.request_id.clone());
    hop.via.add(headers, hop.version);
    continue_trace(headers);
}

/// What a trusted proxy sent is kept, anybody else's replaced; the peer is appended.
fn forward_for(headers: &mut HeaderMap, hop: &Hop<'_>) {
    if !hop.trusted {
        headers.insert(X_FORWARDED_FOR, hop.peer.clone());
        return;
    }
    let given: Vec<&[u8]> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
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

    /// Whether a request has passed here so often that it goes round: an edge is its own origin, or two are each other's.
    pub(super) fn is_looping(&self, headers: &HeaderMap) -> bool {
        let own = node_of(self.http2.as_bytes());
        let lines = headers.get_all(VIA).iter();
        let hops = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        hops.filter(|hop| node_of(hop) == own).count() >= MOST_PASSES
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

/// Whom an entry of Via names, behind the version.
fn node_of(hop: &[u8]) -> Option<&[u8]> {
    hop.trim_ascii().split(|byte| *byte == b' ').nth(1)
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
    let mut text = Vec::with_capacity(48);
    for (label, time) in [("edge;dur=", edge), (", origin;dur=", origin)] {
        let tenths = tenths(time);
        text.extend_from_slice(label.as_bytes());
        text.extend_from_slice(itoa::Buffer::new().format(tenths / 10).as_bytes());
        text.push(b'.');
        text.extend_from_slice(itoa::Buffer::new().format(tenths % 10).as_bytes());
    }
    if let Some(value) = new_each_time(text) {
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
            ("Host, Upgrade, X", Some("X")),
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

    #[test]
    fn times_are_told_in_ms_with_one_decimal() {
        let mut headers = HeaderMap::new();
        let times = [Duration::from_micros(149), Duration::from_micros(12_350)];
        add_server_timing(&mut headers, times[0], times[1]);
        assert_eq!(headers[SERVER_TIMING], "edge;dur=0.1, origin;dur=12.4");
        assert!(headers[SERVER_TIMING].is_sensitive());
    }

    fn forwarded(trusted: bool) -> HeaderMap {
        let headers = map(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "http"),
        ]);
        forwarded_on(headers, trusted)
    }

    fn forwarded_on(mut headers: HeaderMap, trusted: bool) -> HeaderMap {
        let hop = Hop {
            peer: &HeaderValue::from_static("203.0.113.9"),
            trusted,
            host: &HeaderValue::from_static("api.example.com"),
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
    fn of_what_a_trusted_proxy_has_told_no_byte_is_left_out() {
        let mut headers = HeaderMap::new();
        let told = HeaderValue::from_bytes(b"\xff, 192.0.2.7").unwrap();
        headers.insert("x-forwarded-for", told);
        let sent = forwarded_on(headers, true);
        assert_eq!(
            sent["x-forwarded-for"].as_bytes(),
            b"\xff, 192.0.2.7, 203.0.113.9"
        );
    }
}
