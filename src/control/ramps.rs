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

/// A region on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ramp {
    pub(super) slope: Slope,
    /// When that was: what it has lost until then is in the slope.
    pub(super) begun_ms: u64,
    /// Since when it is out again, before it has had all.
    pub(super) halted_ms: Option<u64>,
}

impl Ramp {
    /// What is left of it by now where the region went out at a time, in milliseconds of a ramp of another length. Of what
    /// it was out for besides, and over, the slope knows already.
    fn kept_ms(self, out_ms: u64, length_ms: u64, now_ms: u64) -> u64 {
        let since_ms = self.halted_ms.unwrap_or(out_ms.max(self.begun_ms));
        let come_ms = self.come_ms(since_ms, length_ms);
        come_ms.saturating_sub(now_ms.saturating_sub(since_ms))
    }

    /// How far it had come at a time, in milliseconds of a ramp of another length.
    fn come_ms(self, at_ms: u64, length_ms: u64) -> u64 {
        let Slope {
            from_ms,
            length_ms: own_ms,
        } = self.slope;
        let come_ms = u128::from(at_ms.saturating_sub(from_ms).min(own_ms));
        let come_ms = come_ms * u128::from(length_ms) / u128::from(own_ms.max(1));
        u64::try_from(come_ms).unwrap_or(length_ms)
    }
}

/// Those on their way.
#[derive(Debug, Default)]
pub(super) struct Ramps(HashMap<Key, Ramp>);

impl Ramps {
    /// A region comes back that has been out since a time. It loses its clients as it is given them, so that of a short while
    /// it has kept a part, and that part of what it had.
    pub(super) fn begin(&mut self, key: Key, length_ms: u64, out_ms: u64, now_ms: u64) {
        let kept_ms = length_ms.saturating_sub(now_ms.saturating_sub(out_ms));
        let before = self.0.remove(&key);
        let of_before = before.map(|ramp| ramp.kept_ms(out_ms, length_ms, now_ms));
        let kept_ms = of_before.map_or(kept_ms, |of_before| of_before.min(kept_ms));
        self.start(key, length_ms, kept_ms, now_ms);
    }

    /// The same of one that lost its clients little by little, and has kept so much of the ramp, or what it had.
    pub(super) fn begin_with(&mut self, key: Key, length_ms: u64, kept_ms: u64, now_ms: u64) {
        let before = self.0.remove(&key);
        let had = before.map(|ramp| ramp.come_ms(ramp.halted_ms.unwrap_or(now_ms), length_ms));
        let kept_ms = had.map_or(kept_ms, |had_ms| had_ms.min(kept_ms));
        self.start(key, length_ms, kept_ms, now_ms);
    }

    fn start(&mut self, key: Key, length_ms: u64, kept_ms: u64, now_ms: u64) {
        if length_ms == 0 {
            return;
        }
        let from_ms = now_ms.saturating_sub(kept_ms.min(length_ms));
        let ramp = Ramp {
            slope: Slope { from_ms, length_ms },
            begun_ms: now_ms,
            halted_ms: None,
        };
        self.0.insert(key, ramp);
    }

    /// The clock has been set by so much: what began by the old one has come as far by the new one.
    pub(super) fn shift(&mut self, by_ms: i64) {
        for Ramp {
            slope,
            begun_ms,
            halted_ms,
        } in self.0.values_mut()
        {
            for at_ms in halted_ms.iter_mut().chain([&mut slope.from_ms, begun_ms]) {
                *at_ms = at_ms.saturating_add_signed(by_ms);
            }
        }
    }

    /// Those that are on their way, in the order of their names.
    pub(super) fn all(&self) -> Vec<(&Key, Ramp)> {
        let mut all: Vec<_> = self.0.iter().map(|(key, ramp)| (key, *ramp)).collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    /// Takes one over from before.
    pub(super) fn put(&mut self, key: Key, ramp: Ramp) {
        self.0.insert(key, ramp);
    }

    /// A region is out again: what it has not been given yet, it has not to lose. Whether it was on its way.
    pub(super) fn halt(&mut self, key: &Key, now_ms: u64) -> bool {
        let Some(ramp) = self.0.get_mut(key) else {
            return false;
        };
        let was_under_way = ramp.halted_ms.is_none();
        ramp.halted_ms.get_or_insert(now_ms);
        was_under_way
    }

    /// How much of its clients a region is given on its way back; `None`: all, or it is out.
    pub(super) fn share(&self, key: &Key, now_ms: u64) -> Option<Percent> {
        let is_under_way = self.0.get(key)?.halted_ms.is_none();
        self.given(key, now_ms).filter(|_| is_under_way)
    }

    /// The same, or what it had been given when it went out again; `None`: all.
    pub(super) fn given(&self, key: &Key, now_ms: u64) -> Option<Percent> {
        let ramp = self.0.get(key)?;
        let share = ramp.slope.done(ramp.halted_ms.unwrap_or(now_ms));
        // Somebody must try it, or nobody sees how it does.
        (share < Percent::ALL).then(|| share.max(Percent::new(1)))
    }

    /// When after `since_ms` a share is another.
    pub(super) fn next_change_ms(&self, since_ms: u64) -> Option<u64> {
        let next = |slope: Slope| slope.turns().find(|at| *at > since_ms);
        self.under_way().filter_map(next).min()
    }

    /// Whether a share is another at two moments.
    pub(super) fn turn_between(&self, one_ms: u64, other_ms: u64) -> bool {
        let turns = |slope: Slope| slope.done(one_ms) != slope.done(other_ms);
        self.under_way().any(turns)
    }

    fn under_way(&self) -> impl Iterator<Item = Slope> {
        let under_way = self.0.values().filter(|ramp| ramp.halted_ms.is_none());
        under_way.map(|ramp| ramp.slope)
    }

    /// Forgets those that are over, and those that are no longer wanted.
    pub(super) fn retain(&mut self, now_ms: u64, is_wanted: impl Fn(&Key) -> bool) {
        let is_over =
            |ramp: &Ramp| ramp.slope.done(ramp.halted_ms.unwrap_or(now_ms)) == Percent::ALL;
        self.0.retain(|key, ramp| !is_over(ramp) && is_wanted(key));
    }

    /// Whether any is under way.
    pub(super) fn is_any_under_way(&self) -> bool {
        self.under_way().next().is_some()
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
