//! The one writer: receives reports and commands, folds them, publishes snapshots, runs the checks.

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bequest::{bequeath, inherit};
use super::drains::{Drain, DrainRefused};
use super::events::{Event, EventLog, Kind};
use super::follow::Follows;
use super::forced::ForcedState;
use super::lag::publish_lags;
use super::retired::{Replaced, Retired};
use super::store::{Now, Store, remember};
use super::world::{TargetProbes, Witnessed, World, WorldStatus};
use crate::config::plan::Plan;
use crate::geo::ClientMap;
use crate::health::{Checker, Prober, Report, Target, TargetKey, Traffic, Verdict};
use crate::ids::{ServiceId, Table};
use crate::steering::{Edge, Snapshot};
use crate::{chance, clock};

/// Reports and commands that may wait for the writer.
const QUEUE: usize = 1_024;

/// Probes that run at once, over all services: bounds sockets and the burst at start.
const PROBES_AT_ONCE: usize = 256;

/// How often round trips are published and the state file is written, if they changed.
const TICK: Duration = Duration::from_secs(1);

/// A round trip is published anew when it moved by this many ms and this share.
const MOVED_MS: f64 = 2.0;
const MOVED_SHARE: f64 = 0.2;

/// How each service's targets are probed.
pub type Probers = Table<ServiceId, Prober>;

/// A Plan to take over, with what was compiled for it.
pub struct Adoption {
    /// What the configuration means.
    pub plan: Arc<Plan>,
    /// Where its clients are.
    pub clients: Arc<ClientMap>,
    /// How its targets are probed.
    pub probers: Probers,
    /// What the proxy's requests show of them; the same as in every Plan before.
    pub traffic: Arc<Traffic>,
    /// What changed, for the event log.
    pub summary: String,
    /// Receives every snapshot of this Plan.
    pub publish: Publish,
}

/// Receives snapshots.
pub type Publish = Box<dyn FnMut(Arc<Snapshot>) -> Replaced + Send>;

enum Command {
    Adopt(Box<Adoption>, oneshot::Sender<u64>),
    Drain(Drain, bool, oneshot::Sender<Result<(), DrainRefused>>),
    Undrain(
        String,
        Option<String>,
        oneshot::Sender<Result<(), DrainRefused>>,
    ),
    Force(ForcedState, bool, oneshot::Sender<Result<(), DrainRefused>>),
    Unforce(
        String,
        Option<String>,
        oneshot::Sender<Result<(), DrainRefused>>,
    ),
    Status(oneshot::Sender<WorldStatus>),
    Probes(String, Option<String>, oneshot::Sender<Vec<TargetProbes>>),
    Suspect(Arc<str>, String),
    Republish,
    Relocate(Arc<Plan>, Arc<ClientMap>, oneshot::Sender<bool>),
    Tell(Event),
    Bequeath(oneshot::Sender<Value>),
    Resume,
}

/// What a writer knows from before it started.
#[derive(Default)]
pub struct Memory {
    /// Where it is kept.
    pub store: Option<Store>,
    /// What the process before has handed on; it counts instead of what is kept.
    pub bequest: Option<Value>,
}

/// What a writer that is yet to start will read.
pub struct Inbox(mpsc::Receiver<Command>);

/// The control task has ended: the edge is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the edge is shutting down")]
pub struct Closed;

/// A handle to the one writer.
#[derive(Clone, Debug)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    events: Arc<EventLog>,
}

impl Control {
    /// A handle to a writer that is yet to start, and what it will read.
    pub fn new() -> (Self, Inbox) {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let events = Arc::new(EventLog::default());
        (Self { commands, events }, Inbox(inbox))
    }

