//! Reads that wait for one region to catch up, and which of them a report frees.
//!
//! Pure. A waiter is filed under the first entry that it lacks, so that a report looks only at those
//! that it may free, however many wait.

use std::collections::{BTreeMap, BTreeSet};

use super::vector::{Position, RegionName, Vector};

/// Reads that may wait for one region of one domain: each holds a client's connection and perhaps a
/// body of 64 KiB.
pub(super) const MOST_WAITING: usize = 1_024;

/// The first entry of what it requires that a waiter's region lacks.
pub(super) type Need = (RegionName, Position);

/// Those who wait for one region. `W` wakes one of them.
#[derive(Debug)]
pub(super) struct Waiters<W> {
    next: u64,
    all: BTreeMap<u64, Waiter<W>>,
    by_need: BTreeSet<(RegionName, Position, u64)>,
}

#[derive(Debug)]
struct Waiter<W> {
    required: Vector,
    /// None: it has been woken.
    need: Option<Need>,
    wake: W,
}

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Self {
            next: 0,
            all: BTreeMap::new(),
            by_need: BTreeSet::new(),
        }
    }
}

impl<W: Clone> Waiters<W> {
    /// Takes one more, who is not woken before it is armed; `None`: there are too many.
    pub(super) fn add(&mut self, required: Vector, wake: W) -> Option<u64> {
        if self.all.len() >= MOST_WAITING {
            return None;
        }
        let id = self.next;
        self.next += 1;
        let need = None;
        let waiter = Waiter {
            required,
            need,
            wake,
        };
        self.all.insert(id, waiter);
        Some(id)
    }

    /// Has a waiter woken when what it requires by now may be there; `need` is what is lacking of that.
    pub(super) fn arm(&mut self, id: u64, required: &Vector, need: Need) {
        let Some(waiter) = self.all.get_mut(&id) else {
            return;
        };
        waiter.required.clone_from(required);
        if let Some((writer, position)) = waiter.need.replace(need.clone()) {
            self.by_need.remove(&(writer, position, id));
        }
        self.by_need.insert((need.0, need.1, id));
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, id: u64) {
        let waiter = self.all.remove(&id);
        if let Some((writer, position)) = waiter.and_then(|waiter| waiter.need) {
            self.by_need.remove(&(writer, position, id));
        }
    }

    /// Those whom a report of `applied` frees. `lacks` says what it still lacks of a requirement.
    pub(super) fn freed(
        &mut self,
        applied: &Vector,
        lacks: impl Fn(&Vector) -> Option<Need>,
    ) -> Vec<W> {
        if self.by_need.is_empty() {
            return Vec::new();
        }
        let looked_at: Vec<u64> = applied
            .iter()
            .flat_map(|(writer, have)| self.needing_up_to(writer, have))
            .collect();
        self.weigh_all(looked_at, lacks)
    }

    /// Those who need something of an epoch that its writer has left, and do not lack it any more: it
    /// turned out to be in the new epoch, or to be lost. `lacks` says what the region still lacks.
    pub(super) fn freed_by_epoch(
        &mut self,
        writer: &RegionName,
        epoch: u64,
        lacks: impl Fn(&Vector) -> Option<Need>,
    ) -> Vec<W> {
        let Some(epoch) = epoch.checked_sub(1) else {
            return Vec::new();
        };
        let last = Position {
            epoch,
            seq: u64::MAX,
        };
        self.weigh_all(self.needing_up_to(writer, last), lacks)
    }

    /// Those who need something of a writer's log, at whatever position, and do not lack it any more.
    pub(super) fn freed_of(
        &mut self,
        writer: &RegionName,
        lacks: impl Fn(&Vector) -> Option<Need>,
    ) -> Vec<W> {
        let last = Position {
            epoch: u64::MAX,
            seq: u64::MAX,
        };
        self.weigh_all(self.needing_up_to(writer, last), lacks)
    }

    /// Those who do not lack anything any more, whatever made that so.
    pub(super) fn freed_by_change(&mut self, lacks: impl Fn(&Vector) -> Option<Need>) -> Vec<W> {
        self.weigh_all(self.all.keys().copied().collect(), lacks)
    }

    fn weigh_all(&mut self, ids: Vec<u64>, lacks: impl Fn(&Vector) -> Option<Need>) -> Vec<W> {
        let weighed = ids.into_iter().filter_map(|id| self.weigh(id, &lacks));
        weighed.collect()
    }

    /// Needs of one writer in the order of positions: none past `have` can be met by it. Those of
    /// older epochs are looked at too, since a later epoch may include them.
    fn needing_up_to(&self, writer: &RegionName, have: Position) -> Vec<u64> {
        let from = (writer.clone(), Position::default(), 0);
        let to = (writer.clone(), have, u64::MAX);
        self.by_need.range(from..=to).map(|(.., id)| *id).collect()
    }

