//! The figure that DNS goes by, and when it gives way to another.
//!
//! Pure. A figure in force stays until what is measured differs from it by a real gain, and has done so
//! without a break, as its newest sample shows: a region that is slow for a moment moves nobody, nor does silence behind that.

use super::{LEAST_GAIN_MS, LEAST_GAIN_SHARE};

/// How long another figure must be measured, on and on, before it is in force.
pub(super) const LASTING_MS: u64 = 120_000;

/// How long a figure counts in full after its last sample.
const FRESH_MS: u64 = 3_600_000;

/// After that its weight halves in this time.
const HALF_LIFE_MS: u64 = 6 * 3_600_000;

/// Weights are steps of this, so that age alone seldom makes anything be compiled anew.
const TRUST_STEP: f64 = 0.25;

/// A figure in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settled {
    ms: f64,
    /// Since when what is measured differs by a real gain.
    differs_since: Option<u64>,
}

impl Settled {
    /// A first figure is in force at once.
    pub(super) fn new(ms: f64) -> Self {
        Self {
            ms,
            differs_since: None,
        }
    }

    /// The round trip, ms.
    pub(super) fn ms(self) -> f64 {
        self.ms
    }

    /// One that was in force before a restart, and since when another was measured.
    pub(super) fn giving_way(ms: f64, since_ms: u64) -> Self {
        Self {
            ms,
            differs_since: Some(since_ms),
        }
    }

    /// Since when another figure is measured, if one is.
    pub(super) fn gives_way_since(self) -> Option<u64> {
        self.differs_since
    }

    /// The same, to be set.
    pub(super) fn since(&mut self) -> Option<&mut u64> {
        self.differs_since.as_mut()
    }

    /// Takes in what is measured at present, by samples until then; whether the figure in force has changed.
    pub(super) fn observe(&mut self, measured_ms: f64, sampled_at_ms: u64, now_ms: u64) -> bool {
        if !differs(self.ms, measured_ms) {
            self.differs_since = None;
            return false;
        }
        let since = self.differs_since.get_or_insert(now_ms);
        // The clock may have been set back since.
        *since = (*since).min(now_ms);
        if sampled_at_ms.min(now_ms).saturating_sub(*since) < LASTING_MS {
            return false;
        }
        *self = Self::new(measured_ms);
        true
    }
}

fn differs(in_force: f64, measured: f64) -> bool {
    (in_force - measured).abs() > LEAST_GAIN_MS.max(in_force * LEAST_GAIN_SHARE)
}

/// How much a figure counts against the model, from its age: 1 to 0 in steps of a quarter.
pub(super) fn trust(age_ms: u64) -> f64 {
    let Some(stale_ms) = age_ms.checked_sub(FRESH_MS) else {
        return 1.0;
    };
    // A week and more is nothing in any case.
    let stale_ms = u32::try_from(stale_ms).unwrap_or(u32::MAX);
    let half_life = u32::try_from(HALF_LIFE_MS).unwrap_or(u32::MAX);
    let weight = 0.5_f64.powf(f64::from(stale_ms) / f64::from(half_life));
    (weight / TRUST_STEP).round() * TRUST_STEP
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_moves_nothing_and_what_lasts_does() {
        let mut settled = Settled::new(20.0);
        let mut observe = |ms, now_ms| settled.observe(ms, now_ms, now_ms);
        assert!(!observe(80.0, 0));
        assert!(!observe(80.0, LASTING_MS - 1));
        assert!(!observe(21.0, LASTING_MS), "it was a moment");
        assert!(!observe(80.0, LASTING_MS + 1));
        assert!(observe(80.0, 2 * LASTING_MS + 1));
        assert_eq!(settled.ms(), 80.0);
    }

    #[test]
    fn silence_does_not_show_that_a_moment_lasts() {
        let mut settled = Settled::new(20.0);
        for now_ms in [0, LASTING_MS, 10 * LASTING_MS] {
            assert!(!settled.observe(80.0, 0, now_ms), "{now_ms}");
        }
        assert!(settled.observe(80.0, 11 * LASTING_MS, 11 * LASTING_MS));
    }

    #[test]
    fn age_takes_a_figure_back_to_the_model() {
        let hour = 3_600_000;
        for (hours, expected) in [(0, 1.0), (1, 1.0), (7, 0.5), (13, 0.25), (24, 0.0)] {
            assert_eq!(trust(hours * hour), expected, "{hours} h");
        }
        assert_eq!(trust(u64::MAX), 0.0);
    }

    proptest! {
        #[test]
        fn near_equal_figures_never_take_over(
            in_force in 1.0..500.0,
            by in prop::collection::vec(-1.0..=1.0, 1..50),
        ) {
            let mut settled = Settled::new(in_force);
            for (by, at) in by.into_iter().zip(1_u64..) {
                let measured = in_force + by * LEAST_GAIN_MS.max(in_force * LEAST_GAIN_SHARE) * 0.999;
                prop_assert!(!settled.observe(measured, at * LASTING_MS, at * LASTING_MS));
            }
            prop_assert_eq!(settled.ms(), in_force);
        }

        #[test]
        fn a_figure_changes_at_most_once_in_the_time_that_counts_as_lasting(
            measured in prop::collection::vec(1.0..500.0, 1..100),
            every in 1_000_u64..60_000,
        ) {
            let mut settled = Settled::new(100.0);
            let mut last = None;
            for (measured, tick) in measured.into_iter().zip(0_u64..) {
                let now = tick * every;
                if settled.observe(measured, now, now) {
                    prop_assert!(last.is_none_or(|last| now - last >= LASTING_MS));
                    last = Some(now);
                }
            }
        }

        #[test]
        fn trust_never_grows_with_age(a: u64, b: u64) {
            let (young, old) = (a.min(b), a.max(b));
            prop_assert!(trust(old) <= trust(young));
            prop_assert!((0.0..=1.0).contains(&trust(a)));
        }
    }
}
