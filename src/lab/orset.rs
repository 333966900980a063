//! A set whose removals take away what they have seen (Shapiro et al. 2011: OR-Set; without tombstones as in
//! Bieniusa et al., "An Optimized Conflict-free Replicated Set", 2012). Pure.
//!
//! Every addition is a version of its own. A removal takes away the additions that the remover had seen, so
//! an addition made at the same time elsewhere wins.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::causal::{Actor, Causal, Dots, Payload};

impl Payload for Arc<str> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// The additions that nobody has seen and removed.
pub(super) type OrSet = Causal<Arc<str>>;

impl OrSet {
    /// What changes when a region adds a member; that replaces the additions that are here.
    pub(super) fn added(&self, actor: Actor, member: Arc<str>) -> Self {
        let replaced = self.additions(&member);
        self.written(actor, member, replaced)
    }

    /// What changes when a member is removed; `None`: it is not here.
    pub(super) fn without(&self, member: &str) -> Option<Self> {
        let additions = self.additions(member);
        (additions != Dots::default()).then(|| Self::removed(additions))
    }

    fn additions(&self, member: &str) -> Dots {
        let mut dots = Dots::default();
        let of_member = self.present.iter().filter(|(_, added)| &***added == member);
        of_member.for_each(|(dot, _)| dots.insert(dot.clone()));
        dots
    }

    pub(super) fn contains(&self, member: &str) -> bool {
        self.present.values().any(|added| &**added == member)
    }

    pub(super) fn members(&self) -> BTreeSet<&str> {
        self.present.values().map(|member| &**member).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::causal::tests::any_causal;
    use super::*;

    fn actor(index: usize) -> Actor {
        Actor {
            region: ["us", "eu", "ap"][index].parse().unwrap(),
            epoch: 0,
        }
    }

    fn any_set() -> impl Strategy<Value = OrSet> {
        any_causal("[ab]".prop_map(|member| Arc::from(member.as_str())))
    }

    fn merged(one: &OrSet, other: &OrSet) -> OrSet {
        let mut merged = one.clone();
        merged.merge(other);
        merged
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(usize, char),
        Remove(usize, char),
        Deliver(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let member = || prop::char::range('a', 'c');
        prop_oneof![
            (0..3usize, member()).prop_map(|(at, member)| Step::Add(at, member)),
            (0..3usize, member()).prop_map(|(at, member)| Step::Remove(at, member)),
            (0..3usize, 0..3usize).prop_map(|(from, to)| Step::Deliver(from, to)),
        ]
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(a in any_set(), b in any_set(), c in any_set()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn changes_in_any_order_and_twice_end_alike(steps in prop::collection::vec(step(), 0..30), order in any::<prop::sample::Index>()) {
            let mut replicas = [const { None::<OrSet> }; 3].map(Option::unwrap_or_default);
            let mut changes = Vec::new();
            for step in steps {
                let (at, change) = match step {
                    Step::Add(at, member) => (at, Some(replicas[at].added(actor(at), member.to_string().into()))),
                    Step::Remove(at, member) => (at, replicas[at].without(&member.to_string())),
                    Step::Deliver(from, to) => (to, Some(replicas[from].clone())),
                };
                if let Some(change) = change {
                    replicas[at].merge(&change);
                    changes.push(change);
                }
            }
            let mut expected = OrSet::default();
            changes.iter().for_each(|change| expected.merge(change));
            let mut other = OrSet::default();
            if !changes.is_empty() {
                let middle = order.index(changes.len());
                changes.rotate_left(middle);
            }
            changes.iter().rev().chain(&changes).for_each(|change| other.merge(change));
            prop_assert_eq!(&other, &expected);
            for replica in &replicas {
                prop_assert_eq!(merged(replica, &expected), expected.clone());
            }
        }

        #[test]
        fn an_addition_wins_over_a_removal_that_has_not_seen_it(before in any_set()) {
            let mut set = before;
            let first = set.added(actor(0), "x".into());
            set.merge(&first);
            let (again, removal) = (set.added(actor(1), "x".into()), set.without("x").unwrap());
            prop_assert!(merged(&merged(&set, &again), &removal).contains("x"));
            prop_assert!(merged(&merged(&set, &removal), &again).contains("x"));
            prop_assert!(!merged(&set, &removal).contains("x"));
            let seen = merged(&set, &again).without("x").unwrap();
            prop_assert!(!merged(&merged(&set, &again), &seen).contains("x"));
        }
    }
}
