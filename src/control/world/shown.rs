//! The services' states as the last snapshot has them, and which of them may have changed since.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ids::{ServiceId, Table};
use crate::steering::ServiceState;

/// What the last snapshot shows of services.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The states; none before the first snapshot of a Plan.
    pub(super) services: Table<ServiceId, Arc<ServiceState>>,
    pub(super) stale: Stale,
    /// When the snapshot was made.
    pub(super) at_ms: u64,
}

/// The services whose state may be another by now.
#[derive(Debug, Default)]
pub(super) enum Stale {
    #[default]
    All,
    /// These. In order, so that what changed is told in the same order whoever finds it.
    Some(BTreeSet<ServiceId>),
}

impl Stale {
    pub(super) fn none() -> Self {
        Self::Some(BTreeSet::new())
    }

    pub(super) fn add(&mut self, service: ServiceId) {
        match self {
            Self::All => {}
            Self::Some(services) => {
                services.insert(service);
            }
        }
    }
}
