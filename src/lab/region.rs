//! One emulated region: its data, which outlives it, and its server, which can be killed.
//!
//! A killed region is a machine that lost its network: it refuses connections, what was under way
//! is cut, nothing leaves it, and it keeps its log and store. A region that crashes loses what was not on its disk and
//! starts again. A region that is rewound is one whose store was restored from a backup. All it knows of the other regions is their names and addresses, and what [`Conditions`] says
//! lies between.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arriving::Arriving;
use super::berth::Berth;
use super::conditions::Conditions;
use super::disk::Disk;
use super::error::Change;
use super::life::Life;
use super::link::{Batch, Link, Part, Peer, Receipt};
use super::name::Name;
use super::replica::{Bounds, Commit, Refused, Replica, Rewind, Write};
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
    backup: Mutex<Option<Replica>>,
    disk: Mutex<Disk<Replica>>,
    arriving: Mutex<Arriving>,
    crashes: Mutex<Crashes>,
    conditions: watch::Receiver<Conditions>,
    client: reqwest::Client,
    /// The running server's tasks; none while the region is killed.
    life: Mutex<Option<Life>>,
}

/// How often it crashed, and how many acknowledged writes that took.
#[derive(Clone, Copy, Debug, Default)]
struct Crashes {
    times: u64,
    lost: u64,
}

impl Crashes {
    fn add(&mut self, lost: u64) {
        self.times += 1;
        self.lost += lost;
    }
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
            backup: Mutex::new(None),
            disk: Mutex::new(Disk::new(now())),
            arriving: Mutex::default(),
            crashes: Mutex::default(),
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

    /// Takes a client's write; `then` sees the data and its vector right after it.
    pub(super) fn commit<R>(
        &self,
        key: &str,
        write: Write,
        then: impl FnOnce(Commit, &Replica) -> R,
    ) -> Result<R, Refused> {
        let unix_ms = self.unix_ms();
        self.change(|replica| {
            let commit = replica.commit(key.into(), write, now(), unix_ms)?;
            Ok(then(commit, replica))
        })
    }

    /// Applies a peer's entries, unless a partition lies between.
    pub(super) fn receive(&self, batch: Batch) -> Option<Receipt> {
        self.admit(&batch.from)?;
        let Batch {
            from,
            forks,
            entries,
        } = batch;
        let unix_ms = self.unix_ms();
        Some(self.change(|replica| {
            replica.receive(&from, &forks, entries, unix_ms);
            receipt(replica)
        }))
    }

    /// Takes a part of a peer's state, and with the last one merges it all if it was meant for this incarnation,
    /// unless a partition lies between.
    pub(super) fn take_over(&self, part: Part) -> Option<Receipt> {
        self.admit(&part.from)?;
        let incarnation = part.incarnation;
        let Some((states, applied)) = self.arriving().gather(part) else {
            return Some(self.read(receipt));
        };
        let unix_ms = self.unix_ms();
        self.change(|replica| {
            let meant = incarnation == replica.incarnation();
            let taken = meant && replica.take_over(&states, &applied, unix_ms);
            // Whoever was too late learns which incarnation there is now.
            (taken || !meant).then(|| receipt(replica))
        })
    }

    fn admit(&self, peer: &Name) -> Option<()> {
        let known = self.peers.iter().any(|known| known.name == *peer);
        (known && !self.parted(peer)).then_some(())
    }

    pub(super) fn acknowledge(&self, peer: &Name, applied: &Applied) {
        self.change(|replica| replica.acknowledge(peer, applied));
    }

    /// Keeps everything as it is now, in the place of an earlier backup; returns what that has applied.
    pub(super) fn back_up(&self) -> Applied {
        let replica = self.replica.read(Replica::clone);
        let applied = replica.applied().clone();
        *self.backup() = Some(replica);
        applied
    }

    /// Puts everything back to the backup, and cuts connections as a restore does; up again if it was up. Returns
    /// what it has applied then; `None`: there is no backup.
    pub(super) async fn rewind(
        self: &Arc<Self>,
        rewind: Rewind,
        shutdown: &CancellationToken,
    ) -> io::Result<Option<Applied>> {
        if self.backup().is_none() {
            return Ok(None);
        }
        let was_up = self.kill().await == Change::Made;
        let applied = self.backup().as_ref().map(|backup| {
            self.replica.change(|replica| {
                replica.rewind(backup, rewind);
                self.disk().settle(now());
                replica.applied().clone()
            })
        });
        if was_up {
            self.restore(shutdown)?;
        }
        Ok(applied)
    }

    /// Sets how often what is acknowledged reaches the disk; zero: before it is acknowledged. What there is now is on it.
    pub(super) fn set_flush(&self, every: Duration) {
        self.replica.read(|_| self.disk().set_flush(every, now()));
    }

    /// The process dies and starts again with what is on its disk; it stays down if it was. Returns how many
    /// acknowledged writes it lost, and what it has applied then.
    pub(super) async fn crash(
        self: &Arc<Self>,
        rewind: Rewind,
        shutdown: &CancellationToken,
    ) -> io::Result<(u64, Applied)> {
        let was_up = self.kill().await == Change::Made;
        let crashed = self.replica.change(|replica| {
            let mut disk = self.disk();
            let before = replica.last().seq;
            if disk.is_late() {
                let left = disk.after_crash(now()).unwrap_or(replica).clone();
                // Also if nothing was lost: such a store cannot know.
                replica.rewind(&left, rewind);
                disk.settle(now());
                (
                    before.saturating_sub(left.last().seq),
                    replica.applied().clone(),
                )
            } else {
                (0, replica.applied().clone())
            }
        });
        self.crashes().add(crashed.0);
        if was_up {
            self.restore(shutdown)?;
        }
        Ok(crashed)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Replica) -> R) -> R {
        self.replica.change(|replica| {
            self.disk().before_change(replica, now());
            change(replica)
        })
    }

    /// What this region's clock shows.
    fn unix_ms(&self) -> u64 {
        let skew = self.conditions.borrow().skew(self.name.as_str());
        skew.shown(clock::unix_ms())
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
        let parted_from = parted.map(|peer| peer.name.to_string()).collect();
        let (backup, crashes) = (self.backup(), *self.crashes());
        let backup = backup.as_ref().map(|backup| backup.applied().to_string());
        let (log, applied) = self.read(|replica| (replica.last().seq, replica.applied().clone()));
        let (conditions, name) = (self.conditions.borrow(), self.name.as_str());
        let lags = conditions.lags_of(name);
        RegionState {
            name: self.name.to_string(),
            up: self.life().is_some(),
            address: self.address(),
            log,
            positions: applied.to_string(),
            applied: applied.into(),
            lag_ms: ms(conditions.lag(name)),
            lag_from_ms: lags
                .map(|(peer, lag)| (peer.to_string(), ms(lag)))
                .collect(),
            skew_ms: conditions.skew(name).ms(),
            backup,
            flush_ms: ms(self.disk().flush()),
            crashes: crashes.times,
            lost: crashes.lost,
            round_trip_ms: ms(conditions.round_trip(name)),
            parted_from,
        }
    }

    fn backup(&self) -> MutexGuard<'_, Option<Replica>> {
        self.backup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked within the replica's own lock, or alone.
    fn disk(&self) -> MutexGuard<'_, Disk<Replica>> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn crashes(&self) -> MutexGuard<'_, Crashes> {
        self.crashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn receipt(replica: &Replica) -> Receipt {
    Receipt {
        applied: replica.applied().clone(),
        incarnation: replica.incarnation(),
    }
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
