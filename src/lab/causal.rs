//! Values with their history: which versions there are, which have been seen and are gone. Pure.
//!
//! Every version has a dot, the writer and the writer's count of its versions of that key; a set of dots
//! is a version vector with what lies beyond its gaps (Almeida, Baquero, Gonçalves, Preguiça and
//! Fonte, "Scalable and Accurate Causality Tracking for Eventually Consistent Stores", 2014). A dot is unknown, then present,
//! then gone, and never goes back; merging takes the later state of each dot. That makes a join:
//! commutative, associative and idempotent, so replicas that have seen the same agree in whatever order and how
//! often they have seen it (Shapiro, Preguiça, Baquero and Zawirski, "Conflict-free Replicated Data
//! Types", 2011).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use litemap::LiteMap;

use super::name::Name;
use super::position::{NotAVector, Position};

/// What a dot costs, roughly: the dot, its slot and its trace in a set of dots.
const DOT_BYTES: usize = 128;

/// Who writes: one life of one region's store. Lives do not share counts, so that a store which began
/// anew never gives a dot out twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Actor {
    pub(super) region: Name,
    pub(super) epoch: u64,
}

/// One version of one key: the writer's first, second, and so on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dot {
    pub(super) actor: Actor,
    pub(super) number: u64,
}

/// A set of dots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dots {
    /// The version vector: all of an actor's dots up to this one.
    pub(super) upto: LiteMap<Actor, u64>,
    /// Dots after a gap.
    pub(super) beyond: BTreeSet<Dot>,
}

impl Dots {
    fn upto(&self, actor: &Actor) -> u64 {
        self.upto.get(actor).copied().unwrap_or(0)
    }

    pub(super) fn contains(&self, dot: &Dot) -> bool {
        dot.number <= self.upto(&dot.actor) || self.beyond.contains(dot)
    }

    /// The first dot of this actor after all those in the set.
    pub(super) fn next(&self, actor: Actor) -> Dot {
        let (first, last) = (dot(&actor, 0), dot(&actor, u64::MAX));
        let beyond = self.beyond.range(first..=last).next_back();
        let highest = beyond.map_or(0, |dot| dot.number).max(self.upto(&actor));
        Dot {
            actor,
            number: highest.saturating_add(1),
        }
    }

    pub(super) fn insert(&mut self, dot: Dot) {
        if self.contains(&dot) {
            return;
        }
        let actor = dot.actor.clone();
        self.beyond.insert(dot);
        self.close_gap(&actor);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (actor, number) in &other.upto {
            if *number > self.upto(actor) {
                self.upto.insert(actor.clone(), *number);
                let upto = &self.upto;
                self.beyond
                    .retain(|dot| upto.get(&dot.actor).is_none_or(|upto| dot.number > *upto));
                self.close_gap(actor);
            }
        }
        for dot in &other.beyond {
            self.insert(dot.clone());
        }
    }

    /// Whether every dot of the other is in this set.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut union = self.clone();
        union.merge(other);
        union == *self
    }

    fn close_gap(&mut self, actor: &Actor) {
        let mut upto = self.upto(actor);
        while self.beyond.remove(&dot(actor, upto.saturating_add(1))) {
            upto = upto.saturating_add(1);
            self.upto.insert(actor.clone(), upto);
        }
    }

    fn len(&self) -> usize {
        self.upto.len() + self.beyond.len()
    }
}

fn dot(actor: &Actor, number: u64) -> Dot {
    Dot {
        actor: actor.clone(),
        number,
    }
}

/// As clients name what they have seen: `us-east-1=2,us-east-1=1:1`. What lies beyond gaps is left out: who does
/// not name it does not replace it.
impl fmt::Display for Dots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (Actor { region, epoch }, seq)) in self.upto.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (epoch, seq) = (*epoch, *seq);
            write!(out, "{comma}{region}={}", Position { epoch, seq })?;
        }
        Ok(())
    }
}

impl FromStr for Dots {
    type Err = NotAVector;

    fn from_str(text: &str) -> Result<Self, NotAVector> {
        let mut dots = Self::default();
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            let refuse = || NotAVector(entry.to_owned());
            let (region, position) = entry.split_once('=').ok_or_else(refuse)?;
            let region = region.parse().map_err(|_| refuse())?;
            let Position { epoch, seq } = position.parse().map_err(|_| refuse())?;
            if seq > 0 {
                let actor = Actor { region, epoch };
                dots.upto.insert(actor.clone(), seq.max(dots.upto(&actor)));
            }
        }
        Ok(dots)
    }
}

/// What a version holds.
pub(super) trait Payload: Clone + Ord {
    /// Bytes of its texts.
    fn bytes(&self) -> usize;
}

/// The versions that are present, and the dots of all that have ever been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Causal<T> {
    pub(super) present: LiteMap<Dot, T>,
    pub(super) seen: Dots,
}

impl<T> Default for Causal<T> {
    fn default() -> Self {
        Self {
            present: LiteMap::new(),
            seen: Dots::default(),
        }
    }
}

impl<T: Payload> Causal<T> {
    /// What changes when this actor writes a version that replaces those which `replaced` has seen.
    pub(super) fn written(&self, actor: Actor, payload: T, replaced: Dots) -> Self {
        let dot = self.seen.next(actor);
        let mut seen = replaced;
        seen.insert(dot.clone());
        Self {
            present: [(dot, payload)].into_iter().collect(),
            seen,
        }
    }

