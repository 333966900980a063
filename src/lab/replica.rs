//! One region's copy of the data: its own log, everybody's applied writes, and its clock. Pure.
//!
//! Entries of another region are applied in the order of that region's log, without gaps and each
//! once, so that "applied up to SEQ" says all there is to say. Knows nothing of who delivers them.
//!
//! A replica can be put back to a backup. Whether it says so, by beginning an epoch, or not, is the
//! difference between a restored store and one that silently runs backwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::causal::{Actor, Dots};
use super::delta::{Change, Delta};
use super::hlc::Clock;
use super::log::{Entry, Log, Next};
use super::name::Name;
use super::orset::OrSet;
use super::position::Position;
use super::register::{Stamp, Version};
use super::store::Store;
use super::vector::Applied;

/// What a region may hold before it takes no more writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of writes that some peer has not acknowledged.
    pub(super) log_bytes: usize,
    /// Of keys and their states.
    pub(super) store_bytes: usize,
    /// Of one key: all siblings of a value, all members of a set. It travels as one.
    pub(super) key_bytes: usize,
}

impl Default for Bounds {
    /// Three regions at their bounds, with a backup and a disk of each, stay near a gigabyte: a demonstration must not
    /// sink a laptop.
    fn default() -> Self {
        Self {
            log_bytes: 32 << 20,
            store_bytes: 96 << 20,
            key_bytes: 256 << 10,
        }
    }
}

/// Why a write is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// A peer has been away for too many writes.
    #[error("the log is full: a peer has not taken its entries; restore it or heal the partition")]
    Log,
    /// Too much data.
    #[error("the store is full: delete something, or start the lab anew")]
    Store,
    /// Too much under one key.
    #[error("this key is full: merge its siblings, or remove members")]
    Key,
    /// The writer names versions that this replica has not seen.
    #[error("a version that this write has seen has not arrived here yet")]
    Unseen,
    /// The region's total would not fit.
    #[error("this counter is full: a region's own total has 64 bits")]
    Counter,
    /// No such member.
    #[error("no such member")]
    NoMember,
}

/// What a client does to a key.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// Stores a value, or deletes.
    Put {
        /// `None`: delete.
        value: Option<Arc<str>>,
        /// The versions that this one replaces; `None`: all that are here.
        seen: Option<Dots>,
    },
    /// Counts.
    Count(i64),
    /// Puts a member into a set.
    Add(Arc<str>),
    /// Takes a member out of a set.
    Remove(Arc<str>),
}

/// What a write did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// There was nothing here.
    Created,
    /// There was something here.
    Replaced,
    /// There is nothing any more, whether or not there was.
    Deleted,
}

/// A write that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Its place in this region's log.
    pub(super) position: Position,
    pub(super) effect: Effect,
}

/// How a region comes out of a restore from its backup, or of a crash that may have taken writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// It begins a new epoch and says where that forked off.
    NewEpoch,
    /// It takes itself for the store that it was: its positions run backwards.
    Silent,
}

/// A region's data.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    name: Name,
    log: Log,
    store: Store,
    applied: Applied,
    clock: Clock,
    bounds: Bounds,
    /// Peers that lack what no log has.
    owing: BTreeSet<Name>,
    /// How often it was put back: who sends it states in parts begins anew when it changes.
    incarnation: u64,
    /// The latest epoch that was ever begun; a backup must not begin it again.
    latest_epoch: u64,
}

