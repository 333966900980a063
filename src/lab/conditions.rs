//! What lies between the regions: lag, distance and partitions, as they are now. Pure.
//!
//! Lag belongs to the region that lags: it applies every peer's writes that long after their
//! commit. A partition lies between two regions and stops both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::{Change, LabError};
use super::name::Name;

/// The longest lag or round trip that can be set; adding it to an instant cannot overflow.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

/// Everything that can be set while the lab runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    lag: BTreeMap<Name, Duration>,
    round_trip: BTreeMap<Name, Duration>,
    /// Pairs in the order of their names.
    partitions: BTreeSet<(Name, Name)>,
}

impl Conditions {
    /// How long after their commit this region applies its peers' writes.
    pub(super) fn lag(&self, region: &str) -> Duration {
        self.lag.get(region).copied().unwrap_or_default()
    }

    /// How long this region's answers take to come and go.
    pub(super) fn round_trip(&self, region: &str) -> Duration {
        self.round_trip.get(region).copied().unwrap_or_default()
    }

    pub(super) fn set_lag(&mut self, region: Name, lag: Duration) -> Result<(), LabError> {
        self.lag.insert(region, bounded(lag)?);
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
        if one == other {
            return Err(LabError::SameRegion {
                region: one.to_string(),
            });
        }
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

fn bounded(delay: Duration) -> Result<Duration, LabError> {
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
    }
}
