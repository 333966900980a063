//! One region's copy of the data: its own log, everybody's applied writes, and its clock. Pure.
//!
//! Entries of another region are applied in the order of that region's log, without gaps and each
//! once, so that "applied up to SEQ" says all there is to say. Knows nothing of who delivers them.

use std::sync::Arc;
use std::time::Instant;

use super::log::{Entry, Log};
use super::name::Name;
use super::store::{Stamp, Store, Version};
use super::vector::Applied;

/// No honest clock gets here; a forged entry past it would leave no room to count on.
const LAMPORT_MAX: u64 = u64::MAX / 2;

/// What a region may hold before it takes no more writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of writes that some peer has not acknowledged.
    pub(super) log_bytes: usize,
    /// Of keys and values.
    pub(super) store_bytes: usize,
}

impl Default for Bounds {
    /// Three regions at both bounds stay below a gigabyte: a demonstration must not sink a laptop.
    fn default() -> Self {
        Self {
            log_bytes: 64 << 20,
            store_bytes: 128 << 20,
        }
    }
}

/// Why a write is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// A peer has been away for too many writes.
    #[error("the log is full: a peer has not taken its entries; restore it or heal the partition")]
    Log,
    /// Too much data.
    #[error("the store is full: delete something, or start the lab anew")]
    Store,
}

/// What a write did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The key had no value here.
    Created,
    /// The key had another value here.
    Replaced,
    /// The key has no value any more, whether or not it had one.
    Deleted,
}

/// A write that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Its place in this region's log.
    pub(super) seq: u64,
    pub(super) effect: Effect,
}

/// A region's data.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    name: Name,
    log: Log,
    store: Store,
    applied: Applied,
    /// A hybrid logical clock: greater than that of every write this replica has seen, and never behind
    /// the time of day, so that a write after a region's fall wins over those that it had not passed on.
    lamport: u64,
    bounds: Bounds,
}

