//! Where clients' round trips wait until they are looked at: one report of each source, and full, it takes no more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::measurement::{Network, Source};
use crate::prefix::Prefix;

/// The reports that may wait.
const MOST_WAITING: usize = 4_096;

/// One client's round trips.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whose.
    pub client: IpAddr,
    /// By whom.
    pub source: Source,
    /// Region, ms.
    pub round_trips: Vec<(Arc<str>, f64)>,
}

/// What has come since it was last looked at.
#[derive(Debug, Default)]
pub struct Waiting {
    by_source: HashMap<Prefix, Report>,
    /// Round trips of sources whose report waited already.
    pub repeated: u64,
}

impl Waiting {
    /// The reports, one of each source.
    pub fn reports(self) -> impl Iterator<Item = Report> {
        self.by_source.into_values()
    }
}

/// Reports that wait.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Waiting>);

impl Inbox {
    /// Leaves a report; whether there was room. What its source leaves beside one that waits is counted and no more:
    /// whoever sends much takes no place of others.
    pub fn leave(&self, report: Report) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.by_source.len() < MOST_WAITING;
        match waiting.by_source.entry(Network::source(report.client)) {
            Entry::Occupied(_) => {
                let repeated = u64::try_from(report.round_trips.len());
                waiting.repeated += repeated.unwrap_or(u64::MAX);
                true
            }
            Entry::Vacant(place) if has_room => {
                place.insert(report);
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    /// Takes out all that waits.
    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn report(client: impl Into<IpAddr>) -> Report {
        Report {
            client: client.into(),
            source: Source::Beacon,
            round_trips: vec![("near".into(), 9.0), ("far".into(), 90.0)],
        }
    }

    #[test]
    fn an_inbox_takes_as_many_as_it_may_and_no_more() {
        let inbox = Inbox::default();
        let left = (0..=4_096).filter(|client| inbox.leave(report(Ipv4Addr::from_bits(*client))));
        assert_eq!(left.count(), 4_096);
        assert_eq!(inbox.take().reports().count(), 4_096);
        assert!(inbox.leave(report(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn whoever_sends_much_has_one_place_and_leaves_the_others_theirs() {
        let inbox = Inbox::default();
        for host in 0..10_000_u128 {
            assert!(inbox.leave(report(std::net::Ipv6Addr::from_bits(
                0x2001_0db8 << 96 | host
            ))));
        }
        assert!(inbox.leave(report(Ipv4Addr::LOCALHOST)));
        let waiting = inbox.take();
        assert_eq!(waiting.repeated, 2 * 9_999);
        assert_eq!(waiting.reports().count(), 2);
    }
}
