//! What each region's readers see, as far as this edge knows, for one consistency domain.
//!
//! Kept per origin, because replicas of one region differ. A report that was asked for before what
//! is known had arrived is late and ignored; one that was asked for afterwards and says less means
//! that the region ran backwards, and is believed at once. All times are milliseconds of the
//! edge's own steady clock: replication lag is measured here, never taken from a remote clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fork::Forks;
use super::marks::Marks;
use super::vector::{Entry, Position, RegionName, Vector};

/// The share of a new lag sample in the moving average.
const LAG_WEIGHT: f64 = 0.25;

/// One report of what an origin has applied.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The region that speaks.
    pub region: &'a RegionName,
    /// Its origin.
    pub origin: &'a str,
    /// What its readers see.
    pub applied: &'a Vector,
    /// When the report was asked for.
    pub asked_at_ms: u64,
    /// When it arrived.
    pub now_ms: u64,
}

/// What a report changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Nothing new, or late.
    Known,
    /// The origin sees more than before.
    Advanced,
    /// The origin sees less than it did: it ran backwards.
    Regressed,
}

/// How a region stands towards what a client must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of it is applied there.
    Dominates,
    /// Not yet. `expected` is how long it may still take; `None` when nothing was ever measured.
    Behind {
        /// From now.
        expected: Option<Duration>,
    },
}

/// The positions of one domain.
#[derive(Debug, Default)]
pub struct Applied {
    state: Mutex<State>,
    /// Whether some region must not be read from; kept apart, because every read asks.
    pub(super) has_unfit: AtomicBool,
}

/// Whose regions and origins have to do with a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Region → its origins.
    pub regions: BTreeMap<RegionName, Vec<Arc<str>>>,
    /// How long the shortest-lived of its tokens lives.
    pub ttl: Duration,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) members: Membership,
    /// Region → origin → what it sees.
    pub(super) regions: BTreeMap<RegionName, BTreeMap<Arc<str>, Seen>>,
    /// Where epochs began, by the writers' own word.
    pub(super) forks: Forks,
    /// Region that writes → the newest epoch that it has named, and when it first did.
    pub(super) newest: BTreeMap<RegionName, (u64, u64)>,
    /// Region that writes → its recent writes.
    marks: BTreeMap<RegionName, Marks>,
    /// (who applies, whose writes) → usual lag in ms.
    lag_ms: BTreeMap<(RegionName, RegionName), f64>,
    /// What every region has had at some time.
    pub(super) floor: Vector,
    /// Region that writes → the newest epoch whose losses were told.
    pub(super) told_losses: BTreeMap<RegionName, u64>,
    /// When it was last looked whether regions may be read from.
    pub(super) reviewed_ms: u64,
}

/// What an origin sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) applied: Vector,
    pub(super) asked_at_ms: u64,
    pub(super) at_ms: u64,
}

impl Applied {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the maps consistent, even if it were to panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what an origin says of itself.
    pub fn report(&self, report: Report<'_>) -> Reported {
        let mut state = self.state();
        if let Some(own) = report.applied.entry(report.region) {
            state.take_own_word(report.region, own, report.now_ms);
        }
        let reported = state.take(report);
        if let Some(has_unfit) = state.review(report.now_ms) {
            self.has_unfit.store(has_unfit, Ordering::Relaxed);
        }
        reported
    }

    /// Notes that `region` has written up to `position`, which it acknowledged just now.
    pub fn committed(&self, region: &RegionName, position: Position, now_ms: u64) {
        self.state().mark(region, position, now_ms);
    }

