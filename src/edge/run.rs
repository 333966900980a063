//! One edge from start to end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::before::Start;
use super::beginning::Beginning;
use super::listeners::{Listeners, Protocol, Serving};
use super::materials::Materials;
use super::one_load::OneLoad;
use super::reload::Reloading;
use super::sampling::{Sampled, Sampling};
use super::signatures::{Renewal, make_ahead};
use super::source::Source;
use super::watch::Watch;
use super::wiring::{Wiring, publish_generation};
use crate::admin::{self, Access, AdminState, Metrics, Readiness};
use crate::clock;
use crate::config::Problems;
use crate::control::{
    Adoption, Audit, ConfigStatus, Control, Inbox, Memory, ReloadRequests, Reloader, StoreError,
};
use crate::disk::{ClaimError, Turns};
use crate::dns;
use crate::latency;
use crate::proxy::{self, Workers};

/// How often histograms are kept from growing.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long the end waits for whoever reads the access log.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// How long the admin's last clients get once another process has taken over.
const LAST_ADMIN: Duration = Duration::from_secs(2);

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(Problems),
    /// Addresses.
    #[error("{0}")]
    Listen(String),
    /// The edge that runs.
    #[error("cannot take over: {0}")]
    Predecessor(String),
    /// `state_dir`.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `state_dir` is another edge's.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Threads or runtimes.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// A running edge.
pub struct Edge {
    admin: Arc<AdminState>,
    workers: Arc<Workers>,
    running: Running,
    reloading: JoinHandle<Reloading>,
    hangups: mpsc::Sender<()>,
    addresses: Addresses,
}

/// What runs, and what ends it.
#[derive(Default)]
pub(super) struct Running {
    /// Requests and connections, which a drain waits for.
    pub(super) tasks: TaskTracker,
    /// Those of the admin, which it does not wait for.
    pub(super) admin_tasks: TaskTracker,
    /// Checks and the writer, which end when the edge does.
    housekeeping: TaskTracker,
    stop: CancellationToken,
    stop_reloads: CancellationToken,
    /// Another process has taken over.
    succeeded: CancellationToken,
}

impl Running {
    fn keep_control(&self, control: &Control, inbox: Inbox, first: Adoption, memory: Memory) {
        let (house, stop) = (&self.housekeeping, &self.stop);
        control.start(inbox, first, memory, house, stop.clone());
    }

    /// Where a SIGHUP is told, and what gives the reloads' state back at the end.
    fn keep_reloading(
        &self,
        reloading: Reloading,
        requests: ReloadRequests,
        watch: Option<Watch>,
    ) -> (mpsc::Sender<()>, JoinHandle<Reloading>) {
        let (hangups, inbox) = mpsc::channel(1);
        let stop = self.stop_reloads.clone();
        let reloading = reloading.run(requests, inbox, watch, stop);
        (hangups, tokio::spawn(reloading))
    }

    fn keep_house(&self, admin: &Arc<AdminState>, wiring: &Wiring, sampling: Sampling) {
        let (house, stop) = (&self.housekeeping, &self.stop);
        let (dns, published) = (wiring.dns.clone(), wiring.published.clone());
        house.spawn(upkeep(admin.metrics.clone(), stop.clone()));
        house.spawn(admin::watch_traffic(admin.clone(), stop.clone()));
        let renewal = Renewal {
            control: admin.control.clone(),
            dns: dns.clone(),
            renewed: wiring.renewed.clone(),
            stop: stop.clone(),
        };
        house.spawn(renewal.run());
        house.spawn(make_ahead(dns, published, stop.clone()));
        house.spawn(sampling.run(stop.clone(), self.succeeded.clone()));
    }
}

/// Where an edge listens; the first address of each protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addresses {
    /// DNS over UDP and TCP.
    pub dns: Option<SocketAddr>,
    /// DNS over TLS.
    pub dns_tls: Option<SocketAddr>,
    /// HTTPS.
    pub https: Option<SocketAddr>,
    /// Plain HTTP.
    pub http: Option<SocketAddr>,
    /// The admin API.
    pub admin: Option<SocketAddr>,
}

