//! What becomes of a client's entries: needed still, retired because everybody has them, or lost.
//!
//! Both ends are decided on what every origin of every region of the domain has said, down ones included.
//! Retired: each is known to have it, and what is known is never more than the truth. Lost: the region that
//! took the write says that it has left the epoch before it, and each says, asked after that, that it has not
//! got it. Who is down or silent may still have it, so that the entry is late, not lost.

use std::sync::Arc;

use super::applied::{Applied, Seen, State};
use super::vector::{Position, RegionName, Vector};

/// A client's entries by what has become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// Which reads must still see. Of a lost entry, what was before the fork: earlier writes of the client may
    /// be there.
    pub needed: Vector,
    /// Which every region has.
    pub retired: Vector,
    /// Which no region has any more.
    pub lost: Vector,
}

impl Applied {
    /// Sorts a client's entries; none: all are needed still.
    pub fn sift_out(&self, vector: &Vector) -> Option<Sifted> {
        let state = self.state();
        let is_needed = |(writer, position)| {
            !state.is_everywhere(writer, position) && !state.is_lost(writer, position)
        };
        let are_needed = vector.iter().all(is_needed);
        (!are_needed).then(|| state.sift(vector))
    }

    /// Sorts a client's entries.
    pub fn sift(&self, vector: &Vector) -> Sifted {
        if vector.is_empty() {
            return Sifted::default();
        }
        self.state().sift(vector)
    }

    /// What is left of lost entries: where their epochs forked.
    pub fn rest(&self, lost: &Vector) -> Vector {
        let state = self.state();
        let mut rest = Vector::default();
        for (writer, position) in lost.iter() {
            rest.set(writer, state.rest(writer, position));
        }
        rest
    }

    /// Whether some entry of `older` gives way to one of `newer` in a later epoch that does not include it.
    pub fn leaves_behind(&self, newer: &Vector, older: &Vector) -> bool {
        !self.past_the_forks_of(newer, older).is_empty()
    }

    /// Those entries.
    pub fn past_the_forks_of(&self, newer: &Vector, older: &Vector) -> Vector {
        let mut later = older.iter().filter_map(|(writer, position)| {
            let entry = newer.entry(writer)?;
            (entry.position.epoch > position.epoch).then_some((writer, entry, position))
        });
        let mut left = Vector::default();
        let Some(first) = later.next() else {
            return left;
        };
        let state = self.state();
        for (writer, entry, position) in [first].into_iter().chain(later) {
            if !state.forks.includes(writer, entry, position) {
                left.set(writer, position);
            }
        }
        left
    }

    /// Whether a region itself has spoken of an epoch of its log: others may know of it before.
    pub fn has_heard_of(&self, writer: &RegionName, epoch: u64) -> bool {
        let state = self.state();
        let newest = state.newest.get(writer);
        newest.is_some_and(|(newest, _)| *newest >= epoch)
    }

    /// Whether this is the first time that writes of an epoch turn out to be lost: it is told once.
    pub fn is_first_loss(&self, writer: &RegionName, epoch: u64) -> bool {
        let mut state = self.state();
        let told = state.told_losses.get(writer).copied();
        if told.is_some_and(|told| told >= epoch) {
            return false;
        }
        state.told_losses.insert(writer.clone(), epoch);
        true
    }
}

impl State {
    fn sift(&self, vector: &Vector) -> Sifted {
        let mut sifted = Sifted::default();
        for (writer, position) in vector.iter() {
            let mut left = position;
            if self.is_lost(writer, position) {
                sifted.lost.set(writer, position);
                left = self.rest(writer, position);
            }
            let kind = if self.is_everywhere(writer, left) {
                &mut sifted.retired
            } else {
                &mut sifted.needed
            };
            kind.set(writer, left);
        }
        sifted
    }

    /// What is left of an entry past a fork.
    pub(super) fn rest(&self, writer: &RegionName, position: Position) -> Position {
        let newest = self.newest.get(writer).map(|(epoch, _)| *epoch);
        let newest = newest.unwrap_or(position.epoch);
        self.forks.rest(writer, newest, position.epoch)
    }

