//! The one place that reads clocks; the pure rooms take `now`.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the file that the rule leaves"
)]

mod steps;

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub(crate) use steps::Steps;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// Milliseconds of the steady clock, which begins anew with every process.
    pub(crate) steady_ms: u64,
}

/// This moment.
pub(crate) fn now() -> Now {
    Now {
        unix_ms: unix_ms(),
        steady_ms: steady_ms(),
    }
}

/// Milliseconds of a clock that never jumps, since the process began.
pub fn steady_ms() -> u64 {
    u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// When something happened, by the same clock.
pub fn steady_ms_at(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(*STARTED);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds of the same clock.
pub fn steady_us() -> u64 {
    u64::try_from(STARTED.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 by the wall clock.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Seconds since 1970 by the wall clock, up to the year 2106.
pub fn unix_secs() -> u32 {
    u32::try_from(unix_ms() / 1000).unwrap_or(u32::MAX)
}

/// `2026-11-24T10:30:00.123Z` (RFC 3339) for milliseconds since 1970.
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (secs, ms) = (of_day / 1000, of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60
    )
}

/// `20261124103000`, in UTC, for seconds since 1970: how DNSSEC writes times (RFC 4034 §3.2).
pub fn dnssec_time(unix_secs: u32) -> String {
    let (year, month, day) = civil(u64::from(unix_secs) / 86_400);
    let of_day = unix_secs % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// The inverse of [`dnssec_time`]; `None` for what is no time from 1970 to 2106.
pub fn read_dnssec_time(text: &str) -> Option<u32> {
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The first day whose date this is; a date that does not exist is that of no day.
    let guess = (u64::from(year) - 1970) * 365;
    let date = (u64::from(year), u64::from(month), u64::from(day));
    let day = (guess..guess + 366 + 36).find(|day| civil(*day) == date)?;
    let secs = day * 86_400 + u64::from(hour * 3600 + minute * 60 + second);
    u32::try_from(secs).ok()
}

/// The date of a day since 1970-01-01 in the proleptic Gregorian calendar; counts in eras of 400
/// years that begin on 1 March.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let z = days_since_1970 + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (era * 400 + yoe + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dnssec_times_are_read_as_they_are_written() {
        for secs in [0, 951_782_400, 1_795_516_200, u32::MAX] {
            assert_eq!(read_dnssec_time(&dnssec_time(secs)), Some(secs));
        }
        // RFC 4034 §3.3
        assert_eq!(read_dnssec_time("20030322173103"), Some(1_048_354_263));
        for wrong in [
            "20260230000000",
            "2026",
            "20261301000000",
            "19691231235959",
            "20260101240000",
        ] {
            assert_eq!(read_dnssec_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_show_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_516_200_123), "2026-11-24T10:30:00.123Z");
    }
}
