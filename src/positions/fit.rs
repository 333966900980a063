//! Which regions may be read from at all, by whomever.
//!
//! A token lives for `ttl`, and its entries are dropped once every region has them. Both are safe only if
//! afterwards nobody reads from a region that has fallen further behind: one that lacks a write older than
//! `ttl`, one that has not said for so long what it has, or one that has lost what all had. Such a region is
//! unfit. One that has never said anything of positions is none of this rule's: pins protect its writers. What a reload adds is
//! unfit until it has been heard of (`newcomers`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::applied::{Applied, Seen, State};
use super::vector::{Position, RegionName, Vector};

/// How often it is looked; a region stays fit this much longer than it should.
const REVIEW_EVERY_MS: u64 = 1_000;

impl Applied {
    /// Whether some origin was unfit when it was last looked; cheap, for requests without a token.
    pub fn has_unfit(&self) -> bool {
        self.has_unfit.load(Ordering::Relaxed)
    }

    /// Whether a region may be read from: one of its origins may, or none has ever spoken.
    pub fn is_fit(&self, region: &str, now_ms: u64) -> bool {
        self.state().is_fit(region, |_| true, now_ms)
    }

    /// The same by those of its origins alone that are able to answer, if any is.
    pub fn is_fit_by(&self, region: &str, able: &[String], now_ms: u64) -> bool {
        let is_able = |origin: &str| able.is_empty() || able.iter().any(|able| **able == *origin);
        self.state().is_fit(region, is_able, now_ms)
    }

    /// Whether a region is unfit for nothing but an epoch that it has begun without what all had. It is still the only one that
    /// shows what it has written since, and a client that needs that is told of the rest.
    pub fn is_in_new_epoch(&self, region: &str, now_ms: u64) -> bool {
        let state = self.state();
        let origins = state.regions.get(region).into_iter();
        let mut seen = origins.flat_map(BTreeMap::values);
        seen.any(|seen| state.left_behind(region, seen, now_ms).is_some())
    }

    /// What all had and this origin has left behind with an epoch; it lacks nothing else.
    pub fn left_behind(&self, region: &str, origin: &str, now_ms: u64) -> Option<Vector> {
        if !self.has_unfit() {
            return None;
        }
        let state = self.state();
        let seen = state.seen(region, origin)?;
        state.left_behind(region, seen, now_ms)
    }

    /// Whether an origin may be read from.
    pub fn origin_is_fit(&self, region: &str, origin: &str, now_ms: u64) -> bool {
        let state = self.state();
        let origins = state.regions.get(region);
        let seen = origins.and_then(|origins| origins.get(origin));
        let Some(seen) = seen else {
            return !state.is_newcomer(region, origin) && !state.is_removed(region, origin);
        };
        state.origin_is_fit(region, seen, now_ms)
    }
}

impl State {
    /// Looks at every region, if it is time; whether any is unfit.
    pub(super) fn review(&mut self, now_ms: u64) -> Option<bool> {
        let is_due = |last_ms| now_ms.saturating_sub(last_ms) >= REVIEW_EVERY_MS;
        if !self.reviewed_ms.is_none_or(is_due) {
            return None;
        }
        self.reviewed_ms = Some(now_ms);
        self.raise_floor();
        let origins = self.regions.iter().flat_map(|(region, origins)| {
            let seen = origins.values();
            seen.map(move |seen| (region, seen))
        });
        let mut fit = origins.map(|(region, seen)| self.origin_is_fit(region, seen, now_ms));
        Some(!self.newcomers.is_empty() || !fit.all(|fit| fit))
    }

    /// Takes in what all have, and goes back to the fork where all have lost what was past it.
    pub(super) fn raise_floor(&mut self) {
        let mut floor = std::mem::take(&mut self.floor);
        if let Some(mut least) = self.least_of_all() {
            // Of two epochs the earlier position is less, and who is in the later one may never have had it.
            least.retain(|writer, position| self.is_everywhere(writer, position));
            floor.merge(&self.of_regions(least));
        }
        for (writer, position) in floor.clone().iter() {
            if self.has_been_left(writer, position) {
                let kept = self.most_kept(writer, position.epoch);
                let rest = || self.rest(writer, position);
                floor.set(writer, kept.unwrap_or_else(rest));
            }
        }
        self.floor = floor;
    }

    /// The most that any origin still has of an epoch of a writer. Of what all had and nobody has any more, all had that too.
    fn most_kept(&self, writer: &RegionName, epoch: u64) -> Option<Position> {
        let seen = self.regions.values().flat_map(BTreeMap::values);
        let have = seen.filter_map(|seen| seen.applied.entry(writer));
        let kept = have.map(|have| self.forks.earliest(writer, have, epoch));
        kept.filter(|kept| kept.epoch == epoch).max()
    }

