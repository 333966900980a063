//! By how much the wall clock has been set, forward or back, while the process runs. Pure: both clocks are arguments.

use super::Now;

/// A clock that is off by less is not set but adjusted: what goes by it is a second early or late.
const LEAST_MS: u64 = 1_000;

/// How far the wall clock is ahead of the steady one.
#[derive(Debug)]
pub(crate) struct Steps {
    ahead_ms: i64,
}

impl Steps {
    pub(crate) fn since(now: Now) -> Self {
        Self {
            ahead_ms: ahead_ms(now),
        }
    }

    /// By how many ms the wall clock has been set since it was looked at last: less than 0 is back. A machine that sleeps has it set
    /// forward, since the steady one stands still meanwhile.
    pub(crate) fn look(&mut self, now: Now) -> Option<i64> {
        let ahead_ms = ahead_ms(now);
        let by_ms = ahead_ms.saturating_sub(self.ahead_ms);
        // Small ones add up.
        if by_ms.unsigned_abs() < LEAST_MS {
            return None;
        }
        self.ahead_ms = ahead_ms;
        Some(by_ms)
    }
}

fn ahead_ms(now: Now) -> i64 {
    let [unix, steady] =
        [now.unix_ms, now.steady_ms].map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    unix.saturating_sub(steady)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_seen_once_and_by_how_much() {
        let at = |unix_ms, steady_ms| Now { unix_ms, steady_ms };
        let mut clock = Steps::since(at(7_200_000, 0));
        for (now, expected) in [
            (at(7_201_000, 1_000), None),
            (at(7_201_300, 2_000), None),
            // A second in all.
            (at(7_202_000, 3_000), Some(-1_000)),
            (at(7_203_000, 4_000), None),
            (at(9_004_000, 5_000), Some(1_800_000)),
            (at(5_405_000, 6_000), Some(-3_600_000)),
            (at(0, 7_000), Some(-5_406_000)),
        ] {
            assert_eq!(clock.look(now), expected, "{now:?}");
        }
    }
}