impl Edge {
    /// Loads, binds and serves; returns once every listener accepts, and once the edge whose place it takes has
    /// stopped. Needs a tokio runtime.
    pub async fn start(
        source: Source,
        metrics: Metrics,
        threads: usize,
        start: Start,
    ) -> Result<Self, StartError> {
        let beginning = Beginning::prepare(source, threads, start).await?;
        let (control, inbox) = Control::new();
        let (reloader, requests) = Reloader::new();
        let running = Running::default();
        let (wiring, context) = beginning.wire(&control, &running.tasks);
        let (plan, materials) = (beginning.plan, beginning.materials);
        let lasting = wiring.dns.load().answers.lasting().clone();
        let summary = "first load".to_owned();
        let adoption = wiring.adoption(plan.clone(), lasting, &materials, summary);
        running.keep_control(&control, inbox, adoption, beginning.memory);

        let admin = admin_state(context, &wiring, &materials, control, reloader, metrics);
        let workers = Arc::new(Workers::start(threads)?);
        workers.watch(&admin.proxy);
        let serving = Serving::new(&wiring, &admin, &materials, &workers, &running);
        let mut listeners = beginning.listeners;
        listeners.apply(&plan.listen, beginning.bound, &serving);
        publish_generation(1);
        admin.readiness.set(true);
        let addresses = addresses(&listeners);
        let source = beginning.source;
        let watch = |look| Watch::new(look, admin.control.clone());
        let watch = beginning.look.map(watch);
        let door = beginning
            .before
            .relieve(&plan, beginning.claim.clone())
            .await?;
        let memory = (beginning.measured, beginning.sampled);
        let (sampling, sampled) = sampling(&wiring, &admin, memory, &addresses);
        running.keep_house(&admin, &wiring, sampling);
        let reloading = Reloading {
            started_as: plan.node.clone(),
            source,
            plan,
            materials,
            wiring,
            serving,
            listeners,
            threads,
            loads: OneLoad::default(),
            sampled,
            door,
            claim: beginning.claim,
            succeeded: running.succeeded.clone(),
        };
        let (hangups, reloading) = running.keep_reloading(reloading, requests, watch);
        Ok(Self {
            admin,
            workers,
            running,
            reloading,
            hangups,
            addresses,
        })
    }

    /// Where it listened when it started.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What the admin shows.
    pub fn admin(&self) -> &Arc<AdminState> {
        &self.admin
    }

    /// Asks for a reload, as SIGHUP does.
    pub fn reload(&self) {
        // Full means that one is on its way already.
        let _ = self.hangups.try_send(());
    }

    /// Returns when another process has taken over; this one is to be drained then.
    pub async fn succeeded(&self) {
        self.running.succeeded.cancelled().await;
    }

    /// Drains and ends: readiness first, after `drain_delay` listeners, then what is in flight, up to the limit or until it is
    /// told to hurry.
    pub async fn drain(self, hurry: &CancellationToken) {
        let node = self.admin.snapshot().plan.node.clone();
        let running = self.running;
        if !running.succeeded.is_cancelled() {
            self.admin.readiness.set(false);
            let delay = tokio::time::sleep(node.drain_delay);
            hurry.run_until_cancelled(delay).await;
        }
        running.stop_reloads.cancel();
        let mut reloading = self.reloading.await.ok();
        if let Some(reloading) = &mut reloading {
            reloading.end_begins();
        }
        running.tasks.close();
        let ended = tokio::time::timeout(node.drain_timeout, running.tasks.wait());
        let ended = hurry.run_until_cancelled(ended);
        let ended = match &mut reloading {
            // Until the end another process may take the place.
            Some(reloading) => reloading.hand_over_beside(ended).await,
            None => ended.await,
        };
        let left = running.tasks.len();
        match ended {
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::warn!(left, "drain_timeout is over; connections are cut"),
            None => tracing::warn!(left, "told twice to end; connections are cut"),
        }
        if let Some(reloading) = &mut reloading {
            reloading.end();
        }
        if running.succeeded.is_cancelled() {
            running.admin_tasks.close();
            let _ = tokio::time::timeout(LAST_ADMIN, running.admin_tasks.wait()).await;
        }
        running.stop.cancel();
        running.housekeeping.close();
        running.housekeeping.wait().await;
        let access_log = reloading.and_then(|reloading| reloading.materials.access_log.clone());
        if let Some(sink) = &access_log {
            sink.end_begins();
        }
        drop(self.admin);
        if let Some(workers) = Arc::into_inner(self.workers) {
            // Joins threads, which must not happen on a runtime's own.
            let _ = tokio::task::spawn_blocking(|| workers.stop()).await;
        }
        if let Some(sink) = access_log {
            // After the workers: what they cut off is logged too.
            let closing = move || sink.close(LAST_LINES_WITHIN);
            let _ = tokio::task::spawn_blocking(closing).await;
        }
    }
}

