//! Replication lag, region by region: how far each is behind each writer, in positions and in time.
//!
//! Pure. Time is this edge's own: from when it first knew of a write until now, while the region is
//! not known to have applied it. So the lag of a region of which nothing is heard grows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::applied::{Applied, Seen, State};
use super::vector::{Position, RegionName, Vector};

/// The share of a new lag sample in the moving average.
const LAG_WEIGHT: f64 = 0.25;

/// How far a region is behind one writer.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    /// Whose writes.
    pub writer: RegionName,
    /// How many positions it lacks: writes or, of an LSN, bytes. `None`: it is in another epoch.
    pub positions: Option<u64>,
    /// How long this edge has known the oldest write that it lacks.
    pub time: Duration,
    /// How long writes usually take to it; `None`: never measured.
    pub usual: Option<Duration>,
}

/// How far a region is behind every writer of its domain.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionLag {
    /// Which region.
    pub region: RegionName,
    /// How long ago it was last heard, by its most silent origin.
    pub heard: Duration,
    /// By writer, in the order of their names.
    pub behind: Vec<Lag>,
    /// What it acknowledged and nobody shows, itself neither, although it was asked since.
    pub denied: Option<Denied>,
}

/// A write that was acknowledged and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What was acknowledged last.
    pub acknowledged: Position,
    /// What the same origin shows of its log.
    pub shown: Position,
    /// How long ago it was acknowledged.
    pub ago: Duration,
}

impl Applied {
    /// How far the region's replication lags now, over all writers; `None` if it never said.
    pub fn lag(&self, region: &str, now_ms: u64) -> Option<Duration> {
        let state = self.state();
        state.regions.get(region)?;
        Some(state.longest_lag(region, &state.region(region), now_ms))
    }

    /// How far each region that ever spoke is behind each that wrote.
    pub fn lags(&self, now_ms: u64) -> Vec<RegionLag> {
        let state = self.state();
        state
            .regions
            .keys()
            .map(|region| state.region_lag(region, now_ms))
            .collect()
    }
}

impl State {
    fn region_lag(&self, region: &RegionName, now_ms: u64) -> RegionLag {
        let applied = self.region(region);
        let origins = self.regions.get(region).into_iter();
        let heard_at_ms = origins
            .flat_map(|origins| origins.values().map(|seen| seen.at_ms))
            .min()
            .unwrap_or(0);
        let is_own = |writer: &RegionName| writer == region;
        let behind = |writer: &RegionName| !self.behind(region, &applied, writer, now_ms).is_zero();
        let shown = |writer: &&RegionName| !is_own(writer) || behind(writer);
        let writers = self.marks.keys().filter(shown);
        RegionLag {
            region: region.clone(),
            heard: Duration::from_millis(now_ms.saturating_sub(heard_at_ms)),
            behind: writers
                .map(|writer| self.lag_of(region, &applied, writer, now_ms))
                .collect(),
            denied: (!behind(region))
                .then(|| self.denied(region, now_ms))
                .flatten(),
        }
    }

    /// Of several origins that deny what they acknowledged the one that has done so for longest.
    fn denied(&self, region: &RegionName, now_ms: u64) -> Option<Denied> {
        let origins = self.regions.get(region)?.values();
        let denied = origins.filter(|seen| seen.denies).filter_map(|seen| {
            let (acknowledged, at_ms) = seen.acknowledged?;
            Some(Denied {
                acknowledged,
                shown: seen.applied.get(region)?,
                ago: Duration::from_millis(now_ms.saturating_sub(at_ms)),
            })
        });
        denied.max_by_key(|denied| denied.ago)
    }

    fn lag_of(
        &self,
        region: &RegionName,
        applied: &Vector,
        writer: &RegionName,
        now_ms: u64,
    ) -> Lag {
        let newest = self.marks.get(writer).and_then(|marks| marks.newest());
        let usual = self.lag_ms.get(&(region.clone(), writer.clone()));
        Lag {
            writer: writer.clone(),
            positions: lacking(applied.get(writer), newest.unwrap_or_default()),
            time: self.behind(region, applied, writer, now_ms),
            usual: usual.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
        }
    }

    /// How long the oldest write has been known that `region` lacks, whose readers see `applied`.
    pub(super) fn longest_lag(&self, region: &str, applied: &Vector, now_ms: u64) -> Duration {
        let lags = self
            .marks
            .keys()
            .map(|writer| self.behind(region, applied, writer, now_ms));
        lags.max().unwrap_or_default()
    }

