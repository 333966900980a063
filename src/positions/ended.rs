//! Logs of regions that are configured no more.
//!
//! Stores stop speaking of such a log when they please, and lack nothing by that. A region that comes back under the name may
//! have another log, so that nothing which was said before counts of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::applied::{Applied, Seen, State};
use super::vector::{Position, RegionName, Vector};

/// Whether a log is of no region that there is; before anything is said of that, none is.
pub(super) fn is_strange(configured: Option<&BTreeSet<RegionName>>, writer: &RegionName) -> bool {
    configured.is_some_and(|regions| !regions.contains(writer))
}

impl Applied {
    /// The logs that origins speak of and that are of no region there is: what is said of them counts for nothing.
    pub fn strange_logs(&self) -> BTreeSet<RegionName> {
        let state = self.state();
        let seen = state.regions.values().flat_map(BTreeMap::values);
        let written = seen.flat_map(|seen| seen.applied.iter());
        let written = written.filter(|(_, position)| *position != Position::default());
        let logs = written.map(|(writer, _)| writer);
        let strange = logs.filter(|writer| is_strange(state.configured.as_ref(), writer));
        strange.cloned().collect()
    }
}

impl State {
    /// Takes over which regions there are: forgets what was known of logs that have ended, or that begin under the name of
    /// one that was none before.
    pub(super) fn configure(&mut self, regions: Option<BTreeSet<RegionName>>) {
        let before = std::mem::replace(&mut self.configured, regions);
        let is_new = |writer: &&RegionName| {
            before
                .as_ref()
                .is_some_and(|before| !before.contains(*writer))
        };
        let new: BTreeSet<RegionName> = self
            .configured
            .iter()
            .flatten()
            .filter(is_new)
            .cloned()
            .collect();
        let origins = self.regions.values_mut();
        for seen in origins.flat_map(BTreeMap::values_mut) {
            seen.forget(&new);
        }
        let floor = std::mem::take(&mut self.floor);
        let mut floor = self.of_regions(floor);
        floor.retain(|writer, _| !new.contains(writer));
        self.floor = floor;
    }

    /// What there is of logs of regions that there are.
    pub(super) fn of_regions(&self, mut vector: Vector) -> Vector {
        let is_strange = |writer: &RegionName| is_strange(self.configured.as_ref(), writer);
        if vector.iter().any(|(writer, _)| is_strange(writer)) {
            vector.retain(|writer, _| !is_strange(writer));
        }
        vector
    }
}

