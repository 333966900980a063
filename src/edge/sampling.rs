//! Samples round trips, settles them, and has DNS answer by what is in force: in the background, every
//! few seconds, and compiled anew only when a figure has changed.
//!
//! What a kernel measures is client ↔ this edge. That is a round trip to a region if this edge stands in
//! one (`node.region`). For clients that are near this edge it says more: from here on their way is the
//! edge's own, whose probes have measured it.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher13;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::kernel;
use super::materials::Materials;
use super::measured::{Measured, above, enough};
use crate::chance;
use crate::clock::{self, Steps};
use crate::config::plan::Plan;
use crate::control::{Control, Kind, Trouble};
use crate::disk::Turns;
use crate::dns;
use crate::earth::GeoPoint;
use crate::geo::Database;
use crate::latency::{
    Estimate, Inbox, Network, Report, Row, Sample, Samples, Source, Store, Taken, Whereabouts,
    all_plausible, decode, encode, mostly_near,
};

/// How often connections are looked at and figures settled.
const SWEEP: Duration = Duration::from_secs(5);

/// How often the file is written, and how old the numbers beside a figure that has not changed may grow.
const SAVE_EVERY_SWEEPS: u32 = 12;

/// How long it may take to tell what is to be handed on.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The most bytes that are handed on; of more the next process has what was saved last.
const MOST_HANDED_ON: usize = 16 << 20;

/// What figures are compiled for.
pub(super) struct Ground {
    pub(super) plan: Arc<Plan>,
    pub(super) database: Arc<Database>,
    pub(super) measured: Measured,
}

impl Ground {
    /// Of a Plan and what was loaded for it.
    pub(super) fn of(plan: &Arc<Plan>, materials: &Materials) -> Self {
        Self {
            plan: plan.clone(),
            database: materials.database.clone(),
            measured: materials.measured.clone(),
        }
    }
}

/// The task's own state.
pub(super) struct Sampling {
    pub(super) ground: Arc<ArcSwap<Ground>>,
    pub(super) dns: Arc<ArcSwap<dns::Live>>,
    pub(super) control: Control,
    pub(super) store: Option<Store>,
    pub(super) turns: Turns,
    /// What browsers have reported.
    pub(super) inbox: Arc<Inbox>,
    /// Where the edge listened when it started; ports that the system has picked stand nowhere else.
    pub(super) started_at: Vec<SocketAddr>,
    /// What the process before had sampled, if this one has taken its place.
    pub(super) bequest: Option<String>,
    /// Who asks for what is to be handed on.
    pub(super) heirs: mpsc::Receiver<oneshot::Sender<String>>,
}

/// Asks for what is sampled, to hand it on.
#[derive(Clone)]
pub(super) struct Sampled(mpsc::Sender<oneshot::Sender<String>>);

impl Sampled {
    /// One who asks, and where that is heard.
    pub(super) fn new() -> (Self, mpsc::Receiver<oneshot::Sender<String>>) {
        let (asker, heirs) = mpsc::channel(1);
        (Self(asker), heirs)
    }

    /// What the next process goes on with; `None`: nothing, or it is too much to hand on, or too slow.
    pub(super) async fn bequeath(&self) -> Option<String> {
        let asked = async {
            let (heir, told) = oneshot::channel();
            self.0.send(heir).await.ok()?;
            told.await.ok()
        };
        let told = tokio::time::timeout(TOLD_WITHIN, asked).await;
        told.ok()?.filter(|text| text.len() <= MOST_HANDED_ON)
    }
}

impl Sampling {
    /// Samples until `stop`. `succeeded`: another process has the file now.
    pub(super) async fn run(mut self, stop: CancellationToken, succeeded: CancellationToken) {
        let mut steps = Steps::since(clock::now());
        let mut samples = self.remembered().await;
        let key = (chance::draw(), chance::draw());
        let mut tick = tokio::time::interval(SWEEP);
        let mut compiled_for: Option<Arc<Ground>> = None;
        let mut sweeps = 0_u32;
        loop {
            let heir = tokio::select! {
                () = stop.cancelled() => break,
                Some(heir) = self.heirs.recv() => Some(heir),
                _ = tick.tick() => None,
            };
            if let Some(heir) = heir {
                let Ok(kept) = hand_on(samples, heir).await else {
                    return;
                };
                samples = kept;
                continue;
            }
            let ground = self.ground.load_full();
            if !ground.plan.latency.is_sampled() {
                continue;
            }
            sweeps = sweeps.wrapping_add(1);
            let set_by = steps.look(clock::now());
            if let Some(by_ms) = set_by {
                samples.shift(by_ms);
            }
            self.gather(&mut samples, &ground, key).await;
            // Beside the runtime, which probes and answers meanwhile.
            let settling = ground.clone();
            let is_new = compiled_for
                .as_ref()
                .is_none_or(|last| !Arc::ptr_eq(last, &ground));
            let is_due = sweeps.is_multiple_of(SAVE_EVERY_SWEEPS) || set_by.is_some();
            let is_saved = is_due && self.store.is_some() && !succeeded.is_cancelled();
            let settling = tokio::task::spawn_blocking(move || {
                if is_new {
                    forget_implausible(&mut samples, &settling);
                }
                let figures = settle(&mut samples, &settling);
                let encoded = is_saved.then(|| encode(&samples));
                (samples, figures, encoded)
            });
            // It has panicked, and there are no samples to go on with.
            let Ok((settled, figures, encoded)) = settling.await else {
                return;
            };
            samples = settled;
            let stale = is_new || is_due;
            if (figures.changed || stale) && self.put_in_force(&ground, figures.rows).await {
                compiled_for = Some(ground);
            }
            if let Some(encoded) = encoded.filter(|_| !succeeded.is_cancelled()) {
                self.save(encoded).await;
            }
        }
        let is_needed = |store: &Store| store.is_needed(&samples);
        if self.store.as_ref().is_some_and(is_needed) && !succeeded.is_cancelled() {
            self.save(encode(&samples)).await;
        }
    }

