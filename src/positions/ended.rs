//! Logs of regions that are configured no more.
//!
//! Stores stop speaking of such a log when they please, and lack nothing by that. A region that comes back under the name may
//! have another log, so that nothing which was said before counts of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::applied::{Seen, State};
use super::vector::{RegionName, Vector};

impl State {
    /// Takes over which regions there are: forgets what was known of logs that have ended, or that begin under the name of
    /// one that has.
    pub(super) fn note_ended(&mut self, is_region: impl Fn(&str) -> bool) {
        let ended = std::mem::take(&mut self.ended);
        let (back, mut ended): (BTreeSet<_>, BTreeSet<_>) =
            ended.into_iter().partition(|writer| is_region(writer));
        let origins = self.regions.values_mut();
        for seen in origins.flat_map(BTreeMap::values_mut) {
            let writers = seen.applied.iter().map(|(writer, _)| writer);
            ended.extend(writers.filter(|writer| !is_region(writer)).cloned());
            seen.forget(&back);
        }
        self.ended = ended;
        let is_known = |writer: &RegionName| is_region(writer) && !back.contains(writer);
        self.floor.retain(|writer, _| is_known(writer));
    }

    /// What there is of logs that have not ended.
    pub(super) fn without_ended(&self, mut vector: Vector) -> Vector {
        if !self.ended.is_empty() {
            vector.retain(|writer, _| !self.ended.contains(writer));
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
    use crate::positions::{Applied, Membership, Report, Reported, Words};

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
        applied.adopt(members, |region| region != "us" || has_us);
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
    fn what_all_go_on_to_say_of_a_removed_region_makes_none_unfit_that_stops() {
        let applied = Applied::default();
        adopt(&applied, true);
        adopt(&applied, false);
        check(&applied, "eu=3,us=5", 1_000, Reported::Advanced);
        adopt(&applied, false);
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
