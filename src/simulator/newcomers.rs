//! Replicas that a reload has added: they need not have what all others have, and must not be read from by those who know that.

use std::collections::{BTreeMap, BTreeSet};

use super::edge::At;

#[derive(Debug, Default)]
pub(super) struct Newcomers {
    added_ms: BTreeMap<At, u64>,
    /// Those that have led their region since.
    leaders: BTreeSet<At>,
}

impl Newcomers {
    pub(super) fn add(&mut self, at: At, now_ms: u64) {
        self.added_ms.insert(at, now_ms);
    }

    /// It leads its region from now on: what it lacks its region has lost.
    pub(super) fn leads(&mut self, at: At) {
        self.leaders.insert(at);
    }

    /// Whether it does not count where all have something.
    pub(super) fn has(&self, at: At) -> bool {
        self.added_ms.contains_key(&at) && !self.leaders.contains(&at)
    }

    /// When it was added; none: it was there from the start.
    pub(super) fn added_ms(&self, at: At) -> Option<u64> {
        self.added_ms.get(&at).copied()
    }
}
