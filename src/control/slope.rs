//! How something goes from none to all in steps: pure, the time is an argument.

use crate::steering::Percent;

/// More steps than this would only publish more often what nobody can tell apart.
const MOST_STEPS: u64 = 100;

/// No step is shorter, since each is a snapshot.
const SHORTEST_STEP_MS: u64 = 1_000;

/// From none at a time to all a while later; of no length: all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slope {
    /// In milliseconds since 1970.
    pub(super) from_ms: u64,
    /// In milliseconds.
    pub(super) length_ms: u64,
}

impl Slope {
    fn count(self) -> u64 {
        (self.length_ms / SHORTEST_STEP_MS).clamp(1, MOST_STEPS)
    }

    /// How much is done.
    pub(super) fn done(self, now_ms: u64) -> Percent {
        let gone_ms = now_ms.saturating_sub(self.from_ms);
        if gone_ms >= self.length_ms {
            return if now_ms < self.from_ms {
                Percent::NONE
            } else {
                Percent::ALL
            };
        }
        let wide = |number: u64| u128::from(number);
        let steps = wide(gone_ms) * wide(self.count()) / wide(self.length_ms).max(1);
        let hundredths = steps * 100 / wide(self.count());
        Percent::new(u8::try_from(hundredths).unwrap_or(100))
    }

    /// When there is more done than before, in order; the last is the end.
    pub(super) fn turns(self) -> impl Iterator<Item = u64> {
        let count = self.count();
        (1..=count).map(move |step| {
            let part = u128::from(self.length_ms) * u128::from(step);
            let after_ms = u64::try_from(part.div_ceil(u128::from(count)));
            self.from_ms.saturating_add(after_ms.unwrap_or(u64::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_minutes_go_by_hundredths_and_three_seconds_by_thirds() {
        let long = Slope {
            from_ms: 5,
            length_ms: 600_000,
        };
        let at = |ms: u64| long.done(5 + ms).get();
        assert_eq!(
            [at(0), at(5_999), at(6_000), at(300_000), at(600_000)],
            [0, 0, 1, 50, 100]
        );
        assert_eq!(long.turns().count(), 100);
        let short = Slope {
            from_ms: 0,
            length_ms: 3_000,
        };
        let at = |ms: u64| short.done(ms).get();
        assert_eq!(
            [at(0), at(999), at(1_000), at(2_000), at(3_000)],
            [0, 0, 33, 66, 100]
        );
        let none = Slope {
            from_ms: 7,
            length_ms: 0,
        };
        assert_eq!((none.done(6).get(), none.done(7).get()), (0, 100));
        assert_eq!(none.turns().collect::<Vec<_>>(), [7]);
    }

    proptest! {
        #[test]
        fn it_never_goes_back_and_changes_at_its_turns_alone(
            from_ms in 0_u64..10_000, length_ms in 0_u64..2_000_000, now_ms in 0_u64..2_100_000,
        ) {
            let slope = Slope { from_ms, length_ms };
            let (before, after) = (slope.done(now_ms), slope.done(now_ms + 1));
            prop_assert!(before <= after);
            let turns = slope.turns().any(|at| at == now_ms + 1);
            prop_assert_eq!(before != after, turns);
            let last = slope.turns().last().unwrap_or(0);
            prop_assert_eq!(slope.done(last), Percent::ALL);
        }
    }
}