impl Seen {
    fn forget(&mut self, writers: &BTreeSet<RegionName>) {
        if writers.is_empty() {
            return;
        }
        let is_kept = |writer: &RegionName, _| !writers.contains(writer);
        Arc::make_mut(&mut self.applied).retain(is_kept);
        if let Some((least, _)) = &mut self.pushed_back {
            least.retain(is_kept);
        }
        self.words = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::positions::fixtures::vector;
    use crate::positions::{Applied, Membership, Position, Report, Reported, Words};

    /// Regions `eu` and, if it is configured, `us`, with an origin each.
    fn adopt(applied: &Applied, has_us: bool) {
        let regions = ["eu", "us"]
            .into_iter()
            .filter(|name| *name != "us" || has_us);
        let members = Membership {
            regions: regions
                .map(|name| (name.into(), vec!["a".into()]))
                .collect(),
            ttl: Duration::from_secs(300),
        };
        let configured = ["eu", "us"]
            .into_iter()
            .filter(|name| *name != "us" || has_us);
        applied.adopt(members, Some(configured.map(Into::into).collect()));
    }

    #[track_caller]
    fn check(applied: &Applied, text: &str, now_ms: u64, expected: Reported) {
        let words = Words {
            region: &"eu".into(),
            origin: "a",
            form: crate::config::plan::VersionForm::Integer,
            text: text.as_bytes(),
            asked_at_ms: now_ms,
            now_ms,
        };
        let heard = applied.report_words(words, || Some(vector(text)));
        assert_eq!(heard.unwrap().1, expected, "{text}");
    }

    #[test]
    fn a_region_that_is_removed_and_added_again_begins_a_log_and_nobody_ran_backwards() {
        let applied = Applied::default();
        adopt(&applied, true);
        check(&applied, "eu=3,us=5", 1, Reported::Advanced);
        adopt(&applied, false);
        check(&applied, "eu=3,us=5", 2, Reported::Known);
        adopt(&applied, true);
        assert_eq!(applied.region("eu"), vector("eu=3"));
        check(&applied, "eu=3,us=0", 3, Reported::Advanced);
        check(&applied, "eu=3,us=1", 4, Reported::Advanced);
        check(&applied, "eu=3,us=0", 5, Reported::Regressed);
    }

    #[test]
    fn what_was_under_way_to_a_region_that_is_removed_leaves_nothing_behind() {
        let applied = Applied::default();
        adopt(&applied, true);
        check(&applied, "eu=3,us=5", 1, Reported::Advanced);
        adopt(&applied, false);
        let us = "us".into();
        applied.committed(&us, Position { epoch: 0, seq: 6 }, 2);
        let report = Report {
            region: &us,
            origin: "a",
            applied: &vector("eu=3,us=6"),
            asked_at_ms: 1,
            now_ms: 2,
        };
        assert_eq!(applied.report(report), Reported::Known);
        let regions: Vec<_> = applied
            .all()
            .into_iter()
            .map(|(region, ..)| region)
            .collect();
        assert_eq!(regions, ["eu".into()]);
        check(&applied, "eu=3,us=5", 400_000, Reported::Known);
        assert!(
            applied.is_fit("eu", 400_000),
            "it lacks no log that there is"
        );
    }

    #[test]
    fn what_a_store_goes_on_to_say_of_a_removed_region_is_read_anew_once_that_is_back() {
        let applied = Applied::default();
        adopt(&applied, true);
        check(&applied, "eu=3,us=5", 1, Reported::Advanced);
        adopt(&applied, false);
        adopt(&applied, true);
        check(&applied, "eu=3,us=5", 2, Reported::Advanced);
        assert_eq!(applied.region("eu"), vector("eu=3,us=5"));
    }

    #[test]
    fn a_store_that_stops_speaking_of_a_removed_region_has_not_run_backwards() {
        let applied = Applied::default();
        adopt(&applied, true);
        check(&applied, "eu=3,us=5", 1, Reported::Advanced);
        adopt(&applied, false);
        check(&applied, "eu=3", 2, Reported::Advanced);
        check(&applied, "eu=2", 3, Reported::Regressed);
    }

    #[test]
    fn a_log_of_a_region_that_there_never_was_counts_no_more_than_one_that_was_removed() {
        let applied = Applied::default();
        adopt(&applied, false);
        check(&applied, "eu=3,us=5", 1, Reported::Advanced);
        check(&applied, "eu=3", 2, Reported::Advanced);
        check(&applied, "eu=3,us=5", 3, Reported::Advanced);
        adopt(&applied, true);
        assert_eq!(applied.region("eu"), vector("eu=3"));
        check(&applied, "eu=3,us=0", 4, Reported::Advanced);
    }

    #[test]
    fn logs_of_no_region_are_known_while_anybody_speaks_of_them() {
        let applied = Applied::default();
        adopt(&applied, false);
        check(&applied, "ap=0,eu=3,us=5", 1, Reported::Advanced);
        let strange = || applied.strange_logs().into_iter().collect::<Vec<_>>();
        assert_eq!(strange(), ["us".into()]);
        check(&applied, "eu=3", 2, Reported::Advanced);
        assert_eq!(strange(), []);
    }

    #[test]
    fn what_all_go_on_to_say_of_a_removed_region_makes_none_unfit_that_stops() {
        let applied = Applied::default();
        adopt(&applied, true);
        adopt(&applied, false);
        check(&applied, "eu=3,us=5", 1_000, Reported::Advanced);
        for now_ms in [2_000, 3_000] {
            check(&applied, "eu=3,us=5", now_ms, Reported::Known);
        }
        check(&applied, "eu=3", 4_000, Reported::Advanced);
        assert!(applied.is_fit("eu", 4_000));
        let us = "us".into();
        adopt(&applied, true);
        let report = Report {
            region: &us,
            origin: "a",
            applied: &vector("eu=3,us=1"),
            asked_at_ms: 5_000,
            now_ms: 5_000,
        };
        assert_eq!(applied.report(report), Reported::Advanced);
        assert!(applied.is_fit("us", 5_000) && applied.is_fit("eu", 5_000));
    }
}