impl Replica {
    pub(super) fn new(name: Name, peers: impl IntoIterator<Item = Name>, bounds: Bounds) -> Self {
        Self {
            applied: Applied::of(name.clone()),
            log: Log::new(peers),
            store: Store::default(),
            lamport: 0,
            bounds,
            name,
        }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Takes a client's write: appends it to the log and applies it here. `unix_ms` is the time of day.
    pub(super) fn commit(
        &mut self,
        key: Arc<str>,
        value: Option<Arc<str>>,
        now: Instant,
        unix_ms: u64,
    ) -> Result<Commit, Full> {
        if self.log.bytes() >= self.bounds.log_bytes {
            return Err(Full::Log);
        }
        if value.is_some() && self.store.bytes() >= self.bounds.store_bytes {
            return Err(Full::Store);
        }
        let effect = match (&value, self.store.held(&key)) {
            (None, _) => Effect::Deleted,
            (Some(_), None) => Effect::Created,
            (Some(_), Some(_)) => Effect::Replaced,
        };
        // Peers cannot bring it near the end: see `receive`.
        self.lamport = (self.lamport + 1).max(unix_ms);
        let seq = self
            .log
            .append(key.clone(), value.clone(), self.lamport, now);
        let entry = Entry {
            seq,
            lamport: self.lamport,
            key,
            value,
        };
        self.apply(self.name.clone(), entry);
        Ok(Commit { seq, effect })
    }

    /// Applies what a peer's log has next and returns how far that log is applied now.
    ///
    /// An entry that is applied already, or does not follow on what is, is passed over: the answer
    /// tells the peer where to go on.
    pub(super) fn receive(&mut self, peer: &Name, entries: Vec<Entry>) -> u64 {
        for entry in entries {
            let expected = self.applied.seq(peer.as_str()) + 1;
            if entry.seq == expected && entry.lamport <= LAMPORT_MAX {
                self.apply(peer.clone(), entry);
            }
        }
        self.applied.seq(peer.as_str())
    }

    /// Takes a peer's word for how much of this region's log it has applied.
    pub(super) fn acknowledge(&mut self, peer: &Name, seq: u64) {
        self.log.acknowledge(peer.as_str(), seq);
    }

    fn apply(&mut self, writer: Name, entry: Entry) {
        self.lamport = self.lamport.max(entry.lamport);
        self.applied.advance(&writer, entry.seq);
        let stamp = Stamp {
            lamport: entry.lamport,
            region: writer,
        };
        let version = Version {
            stamp,
            seq: entry.seq,
            value: entry.value,
        };
        self.store.merge(entry.key, version);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lab::log::Next;

    const NAMES: [&str; 3] = ["us", "eu", "ap"];

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn replica(index: usize, bounds: Bounds) -> Replica {
        let peers = NAMES.iter().enumerate().filter(|(peer, _)| *peer != index);
        let peers = peers
            .map(|(_, name)| name.parse().unwrap())
            .collect::<Vec<Name>>();
        Replica::new(NAMES[index].parse().unwrap(), peers, bounds)
    }

    fn three() -> [Replica; 3] {
        [0, 1, 2].map(|index| replica(index, Bounds::default()))
    }

    fn lacking(from: &Replica, to: &Replica) -> Vec<Entry> {
        match from
            .log()
            .next_for(to.name.as_str(), std::time::Duration::ZERO, now())
        {
            Next::Batch(entries) => entries,
            Next::Nothing | Next::At(_) => Vec::new(),
        }
    }

    /// Sends what is lacking; only an acknowledged delivery is not sent again.
    fn deliver(replicas: &mut [Replica; 3], from: usize, to: usize, acknowledge: bool) {
        let entries = lacking(&replicas[from], &replicas[to]);
        let (sender, receiver) = (replicas[from].name.clone(), replicas[to].name.clone());
        let applied = replicas[to].receive(&sender, entries);
        if acknowledge {
            replicas[from].acknowledge(&receiver, applied);
        }
    }

    fn put(replica: &mut Replica, key: &str, value: &str) -> Result<Commit, Full> {
        replica.commit(key.into(), Some(value.into()), now(), 0)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put {
            at: usize,
            key: u8,
            value: u8,
        },
        Delete {
            at: usize,
            key: u8,
        },
        Deliver {
            from: usize,
            to: usize,
            acknowledge: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3usize, 0..4u8, any::<u8>()).prop_map(|(at, key, value)| Step::Put {
                at,
                key,
                value
            }),
            (0..3usize, 0..4u8).prop_map(|(at, key)| Step::Delete { at, key }),
            (0..3usize, 1..3usize, any::<bool>()).prop_map(|(from, by, acknowledge)| {
                Step::Deliver {
                    from,
                    to: (from + by) % 3,
                    acknowledge,
                }
            }),
        ]
    }

    fn take(replicas: &mut [Replica; 3], step: &Step) {
        match *step {
            Step::Put { at, key, value } => {
                put(&mut replicas[at], &key.to_string(), &value.to_string()).unwrap();
            }
            Step::Delete { at, key } => {
                replicas[at]
                    .commit(key.to_string().into(), None, now(), 0)
                    .unwrap();
            }
            Step::Deliver {
                from,
                to,
                acknowledge,
            } => deliver(replicas, from, to, acknowledge),
        }
    }

    fn positions(replicas: &[Replica; 3]) -> Vec<u64> {
        let each = |replica: &Replica| NAMES.map(|name| replica.applied().seq(name));
        replicas.iter().flat_map(each).collect()
    }

    proptest! {
        #[test]
        fn replicas_converge_whatever_was_delivered_when(steps in prop::collection::vec(step(), 0..80)) {
            let mut replicas = three();
            for step in &steps {
                let before = positions(&replicas);
                take(&mut replicas, step);
                let after = positions(&replicas);
                prop_assert!(before.iter().zip(&after).all(|(old, new)| old <= new), "ran backwards");
            }
            for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                while !lacking(&replicas[from], &replicas[to]).is_empty() {
                    deliver(&mut replicas, from, to, true);
                }
            }
            prop_assert_eq!(&replicas[0].store, &replicas[1].store);
            prop_assert_eq!(&replicas[0].store, &replicas[2].store);
            let ends = positions(&replicas);
            prop_assert!(ends.chunks(3).all(|vector| vector == &ends[..3]), "{:?}", ends);
            prop_assert_eq!(replicas[0].log().bytes(), 0, "what all have is forgotten");
        }

        #[test]
        fn one_log_in_any_order_and_twice_is_applied_as_a_prefix(order in prop::collection::vec(0..6usize, 0..40)) {
            let [mut us, mut eu, _] = three();
            for index in 0..6 {
                put(&mut us, "key", &index.to_string()).unwrap();
            }
            let entries = lacking(&us, &eu);
            for index in order {
                let applied = eu.receive(&us.name, vec![entries[index].clone()]);
                let seen = eu.store().held("key").map_or(0, |held| held.seq);
                prop_assert_eq!(seen, applied, "a read sees what the vector says and no more");
            }
        }
    }

