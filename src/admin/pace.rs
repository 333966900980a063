//! How many requests a network may make: many at once, then so many a second, so that a script that runs away leaves the edge
//! to its work and the page to others.
//!
//! Pure: the time is an argument. Bounded: what is remembered of networks has an end, and those that asked least are
//! forgotten first.

use std::collections::HashMap;
use std::net::IpAddr;

use super::attempts::network;
use crate::prefix::Prefix;

/// Requests that a network may make at once; a page with all its parts open makes fewer than ten a second.
const AT_ONCE: u64 = 5_000;

/// Then one in so many ms.
const PAUSE_MS: u64 = 2;

/// Networks that are remembered.
const MOST_NETWORKS: usize = 1_024;

/// The requests of late.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a network's requests are made good, all at [`PAUSE_MS`].
    made_good_ms: HashMap<Prefix, u64>,
}

impl Pace {
    /// Counts a request, or says how many ms its client is too early.
    pub(super) fn admit(&mut self, client: IpAddr, now_ms: u64) -> Result<(), u64> {
        let network = network(client);
        let known = self.made_good_ms.get(&network).copied();
        let made_good_ms = known.unwrap_or(0).max(now_ms) + PAUSE_MS;
        let too_early_ms = made_good_ms.saturating_sub(now_ms + AT_ONCE * PAUSE_MS);
        if too_early_ms > 0 {
            return Err(too_early_ms);
        }
        if known.is_none() && self.made_good_ms.len() >= MOST_NETWORKS {
            self.forget(now_ms);
        }
        self.made_good_ms.insert(network, made_good_ms);
        Ok(())
    }

    /// Makes room for one more network.
    fn forget(&mut self, now_ms: u64) {
        self.made_good_ms.retain(|_, at| *at > now_ms);
        if self.made_good_ms.len() < MOST_NETWORKS {
            return;
        }
        let least = self.made_good_ms.iter().min_by_key(|(_, at)| **at);
        if let Some(network) = least.map(|(network, _)| *network) {
            self.made_good_ms.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(pace: &mut Pace, client: &str, now_ms: u64) -> Result<(), u64> {
        pace.admit(client.parse().unwrap(), now_ms)
    }

    #[test]
    fn five_thousand_requests_are_answered_at_once_and_then_five_hundred_a_second() {
        let mut pace = Pace::default();
        for _ in 0..AT_ONCE {
            assert_eq!(admitted(&mut pace, "203.0.113.7", 50), Ok(()));
        }
        assert_eq!(admitted(&mut pace, "203.0.113.7", 50), Err(2));
        assert_eq!(admitted(&mut pace, "203.0.113.8", 50), Ok(()), "another");
        let of_a_second = |pace: &mut Pace, from_ms| {
            let admitted =
                (from_ms..from_ms + 1_000).filter(|at| admitted(pace, "203.0.113.7", *at).is_ok());
            admitted.count()
        };
        assert_eq!(of_a_second(&mut pace, 51), 500);
        assert_eq!(of_a_second(&mut pace, 3_600_000), 1_000, "all is made good");
    }

    #[test]
    fn whoever_has_a_64_asks_as_one() {
        let mut pace = Pace::default();
        for host in 0..AT_ONCE {
            assert_eq!(
                admitted(&mut pace, &format!("2001:db8::{host:x}"), 0),
                Ok(())
            );
        }
        assert_eq!(admitted(&mut pace, "2001:db8::ffff:1", 0), Err(2));
    }

    #[test]
    fn a_flood_of_networks_takes_no_more_memory_and_frees_nobody_who_asks_too_much() {
        let mut pace = Pace::default();
        for _ in 0..AT_ONCE {
            assert_eq!(admitted(&mut pace, "203.0.113.7", 0), Ok(()));
        }
        for last in 0..10_000_u32 {
            let client = IpAddr::from((u32::from_be_bytes([10, 0, 0, 0]) + last).to_be_bytes());
            assert_eq!(pace.admit(client, 0), Ok(()));
        }
        assert_eq!(pace.made_good_ms.len(), MOST_NETWORKS);
        assert_eq!(admitted(&mut pace, "203.0.113.7", 0), Err(2));
    }
}
