//! What each region's readers see, as far as this edge knows, for one consistency domain.
//!
//! Kept per origin, because replicas of one region differ. A report that was asked for before what
//! is known had arrived is late and ignored; one that was asked for afterwards and says less means
//! that the region ran backwards, and is believed at once. All times are milliseconds of the
//! edge's own steady clock: replication lag is measured here, never taken from a remote clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::marks::Marks;
use super::vector::{MOST_VECTOR_ENTRIES, Position, RegionName, Vector};
use super::wait::Waiting;
use super::waiters::Need;

/// How long pushes do not raise what is known of an origin that ran backwards; longer than any push is
/// under way, and as long as its region shows as degraded.
const DOUBTED_FOR_MS: u64 = 60_000;

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
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Region → origin → what it sees.
    pub(super) regions: BTreeMap<RegionName, BTreeMap<Arc<str>, Seen>>,
    /// Region that writes → when it was first seen how far.
    pub(super) marks: BTreeMap<RegionName, Marks>,
    /// (who applies, whose writes) → usual lag in ms.
    pub(super) lag_ms: BTreeMap<(RegionName, RegionName), f64>,
    /// Region → the reads that wait for it.
    pub(super) waiting: BTreeMap<RegionName, Waiting>,
}

/// What an origin said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    applied: Vector,
    /// When that arrived.
    pub(super) at_ms: u64,
    /// Whether it tells by itself as soon as it has applied more: a long poll is out.
    followed: bool,
    /// When an answer last showed that it ran backwards.
    lowered_at_ms: Option<u64>,
}

/// Whether this edge asked for a report, and so knows the earliest that it may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Asked,
    Unasked,
}

impl Seen {
    /// Whether a push may be of before the origin ran backwards.
    fn doubts(&self, pushed: &Vector, now_ms: u64) -> bool {
        let is_recent = |at_ms| now_ms < at_ms + DOUBTED_FOR_MS;
        self.lowered_at_ms.is_some_and(is_recent)
            && pushed
                .iter()
                .any(|(writer, position)| self.applied.get(writer).is_none_or(|has| has < position))
    }
}

impl Applied {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every critical section below leaves the maps consistent, even if it were to panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what an origin says of itself.
    pub fn report(&self, report: Report<'_>) -> Reported {
        self.state().take(report, Trust::Asked)
    }

    /// Takes in what a region says unasked. Nobody knows how long that was under way: for a while after
    /// an answer showed that the origin ran backwards, it does not raise what is known; `None`: it did
    /// not.
    pub fn push(&self, report: Report<'_>) -> Option<Reported> {
        let mut state = self.state();
        let origins = state.regions.get(report.region);
        let seen = origins.and_then(|origins| origins.get(report.origin));
        if seen.is_some_and(|seen| seen.doubts(report.applied, report.now_ms)) {
            return None;
        }
        Some(state.take(report, Trust::Unasked))
    }

    /// Notes that `region` has written up to `position`, which it acknowledged just now.
    pub fn committed(&self, region: &RegionName, position: Position, now_ms: u64) {
        self.state().mark(region, position, now_ms);
    }

    /// How `region` stands: by its furthest origin, since the proxy may choose that one.
    pub fn standing(&self, region: &str, required: &Vector, now_ms: u64) -> Standing {
        let state = self.state();
        let missing = state.region_misses(region, required);
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

    /// Whether an origin is known to have applied all of `required`, or never said anything.
    pub fn origin_may_answer(&self, region: &str, origin: &str, required: &Vector) -> bool {
        let state = self.state();
        state
            .regions
            .get(region)
            .and_then(|origins| origins.get(origin))
            .is_none_or(|seen| lacks(region, &seen.applied, required).is_none())
    }

    /// Whether an origin is known to have applied all of `required`; what it never spoke of it lacks.
    pub fn origin_shows(&self, region: &str, origin: &str, required: &Vector) -> bool {
        lacks(region, &self.origin(region, origin), required).is_none()
    }

    /// What an origin has applied. Empty if it never said.
    pub fn origin(&self, region: &str, origin: &str) -> Vector {
        let state = self.state();
        let origins = state.regions.get(region);
        let seen = origins.and_then(|origins| origins.get(origin));
        seen.map_or_else(Vector::default, |seen| seen.applied.clone())
    }

    /// Notes whether an origin tells by itself as soon as it has applied more.
    pub fn set_followed(&self, region: &str, origin: &str, followed: bool) {
        let mut state = self.state();
        let origins = state.regions.get_mut(region);
        if let Some(seen) = origins.and_then(|origins| origins.get_mut(origin)) {
            seen.followed = followed;
        }
    }

    /// Whether an origin tells by itself as soon as it has applied more.
    pub fn is_followed(&self, region: &str, origin: &str) -> bool {
        let state = self.state();
        let origins = state.regions.get(region);
        let seen = origins.and_then(|origins| origins.get(origin));
        seen.is_some_and(|seen| seen.followed)
    }

    /// What the region as a whole has applied: the least of its origins. Empty if it never said.
    pub fn region(&self, region: &str) -> Vector {
        self.state().region(region)
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

    /// Forgets the origins that a reload has taken away, and the writes of regions that are gone.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool, is_region: impl Fn(&str) -> bool) {
        let mut state = self.state();
        state.forget_writers(is_region);
        for (region, origins) in &mut state.regions {
            origins.retain(|origin, _| keep(region, origin));
        }
        state.regions.retain(|_, origins| !origins.is_empty());
        let State {
            regions, waiting, ..
        } = &mut *state;
        waiting.retain(|region, waiting| regions.contains_key(region) || !waiting.is_idle());
    }
}

impl State {
    fn forget_writers(&mut self, keep: impl Fn(&str) -> bool) {
        self.marks.retain(|writer, _| keep(writer));
        self.lag_ms
            .retain(|(region, writer), _| keep(region) && keep(writer));
    }

