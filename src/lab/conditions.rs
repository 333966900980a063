//! What lies between the regions: lag, distance, partitions and wrong clocks, as they are now. Pure.
//!
//! Lag belongs to the region that lags: it applies every peer's writes that long after their
//! commit, but those of peers for which it has a lag of their own. A partition lies between two
//! regions and stops both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::{Change, LabError};
use super::name::Name;

/// The longest lag, round trip or skew that can be set; adding it to an instant cannot overflow.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

/// How far a clock is from the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// It is fast.
    Ahead(Duration),
    /// It is slow.
    Behind(Duration),
}

impl Default for Skew {
    fn default() -> Self {
        Self::Ahead(Duration::ZERO)
    }
}

impl Skew {
    /// From milliseconds, negative ones behind.
    pub(super) fn of_ms(ms: i64) -> Self {
        let skew = Duration::from_millis(ms.unsigned_abs());
        if ms < 0 {
            Self::Behind(skew)
        } else {
            Self::Ahead(skew)
        }
    }

    pub(super) fn ms(self) -> i64 {
        let ms = |skew: Duration| i64::try_from(skew.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::Ahead(skew) => ms(skew),
            Self::Behind(skew) => -ms(skew),
        }
    }

    fn amount(self) -> Duration {
        match self {
            Self::Ahead(skew) | Self::Behind(skew) => skew,
        }
    }

    /// What such a clock shows at this time of day.
    pub(super) fn shown(self, unix_ms: u64) -> u64 {
        unix_ms.saturating_add_signed(self.ms())
    }
}

/// Everything that can be set while the lab runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    lag: BTreeMap<Name, Duration>,
    /// Who applies, whose writes, how late.
    lag_from: BTreeMap<Name, BTreeMap<Name, Duration>>,
    skew: BTreeMap<Name, Skew>,
    round_trip: BTreeMap<Name, Duration>,
    /// Pairs in the order of their names.
    partitions: BTreeSet<(Name, Name)>,
}

impl Conditions {
    /// How long after their commit this region applies its peers' writes.
    pub(super) fn lag(&self, region: &str) -> Duration {
        self.lag.get(region).copied().unwrap_or_default()
    }

    /// How long after their commit this region applies that peer's writes.
    pub(super) fn lag_of(&self, region: &str, peer: &str) -> Duration {
        let own = self.lags_of(region).find(|(from, _)| from.as_str() == peer);
        own.map_or_else(|| self.lag(region), |(_, lag)| lag)
    }

    /// The peers for which this region has a lag of their own.
    pub(super) fn lags_of(&self, region: &str) -> impl Iterator<Item = (&Name, Duration)> {
        let lags = self.lag_from.get(region).into_iter().flatten();
        lags.map(|(peer, lag)| (peer, *lag))
    }

    /// How far this region's clock is from the time of day.
    pub(super) fn skew(&self, region: &str) -> Skew {
        self.skew.get(region).copied().unwrap_or_default()
    }

    /// How long this region's answers take to come and go.
    pub(super) fn round_trip(&self, region: &str) -> Duration {
        self.round_trip.get(region).copied().unwrap_or_default()
    }

    /// Of all peers' writes, whatever was set for some.
    pub(super) fn set_lag(&mut self, region: Name, lag: Duration) -> Result<(), LabError> {
        let lag = bounded(lag)?;
        self.lag_from.remove(region.as_str());
        self.lag.insert(region, lag);
        Ok(())
    }

    /// Of one peer's writes.
    pub(super) fn set_lag_of(
        &mut self,
        region: Name,
        peer: Name,
        lag: Duration,
    ) -> Result<(), LabError> {
        let lag = bounded(lag)?;
        two(&region, &peer)?;
        self.lag_from.entry(region).or_default().insert(peer, lag);
        Ok(())
    }

    pub(super) fn set_skew(&mut self, region: Name, skew: Skew) -> Result<(), LabError> {
        bounded(skew.amount())?;
        self.skew.insert(region, skew);
        Ok(())
    }

    pub(super) fn set_round_trip(
        &mut self,
        region: Name,
        round_trip: Duration,
    ) -> Result<(), LabError> {
        self.round_trip.insert(region, bounded(round_trip)?);
        Ok(())
    }