    /// Wakes a waiter that lacks nothing any more, else files it under what it lacks now.
    fn weigh(&mut self, id: u64, lacks: impl Fn(&Vector) -> Option<Need>) -> Option<W> {
        let waiter = self.all.get_mut(&id)?;
        let now = lacks(&waiter.required);
        if now == waiter.need {
            return None;
        }
        let before = std::mem::replace(&mut waiter.need, now.clone());
        let wake = now.is_none().then(|| waiter.wake.clone());
        if let Some((writer, position)) = before {
            self.by_need.remove(&(writer, position, id));
        }
        if let Some((writer, position)) = now {
            self.by_need.insert((writer, position, id));
        }
        wake
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::positions::Forks;
    use crate::positions::fixtures::vector;

    fn lacking(applied: &Vector, required: &Vector) -> Option<Need> {
        let forks = Forks::default();
        let mut missing = forks.missing(applied, required);
        missing
            .next()
            .map(|(writer, position)| (writer.clone(), position))
    }

    /// One who waits, armed by what nothing has.
    fn wait(waiters: &mut Waiters<u64>, required: &str, name: u64) -> Option<u64> {
        let required = vector(required);
        let need = lacking(&Vector::default(), &required).unwrap();
        let id = waiters.add(required.clone(), name)?;
        waiters.arm(id, &required, need);
        Some(id)
    }

    fn report(waiters: &mut Waiters<u64>, applied: &str) -> Vec<u64> {
        let applied = vector(applied);
        let mut freed = waiters.freed(&applied, |required| lacking(&applied, required));
        freed.sort_unstable();
        freed
    }

    #[test]
    fn a_report_frees_those_whose_writes_it_shows_and_nobody_else() {
        let mut waiters = Waiters::default();
        for (name, required) in [(1, "us=5"), (2, "us=6"), (3, "ap=1,us=5"), (4, "us=1:1")] {
            wait(&mut waiters, required, name);
        }
        assert_eq!(report(&mut waiters, "us=4"), [0; 0]);
        assert_eq!(report(&mut waiters, "us=5"), [1]);
        assert_eq!(report(&mut waiters, "us=5"), [0; 0], "each is woken once");
        assert_eq!(report(&mut waiters, "ap=1,us=5"), [3]);
        assert_eq!(report(&mut waiters, "ap=1,us=9"), [2]);
        assert_eq!(report(&mut waiters, "us=1:1"), [4]);
    }

    #[test]
    fn who_has_left_is_not_woken_and_leaves_room() {
        let mut waiters = Waiters::default();
        let ids: Vec<_> = (0..MOST_WAITING)
            .map(|_| wait(&mut waiters, "us=5", 1).unwrap())
            .collect();
        assert_eq!(wait(&mut waiters, "us=5", 2), None, "one too many");
        waiters.remove(ids[7]);
        assert!(wait(&mut waiters, "us=5", 2).is_some());
        assert_eq!(report(&mut waiters, "us=5").len(), MOST_WAITING);
        ids.iter().for_each(|id| waiters.remove(*id));
        assert_eq!((waiters.len(), waiters.by_need.len()), (1, 0));
    }

    fn any_vector() -> impl Strategy<Value = Vector> {
        prop::collection::btree_map("[a-c]", (0u64..2, 0u64..4), 1..4).prop_map(|entries| {
            let mut vector = Vector::default();
            for (region, (epoch, seq)) in entries {
                vector.set(&region.into(), Position { epoch, seq });
            }
            vector
        })
    }

    proptest! {
        #[test]
        fn whoever_waits_is_woken_by_the_first_report_that_shows_all(
            required in prop::collection::vec(any_vector(), 1..8),
            reports in prop::collection::vec(any_vector(), 1..12)
        ) {
            let mut waiters = Waiters::default();
            let mut waiting: Vec<(usize, Vector)> = required.into_iter().enumerate().collect();
            for (name, required) in &waiting {
                let id = waiters.add(required.clone(), *name).unwrap();
                waiters.arm(id, required, lacking(&Vector::default(), required).unwrap());
            }
            for applied in reports {
                let (shown, still): (Vec<_>, Vec<_>) = waiting
                    .into_iter()
                    .partition(|(_, required)| lacking(&applied, required).is_none());
                let mut freed = waiters.freed(&applied, |required| lacking(&applied, required));
                freed.sort_unstable();
                prop_assert_eq!(freed, shown.iter().map(|(name, _)| *name).collect::<Vec<_>>());
                waiting = still;
            }
        }
    }
}