    /// What every origin of every region has; none: some have never spoken.
    fn least_of_all(&self) -> Option<Vector> {
        let mut least: Option<Vector> = None;
        for (region, origins) in &self.members.regions {
            let known = self.regions.get(region)?;
            for origin in origins {
                let applied = &known.get(origin)?.applied;
                least = Some(match least {
                    None => Vector::clone(applied),
                    Some(least) => least.least(applied),
                });
            }
        }
        least
    }

    fn is_fit(&self, region: &str, counts: impl Fn(&str) -> bool, now_ms: u64) -> bool {
        let seen = self.regions.get(region).into_iter().flatten();
        let mut seen = seen.filter(|(origin, _)| counts(origin)).peekable();
        if seen.peek().is_some() {
            return seen.any(|(_, seen)| self.origin_is_fit(region, seen, now_ms));
        }
        let members = self.members.regions.get(region).into_iter().flatten();
        let mut members = members.filter(|origin| counts(origin)).peekable();
        members.peek().is_none() || !members.all(|origin| self.is_newcomer(region, origin))
    }

    fn origin_is_fit(&self, region: &str, seen: &Seen, now_ms: u64) -> bool {
        self.is_in_time(region, seen, now_ms) && self.forks.dominates(&seen.applied, &self.floor)
    }

    fn is_in_time(&self, region: &str, seen: &Seen, now_ms: u64) -> bool {
        let age_ms = now_ms.saturating_sub(seen.at_ms);
        let lag = self.longest_lag(region, &seen.applied, now_ms);
        Duration::from_millis(age_ms).max(lag) <= self.patience()
    }

    /// How long a region may be behind or silent: not for so long that tokens end before that is noticed.
    fn patience(&self) -> Duration {
        let ttl = self.members.ttl;
        let unnoticed = Duration::from_millis(REVIEW_EVERY_MS);
        ttl.saturating_sub(unnoticed.min(ttl / 4))
    }