    pub(super) fn partition(&mut self, one: Name, other: Name) -> Result<Change, LabError> {
        two(&one, &other)?;
        Ok(Change::from_news(self.partitions.insert(pair(one, other))))
    }

    /// Ends every partition; says whether there was one.
    pub(super) fn heal(&mut self) -> Change {
        let news = !self.partitions.is_empty();
        self.partitions.clear();
        Change::from_news(news)
    }

    pub(super) fn parted(&self, one: &Name, other: &Name) -> bool {
        self.partitions.contains(&pair(one.clone(), other.clone()))
    }
}

fn pair(one: Name, other: Name) -> (Name, Name) {
    if one < other {
        (one, other)
    } else {
        (other, one)
    }
}

fn two(one: &Name, other: &Name) -> Result<(), LabError> {
    if one == other {
        return Err(LabError::SameRegion {
            region: one.to_string(),
        });
    }
    Ok(())
}

pub(super) fn bounded(delay: Duration) -> Result<Duration, LabError> {
    if delay > DELAY_MAX {
        return Err(LabError::TooLong { delay });
    }
    Ok(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_partition_stops_both_directions_and_no_others() {
        let mut conditions = Conditions::default();
        assert_eq!(
            conditions.partition(name("us"), name("eu")).unwrap(),
            Change::Made
        );
        assert!(conditions.parted(&name("us"), &name("eu")));
        assert!(conditions.parted(&name("eu"), &name("us")));
        assert!(!conditions.parted(&name("us"), &name("ap")));
    }

    #[test]
    fn the_same_partition_twice_is_one() {
        let mut conditions = Conditions::default();
        assert_eq!(
            conditions.partition(name("us"), name("eu")).unwrap(),
            Change::Made
        );
        assert_eq!(
            conditions.partition(name("eu"), name("us")).unwrap(),
            Change::AlreadySo
        );
        assert_eq!(conditions.heal(), Change::Made);
        assert_eq!(conditions.heal(), Change::AlreadySo);
        assert!(!conditions.parted(&name("us"), &name("eu")));
    }

    #[test]
    fn no_region_is_parted_from_itself() {
        let refused = Conditions::default().partition(name("us"), name("us"));
        assert!(matches!(refused, Err(LabError::SameRegion { .. })));
    }

    #[test]
    fn a_delay_is_taken_up_to_an_hour() {
        let mut conditions = Conditions::default();
        assert!(conditions.set_lag(name("us"), DELAY_MAX).is_ok());
        let over = DELAY_MAX + Duration::from_nanos(1);
        assert!(conditions.set_lag(name("us"), over).is_err());
        assert!(conditions.set_round_trip(name("us"), over).is_err());
        assert_eq!(conditions.lag("us"), DELAY_MAX);
        assert_eq!(conditions.lag("eu"), Duration::ZERO);
        assert!(
            conditions
                .set_skew(name("us"), Skew::Behind(DELAY_MAX))
                .is_ok()
        );
        assert!(conditions.set_skew(name("us"), Skew::Ahead(over)).is_err());
        assert_eq!(conditions.skew("us").ms(), -3_600_000);
    }

    #[test]
    fn one_link_lags_in_one_direction_until_its_region_is_given_a_lag() {
        let mut conditions = Conditions::default();
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
        conditions.set_lag(name("us"), short).unwrap();
        conditions.set_lag_of(name("us"), name("eu"), long).unwrap();
        assert_eq!(conditions.lag_of("us", "eu"), long);
        assert_eq!(conditions.lag_of("us", "ap"), short);
        assert_eq!(conditions.lag_of("eu", "us"), Duration::ZERO);
        conditions.set_lag(name("us"), short).unwrap();
        assert_eq!(conditions.lag_of("us", "eu"), short);
        let alone = conditions.set_lag_of(name("us"), name("us"), long);
        assert!(matches!(alone, Err(LabError::SameRegion { .. })));
    }

    #[test]
    fn a_skewed_clock_is_off_by_its_skew() {
        assert_eq!(Skew::of_ms(2_000).shown(10_000), 12_000);
        assert_eq!(Skew::of_ms(-2_000).shown(10_000), 8_000);
        assert_eq!(Skew::of_ms(-2_000).shown(1_000), 0);
        for ms in [0, 5, -5] {
            assert_eq!(Skew::of_ms(ms).ms(), ms);
        }
    }
}
