//! What of a region's data survives a crash. Pure.
//!
//! A store that flushes its log before it acknowledges a write loses none. One that flushes it every so often
//! loses what it acknowledged since: it comes back as it was at the last flush. Nothing is copied at a flush itself,
//! but before the first change after it.

use std::time::{Duration, Instant};

/// The disk of one region, beside its data in memory.
#[derive(Clone, Debug)]
pub(super) struct Disk<T> {
    /// Zero: before each acknowledgement.
    every: Duration,
    /// Flushes are counted from then.
    began: Instant,
    /// The number of a flush that changes have followed since, and what it wrote.
    flushed: Option<(u128, T)>,
}

impl<T: Clone> Disk<T> {
    /// One that has all that there is, and flushes before each acknowledgement.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            every: Duration::ZERO,
            began: now,
            flushed: None,
        }
    }

    /// How often it flushes from now on; what there is now is flushed.
    pub(super) fn set_flush(&mut self, every: Duration, now: Instant) {
        *self = Self {
            every,
            ..Self::new(now)
        };
    }

    pub(super) fn flush(&self) -> Duration {
        self.every
    }

    /// Whether a crash may take what was acknowledged.
    pub(super) fn is_late(&self) -> bool {
        !self.every.is_zero()
    }

    /// To be called before every change of the data.
    pub(super) fn before_change(&mut self, data: &T, now: Instant) {
        if !self.is_late() {
            return;
        }
        let turn = self.turn(now);
        if self.flushed.as_ref().is_none_or(|(at, _)| *at < turn) {
            self.flushed = Some((turn, data.clone()));
        }
    }

    /// What there is after a crash; none: all that there was.
    pub(super) fn after_crash(&self, now: Instant) -> Option<&T> {
        let (at, flushed) = self.flushed.as_ref()?;
        (*at == self.turn(now)).then_some(flushed)
    }

    /// Everything that there is now is on the disk.
    pub(super) fn settle(&mut self, now: Instant) {
        self.set_flush(self.every, now);
    }

    /// How many flushes there were until then.
    fn turn(&self, now: Instant) -> u128 {
        let since = now.saturating_duration_since(self.began).as_nanos();
        since.checked_div(self.every.as_nanos()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLUSH: Duration = Duration::from_millis(100);

    fn epoch() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Changes data, one more at each of these times in ms, and says what there is after a crash.
    fn crash(flush: Duration, changes: &[u64], crash_ms: u64) -> usize {
        let began = epoch();
        let mut disk = Disk::new(began);
        disk.set_flush(flush, began);
        let mut data = 0;
        let at = |ms| began + Duration::from_millis(ms);
        for ms in changes {
            disk.before_change(&data, at(*ms));
            data += 1;
        }
        disk.after_crash(at(crash_ms)).copied().unwrap_or(data)
    }

    #[test]
    fn what_was_changed_since_the_last_flush_is_lost_and_no_more() {
        assert_eq!(crash(FLUSH, &[0, 50, 99], 99), 0);
        assert_eq!(crash(FLUSH, &[0, 50, 99], 100), 3);
        assert_eq!(crash(FLUSH, &[0, 50, 100], 100), 2);
        assert_eq!(crash(FLUSH, &[50, 150, 160, 350], 399), 3);
    }

    #[test]
    fn what_was_there_when_the_flush_was_set_is_not_lost() {
        let now = epoch();
        let mut disk = Disk::new(now);
        disk.before_change(&1, now);
        disk.set_flush(FLUSH, now);
        assert_eq!(disk.after_crash(now), None);
        disk.before_change(&2, now);
        assert_eq!(disk.after_crash(now), Some(&2));
        disk.settle(now);
        assert_eq!((disk.after_crash(now), disk.flush()), (None, FLUSH));
    }

    proptest! {
        #[test]
        fn a_crash_takes_nothing_from_a_store_that_flushes_before_it_acknowledges(
            changes in prop::collection::vec(0..1_000_u64, 0..20), crash_ms in 1_000..2_000_u64,
        ) {
            prop_assert_eq!(crash(Duration::ZERO, &changes, crash_ms), changes.len());
        }

        #[test]
        fn a_crash_takes_exactly_the_changes_of_its_own_turn(
            mut changes in prop::collection::vec(0..1_000_u64, 0..20), flush_ms in 1..300_u64, after in 0..300_u64,
        ) {
            changes.sort_unstable();
            let crash_ms = changes.last().copied().unwrap_or(0) + after;
            let flushed_ms = crash_ms / flush_ms * flush_ms;
            let kept = changes.iter().filter(|ms| **ms < flushed_ms).count();
            prop_assert_eq!(crash(Duration::from_millis(flush_ms), &changes, crash_ms), kept);
        }
    }
}
