//! `node` and `keys`: this edge, and what it signs with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::earth::GeoPoint;
use crate::units::Secret;

/// This edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Shown in NSID, Via, logs and the dashboard.
    pub name: Arc<str>,
    /// Where it stands.
    pub location: Option<GeoPoint>,
    /// The region that it stands in: its clients' round trips are round trips to that region.
    pub region: Option<Arc<str>>,
    /// Where health, drains and positions outlive a restart.
    pub state_dir: Option<PathBuf>,
    /// How long listeners stay open after SIGTERM, while `/readyz` says 503 already.
    pub drain_delay: Duration,
    /// How long in-flight requests get after that.
    pub drain_timeout: Duration,
    /// Where a new process asks to take over; absent: it cannot.
    pub upgrade_socket: Option<PathBuf>,
}

/// A key of the ring that signs affinity cookies and version tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Named in what it signs.
    pub id: u8,
    /// What it is derived from.
    pub secret: Secret,
}