    /// Whether every origin of every region is known to have applied it.
    pub(super) fn is_everywhere(&self, writer: &RegionName, position: Position) -> bool {
        self.all_have_spoken(|_, seen| self.has(seen, writer, position))
    }

    /// Whether it is past a fork, and no origin of any region can have it.
    pub(super) fn is_lost(&self, writer: &RegionName, position: Position) -> bool {
        self.is_lost_among(writer, position, |_, _| true)
    }

    /// Whether it is past a fork, and no origin can have it but those that are new: what all once had, they never had.
    pub(super) fn has_been_left(&self, writer: &RegionName, position: Position) -> bool {
        let is_old = |region: &RegionName, origin: &str| !self.is_newcomer(region, origin);
        self.is_lost_among(writer, position, is_old)
    }

    fn is_lost_among(
        &self,
        writer: &RegionName,
        position: Position,
        counts: impl Fn(&RegionName, &str) -> bool,
    ) -> bool {
        let newest = self.newest.get(writer);
        // It has named every epoch that any origin of its own is in.
        let Some((_, left_at_ms)) = newest.filter(|(epoch, _)| *epoch > position.epoch) else {
            return false;
        };
        let has_left = |seen: &Seen| {
            let own = seen.applied.get(writer);
            own.is_some_and(|own| own.epoch > position.epoch)
        };
        let own_origins = self.regions.get(writer);
        own_origins.is_some_and(|origins| origins.values().any(has_left))
            && self.all_of(counts, |_, seen| match seen.applied.entry(writer) {
                Some(have) if have.position.epoch > position.epoch => {
                    self.forks.is_past(writer, have, position)
                }
                Some(_) | None => {
                    seen.asked_at_ms > *left_at_ms && !self.has(seen, writer, position)
                }
            })
    }

    fn has(&self, seen: &Seen, writer: &RegionName, position: Position) -> bool {
        let have = seen.applied.entry(writer);
        have.is_some_and(|have| self.forks.includes(writer, have, position))
    }

    /// Whether every origin of every region has spoken, and `says` so.
    fn all_have_spoken(&self, says: impl Fn(&RegionName, &Seen) -> bool) -> bool {
        self.all_of(|_, _| true, says)
    }

