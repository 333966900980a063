//! What regions answered and how fast, as totals that whoever shows them takes differences of.
//!
//! A request costs an atomic addition or two in memory that few other threads write to; readers add up. Regions are
//! counted by name, so that a reload loses nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use crate::config::plan::Plan;
use crate::ids::{RegionId, Table};

/// Threads beyond so many share what they write to.
const SHARDS: usize = 8;

/// What is under this is not told apart.
const LEAST_US: u128 = 64;

/// Four an octave, from [`LEAST_US`] to nine minutes.
pub const TIME_BUCKETS: usize = 1 + 4 * 23;

/// Totals since the process began; all wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedTotals {
    /// Answers of origins that went to clients.
    pub answers: u32,
    /// Those of them with a status of 5xx, and tries that got no answer.
    pub errors: u32,
    /// Answers by the time to their first byte, see [`bucket_ms`].
    pub times: [u32; TIME_BUCKETS],
}

impl Default for ServedTotals {
    fn default() -> Self {
        Self {
            answers: 0,
            errors: 0,
            times: [0; TIME_BUCKETS],
        }
    }
}

/// One thread's, or few threads', part of the totals; a cache line is nobody else's.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    answers: AtomicU32,
    errors: AtomicU32,
    times: [AtomicU32; TIME_BUCKETS],
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            answers: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            times: [const { AtomicU32::new(0) }; TIME_BUCKETS],
        }
    }
}

/// What one region answered.
#[derive(Debug, Default)]
pub(super) struct Served([Shard; SHARDS]);

impl Served {
    /// Counts an answer that begins to go to the client this long after its request came.
    pub(super) fn answered(&self, status: StatusCode, after: Duration) {
        let Some(shard) = self.shard() else { return };
        shard.answers.fetch_add(1, Ordering::Relaxed);
        if status.is_server_error() {
            shard.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = shard.times.get(bucket(after)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a try that got no answer.
    pub(super) fn failed(&self) {
        if let Some(shard) = self.shard() {
            shard.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn shard(&self) -> Option<&Shard> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        self.0.get(MINE.with(|mine| *mine))
    }

    fn totals(&self) -> ServedTotals {
        let mut totals = ServedTotals::default();
        for shard in &self.0 {
            let add = |total: &mut u32, part: &AtomicU32| {
                *total = total.wrapping_add(part.load(Ordering::Relaxed));
            };
            add(&mut totals.answers, &shard.answers);
            add(&mut totals.errors, &shard.errors);
            for (total, part) in totals.times.iter_mut().zip(&shard.times) {
                add(total, part);
            }
        }
        totals
    }
}

/// What every region of the Plan answered; outlives reloads.
#[derive(Debug, Default)]
pub struct ServedCounters(Mutex<HashMap<Arc<str>, Arc<Served>>>);

impl ServedCounters {
    /// The counters of a Plan's regions; those of others are forgotten.
    pub(super) fn of(&self, plan: &Plan) -> Table<RegionId, Arc<Served>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name, _| plan.region(name).is_some());
        Table::like(&plan.regions, |id| {
            let name = plan.regions.of(id).name.clone();
            known.entry(name).or_default().clone()
        })
    }

    /// The totals of every region.
    pub fn totals(&self) -> Vec<(Arc<str>, ServedTotals)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = known.iter();
        totals
            .map(|(name, served)| (name.clone(), served.totals()))
            .collect()
    }
}

/// Quarters of octaves of [`LEAST_US`].
fn bucket(time: Duration) -> usize {
    let units = time.as_micros() / LEAST_US;
    let Some(octave) = units.checked_ilog2() else {
        return 0;
    };
    let quarter = ((units << 2) >> octave) & 3;
    let at = 1 + 4 * u128::from(octave) + quarter;
    usize::try_from(at).map_or(TIME_BUCKETS - 1, |at| at.min(TIME_BUCKETS - 1))
}

/// The middle of a bucket in ms.
pub fn bucket_ms(at: usize) -> f64 {
    // Exact: both are small.
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let unit_ms = 0.064;
    match at.checked_sub(1) {
        None => unit_ms / 2.0,
        Some(at) => (number(at / 4)).exp2() * (1.125 + number(at % 4) / 4.0) * unit_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_told_within_an_eighth(us in 64_u64..500_000_000) {
            let told = bucket_ms(bucket(Duration::from_micros(us)));
            let ms = us as f64 / 1000.0;
            prop_assert!((told - ms).abs() <= ms / 8.0 + 0.064, "{ms} as {told}");
        }

        #[test]
        fn longer_is_never_told_as_shorter(a in 0_u64..u64::MAX, b in 0_u64..u64::MAX) {
            let (less, more) = (a.min(b), a.max(b));
            let at = |us| bucket(Duration::from_micros(us));
            prop_assert!(at(less) <= at(more) && at(more) < TIME_BUCKETS);
        }
    }

    #[test]
    fn threads_count_apart_and_are_added_up() {
        let served = Served::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    served.answered(StatusCode::OK, Duration::from_millis(1));
                    served.answered(StatusCode::BAD_GATEWAY, Duration::from_secs(1));
                    served.failed();
                });
            }
        });
        let totals = served.totals();
        assert_eq!((totals.answers, totals.errors), (40, 40));
        assert_eq!(totals.times.iter().sum::<u32>(), 40);
    }
}
