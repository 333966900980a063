//! When a target is probed next, and when an origin is polled again.

use std::time::Duration;

/// Jitter around the interval, so that many checks do not fall into step (the contract: 10 %).
const JITTER: f64 = 0.1;

/// The pause until the next probe begins, counted from when the last one began: `interval` in calm,
/// `recheck` while results dissent, each within 10 %. `chance` is uniform from 0 to 1.
pub(super) fn pause(interval: Duration, recheck: Duration, dissent: bool, chance: f64) -> Duration {
    let base = if dissent {
        recheck.min(interval)
    } else {
        interval
    };
    base.mul_f64(1.0 + JITTER * (2.0 * chance - 1.0))
}

/// The least time between the beginnings of two polls: a busy store has news all the time.
const POLL_GAP: Duration = Duration::from_millis(10);

/// A poll that was held this long is one that waits for news.
const HELD: Duration = Duration::from_secs(1);

/// The longest pause between polls of an origin that does not hold them.
const MOST_HASTY: Duration = Duration::from_secs(1);

/// The pause after the first failed poll; each next one is twice as long.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);

/// The longest one.
const MOST_BACK_OFF: Duration = Duration::from_secs(10);

/// What became of a long poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The origin has applied more, and said so after this time.
    News(Duration),
    /// It has not, and said so after this time.
    Nothing(Duration),
    /// No answer, or none that can be read.
    Failed,
}

/// How an origin's polls have gone of late, and so when the next one begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calm {
    failed: u32,
    hasty: u32,
}

impl Calm {
    /// Takes in a poll. The pause from its end to the next one; `chance` is uniform from 0 to 1.
    pub fn after(&mut self, polled: Polled, chance: f64) -> Duration {
        let is_hasty = matches!(polled, Polled::Nothing(held) if held < HELD);
        self.failed = counted(self.failed, polled == Polled::Failed);
        self.hasty = counted(self.hasty, is_hasty);
        match polled {
            Polled::Failed => {
                let most = doubled(FIRST_BACK_OFF, self.failed, MOST_BACK_OFF);
                most.mul_f64(0.5 + chance / 2.0)
            }
            Polled::Nothing(_) if is_hasty => doubled(2 * POLL_GAP, self.hasty, MOST_HASTY),
            // None after a poll that was held: what comes next would be told that much later.
            Polled::News(held) | Polled::Nothing(held) => POLL_GAP.saturating_sub(held),
        }
    }

    /// Whether the origin tells of itself: it answers, and holds polls until it has news.
    pub fn is_told(&self) -> bool {
        self.failed == 0 && self.hasty == 0
    }
}

fn counted(before: u32, again: bool) -> u32 {
    if again { before.saturating_add(1) } else { 0 }
}

/// `first`, twice as long with every time after the first, up to `most`.
fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 1_u32
        .checked_shl(times.saturating_sub(1))
        .unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_jittered_by_ten_percent() {
        let (interval, recheck) = (Duration::from_secs(10), Duration::from_secs(2));
        assert_eq!(pause(interval, recheck, false, 0.0), Duration::from_secs(9));
        assert_eq!(
            pause(interval, recheck, false, 1.0),
            Duration::from_secs(11)
        );
        assert_eq!(pause(interval, recheck, true, 0.5), Duration::from_secs(2));
    }

    #[test]
    fn a_recheck_is_never_slower_than_the_interval() {
        let (interval, recheck) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(pause(interval, recheck, true, 0.5), interval);
    }

    /// Pauses in ms, without jitter.
    fn pauses(polls: &[Polled]) -> Vec<u128> {
        let mut calm = Calm::default();
        let polls = polls.iter();
        polls
            .map(|polled| calm.after(*polled, 1.0).as_millis())
            .collect()
    }

    #[test]
    fn an_origin_that_fails_is_polled_ever_less_often_and_at_once_when_it_is_back() {
        use Polled::Failed;
        let polls = [Failed, Failed, Failed, Polled::News(Duration::ZERO), Failed];
        assert_eq!(pauses(&polls), [100, 200, 400, 10, 100]);
        let many = [Failed; 80];
        assert_eq!(pauses(&many).last(), Some(&10_000));
        let mut calm = Calm::default();
        assert_eq!(calm.after(Failed, 0.0), FIRST_BACK_OFF / 2, "jitter");
        assert!(!calm.is_told());
    }

    #[test]
    fn an_origin_that_does_not_hold_polls_is_not_asked_without_end() {
        let (at_once, held) = (Polled::Nothing(Duration::ZERO), Polled::Nothing(HELD));
        assert_eq!(
            pauses(&[at_once; 8])[..],
            [20, 40, 80, 160, 320, 640, 1_000, 1_000]
        );
        assert_eq!(
            pauses(&[at_once, at_once, Polled::News(Duration::ZERO)]),
            [20, 40, 10]
        );
        assert_eq!(pauses(&[held, held]), [0, 0]);
    }

    #[test]
    fn polls_begin_ten_milliseconds_apart_and_a_held_one_is_followed_at_once() {
        let held = |ms| Polled::News(Duration::from_millis(ms));
        let polls = [held(0), held(4), held(10), held(5_000)];
        assert_eq!(pauses(&polls), [10, 6, 0, 0]);
    }
}
