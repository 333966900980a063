//! What each region's readers see, as far as this edge knows, for one consistency domain.
//!
//! Kept per origin, because replicas of one region differ. A report that was asked for before what
//! is known had arrived is late and ignored; one that was asked for afterwards and says less means
//! that the region ran backwards, and is believed at once. All times are milliseconds of the
//! edge's own steady clock: replication lag is measured here, never taken from a remote clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::vector::{Position, RegionName, Vector};

/// Recent writes remembered per region, to tell how long others take to apply them.
const MOST_MARKS: usize = 64;

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
struct State {
    /// Region → origin → what it sees.
    regions: BTreeMap<RegionName, BTreeMap<Arc<str>, Seen>>,
    /// Region that writes → its recent writes, oldest first.
    marks: BTreeMap<RegionName, VecDeque<Mark>>,
    /// (who applies, whose writes) → usual lag in ms.
    lag_ms: BTreeMap<(RegionName, RegionName), f64>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    applied: Vector,
    at_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    position: Position,
    at_ms: u64,
}

impl Applied {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every critical section below leaves the maps consistent, even if it were to panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what an origin says of itself.
    pub fn report(&self, report: Report<'_>) -> Reported {
        let mut state = self.state();
        let own = report.applied.get(report.region);
        if let Some(position) = own {
            state.mark(report.region, position, report.now_ms);
        }
        let origins = state.regions.entry(report.region.clone()).or_default();
        let seen = origins.entry(report.origin.into()).or_default();
        let before = seen.applied.clone();
        if report.asked_at_ms < seen.at_ms {
            return Reported::Known;
        }
        seen.applied = report.applied.clone();
        seen.at_ms = report.now_ms;
        let less = before
            .iter()
            .any(|(region, position)| report.applied.get(region).is_none_or(|now| now < position));
        let after = seen.applied.clone();
        state.sample_lag(report.region, &before, &after, report.now_ms);
        match (less, after == before) {
            (true, _) => Reported::Regressed,
            (false, true) => Reported::Known,
            (false, false) => Reported::Advanced,
        }
    }

    /// Notes that `region` has written up to `position`, which it acknowledged just now.
    pub fn committed(&self, region: &RegionName, position: Position, now_ms: u64) {
        self.state().mark(region, position, now_ms);
    }

    /// How `region` stands: by its furthest origin, since the proxy may choose that one.
    pub fn standing(&self, region: &str, required: &Vector, now_ms: u64) -> Standing {
        let state = self.state();
        let origins = state.regions.get(region);
        // What a region has committed itself, it has applied (the contract's "only missing entry").
        let missing_at = |seen: &Seen| -> Vec<(RegionName, Position)> {
            seen.applied
                .missing(required)
                .filter(|(writer, _)| ***writer != *region)
                .map(|(r, p)| (r.clone(), p))
                .collect()
        };
        let missing = origins
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(missing_at)
            .min_by_key(Vec::len)
            .unwrap_or_else(|| missing_at(&Seen::default()));
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
            .is_none_or(|seen| {
                seen.applied
                    .missing(required)
                    .all(|(writer, _)| **writer == *region)
            })
    }

    /// What the region as a whole has applied: the least of its origins. Empty if it never said.
    pub fn region(&self, region: &str) -> Vector {
        let state = self.state();
        let mut origins = state
            .regions
            .get(region)
            .into_iter()
            .flat_map(BTreeMap::values);
        let Some(first) = origins.next() else {
            return Vector::default();
        };
        origins.fold(first.applied.clone(), |least, seen| {
            least.least(&seen.applied)
        })
    }

    /// How far the region's replication lags now, over all writers; `None` if it never said.
    pub fn lag(&self, region: &str, now_ms: u64) -> Option<Duration> {
        let applied = self.region(region);
        let state = self.state();
        state.regions.get(region)?;
        let oldest_missing_ms = state
            .marks
            .iter()
            .filter(|(writer, _)| ***writer != *region)
            .filter_map(|(writer, marks)| {
                // Nothing reported is nothing applied, and 0 is nothing written.
                let have = applied.get(writer).unwrap_or_default();
                marks
                    .iter()
                    .find(|mark| have < mark.position)
                    .map(|mark| now_ms.saturating_sub(mark.at_ms))
            })
            .max()
            .unwrap_or(0);
        Some(Duration::from_millis(oldest_missing_ms))
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

    /// Forgets the origins that a reload has taken away.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        let mut state = self.state();
        for (region, origins) in &mut state.regions {
            origins.retain(|origin, _| keep(region, origin));
        }
        state.regions.retain(|_, origins| !origins.is_empty());
    }
}

impl State {
    /// Remembers when a writer was first seen at a position.
    fn mark(&mut self, writer: &RegionName, position: Position, now_ms: u64) {
        let marks = self.marks.entry(writer.clone()).or_default();
        if marks.back().is_some_and(|last| last.position >= position) {
            return;
        }
        if marks.len() == MOST_MARKS {
            marks.pop_front();
        }
        marks.push_back(Mark {
            position,
            at_ms: now_ms,
        });
    }

    /// Samples the lag of the newest write that `region` has just come to see.
    fn sample_lag(&mut self, region: &RegionName, before: &Vector, after: &Vector, now_ms: u64) {
        for (writer, position) in after.iter().filter(|(writer, _)| *writer != region) {
            let crossed = self.marks.get(writer).and_then(|marks| {
                marks
                    .iter()
                    .rev()
                    .find(|mark| mark.position <= position)
                    .filter(|mark| before.get(writer).is_none_or(|had| had < mark.position))
            });
            let Some(mark) = crossed else { continue };
            let sample = millis(now_ms.saturating_sub(mark.at_ms));
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
            .and_then(|marks| marks.iter().find(|mark| mark.position >= position))
            .map_or(0, |mark| now_ms.saturating_sub(mark.at_ms));
        Some((usual - millis(since)).max(1.0))
    }
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