    /// Starts the writer with its first Plan, whose first snapshot is published before this returns.
    pub fn start(
        &self,
        Inbox(inbox): Inbox,
        first: Adoption,
        memory: Memory,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        let (reports, report_inbox) = mpsc::channel(QUEUE);
        let look_every = look_every(&first.plan);
        let mut world = World::new(first.plan, first.clients);
        let Memory { store, bequest } = memory;
        match (&bequest, &store) {
            (Some(bequest), _) => {
                inherit(&mut world, bequest, now());
            }
            (None, Some(store)) => store.restore(&mut world, now()),
            (None, None) => {}
        }
        let mut writer = Writer {
            world,
            store,
            publish: first.publish,
            published: None,
            retired: Retired::default(),
            events: self.events.clone(),
            traffic: first.traffic,
            look_every,
            reports,
            checks: HashMap::new(),
            follows: Follows::new(self.clone(), tasks.clone(), stop.clone()),
            slots: Arc::new(Semaphore::new(PROBES_AT_ONCE)),
            tasks: tasks.clone(),
            stop,
            unsaved: bequest.is_some(),
            save_from: Instant::now(),
            is_bequeathed: false,
        };
        writer.publish();
        writer.run_checks(&first.probers);
        writer.follows.run(&writer.world, &first.probers);
        tasks.spawn(writer.run(inbox, report_inbox));
    }

    /// What happened.
    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    /// Takes over a new Plan; returns its generation once it is published.
    pub async fn adopt(&self, adoption: Adoption) -> Result<u64, Closed> {
        self.ask(|reply| Command::Adopt(Box::new(adoption), reply))
            .await
    }

    /// Drains a region.
    pub async fn drain(
        &self,
        drain: Drain,
        force: bool,
    ) -> Result<Result<(), DrainRefused>, Closed> {
        self.ask(|reply| Command::Drain(drain, force, reply)).await
    }

    /// Ends a drain.
    pub async fn undrain(
        &self,
        region: String,
        service: Option<String>,
    ) -> Result<Result<(), DrainRefused>, Closed> {
        self.ask(|reply| Command::Undrain(region, service, reply))
            .await
    }

    /// Has a region count as healthy or unhealthy.
    pub async fn force(
        &self,
        forced: ForcedState,
        anyway: bool,
    ) -> Result<Result<(), DrainRefused>, Closed> {
        self.ask(|reply| Command::Force(forced, anyway, reply))
            .await
    }

    /// Leaves a region to its probes again.
    pub async fn unforce(
        &self,
        region: String,
        service: Option<String>,
    ) -> Result<Result<(), DrainRefused>, Closed> {
        self.ask(|reply| Command::Unforce(region, service, reply))
            .await
    }

    /// All that is known, for the process that takes this one's place. From now on no drain is changed and
    /// nothing is saved.
    pub async fn bequeath(&self) -> Result<Value, Closed> {
        self.ask(Command::Bequeath).await
    }

    /// Nobody takes this process's place after all.
    pub async fn resume(&self) {
        // The writer has ended: so has the edge.
        let _ = self.commands.send(Command::Resume).await;
    }

    /// What the status page shows beyond the snapshot.
    pub async fn status(&self) -> Result<WorldStatus, Closed> {
        self.ask(Command::Status).await
    }

    /// The last probes of a region's targets, of one service or of all.
    pub async fn probes(
        &self,
        region: String,
        service: Option<String>,
    ) -> Result<Vec<TargetProbes>, Closed> {
        self.ask(|reply| Command::Probes(region, service, reply))
            .await
    }

    /// Notes that a region's positions ran backwards. Lost if the writer is overwhelmed: the next
    /// probe tells again.
    pub fn suspect(&self, region: Arc<str>, message: String) {
        let _ = self.commands.try_send(Command::Suspect(region, message));
    }

    /// Tells of what befell a region's positions. Lost if the writer is overwhelmed.
    pub fn note_position(&self, region: Arc<str>, message: String) {
        let event = Event {
            region: Some(region.to_string()),
            ..Event::new(Kind::Position, clock::unix_ms(), message)
        };
        let _ = self.commands.try_send(Command::Tell(event));
    }

    /// Publishes again although nothing was reported: what is compiled from snapshots is due.
    pub async fn republish(&self) {
        // Nobody is left to publish once the writer has ended.
        let _ = self.commands.send(Command::Republish).await;
    }

