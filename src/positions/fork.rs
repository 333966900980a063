//! Where the epochs of regions' logs began, and so what a position in one epoch includes of earlier ones.
//!
//! Epochs do not compare by themselves: a store that is restored or promoted may have left writes behind.
//! `4:12@3:977` says that epoch 4 includes all up to 3:977 and nothing of epoch 3 beyond: that is *past the
//! fork*. Of an epoch whose beginning nobody has told, every earlier entry counts as past the fork.

use std::collections::BTreeMap;

use super::vector::{Entry, Position, RegionName, Vector};

/// Beginnings of epochs that are remembered of each region; more than a store lives through while tokens do.
const MOST_EPOCHS: usize = 16;

/// Where epochs began, as the regions that write them have said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forks {
    /// Region → epoch → the last position of an earlier epoch that is in it.
    began: BTreeMap<RegionName, BTreeMap<u64, Position>>,
}

impl Forks {
    /// Takes in a region's word on where its own epoch began. Of two words the one that claims less counts.
    pub fn learn(&mut self, writer: &RegionName, entry: Entry) {
        let epoch = entry.position.epoch;
        let Some(began) = entry.began.filter(|began| began.epoch < epoch) else {
            return;
        };
        let epochs = self.began.entry(writer.clone()).or_default();
        let known = epochs.entry(epoch).or_insert(began);
        *known = began.min(*known);
        if epochs.len() > MOST_EPOCHS {
            epochs.pop_first();
        }
    }

    /// Every beginning that is known, for `state_dir`.
    pub fn iter(&self) -> impl Iterator<Item = (&RegionName, u64, Position)> {
        self.began.iter().flat_map(|(writer, epochs)| {
            epochs
                .iter()
                .map(move |(epoch, began)| (writer, *epoch, *began))
        })
    }

