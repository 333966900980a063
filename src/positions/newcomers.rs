//! Origins that a reload has added, of which nobody knows yet what they have.
//!
//! What all regions had has been taken out of tokens. So clients without it may be sent to a new origin only once that has said what
//! it has, or has answered a probe and said nothing: then it is one of those that never speak of positions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::applied::{Applied, Membership, State};
use super::vector::{RegionName, Vector};

impl Applied {
    /// Notes that an origin has answered its probes, whatever it said of positions.
    pub fn has_answered(&self, region: &RegionName, origin: &str) {
        let mut state = self.state();
        if state.newcomers.is_empty() {
            return;
        }
        state
            .newcomers
            .retain(|(of, new)| of != region || **new != *origin);
        self.note_change();
        state.reviewed_ms = None;
    }

    /// Whether nothing is known of an origin yet that came later than others.
    pub fn is_new(&self, region: &str, origin: &str) -> bool {
        self.state().is_newcomer(region, origin)
    }

    /// What all once had, for the process after.
    pub fn floor(&self) -> Vector {
        let mut state = self.state();
        state.raise_floor();
        state.floor.clone()
    }

    /// Restores what all once had, after what is known of each: origins of which nothing is known are new.
    pub fn remember_floor(&self, floor: &Vector) {
        let mut state = self.change();
        let floor = state.of_regions(floor.clone());
        state.floor.merge(&floor);
        let members = std::mem::take(&mut state.members);
        state.admit(members);
        if !state.newcomers.is_empty() {
            self.has_unfit.store(true, Ordering::Relaxed);
        }
    }
}

impl State {
    /// Takes over who belongs to the domain, and who of them is new to it.
    pub(super) fn admit(&mut self, members: Membership) {
        let before = std::mem::replace(&mut self.members, members);
        let was_there = |region: &RegionName, origin: &Arc<str>| {
            let origins = before.regions.get(region);
            origins.is_some_and(|origins| origins.contains(origin))
        };
        let all = self.members.regions.iter();
        let all =
            all.flat_map(|(region, origins)| origins.iter().map(move |origin| (region, origin)));
        let newcomers = all.filter(|(region, origin)| {
            let is_new = !self.floor.is_empty() && !was_there(region, origin);
            is_new || self.is_newcomer(region, origin)
        });
        let unknown = newcomers.filter(|(region, origin)| self.seen(region, origin).is_none());
        self.newcomers = unknown
            .map(|(region, origin)| (region.clone(), origin.clone()))
            .collect();
    }