    /// Puts clients where measurements have moved them; whether they were placed for the Plan in force.
    pub async fn relocate(&self, plan: Arc<Plan>, clients: Arc<ClientMap>) -> Result<bool, Closed> {
        self.ask(|reply| Command::Relocate(plan, clients, reply))
            .await
    }

    /// Records an event of somebody else's.
    pub async fn tell(&self, kind: Kind, message: String) {
        let event = Event::new(kind, clock::unix_ms(), message);
        // Nobody is left to tell once the writer has ended.
        let _ = self.commands.send(Command::Tell(event)).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

/// A check that runs.
struct RunningCheck {
    target: Target,
    prober: Prober,
    stop: CancellationToken,
}

struct Writer {
    world: World,
    store: Option<Store>,
    publish: Publish,
    published: Option<Arc<Snapshot>>,
    retired: Retired,
    events: Arc<EventLog>,
    traffic: Arc<Traffic>,
    /// How often it is looked at.
    look_every: Duration,
    reports: mpsc::Sender<Report>,
    checks: HashMap<TargetKey, RunningCheck>,
    follows: Follows,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    unsaved: bool,
    /// When a change that is no operator's may be saved.
    save_from: Instant,
    /// Whether another process has what there is to know, and may have begun to save it.
    is_bequeathed: bool,
}

impl Writer {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut reports: mpsc::Receiver<Report>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        let traffic = self.traffic.clone();
        let mut looked = Instant::now();
        loop {
            let changes_at = self.next_change();
            let look_at = looked + self.look_every;
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(command) = commands.recv() => self.obey(command),
                Some(report) = reports.recv() => {
                    let waiting = iter::from_fn(|| reports.try_recv().ok()).take(QUEUE);
                    self.fold_all(iter::once(report).chain(waiting));
                }
                _ = tick.tick() => {
                    self.retired.tick();
                    self.look_at_lags();
                    self.publish(); // Round trips move without stirring anything.
                    if Instant::now() >= self.save_from {
                        self.save();
                    }
                }
                () = traffic.called() => self.witness(),
                () = tokio::time::sleep_until(look_at) => {
                    looked = Instant::now();
                    self.witness();
                }
                () = tokio::time::sleep_until(changes_at) => {
                    let events = self.world.expire(clock::unix_ms());
                    self.record(events);
                    self.publish();
                }
            }
        }
        self.unsaved = true;
        self.save();
    }

    /// When time alone changes something next; an hour from now if nothing does.
    fn next_change(&self) -> Instant {
        let now_ms = clock::unix_ms();
        let in_ms = self
            .world
            .next_change_ms()
            .map_or(3_600_000, |at| at.saturating_sub(now_ms).min(3_600_000));
        Instant::now() + Duration::from_millis(in_ms)
    }

    fn obey(&mut self, command: Command) {
        // A reply that nobody waits for any more is no loss.
        match command {
            Command::Adopt(adoption, reply) => {
                let _ = reply.send(self.adopt(*adoption));
            }
            Command::Drain(_, _, reply)
            | Command::Undrain(_, _, reply)
            | Command::Force(_, _, reply)
            | Command::Unforce(_, _, reply)
                if self.is_bequeathed =>
            {
                let _ = reply.send(Err(DrainRefused::HandedOver));
            }
            Command::Drain(drain, force, reply) => {
                let outcome = self.world.drain(drain, force);
                let _ = reply.send(self.conclude(outcome));
            }
            Command::Undrain(region, service, reply) => {
                let outcome = self
                    .world
                    .undrain(&region, service.as_deref(), clock::unix_ms());
                let _ = reply.send(self.conclude(outcome));
            }
            Command::Force(forced, anyway, reply) => {
                let outcome = self.world.force(forced, anyway);
                let _ = reply.send(self.conclude(outcome));
            }
            Command::Unforce(region, service, reply) => {
                let now_ms = clock::unix_ms();
                let outcome = self.world.unforce(&region, service.as_deref(), now_ms);
                let _ = reply.send(self.conclude(outcome));
            }
            Command::Status(reply) => {
                let _ = reply.send(self.world.status());
            }
            Command::Probes(region, service, reply) => {
                let _ = reply.send(self.world.probes(&region, service.as_deref()));
            }
            Command::Suspect(region, message) => {
                let event = self.world.suspect(&region, message, clock::unix_ms());
                self.record([event]);
                self.publish();
            }
            Command::Republish => {
                self.published = None;
                self.publish();
            }
            Command::Relocate(plan, clients, reply) => {
                let _ = reply.send(self.world.relocate(&plan, clients));
                self.publish();
            }
            Command::Tell(event) => self.record([event]),
            Command::Bequeath(reply) => {
                self.is_bequeathed = true;
                let _ = reply.send(bequeath(&self.world, now()));
            }
            Command::Resume => {
                self.is_bequeathed = false;
                self.unsaved = true;
            }
        }
    }

