//! How often somebody may ask: many times at once, then so many a second, so that a script that runs away leaves the edge to
//! its work and the page to others, and what was done in the audit log.
//!
//! Pure: the time is an argument. Bounded: those who are remembered have an end, and those that asked least are forgotten first.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::attempts::network;
use super::caller::Who;
use crate::prefix::Prefix;

/// Requests that a network may make at once; a page with all its parts open makes fewer than ten a second.
const REQUESTS_AT_ONCE: u64 = 5_000;

/// Then one in so many ms.
const REQUEST_EVERY_MS: u64 = 2;

/// Changes that whoever may make them may make at once: of a few hundred services each.
const CHANGES_AT_ONCE: u64 = 1_000;

/// Then one in so many ms: of one caller the audit log holds the acts of a quarter of an hour, however long they are.
const CHANGE_EVERY_MS: u64 = 500;

/// Those who are remembered.
const MOST: usize = 1_024;

/// How often each may ask.
#[derive(Clone, Copy, Debug)]
struct Limit {
    at_once: u64,
    every_ms: u64,
}

/// What was asked of late.
#[derive(Debug)]
pub(super) struct Pace<K> {
    limit: Limit,
    /// When what somebody asked is made good, all at the limit's pace.
    made_good_ms: HashMap<K, u64>,
}

impl Pace<Prefix> {
    /// Of a network's requests.
    pub(super) fn of_requests() -> Self {
        Self::new(REQUESTS_AT_ONCE, REQUEST_EVERY_MS)
    }

    /// Counts a request, or says how many ms its client is too early.
    pub(super) fn admit_client(&mut self, client: IpAddr, now_ms: u64) -> Result<(), u64> {
        self.admit(network(client), now_ms)
    }
}

impl Pace<Who> {
    /// Of somebody's changes.
    pub(super) fn of_changes() -> Self {
        Self::new(CHANGES_AT_ONCE, CHANGE_EVERY_MS)
    }
}

impl<K: Clone + Eq + Hash> Pace<K> {
    fn new(at_once: u64, every_ms: u64) -> Self {
        Self {
            limit: Limit { at_once, every_ms },
            made_good_ms: HashMap::new(),
        }
    }

    /// Counts what somebody asks, or says how many ms that is too early.
    pub(super) fn admit(&mut self, who: K, now_ms: u64) -> Result<(), u64> {
        let Limit { at_once, every_ms } = self.limit;
        let known = self.made_good_ms.get(&who).copied();
        let made_good_ms = known.unwrap_or(0).max(now_ms) + every_ms;
        let too_early_ms = made_good_ms.saturating_sub(now_ms + at_once * every_ms);
        if too_early_ms > 0 {
            return Err(too_early_ms);
        }
        if known.is_none() && self.made_good_ms.len() >= MOST {
            self.forget(now_ms);
        }
        self.made_good_ms.insert(who, made_good_ms);
        Ok(())
    }

    /// Makes room for one more.
    fn forget(&mut self, now_ms: u64) {
        self.made_good_ms.retain(|_, at| *at > now_ms);
        if self.made_good_ms.len() < MOST {
            return;
        }
        let least = self.made_good_ms.iter().min_by_key(|(_, at)| **at);
        if let Some(who) = least.map(|(who, _)| who.clone()) {
            self.made_good_ms.remove(&who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(pace: &mut Pace<Prefix>, client: &str, now_ms: u64) -> Result<(), u64> {
        pace.admit_client(client.parse().unwrap(), now_ms)
    }

    #[test]
    fn five_thousand_requests_are_answered_at_once_and_then_five_hundred_a_second() {
        let mut pace = Pace::of_requests();
        for _ in 0..REQUESTS_AT_ONCE {
            assert_eq!(admitted(&mut pace, "203.0.113.7", 50), Ok(()));
        }
        assert_eq!(admitted(&mut pace, "203.0.113.7", 50), Err(2));
        assert_eq!(admitted(&mut pace, "203.0.113.8", 50), Ok(()), "another");
        let of_a_second = |pace: &mut Pace<Prefix>, from_ms| {
            let admitted =
                (from_ms..from_ms + 1_000).filter(|at| admitted(pace, "203.0.113.7", *at).is_ok());
            admitted.count()
        };
        assert_eq!(of_a_second(&mut pace, 51), 500);
        assert_eq!(of_a_second(&mut pace, 3_600_000), 1_000, "all is made good");
    }

    #[test]
    fn whoever_has_a_64_asks_as_one() {
        let mut pace = Pace::of_requests();
        for host in 0..REQUESTS_AT_ONCE {
            assert_eq!(
                admitted(&mut pace, &format!("2001:db8::{host:x}"), 0),
                Ok(())
            );
        }
        assert_eq!(admitted(&mut pace, "2001:db8::ffff:1", 0), Err(2));
    }

    #[test]
    fn a_flood_of_networks_takes_no_more_memory_and_frees_nobody_who_asks_too_much() {
        let mut pace = Pace::of_requests();
        for _ in 0..REQUESTS_AT_ONCE {
            assert_eq!(admitted(&mut pace, "203.0.113.7", 0), Ok(()));
        }
        for last in 0..10_000_u32 {
            let client = IpAddr::from((u32::from_be_bytes([10, 0, 0, 0]) + last).to_be_bytes());
            assert_eq!(pace.admit_client(client, 0), Ok(()));
        }
        assert_eq!(pace.made_good_ms.len(), MOST);
        assert_eq!(admitted(&mut pace, "203.0.113.7", 0), Err(2));
    }

    #[test]
    fn a_thousand_changes_are_made_at_once_and_then_two_a_second_of_each_who_may() {
        let (mut pace, ops) = (Pace::of_changes(), Who::Bearer("ops".into()));
        for _ in 0..CHANGES_AT_ONCE {
            assert_eq!(pace.admit(ops.clone(), 50), Ok(()));
        }
        assert_eq!(pace.admit(ops.clone(), 50), Err(500));
        assert_eq!(pace.admit(Who::ThisMachine, 50), Ok(()), "another");
        let admitted = (51..10_051).filter(|at| pace.admit(ops.clone(), *at).is_ok());
        assert_eq!(admitted.count(), 20);
    }
}
