//! What a replica's readers see, and which of two conflicting writes they see. Pure.
//!
//! The last write wins, by the writer's hybrid clock and then by the writer's name. That order is
//! total and the same everywhere, so replicas agree whatever the order in which writes reach them.
//! A deletion is a version like any other: forgetting it would let an older write come back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;

use super::name::Name;

/// What a version costs besides its key and value, roughly.
const VERSION_BYTES: usize = 64;

/// The order of conflicting writes; the greater wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) lamport: u64,
    pub(super) region: Name,
}

/// One write to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) stamp: Stamp,
    /// Its place in the writer's log.
    pub(super) seq: u64,
    /// `None`: deleted.
    pub(super) value: Option<Arc<str>>,
}

impl Version {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// A key that has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held<'a> {
    pub(super) value: &'a str,
    pub(super) written_by: &'a Name,
    pub(super) seq: u64,
}

/// The winning version of every key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    versions: BTreeMap<Arc<str>, Version>,
    bytes: usize,
}

impl Store {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn held(&self, key: &str) -> Option<Held<'_>> {
        let version = self.versions.get(key)?;
        Some(Held {
            value: version.value.as_deref()?,
            written_by: &version.stamp.region,
            seq: version.seq,
        })
    }

    /// Keys that have a value, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let live = self
            .versions
            .iter()
            .filter(|(_, version)| version.value.is_some());
        live.map(|(key, _)| &**key)
    }

    /// Keeps the later of what is there and what has come.
    pub(super) fn merge(&mut self, key: Arc<str>, version: Version) {
        match self.versions.entry(key) {
            Slot::Vacant(free) => {
                self.bytes += VERSION_BYTES + free.key().len() + version.bytes();
                free.insert(version);
            }
            Slot::Occupied(mut taken) if taken.get().stamp < version.stamp => {
                self.bytes += version.bytes();
                self.bytes -= taken.insert(version).bytes();
            }
            Slot::Occupied(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(lamport: u64, region: &str, value: Option<&str>) -> Version {
        let stamp = Stamp {
            lamport,
            region: region.parse().unwrap(),
        };
        Version {
            stamp,
            seq: lamport,
            value: value.map(Into::into),
        }
    }

    /// Both orders of delivery must leave the same value.
    #[track_caller]
    fn check(one: Version, other: Version, value: Option<&str>) {
        for order in [[&one, &other], [&other, &one]] {
            let mut store = Store::default();
            for version in order {
                store.merge("key".into(), version.clone());
            }
            assert_eq!(store.held("key").map(|held| held.value), value);
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

    #[test]
    fn a_deleted_key_is_not_listed() {
        let mut store = Store::default();
        store.merge("gone".into(), version(1, "us", None));
        store.merge("here".into(), version(2, "us", Some("x")));
        assert_eq!(store.keys().collect::<Vec<_>>(), ["here"]);
    }

    #[test]
    fn counts_the_bytes_of_what_it_holds() {
        let mut store = Store::default();
        store.merge("key".into(), version(1, "us", Some("long value")));
        store.merge("key".into(), version(2, "us", Some("x")));
        assert_eq!(store.bytes(), VERSION_BYTES + 4);
    }
}
