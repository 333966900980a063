//! The one writer: receives reports and commands, folds them, publishes snapshots, runs the checks.
//!
//! `handle` is how everybody else speaks to it, `commands` what it does when it is spoken to, `folding` what it
//! makes of reports and traffic, `checks` what it has probed, `publishing` when it tells and saves,
//! `saving` how that gets to the disk.

mod checks;
mod commands;
mod folding;
mod handle;
mod publishing;
mod saving;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bequest::inherit;
use super::events::EventLog;
use super::follow::Follows;
use super::retired::{Replaced, Retired};
use super::store::{SetAside, Store};
use super::told;
use super::trouble::Troubles;
use super::world::World;
use crate::clock::{self, Now, Steps};
use crate::config::plan::Plan;
use crate::geo::ClientMap;
use crate::health::{Prober, Report, TargetKey, Traffic};
use crate::ids::{ServiceId, Table};
use crate::steering::Snapshot;
use checks::RunningCheck;
use handle::Command;
use saving::Saving;

pub use handle::{Changed, Closed, Control, Inbox};
#[cfg(test)]
pub(super) use publishing::says_the_same;

/// Reports and commands that may wait for the writer.
const QUEUE: usize = 1_024;

/// Probes that run at once, over all services: bounds sockets and the burst at start.
const PROBES_AT_ONCE: usize = 256;

/// How often round trips are published and the state file is written, if they changed.
const TICK: Duration = Duration::from_secs(1);

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

/// What a writer knows from before it started.
#[derive(Default)]
pub struct Memory {
    /// Where it is kept.
    pub store: Option<Store>,
    /// What the process before has handed on; it counts instead of what is kept.
    pub bequest: Option<Value>,
}

impl Memory {
    /// Restores what there is of a world, and of what was told.
    fn recall(&self, world: &mut World, events: &EventLog) -> Result<(), SetAside> {
        let now = clock::now();
        match (&self.bequest, &self.store) {
            (Some(bequest), _) => {
                inherit(world, bequest, now);
                told::restore(events, bequest);
            }
            (None, Some(store)) => {
                let state = store.restore(world, now)?;
                told::restore(events, &state);
            }
            (None, None) => {}
        }
        Ok(())
    }
}

impl Control {
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
        let set_aside = memory.recall(&mut world, self.events()).err();
        let Memory { store, bequest } = memory;
        let mut writer = Writer {
            world,
            saving: Saving::to(store),
            publish: first.publish,
            published: None,
            retired: Retired::default(),
            events: self.events().clone(),
            troubles: self.troubles().clone(),
            traffic: first.traffic,
            look_every,
            reports,
            checks: HashMap::new(),
            follows: Follows::new(self.clone(), tasks.clone(), stop.clone()),
            slots: Arc::new(Semaphore::new(PROBES_AT_ONCE)),
            tasks: tasks.clone(),
            stop,
            clock: Steps::since(clock::now()),
            unsaved: bequest.is_some(),
            told: self.events().last_id(),
            positions_saved: (0, Instant::now()),
            save_from: Instant::now(),
            is_bequeathed: false,
            heir: None,
        };
        writer.tell_of_set_aside(set_aside);
        writer.publish();
        writer.run_checks(&first.probers);
        writer.follows.run(&writer.world, &first.probers);
        tasks.spawn(writer.run(inbox, report_inbox));
    }
}

struct Writer {
    world: World,
    saving: Saving,
    publish: Publish,
    published: Option<Arc<Snapshot>>,
    retired: Retired,
    events: Arc<EventLog>,
    troubles: Arc<Troubles>,
    traffic: Arc<Traffic>,
    /// How often it is looked at.
    look_every: Duration,
    clock: Steps,
    reports: mpsc::Sender<Report>,
    checks: HashMap<TargetKey, RunningCheck>,
    follows: Follows,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    unsaved: bool,
    /// The last event that was saved.
    told: u64,
    /// How often positions had changed when what is known was last saved, and from when on that is reason to save again.
    positions_saved: (u64, Instant),
    /// When a change that is no operator's may be saved.
    save_from: Instant,
    /// Whether another process has what there is to know, and may have begun to save it.
    is_bequeathed: bool,
    /// It waits for the save under way, which would else write over its own.
    heir: Option<oneshot::Sender<Value>>,
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
                    self.look_at_positions();
                    self.publish(); // Round trips move without stirring anything.
                    if Instant::now() >= self.save_from {
                        self.note_told();
                        self.save();
                    }
                }
                news = self.saving.news() => self.saved(news),
                () = traffic.called() => self.witness(),
                () = tokio::time::sleep_until(look_at) => {
                    looked = Instant::now();
                    self.witness();
                }
                () = tokio::time::sleep_until(changes_at) => {
                    let now_ms = self.unix_ms();
                    let events = self.world.expire(now_ms);
                    // A ramp may begin with what is over.
                    self.unsaved |= !events.is_empty();
                    self.record(events);
                    self.publish();
                }
            }
        }
        self.save_at_the_end().await;
    }

    /// This moment by both clocks. If the wall clock has been set since this was last asked, what is under way goes on from where it
    /// is.
    fn now(&mut self) -> Now {
        let now = clock::now();
        if let Some(by_ms) = self.clock.look(now) {
            tracing::info!("the wall clock has been set by {by_ms} ms");
            self.world.shift(by_ms);
            self.unsaved = true;
        }
        now
    }

    /// The same in milliseconds since 1970.
    fn unix_ms(&mut self) -> u64 {
        self.now().unix_ms
    }

    /// When time alone changes something next; an hour from now if nothing does.
    fn next_change(&mut self) -> Instant {
        let now_ms = self.unix_ms();
        let in_ms = self
            .world
            .next_change_ms()
            .map_or(3_600_000, |at| at.saturating_sub(now_ms).min(3_600_000));
        Instant::now() + Duration::from_millis(in_ms)
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
