//! Replication lag, region by region: how far each is behind each writer, in positions and in time.
//!
//! Pure. Time is this edge's own: from when it first knew of a write until now, while the region is
//! not known to have applied it. So the lag of a region of which nothing is heard grows.

use std::time::Duration;

use super::applied::{Applied, State};
use super::vector::{Position, RegionName, Vector};

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
}

impl Applied {
    /// How far the region's replication lags now, over all writers; `None` if it never said.
    pub fn lag(&self, region: &str, now_ms: u64) -> Option<Duration> {
        let state = self.state();
        state.regions.get(region)?;
        let applied = state.region(region);
        let writers = state.marks.keys().filter(|writer| ***writer != *region);
        let lags = writers.map(|writer| state.behind(&applied, writer, now_ms));
        Some(lags.max().unwrap_or_default())
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
        let writers = self.marks.keys().filter(|writer| *writer != region);
        RegionLag {
            region: region.clone(),
            heard: Duration::from_millis(now_ms.saturating_sub(heard_at_ms)),
            behind: writers
                .map(|writer| self.lag_of(region, &applied, writer, now_ms))
                .collect(),
        }
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
            time: self.behind(applied, writer, now_ms),
            usual: usual.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
        }
    }

    /// How long the oldest write that `applied` lacks of a writer has been known.
    fn behind(&self, applied: &Vector, writer: &str, now_ms: u64) -> Duration {
        // Nothing reported is nothing applied, and 0 is nothing written.
        let have = applied.get(writer).unwrap_or_default();
        let marks = self.marks.get(writer);
        let missing = marks.and_then(|marks| marks.first_past(have));
        missing.map_or(Duration::ZERO, |mark| {
            Duration::from_millis(now_ms.saturating_sub(mark.at_ms))
        })
    }
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
    use crate::config::plan::VersionForm;
    use crate::positions::{Report, parse_vector};

    fn report(applied: &Applied, region: &str, text: &str, now_ms: u64) {
        applied.report(Report {
            region: &region.into(),
            origin: "a",
            applied: &parse_vector(text, VersionForm::Integer).unwrap(),
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
    fn positions_of_two_epochs_are_not_counted_from_each_other() {
        let applied = Applied::default();
        report(&applied, "us", "us=2:7", 0);
        report(&applied, "eu", "us=1:900", 0);
        assert_eq!(shown(&applied, 5), ["eu<us ? in 5 ms"]);
    }
}