    /// How `region` stands: by its furthest origin, since the proxy may choose that one.
    pub fn standing(&self, region: &str, required: &Vector, now_ms: u64) -> Standing {
        let state = self.state();
        let origins = state.regions.get(region);
        let missing = origins
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|seen| state.missing_at(region, &seen.applied, required))
            .min_by_key(Vec::len)
            .unwrap_or_else(|| state.missing_at(region, &Vector::default(), required));
        if missing.is_empty() {
            return Standing::Dominates;
        }
        let expected = missing
            .iter()
            .map(|(writer, position)| state.expected_ms(region, writer, *position, now_ms))
            .try_fold(0.0_f64, |most, next| Some(most.max(next?)));
        Standing::Behind {
            expected: expected.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
        }
    }

    /// Whether whoever says that its readers see `applied` shows all of `required`.
    pub fn shows(&self, applied: &Vector, required: &Vector) -> bool {
        self.state().forks.dominates(applied, required)
    }

    /// Whether an origin is known to have applied all of `required`, or never said anything.
    pub fn origin_may_answer(&self, region: &str, origin: &str, required: &Vector) -> bool {
        let state = self.state();
        let seen = state
            .regions
            .get(region)
            .and_then(|origins| origins.get(origin));
        seen.is_none_or(|seen| state.missing_at(region, &seen.applied, required).is_empty())
    }

    /// Whether an origin is known to have applied all of `required`; of its region's own log it has all.
    pub fn origin_has(&self, region: &str, origin: &str, required: &Vector) -> bool {
        let state = self.state();
        let origins = state.regions.get(region);
        let seen = origins.and_then(|origins| origins.get(origin));
        let none = Vector::default();
        let applied = seen.map_or(&none, |seen| &seen.applied);
        state.missing_at(region, applied, required).is_empty()
    }

    /// What the region as a whole has applied: the least of its origins. Empty if it never said.
    pub fn region(&self, region: &str) -> Vector {
        self.state().region(region)
    }

    /// How far the region's replication lags now, over all writers; `None` if it never said.
    pub fn lag(&self, region: &str, now_ms: u64) -> Option<Duration> {
        let state = self.state();
        state.regions.get(region)?;
        let lag_ms = state.lag_of(region, &state.region(region), now_ms);
        Some(Duration::from_millis(lag_ms))
    }

    /// What every region has applied, for `state_dir` and the status page.
    pub fn all(&self) -> Vec<(RegionName, Arc<str>, Vector)> {
        let state = self.state();
        state
            .regions
            .iter()
            .flat_map(|(region, origins)| {
                origins
                    .iter()
                    .map(|(origin, seen)| (region.clone(), origin.clone(), seen.applied.clone()))
            })
            .collect()
    }

    /// Where epochs began.
    pub fn forks(&self) -> Forks {
        self.state().forks.clone()
    }

    /// Restores where an epoch of a region began.
    pub fn remember_fork(&self, writer: &RegionName, entry: Entry) {
        let mut state = self.state();
        if state.members.regions.contains_key(writer) {
            state.forks.learn(writer, entry);
        }
    }

    /// Takes over whose regions there are, and forgets origins that are no longer among them.
    pub fn adopt(&self, members: Membership) {
        let mut state = self.state();
        state.regions.retain(|region, origins| {
            let still = members.regions.get(region);
            origins.retain(|origin, _| still.is_some_and(|still| still.contains(origin)));
            !origins.is_empty()
        });
        let is_member = |region: &str| members.regions.contains_key(region);
        state.forks.retain(is_member);
        state.newest.retain(|region, _| is_member(region));
        state.told_losses.retain(|region, _| is_member(region));
        state.members = members;
    }
}

impl State {
    /// What a region says of its own log: how far it is, and where its epoch began.
    fn take_own_word(&mut self, region: &RegionName, own: Entry, now_ms: u64) {
        self.mark(region, own.position, now_ms);
        self.forks.learn(region, own);
        let epoch = own.position.epoch;
        let newest = self.newest.entry(region.clone()).or_insert((epoch, now_ms));
        if newest.0 < epoch {
            *newest = (epoch, now_ms);
        }
    }

