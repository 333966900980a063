//! What an operator has to know of although everything goes on: what is not kept, and what cannot be read.
//!
//! Whoever meets trouble notes it here, and that it is over; the status, the page and a metric tell it. Read and
//! written without a lock.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;

/// A kind of trouble. In the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Drains, forced states and health cannot be saved.
    StateUnsaved,
    /// There was a state file, and it could not be read at the start.
    StateSetAside,
    /// What was done last is not in the audit log.
    AuditUnwritten,
    /// What is measured of clients cannot be saved.
    LatencyUnsaved,
    /// There was a file of what is measured, and it could not be read at the start.
    LatencySetAside,
    /// Files of the configuration cannot be read.
    FilesUnread,
}

impl Trouble {
    const ALL: [Self; 6] = [
        Self::StateUnsaved,
        Self::StateSetAside,
        Self::AuditUnwritten,
        Self::LatencyUnsaved,
        Self::LatencySetAside,
        Self::FilesUnread,
    ];

    /// As the metric calls it.
    fn as_str(self) -> &'static str {
        match self {
            Self::StateUnsaved => "state_unsaved",
            Self::StateSetAside => "state_set_aside",
            Self::AuditUnwritten => "audit_unwritten",
            Self::LatencyUnsaved => "latency_unsaved",
            Self::LatencySetAside => "latency_set_aside",
            Self::FilesUnread => "files_unread",
        }
    }

    fn count(self, is_there: bool) {
        metrics::gauge!("meridian_trouble", "kind" => self.as_str()).set(if is_there {
            1.0
        } else {
            0.0
        });
    }
}

/// The troubles that there are, each with a sentence.
#[derive(Debug)]
pub struct Troubles(ArcSwap<BTreeMap<Trouble, String>>);

impl Default for Troubles {
    fn default() -> Self {
        Trouble::ALL.iter().for_each(|trouble| trouble.count(false));
        Self(ArcSwap::default())
    }
}

impl Troubles {
    /// Notes a trouble with what it is, or that it is over; whether it was the other before.
    pub fn note(&self, trouble: Trouble, what: Option<String>) -> bool {
        let before = self.0.rcu(|known| {
            let mut now = BTreeMap::clone(known);
            match &what {
                Some(what) => now.insert(trouble, what.clone()),
                None => now.remove(&trouble),
            };
            now
        });
        trouble.count(what.is_some());
        before.contains_key(&trouble) != what.is_some()
    }

    /// Every trouble in a sentence.
    pub fn told(&self) -> Vec<String> {
        self.0.load().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_and_once_more_when_it_is_over() {
        let troubles = Troubles::default();
        assert!(!troubles.note(Trouble::AuditUnwritten, None));
        assert!(troubles.note(Trouble::AuditUnwritten, Some("full".to_owned())));
        assert!(!troubles.note(Trouble::AuditUnwritten, Some("still full".to_owned())));
        troubles.note(Trouble::StateUnsaved, Some("full too".to_owned()));
        assert_eq!(troubles.told(), ["full too", "still full"]);
        assert!(troubles.note(Trouble::AuditUnwritten, None));
        assert_eq!(troubles.told(), ["full too"]);
    }
}