    #[test]
    fn a_write_that_has_seen_another_wins_over_it() {
        let mut replicas = three();
        for value in ["1", "2", "3"] {
            put(&mut replicas[0], "key", value).unwrap();
        }
        deliver(&mut replicas, 0, 1, true);
        put(&mut replicas[1], "key", "after").unwrap();
        deliver(&mut replicas, 1, 0, true);
        assert_eq!(replicas[0].store().held("key").unwrap().value, "after");
    }

    #[test]
    fn says_what_a_write_did() {
        let [mut us, ..] = three();
        let mut check = |value: Option<&str>, effect| {
            let commit = us
                .commit("key".into(), value.map(Into::into), now(), 0)
                .unwrap();
            assert_eq!(commit.effect, effect);
        };
        check(Some("a"), Effect::Created);
        check(Some("b"), Effect::Replaced);
        check(None, Effect::Deleted);
        check(Some("c"), Effect::Created);
    }

    #[test]
    fn takes_writes_up_to_its_bounds_and_none_past_them() {
        let mut us = replica(
            0,
            Bounds {
                log_bytes: 200,
                store_bytes: usize::MAX,
            },
        );
        assert!(
            put(&mut us, "k", &"x".repeat(134)).is_ok(),
            "199 bytes in the log"
        );
        assert!(
            put(&mut us, "k", "").is_ok(),
            "below the bound when it came"
        );
        assert_eq!(put(&mut us, "k", ""), Err(Full::Log));

        let mut us = replica(
            0,
            Bounds {
                log_bytes: usize::MAX,
                store_bytes: 1,
            },
        );
        assert!(put(&mut us, "k", "").is_ok());
        assert_eq!(put(&mut us, "k", ""), Err(Full::Store));
        assert!(
            us.commit("k".into(), None, now(), 0).is_ok(),
            "a full store can be emptied"
        );
    }

    #[test]
    fn a_write_after_a_region_s_fall_wins_over_those_it_had_not_passed_on() {
        let mut replicas = three();
        let mut write = |at: usize, value: &str, unix_ms| {
            replicas[at]
                .commit("k".into(), Some(value.into()), now(), unix_ms)
                .unwrap();
        };
        for (value, unix_ms) in [("v1", 1_000), ("v2", 2_000), ("v3", 3_000)] {
            write(1, value, unix_ms); // Not passed on before the fall.
        }
        write(0, "v4", 4_000);
        deliver(&mut replicas, 0, 1, true);
        deliver(&mut replicas, 1, 0, true);
        for replica in &replicas[..2] {
            assert_eq!(replica.store().held("k").unwrap().value, "v4");
        }
    }

    #[test]
    fn a_forged_clock_is_not_applied() {
        let [us, mut eu, _] = three();
        let forged = Entry {
            seq: 1,
            lamport: u64::MAX,
            key: "k".into(),
            value: None,
        };
        assert_eq!(eu.receive(&us.name, vec![forged]), 0);
        assert!(put(&mut eu, "k", "v").is_ok());
    }
}
