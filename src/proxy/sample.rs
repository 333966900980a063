//! Some of the requests that a region answered for a service of late, as many of them as steering has to know to decide
//! again: what a dry run looks ahead by.
//!
//! Every request of a turn is taken with the same chance, which is halved whenever there is no more room. One
//! that is not taken costs two loads and a random number.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::chance;
use crate::steering::Spread;

/// Of a turn: in between half as many and so many, if there are.
const MOST_SAMPLED: usize = 64;

/// The time in which all have the same chance: what comes behind a burst is told apart from it when a dry run counts
/// the burst no more.
const TURN_MS: u64 = 5_000;

/// Turns that are kept beside the present one: longer than a dry run looks back.
const MOST_TURNS: usize = 14;

/// The bytes of what residency or a write's home goes by: a request with more is not taken.
const MOST_TEXT: usize = 256;

/// What steering knew of a request, but for tokens and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Who sent it.
    pub client: IpAddr,
    /// Its place among a hundred.
    pub spread: Spread,
    /// What residency goes by, where that is a field of the request.
    pub residency: Option<String>,
    /// The key whose home it goes to, if it writes.
    pub write_key: Option<String>,
}

impl Sampled {
    fn is_short(&self) -> bool {
        let texts = [&self.residency, &self.write_key].into_iter().flatten();
        texts.map(String::len).all(|length| length <= MOST_TEXT)
    }
}

/// Those of a turn.
#[derive(Debug, Default)]
struct Turn {
    /// How often the chance was halved.
    halved: u32,
    /// With when each came.
    requests: Vec<(u64, Sampled)>,
}

/// Those of this turn and of the ones before it, oldest first.
#[derive(Debug, Default)]
struct Turns {
    now: Turn,
    before: VecDeque<Turn>,
}

/// The sample of one region's answers for one service, reads or writes.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// When this turn ends, on the edge's steady clock.
    ends_ms: AtomicU64,
    /// How often the chance of this turn was halved.
    halved: AtomicU32,
    turns: Mutex<Turns>,
}

impl Sample {
    /// Takes a request, perhaps. Waits for nobody: while another is being taken this one is not.
    pub(super) fn take(&self, now_ms: u64, request: impl FnOnce() -> Sampled) {
        let is_next = now_ms >= self.ends_ms.load(Ordering::Relaxed);
        if !is_next && !chance::halves(self.halved.load(Ordering::Relaxed)) {
            return;
        }
        let Ok(mut turns) = self.turns.try_lock() else {
            return;
        };
        let turns = &mut *turns;
        if now_ms >= self.ends_ms.load(Ordering::Relaxed) {
            if turns.before.len() == MOST_TURNS {
                turns.before.pop_front();
            }
            turns.before.push_back(std::mem::take(&mut turns.now));
            self.ends_ms.store(now_ms + TURN_MS, Ordering::Relaxed);
        }
        let turn = &mut turns.now;
        let is_full = turn.requests.len() >= MOST_SAMPLED;
        if is_full {
            turn.halved += 1;
            turn.requests.retain(|_| chance::halves(1));
        }
        self.halved.store(turn.halved, Ordering::Relaxed);
        // It has the chance that all have now.
        if is_full && !chance::halves(1) {
            return;
        }
        let request = request();
        if request.is_short() {
            turn.requests.push((now_ms, request));
        }
    }

    /// Those that came since then, and how many each stands for.
    pub(super) fn since(&self, since_ms: u64) -> Vec<(Sampled, f64)> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = turns.before.iter().chain([&turns.now]);
        let weighed = turns.flat_map(|turn| {
            let stands_for = f64::from(turn.halved).exp2();
            let requests = turn.requests.iter();
            let late = requests.filter(|(came_ms, _)| *came_ms >= since_ms);
            late.map(move |(_, request)| (request.clone(), stands_for))
        });
        weighed.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn of(client: u32) -> Sampled {
        Sampled {
            client: Ipv4Addr::from(client).into(),
            spread: Spread::default(),
            residency: None,
            write_key: None,
        }
    }

    fn clients(sample: &Sample, since_ms: u64) -> Vec<u32> {
        let late = sample.since(since_ms).into_iter();
        let client = |(request, _): (Sampled, f64)| match request.client {
            IpAddr::V4(client) => client.into(),
            IpAddr::V6(_) => panic!("nobody has such an address"),
        };
        late.map(client).collect()
    }

    #[test]
    fn few_requests_are_all_in_the_sample_for_as_long_as_a_dry_run_counts_them() {
        let sample = Sample::default();
        for second in 0..300_u64 {
            sample.take(second * 1_000, || of(second as u32));
            let counted = second.saturating_sub(65)..=second;
            let since_ms = counted.start() * 1_000;
            let told = clients(&sample, since_ms).into_iter().map(u64::from);
            let mut told: Vec<u64> = told.collect();
            told.sort_unstable();
            assert_eq!(told, counted.collect::<Vec<_>>());
        }
    }

    /// A client of each ten sends a tenth of the requests, however many there are.
    #[test]
    fn of_many_the_sample_is_bounded_and_tells_what_they_are_like_and_how_many() {
        fastrand::seed(7);
        for thousands in [1, 10, 100, 1_000] {
            let sample = Sample::default();
            let all = thousands * 1_000;
            for number in 0..all {
                sample.take(number * TURN_MS / all, || of((number % 10) as u32));
            }
            let late = sample.since(0);
            assert!((20..=MOST_SAMPLED).contains(&late.len()), "{}", late.len());
            let told: f64 = late.iter().map(|(_, stands_for)| stands_for).sum();
            assert!((told / all as f64 - 1.0).abs() < 0.5, "{told} of {all}");
            let less_than_5 = clients(&sample, 0).iter().filter(|of| **of < 5).count();
            let share = less_than_5 as f64 / late.len() as f64;
            assert!((share - 0.5).abs() < 0.25, "{share} of {all}");
        }
    }

    #[test]
    fn of_a_minute_of_steady_traffic_a_half_is_told_within_five_points() {
        fastrand::seed(7);
        let sample = Sample::default();
        for number in 0..650_000_u64 {
            sample.take(number / 10, || of((number % 2) as u32));
        }
        let late = clients(&sample, 0);
        assert!(late.len() > 400, "{}", late.len());
        let share = late.iter().filter(|of| **of == 0).count() as f64 / late.len() as f64;
        assert!((share - 0.5).abs() < 0.05, "{share}");
    }

    #[test]
    fn when_a_rush_is_over_all_of_the_few_who_come_then_are_in_the_sample() {
        fastrand::seed(7);
        let sample = Sample::default();
        for number in 0..100_000 {
            sample.take(number / 100, || of(0));
        }
        for second in 6..36 {
            sample.take(u64::from(second) * 1_000, || of(second));
        }
        assert_eq!(clients(&sample, 5_000), (6..36).collect::<Vec<_>>());
    }

    #[test]
    fn a_request_with_a_key_of_any_length_costs_no_memory() {
        let sample = Sample::default();
        let with_key = |length: usize| Sampled {
            write_key: Some("k".repeat(length)),
            ..of(1)
        };
        sample.take(0, || with_key(MOST_TEXT + 1));
        assert_eq!(sample.since(0), []);
        sample.take(0, || with_key(MOST_TEXT));
        assert_eq!(sample.since(0).len(), 1);
    }

    /// Were it waited for, this test would not end.
    #[test]
    fn no_request_waits_while_another_is_taken() {
        let sample = Sample::default();
        sample.take(0, || {
            sample.take(0, || of(2));
            of(1)
        });
        assert_eq!(clients(&sample, 0), [1]);
    }
}
