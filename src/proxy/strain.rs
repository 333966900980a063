//! Whether a worker keeps up: how late it is, and which share of new requests it therefore sheds.
//!
//! A worker that has more to do than it can does everything late. What it then still takes on makes every
//! request later, until clients give up on all of them. As in CoDel (RFC 8289 §3.2) the least delay of an interval
//! tells such a queue from a burst, which passes. The share that is shed rises and falls by steps until the delay stays
//! about the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::context::{Context, Worker};

/// How often the delay is measured.
const EVERY: Duration = Duration::from_millis(100);

/// Measurements in a row that make a queue of a burst: about a second.
const IN_A_ROW: u32 = 10;

/// By how much the share of each measurement rises and falls, and the most it is: some requests always pass, so that
/// there is something to measure. Thousandths.
const RISE: u32 = 50;
const FALL: u32 = 25;
const MOST: u32 = 900;

/// What share of new requests a worker sheds, thousandths.
#[derive(Debug, Default)]
pub(super) struct Strain(AtomicU32);

impl Strain {
    /// Whether a request of this draw, out of 1,000, is shed.
    pub(super) fn sheds(&self, draw: usize) -> bool {
        u32::try_from(draw).is_ok_and(|draw| draw < self.0.load(Ordering::Relaxed))
    }
}

/// Decides the share.
#[derive(Debug, Default)]
struct Judge {
    late_in_a_row: u32,
    share: u32,
}

impl Judge {
    /// Weighs one measurement; a target of zero: there is none.
    fn weigh(&mut self, delay: Duration, target: Duration) -> u32 {
        if target.is_zero() {
            *self = Self::default();
        } else if delay > target {
            self.late_in_a_row = self.late_in_a_row.saturating_add(1);
            if self.share > 0 || self.late_in_a_row >= IN_A_ROW {
                self.share = (self.share + RISE).min(MOST);
            }
        } else {
            self.late_in_a_row = 0;
            self.share = self.share.saturating_sub(FALL);
        }
        self.share
    }
}

/// Measures a worker from its own runtime, for as long as that runs.
pub(super) async fn watch(worker: Arc<Worker>, context: Arc<Context>) {
    let mut judge = Judge::default();
    loop {
        let due = Instant::now() + EVERY;
        tokio::time::sleep_until(due).await;
        let target = context.live.load().snapshot.plan.listen.limits.delay;
        let share = judge.weigh(due.elapsed(), target);
        worker.strain.0.store(share, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(500);
    const LATE: Duration = Duration::from_millis(501);

    fn after(judge: &mut Judge, times: u32, delay: Duration) -> u32 {
        (0..times).fold(0, |_, _| judge.weigh(delay, TARGET))
    }

    #[test]
    fn a_burst_sheds_nothing_and_a_queue_does() {
        let mut judge = Judge::default();
        assert_eq!(after(&mut judge, 9, LATE), 0);
        assert_eq!(judge.weigh(TARGET, TARGET), 0, "one in time: a burst");
        assert_eq!(after(&mut judge, 9, LATE), 0);
        assert_eq!(judge.weigh(LATE, TARGET), 50);
    }

    #[test]
    fn a_process_that_was_stopped_for_an_hour_sheds_nothing() {
        let mut judge = Judge::default();
        assert_eq!(judge.weigh(Duration::from_hours(1), TARGET), 0);
    }

    #[test]
    fn the_share_rises_to_nine_tenths_and_is_gone_when_all_is_in_time_again() {
        let mut judge = Judge::default();
        assert_eq!(after(&mut judge, 100, LATE), 900);
        assert_eq!(judge.weigh(TARGET, TARGET), 875);
        assert_eq!(
            judge.weigh(LATE, TARGET),
            900,
            "still a queue: no second is waited"
        );
        assert_eq!(after(&mut judge, 36, TARGET), 0);
        assert_eq!(judge.weigh(LATE, TARGET), 0);
    }

    #[test]
    fn without_a_target_nothing_is_ever_shed() {
        let mut judge = Judge::default();
        after(&mut judge, 100, LATE);
        assert_eq!(judge.weigh(LATE, Duration::ZERO), 0);
    }

    #[test]
    fn a_share_is_of_the_draws() {
        let strain = Strain(AtomicU32::new(900));
        assert!(strain.sheds(0) && strain.sheds(899) && !strain.sheds(900));
        assert!(!Strain::default().sheds(0));
    }
}
