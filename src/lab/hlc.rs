//! A hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical Physical Clocks and
//! Consistent Snapshots in Globally Distributed Databases", 2014, figure 5). Pure: the time of day is
//! an argument.
//!
//! It reads close to the time of day and never runs backwards, and an event that has seen another
//! is always later than it, however wrong the clocks are. It is never ahead of the fastest time of day
//! that anybody has read, so it errs by at most as much as the clocks differ.

use std::time::Duration;

/// A stamp further ahead of the time of day is forged or broken: no two clocks here differ as much.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// A moment: the time of day in milliseconds since 1970, and a count of what fell into one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment {
    pub(super) unix_ms: u64,
    pub(super) count: u32,
}

impl Moment {
    /// The earliest later one.
    fn next(self) -> Self {
        match self.count.checked_add(1) {
            Some(count) => Self { count, ..self },
            None => Self::start_of(self.unix_ms.saturating_add(1)),
        }
    }

    fn start_of(unix_ms: u64) -> Self {
        Self { unix_ms, count: 0 }
    }

    /// Whether no honest clock can have shown this yet.
    pub(super) fn is_absurd(self, unix_ms: u64) -> bool {
        let ahead = u64::try_from(AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
        self.unix_ms > unix_ms.saturating_add(ahead)
    }
}

/// The clock of one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    last: Moment,
}

impl Clock {
    /// The moment of an event here.
    pub(super) fn tick(&mut self, unix_ms: u64) -> Moment {
        self.last = self.last.next().max(Moment::start_of(unix_ms));
        self.last
    }

    /// Takes note of a moment elsewhere, so that whatever is done here from now on is later.
    pub(super) fn observe(&mut self, elsewhere: Moment, unix_ms: u64) {
        self.last = self
            .last
            .max(elsewhere)
            .next()
            .max(Moment::start_of(unix_ms));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_the_time_of_day_while_that_moves_on() {
        let mut clock = Clock::default();
        assert_eq!(clock.tick(5), Moment::start_of(5));
        assert_eq!(clock.tick(7), Moment::start_of(7));
    }

    #[test]
    fn counts_while_the_time_of_day_stands_still_or_runs_backwards() {
        let mut clock = Clock::default();
        for (unix_ms, count) in [(5, 0), (5, 1), (3, 2)] {
            assert_eq!(clock.tick(unix_ms), Moment { unix_ms: 5, count });
        }
    }

    #[test]
    fn a_full_count_carries_over() {
        let full = Moment {
            unix_ms: 5,
            count: u32::MAX,
        };
        assert_eq!(full.next(), Moment::start_of(6));
    }

    #[test]
    fn a_moment_is_absurd_past_a_day_ahead() {
        let day = 24 * 3600 * 1000;
        assert!(!Moment::start_of(1000 + day).is_absurd(1000));
        assert!(Moment::start_of(1001 + day).is_absurd(1000));
    }

    /// One of three replicas, whose clock says this, writes, or hears of another's last event.
    fn step() -> impl Strategy<Value = (usize, u64, Option<usize>)> {
        (0..3usize, 0..50u64, prop::option::of(0..3usize))
    }

    proptest! {
        #[test]
        fn is_monotone_later_than_all_it_has_seen_and_never_ahead_of_the_fastest_clock(
            steps in prop::collection::vec(step(), 1..100)
        ) {
            let mut clocks = [Clock::default(); 3];
            let mut fastest = 0;
            for (at, unix_ms, heard) in steps {
                fastest = fastest.max(unix_ms);
                let before = clocks[at].last;
                if let Some(other) = heard {
                    let elsewhere = clocks[other].last;
                    clocks[at].observe(elsewhere, unix_ms);
                    prop_assert!(clocks[at].last > elsewhere);
                } else {
                    clocks[at].tick(unix_ms);
                }
                prop_assert!(clocks[at].last > before);
                prop_assert!(clocks[at].last.unix_ms >= unix_ms);
                prop_assert!(clocks[at].last.unix_ms <= fastest);
            }
        }
    }
}
