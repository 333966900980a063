//! Dense ids of what a `Plan` holds, and the tables that they index.
//!
//! Ids are minted by the configuration compiler alone and are valid for the `Plan` that they came
//! from: two Plans number their regions independently, so whatever outlives a reload is keyed by name.

use std::marker::PhantomData;
use std::sync::Arc;

/// A number that indexes a [`Table`].
pub trait Id: Copy {
    /// The id of the entry at this place.
    fn at(index: usize) -> Self;
    /// The place of the entry.
    fn index(self) -> usize;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u16);

        impl Id for $name {
            fn at(index: usize) -> Self {
                Self(u16::try_from(index).unwrap_or(u16::MAX))
            }

            fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    };
}

/// The most entries that a table can hold, in regions, services, origins and so on.
pub const MOST_ENTRIES: usize = 65_535;

id!(
    /// A region of the Plan.
    RegionId
);
id!(
    /// A service of the Plan.
    ServiceId
);
id!(
    /// An origin of the Plan: one URL of one region.
    OriginId
);
id!(
    /// A consistency domain: services on one data store.
    DomainId
);

/// A service and a region of it, by their names: what outlives a reload.
pub type MemberName = (Arc<str>, Arc<str>);

/// A vector indexed by an [`Id`].
#[derive(Clone, Debug, PartialEq)]
pub struct Table<K, V> {
    entries: Vec<V>,
    key: PhantomData<fn(K)>,
}

impl<K: Id, V> Table<K, V> {
    /// The entries in the order of their ids.
    pub fn from_vec(entries: Vec<V>) -> Self {
        Self {
            entries,
            key: PhantomData,
        }
    }

    /// As many entries as `other` has, each made from its id.
    pub fn like<W>(other: &Table<K, W>, make: impl FnMut(K) -> V) -> Self {
        Self::from_vec(other.ids().map(make).collect())
    }

    /// Appends an entry and returns its id.
    pub fn push(&mut self, entry: V) -> K {
        self.entries.push(entry);
        K::at(self.entries.len() - 1)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every id, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = K> + use<K, V> {
        (0..self.entries.len()).map(K::at)
    }

    /// Every entry, in order.
    pub fn values(&self) -> std::slice::Iter<'_, V> {
        self.entries.iter()
    }

    /// Every entry with its id, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (K, &V)> {
        self.entries.iter().enumerate().map(|(i, v)| (K::at(i), v))
    }

    /// The entry of an id that was minted for this table, as every id of a Plan is for its tables.
    #[expect(clippy::indexing_slicing, reason = "ids are minted for this table")]
    pub fn of(&self, id: K) -> &V {
        &self.entries[id.index()]
    }

    /// As [`Table::of`], to change it.
    #[expect(clippy::indexing_slicing, reason = "ids are minted for this table")]
    pub fn of_mut(&mut self, id: K) -> &mut V {
        &mut self.entries[id.index()]
    }

    /// The entry of an id that may come from elsewhere.
    pub fn get(&self, id: K) -> Option<&V> {
        self.entries.get(id.index())
    }
}

impl<K: Id, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::from_vec(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pushed_entry_is_found_by_its_id() {
        let mut table: Table<RegionId, &str> = Table::default();
        let id = table.push("us-east-1");
        assert_eq!(*table.of(id), "us-east-1");
        assert_eq!(table.get(RegionId::at(1)), None);
    }
}