    /// Forgets regions that are gone.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.began.retain(|writer, _| keep(writer));
    }

    /// Whether whoever has applied `have` of a writer's log has applied `wanted`.
    pub fn includes(&self, writer: &str, have: Entry, wanted: Position) -> bool {
        let earliest = self.earliest(writer, have, wanted.epoch);
        earliest.epoch == wanted.epoch && earliest.seq >= wanted.seq
    }

    /// Whether whoever is at `have`, in a later epoch, has left `wanted` behind. Where nobody says where its
    /// epoch began, it has. Of an epoch between that nobody tells of, nothing is known, so it may have it.
    pub fn is_past(&self, writer: &str, have: Entry, wanted: Position) -> bool {
        let earliest = self.earliest(writer, have, wanted.epoch);
        let is_gap = earliest.epoch > wanted.epoch && earliest != have.position;
        !is_gap && !self.includes(writer, have, wanted)
    }

    /// The last position that is included in `have` of `epoch`, or of the nearest epoch to it that is known:
    /// a later one if nobody says where that began, an earlier one if `epoch` is not on the way.
    pub(super) fn earliest(&self, writer: &str, have: Entry, epoch: u64) -> Position {
        let Entry {
            mut position,
            mut began,
        } = have;
        // Every step leads to an earlier epoch, so this ends.
        while position.epoch > epoch {
            let told = self.began_at(writer, position.epoch);
            match began.into_iter().chain(told).min() {
                Some(fork) if fork.epoch < position.epoch => (position, began) = (fork, None),
                Some(_) | None => break,
            }
        }
        position
    }

    /// What a writer's newest epoch has of an earlier one: where it, or one between, forked off.
    pub(super) fn rest(&self, writer: &str, newest: u64, left: u64) -> Position {
        let mut position = Position {
            epoch: newest,
            seq: 0,
        };
        // Every step leads to an earlier epoch, so this ends.
        while position.epoch > left {
            match self.began_at(writer, position.epoch) {
                Some(fork) if fork.epoch < position.epoch => position = fork,
                Some(_) | None => break,
            }
        }
        position
    }

    fn began_at(&self, writer: &str, epoch: u64) -> Option<Position> {
        self.began.get(writer)?.get(&epoch).copied()
    }

    /// The entries of `required` that are not included in `have`.
    pub fn missing<'a>(
        &self,
        have: &Vector,
        required: &'a Vector,
    ) -> impl Iterator<Item = (&'a RegionName, Position)> {
        required.iter().filter(|(writer, wanted)| {
            have.entry(writer)
                .is_none_or(|have| !self.includes(writer, have, *wanted))
        })
    }

    /// Whether every entry of `required` is included in `have`.
    pub fn dominates(&self, have: &Vector, required: &Vector) -> bool {
        self.missing(have, required).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::fixtures::vector;
    use crate::positions::parse_entry;

    fn forks(told: &[&str]) -> Forks {
        let mut forks = Forks::default();
        for entry in told {
            forks.learn(
                &"a".into(),
                parse_entry(entry, VersionForm::Integer).unwrap(),
            );
        }
        forks
    }

    #[track_caller]
    fn check(told: &[&str], have: &str, wanted: &str, expected: bool) {
        let dominates = forks(told).dominates(&vector(have), &vector(wanted));
        assert_eq!(dominates, expected, "{have} has {wanted}");
    }

    #[test]
    fn within_an_epoch_numbers_compare() {
        check(&[], "a=3:5", "a=3:5", true);
        check(&[], "a=3:4", "a=3:5", false);
        check(&[], "b=9", "a=1", false);
        check(&[], "", "", true);
    }

    #[test]
    fn an_epoch_includes_what_was_before_its_fork_and_nothing_past_it() {
        check(&[], "a=4:12@3:977", "a=3:977", true);
        check(&[], "a=4:12@3:977", "a=3:978", false);
        check(&["4:1@3:977"], "a=4:12", "a=3:977", true);
        check(&["4:1@3:977"], "a=4:12", "a=3:978", false);
    }

    #[test]
    fn of_an_epoch_without_a_beginning_every_earlier_entry_is_past_the_fork() {
        check(&[], "a=4:12", "a=3:1", false);
        check(&["5:1@4:3"], "a=4:12", "a=3:1", false);
        check(&["4:1@3:977"], "a=4:12", "a=2:1", false);
        check(&["4:1@2:7"], "a=4:12", "a=3:1", false);
    }

    #[test]
    fn an_entry_of_a_newer_epoch_is_not_applied() {
        check(&["4:1@3:977"], "a=3:999", "a=4:1", false);
        check(&[], "a=3:999", "a=4:0", false);
    }

    #[test]
    fn forks_are_followed_through_several_epochs() {
        let told = ["5:1@4:3", "4:1@3:977"];
        check(&told, "a=5:2", "a=3:977", true);
        check(&told, "a=5:2", "a=3:978", false);
        check(&told, "a=5:2", "a=4:4", false);
    }

    #[test]
    fn of_two_words_the_one_that_claims_less_counts() {
        check(&["4:1@3:977", "4:2@3:500"], "a=4:12", "a=3:600", false);
        check(&["4:1@3:500"], "a=4:12@3:977", "a=3:600", false);
    }

    #[test]
    fn past_a_fork_is_only_what_is_known_to_be() {
        let is_past = |told: &[&str], have: &str, wanted: &str| {
            let have = parse_entry(have, VersionForm::Integer).unwrap();
            let wanted = parse_entry(wanted, VersionForm::Integer).unwrap().position;
            forks(told).is_past("a", have, wanted)
        };
        assert!(is_past(&[], "4:12", "3:1"));
        assert!(is_past(&[], "4:12@3:977", "3:978") && !is_past(&[], "4:12@3:977", "3:977"));
        assert!(
            !is_past(&[], "4:12@3:977", "2:1"),
            "nobody told where epoch 3 began"
        );
        assert!(is_past(&["3:1@2:0"], "4:12@3:977", "2:1"));
        assert!(is_past(&[], "4:12@2:9", "3:1"), "epoch 3 was given up");
    }

    #[test]
    fn sixteen_beginnings_are_kept_and_the_oldest_goes() {
        let told: Vec<String> = (1..=17).map(|e| format!("{e}:1@{}:1", e - 1)).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        assert_eq!(forks(&told).iter().count(), 16);
        check(&told, "a=17:1", "a=1:1", true);
        check(&told, "a=17:1", "a=0:1", false);
    }

    #[track_caller]
    fn check_rest(told: &[&str], newest: u64, left: u64, expected: &str) {
        let rest = forks(told).rest("a", newest, left);
        assert_eq!(rest.show(VersionForm::Integer), expected);
    }

    #[test]
    fn what_is_left_of_an_epoch_is_what_was_before_the_fork() {
        check_rest(&["4:1@3:977"], 4, 3, "3:977");
        check_rest(&["5:1@4:3", "4:1@3:977"], 5, 3, "3:977");
        check_rest(&["5:1@2:9"], 5, 3, "2:9");
    }

    #[test]
    fn where_a_fork_was_not_told_all_of_the_epoch_after_it_is_needed() {
        check_rest(&[], 4, 3, "4:0");
        check_rest(&["5:1@4:3"], 5, 3, "4:3");
    }

    fn any_forks() -> impl Strategy<Value = Forks> {
        prop::collection::vec(prop::option::of((0u64..4, 0u64..5)), 4).prop_map(|began| {
            let mut forks = Forks::default();
            for (epoch, began) in (1u64..).zip(began) {
                let entry = Entry {
                    position: Position { epoch, seq: 0 },
                    began: began.map(|(epoch, seq)| Position { epoch, seq }),
                };
                forks.learn(&"a".into(), entry);
            }
            forks
        })
    }

    fn any_position() -> impl Strategy<Value = Position> {
        (0u64..5, 0u64..5).prop_map(|(epoch, seq)| Position { epoch, seq })
    }

    proptest! {
        #[test]
        fn domination_is_a_partial_order_whatever_the_forks(
            forks in any_forks(), a in any_position(), b in any_position(), c in any_position()
        ) {
            let has = |have: Position, wanted| forks.includes("a", have.into(), wanted);
            prop_assert!(has(a, a));
            prop_assert!(!(has(a, b) && has(b, a)) || a == b);
            prop_assert!(!(has(a, b) && has(b, c)) || has(a, c));
        }

        #[test]
        fn whoever_follows_the_newest_epoch_has_what_is_left_of_earlier_ones(
            forks in any_forks(), newest in 1u64..5, left in 0u64..4, seq in 0u64..5
        ) {
            let rest = forks.rest("a", newest, left);
            let have = Position { epoch: newest, seq };
            prop_assert!(left >= newest || forks.includes("a", have.into(), rest));
        }

        #[test]
        fn within_one_epoch_a_merge_dominates_both(
            a in prop::collection::vec(0u64..9, 3), b in prop::collection::vec(0u64..9, 3)
        ) {
            let of = |seqs: &[u64]| {
                let mut vector = Vector::default();
                for (region, seq) in ["a", "b", "c"].iter().zip(seqs) {
                    vector.set(&(*region).into(), Position { epoch: 0, seq: *seq });
                }
                vector
            };
            let mut both = of(&a);
            both.merge(&of(&b));
            prop_assert!(Forks::default().dominates(&both, &of(&a)));
            prop_assert!(Forks::default().dominates(&both, &of(&b)));
        }

        #[test]
        fn what_else_is_known_of_forks_never_takes_away_within_an_epoch(
            forks in any_forks(), epoch in 0u64..5, have in 0u64..5, wanted in 0u64..5
        ) {
            let at = |seq| Position { epoch, seq };
            prop_assert_eq!(forks.includes("a", at(have).into(), at(wanted)), have >= wanted);
        }
    }
}
