//! What the admin's routes share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::watch;

use super::access::Access;
use super::countries::Atlas;
use super::live_traffic::TrafficBoard;
use super::metrics::Metrics;
use super::traffic::RecentTraffic;
use crate::clock;
use crate::control::{Audit, ConfigStatus, Control, Reloader};
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
    /// Who is let in, and how.
    pub access: Access,
    /// Where what operators do is kept; none: without a `state_dir`.
    pub audit: Option<Arc<Audit>>,
    /// The traffic of the last minute.
    pub recent: RecentTraffic,
    /// The numbers.
    pub metrics: Metrics,
    /// What the lab around this edge has to tell; none: this edge is no lab's.
    pub lab: OnceLock<watch::Receiver<Value>>,
    /// What traffic did in the last seconds.
    pub traffic: TrafficBoard,
    /// Whereto countries are sent.
    pub atlas: Atlas,
}

impl AdminState {
    /// Takes in how much traffic there has been.
    pub fn sample_traffic(&self) {
        self.recent
            .sample(&self.metrics.render(), clock::steady_ms());
    }

    /// This edge is a lab's, which tells of itself here. Only the first one is heard.
    pub fn show_lab(&self, told: watch::Receiver<Value>) {
        let _ = self.lab.set(told);
    }

    /// The facts now in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.proxy.live.load().snapshot.clone()
    }
}
