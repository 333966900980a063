//! One emulated region: its data, which outlives it, and its server, which can be killed.
//!
//! A killed region is a machine that lost its network: it refuses connections, what was under way
//! is cut, nothing leaves it, and it keeps its log and store. All it knows of the other regions is
//! their names and addresses, and what [`Conditions`] says lies between.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::berth::Berth;
use super::conditions::Conditions;
use super::error::Change;
use super::life::Life;
use super::link::{Batch, Link, Peer};
use super::name::Name;
use super::replica::{Bounds, Commit, Full, Replica};
use super::state::RegionState;
use super::vector::{Applied, Required};
use super::watched::Watched;
use super::{face, link};
use crate::clock;

/// A region, up or down.
#[derive(Debug)]
pub(super) struct Region {
    name: Name,
    berth: Berth,
    peers: Vec<Peer>,
    /// How long a read may wait for what it requires.
    require_wait: Duration,
    replica: Watched<Replica>,
    conditions: watch::Receiver<Conditions>,
    client: reqwest::Client,
    /// The running server's tasks; none while the region is killed.
    life: Mutex<Option<Life>>,
}

/// What a region is made of.
pub(super) struct Parts {
    pub(super) name: Name,
    pub(super) berth: Berth,
    pub(super) peers: Vec<Peer>,
    pub(super) require_wait: Duration,
    pub(super) conditions: watch::Receiver<Conditions>,
    pub(super) client: reqwest::Client,
}

impl Region {
    /// A region that is down and has no data.
    pub(super) fn new(parts: Parts) -> Self {
        let peers = parts.peers.iter().map(|peer| peer.name.clone());
        let replica = Replica::new(parts.name.clone(), peers, Bounds::default());
        Self {
            name: parts.name,
            berth: parts.berth,
            peers: parts.peers,
            require_wait: parts.require_wait,
            replica: Watched::new(replica),
            conditions: parts.conditions,
            client: parts.client,
            life: Mutex::new(None),
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.berth.address()
    }

    /// Begins to serve and to replicate, on the same port every time.
    pub(super) fn restore(self: &Arc<Self>, shutdown: &CancellationToken) -> io::Result<Change> {
        let mut slot = self.life();
        if slot.is_some() {
            return Ok(Change::AlreadySo);
        }
        let listener = self.berth.listen()?;
        let life = Life::begin(shutdown);
        let router = face::router(Arc::clone(self)).merge(link::router(Arc::clone(self)));
        life.serve(listener, router);
        for peer in &self.peers {
            let link = Link::new(Arc::clone(self), peer.clone(), self.client.clone());
            life.spawn(link.run());
        }
        *slot = Some(life);
        Ok(Change::Made)
    }

    /// Cuts the region off; when this returns, its listener and its connections are closed.
    pub(super) async fn kill(&self) -> Change {
        let life = self.life().take();
        match life {
            Some(life) => {
                life.end().await;
                Change::Made
            }
            None => Change::AlreadySo,
        }
    }

    /// One moment of the data: what is read belongs to the vector that is read with it.
    pub(super) fn read<R>(&self, read: impl FnOnce(&Replica) -> R) -> R {
        self.replica.read(read)
    }

    /// Takes a client's write; the vector returned includes it.
    pub(super) fn commit(&self, key: &str, value: Option<&str>) -> Result<(Commit, Applied), Full> {
        self.replica.change(|replica| {
            let now = Instant::now().into_std();
            let commit =
                replica.commit(key.into(), value.map(Into::into), now, clock::unix_ms())?;
            Ok((commit, replica.applied().clone()))
        })
    }

    /// Applies a peer's entries, unless a partition lies between; returns how far that peer's log
    /// is applied.
    pub(super) fn receive(&self, batch: Batch) -> Option<u64> {
        let known = self.peers.iter().any(|peer| peer.name == batch.from);
        if !known || self.parted(&batch.from) {
            return None;
        }
        Some(
            self.replica
                .change(|replica| replica.receive(&batch.from, batch.entries)),
        )
    }

    pub(super) fn acknowledge(&self, peer: &Name, seq: u64) {
        self.replica
            .change(|replica| replica.acknowledge(peer, seq));
    }

    /// Waits until all of `required` is applied, but no longer than this region lets a read wait.
    pub(super) async fn catch_up(&self, required: &Required) {
        let mut replica = self.replica.watch();
        let applied = replica.wait_for(|replica| replica.applied().satisfies(required));
        // Whoever waited looks for himself: what is applied may have moved on since.
        let _in_time = tokio::time::timeout(self.require_wait, applied)
            .await
            .is_ok();
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.conditions.borrow().round_trip(self.name.as_str())
    }

    pub(super) fn parted(&self, peer: &Name) -> bool {
        self.conditions.borrow().parted(&self.name, peer)
    }

    pub(super) fn watch_replica(&self) -> watch::Receiver<Replica> {
        self.replica.watch()
    }

    pub(super) fn watch_conditions(&self) -> watch::Receiver<Conditions> {
        self.conditions.clone()
    }

    pub(super) fn state(&self) -> RegionState {
        let parted = self.peers.iter().filter(|peer| self.parted(&peer.name));
        let (lag, round_trip) = {
            let conditions = self.conditions.borrow();
            (
                conditions.lag(self.name.as_str()),
                conditions.round_trip(self.name.as_str()),
            )
        };
        let (log, applied) =
            self.read(|replica| (replica.log().length(), replica.applied().clone()));
        RegionState {
            name: self.name.to_string(),
            up: self.life().is_some(),
            address: self.address(),
            log,
            applied: applied.into(),
            lag_ms: lag.as_millis().try_into().unwrap_or(u64::MAX),
            round_trip_ms: round_trip.as_millis().try_into().unwrap_or(u64::MAX),
            parted_from: parted.map(|peer| peer.name.to_string()).collect(),
        }
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
