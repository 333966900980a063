//! One edge from start to end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::before::{Before, Start};
use super::listeners::{Listeners, Protocol, Serving};
use super::materials::{Materials, load_materials};
use super::reload::Reloading;
use super::sampling::{Ground, Sampling};
use super::signatures;
use super::source::Source;
use super::watch::Watch;
use super::zone_keys::MissingKeys;
use crate::admin::{self, Access, AdminState, Metrics, Readiness, RecentTraffic, sample_traffic};
use crate::clock;
use crate::config::plan::Plan;
use crate::config::{Loaded, Problem, Problems};
use crate::control::{
    Adoption, Audit, ConfigStatus, Control, Memory, Reloader, Replaced, Store, StoreError,
};
use crate::dns;
use crate::health::Traffic;
use crate::latency;
use crate::positions::Keyring;
use crate::proxy::{self, AccessLog, InFlightCounters, Routes, ServedCounters, Workers};
use crate::steering::Snapshot;

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
    /// Threads or runtimes.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What turns a Plan into an adoption.
pub(super) struct Wiring {
    pub(super) dns: Arc<ArcSwap<dns::Live>>,
    pub(super) proxy: Option<Arc<proxy::Context>>,
    /// Told of every table that DNS answers from.
    published: Arc<Notify>,
    /// What sampled figures are compiled for.
    ground: Arc<ArcSwap<Ground>>,
    in_flight: InFlightCounters,
    traffic: Arc<Traffic>,
    served: Arc<ServedCounters>,
}

impl Wiring {
    /// An adoption whose snapshots reach the DNS and HTTP faces with what belongs to them.
    pub(super) fn adoption(
        &self,
        plan: Arc<Plan>,
        materials: &Materials,
        summary: String,
    ) -> Adoption {
        let routes = self.routes(&plan, materials);
        self.ground.store(Arc::new(Ground::of(&plan, materials)));
        let keyring = Arc::new(Keyring::new(&plan.keys));
        let access_log = access_log(&plan, materials);
        let (dns, proxy) = (self.dns.clone(), self.proxy.clone());
        let published = self.published.clone();
        let keys = materials.zone_keys.clone();
        let mut last: Option<Arc<Snapshot>> = None;
        let publish = move |snapshot: Arc<Snapshot>| {
            let live = dns::Live::compile(
                snapshot.clone(),
                &dns::Signing::new(keys.clone(), clock::unix_secs()),
                Some(&dns.load()),
            );
            let old_dns = dns.swap(Arc::new(live));
            published.notify_one();
            let mut old_proxy = None;
            if let Some(proxy) = &proxy {
                old_proxy = Some(proxy.live.swap(Arc::new(proxy::Live {
                    snapshot: snapshot.clone(),
                    routes: routes.clone(),
                    access_log: access_log.clone(),
                    keyring: keyring.clone(),
                })));
            }
            publish_numbers(&snapshot, last.as_deref());
            let old_snapshot = last.replace(snapshot);
            let replaced: Replaced = Box::new((old_dns, old_proxy, old_snapshot));
            replaced
        };
        Adoption {
            plan,
            clients: materials.clients.clone(),
            probers: materials.probers.clone(),
            traffic: self.traffic.clone(),
            summary,
            publish: Box::new(publish),
        }
    }

    fn routes(&self, plan: &Plan, materials: &Materials) -> Arc<Routes> {
        let (probers, tls) = (materials.probers.clone(), materials.origin_tls.clone());
        Arc::new(Routes::new(
            plan,
            probers,
            tls,
            materials.identities.clone(),
            &self.in_flight,
            &self.traffic,
            &self.served,
        ))
    }
}

fn access_log(plan: &Plan, materials: &Materials) -> Option<Arc<AccessLog>> {
    let (wanted, sink) = (plan.access_log.clone()?, materials.access_log.clone()?);
    let log = AccessLog::new(wanted, plan.node.name.clone(), sink);
    Some(Arc::new(log))
}

