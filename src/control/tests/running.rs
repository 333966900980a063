//! A writer with real tasks, and what it publishes.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::scene::{drain, member, plan};
use crate::clock;
use crate::config::plan::Plan;
use crate::control::{
    Adoption, Control, DrainRequest, Event, Kind, Memory, Probers, Publish, Replaced, Store,
};
use crate::geo::ClientMap;
use crate::health::{Health, Prober};
use crate::ids::Table;
use crate::proxy::Credentials;
use crate::steering::Snapshot;

/// Far longer than anything here takes; a test that needs it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Two regions of which one accepts connections, each probed once in the life of a test.
pub(super) struct Ground {
    pub(super) listener: TcpListener,
    pub(super) closed_port: u16,
}

impl Ground {
    pub(super) fn new() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let closed_port = bind().local_addr().unwrap().port();
        Self {
            listener: bind(),
            closed_port,
        }
    }

    pub(super) fn plan(&self, ttl: &str) -> Arc<Plan> {
        let open_port = self.listener.local_addr().unwrap().port();
        plan(&format!(
            "
regions:
  up: {{ origins: ['http://127.0.0.1:{open_port}'] }}
  down: {{ origins: ['http://127.0.0.1:{}'] }}
services:
  api:
    hosts: [api.example.com]
    health: {{ protocol: tcp, interval: 1h, recheck_interval: 1h }}
    dns: {{ ttl: {ttl} }}
",
            self.closed_port
        ))
    }
}

pub(super) fn adoption(plan: &Arc<Plan>, publish: Publish) -> Adoption {
    let probers: Probers = Table::like(&plan.services, |id| Prober {
        tls: Credentials::default().client_config(false, &[]),
        check: Arc::new(plan.services.of(id).health.clone()),
        server_name: None,
    });
    Adoption {
        plan: plan.clone(),
        clients: Arc::new(ClientMap::default()),
        probers,
        traffic: Arc::default(),
        summary: "a test asked for it".into(),
        publish,
    }
}

/// A writer, and what it publishes.
pub(super) struct Running {
    pub(super) control: Control,
    published: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

pub(super) fn publisher() -> (Publish, watch::Receiver<Option<Arc<Snapshot>>>) {
    let (sender, published) = watch::channel(None);
    let publish = move |snapshot| {
        sender.send_replace(Some(snapshot));
        Box::new(()) as Replaced
    };
    (Box::new(publish), published)
}

impl Running {
    pub(super) fn start(plan: &Arc<Plan>, state_dir: Option<&Path>) -> Self {
        let store = state_dir.map(|folder| Store::open(folder).unwrap());
        let memory = Memory {
            store,
            bequest: None,
        };
        Self::start_with(plan, memory)
    }

    pub(super) fn start_with(plan: &Arc<Plan>, memory: Memory) -> Self {
        let (control, inbox) = Control::new();
        let (publish, published) = publisher();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        control.start(inbox, adoption(plan, publish), memory, &tasks, stop.clone());
        Self {
            control,
            published,
            tasks,
            stop,
        }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.published.borrow().clone().unwrap()
    }

    /// Waits for a snapshot of which something is true.
    pub(super) async fn until(&mut self, is_true: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let is_true = |snapshot: &Option<Arc<Snapshot>>| {
            snapshot.as_ref().is_some_and(|snapshot| is_true(snapshot))
        };
        let found = timeout(PATIENCE, self.published.wait_for(is_true)).await;
        found.unwrap().unwrap().clone().unwrap()
    }

    /// Waits until both regions were probed.
    pub(super) async fn until_probed(&mut self) -> Arc<Snapshot> {
        self.until(|snapshot| {
            member(snapshot, "api", "up").health == Health::Healthy
                && member(snapshot, "api", "down").health == Health::Unhealthy
        })
        .await
    }

    pub(super) fn events(&self, kind: Kind) -> Vec<Event> {
        let (mut past, _) = self.control.events().follow(0);
        past.retain(|event| event.kind == kind);
        past
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.unwrap();
    }
}

pub(super) fn now_drain(region: &str) -> DrainRequest {
    drain(region, None, clock::unix_ms())
}

/// Nothing of it is probed, so that time may be virtual.
pub(super) fn unprobed_plan() -> Arc<Plan> {
    plan("regions: { up: { jurisdiction: eu } }\nservices: { api: { hosts: [api.example.com] } }")
}