    fn take(&mut self, report: Report<'_>, trust: Trust) -> Reported {
        let Report {
            region, applied, ..
        } = report;
        if let Some(waiting) = self.waiting.get_mut(region) {
            waiting.wake(region, applied);
        }
        let origins = self.regions.entry(region.clone()).or_default();
        let seen = origins.entry(report.origin.into()).or_default();
        if report.asked_at_ms < seen.at_ms {
            return Reported::Known;
        }
        let before = std::mem::replace(&mut seen.applied, applied.clone());
        seen.at_ms = report.now_ms;
        let less = before
            .iter()
            .any(|(writer, position)| applied.get(writer).is_none_or(|now| now < position));
        if less && trust == Trust::Asked {
            seen.lowered_at_ms = Some(report.now_ms);
        }
        if less {
            self.forget_marks_past_what_is_left(region);
        }
        if let Some(position) = applied.get(region) {
            self.mark(region, position, report.now_ms);
        }
        self.sample_lag(region, &before, applied, report.now_ms);
        match (less, *applied == before) {
            (true, _) => Reported::Regressed,
            (false, true) => Reported::Known,
            (false, false) => Reported::Advanced,
        }
    }

    /// What a region that ran backwards had written is not written any more.
    fn forget_marks_past_what_is_left(&mut self, region: &RegionName) {
        let origins = self.regions.get(region).into_iter();
        let seen = origins.flat_map(BTreeMap::values);
        let left = seen.filter_map(|seen| seen.applied.get(region)).max();
        if let (Some(marks), Some(left)) = (self.marks.get_mut(region), left) {
            marks.forget_past(left);
        }
    }

    /// Remembers when a writer was first seen at a position.
    fn mark(&mut self, writer: &RegionName, position: Position, now_ms: u64) {
        let is_known = self.marks.contains_key(writer);
        // 0 is nothing written: a region that takes no writes is nobody's lag.
        if position == Position::default() || (!is_known && self.marks.len() >= MOST_VECTOR_ENTRIES)
        {
            return;
        }
        self.marks
            .entry(writer.clone())
            .or_default()
            .add(position, now_ms);
    }

    /// What the region as a whole has applied: the least of its origins.
    pub(super) fn region(&self, region: &str) -> Vector {
        let origins = self.regions.get(region).into_iter();
        let mut origins = origins.flat_map(BTreeMap::values);
        let Some(first) = origins.next() else {
            return Vector::default();
        };
        origins.fold(first.applied.clone(), |least, seen| {
            least.least(&seen.applied)
        })
    }

    /// What the origin that lacks the fewest entries lacks of `required`.
    fn region_misses(&self, region: &str, required: &Vector) -> Vec<Need> {
        let misses = |applied: &Vector| misses(region, applied, required).collect::<Vec<Need>>();
        let origins = self.regions.get(region).into_iter();
        origins
            .flat_map(BTreeMap::values)
            .map(|seen| misses(&seen.applied))
            .min_by_key(Vec::len)
            .unwrap_or_else(|| misses(&Vector::default()))
    }

    /// The first entry of `required` that the region is not known to show.
    pub(super) fn region_lacks(&self, region: &str, required: &Vector) -> Option<Need> {
        self.region_misses(region, required).into_iter().next()
    }