    /// Takes in what browsers have reported, and what connections say at present.
    async fn gather(&self, samples: &mut Samples, ground: &Ground, key: (u64, u64)) {
        let reported = self.inbox.take();
        count(Source::Beacon, "too_often", reported.repeated);
        let ways = self.ways(ground).await;
        for (client, ms) in &ways {
            samples.hear(*client, hashed(*client, key), *ms, clock::unix_ms());
        }
        let own = self.own_round_trips(ground);
        let near = mostly_near(&ways);
        let connected = ways.into_iter().flat_map(|(client, ms)| {
            let goes_on_here =
                near.contains(&Network::around(client)) || samples.goes_by_edge(client);
            reports(&ground.plan, &own, (client, ms), goes_on_here)
        });
        let connected: Vec<Report> = connected.collect();
        for report in reported.reports().chain(connected) {
            take(samples, ground, &report, key);
        }
    }

    /// What was measured before the edge began again.
    async fn remembered(&self) -> Samples {
        let handed_on = self.bequest.as_deref().map(decode);
        if let Some(Ok(samples)) = handed_on {
            return samples;
        }
        let Some(store) = &self.store else {
            return Samples::default();
        };
        match store.restore(clock::unix_ms()) {
            Ok(samples) => samples,
            Err(why) => {
                let message = format!("starting without measured latency: {why}");
                self.tell(Trouble::LatencySetAside, Some(message)).await;
                Samples::default()
            }
        }
    }

    async fn save(&self, encoded: String) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let file = store.path().display().to_string();
        let written = self.turns.write(move || store.save(&encoded)).await;
        let message = written
            .outcome
            .err()
            .map(|error| format!("measured latency would not outlive a restart: {file}: {error}"));
        self.tell(Trouble::LatencyUnsaved, message).await;
    }

    /// Tells once of a trouble, and once that it is over.
    async fn tell(&self, trouble: Trouble, message: Option<String>) {
        let is_news = self.control.troubles().note(trouble, message.clone());
        match message.filter(|_| is_news) {
            Some(message) => self.control.warn(Kind::State, message).await,
            None if is_news => {
                let message = "measured latency is saved again".to_owned();
                self.control.tell(Kind::State, message).await;
            }
            None => {}
        }
    }

    /// How far clients that are connected are from this edge, as the kernel says, ms.
    async fn ways(&self, ground: &Ground) -> Vec<(IpAddr, f64)> {
        if !ground.plan.latency.connections {
            return Vec::new();
        }
        let listen = &ground.plan.listen;
        let listeners: Vec<_> = listen
            .https
            .iter()
            .chain(&listen.http)
            .chain(&self.started_at)
            .copied()
            .collect();
        let asked = tokio::task::spawn_blocking(move || kernel::round_trips(&listeners)).await;
        let found = match asked {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the kernel does not tell the round trips of connections");
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        // A proxy's connections say how far the proxy is.
        let is_client =
            |client: &IpAddr| !listen.trusted_proxies.iter().any(|p| p.contains(*client));
        let clients = found.into_iter().filter(|(client, _)| is_client(client));
        clients.collect()
    }

    /// How far regions are from here, where that is measured.
    fn own_round_trips(&self, ground: &Ground) -> Vec<(Arc<str>, f64)> {
        let snapshot = self.dns.load().snapshot.clone();
        if !Arc::ptr_eq(&snapshot.plan, &ground.plan) {
            return Vec::new();
        }
        let estimates = snapshot.edge.round_trips.iter();
        estimates
            .filter_map(|(region, estimate)| match estimate {
                Estimate::Measured(ms) => Some((ground.plan.regions.of(region).name.clone(), *ms)),
                Estimate::Modelled(_) | Estimate::Unknown => None,
            })
            .collect()
    }

    /// Compiles the client map with these figures; whether it was for the Plan in force.
    async fn put_in_force(&self, ground: &Arc<Ground>, rows: Vec<Row>) -> bool {
        if rows.is_empty() && ground.measured.sampled.load().is_empty() {
            return true;
        }
        ground.measured.sampled.store(Arc::new(rows));
        let for_this = ground.clone();
        let compile = move || {
            let Ground {
                plan,
                database,
                measured,
            } = &*for_this;
            Arc::new(measured.client_map(plan, database))
        };
        let Ok(clients) = tokio::task::spawn_blocking(compile).await else {
            return false;
        };
        let relocated = self.control.relocate(ground.plan.clone(), clients).await;
        relocated.unwrap_or(false)
    }
}

