//! Regions that have come back to a service and are given its clients little by little.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::slope::Slope;
use crate::steering::Percent;

/// Requests of a service in a second from which on a region that is cold feels its clients come all at once.
const BUSY: f64 = 100.0;

/// How long they take where nobody said: as long as a health check's interval, so that it is no longer until
/// everybody is back than it may take to see that they can be.
const BUSY_RAMP: Duration = Duration::from_secs(10);

/// How long a region that comes back takes to be given all of its clients: what was `asked` for, or what the service's
/// requests in a second make of it.
pub(super) fn length(asked: Option<Duration>, per_second: f64) -> Duration {
    asked.unwrap_or(if per_second < BUSY {
        Duration::ZERO
    } else {
        BUSY_RAMP
    })
}

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

    /// The clock has been set by so much: what began by the old one has come as far by the new one.
    pub(super) fn shift(&mut self, by_ms: i64) {
        for slope in self.0.values_mut() {
            slope.from_ms = slope.from_ms.saturating_add_signed(by_ms);
        }
    }

    /// Those that are on their way, in the order of their names.
    pub(super) fn all(&self) -> Vec<(&Key, Slope)> {
        let mut all: Vec<_> = self.0.iter().map(|(key, slope)| (key, *slope)).collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    /// Takes one over from before.
    pub(super) fn put(&mut self, key: Key, slope: Slope) {
        self.0.insert(key, slope);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_100_requests_a_second_on_it_is_ten_seconds_and_below_it_is_at_once_unless_asked_for() {
        let asked = [None, Some(Duration::ZERO), Some(Duration::from_secs(60))];
        let lengths = |per_second| asked.map(|asked| length(asked, per_second).as_secs());
        assert_eq!(lengths(99.9), [0, 0, 60]);
        assert_eq!(lengths(100.0), [10, 0, 60]);
    }
}
