//! The state of every key: values, counters and sets. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::counter::Counter;
use super::delta::{Change, Delta, Kind};
use super::orset::OrSet;
use super::register::{Held, Register};

/// What a key costs besides its name and state, roughly.
const KEY_BYTES: usize = 64;

/// All that readers see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    registers: BTreeMap<Arc<str>, Register>,
    counters: BTreeMap<Arc<str>, Counter>,
    sets: BTreeMap<Arc<str>, OrSet>,
    bytes: usize,
}

/// A run of keys, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) states: Vec<Change>,
    /// `None`: there are no more.
    pub(super) next: Option<Cursor>,
}

/// After this key.
pub(super) type Cursor = (Kind, Option<Arc<str>>);

impl Store {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn register(&self, key: &str) -> Option<&Register> {
        self.registers.get(key)
    }

    pub(super) fn counter(&self, key: &str) -> Option<&Counter> {
        self.counters.get(key)
    }

    pub(super) fn set(&self, key: &str) -> Option<&OrSet> {
        self.sets.get(key)
    }

    pub(super) fn held(&self, key: &str) -> Option<Held<'_>> {
        self.register(key)?.held()
    }

    /// Keys that have a value, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let live = self
            .registers
            .iter()
            .filter(|(_, register)| register.held().is_some());
        live.map(|(key, _)| &**key)
    }

    /// Merges a change, or a whole state, into its key.
    pub(super) fn merge(&mut self, Change { key, delta }: &Change) {
        let before = self.state_bytes(delta.kind(), key);
        if before.is_none() {
            self.bytes += KEY_BYTES + key.len();
        }
        match delta {
            Delta::Register(delta) => entry(&mut self.registers, key).merge(delta),
            Delta::Counter(delta) => entry(&mut self.counters, key).merge(delta),
            Delta::Set(delta) => entry(&mut self.sets, key).merge(delta),
        }
        self.bytes += self.state_bytes(delta.kind(), key).unwrap_or(0);
        self.bytes -= before.unwrap_or(0);
    }

    /// What the key's state would cost after this change, and what it costs now.
    pub(super) fn weigh(&self, Change { key, delta }: &Change) -> (usize, usize) {
        let now = self.state_bytes(delta.kind(), key).unwrap_or(0);
        let mut alone = Self::default();
        if let Some(state) = self.state(delta.kind(), key) {
            alone.merge(&Change {
                key: key.clone(),
                delta: state,
            });
        }
        alone.merge(&Change {
            key: key.clone(),
            delta: delta.clone(),
        });
        (alone.state_bytes(delta.kind(), key).unwrap_or(0), now)
    }

    fn state_bytes(&self, kind: Kind, key: &str) -> Option<usize> {
        Some(match kind {
            Kind::Register => self.registers.get(key)?.bytes(),
            Kind::Counter => self.counters.get(key)?.bytes(),
            Kind::Set => self.sets.get(key)?.bytes(),
        })
    }

    fn state(&self, kind: Kind, key: &str) -> Option<Delta> {
        Some(match kind {
            Kind::Register => Delta::Register(self.registers.get(key)?.clone()),
            Kind::Counter => Delta::Counter(self.counters.get(key)?.clone()),
            Kind::Set => Delta::Set(self.sets.get(key)?.clone()),
        })
    }

    /// The states that follow, about this many bytes of them and at least one.
    pub(super) fn page(&self, (kind, after): &Cursor, bytes_max: usize) -> Page {
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Box<dyn Iterator<Item = &Arc<str>>> = match kind {
            Kind::Register => Box::new(following(&self.registers, from)),
            Kind::Counter => Box::new(following(&self.counters, from)),
            Kind::Set => Box::new(following(&self.sets, from)),
        };
        let (mut states, mut bytes) = (Vec::new(), 0);
        for key in keys {
            if bytes >= bytes_max {
                let last = states.last().map(|last: &Change| last.key.clone());
                let next = Some((*kind, last));
                return Page { states, next };
            }
            if let Some(delta) = self.state(*kind, key) {
                let key = key.clone();
                let state = Change { key, delta };
                bytes += KEY_BYTES + state.bytes();
                states.push(state);
            }
        }
        let next = match kind {
            Kind::Register => Some((Kind::Counter, None)),
            Kind::Counter => Some((Kind::Set, None)),
            Kind::Set => None,
        };
        Page { states, next }
    }
}

