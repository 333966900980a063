//! Whether the wall clock has been set back while the process runs. Pure: both clocks are arguments.

use super::store::Now;

/// A clock that is adjusted by less is not set back: what goes by it stands still for as long.
const LEAST_MS: u64 = 60_000;

/// How far the wall clock is ahead of the steady one.
#[derive(Debug)]
pub(super) struct SetBack {
    ahead_ms: u64,
}

impl SetBack {
    pub(super) fn since(now: Now) -> Self {
        Self {
            ahead_ms: ahead_ms(now),
        }
    }

    /// By how much the wall clock has been set back since it was looked at last, in ms.
    pub(super) fn look(&mut self, now: Now) -> Option<u64> {
        let ahead_ms = ahead_ms(now);
        let by_ms = self.ahead_ms.saturating_sub(ahead_ms);
        // Small ones add up.
        if ahead_ms > self.ahead_ms || by_ms > LEAST_MS {
            self.ahead_ms = ahead_ms;
        }
        (by_ms > LEAST_MS).then_some(by_ms)
    }
}

fn ahead_ms(now: Now) -> u64 {
    now.unix_ms.saturating_sub(now.steady_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_seen_once_and_by_how_much() {
        let at = |unix_ms, steady_ms| Now { unix_ms, steady_ms };
        let mut clock = SetBack::since(at(7_200_000, 0));
        for (now, expected) in [
            (at(7_201_000, 1_000), None),
            (at(7_142_000, 2_000), None),
            (at(7_141_000, 3_000), Some(62_000)),
            (at(7_142_000, 4_000), None),
            // Ahead, and back again.
            (at(9_000_000, 5_000), None),
            (at(5_400_000, 6_000), Some(3_601_000)),
        ] {
            assert_eq!(clock.look(now), expected, "{now:?}");
        }
    }
}
