//! A change of one key, as it stands in a log and travels between regions. Pure.
//!
//! A change is a small state of its key, and applying it is merging it (Almeida, Shoker and Baquero, "Delta State
//! Replicated Data Types", 2018). So changes and whole states travel alike, and either may come twice.

use std::sync::Arc;

use super::counter::Counter;
use super::hlc::Moment;
use super::orset::OrSet;
use super::register::Register;

/// The kinds of keys, each with names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Register,
    Counter,
    Set,
}

/// A state to merge into that of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delta {
    Register(Register),
    Counter(Counter),
    Set(OrSet),
}

impl Delta {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Register(_) => Kind::Register,
            Self::Counter(_) => Kind::Counter,
            Self::Set(_) => Kind::Set,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Register(register) => register.bytes(),
            Self::Counter(counter) => counter.bytes(),
            Self::Set(set) => set.bytes(),
        }
    }

    /// The latest moment at which something in it was written.
    pub(super) fn latest(&self) -> Option<Moment> {
        match self {
            Self::Register(register) => {
                let moments = register.present.values();
                moments.map(|version| version.stamp.moment).max()
            }
            Self::Counter(_) | Self::Set(_) => None,
        }
    }
}

/// A delta and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Arc<str>,
    pub(super) delta: Delta,
}

impl Change {
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.delta.bytes()
    }
}