impl Replica {
    pub(super) fn new(name: Name, peers: impl IntoIterator<Item = Name>, bounds: Bounds) -> Self {
        Self {
            applied: Applied::of(name.clone()),
            log: Log::new(peers),
            store: Store::default(),
            clock: Clock::default(),
            bounds,
            owing: BTreeSet::new(),
            incarnation: 0,
            latest_epoch: 0,
            name,
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn applied(&self) -> &Applied {
        &self.applied
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The position of its own last write.
    pub(super) fn last(&self) -> Position {
        self.log.last()
    }

    /// Where its own epochs began.
    pub(super) fn forks(&self) -> Vec<(u64, Position)> {
        self.applied.lineage(self.name.as_str()).forks().collect()
    }

    /// What is to be sent to a peer next.
    pub(super) fn next_for(&self, peer: &str, lag: Duration, now: Instant) -> Next {
        if self.owing.contains(peer) {
            return Next::State;
        }
        self.log.next_for(peer, lag, now)
    }

    /// Takes a client's write: appends it to the log and applies it here. `unix_ms` is the time of day.
    pub(super) fn commit(
        &mut self,
        key: Arc<str>,
        write: Write,
        now: Instant,
        unix_ms: u64,
    ) -> Result<Commit, Refused> {
        if self.log.bytes() >= self.bounds.log_bytes {
            return Err(Refused::Log);
        }
        let (effect, delta) = self.change(&key, write, unix_ms)?;
        let change = Change { key, delta };
        self.check_room(&change, effect)?;
        self.store.merge(&change);
        let position = self.log.append(change, now);
        self.applied.advance(&self.name, position);
        Ok(Commit { position, effect })
    }

    /// What a write changes, and what that is to its key.
    fn change(
        &mut self,
        key: &str,
        write: Write,
        unix_ms: u64,
    ) -> Result<(Effect, Delta), Refused> {
        let of_something = |is_new| match is_new {
            true => Effect::Created,
            false => Effect::Replaced,
        };
        let actor = self.actor();
        Ok(match write {
            Write::Put { value, seen } => {
                let effect = match &value {
                    None => Effect::Deleted,
                    Some(_) => of_something(self.store.held(key).is_none()),
                };
                (effect, self.put(key, value, seen, unix_ms)?)
            }
            Write::Count(by) => {
                let counter = self.store.counter(key).cloned();
                let effect = of_something(counter.is_none());
                let counted = counter.unwrap_or_default().counted(actor, by);
                (effect, Delta::Counter(counted.ok_or(Refused::Counter)?))
            }
            Write::Add(member) => {
                let empty = OrSet::default();
                let set = self.store.set(key).unwrap_or(&empty);
                let effect = of_something(!set.contains(&member));
                (effect, Delta::Set(set.added(actor, member)))
            }
            Write::Remove(member) => {
                let set = self.store.set(key);
                let removed = set.and_then(|set| set.without(&member));
                (
                    Effect::Deleted,
                    Delta::Set(removed.ok_or(Refused::NoMember)?),
                )
            }
        })
    }

    fn put(
        &mut self,
        key: &str,
        value: Option<Arc<str>>,
        seen: Option<Dots>,
        unix_ms: u64,
    ) -> Result<Delta, Refused> {
        let register = self.store.register(key).cloned().unwrap_or_default();
        if seen
            .as_ref()
            .is_some_and(|seen| !register.seen.covers(seen))
        {
            return Err(Refused::Unseen);
        }
        let version = Version {
            stamp: Stamp {
                moment: self.clock.tick(unix_ms),
                region: self.name.clone(),
            },
            position: self.log.last().next(),
            value,
        };
        Ok(Delta::Register(register.put(self.actor(), version, seen)))
    }

    fn actor(&self) -> Actor {
        Actor {
            region: self.name.clone(),
            epoch: self.log.last().epoch,
        }
    }

    /// Whatever makes room is taken even when all is full.
    fn check_room(&self, change: &Change, effect: Effect) -> Result<(), Refused> {
        if effect != Effect::Deleted && self.store.bytes() >= self.bounds.store_bytes {
            return Err(Refused::Store);
        }
        let (then, now) = self.store.weigh(change);
        if then > self.bounds.key_bytes && then > now && effect != Effect::Deleted {
            return Err(Refused::Key);
        }
        Ok(())
    }

    /// Applies what a peer's log has next, and begins the epochs that the peer has begun.
    ///
    /// An entry that is applied already, or does not follow on what is, is passed over: what is
    /// applied tells the peer where to go on.
    pub(super) fn receive(
        &mut self,
        peer: &Name,
        forks: &[(u64, Position)],
        entries: Vec<Entry>,
        unix_ms: u64,
    ) {
        self.enter(peer, forks);
        for entry in entries {
            let lineage = self.applied.lineage(peer.as_str());
            if lineage.is_next(entry.position) && !is_absurd(&entry.change, unix_ms) {
                self.merge(&entry.change, unix_ms);
                self.applied.advance(peer, entry.position);
                self.enter(peer, forks);
            }
        }
    }

    fn enter(&mut self, peer: &Name, forks: &[(u64, Position)]) {
        for (epoch, fork) in forks {
            self.applied.enter(peer, *epoch, *fork);
        }
    }

    /// Merges a peer's whole state, and takes over what that peer had applied then. Says whether it did: a state that
    /// no honest clock has written is not merged.
    pub(super) fn take_over(&mut self, states: &[Change], applied: &Applied, unix_ms: u64) -> bool {
        if states.iter().any(|state| is_absurd(state, unix_ms)) {
            return false;
        }
        states.iter().for_each(|state| self.merge(state, unix_ms));
        self.applied.merge(applied, &self.name);
        true
    }

    fn merge(&mut self, change: &Change, unix_ms: u64) {
        if let Some(moment) = change.delta.latest() {
            self.clock.observe(moment, unix_ms);
        }
        self.store.merge(change);
    }

    /// Takes a peer's word for what it has applied.
    pub(super) fn acknowledge(&mut self, peer: &Name, applied: &Applied) {
        let own = applied.lineage(self.name.as_str());
        self.log.acknowledge(peer.as_str(), &own);
        if self.applied.holds_stranded_without(applied, peer) {
            self.owing.insert(peer.clone());
        } else {
            self.owing.remove(peer);
        }
    }

    /// Puts everything back to a backup of this replica.
    pub(super) fn rewind(&mut self, backup: &Self, rewind: Rewind) {
        let (incarnation, latest_epoch) = (self.incarnation + 1, self.latest_epoch);
        *self = backup.clone();
        self.incarnation = incarnation;
        self.latest_epoch = latest_epoch;
        match rewind {
            Rewind::Silent => {}
            Rewind::NewEpoch => self.begin_epoch(),
        }
    }

    fn begin_epoch(&mut self) {
        self.latest_epoch += 1;
        let name = self.name.clone();
        self.applied
            .enter(&name, self.latest_epoch, self.log.last());
        self.log.begin(self.latest_epoch);
    }
}

fn is_absurd(change: &Change, unix_ms: u64) -> bool {
    let latest = change.delta.latest();
    latest.is_some_and(|moment| moment.is_absurd(unix_ms))
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
