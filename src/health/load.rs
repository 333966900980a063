//! How many requests an origin has had lately, whatever became of them.
//!
//! Pure: `now` is in milliseconds of the steady clock. It counts where passive health is off too, because how busy an
//! origin is says nothing against it.

use super::passive::Seen;

/// Seconds that are looked back on.
const LOOKED_BACK: u64 = 10;

/// The requests of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    /// Since the clock began.
    at: u64,
    requests: u32,
}

/// The requests of the last ten seconds, by the second in which they were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load([Second; 10]);

impl Load {
    /// Takes in what was seen.
    pub fn observe(&mut self, seen: &Seen, now_ms: u64) {
        let at = now_ms / 1000;
        let place = usize::try_from(at % LOOKED_BACK).unwrap_or(0);
        let Some(second) = self.0.get_mut(place) else {
            return;
        };
        if second.at != at {
            *second = Second { at, requests: 0 };
        }
        let requests = seen.good.saturating_add(seen.failed);
        second.requests = second.requests.saturating_add(requests);
    }

    /// Requests in a second, over the second of `now` and the nine before.
    pub fn per_second(&self, now_ms: u64) -> f64 {
        let now = now_ms / 1000;
        let is_recent = |second: &&Second| second.at <= now && second.at + LOOKED_BACK > now;
        let recent = self.0.iter().filter(is_recent);
        let requests: f64 = recent.map(|second| f64::from(second.requests)).sum();
        // Exact: it is 10.
        requests / f64::from(u32::try_from(LOOKED_BACK).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(good: u32, failed: u32) -> Seen {
        Seen {
            good,
            failed,
            ..Seen::default()
        }
    }

    #[test]
    fn failures_are_requests_too() {
        let mut load = Load::default();
        load.observe(&seen(600, 400), 5_000);
        assert!((load.per_second(5_000) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_ten_seconds_old_counts_no_more() {
        let mut load = Load::default();
        load.observe(&seen(10, 0), 5_999);
        assert!((load.per_second(14_999) - 1.0).abs() < 1e-9);
        assert!(load.per_second(15_000).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn it_is_what_a_list_of_all_would_say(
            seen_at in prop::collection::vec((0_u64..4_000, 0_u32..1_000), 0..60),
            later_ms in 0_u64..20_000,
        ) {
            let (mut load, mut all, mut now_ms) = (Load::default(), Vec::new(), 0);
            for (after_ms, requests) in seen_at {
                now_ms += after_ms;
                load.observe(&seen(requests, 0), now_ms);
                all.push((now_ms / 1000, requests));
            }
            now_ms += later_ms;
            let recent = all.iter().filter(|(at, _)| at + 10 > now_ms / 1000);
            let expected: u32 = recent.map(|(_, requests)| requests).sum();
            prop_assert!((load.per_second(now_ms) - f64::from(expected) / 10.0).abs() < 1e-9);
        }
    }
}