    /// How long the oldest write that `applied` lacks of a writer has been known. Of its region's own log an origin lacks
    /// nothing that says nothing of it.
    fn behind(&self, region: &str, applied: &Vector, writer: &str, now_ms: u64) -> Duration {
        let have = applied.get(writer);
        let is_mute = have.is_none() && *writer == *region;
        // Nothing reported is nothing applied, and 0 is nothing written.
        let have = have.unwrap_or_default();
        let Some(marks) = self.marks.get(writer).filter(|_| !is_mute) else {
            return Duration::ZERO;
        };
        let claimed = marks.first_claimed_ms(have);
        let claimed = claimed.filter(|at_ms| !self.is_claim(writer, have, *at_ms));
        let missing = marks.first_missing_ms(have).into_iter().chain(claimed);
        missing.min().map_or(Duration::ZERO, |at_ms| {
            Duration::from_millis(now_ms.saturating_sub(at_ms))
        })
    }

    /// Whether what is known of a writer's log beyond `have` since `at_ms` is no more than a claim: it was acknowledged, nobody
    /// shows it, and the writer does not either, though it was asked since.
    fn is_claim(&self, writer: &str, have: Position, at_ms: u64) -> bool {
        let mut all = self.regions.values().flat_map(BTreeMap::values);
        self.log_asked_for_ms(writer)
            .is_some_and(|asked_at_ms| asked_at_ms > at_ms)
            && all.all(|seen| seen.applied.get(writer).is_none_or(|shown| shown <= have))
    }

    /// Since when every origin of a writer that speaks of its log has been asked for it, or where nobody ever does every one of
    /// its origins; none: others speak of it, and it leaves to them what it has.
    pub(super) fn log_asked_for_ms(&self, writer: &str) -> Option<u64> {
        let speaks = |seen: &&Seen| seen.applied.get(writer).is_some();
        let own = || {
            self.regions
                .get(writer)
                .into_iter()
                .flat_map(BTreeMap::values)
        };
        let asked = |seen: &Seen| seen.asked_at_ms;
        if let Some(asked_at_ms) = own().filter(speaks).map(asked).min() {
            return Some(asked_at_ms);
        }
        let mut all = self.regions.values().flat_map(BTreeMap::values);
        let is_there = all.any(|seen| speaks(&seen));
        own().map(asked).min().filter(|_| !is_there)
    }