    /// The same of those origins that count.
    fn all_of(
        &self,
        counts: impl Fn(&RegionName, &str) -> bool,
        says: impl Fn(&RegionName, &Seen) -> bool,
    ) -> bool {
        let mut members = self.members.regions.iter();
        let says_so = |(region, origins): (&RegionName, &Vec<Arc<str>>)| {
            let known = self.regions.get(region);
            let mut origins = origins.iter().filter(|origin| counts(region, origin));
            origins.all(|origin| {
                let seen = known.and_then(|known| known.get(origin));
                seen.is_some_and(|seen| says(region, seen))
            })
        };
        !self.members.regions.is_empty() && members.all(says_so)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::positions::fixtures::vector;
    use crate::positions::{Membership, Report, Standing};

    /// Regions `eu` with the origins `a` and `b`, and `us` with `a`.
    fn domain() -> Applied {
        let applied = Applied::default();
        let regions = [("eu", &["a", "b"][..]), ("us", &["a"])];
        let regions = regions.map(|(region, origins)| {
            let origins = origins.iter().map(|origin| (*origin).into()).collect();
            (region.into(), origins)
        });
        let members = Membership {
            regions: regions.into(),
            ttl: std::time::Duration::from_secs(300),
        };
        applied.adopt(members, None);
        applied
    }

    fn says(applied: &Applied, region: &str, origin: &str, text: &str, now_ms: u64) {
        applied.report(Report {
            region: &region.into(),
            origin,
            applied: &vector(text),
            asked_at_ms: now_ms,
            now_ms,
        });
    }

    #[track_caller]
    fn check(applied: &Applied, token: &str, needed: &str, retired: &str, lost: &str) {
        let expected = Sifted {
            needed: vector(needed),
            retired: vector(retired),
            lost: vector(lost),
        };
        assert_eq!(applied.sift(&vector(token)), expected);
    }

    #[test]
    fn an_entry_is_retired_once_every_origin_of_every_region_has_it() {
        let applied = domain();
        check(&applied, "us=5", "us=5", "", "");
        says(&applied, "us", "a", "us=5", 1);
        says(&applied, "eu", "a", "us=7", 1);
        check(&applied, "us=5", "us=5", "", "");
        says(&applied, "eu", "b", "us=4", 2);
        check(&applied, "us=5", "us=5", "", "");
        says(&applied, "eu", "b", "us=5", 3);
        check(&applied, "us=5", "", "us=5", "");
        check(&applied, "us=6,eu=1", "us=6,eu=1", "", "");
    }

    #[test]
    fn a_region_that_wrote_it_must_say_that_it_has_it_too() {
        let applied = domain();
        says(&applied, "eu", "a", "us=5", 1);
        says(&applied, "eu", "b", "us=5", 1);
        says(&applied, "us", "a", "eu=1", 1);
        check(&applied, "us=5", "us=5", "", "");
    }

    #[test]
    fn past_a_fork_an_entry_is_lost_when_all_have_said_afterwards_that_they_lack_it() {
        let applied = domain();
        says(&applied, "eu", "a", "us=3:970", 1);
        says(&applied, "eu", "b", "us=3:970", 1);
        says(&applied, "us", "a", "us=3:980", 1);
        check(&applied, "us=3:980", "us=3:980", "", "");
        says(&applied, "us", "a", "us=4:1@3:975", 10);
        check(&applied, "us=3:980", "us=3:980", "", "");
        says(&applied, "eu", "a", "us=3:970", 11);
        check(&applied, "us=3:980", "us=3:980", "", "");
        says(&applied, "eu", "b", "us=3:970", 11);
        check(&applied, "us=3:980", "us=3:975", "", "us=3:980");
        check(&applied, "us=3:975", "us=3:975", "", "");
        check(&applied, "us=4:2", "us=4:2", "", "");
    }

    #[test]
    fn what_some_region_still_has_is_not_lost() {
        let applied = domain();
        says(&applied, "us", "a", "us=4:1@3:975", 10);
        says(&applied, "eu", "a", "us=3:970", 11);
        says(&applied, "eu", "b", "us=3:980", 11);
        check(&applied, "us=3:980", "us=3:980", "", "");
        says(&applied, "eu", "b", "us=4:1", 12);
        check(&applied, "us=3:980", "us=3:975", "", "us=3:980");
        says(&applied, "eu", "a", "us=4:1", 13);
        check(&applied, "us=3:980", "", "us=3:975", "us=3:980");
    }

    #[test]
    fn a_push_is_no_proof_that_nobody_has_an_entry() {
        let applied = domain();
        says(&applied, "eu", "a", "us=3:970", 1);
        says(&applied, "eu", "b", "us=3:970", 1);
        says(&applied, "us", "a", "us=4:1@3:975", 10);
        let eu = "eu".into();
        for origin in ["a", "b"] {
            let report = Report {
                region: &eu,
                origin,
                applied: &vector("us=3:970"),
                asked_at_ms: 11,
                now_ms: 11,
            };
            applied.push(report, None);
        }
        check(&applied, "us=3:980", "us=3:980", "", "");
        says(&applied, "eu", "a", "us=3:970", 12);
        says(&applied, "eu", "b", "us=3:970", 12);
        check(&applied, "us=3:980", "us=3:975", "", "us=3:980");
    }

    #[test]
    fn what_a_silent_region_may_still_have_is_late_and_not_lost() {
        let applied = domain();
        says(&applied, "eu", "a", "us=3:970", 1);
        says(&applied, "us", "a", "us=4:1@3:975", 10);
        says(&applied, "eu", "a", "us=3:970", 11);
        check(&applied, "us=3:980", "us=3:980", "", "");
    }

    #[test]
    fn without_a_beginning_older_entries_are_lost_only_if_nobody_has_them() {
        let applied = domain();
        says(&applied, "us", "a", "us=4:1", 10);
        says(&applied, "eu", "a", "us=3:5", 11);
        says(&applied, "eu", "b", "us=3:4", 11);
        check(&applied, "us=3:5", "us=3:5", "", "");
        check(&applied, "us=3:6", "us=4:0", "", "us=3:6");
    }

    #[test]
    fn of_an_epoch_to_which_its_region_has_gone_back_nothing_is_lost() {
        let applied = domain();
        says(&applied, "us", "a", "us=4:1@3:975", 10);
        for origin in ["a", "b"] {
            says(&applied, "eu", origin, "us=3:970", 11);
        }
        says(&applied, "us", "a", "us=3:970", 12);
        check(&applied, "us=3:980", "us=3:980", "", "");
        says(&applied, "us", "a", "us=4:1@3:975", 13);
        check(&applied, "us=3:980", "us=3:975", "", "us=3:980");
    }

    #[test]
    fn only_the_region_s_own_word_decides_that_an_epoch_was_left() {
        let applied = domain();
        says(&applied, "us", "a", "us=3:970", 1);
        says(&applied, "eu", "a", "us=4:1@3:960", 10);
        says(&applied, "eu", "b", "us=4:1@3:960", 10);
        says(&applied, "us", "a", "us=3:970", 11);
        check(&applied, "us=3:980", "us=3:980", "", "");
        assert_eq!(applied.forks().iter().count(), 0);
    }

    #[test]
    fn a_region_that_has_left_an_epoch_no_longer_counts_as_having_its_own_entry() {
        let applied = domain();
        let lost = vector("us=3:980");
        assert_eq!(applied.standing("us", &lost, 0), Standing::Dominates);
        says(&applied, "us", "a", "us=4:1@3:975", 10);
        let standing = applied.standing("us", &lost, 10);
        assert_eq!(standing, Standing::Behind { expected: None });
        assert!(!applied.origin_may_answer("us", "a", &lost));
        let kept = vector("us=3:975");
        assert_eq!(applied.standing("us", &kept, 10), Standing::Dominates);
    }

    /// What origins of `eu` and `us` say of the log of `us`, in order.
    fn any_words() -> impl Strategy<Value = Vec<(usize, u64, u64)>> {
        prop::collection::vec((0usize..3, 0u64..3, 0u64..4), 0..12)
    }

    const SPEAKERS: [(&str, &str); 3] = [("eu", "a"), ("eu", "b"), ("us", "a")];

    proptest! {
        #[test]
        fn nothing_is_retired_that_some_origin_lacks_and_nothing_lost_that_some_has(
            words in any_words(), began in prop::collection::vec(0u64..4, 3),
            epoch in 0u64..3, seq in 0u64..4
        ) {
            let applied = domain();
            let wanted = Position { epoch, seq };
            let has = |at: (u64, u64), wanted: Position| {
                let (mut epoch, mut seq) = at;
                while epoch > wanted.epoch {
                    seq = began[usize::try_from(epoch).unwrap()];
                    epoch -= 1;
                }
                epoch == wanted.epoch && seq >= wanted.seq
            };
            let mut truth: [Option<(u64, u64)>; 3] = [None; 3];
            for (now_ms, (who, epoch, seq)) in (1..).zip(words) {
                let fork = began[usize::try_from(epoch).unwrap()];
                let text = match epoch.checked_sub(1) {
                    None => format!("us={seq}"),
                    Some(before) => format!("us={epoch}:{seq}@{before}:{fork}"),
                };
                let (region, origin) = SPEAKERS[who];
                says(&applied, region, origin, &text, now_ms);
                truth[who] = Some((epoch, seq));
            }
            let mut token = Vector::default();
            token.set(&"us".into(), wanted);
            let sifted = applied.sift(&token);
            for (_, retired) in sifted.retired.iter() {
                prop_assert!(truth.iter().all(|at| at.is_some_and(|at| has(at, retired))));
            }
            for (_, lost) in sifted.lost.iter() {
                prop_assert!(truth.iter().all(|at| at.is_some_and(|at| !has(at, lost))), "{:?}", truth);
            }
        }
    }
}