    fn adopt(&mut self, adoption: Adoption) -> u64 {
        self.look_every = look_every(&adoption.plan);
        self.world.adopt(adoption.plan, adoption.clients);
        self.traffic.retain(|key| self.world.owner(key).is_some());
        self.publish = adoption.publish;
        self.run_checks(&adoption.probers);
        self.follows.run(&self.world, &adoption.probers);
        self.publish();
        self.unsaved = true;
        let generation = self.world.generation();
        let message = format!(
            "configuration {generation} is in force: {}",
            adoption.summary
        );
        self.record([Event::new(Kind::Reload, clock::unix_ms(), message)]);
        generation
    }

    fn conclude(&mut self, outcome: Result<Event, DrainRefused>) -> Result<(), DrainRefused> {
        // Who was refused, and why, is told by the audit.
        let event = outcome?;
        self.record([event]);
        self.publish();
        self.unsaved = true;
        self.save();
        Ok(())
    }

    /// Folds reports that wait together, and publishes once for all: when a region fails, the targets
    /// of all services report within moments.
    fn fold_all(&mut self, reports: impl Iterator<Item = Report>) {
        let mut stirred = false;
        for report in reports {
            stirred |= self.fold(report);
        }
        if stirred {
            self.publish();
            self.unsaved = true;
        }
    }

