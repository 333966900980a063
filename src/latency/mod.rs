//! Which region is near whom, in milliseconds: measured where possible, else modelled from distance.
//!
//! Pure. A ranking changes only when the gain is real ([`rank`]), so that near-equal regions do not
//! swap with every sample. Knows nothing of health.

/// Round trip at no distance, ms; with [`MS_PER_KM`] the least-squares line through the 2,350 pairs
/// of Microsoft's published table of inter-region round trips (r = 0.88).
const MODEL_BASE_MS: f64 = 26.0;

/// Round trip per km of great circle, ms.
const MS_PER_KM: f64 = 0.0143;

/// The share of a new sample in the moving average: about ten samples of memory.
const SAMPLE_WEIGHT: f64 = 0.2;

/// A region overtakes another only if it is nearer by this many ms ...
const LEAST_GAIN_MS: f64 = 5.0;

/// ... and by this share of the other's round trip.
const LEAST_GAIN_SHARE: f64 = 0.1;

/// The round trip that a distance suggests.
pub fn modelled_ms(km: f64) -> f64 {
    MODEL_BASE_MS + MS_PER_KM * km
}

/// A moving average of measured round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoundTrip {
    ms: f64,
    samples: u32,
}

impl RoundTrip {
    /// Takes in a measurement in ms.
    pub fn sample(&mut self, ms: f64) {
        if !ms.is_finite() || ms < 0.0 {
            return;
        }
        if self.samples == 0 {
            self.ms = ms;
        } else {
            self.ms += SAMPLE_WEIGHT * (ms - self.ms);
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// The average in ms; `None` before the first sample.
    pub fn ms(self) -> Option<f64> {
        (self.samples > 0).then_some(self.ms)
    }
}

/// How far a region is from this edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimate {
    /// Averaged over probes, ms.
    Measured(f64),
    /// From the distance, ms.
    Modelled(f64),
    /// Neither was possible.
    Unknown,
}

impl Estimate {
    /// In ms, if anything is known.
    pub fn ms(self) -> Option<f64> {
        match self {
            Self::Measured(ms) | Self::Modelled(ms) => Some(ms),
            Self::Unknown => None,
        }
    }
}

/// Orders by time, starting from `order`: one overtakes the one before it only when it is sooner by a
/// real gain. Those of unknown time keep to the end.
pub fn rank<T>(order: &mut [T], time_ms: impl Fn(&T) -> Option<f64>) {
    let overtakes = |later: &T, earlier: &T| match (time_ms(earlier), time_ms(later)) {
        (Some(earlier), Some(later)) => {
            earlier - later > LEAST_GAIN_MS.max(earlier * LEAST_GAIN_SHARE)
        }
        (None, Some(_)) => true,
        (Some(_) | None, None) => false,
    };
    // Bubble sort, because "is sooner by a real gain" is no total order; each pass settles one place.
    for _ in 0..order.len() {
        for at in 1..order.len() {
            if let Some([earlier, later]) = order.get_mut(at - 1..=at)
                && overtakes(later, earlier)
            {
                std::mem::swap(earlier, later);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Id, RegionId};

    #[track_caller]
    fn check(start: &[usize], round_trips: &[Option<f64>], expected: &[usize]) {
        let mut order: Vec<RegionId> = start.iter().map(|i| RegionId::at(*i)).collect();
        rank(&mut order, |region| round_trips[region.index()]);
        let found: Vec<usize> = order.iter().map(|region| region.index()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_nearest_comes_first() {
        check(
            &[0, 1, 2],
            &[Some(90.0), Some(10.0), Some(50.0)],
            &[1, 2, 0],
        );
    }

    #[test]
    fn near_equal_regions_do_not_swap() {
        check(&[0, 1], &[Some(14.9), Some(10.0)], &[0, 1]);
        check(&[1, 0], &[Some(10.0), Some(14.9)], &[1, 0]);
        check(&[0, 1], &[Some(200.0), Some(181.0)], &[0, 1]);
        check(&[0, 1], &[Some(200.0), Some(179.0)], &[1, 0]);
    }

    #[test]
    fn the_unknown_come_last() {
        check(&[0, 1, 2], &[None, Some(10.0), None], &[1, 0, 2]);
    }

    #[test]
    fn an_average_follows_its_samples_slowly() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.ms(), None);
        round_trip.sample(100.0);
        round_trip.sample(f64::NAN);
        round_trip.sample(200.0);
        assert_eq!(round_trip.ms(), Some(120.0));
    }

    #[test]
    fn a_distance_is_modelled_as_26_ms_and_14_3_microseconds_a_km() {
        assert!((modelled_ms(0.0) - 26.0).abs() < 1e-9);
        assert!((modelled_ms(10_000.0) - 169.0).abs() < 1e-9);
    }
}