fn entry<'a, S: Default>(states: &'a mut BTreeMap<Arc<str>, S>, key: &Arc<str>) -> &'a mut S {
    states.entry(key.clone()).or_default()
}

fn following<'a, S>(
    states: &'a BTreeMap<Arc<str>, S>,
    from: Bound<&Arc<str>>,
) -> impl Iterator<Item = &'a Arc<str>> {
    states
        .range::<Arc<str>, _>((from, Bound::Unbounded))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::super::causal::Actor;
    use super::super::hlc::Moment;
    use super::super::position::Position;
    use super::super::register::{Stamp, Version};
    use super::*;

    fn actor() -> Actor {
        Actor {
            region: "us".parse().unwrap(),
            epoch: 0,
        }
    }

    fn put(store: &mut Store, key: &str, unix_ms: u64, value: Option<&str>) {
        let moment = Moment { unix_ms, count: 0 };
        let version = Version {
            stamp: Stamp {
                moment,
                region: actor().region,
            },
            position: Position::default(),
            value: value.map(Into::into),
        };
        let before = store.register(key).cloned().unwrap_or_default();
        let delta = Delta::Register(before.put(actor(), version, None));
        store.merge(&Change {
            key: key.into(),
            delta,
        });
    }

    fn count(store: &mut Store, key: &str) {
        let counter = store.counter(key).cloned().unwrap_or_default();
        store.merge(&Change {
            key: key.into(),
            delta: Delta::Counter(counter.counted(actor(), 1).unwrap()),
        });
    }

    #[test]
    fn a_deleted_key_is_not_listed() {
        let mut store = Store::default();
        put(&mut store, "gone", 1, None);
        put(&mut store, "here", 2, Some("x"));
        assert_eq!(store.keys().collect::<Vec<_>>(), ["here"]);
    }

    #[test]
    fn counts_the_bytes_of_what_it_holds() {
        let mut store = Store::default();
        put(&mut store, "key", 1, Some("long value"));
        let before = store.bytes();
        put(&mut store, "key", 2, Some("x"));
        assert_eq!(store.bytes(), before - 9);
        let register = store.register("key").unwrap().bytes();
        assert_eq!(store.bytes(), KEY_BYTES + 3 + register);
    }

    #[test]
    fn says_what_a_change_would_cost_without_making_it() {
        let mut store = Store::default();
        put(&mut store, "key", 1, Some("one"));
        let mut after = store.clone();
        put(&mut after, "key", 2, Some("three"));
        let register = after.register("key").unwrap().clone();
        let change = Change {
            key: "key".into(),
            delta: Delta::Register(register),
        };
        let (then, now) = store.weigh(&change);
        assert_eq!(then, now + 2);
        assert_eq!(store.held("key").unwrap().value, "one");
    }

    #[test]
    fn pages_of_any_size_make_the_whole() {
        let mut store = Store::default();
        for number in 0..5 {
            put(&mut store, &number.to_string(), 1, Some("value"));
            count(&mut store, &number.to_string());
        }
        let set = OrSet::default().added(actor(), "member".into());
        store.merge(&Change {
            key: "set".into(),
            delta: Delta::Set(set),
        });
        for bytes_max in [1, 300, usize::MAX] {
            let (mut copy, mut cursor) = (Store::default(), Some((Kind::Register, None)));
            let mut pages = 0;
            while let Some(at) = cursor {
                let page = store.page(&at, bytes_max);
                page.states.iter().for_each(|state| copy.merge(state));
                (cursor, pages) = (page.next, pages + 1);
            }
            assert_eq!(copy, store);
            assert!(pages == 3 || bytes_max < usize::MAX);
        }
    }
}