    pub(super) fn is_newcomer(&self, region: &str, origin: &str) -> bool {
        let mut newcomers = self.newcomers.iter();
        newcomers.any(|(of, new)| **of == *region && **new == *origin)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::positions::Report;
    use crate::positions::fixtures::vector;

    /// Regions with these origins each.
    fn adopt(applied: &Applied, regions: &[(&str, &[&str])]) {
        let regions = regions.iter().map(|(region, origins)| {
            let origins = origins.iter().map(|origin| Arc::from(*origin));
            (RegionName::from(*region), origins.collect())
        });
        let members = Membership {
            regions: regions.collect(),
            ttl: Duration::from_secs(10),
        };
        applied.adopt(members, None);
    }

    fn says(applied: &Applied, (region, origin): (&str, &str), text: &str, now_ms: u64) {
        applied.report(Report {
            region: &region.into(),
            origin,
            applied: &vector(text),
            asked_at_ms: now_ms,
            now_ms,
        });
    }

    /// `eu` and `us` have what was written, and tokens forget it.
    fn domain() -> Applied {
        let applied = Applied::default();
        adopt(&applied, &[("eu", &["a"]), ("us", &["a"])]);
        for now_ms in [1_000, 2_500] {
            for region in ["eu", "us"] {
                says(&applied, (region, "a"), "us=5", now_ms);
            }
        }
        assert!(!applied.has_unfit());
        applied
    }

    #[test]
    fn a_region_that_a_reload_adds_is_read_from_once_it_has_said_that_it_has_what_all_had() {
        let applied = domain();
        adopt(&applied, &[("ap", &["a"]), ("eu", &["a"]), ("us", &["a"])]);
        assert!(applied.has_unfit());
        assert!(!applied.is_fit("ap", 3_000) && applied.is_fit("eu", 3_000));
        says(&applied, ("ap", "a"), "us=4", 3_100);
        assert!(applied.has_unfit() && !applied.is_fit("ap", 3_100));
        says(&applied, ("ap", "a"), "us=5", 4_200);
        assert!(!applied.has_unfit() && applied.is_fit("ap", 4_200));
    }

    #[test]
    fn an_origin_that_a_reload_adds_is_read_from_once_it_has_answered_a_probe_if_it_says_nothing() {
        let applied = domain();
        adopt(&applied, &[("eu", &["a", "b"]), ("us", &["a"])]);
        assert!(applied.is_fit("eu", 3_000) && !applied.origin_is_fit("eu", "b", 3_000));
        adopt(&applied, &[("eu", &["a", "b"]), ("us", &["a"])]);
        assert!(
            !applied.origin_is_fit("eu", "b", 3_000),
            "another reload tells nothing of it"
        );
        applied.has_answered(&"eu".into(), "b");
        assert!(applied.origin_is_fit("eu", "b", 3_000));
        says(&applied, ("us", "a"), "us=5", 3_100);
        assert!(!applied.has_unfit());
    }

    #[test]
    fn a_reload_that_comes_at_once_after_all_had_a_write_makes_what_it_adds_as_new_as_any_other() {
        let applied = Applied::default();
        adopt(&applied, &[("eu", &["a"]), ("us", &["a"])]);
        for region in ["eu", "us"] {
            says(&applied, (region, "a"), "us=5", 1_000);
        }
        let written = vector("us=5");
        assert_eq!(applied.sift(&written).retired, written);
        adopt(&applied, &[("eu", &["a", "b"]), ("us", &["a"])]);
        assert!(!applied.origin_is_fit("eu", "b", 1_100));
        says(&applied, ("eu", "b"), "us=4", 1_200);
        assert!(!applied.origin_is_fit("eu", "b", 1_200));
        says(&applied, ("eu", "b"), "us=5", 1_300);
        assert!(applied.origin_is_fit("eu", "b", 1_300));
    }

    /// Nobody would be left, and the new one be read from, before it has said anything.
    #[test]
    fn one_that_is_new_keeps_nobody_out_that_has_followed_an_epoch() {
        let applied = domain();
        says(&applied, ("eu", "a"), "us=1:0", 3_000);
        adopt(&applied, &[("eu", &["a", "b"]), ("us", &["a"])]);
        assert!(!applied.is_fit("eu", 3_500), "us may not have left it");
        says(&applied, ("us", "a"), "us=1:0", 4_100);
        assert!(applied.is_fit("eu", 5_200) && applied.is_fit("us", 5_200));
        assert!(!applied.origin_is_fit("eu", "b", 5_200));
        let written = vector("us=5");
        assert_ne!(
            applied.sift(&written).lost,
            written,
            "the new one may have it"
        );
    }

    #[test]
    fn a_region_that_is_new_after_a_restart_is_as_new_as_one_of_a_reload() {
        let floor = domain().floor();
        assert_eq!(floor, vector("us=5"));
        let applied = Applied::default();
        adopt(&applied, &[("ap", &["a"]), ("eu", &["a"]), ("us", &["a"])]);
        for region in ["eu", "us"] {
            says(&applied, (region, "a"), "us=5", 0);
        }
        applied.remember_floor(&floor);
        assert!(applied.has_unfit());
        assert!(!applied.is_fit("ap", 100) && applied.is_fit("eu", 100));
        says(&applied, ("ap", "a"), "us=4", 200);
        assert!(applied.has_unfit() && !applied.is_fit("ap", 200));
        says(&applied, ("ap", "a"), "us=5", 300);
        assert!(applied.is_fit("ap", 300));
    }

    #[test]
    fn where_nothing_was_ever_taken_out_of_tokens_nobody_is_new() {
        let applied = Applied::default();
        adopt(&applied, &[("eu", &["a"])]);
        adopt(&applied, &[("eu", &["a"]), ("us", &["a"])]);
        assert!(!applied.has_unfit() && applied.is_fit("us", 0));
    }
}
