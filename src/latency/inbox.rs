//! Where clients' round trips wait until they are looked at; full, it takes no more.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::measurement::Source;

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

/// Reports that wait.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Vec<Report>>);

impl Inbox {
    /// Leaves a report; whether there was room.
    pub fn leave(&self, report: Report) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < MOST_WAITING;
        if has_room {
            waiting.push(report);
        }
        has_room
    }

    /// Takes out all that wait.
    pub fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_takes_as_many_as_it_may_and_no_more() {
        let inbox = Inbox::default();
        let report = Report {
            client: "192.0.2.1".parse().unwrap(),
            source: Source::Beacon,
            round_trips: Vec::new(),
        };
        let left = (0..=MOST_WAITING).filter(|_| inbox.leave(report.clone()));
        assert_eq!(left.count(), MOST_WAITING);
        assert_eq!(inbox.take().len(), MOST_WAITING);
        assert!(inbox.leave(report));
    }
}
