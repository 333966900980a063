//! Regions that have come back to a service and are given its clients little by little.

use std::collections::HashMap;
use std::sync::Arc;

use super::slope::Slope;
use crate::steering::Percent;

/// A service's name with a region's.
pub(super) type Key = (Arc<str>, Arc<str>);

/// Those on their way.
#[derive(Debug, Default)]
pub(super) struct Ramps(HashMap<Key, Slope>);

impl Ramps {
    /// A region comes back. What it has `kept` of its clients, it need not be given again.
    pub(super) fn begin(&mut self, key: Key, length_ms: u64, kept_ms: u64, now_ms: u64) {
        if length_ms == 0 {
            return;
        }
        let from_ms = now_ms.saturating_sub(kept_ms.min(length_ms));
        self.0.insert(key, Slope { from_ms, length_ms });
    }

    /// A region is out again.
    pub(super) fn end(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// How much of its clients a region is given; `None`: all.
    pub(super) fn share(&self, key: &Key, now_ms: u64) -> Option<Percent> {
        let share = self.0.get(key)?.done(now_ms);
        // Somebody must try it, or nobody sees how it does.
        (share < Percent::ALL).then(|| share.max(Percent::new(1)))
    }

    /// When after `since_ms` a share is another.
    pub(super) fn next_change_ms(&self, since_ms: u64) -> Option<u64> {
        let next = |slope: &Slope| slope.turns().find(|at| *at > since_ms);
        self.0.values().filter_map(next).min()
    }

    /// Whether a share is another at two moments.
    pub(super) fn turn_between(&self, one_ms: u64, other_ms: u64) -> bool {
        let turns = |slope: &Slope| slope.done(one_ms) != slope.done(other_ms);
        self.0.values().any(turns)
    }

    /// Forgets those that are over, and those that are no longer wanted.
    pub(super) fn retain(&mut self, now_ms: u64, is_wanted: impl Fn(&Key) -> bool) {
        self.0
            .retain(|key, slope| slope.done(now_ms) < Percent::ALL && is_wanted(key));
    }
}
