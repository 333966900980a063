//! How long an origin keeps a connection on which nothing happens.
//!
//! Many close it after a few seconds (Node after 5, Apache after 5), and say so in `Keep-Alive: timeout=5` (RFC 2068 §19.7.1.1).
//! A request that is sent as they do is lost, and one that is not safe cannot be sent again.

use std::time::Duration;

use http::HeaderMap;

/// The longest time that an answer may have taken to get here, after which its origin began to count.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// How long a connection may be kept after this answer, if its origin says so: less a second, and at most half, for the way.
pub(super) fn kept_for(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("keep-alive").into_iter();
    let parameters = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let told = parameters.filter_map(timeout).min()?;
    Some(told - ON_ITS_WAY.min(told / 2))
}

/// `timeout=SECONDS`.
fn timeout(parameter: &[u8]) -> Option<Duration> {
    let (name, seconds) = std::str::from_utf8(parameter).ok()?.split_once('=')?;
    let seconds: u32 = seconds.trim().parse().ok()?;
    let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
    is_timeout.then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn told(values: &[&'static str]) -> Option<u128> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("keep-alive", HeaderValue::from_static(value));
        }
        kept_for(&headers).map(|kept| kept.as_millis())
    }

    #[test]
    fn an_origin_s_word_counts_less_a_second_and_at_most_half() {
        assert_eq!(told(&["timeout=5"]), Some(4_000));
        assert_eq!(told(&["timeout=5, max=100"]), Some(4_000));
        assert_eq!(told(&["max=100 , Timeout = 75"]), Some(74_000));
        assert_eq!(told(&["timeout=1"]), Some(500));
        assert_eq!(told(&["timeout=0"]), Some(0));
        assert_eq!(told(&["timeout=9", "timeout=7"]), Some(6_000));
    }

    #[test]
    fn what_is_no_time_says_nothing() {
        for value in [
            "",
            "max=5",
            "timeout",
            "timeout=",
            "timeout=-1",
            "timeout=5s",
            "timeout=99999999999",
            "=5",
        ] {
            assert_eq!(told(&[value]), None, "{value}");
        }
        assert_eq!(told(&[]), None);
    }
}
