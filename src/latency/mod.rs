//! Which region is near whom, in milliseconds: measured where possible, else modelled from distance.
//!
//! Pure. A ranking changes only when the gain is real ([`rank`]), so that near-equal regions do not
//! swap with every sample. Knows nothing of health.
//!
//! `measurement` what is measured · `plausible` what cannot be · `refuted` nor beside what files say · `samples` the table of what clients
//! show · `nearness` whether they still are near this edge · `together` what that says of those around them · `alike` of regions that they have not measured · `inbox` what waits for it · `settled` when a figure gives way · `store` the one file that does I/O.

mod alike;
#[cfg(test)]
pub(crate) mod fixtures;
mod inbox;
mod measurement;
mod nearness;
mod plausible;
mod refuted;
mod samples;
mod settled;
mod store;
mod together;

pub use alike::alike;
pub use inbox::{Inbox, Report};
pub use measurement::{
    LONGEST_MS, Measurement, Network, Networks, NotANetwork, Row, Source, is_round_trip,
};
pub use nearness::mostly_near;
pub use plausible::{Whereabouts, all_plausible, go_together, least_together_ms};
pub use refuted::unrefuted;
pub use samples::{Figures, Sample, Samples, Taken};
pub use store::{Store, decode, encode};
pub use together::{Above, Enough, is_wide, together};

/// Round trip at no distance, ms; with `MS_PER_KM` the least-squares line through the 2,350 pairs
/// of Microsoft's published table of inter-region round trips (r = 0.88).
pub const MODEL_BASE_MS: f64 = 26.0;

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

    /// An average that another process had.
    pub(crate) fn known(ms: f64, samples: u32) -> Self {
        Self { ms, samples }
    }

    /// Of how many samples.
    pub fn samples(self) -> u32 {
        self.samples
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

/// The share of a time that a real gain is; of an unknown time any gain is real.
fn gain_share(ms: f64) -> f64 {
    if ms.is_finite() {
        ms * LEAST_GAIN_SHARE
    } else {
        0.0
    }
}

/// Whether who needs so many ms is overtaken by who needs `by_ms`.
pub fn is_real_gain(ms: f64, by_ms: f64) -> bool {
    ms - by_ms > LEAST_GAIN_MS.max(gain_share(ms))
}

/// Orders by time, starting from `order`: whoever is first of those that are left keeps the place unless
/// the quickest of them is sooner by a real gain. Those of unknown time keep to the end.
pub fn rank<T>(order: &mut [T], time_ms: impl Fn(&T) -> Option<f64>) {
    let time_ms = |one: &T| time_ms(one).unwrap_or(f64::INFINITY);
    let mut left = order;
    while let [first, ..] = left {
        let first_ms = time_ms(first);
        let times = left.iter().map(&time_ms).enumerate();
        let quickest = times.min_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((at, ms)) = quickest
            && is_real_gain(first_ms, ms)
            && let Some(passed) = left.get_mut(..=at)
        {
            passed.rotate_right(1);
        }
        left = left.split_at_mut(1).1;
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
    fn near_equals_in_between_keep_no_region_back() {
        check(
            &[0, 1, 2],
            &[Some(151.0), Some(138.0), Some(131.0)],
            &[2, 0, 1],
        );
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