    fn take(&mut self, report: Report<'_>) -> Reported {
        let origins = self.regions.entry(report.region.clone()).or_default();
        let seen = origins.entry(report.origin.into()).or_default();
        if report.asked_at_ms < seen.at_ms {
            return Reported::Known;
        }
        let before = std::mem::replace(&mut seen.applied, report.applied.clone());
        (seen.asked_at_ms, seen.at_ms) = (report.asked_at_ms, report.now_ms);
        self.sample_lag(report.region, &before, report.applied, report.now_ms);
        let ran_backwards = |region: &str, position| {
            let now = report.applied.get(region);
            now.is_none_or(|now| now < position)
        };
        if let Some(own) = before.get(report.region)
            && ran_backwards(report.region, own)
        {
            let own = report.applied.get(report.region).unwrap_or_default();
            self.marks
                .entry(report.region.clone())
                .or_default()
                .cut(own);
        }
        let less = before
            .iter()
            .any(|(region, position)| ran_backwards(region, position));
        match (less, *report.applied == before) {
            (true, _) => Reported::Regressed,
            (false, true) => Reported::Known,
            (false, false) => Reported::Advanced,
        }
    }

    /// What `region` lacks whose readers see `applied`. What it has committed itself, it has applied (the
    /// contract's "only missing entry"), unless it says that it has left that epoch.
    fn missing_at(
        &self,
        region: &str,
        applied: &Vector,
        required: &Vector,
    ) -> Vec<(RegionName, Position)> {
        self.forks
            .missing(applied, required)
            .filter(|(writer, wanted)| {
                let has_left = |own: Position| own.epoch > wanted.epoch;
                ***writer != *region || applied.get(region).is_some_and(has_left)
            })
            .map(|(writer, wanted)| (writer.clone(), wanted))
            .collect()
    }

    /// The least of a region's origins; empty if none ever spoke.
    pub(super) fn region(&self, region: &str) -> Vector {
        let origins = self.regions.get(region);
        let seen = origins.into_iter().flat_map(BTreeMap::values);
        let least = seen.map(|seen| seen.applied.clone());
        least
            .reduce(|least, applied| least.least(&applied))
            .unwrap_or_default()
    }

    /// How long ago the first write was made that `region` lacks, whose readers see `applied`; in ms.
    pub(super) fn lag_of(&self, region: &str, applied: &Vector, now_ms: u64) -> u64 {
        self.marks
            .iter()
            .filter(|(writer, _)| ***writer != *region)
            .filter_map(|(writer, marks)| {
                // Nothing reported is nothing applied, and 0 is nothing written.
                marks.first_missing_ms(applied.get(writer).unwrap_or_default())
            })
            .map(|at_ms| now_ms.saturating_sub(at_ms))
            .max()
            .unwrap_or(0)
    }

    /// Remembers when a writer was first seen at a position.
    fn mark(&mut self, writer: &RegionName, position: Position, now_ms: u64) {
        let marks = self.marks.entry(writer.clone()).or_default();
        marks.add(position, now_ms);
    }

    /// Samples the lag of the newest write that `region` has just come to see.
    fn sample_lag(&mut self, region: &RegionName, before: &Vector, after: &Vector, now_ms: u64) {
        for (writer, position) in after.iter().filter(|(writer, _)| *writer != region) {
            let marks = self.marks.get(writer);
            let crossed = marks.and_then(|marks| marks.crossed_ms(before.get(writer), position));
            let Some(at_ms) = crossed else { continue };
            let sample = millis(now_ms.saturating_sub(at_ms));
            self.lag_ms
                .entry((region.clone(), writer.clone()))
                .and_modify(|lag| *lag += LAG_WEIGHT * (sample - *lag))
                .or_insert(sample);
        }
    }

