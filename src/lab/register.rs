//! A value under a key: the versions that nobody has seen and replaced, and the one that readers get. Pure.
//!
//! Versions that replaced each other are one; versions written without knowing of each other stay as
//! siblings until a write that has seen them. Readers that ask for one value get the last written, by the
//! writers' hybrid clocks and then their names: a total order, the same everywhere. A deletion is a
//! version like any other: forgetting it would let an older write come back.

use std::sync::Arc;

use super::causal::{Actor, Causal, Dots, Payload};
use super::hlc::Moment;
use super::name::Name;
use super::position::Position;

/// The order of conflicting writes; the greater wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) moment: Moment,
    pub(super) region: Name,
}

/// One write to a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) stamp: Stamp,
    /// Its place in the writer's log.
    pub(super) position: Position,
    /// `None`: deleted.
    pub(super) value: Option<Arc<str>>,
}

impl Payload for Version {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// What is written under a key.
pub(super) type Register = Causal<Version>;

/// A key that has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held<'a> {
    pub(super) value: &'a str,
    pub(super) written_by: &'a Name,
    pub(super) position: Position,
}

impl Register {
    /// What changes when a region writes, having seen so much of the key; `None`: all that is here.
    pub(super) fn put(&self, actor: Actor, version: Version, seen: Option<Dots>) -> Self {
        self.written(actor, version, seen.unwrap_or_else(|| self.seen.clone()))
    }

    /// What readers get; `None` also when the last write was a deletion.
    pub(super) fn held(&self) -> Option<Held<'_>> {
        let winner = self.present.values().max()?;
        Some(Held {
            value: winner.value.as_deref()?,
            written_by: &winner.stamp.region,
            position: winner.position,
        })
    }

    /// The versions that no other has replaced, the winner first.
    pub(super) fn siblings(&self) -> Vec<&Version> {
        let mut siblings: Vec<_> = self.present.values().collect();
        siblings.sort_by(|one, other| other.cmp(one));
        siblings
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn actor(region: &str) -> Actor {
        Actor {
            region: region.parse().unwrap(),
            epoch: 0,
        }
    }

    fn version(unix_ms: u64, region: &str, value: Option<&str>) -> Version {
        let moment = Moment { unix_ms, count: 0 };
        let region = region.parse().unwrap();
        Version {
            stamp: Stamp { moment, region },
            position: Position::default(),
            value: value.map(Into::into),
        }
    }

    /// Written without knowing of each other; both orders of delivery must leave the same value.
    #[track_caller]
    fn check(one: Version, other: Version, value: Option<&str>) {
        let [one, other] = [one, other].map(|version| {
            let actor = actor(version.stamp.region.as_str());
            Register::default().put(actor, version, None)
        });
        for order in [[&one, &other], [&other, &one]] {
            let mut register = Register::default();
            order.iter().for_each(|change| register.merge(change));
            assert_eq!(register.held().map(|held| held.value), value);
            assert_eq!(register.siblings().len(), 2);
        }
    }

    #[test]
    fn the_later_clock_wins_and_then_the_name() {
        check(
            version(1, "us", Some("a")),
            version(2, "eu", Some("b")),
            Some("b"),
        );
        check(
            version(1, "us", Some("a")),
            version(1, "eu", Some("b")),
            Some("a"),
        );
    }

    #[test]
    fn a_deletion_outlives_an_older_write() {
        check(version(2, "us", None), version(1, "eu", Some("b")), None);
        check(
            version(2, "us", None),
            version(3, "eu", Some("b")),
            Some("b"),
        );
    }

    /// A write at one of three replicas, which has seen all that is there, or a delivery.
    fn step() -> impl Strategy<Value = (usize, Option<usize>)> {
        (0..3usize, prop::option::of(0..3usize))
    }

    proptest! {
        #[test]
        fn concurrent_versions_stay_and_replaced_ones_go(steps in prop::collection::vec(step(), 0..40)) {
            let names = ["us", "eu", "ap"];
            let mut replicas = [const { (Vec::<usize>::new(), None::<Register>) }; 3];
            // Of every write: who had been seen when it was made.
            let mut history: Vec<Vec<usize>> = Vec::new();
            for (at, from) in steps {
                if let Some(from) = from {
                    let (seen, state) = replicas[from].clone();
                    replicas[at].0.extend(seen);
                    if let Some(state) = state {
                        replicas[at].1.get_or_insert_default().merge(&state);
                    }
                } else {
                    let number = history.len();
                    history.push(replicas[at].0.clone());
                    replicas[at].0.push(number);
                    let register = replicas[at].1.get_or_insert_default();
                    let written = version(number as u64, names[at], Some(&number.to_string()));
                    let change = register.put(actor(names[at]), written, None);
                    register.merge(&change);
                }
            }
            for (seen, state) in replicas {
                let replaced = |write: &usize| seen.iter().any(|other| history[*other].contains(write));
                let mut expected: Vec<_> = seen.iter().filter(|write| !replaced(write)).collect();
                expected.sort_by(|one, other| other.cmp(one));
                expected.dedup();
                let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
                let state = state.unwrap_or_default();
                let siblings: Vec<_> = state.siblings().iter().map(|version| version.value.as_deref().unwrap().to_owned()).collect();
                prop_assert_eq!(siblings, expected);
            }
        }
    }
}
