//! What every request reads: the published facts, and what outlives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::access_log::AccessLog;
use super::crowd::Crowd;
use super::memory::Memory;
use super::pool::Pool;
use super::routes::Routes;
use super::sticky::StickyTable;
use super::strain::Strain;
use crate::control::Control;
use crate::latency::Inbox;
use crate::positions::{Keyring, Sessions};
use crate::steering::Snapshot;

/// Retries that are always allowed at once, however few requests there are (the contract).
const LEAST_RETRIES: u32 = 10;

/// What is published for the proxy, whole.
pub struct Live {
    /// What steering reads.
    pub snapshot: Arc<Snapshot>,
    /// What is compiled from the Plan.
    pub routes: Arc<Routes>,
    /// Where requests are logged; none: they are not.
    pub access_log: Option<Arc<AccessLog>>,
    /// What signs and seals.
    pub keyring: Arc<Keyring>,
}

/// What every worker shares.
pub struct Context {
    /// The published facts.
    pub live: Arc<ArcSwap<Live>>,
    /// To tell of what traffic shows.
    pub control: Control,
    /// Where browsers' round trips wait.
    pub measured: Arc<Inbox>,
    /// Which region clients without cookies are used to.
    pub(super) sticky: StickyTable,
    /// What was issued to sessions lately.
    pub(super) sessions: Arc<Sessions>,
    /// What clients have at present.
    pub(super) crowd: Arc<Crowd>,
    /// Whether the process holds as much memory as it may.
    pub(super) memory: Memory,
    /// Connections, requests and upgrades, which a drain waits for.
    tasks: TaskTracker,
}

impl Context {
    /// A context that begins with these facts.
    pub fn new(live: Live, control: Control, tasks: TaskTracker) -> Self {
        Self {
            live: Arc::new(ArcSwap::from_pointee(live)),
            control,
            measured: Arc::default(),
            sticky: StickyTable::default(),
            sessions: Arc::default(),
            crowd: Arc::default(),
            memory: Memory::default(),
            tasks,
        }
    }

    /// What clients' sessions were issued.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Which clients without cookies are used to which region, for the process that takes this one's place.
    pub fn bequeath_sticky(&self) -> Value {
        self.sticky.bequeath()
    }

    /// What sessions were issued lately, for the process that takes this one's place.
    pub fn bequeath_sessions(&self) -> Value {
        self.sessions.bequeath(crate::clock::steady_ms())
    }

    /// Remembers what [`bequeath_sessions`](Self::bequeath_sessions) told.
    pub fn inherit_sessions(&self, bequest: &Value) {
        self.sessions.inherit(bequest, crate::clock::steady_ms());
    }

    /// Knows what [`bequeath_sticky`](Self::bequeath_sticky) told.
    pub fn inherit_sticky(&self, bequest: &Value) {
        self.sticky.inherit(bequest);
    }

    /// Runs what outlives its request, on the runtime of the caller.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }
}

/// What one worker has to itself.
pub(super) struct Worker {
    pub(super) pool: Arc<Pool>,
    pub(super) strain: Strain,
    in_flight: AtomicU32,
    retrying: AtomicU32,
}

/// Counts one while it lives.
pub(super) struct Counted<'a>(&'a AtomicU32);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// One of so many.
    pub(super) fn one_of(workers: usize) -> Self {
        Self {
            pool: Arc::new(Pool::of_one_of(workers)),
            strain: Strain::default(),
            in_flight: AtomicU32::default(),
            retrying: AtomicU32::default(),
        }
    }

    /// Counts a request in flight.
    pub(super) fn request(&self) -> Counted<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Counted(&self.in_flight)
    }

    /// Counts a retry, if the budget (a share of the requests in flight) allows one more.
    pub(super) fn retry(&self, share: f64) -> Option<Counted<'_>> {
        let allowed =
            (f64::from(self.in_flight.load(Ordering::Relaxed)) * share).max(LEAST_RETRIES.into());
        let before = self.retrying.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(&self.retrying);
        (f64::from(before) < allowed).then_some(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests_under_way_and_ten_always() {
        let worker = Worker::one_of(1);
        let requests: Vec<_> = (0..60).map(|_| worker.request()).collect();
        let retries: Vec<_> = (0..12).map(|_| worker.retry(0.2)).collect();
        assert!(retries.iter().all(Option::is_some));
        assert!(worker.retry(0.2).is_none(), "a fifth of sixty is twelve");
        drop(requests);
        assert!(worker.retry(0.2).is_none(), "more than ten are under way");
        drop(retries);
        let floor: Vec<_> = (0..10).map(|_| worker.retry(0.0)).collect();
        assert!(floor.iter().all(Option::is_some));
        assert!(worker.retry(0.0).is_none());
    }
}
