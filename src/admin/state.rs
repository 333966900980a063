//! What the admin's routes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::countries::Atlas;
use super::live_traffic::TrafficBoard;
use super::metrics::Metrics;
use crate::control::{ConfigStatus, Control, Reloader};
use crate::geo::Database;
use crate::proxy;
use crate::steering::Snapshot;

/// Whether traffic should be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Every listener accepts, or the edge drains.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether every listener accepts and the edge does not drain.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the admin's routes share.
pub struct AdminState {
    /// The published facts.
    pub proxy: Arc<proxy::Context>,
    /// The geography database in force.
    pub database: ArcSwap<Database>,
    /// The one writer.
    pub control: Control,
    /// To load the configuration anew.
    pub reloader: Reloader,
    /// What is shown of the configuration.
    pub config: ArcSwap<ConfigStatus>,
    /// Whether traffic should be sent here.
    pub readiness: Readiness,
    /// The numbers.
    pub metrics: Metrics,
    /// What traffic did in the last seconds.
    pub traffic: TrafficBoard,
    /// Whereto countries are sent.
    pub atlas: Atlas,
}

impl AdminState {
    /// The facts now in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.proxy.live.load().snapshot.clone()
    }
}