    /// What an origin lacks of the floor, if all of it is past a fork.
    fn left_behind(&self, region: &str, seen: &Seen, now_ms: u64) -> Option<Vector> {
        if !self.is_in_time(region, seen, now_ms) {
            return None;
        }
        let mut left = Vector::default();
        for (writer, position) in self.forks.missing(&seen.applied, &self.floor) {
            let have = seen.applied.entry(writer)?;
            let has_left = have.position.epoch > position.epoch;
            if !has_left || !self.forks.is_past(writer, have, position) {
                return None;
            }
            left.set(writer, position);
        }
        (!left.is_empty()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::fixtures::vector;
    use crate::positions::{Membership, Position, Report, Words, parse_vector};

    /// Regions `eu` and `us` with an origin each; tokens live for 10 s.
    fn domain() -> Applied {
        let applied = Applied::default();
        let regions = ["eu", "us"].map(|region| (region.into(), vec!["a".into()]));
        let members = Membership {
            regions: regions.into(),
            ttl: Duration::from_secs(11),
        };
        applied.adopt(members, None);
        applied
    }

    fn says(applied: &Applied, region: &str, text: &str, now_ms: u64) {
        applied.report(Report {
            region: &region.into(),
            origin: "a",
            applied: &parse_vector(text, VersionForm::Integer).unwrap(),
            asked_at_ms: now_ms,
            now_ms,
        });
    }

    #[test]
    fn a_region_that_lacks_a_write_for_longer_than_a_token_lives_is_unfit() {
        let applied = domain();
        says(&applied, "us", "us=1", 1_000);
        says(&applied, "eu", "us=0", 11_000);
        assert!(applied.is_fit("eu", 11_000) && !applied.has_unfit());
        says(&applied, "eu", "us=0", 12_001);
        assert!(!applied.is_fit("eu", 12_001) && applied.has_unfit());
        assert!(!applied.origin_is_fit("eu", "a", 12_001));
        says(&applied, "us", "us=1", 13_001);
        says(&applied, "eu", "us=1", 14_002);
        assert!(applied.is_fit("eu", 14_002) && !applied.has_unfit());
    }

    #[test]
    fn a_replica_that_lacks_its_own_region_s_writes_for_longer_than_a_token_lives_is_unfit() {
        let applied = Applied::default();
        let members = Membership {
            regions: [("us".into(), vec!["a".into(), "b".into()])].into(),
            ttl: Duration::from_secs(11),
        };
        applied.adopt(members, None);
        let replica_says = |origin, text: &str, now_ms| {
            applied.report(Report {
                region: &"us".into(),
                origin,
                applied: &parse_vector(text, VersionForm::Integer).unwrap(),
                asked_at_ms: now_ms,
                now_ms,
            })
        };
        replica_says("a", "us=5", 1_000);
        replica_says("b", "us=4", 11_000);
        assert!(applied.origin_is_fit("us", "b", 11_000));
        replica_says("a", "us=5", 12_001);
        replica_says("b", "us=4", 12_001);
        assert!(!applied.origin_is_fit("us", "b", 12_001) && applied.has_unfit());
        assert!(applied.origin_is_fit("us", "a", 12_001) && applied.is_fit("us", 12_001));
    }

    #[test]
    fn a_region_that_falls_behind_is_left_before_the_tokens_of_what_it_lacks_end() {
        for ttl_ms in [4_000, 11_000, 60_000] {
            let applied = Applied::default();
            let regions = ["us", "eu"].map(|region| (region.into(), vec!["a".into()]));
            let members = Membership {
                regions: regions.into(),
                ttl: Duration::from_millis(ttl_ms),
            };
            applied.adopt(members, None);
            says(&applied, "us", "us=1", 1_000);
            says(&applied, "eu", "us=0", 1_000);
            for now_ms in (1_000..=1_000 + ttl_ms).step_by(125) {
                says(&applied, "us", "us=1", now_ms);
                says(&applied, "eu", "us=0", now_ms);
            }
            assert!(applied.has_unfit(), "{ttl_ms}");
        }
    }

    #[test]
    fn a_region_that_says_nothing_of_its_own_log_lacks_nothing_of_it() {
        let applied = domain();
        let us = "us".into();
        applied.committed(&us, Position { epoch: 0, seq: 5 }, 1_000);
        says(&applied, "us", "eu=0", 2_000);
        says(&applied, "us", "eu=0", 12_000);
        assert!(applied.is_fit("us", 12_000));
    }

    #[test]
    fn a_write_that_was_acknowledged_and_lost_at_once_makes_no_other_region_unfit() {
        let applied = domain();
        let us = "us".into();
        says(&applied, "us", "us=3", 1_000);
        applied.committed(&us, Position { epoch: 0, seq: 8 }, 2_000);
        says(&applied, "us", "us=3", 12_001);
        says(&applied, "eu", "us=3", 12_001);
        says(&applied, "us", "us=3", 13_001);
        assert!(applied.is_fit("eu", 13_001) && applied.is_fit("us", 13_001));
        assert!(!applied.has_unfit());
    }

    #[test]
    fn that_a_region_has_become_unfit_is_a_change_also_when_time_alone_has_done_it() {
        let applied = domain();
        says(&applied, "us", "us=1", 1_000);
        let again = |now_ms| {
            let words = Words {
                region: &"us".into(),
                origin: "a",
                form: VersionForm::Integer,
                text: b"us=1",
                asked_at_ms: now_ms,
                now_ms,
            };
            let before = applied.changes();
            applied.report_words(words, || parse_vector("us=1", VersionForm::Integer).ok());
            applied.changes() - before
        };
        again(2_000);
        says(&applied, "eu", "us=0", 3_000);
        assert_eq!((again(4_000), applied.has_unfit()), (0, false));
        assert_eq!((again(13_001), applied.has_unfit()), (1, true));
    }

    #[test]
    fn it_is_looked_again_a_second_later_and_not_before() {
        let applied = domain();
        says(&applied, "us", "us=1", 1_000);
        says(&applied, "eu", "us=0", 10_500);
        says(&applied, "eu", "us=0", 11_499);
        assert!(!applied.is_fit("eu", 11_499) && !applied.has_unfit());
        says(&applied, "eu", "us=0", 11_500);
        assert!(applied.has_unfit());
    }

    #[test]
    fn a_region_that_falls_silent_is_unfit_and_one_that_never_spoke_is_not() {
        let applied = domain();
        says(&applied, "us", "us=1", 1_000);
        assert!(applied.is_fit("us", 11_000));
        assert!(!applied.is_fit("us", 11_001));
        assert!(applied.is_fit("eu", 99_000));
    }

    #[test]
    fn a_region_that_has_lost_what_all_had_is_unfit_until_it_has_it_again() {
        let applied = domain();
        says(&applied, "us", "us=5,eu=5", 1_000);
        says(&applied, "eu", "us=5,eu=5", 2_000);
        says(&applied, "eu", "us=5,eu=5", 3_000);
        says(&applied, "eu", "us=3,eu=1:0@0:5", 4_000);
        assert!(!applied.is_fit("eu", 4_000) && applied.has_unfit());
        assert!(applied.is_fit("us", 4_000));
        says(&applied, "eu", "us=5,eu=1:0@0:5", 5_000);
        assert!(applied.is_fit("eu", 5_000) && !applied.has_unfit());
    }

    #[test]
    fn what_only_some_of_what_all_had_is_left_of_still_counts_where_nobody_tells_how_an_epoch_began()
     {
        let applied = domain();
        says(&applied, "us", "us=5,eu=8", 1_000);
        says(&applied, "eu", "us=5,eu=8", 2_000);
        says(&applied, "eu", "us=5,eu=1:0", 3_000);
        says(&applied, "us", "us=1:0@0:5,eu=3", 4_000);
        says(&applied, "eu", "us=5,eu=1:1", 5_000);
        assert!(applied.is_fit("us", 5_000), "it alone still has eu=3");
        assert!(!applied.is_fit("eu", 5_000));
        says(&applied, "us", "us=1:0@0:5,eu=1:1", 6_000);
        says(&applied, "eu", "us=1:0@0:5,eu=1:1", 7_000);
        assert!(applied.is_fit("us", 7_000) && applied.is_fit("eu", 7_000));
    }

    #[test]
    fn a_region_that_began_an_epoch_without_what_all_had_tells_what_it_left_behind() {
        let applied = domain();
        let left = |now_ms| applied.left_behind("us", "a", now_ms);
        says(&applied, "us", "us=5,eu=5", 1_000);
        says(&applied, "eu", "us=5,eu=5", 2_000);
        says(&applied, "eu", "us=5,eu=5", 3_000);
        assert!(!applied.is_in_new_epoch("us", 3_000) && left(3_000).is_none());
        says(&applied, "us", "us=1:1,eu=5", 4_000);
        assert!(!applied.is_fit("us", 4_000) && applied.is_in_new_epoch("us", 4_000));
        let five = parse_vector("us=5", VersionForm::Integer).unwrap();
        assert_eq!(left(4_000), Some(five));
        assert!(
            !applied.is_in_new_epoch("us", 14_001),
            "it has fallen silent too"
        );
        says(&applied, "us", "us=1:1,eu=3", 5_000);
        assert!(
            !applied.is_in_new_epoch("us", 5_000),
            "it has lost more than that"
        );
        says(&applied, "us", "us=1:1@0:5,eu=5", 6_000);
        assert!(applied.is_fit("us", 6_000) && left(6_000).is_none());
    }

    #[test]
    fn a_region_that_is_configured_no_more_is_no_measure_of_those_that_stay() {
        let applied = domain();
        says(&applied, "us", "us=5,eu=5", 1_000);
        says(&applied, "eu", "us=5,eu=5", 2_000);
        says(&applied, "eu", "us=5,eu=5", 3_000);
        let members = Membership {
            regions: [("eu".into(), vec!["a".into()])].into(),
            ttl: Duration::from_secs(11),
        };
        applied.adopt(members, Some(["eu".into()].into()));
        says(&applied, "eu", "eu=6", 4_000);
        assert!(applied.is_fit("eu", 4_000) && !applied.has_unfit());
        says(&applied, "eu", "eu=4", 5_000);
        assert!(!applied.is_fit("eu", 5_000), "its own log is one");
    }

    #[test]
    fn what_all_have_lost_makes_nobody_unfit_who_has_what_was_before_the_fork() {
        let applied = domain();
        says(&applied, "us", "us=5", 1_000);
        says(&applied, "eu", "us=5", 2_000);
        says(&applied, "eu", "us=5", 3_000);
        says(&applied, "us", "us=1:1@0:3", 4_000);
        says(&applied, "eu", "us=3", 5_000);
        assert!(applied.is_fit("us", 5_000) && applied.is_fit("eu", 5_000));
    }

    #[test]
    fn what_an_origin_in_a_new_epoch_never_had_is_no_part_of_what_all_had() {
        let applied = domain();
        for now_ms in [1_000, 2_500] {
            says(&applied, "eu", "eu=18", now_ms);
            says(&applied, "us", "eu=23", now_ms);
        }
        says(&applied, "us", "eu=31", 4_000);
        // The other goes on in an epoch whose beginning it does not tell, and the first one follows and comes back.
        says(&applied, "eu", "eu=1:1", 4_100);
        says(&applied, "us", "eu=31", 5_500);
        says(&applied, "us", "eu=23", 7_000);
        assert_eq!(applied.floor(), vector("eu=18"));
        assert!(!applied.is_fit("eu", 7_000) && applied.is_fit("us", 7_000));
    }

    #[test]
    fn what_all_have_lost_makes_nobody_unfit() {
        let applied = domain();
        says(&applied, "us", "us=5", 1_000);
        says(&applied, "eu", "us=5", 2_000);
        says(&applied, "eu", "us=5", 3_000);
        says(&applied, "us", "us=1:1@0:3", 4_000);
        assert!(!applied.is_fit("us", 4_000));
        says(&applied, "eu", "us=1:1", 5_000);
        says(&applied, "us", "us=1:1@0:3", 6_001);
        assert!(applied.is_fit("us", 6_001) && applied.is_fit("eu", 6_001));
    }
}
