//! What requests are followed by: their ids, and traces (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::chance;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest request id that is taken over from a client.
const LONGEST_REQUEST_ID: usize = 128;

/// The request's id: the client's if it is a sensible one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sensible = |value: &&HeaderValue| {
        !value.is_empty()
            && value.len() <= LONGEST_REQUEST_ID
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let given = headers.get(X_REQUEST_ID).filter(sensible);
    let mut id = given.cloned().unwrap_or_else(new_id);
    id.set_sensitive(NEW_EACH_TIME);
    id
}

fn new_id() -> HeaderValue {
    let mut id = Vec::with_capacity(32);
    push_hex(&mut id, &chance::id_128().to_be_bytes());
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// Of a value that no later message has: it is kept out of the table of fields of HTTP/2, where it would only drive out
/// those that come again (RFC 7541 §7.1.3).
const NEW_EACH_TIME: bool = true;

pub(super) fn new_each_time(text: Vec<u8>) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(NEW_EACH_TIME);
    Some(value)
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Beside that the one of an id that is random: others are not told on (W3C Trace Context Level 2 §3.2.2.5).
const KNOWN_FLAGS: u8 = 3;

/// Continues a trace with a span of the edge's own, or begins one (W3C Trace Context §3.2).
pub(super) fn continue_trace(headers: &mut HeaderMap) {
    let mut parents = headers.get_all(TRACEPARENT).into_iter();
    let given = parents.next().filter(|_| parents.next().is_none());
    let given = given
        .and_then(|value| value.to_str().ok())
        .and_then(trace_of);
    let is_new = given.is_none();
    let mut value = Vec::with_capacity(55);
    value.extend_from_slice(b"00-");
    match given {
        Some((trace, _)) => value.extend_from_slice(trace.as_bytes()),
        None => push_hex(&mut value, &chance::id_128().to_be_bytes()),
    }
    value.push(b'-');
    push_hex(&mut value, &chance::id_64().to_be_bytes());
    value.push(b'-');
    let flags = given.map_or(SAMPLED, |(_, flags)| flags & KNOWN_FLAGS);
    value.extend_from_slice(&[b'0', b'0' + flags]);
    if is_new {
        headers.remove(TRACESTATE); // It belongs to the trace that is not continued (§3.4).
    }
    if let Some(value) = new_each_time(value) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Appends bytes, a multiple of four, as lower-case hexadecimal digits.
fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    let (fours, _) = bytes.as_chunks();
    for four in fours {
        text.extend_from_slice(&hex(u32::from_be_bytes(*four)));
    }
}

/// All eight digits at once.
fn hex(number: u32) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Each digit gets a byte of its own.
    let digits = u64::from(number);
    let digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    let digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // From 10 on, six more reach 16.
    let are_letters = (digits + 6 * EACH) >> 4 & EACH;
    let letters = are_letters * u64::from(b'a' - 10 - b'0');
    (digits + u64::from(b'0') * EACH + letters).to_be_bytes()
}

/// The trace id and flags of a valid `traceparent`.
fn trace_of(text: &str) -> Option<(&str, u8)> {
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
    let flags = u8::from_str_radix(flags, 16).ok()?;
    valid.then_some((trace, flags))
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
    fn a_trace_is_continued_or_begun() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let mut headers = map(&[("traceparent", &format!("00-{id}-00f067aa0ba902b7-00"))]);
        continue_trace(&mut headers);
        let text = headers["traceparent"].to_str().unwrap();
        assert!(text.starts_with(&format!("00-{id}-")) && text.ends_with("-00"));
        assert!(!text.contains("00f067aa0ba902b7"));
        for (flags, told) in [("02", "02"), ("03", "03"), ("ff", "03"), ("f0", "00")] {
            let parent = format!("00-{id}-00f067aa0ba902b7-{flags}");
            let mut headers = map(&[("traceparent", &parent)]);
            continue_trace(&mut headers);
            let text = headers["traceparent"].to_str().unwrap();
            assert_eq!(text.rsplit('-').next(), Some(told), "{flags}");
            let mut headers = map(&[("traceparent", &parent), ("traceparent", &parent)]);
            continue_trace(&mut headers);
            assert_eq!(headers.get_all("traceparent").iter().count(), 1);
            assert!(!headers["traceparent"].to_str().unwrap().contains(id));
        }
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

    proptest::proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(number: u32) {
            let expected = format!("{number:08x}");
            proptest::prop_assert_eq!(&hex(number)[..], expected.as_bytes());
        }
    }
}