/// Tells an heir what is sampled; that comes back, unless it has panicked.
async fn hand_on(samples: Samples, heir: oneshot::Sender<String>) -> Result<Samples, JoinError> {
    let encoding = tokio::task::spawn_blocking(move || (encode(&samples), samples));
    let (encoded, samples) = encoding.await?;
    // Whoever does not wait for it any more has what was saved.
    let _ = heir.send(encoded);
    Ok(samples)
}

/// What a connection says of its client: how far the region is that this edge stands in, and of a client
/// that goes on from here as the edge does, how far the others are.
fn reports(
    plan: &Plan,
    own: &[(Arc<str>, f64)],
    (client, ms): (IpAddr, f64),
    goes_on_here: bool,
) -> Vec<Report> {
    let here = plan.node.region.as_ref();
    let mut reports = Vec::new();
    if let Some(here) = here {
        reports.push(Report {
            client,
            source: Source::Connections,
            round_trips: vec![(here.clone(), ms)],
        });
    }
    let others: Vec<_> = own
        .iter()
        .filter(|(region, _)| goes_on_here && here != Some(region))
        .map(|(region, from_here)| (region.clone(), from_here + ms))
        .collect();
    if !others.is_empty() {
        reports.push(Report {
            client,
            source: Source::Edge,
            round_trips: others,
        });
    }
    reports
}

/// Takes in what is plausible.
fn take(samples: &mut Samples, ground: &Ground, report: &Report, key: (u64, u64)) {
    let round_trips: Vec<(Option<GeoPoint>, f64)> = report
        .round_trips
        .iter()
        .map(|(name, ms)| (place(&ground.plan, name), *ms))
        .collect();
    if !all_plausible(whereabouts(ground, report.client), &round_trips) {
        return count(report.source, "implausible", 1);
    }
    let (hash, now_ms) = (hashed(report.client, key), clock::unix_ms());
    for (region, ms) in &report.round_trips {
        let sample = Sample {
            client: report.client,
            region: region.clone(),
            ms: *ms,
            source: report.source,
        };
        let result = match samples.take(&sample, hash, now_ms) {
            Taken::Counted => "counted",
            Taken::TooOften => "too_often",
            Taken::Full => "full",
            Taken::Apart => "apart",
        };
        count(report.source, result, 1);
    }
}

/// What stands for a client's source.
fn hashed(client: IpAddr, key: (u64, u64)) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    Network::source(client).hash(&mut hasher);
    hasher.finish()
}

/// Where a region is.
fn place(plan: &Plan, region: &str) -> Option<GeoPoint> {
    plan.regions.of(plan.region(region)?).location
}

fn count(source: Source, result: &'static str, round_trips: u64) {
    if round_trips > 0 {
        metrics::counter!("meridian_latency_samples_total", "source" => source.as_str(), "result" => result)
            .increment(round_trips);
    }
}

/// Where the database has a client.
fn whereabouts(ground: &Ground, client: IpAddr) -> Option<Whereabouts> {
    let location = ground.database.lookup(client);
    let point = location.point?;
    Some(Whereabouts::new(point, location.country))
}

fn forget_implausible(samples: &mut Samples, ground: &Ground) {
    samples.forget_implausible(
        |address| whereabouts(ground, address),
        |region| place(&ground.plan, region),
    );
}

fn settle(samples: &mut Samples, ground: &Ground) -> crate::latency::Figures {
    let asns = ground.measured.asns.as_deref();
    let figures = samples.settle(
        enough(&ground.plan),
        clock::unix_ms(),
        |address| above(&ground.database, asns, address),
        |region| place(&ground.plan, region),
    );
    let networks = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    metrics::gauge!("meridian_latency_networks").set(f64::from(networks));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    #[test]
    fn whoever_goes_on_from_here_as_the_edge_does_is_as_far_as_both_ways_together() {
        let yaml = "regions: { us-east-1: { addresses: [192.0.2.1] }, eu-west-1: { addresses: [192.0.2.2] } }
node: { region: eu-west-1 }
services: { www: { hosts: [www.example.com] } }";
        let plan = load_text("edge.yaml", yaml, &|_| None).unwrap().plan;
        let own = [("us-east-1".into(), 70.0), ("eu-west-1".into(), 1.0)];
        let client = "192.0.2.9".parse().unwrap();
        let told = |ms, goes_on_here| {
            let reports = reports(&plan, &own, (client, ms), goes_on_here).into_iter();
            let of = |report: Report| (report.source, report.round_trips);
            reports.map(of).collect::<Vec<_>>()
        };
        let here = |ms| (Source::Connections, vec![("eu-west-1".into(), ms)]);
        let there = |ms| (Source::Edge, vec![("us-east-1".into(), ms)]);
        assert_eq!(told(15.0, true), [here(15.0), there(85.0)]);
        assert_eq!(told(40.0, false), [here(40.0)]);
    }
}
