//! Counters that add up what every region counted (Shapiro et al. 2011: G-Counter and PN-Counter). Pure.

use litemap::LiteMap;

use super::causal::Actor;

/// What an actor's entry costs, roughly.
const ENTRY_BYTES: usize = 96;

/// A counter that only grows: each actor's own total, of which the larger is the later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GCounter(pub(super) LiteMap<Actor, u64>);

impl GCounter {
    pub(super) fn value(&self) -> u128 {
        self.0.values().map(|total| u128::from(*total)).sum()
    }

    /// What changes when this actor counts on; `None` when its total would not fit.
    fn counted(&self, actor: Actor, by: u64) -> Option<Self> {
        let total = self.0.get(&actor).copied().unwrap_or(0);
        let total = (actor, total.checked_add(by)?);
        Some(Self([total].into_iter().collect()))
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (actor, total) in &other.0 {
            let own = self.0.get(actor).copied().unwrap_or(0);
            self.0.insert(actor.clone(), own.max(*total));
        }
    }
}

/// A counter that also counts down: what was added and what was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) added: GCounter,
    pub(super) taken: GCounter,
}

impl Counter {
    /// What was added less what was taken away. Sums of 64-bit totals of fewer than 2^63 actors: there
    /// is always room for it.
    pub(super) fn value(&self) -> i128 {
        let signed = |value: u128| i128::try_from(value).unwrap_or(i128::MAX);
        signed(self.added.value()).saturating_sub(signed(self.taken.value()))
    }

    /// What changes when this actor counts by so much; `None` when its total would not fit.
    pub(super) fn counted(&self, actor: Actor, by: i64) -> Option<Self> {
        let amount = by.unsigned_abs();
        if by < 0 {
            let taken = self.taken.counted(actor, amount)?;
            return Some(Self {
                taken,
                ..Self::default()
            });
        }
        let added = self.added.counted(actor, amount)?;
        Some(Self {
            added,
            ..Self::default()
        })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.added.merge(&other.added);
        self.taken.merge(&other.taken);
    }

    pub(super) fn bytes(&self) -> usize {
        (self.added.0.len() + self.taken.0.len()) * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn actor(region: &str, epoch: u64) -> Actor {
        Actor {
            region: region.parse().unwrap(),
            epoch,
        }
    }

    fn g_counter() -> impl Strategy<Value = GCounter> {
        let actor = ("[ab]", 0..2u64).prop_map(|(region, epoch)| actor(&region, epoch));
        prop::collection::vec((actor, any::<u64>()), 0..4)
            .prop_map(|totals| GCounter(totals.into_iter().collect()))
    }

    fn counter() -> impl Strategy<Value = Counter> {
        (g_counter(), g_counter()).prop_map(|(added, taken)| Counter { added, taken })
    }

    fn merged(one: &Counter, other: &Counter) -> Counter {
        let mut merged = one.clone();
        merged.merge(other);
        merged
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(a in counter(), b in counter(), c in counter()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn every_count_counts_once_in_whatever_order_and_how_often_it_arrives(
            counts in prop::collection::vec(("[abc]", any::<i32>()), 0..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut writers = std::collections::BTreeMap::<Actor, Counter>::new();
            let mut changes = Vec::new();
            for (region, by) in &counts {
                let actor = actor(region, 0);
                let own = writers.entry(actor.clone()).or_default();
                let change = own.counted(actor, i64::from(*by)).unwrap();
                own.merge(&change);
                changes.push(change);
            }
            let mut replica = Counter::default();
            if !changes.is_empty() {
                order.iter().for_each(|index| replica.merge(index.get(&changes)));
            }
            changes.iter().rev().for_each(|change| replica.merge(change));
            let sum: i128 = counts.iter().map(|(_, by)| i128::from(*by)).sum();
            prop_assert_eq!(replica.value(), sum);
        }
    }

    #[test]
    fn counts_up_to_what_fits_and_not_past_it() {
        let mut counter = Counter::default();
        for _ in 0..2 {
            let change = counter.counted(actor("us", 0), i64::MAX).unwrap();
            counter.merge(&change);
        }
        assert!(counter.counted(actor("us", 0), 1).is_some());
        assert_eq!(counter.counted(actor("us", 0), 2), None);
        assert!(counter.counted(actor("us", 0), i64::MIN).is_some());
        assert_eq!(counter.value(), i128::from(i64::MAX) * 2);
    }
}
