//! What the admin's routes share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::watch;

use super::access::Access;
use super::countries::Atlas;
use super::foresee::Lately;
use super::live_traffic::TrafficBoard;
use super::metrics::Metrics;
use super::minute::{self, ByRegion, Minute};
use crate::clock;
use crate::control::{Audit, ConfigStatus, Control, Reloader};
use crate::dns;
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
    /// What DNS answers from.
    pub dns: Arc<ArcSwap<dns::Live>>,
    /// What was served in the last minute.
    pub minute: Minute,
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
    /// Remembers what has been served until now, every few seconds.
    pub(super) fn remember_traffic(&self) {
        self.minute.remember(clock::steady_ms(), || self.served());
    }

    /// What was served in the last minute or so, and some of what this region answered for these services.
    pub(super) fn lately(
        &self,
        region: &Arc<str>,
        services: impl Iterator<Item = Arc<str>>,
    ) -> Lately {
        let now_ms = clock::steady_ms();
        let (span_ms, served) = self.minute.until(self.served(), now_ms);
        let live = self.proxy.live.load();
        let sampled = services.map(|service| {
            let name = (service, region.clone());
            let since_ms = now_ms.saturating_sub(span_ms);
            let sampled = live.routes.served().sampled_since(&name, since_ms);
            (name, sampled)
        });
        Lately {
            span_ms,
            served,
            sampled: sampled.collect(),
        }
    }

    fn served(&self) -> ByRegion {
        let http = self.proxy.live.load().routes.served().answers();
        minute::totals(http, self.dns.load().answers.totals())
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