    /// Whether the snapshot may have changed.
    fn fold(&mut self, report: Report) -> bool {
        let now = Instant::now();
        let steady_now = clock::steady_ms();
        let ago =
            |at: Instant| u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX);
        let steady_ms = (
            steady_now.saturating_sub(ago(report.result.began)),
            steady_now.saturating_sub(ago(report.result.ended)),
        );
        if let Some((service, region)) = self.world.owner(&report.key) {
            let result = if report.result.outcome.is_ok() {
                "pass"
            } else {
                "fail"
            };
            metrics::counter!("meridian_health_checks_total", "service" => service.to_string(), "region" => region.to_string(), "result" => result)
                .increment(1);
            let took = (report.result.ended - report.result.began).as_secs_f64();
            metrics::histogram!("meridian_health_check_seconds", "region" => region.to_string(), "result" => result)
                .record(took);
        }
        let key = report.key.clone();
        let folded = self.world.report(report, clock::unix_ms(), steady_ms);
        if folded.forgiven {
            self.traffic.forgive(&key);
        }
        self.record(folded.events);
        folded.stirred
    }

    /// Looks at what traffic shows.
    fn witness(&mut self) {
        let witnessed = Witnessed {
            seen: &self.traffic.look(),
            now_ms: clock::unix_ms(),
            steady_ms: clock::steady_ms(),
        };
        let judged = self.world.witness(&witnessed, &mut chance::uniform);
        for key in &judged.forgiven {
            self.traffic.forgive(key);
        }
        self.record(judged.folded.events);
        if judged.folded.stirred {
            self.publish();
            self.unsaved = true;
        }
    }

    fn look_at_lags(&mut self) {
        let lags = self.world.lags(clock::steady_ms());
        publish_lags(&lags);
        let events = self.world.note_lags(&lags, clock::unix_ms());
        self.record(events);
    }

    fn record(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.events.record(event);
        }
    }

    /// Publishes a snapshot if it says anything new.
    fn publish(&mut self) {
        let (snapshot, events) = self.world.snapshot(clock::unix_ms());
        self.record(events);
        if self
            .published
            .as_ref()
            .is_some_and(|last| says_the_same(last, &snapshot))
        {
            return;
        }
        let snapshot = Arc::new(snapshot);
        self.published = Some(snapshot.clone());
        self.retired.keep((self.publish)(snapshot));
    }

    /// Starts the checks of the Plan, keeps those that did not change, stops the others.
    fn run_checks(&mut self, probers: &Probers) {
        let mut running = std::mem::take(&mut self.checks);
        let wanted: Vec<(TargetKey, Target, Verdict)> = self
            .world
            .checks()
            .map(|(key, target, verdict)| (key.clone(), target.clone(), verdict))
            .collect();
        for (key, target, known) in wanted {
            let prober = probers.of(target.service);
            let check = match running.remove(&key) {
                Some(check) if check.is_for(&target, prober) => check,
                Some(check) => {
                    check.stop.cancel();
                    self.start_check(&key, target, prober.clone(), known)
                }
                None => self.start_check(&key, target, prober.clone(), known),
            };
            self.checks.insert(key, check);
        }
        for check in running.into_values() {
            check.stop.cancel();
        }
    }

    fn start_check(
        &self,
        key: &TargetKey,
        target: Target,
        prober: Prober,
        known: Verdict,
    ) -> RunningCheck {
        let stop = self.stop.child_token();
        let checker = Checker {
            key: key.clone(),
            target: target.clone(),
            prober: prober.clone(),
            known,
            slots: self.slots.clone(),
        };
        self.tasks
            .spawn(checker.run(self.reports.clone(), stop.clone()));
        RunningCheck {
            target,
            prober,
            stop,
        }
    }

    fn save(&mut self) {
        let Some(store) = &self.store else { return };
        if self.is_bequeathed || !std::mem::take(&mut self.unsaved) {
            return;
        }
        match store.save(&remember(&self.world, now())) {
            Ok(wait) => self.save_from = Instant::now() + wait,
            Err(error) => {
                tracing::warn!(%error, "state not saved");
                self.unsaved = true;
            }
        }
    }
}

/// This moment by both clocks.
fn now() -> Now {
    Now {
        unix_ms: clock::unix_ms(),
        steady_ms: clock::steady_ms(),
    }
}

/// How often traffic is looked at: every tenth of the shortest window, so that its tenths are exact.
fn look_every(plan: &Plan) -> Duration {
    let passive = plan
        .services
        .values()
        .filter_map(|s| s.health.passive.as_ref());
    let tenths = passive.map(|passive| passive.window / 10);
    tenths.min().unwrap_or(TICK).min(TICK)
}

impl RunningCheck {
    /// Ids may have moved with a reload; what is probed and how must be the same.
    fn is_for(&self, target: &Target, prober: &Prober) -> bool {
        self.target.url == target.url && self.prober.is_like(prober)
    }
}

/// Whether publishing again would tell nobody anything.
pub(super) fn says_the_same(last: &Snapshot, new: &Snapshot) -> bool {
    last.generation == new.generation
        && Arc::ptr_eq(&last.clients, &new.clients)
        && last.services == new.services
        && near(&last.edge, &new.edge)
}

fn near(last: &Edge, new: &Edge) -> bool {
    let moved = |last: Option<f64>, new: Option<f64>| match (last, new) {
        (Some(last), Some(new)) => {
            let by = (last - new).abs();
            by > MOVED_MS && by > last * MOVED_SHARE
        }
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    };
    last.by_round_trip == new.by_round_trip
        && last.by_distance == new.by_distance
        && last
            .round_trips
            .values()
            .zip(new.round_trips.values())
            .all(|(last, new)| !moved(last.ms(), new.ms()))
}