fn admin_state(
    context: Arc<proxy::Context>,
    wiring: &Wiring,
    materials: &Materials,
    control: Control,
    reloader: Reloader,
    metrics: Metrics,
) -> Arc<AdminState> {
    let snapshot = context.live.load().snapshot.clone();
    let state_dir = snapshot.plan.node.state_dir.as_deref();
    Arc::new(AdminState {
        proxy: context,
        database: ArcSwap::new(materials.database.clone()),
        control,
        reloader,
        config: ArcSwap::from_pointee(ConfigStatus {
            loaded_at_ms: clock::unix_ms(),
            generation: 1,
            error: None,
            changes: Vec::new(),
        }),
        readiness: Readiness::default(),
        access: Access::new(materials.admin_tls.clone()),
        audit: state_dir.map(|folder| Arc::new(Audit::of(folder))),
        dns: wiring.dns.clone(),
        minute: admin::Minute::beginning(clock::steady_ms()),
        metrics,
        lab: OnceLock::new(),
        traffic: admin::TrafficBoard::default(),
        atlas: admin::Atlas::default(),
    })
}

impl Serving {
    fn new(
        wiring: &Wiring,
        admin: &Arc<AdminState>,
        materials: &Materials,
        workers: &Arc<Workers>,
        running: &Running,
    ) -> Self {
        Self {
            dns: wiring.dns.clone(),
            rate_limiter: Arc::new(dns::RateLimiter::new()),
            proxy: admin.proxy.clone(),
            admin: admin.clone(),
            https: Arc::new(ArcSwap::new(materials.https.clone())),
            dot: Arc::new(ArcSwap::new(materials.dot.clone())),
            workers: workers.clone(),
            tasks: running.tasks.clone(),
            admin_tasks: running.admin_tasks.clone(),
        }
    }
}

fn sampling(
    wiring: &Wiring,
    admin: &AdminState,
    (store, bequest): (Option<latency::Store>, Option<String>),
    addresses: &Addresses,
) -> (Sampling, Sampled) {
    let http = addresses.https.into_iter().chain(addresses.http);
    let (sampled, heirs) = Sampled::new();
    let sampling = Sampling {
        ground: wiring.ground.clone(),
        dns: wiring.dns.clone(),
        control: admin.control.clone(),
        store,
        turns: Turns::default(),
        inbox: admin.proxy.measured.clone(),
        started_at: http.collect(),
        bequest,
        heirs,
    };
    (sampling, sampled)
}

fn addresses(listeners: &Listeners) -> Addresses {
    Addresses {
        dns: listeners.address(Protocol::Dns),
        dns_tls: listeners.address(Protocol::DnsTls),
        https: listeners.address(Protocol::Https),
        http: listeners.address(Protocol::Http),
        admin: listeners.address(Protocol::Admin),
    }
}

async fn upkeep(metrics: Metrics, stop: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => metrics.upkeep(),
        }
    }
}
