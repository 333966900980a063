//! What the head of an answer says in every version of HTTP: when it was made, and how long its body is. RFC 9110.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Body as HttpBody;

use crate::clock;

/// RFC 9110 §6.4.1.
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

/// The length of the body that a head tells.
pub(super) fn told_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The length of a body that is not sent: what its origin has said, or of an answer to HEAD what the edge knows (RFC 9110
/// §8.6).
pub(super) fn length_unsent(
    status: StatusCode,
    headers: &HeaderMap,
    body: &impl HttpBody,
    is_head: bool,
) -> Option<u64> {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return None;
    }
    let known = body.size_hint().exact();
    let known = known.filter(|length| is_head && *length > 0);
    told_length(headers).or(known)
}

/// The time of this second (RFC 9110 §6.6.1).
pub(super) fn date() -> HeaderValue {
    thread_local! {
        static LAST: RefCell<Option<(u32, HeaderValue)>> = const { RefCell::new(None) };
    }
    let now = clock::unix_secs();
    LAST.with_borrow_mut(|last| match last {
        Some((second, date)) if *second == now => date.clone(),
        Some(_) | None => last.insert((now, date_of(now))).1.clone(),
    })
}

fn date_of(second: u32) -> HeaderValue {
    let time = UNIX_EPOCH + Duration::from_secs(second.into());
    let text = httpdate::fmt_http_date(time);
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_the_rfc_s_example_is() {
        assert_eq!(date_of(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