    /// How long until `region` has applied a writer's position, judged by its usual lag.
    fn expected_ms(
        &self,
        region: &str,
        writer: &RegionName,
        position: Position,
        now_ms: u64,
    ) -> Option<f64> {
        let usual = self
            .lag_ms
            .iter()
            .find(|((who, whose), _)| **who == *region && whose == writer)
            .map(|(_, lag)| *lag)?;
        let written = self.marks.get(writer);
        let written = written.and_then(|marks| marks.written_ms(position));
        let since = written.map_or(0, |at_ms| now_ms.saturating_sub(at_ms));
        Some((usual - millis(since)).max(1.0))
    }
}

/// Milliseconds as a float; exact far past any lag.
fn millis(ms: u64) -> f64 {
    u32::try_from(ms).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::parse_vector;

    fn vector(text: &str) -> Vector {
        parse_vector(text, VersionForm::Integer).unwrap()
    }

    fn report(
        applied: &Applied,
        origin: &str,
        text: &str,
        asked_at_ms: u64,
        now_ms: u64,
    ) -> Reported {
        applied.report(Report {
            region: &"eu".into(),
            origin,
            applied: &vector(text),
            asked_at_ms,
            now_ms,
        })
    }

    #[test]
    fn a_region_stands_by_what_it_reported() {
        let applied = Applied::default();
        let behind = Standing::Behind { expected: None };
        assert_eq!(applied.standing("eu", &vector("us=5"), 0), behind);
        assert_eq!(report(&applied, "a", "us=5", 0, 1), Reported::Advanced);
        assert_eq!(
            applied.standing("eu", &vector("us=5"), 1),
            Standing::Dominates
        );
        assert_eq!(applied.standing("eu", &vector("us=6"), 1), behind);
    }

    #[test]
    fn a_region_dominates_its_own_writes_before_it_says_so() {
        let applied = Applied::default();
        assert_eq!(
            applied.standing("eu", &vector("eu=9"), 0),
            Standing::Dominates
        );
    }

    #[test]
    fn a_late_report_neither_lowers_nor_raises_nor_accuses() {
        let applied = Applied::default();
        report(&applied, "a", "us=6", 10, 20);
        assert_eq!(report(&applied, "a", "us=5", 15, 30), Reported::Known);
        assert_eq!(report(&applied, "a", "us=7", 15, 40), Reported::Known);
        assert_eq!(applied.region("eu"), vector("us=6"));
    }

    #[test]
    fn a_region_that_runs_backwards_is_lowered_at_once() {
        let applied = Applied::default();
        report(&applied, "a", "us=6", 10, 20);
        assert_eq!(report(&applied, "a", "us=5", 25, 30), Reported::Regressed);
        assert_eq!(applied.region("eu"), vector("us=5"));
    }

    #[test]
    fn a_region_has_applied_what_the_least_of_its_origins_has() {
        let applied = Applied::default();
        report(&applied, "a", "us=6,ap=2", 0, 1);
        report(&applied, "b", "us=4", 0, 1);
        assert_eq!(applied.region("eu"), vector("us=4"));
        assert_eq!(
            applied.standing("eu", &vector("us=6"), 1),
            Standing::Dominates
        );
        assert!(!applied.origin_may_answer("eu", "b", &vector("us=6")));
        assert!(applied.origin_may_answer("eu", "a", &vector("us=6")));
    }

    #[test]
    fn lag_is_measured_from_the_write_to_the_report_that_includes_it() {
        let applied = Applied::default();
        let us: RegionName = "us".into();
        applied.committed(&us, Position { epoch: 0, seq: 1 }, 100);
        report(&applied, "a", "us=1", 290, 300);
        assert_eq!(applied.lag("eu", 300), Some(Duration::ZERO));
        applied.committed(&us, Position { epoch: 0, seq: 2 }, 1_000);
        assert_eq!(applied.lag("eu", 1_050), Some(Duration::from_millis(50)));
        let Standing::Behind {
            expected: Some(expected),
        } = applied.standing("eu", &vector("us=2"), 1_050)
        else {
            panic!("eu cannot have it yet");
        };
        assert_eq!(expected, Duration::from_millis(150));
    }
}