    /// Samples the lag of the newest write that `region` has just come to see.
    pub(super) fn sample_lag(
        &mut self,
        region: &RegionName,
        before: &Vector,
        after: &Vector,
        now_ms: u64,
    ) {
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

    /// How long until `region` has applied a writer's position, judged by its usual lag: what is overdue may take as long again as it is.
    /// What it denies of its own log, a replica of it lacks, and within a region that comes soon.
    pub(super) fn expected_ms(
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
            .map(|(_, lag)| *lag)
            .or((*region == **writer && self.denies(region)).then_some(0.0))?;
        let written = self.marks.get(writer);
        let written = written.and_then(|marks| marks.written_ms(position));
        let since = written.map_or(0, |at_ms| now_ms.saturating_sub(at_ms));
        Some((usual - millis(since)).abs().max(1.0))
    }
}

/// Milliseconds as a float; exact far past any lag.
fn millis(ms: u64) -> f64 {
    u32::try_from(ms).map_or(f64::from(u32::MAX), f64::from)
}

/// How many positions are missing up to `newest`; positions of two epochs do not compare.
fn lacking(have: Option<Position>, newest: Position) -> Option<u64> {
    let have = have.unwrap_or(Position {
        epoch: newest.epoch,
        seq: 0,
    });
    (have.epoch == newest.epoch).then(|| newest.seq.saturating_sub(have.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::positions::fixtures::vector;
    use crate::positions::{Report, Standing};

    fn report(applied: &Applied, region: &str, text: &str, now_ms: u64) {
        applied.report(Report {
            region: &region.into(),
            origin: "a",
            applied: &vector(text),
            asked_at_ms: now_ms,
            now_ms,
        });
    }

    /// Every lag, such as `eu<us 3 in 40 ms`.
    fn shown(applied: &Applied, now_ms: u64) -> Vec<String> {
        let lags = applied.lags(now_ms);
        let rows = lags.iter().flat_map(|row| {
            row.behind.iter().map(|lag| {
                let positions = lag.positions.map_or("?".to_owned(), |n| n.to_string());
                let ms = lag.time.as_millis();
                format!("{}<{} {positions} in {ms} ms", row.region, lag.writer)
            })
        });
        rows.collect()
    }

    #[test]
    fn every_region_s_lag_behind_every_writer_is_known() {
        let applied = Applied::default();
        report(&applied, "us", "us=7", 100);
        report(&applied, "eu", "eu=2,us=4", 110);
        assert_eq!(
            shown(&applied, 150),
            ["eu<us 3 in 50 ms", "us<eu 2 in 40 ms"]
        );
        report(&applied, "eu", "eu=2,us=7", 160);
        report(&applied, "us", "eu=2,us=7", 160);
        assert_eq!(shown(&applied, 200), ["eu<us 0 in 0 ms", "us<eu 0 in 0 ms"]);
    }

    #[test]
    fn a_region_s_lag_behind_the_log_of_its_own_name_is_known_while_there_is_any() {
        let applied = Applied::default();
        report(&applied, "us", "us=7", 100);
        assert_eq!(shown(&applied, 150), [""; 0]);
        applied.committed(&"us".into(), Position { epoch: 0, seq: 9 }, 200);
        report(&applied, "eu", "us=9", 300);
        assert_eq!(
            shown(&applied, 300),
            ["eu<us 0 in 0 ms", "us<us 2 in 100 ms"]
        );
        report(&applied, "us", "us=9", 400);
        assert_eq!(shown(&applied, 500), ["eu<us 0 in 0 ms"]);
    }

    #[test]
    fn what_was_committed_and_is_shown_by_nobody_is_nobody_s_lag_and_hides_no_write_after_it() {
        let applied = Applied::default();
        report(&applied, "us", "us=1", 0);
        report(&applied, "eu", "us=1", 0);
        let absurd = Position {
            epoch: 0,
            seq: u64::MAX,
        };
        applied.committed(&"us".into(), absurd, 10);
        report(&applied, "us", "us=1", 50_000);
        assert_eq!(applied.lag("eu", 60_000), Some(Duration::ZERO));
        report(&applied, "us", "us=2", 60_000);
        assert_eq!(applied.lag("eu", 60_050), Some(Duration::from_millis(50)));
    }

    #[test]
    fn a_claim_on_a_log_that_nobody_speaks_of_is_nobody_s_lag() {
        // One log for all, named after its first writer: `us` and `eu` say nothing of logs of their own.
        let applied = Applied::default();
        let all_say = |now_ms| {
            for region in ["us", "eu"] {
                report(&applied, region, "p=4", now_ms);
            }
        };
        all_say(0);
        applied.committed(&"eu".into(), Position { epoch: 0, seq: 17 }, 10);
        all_say(1_000);
        assert_eq!(applied.lag("us", 60_000), Some(Duration::ZERO));
        all_say(60_000);
        assert_eq!(shown(&applied, 60_000), [""; 0], "it is forgotten");
    }

    #[test]
    fn the_lag_behind_a_writer_that_leaves_its_own_log_to_others_is_known() {
        let applied = Applied::default();
        report(&applied, "eu", "us=7", 0);
        report(&applied, "us", "eu=1", 0);
        applied.committed(&"us".into(), Position { epoch: 0, seq: 8 }, 10);
        report(&applied, "us", "eu=1", 20_000);
        report(&applied, "eu", "us=7", 20_000);
        assert_eq!(applied.lag("eu", 20_010), Some(Duration::from_secs(20)));
    }

    #[test]
    fn nobody_lags_behind_what_a_writer_had_that_has_nothing_any_more() {
        let applied = Applied::default();
        report(&applied, "us", "us=8", 0);
        report(&applied, "eu", "us=7", 0);
        for (now_ms, said) in [(1_000, ""), (4_000, "us=8"), (5_000, ""), (9_999, "")] {
            report(&applied, "us", said, now_ms);
        }
        let lag = Some(Duration::from_secs(60));
        assert_eq!(applied.lag("eu", 60_000), lag, "it may have been left out");
        report(&applied, "us", "", 10_000);
        assert_eq!(applied.lag("eu", 60_000), Some(Duration::ZERO));
    }

    #[test]
    fn what_a_writer_loses_of_others_takes_nothing_from_the_lag_behind_its_own_log() {
        let applied = Applied::default();
        report(&applied, "us", "eu=1", 0);
        report(&applied, "eu", "eu=1,us=7", 0);
        applied.committed(&"us".into(), Position { epoch: 0, seq: 8 }, 10);
        report(&applied, "us", "eu=0", 1_000);
        report(&applied, "us", "eu=1", 2_000);
        assert_eq!(applied.lag("eu", 60_010), Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_lag_behind_a_writer_that_died_with_what_it_had_acknowledged_grows() {
        let applied = Applied::default();
        report(&applied, "us", "us=3", 0);
        report(&applied, "eu", "us=3", 0);
        let last = Position { epoch: 0, seq: 8 };
        applied.committed(&"us".into(), last, 10);
        assert_eq!(applied.lag("eu", 60_010), Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_lag_of_a_region_that_says_nothing_any_more_grows() {
        let applied = Applied::default();
        report(&applied, "eu", "us=1", 0);
        report(&applied, "us", "us=1", 0);
        report(&applied, "us", "us=2", 1_000);
        assert_eq!(
            applied.lag("eu", 61_000),
            Some(Duration::from_secs(60)),
            "silent since it lacked nothing"
        );
        let rows = applied.lags(61_000);
        let eu = rows.iter().find(|row| &*row.region == "eu").unwrap();
        assert_eq!(eu.heard, Duration::from_secs(61));
    }

    #[test]
    fn a_region_far_behind_a_busy_writer_lags_by_all_of_it() {
        let applied = Applied::default();
        report(&applied, "eu", "us=0", 0);
        for second in 1..=1_000 {
            report(&applied, "us", &format!("us={second}"), second * 1_000);
        }
        assert_eq!(applied.lag("eu", 1_000_000), Some(Duration::from_secs(999)));
    }

    #[test]
    fn what_is_overdue_may_take_as_long_again_as_it_is() {
        let applied = Applied::default();
        for (seq, written_ms) in [(1, 0), (2, 1_000)] {
            let text = format!("us={seq}");
            report(&applied, "us", &text, written_ms);
            report(&applied, "eu", &text, written_ms + 400);
        }
        report(&applied, "us", "us=3", 10_000);
        let expected_ms = |now_ms| match applied.standing("eu", &vector("us=3"), now_ms) {
            Standing::Behind { expected } => expected.map(|expected| expected.as_millis()),
            Standing::Dominates => None,
        };
        for (since_ms, left_ms) in [(100, 300), (400, 1), (900, 500), (5_400, 5_000)] {
            assert_eq!(expected_ms(10_000 + since_ms), Some(left_ms), "{since_ms}");
        }
    }

    #[test]
    fn a_quarter_of_what_is_usual_is_the_newest_lag() {
        let applied = Applied::default();
        let us: RegionName = "us".into();
        let usual = |now_ms| applied.lags(now_ms)[0].behind[0].usual.unwrap().as_millis();
        report(&applied, "eu", "us=0", 0);
        for (seq, lag_ms, expected) in [(1, 100, 100), (2, 500, 200), (3, 200, 200), (4, 0, 150)] {
            let now_ms = seq * 10_000;
            applied.committed(&us, Position { epoch: 0, seq }, now_ms);
            report(&applied, "eu", &format!("us={seq}"), now_ms + lag_ms);
            assert_eq!(usual(now_ms + lag_ms), expected, "after write {seq}");
        }
    }

    #[test]
    fn when_a_region_came_to_see_what_it_says_first_is_not_known() {
        let applied = Applied::default();
        report(&applied, "us", "us=2", 0);
        report(&applied, "eu", "us=2", 20_000);
        let usual = |now_ms| applied.lags(now_ms)[0].behind[0].usual;
        assert_eq!(usual(20_000), None, "a reload added it");
        report(&applied, "us", "us=3", 30_000);
        report(&applied, "eu", "us=3", 30_050);
        assert_eq!(usual(30_050), Some(Duration::from_millis(50)));
    }

    #[test]
    fn positions_of_two_epochs_are_not_counted_from_each_other() {
        let applied = Applied::default();
        report(&applied, "us", "us=2:7", 0);
        report(&applied, "eu", "us=1:900", 0);
        assert_eq!(shown(&applied, 5), ["eu<us ? in 5 ms"]);
    }

    #[test]
    fn lag_is_measured_from_the_write_to_the_report_that_includes_it() {
        let applied = Applied::default();
        let us: RegionName = "us".into();
        report(&applied, "eu", "us=0", 0);
        applied.committed(&us, Position { epoch: 0, seq: 1 }, 100);
        report(&applied, "eu", "us=1", 300);
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

    #[test]
    fn what_was_acknowledged_and_is_shown_by_nobody_afterwards_is_denied_and_no_lag() {
        let (applied, us) = (Applied::default(), "us".into());
        let at = |seq| Position { epoch: 0, seq };
        let denied = |now_ms| applied.lags(now_ms).iter().find_map(|row| row.denied);
        report(&applied, "us", "us=5", 1_000);
        applied.committed(&us, at(9), 2_000);
        applied.acknowledged(&us, "a", at(9), 2_000);
        assert_eq!(denied(2_500), None, "it was not asked since");
        report(&applied, "us", "us=5", 3_000);
        let expected = Denied {
            acknowledged: at(9),
            shown: at(5),
            ago: Duration::from_secs(6),
        };
        assert_eq!(denied(8_000), Some(expected));
        assert_eq!(shown(&applied, 8_000), [""; 0]);
        report(&applied, "us", "us=9", 9_000);
        assert_eq!(denied(9_500), None);
    }
}