    /// Samples the lag of the newest write that `region` has just come to see.
    fn sample_lag(&mut self, region: &RegionName, before: &Vector, after: &Vector, now_ms: u64) {
        for (writer, position) in after.iter().filter(|(writer, _)| *writer != region) {
            let crossed = self.marks.get(writer).and_then(|marks| {
                let mark = marks.last_up_to(position)?;
                before
                    .get(writer)
                    .is_none_or(|had| had < mark.position)
                    .then_some(mark.at_ms)
            });
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
        let since = self
            .marks
            .get(writer)
            .and_then(|marks| marks.first_from(position))
            .map_or(0, |mark| now_ms.saturating_sub(mark.at_ms));
        Some((usual - millis(since)).max(1.0))
    }
}

/// What `applied` lacks of `required` in a region. What a region has committed itself, it has applied
/// (the contract's "only missing entry").
fn misses<'a>(
    region: &'a str,
    applied: &'a Vector,
    required: &'a Vector,
) -> impl Iterator<Item = Need> + 'a {
    applied
        .missing(required)
        .filter(move |(writer, _)| ***writer != *region)
        .map(|(writer, position)| (writer.clone(), position))
}

/// The first entry that `applied` lacks of `required` in a region.
pub(super) fn lacks(region: &str, applied: &Vector, required: &Vector) -> Option<Need> {
    misses(region, applied, required).next()
}

/// Milliseconds as a float; exact far past any lag.
fn millis(ms: u64) -> f64 {
    u32::try_from(ms).map_or(f64::from(u32::MAX), f64::from)
}

impl Vector {
    /// The entries that both have, each the smaller.
    fn least(&self, other: &Self) -> Self {
        let mut least = Self::default();
        for (region, position) in self.iter() {
            if let Some(theirs) = other.get(region) {
                least.set(region, position.min(theirs));
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_push_does_not_raise_what_an_answer_has_just_lowered() {
        let applied = Applied::default();
        let eu = "eu".into();
        let push = |text: &str, now_ms| {
            let applied_there = &vector(text);
            applied.push(Report {
                region: &eu,
                origin: "a",
                applied: applied_there,
                asked_at_ms: now_ms,
                now_ms,
            })
        };
        assert_eq!(push("us=9", 10), Some(Reported::Advanced));
        report(&applied, "a", "us=5", 20, 30);
        assert_eq!(push("us=9", 60_029), None, "it may be of before");
        assert_eq!(applied.region("eu"), vector("us=5"));
        assert_eq!(push("us=4", 60_029), Some(Reported::Regressed));
        assert_eq!(push("us=9", 60_030), Some(Reported::Advanced));
    }

    #[test]
    fn marks_of_what_ran_backwards_are_nobody_s_lag() {
        let applied = Applied::default();
        report(&applied, "a", "eu=9", 0, 0);
        report(&applied, "a", "eu=5", 1, 1);
        let us = "us".into();
        applied.report(Report {
            region: &us,
            origin: "b",
            applied: &vector("eu=5"),
            asked_at_ms: 2,
            now_ms: 2,
        });
        assert_eq!(applied.lag("us", 9_000), Some(Duration::ZERO));
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

    /// What an origin has at a time, and the reports of it that arrive in any order, some twice.
    fn any_history() -> impl Strategy<Value = (Vec<u64>, Vec<(usize, usize, usize)>)> {
        let history = prop::collection::vec(0u64..20, 40);
        let reports = prop::collection::vec((0usize..40, 0usize..10, 0usize..10), 1..40);
        (history, reports)
    }

    proptest! {
        /// Reports are asked for, then read, then arrive; the store may run backwards at any time.
        #[test]
        fn late_repeated_and_reordered_reports_leave_what_the_last_moment_known_had(
            (history, reports) in any_history()
        ) {
            let applied = Applied::default();
            let mut arrivals: Vec<_> = reports
                .iter()
                .map(|(asked, held, under_way)| (asked + held + under_way, *asked, asked + held))
                .collect();
            arrivals.sort_unstable();
            let mut newest_read = 0;
            for (arrived, asked, read) in arrivals {
                let text = format!("us={}", history[read.min(39)]);
                let at = |moment: usize| u64::try_from(moment).unwrap() * 2;
                let before = applied.region("eu");
                // A moment's answers arrive after its questions were asked.
                report(&applied, "a", &text, at(asked), at(arrived) + 1);
                if applied.region("eu") != before {
                    prop_assert!(read >= newest_read, "of an earlier moment than what was known");
                    newest_read = read;
                }
            }
        }
    }
}
