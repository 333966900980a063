//! What regions answered and how fast, as totals that whoever shows them takes differences of.
//!
//! A request costs a few atomic additions in memory that is its core's own; readers add up. Services and
//! regions are counted by name, so that a reload loses nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::sample::{Sample, Sampled};
use crate::config::plan::{Access, Plan};
use crate::ids::MemberName;
use crate::per_core::{Count, PerCore};

/// What is under this is not told apart.
const LEAST_US: usize = 64;

/// Buckets of an octave.
const STEPS: usize = 16;

/// From `LEAST_US` to nine minutes.
pub const TIME_BUCKETS: usize = 1 + STEPS * 23;

/// Regions that are gone and whose counters are kept, so that nobody who renames regions again and again fills the memory.
const MOST_GONE: usize = 64;

/// Totals since the process began; all wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedTotals {
    /// Answers of origins that went to clients.
    pub answers: u64,
    /// Those of them with a status of 5xx, and tries that got no answer.
    pub errors: u64,
    /// Answers by the time to their first byte, see [`bucket_ms`].
    pub times: [u64; TIME_BUCKETS],
    /// All of these times together, µs.
    pub spent_us: u64,
}

impl ServedTotals {
    /// Answers that took less than [`bucket_upper_us`] of this octave.
    pub fn within_octave(&self, octave: u32) -> u64 {
        let buckets = usize::try_from(octave).map_or(TIME_BUCKETS, |octave| 1 + STEPS * octave);
        self.times.iter().take(buckets).sum()
    }
}

/// What answers within so many octaves took less than, µs.
pub fn bucket_upper_us(octave: u32) -> u64 {
    64 << octave.min(32)
}

impl Default for ServedTotals {
    fn default() -> Self {
        Self {
            answers: 0,
            errors: 0,
            times: [0; TIME_BUCKETS],
            spent_us: 0,
        }
    }
}

/// One core's part of what a region answered; a cache line is nobody else's.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    errors: AtomicU64,
    spent_us: AtomicU64,
    times: [AtomicU64; TIME_BUCKETS],
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            errors: AtomicU64::new(0),
            spent_us: AtomicU64::new(0),
            times: [const { AtomicU64::new(0) }; TIME_BUCKETS],
        }
    }
}

/// What one region answered, for all services.
#[derive(Debug, Default)]
struct RegionServed(PerCore<Shard>);

/// What one region answered for one service.
#[derive(Debug)]
pub(super) struct Served {
    answers: Count,
    writes: Count,
    sample: ByAccess<Sample>,
    region: Arc<RegionServed>,
}

/// How many answers one region gave for one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them.
    pub all: u64,
    /// Those to writes.
    pub writes: u64,
}

/// One for reads and one for writes.
#[derive(Clone, Debug, Default)]
pub struct ByAccess<T> {
    /// Of what reads.
    pub reads: T,
    /// Of what writes.
    pub writes: T,
}

impl<T> ByAccess<T> {
    /// The one for these.
    pub fn of(&self, access: Access) -> &T {
        match access {
            Access::Read => &self.reads,
            Access::Write => &self.writes,
        }
    }
}

impl Served {
    fn of(region: Arc<RegionServed>) -> Self {
        Self {
            answers: Count::default(),
            writes: Count::default(),
            sample: ByAccess::default(),
            region,
        }
    }