    /// What changes when these are removed.
    pub(super) fn removed(dots: Dots) -> Self {
        Self {
            present: LiteMap::new(),
            seen: dots,
        }
    }

    /// Takes the later state of every dot. Where a store that ran backwards gave one dot to two versions,
    /// the greater one stays.
    pub(super) fn merge(&mut self, other: &Self) {
        if *self == Self::default() {
            // A copy has room for what it holds and no more.
            *self = other.clone();
            return;
        }
        let is_gone = |dot: &Dot| other.seen.contains(dot) && !other.present.contains_key(dot);
        self.present.retain(|dot, _| !is_gone(dot));
        for (dot, payload) in &other.present {
            match self.present.get_mut(dot) {
                Some(own) if *own < *payload => *own = payload.clone(),
                Some(_) => {}
                None if self.seen.contains(dot) => {}
                None => drop(self.present.insert(dot.clone(), payload.clone())),
            }
        }
        self.seen.merge(&other.seen);
    }

    /// What it costs to hold, roughly.
    pub(super) fn bytes(&self) -> usize {
        let payloads = self.present.values().map(Payload::bytes).sum::<usize>();
        payloads + (self.present.len() + self.seen.len()) * DOT_BYTES
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Payload for u8 {
        fn bytes(&self) -> usize {
            1
        }
    }

    pub(in crate::lab) fn any_dot() -> impl Strategy<Value = Dot> {
        (prop::sample::select(vec!["us", "eu"]), 0..2u64, 1..5u64).prop_map(
            |(region, epoch, number)| Dot {
                actor: Actor {
                    region: region.parse().unwrap(),
                    epoch,
                },
                number,
            },
        )
    }

    /// Any state, reachable or not: dots that are present, with their payloads, and dots that are gone.
    pub(in crate::lab) fn any_causal<T: Payload + std::fmt::Debug>(
        payload: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Causal<T>> {
        let present = prop::collection::btree_map(any_dot(), payload, 0..6);
        let gone = prop::collection::vec(any_dot(), 0..6);
        (present, gone).prop_map(|(present, gone)| {
            let mut seen = Dots::default();
            present
                .keys()
                .chain(&gone)
                .for_each(|dot| seen.insert(dot.clone()));
            let present = present.into_iter().collect();
            Causal { present, seen }
        })
    }

    fn dots(dots: &[Dot]) -> Dots {
        let mut set = Dots::default();
        dots.iter().for_each(|dot| set.insert(dot.clone()));
        set
    }

    fn merged<T: Payload>(one: &Causal<T>, other: &Causal<T>) -> Causal<T> {
        let mut merged = one.clone();
        merged.merge(other);
        merged
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(
            a in any_causal(any::<u8>()), b in any_causal(any::<u8>()), c in any_causal(any::<u8>())
        ) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a.clone());
            prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        }

        #[test]
        fn a_set_of_dots_is_what_a_plain_set_is(
            one in prop::collection::vec(any_dot(), 0..12), other in prop::collection::vec(any_dot(), 0..12), asked in any_dot()
        ) {
            let mut union = dots(&one);
            union.merge(&dots(&other));
            let plain: BTreeSet<_> = one.iter().chain(&other).cloned().collect();
            prop_assert_eq!(union.contains(&asked), plain.contains(&asked));
            prop_assert_eq!(&union, &dots(&plain.into_iter().rev().collect::<Vec<_>>()), "one form whatever the order");
            prop_assert!(union.covers(&dots(&one)));
            let all_there = other.iter().all(|dot| one.contains(dot));
            prop_assert_eq!(dots(&one).covers(&dots(&other)), all_there);
            let next = union.next(asked.actor.clone());
            prop_assert!(!union.contains(&next));
        }

        #[test]
        fn what_was_seen_reads_back(one in prop::collection::btree_map((0..3u64, "[a-c]"), 1..9u64, 0..4)) {
            let actor = |(epoch, region): &(u64, String)| Actor { region: region.parse().unwrap(), epoch: *epoch };
            let upto = one.iter().map(|(who, number)| (actor(who), *number)).collect();
            let dots = Dots { upto, beyond: BTreeSet::new() };
            prop_assert_eq!(dots.to_string().parse::<Dots>().unwrap(), dots);
        }
    }

    #[test]
    fn a_version_replaces_what_its_writer_named_and_nothing_else() {
        let actor = |region: &str| Actor {
            region: region.parse().unwrap(),
            epoch: 0,
        };
        let mut state = Causal::default();
        let first = state.written(actor("us"), 1u8, Dots::default());
        state.merge(&first);
        let blind = state.written(actor("eu"), 2, Dots::default());
        state.merge(&blind);
        assert_eq!(state.present.values().collect::<Vec<_>>(), [&2, &1]);
        let merge = state.written(actor("us"), 3, state.seen.clone());
        state.merge(&merge);
        assert_eq!(state.present.values().collect::<Vec<_>>(), [&3]);
        state.merge(&first);
        assert_eq!(
            state.present.values().collect::<Vec<_>>(),
            [&3],
            "gone for good"
        );
    }

    #[test]
    fn refuses_what_names_no_versions() {
        for text in ["us", "=1", "us=", "us=-1", "us=1:2:3", "a/b=1"] {
            assert!(text.parse::<Dots>().is_err(), "{text}");
        }
    }
}