/// A configuration has been taken over.
pub(super) fn publish_generation(generation: u64) {
    metrics::gauge!("meridian_config_last_reload_successful").set(1.0);
    // Exact as long as anybody will count.
    let generation = u32::try_from(generation).unwrap_or(u32::MAX);
    metrics::gauge!("meridian_config_generation").set(f64::from(generation));
}

/// Sets what is not as in the last snapshot of the same Plan.
fn publish_numbers(snapshot: &Snapshot, last: Option<&Snapshot>) {
    for (id, state) in snapshot.services.iter() {
        if last.is_some_and(|last| last.services.of(id) == state) {
            continue;
        }
        let service = &snapshot.plan.services.of(id).name;
        for member in &state.members {
            let region = &snapshot.plan.regions.of(member.region).name;
            let able = if member.health.is_able() { 1.0 } else { 0.0 };
            metrics::gauge!("meridian_region_healthy", "service" => service.to_string(), "region" => region.to_string())
                .set(able);
        }
    }
    for (id, estimate) in snapshot.edge.round_trips.iter() {
        if let Some(ms) = estimate.ms() {
            let region = snapshot.plan.regions.of(id).name.to_string();
            metrics::gauge!("meridian_region_round_trip_seconds", "region" => region)
                .set(ms / 1000.0);
        }
    }
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
    fn keep_house(&self, admin: &Arc<AdminState>, wiring: &Wiring, sampling: Sampling) {
        let (house, stop) = (&self.housekeeping, &self.stop);
        let (dns, published) = (wiring.dns.clone(), wiring.published.clone());
        house.spawn(upkeep(admin.metrics.clone(), stop.clone()));
        house.spawn(sample_traffic(admin.clone(), stop.clone()));
        house.spawn(admin::watch_traffic(
            admin.clone(),
            dns.clone(),
            stop.clone(),
        ));
        let renewing = signatures::renew(admin.control.clone(), dns.clone(), stop.clone());
        house.spawn(renewing);
        house.spawn(signatures::make_ahead(dns, published, stop.clone()));
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
        mut source: Source,
        metrics: Metrics,
        threads: usize,
        start: Start,
    ) -> Result<Self, StartError> {
        let (mut loaded, materials) = load(&source)?;
        let store = loaded.plan.node.state_dir.as_deref();
        let measured = store.map(latency::Store::of);
        let store = store.map(Store::open).transpose()?;
        let mut before = Before::find(start, &loaded.plan).await?;
        let mut listeners = Listeners::default();
        let bound = before.bind(&listeners, &loaded.plan, threads)?;
        let bequest = before.ask().await?;
        if let Some(bequest) = &bequest {
            source.inherit(bequest, &mut loaded.plan);
        }
        let plan = Arc::new(loaded.plan.clone());

        let (control, inbox) = Control::new();
        let (reloader, requests) = Reloader::new();
        let running = Running::default();
        let mut wiring = Wiring::first(&plan, &materials);
        let context = wiring.context(&plan, &materials, control.clone(), running.tasks.clone());
        if let Some(bequest) = &bequest {
            context.inherit_sticky(&bequest["sticky"]);
        }
        let adoption = wiring.adoption(plan.clone(), &materials, "first load".to_owned());
        let bequest = bequest.map(|bequest| bequest.get("world").cloned().unwrap_or_default());
        let memory = Memory { store, bequest };
        let (housekeeping, stop) = (&running.housekeeping, &running.stop);
        control.start(inbox, adoption, memory, housekeeping, stop.clone());

        let admin = Arc::new(admin_state(context, &materials, control, reloader, metrics));
        let workers = Arc::new(Workers::start(threads)?);
        workers.watch(&admin.proxy);
        let serving = Serving::new(&wiring, &admin, &materials, &workers, &running);
        listeners.apply(&plan.listen, bound, &serving);
        publish_generation(1);
        admin.readiness.set(true);
        let addresses = addresses(&listeners);
        let watch = source.is_watched().then(|| Watch::new(loaded.watched()));
        let door = before.relieve(&plan).await?;
        let sampling = Sampling {
            ground: wiring.ground.clone(),
            dns: wiring.dns.clone(),
            control: admin.control.clone(),
            store: measured,
            inbox: admin.proxy.measured.clone(),
            started_at: addresses.https.into_iter().chain(addresses.http).collect(),
        };
        running.keep_house(&admin, &wiring, sampling);
        let (hangups, hangup_inbox) = mpsc::channel(1);
        let reloading = Reloading {
            source,
            plan,
            materials,
            wiring,
            serving,
            listeners,
            threads,
            door,
            succeeded: running.succeeded.clone(),
        };
        let stop_reloads = running.stop_reloads.clone();
        let reloading = reloading.run(requests, hangup_inbox, watch, stop_reloads);
        Ok(Self {
            admin,
            workers,
            running,
            reloading: tokio::spawn(reloading),
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

    /// Drains and ends: readiness first, after `drain_delay` listeners, then what is in flight, up to the limit.
    pub async fn drain(self) {
        let node = self.admin.snapshot().plan.node.clone();
        let running = self.running;
        let is_succeeded = running.succeeded.is_cancelled();
        if !is_succeeded {
            self.admin.readiness.set(false);
            tokio::time::sleep(node.drain_delay).await;
        }
        running.stop_reloads.cancel();
        let mut reloading = self.reloading.await.ok();
        if let Some(reloading) = &mut reloading {
            reloading.end_begins();
        }
        running.tasks.close();
        let ended = tokio::time::timeout(node.drain_timeout, running.tasks.wait()).await;
        if ended.is_err() {
            let left = running.tasks.len();
            tracing::warn!(left, "drain_timeout is over; connections are cut");
        }
        if let Some(reloading) = &mut reloading {
            reloading.listeners.close();
        }
        if is_succeeded {
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
    materials: &Materials,
    control: Control,
    reloader: Reloader,
    metrics: Metrics,
) -> AdminState {
    let snapshot = context.live.load().snapshot.clone();
    let state_dir = snapshot.plan.node.state_dir.as_deref();
    AdminState {
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
        recent: RecentTraffic::default(),
        metrics,
        lab: OnceLock::new(),
        traffic: admin::TrafficBoard::default(),
        atlas: admin::Atlas::default(),
    }
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

fn load(source: &Source) -> Result<(Loaded, Materials), StartError> {
    let loaded = source.load().map_err(StartError::Config)?;
    let materials = load_materials(&loaded, None, MissingKeys::Create)
        .map_err(|problems| StartError::Config(loaded.problems(problems)))?;
    for warning in loaded.warnings.iter().chain(&materials.warnings) {
        tracing::warn!("{}", loaded.problems(vec![Problem::clone(warning)]));
    }
    Ok((loaded, materials))
}

impl Wiring {
    /// Before the first snapshot there is nothing to serve, so nothing does.
    fn first(plan: &Arc<Plan>, materials: &Materials) -> Self {
        let snapshot = Arc::new(first_snapshot(plan, materials));
        let signing = dns::Signing::new(materials.zone_keys.clone(), clock::unix_secs());
        Self {
            dns: Arc::new(ArcSwap::from_pointee(dns::Live::compile(
                snapshot, &signing, None,
            ))),
            proxy: None,
            published: Arc::default(),
            ground: Arc::new(ArcSwap::from_pointee(Ground::of(plan, materials))),
            in_flight: InFlightCounters::default(),
            traffic: Arc::default(),
            served: Arc::default(),
        }
    }

    fn context(
        &mut self,
        plan: &Arc<Plan>,
        materials: &Materials,
        control: Control,
        tasks: TaskTracker,
    ) -> Arc<proxy::Context> {
        let live = proxy::Live {
            snapshot: self.dns.load().snapshot.clone(),
            routes: self.routes(plan, materials),
            access_log: access_log(plan, materials),
            keyring: Arc::new(Keyring::new(&plan.keys)),
        };
        let context = Arc::new(proxy::Context::new(live, control, tasks));
        self.proxy = Some(context.clone());
        context
    }
}

fn first_snapshot(plan: &Arc<Plan>, materials: &Materials) -> Snapshot {
    let mut world = crate::control::World::new(plan.clone(), materials.clients.clone());
    world.snapshot(clock::unix_ms()).0
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