    /// Counts an answer that begins to go to the client this long after its request came.
    pub(super) fn answered(&self, is_error: bool, after: Duration, access: Access) {
        self.answers.add(1);
        if access == Access::Write {
            self.writes.add(1);
        }
        let shard = self.region.0.mine();
        if is_error {
            shard.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = shard.times.get(bucket(after)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let spent_us = u64::try_from(after.as_micros()).unwrap_or(0);
        shard.spent_us.fetch_add(spent_us, Ordering::Relaxed);
    }

    /// Counts a try that got no answer, or one that another region was to better.
    pub(super) fn failed(&self) {
        self.region.0.mine().errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what was answered into the sample, perhaps.
    pub(super) fn sample(&self, access: Access, now_ms: u64, request: impl FnOnce() -> Sampled) {
        self.sample.of(access).take(now_ms, request);
    }

    fn answers(&self) -> Answers {
        Answers {
            all: self.answers.total(),
            writes: self.writes.total(),
        }
    }
}

impl RegionServed {
    fn totals(&self) -> ServedTotals {
        let mut totals = ServedTotals::default();
        for shard in self.0.iter() {
            let add = |total: &mut u64, part: u64| *total = total.wrapping_add(part);
            add(&mut totals.errors, shard.errors.load(Ordering::Relaxed));
            add(&mut totals.spent_us, shard.spent_us.load(Ordering::Relaxed));
            for (total, part) in totals.times.iter_mut().zip(&shard.times) {
                let part = part.load(Ordering::Relaxed);
                add(total, part);
                add(&mut totals.answers, part);
            }
        }
        totals
    }
}

/// What every region of the Plan answered, in all and for each service; outlives reloads.
#[derive(Debug, Default)]
pub struct ServedCounters(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    regions: HashMap<Arc<str>, Arc<RegionServed>>,
    /// Of regions that a reload has taken away, the last ones: if one comes back, it counts on.
    gone: VecDeque<(Arc<str>, Arc<RegionServed>)>,
    members: HashMap<MemberName, Arc<Served>>,
}

impl ServedCounters {
    /// Forgets what this Plan does not name.
    pub(super) fn keep_only(&self, plan: &Plan) {
        let mut known = self.known();
        let Known { regions, gone, .. } = &mut *known;
        gone.extend(regions.extract_if(|name, _| plan.region(name).is_none()));
        while gone.len() > MOST_GONE {
            gone.pop_front();
        }
        let services: HashSet<&str> = plan.services.values().map(|known| &*known.name).collect();
        known.members.retain(|(service, region), _| {
            services.contains(&**service) && plan.region(region).is_some()
        });
    }

    /// The counters of a region for a service.
    pub(super) fn of(&self, service: &Arc<str>, region: &Arc<str>) -> Arc<Served> {
        let mut known = self.known();
        let Known {
            regions,
            gone,
            members,
        } = &mut *known;
        let of_service = members.entry((service.clone(), region.clone()));
        let of_service = of_service.or_insert_with(|| {
            let of_region = regions.entry(region.clone()).or_insert_with(|| {
                let at = gone.iter().position(|(name, _)| name == region);
                let (_, back) = at.and_then(|at| gone.remove(at)).unzip();
                back.unwrap_or_default()
            });
            Arc::new(Served::of(of_region.clone()))
        });
        of_service.clone()
    }

    /// The totals of every region.
    pub fn totals(&self) -> Vec<(Arc<str>, ServedTotals)> {
        let known = self.known();
        let totals = known.regions.iter();
        totals
            .map(|(name, served)| (name.clone(), served.totals()))
            .collect()
    }

    /// Answers by the names of service and region.
    pub fn answers(&self) -> Vec<(MemberName, Answers)> {
        let known = self.known();
        let answers = known.members.iter();
        answers
            .map(|(name, served)| (name.clone(), served.answers()))
            .collect()
    }

    /// Some of what a region answered for a service since then, and how many requests each stands for.
    pub fn sampled_since(&self, name: &MemberName, since_ms: u64) -> ByAccess<Vec<(Sampled, f64)>> {
        let served = self.known().members.get(name).cloned();
        served.map_or_else(ByAccess::default, |served| ByAccess {
            reads: served.sample.reads.since(since_ms),
            writes: served.sample.writes.since(since_ms),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sixteenths of octaves of [`LEAST_US`].
fn bucket(time: Duration) -> usize {
    let us = usize::try_from(time.as_micros()).unwrap_or(usize::MAX);
    let Some(octave) = (us / LEAST_US).checked_ilog2() else {
        return 0;
    };
    let step = (us >> octave) / (LEAST_US / STEPS) % STEPS;
    let octaves = usize::try_from(octave).unwrap_or(TIME_BUCKETS);
    (1 + STEPS * octaves + step).min(TIME_BUCKETS - 1)
}

/// The middle of a bucket in ms.
pub fn bucket_ms(at: usize) -> f64 {
    // Exact: both are small.
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let unit_ms = 0.064;
    match at.checked_sub(1) {
        None => unit_ms / 2.0,
        Some(at) => {
            let step = (number(at % STEPS) + 0.5) / number(STEPS);
            number(at / STEPS).exp2() * (1.0 + step) * unit_ms
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_told_within_a_32nd(us in 64_u64..500_000_000) {
            let told = bucket_ms(bucket(Duration::from_micros(us)));
            let ms = us as f64 / 1000.0;
            prop_assert!((told - ms).abs() <= ms / 32.0 + 1e-9, "{ms} as {told}");
        }

        #[test]
        fn longer_is_never_told_as_shorter(a in 0_u64..u64::MAX, b in 0_u64..u64::MAX) {
            let (less, more) = (a.min(b), a.max(b));
            let at = |us| bucket(Duration::from_micros(us));
            prop_assert!(at(less) <= at(more) && at(more) < TIME_BUCKETS);
        }
    }

    fn name(service: &str) -> MemberName {
        (service.into(), "near".into())
    }

    #[test]
    fn a_region_that_a_reload_takes_away_counts_on_when_it_comes_back() {
        let plan = |regions: &str| {
            let yaml = format!(
                "regions: {{ {regions} }}\nservices: {{ www: {{ hosts: [www.example.com] }} }}"
            );
            load_text("edge.yaml", &yaml, &|_| None).unwrap().plan
        };
        let (both, one) = (
            plan("near: { addresses: [192.0.2.1] }, far: { addresses: [192.0.2.2] }"),
            plan("far: { addresses: [192.0.2.2] }"),
        );
        let counters = ServedCounters::default();
        let (service, region) = name("www");
        let count = || {
            let served = counters.of(&service, &region);
            served.answered(false, Duration::from_millis(1), Access::Read);
            counters
                .totals()
                .iter()
                .map(|(_, totals)| totals.answers)
                .sum::<u64>()
        };
        assert_eq!(count(), 1);
        counters.keep_only(&one);
        assert_eq!(counters.totals(), [], "it is told no more");
        counters.keep_only(&both);
        assert_eq!(count(), 2);
        for number in 0..=MOST_GONE {
            counters.of(&service, &format!("r{number}").into());
            counters.keep_only(&one);
        }
        assert_eq!(count(), 1, "the oldest of too many are forgotten");
    }

    /// Were there a lock in it, this test would not end.
    #[test]
    fn an_answer_is_counted_while_others_read_and_a_plan_is_compiled() {
        let counters = ServedCounters::default();
        let (service, region) = name("www");
        let served = counters.of(&service, &region);
        let held = counters.known();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                served.answered(false, Duration::from_millis(1), Access::Read);
                served.failed();
            });
        });
        drop(held);
        let one = Answers { all: 1, writes: 0 };
        assert_eq!(counters.answers(), [(name("www"), one)]);
    }

    #[test]
    fn threads_count_apart_and_are_added_up() {
        let counters = ServedCounters::default();
        let [www, api] = ["www", "api"].map(|service| {
            let (service, region) = name(service);
            counters.of(&service, &region)
        });
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    www.answered(false, Duration::from_millis(1), Access::Write);
                    www.answered(true, Duration::from_secs(1), Access::Read);
                    api.answered(false, Duration::from_secs(2), Access::Read);
                    api.failed();
                });
            }
        });
        let (region, totals) = counters.totals().remove(0);
        assert_eq!((&*region, totals.answers, totals.errors), ("near", 60, 40));
        assert_eq!(totals.times.iter().sum::<u64>(), 60);
        let mut answers = counters.answers();
        answers.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (api, www) = (
            Answers { all: 20, writes: 0 },
            Answers {
                all: 40,
                writes: 20,
            },
        );
        assert_eq!(answers, [(name("api"), api), (name("www"), www)]);
    }
}
