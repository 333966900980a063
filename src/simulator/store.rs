//! What really is: regions with replicas that take writes, replicate late, crash, and come back from backups.
//!
//! Each region has a log of its own, written by its leader; every replica holds a copy of the beginning of
//! every region's log. A copy is replaced by a longer one of the same epoch, or by one of a later epoch, so that
//! messages may come late, twice and in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::edge::At;
use super::newcomers::Newcomers;
use super::random::Random;
use super::speech::Speech;
use crate::positions::{Entry, Position, RegionName, Vector};

/// How often leaders flush what they have acknowledged, ms.
const FLUSHED_EVERY_MS: u64 = 1_500;

/// A client's write.
pub(super) type Write = u32;

/// A region's log, or the beginning of it that somebody has.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    epoch: u64,
    /// Where this epoch began, if its region tells.
    began: Option<Position>,
    entries: Vec<(Position, Write)>,
}

impl Log {
    /// How far it goes.
    pub(super) fn end(&self) -> Entry {
        let last = self.entries.last().map(|(position, _)| *position);
        let position = last.filter(|last| last.epoch == self.epoch);
        let start = Position {
            epoch: self.epoch,
            seq: 0,
        };
        Entry {
            position: position.unwrap_or(start),
            began: self.began,
        }
    }

    pub(super) fn has(&self, write: Write) -> bool {
        self.entries.iter().any(|(_, written)| *written == write)
    }

    /// Whether all up to a position is in it.
    fn includes(&self, wanted: Position) -> bool {
        let end = self.end().position;
        (wanted.epoch == end.epoch && wanted.seq <= end.seq)
            || self.entries.iter().any(|(position, _)| *position == wanted)
    }

    fn append(&mut self, write: Write) -> Position {
        let end = self.end().position;
        let position = Position {
            seq: end.seq + 1,
            ..end
        };
        self.entries.push((position, write));
        position
    }

    /// Begins the next epoch after what is here.
    fn begin_epoch(&mut self, epoch: u64, tells: bool) {
        let last = self.end().position;
        self.epoch = epoch;
        self.began = tells.then_some(last);
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.entries.len()) > (other.epoch, other.entries.len())
    }
}

/// One origin of a region.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    logs: BTreeMap<RegionName, Rc<Log>>,
    /// Writes that it had and has no more, and when it lost them.
    lost_at_ms: BTreeMap<Write, u64>,
}

impl Replica {
    /// What its readers see.
    fn applied(&self) -> Vector {
        let mut applied = Vector::default();
        for (region, log) in &self.logs {
            applied.set(region, log.end());
        }
        applied
    }

    pub(super) fn sees(&self, write: Write) -> bool {
        self.logs.values().any(|log| log.has(write))
    }

    /// Whether it may answer a read that must see these.
    pub(super) fn satisfies(&self, required: &Vector) -> bool {
        required.iter().all(|(writer, wanted)| {
            let log = self.logs.get(writer);
            log.is_some_and(|log| log.includes(wanted))
        })
    }

    pub(super) fn log(&self, region: &str) -> Rc<Log> {
        self.logs.get(region).cloned().unwrap_or_default()
    }

    /// Takes over a copy of a log if it goes further.
    pub(super) fn take(&mut self, region: &RegionName, log: &Rc<Log>, now_ms: u64) {
        let before = self.log(region);
        if log.is_newer_than(&before) {
            self.note_lost(&before, log, now_ms);
            self.logs.insert(region.clone(), log.clone());
        }
    }

    /// When it lost a write; none: it never had it, or has it.
    pub(super) fn lost_at_ms(&self, write: Write) -> Option<u64> {
        self.lost_at_ms.get(&write).copied()
    }

    fn note_lost(&mut self, before: &Log, now: &Log, now_ms: u64) {
        if before.epoch == now.epoch && before.entries.len() <= now.entries.len() {
            return;
        }
        for (_, write) in &now.entries {
            self.lost_at_ms.remove(write);
        }
        let gone = before.entries.iter().filter(|(_, write)| !now.has(*write));
        self.lost_at_ms
            .extend(gone.map(|(_, write)| (*write, now_ms)));
    }

    /// Goes back to what it was.
    fn go_back_to(&mut self, backup: &Self, now_ms: u64) {
        let before = self.logs.clone();
        self.logs.clone_from(&backup.logs);
        for (region, log) in before {
            self.note_lost(&log, &backup.log(&region), now_ms);
        }
    }
}

/// A region.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) name: RegionName,
    pub(super) replicas: Vec<Replica>,
    /// Who takes its writes.
    pub(super) leader: usize,
    pub(super) is_up: bool,
    pub(super) speech: Speech,
    /// Whether it answers 409 to a read that it cannot satisfy.
    pub(super) refuses: bool,
    /// How long it holds a read that it cannot satisfy yet, ms.
    pub(super) holds_ms: u64,
    /// How much later some of its answers to reads come than they were read, ms.
    pub(super) dawdles_ms: u64,
    /// Whether it says where its epochs began.
    pub(super) tells_forks: bool,
    pub(super) backup: Option<Replica>,
    /// What its leader had on its disk at the last flush, and when that was; none: all that it has.
    flushed: Option<(u64, Replica)>,
}

impl Region {
    pub(super) fn leader(&self) -> &Replica {
        &self.replicas[self.leader]
    }

    /// One that nobody has written to.
    pub(super) fn new(
        name: RegionName,
        replicas: usize,
        speech: Speech,
        random: &mut Random,
    ) -> Self {
        Self {
            name,
            replicas: vec![Replica::default(); replicas],
            leader: 0,
            is_up: true,
            speech,
            refuses: random.chance(60),
            holds_ms: 0,
            dawdles_ms: 0,
            tells_forks: random.chance(60),
            backup: None,
            flushed: None,
        }
    }

    /// Before a write: flushes that were due by now have happened.
    fn flush(&mut self, now_ms: u64) {
        let turn = now_ms / FLUSHED_EVERY_MS;
        if self.flushed.as_ref().is_none_or(|(at, _)| *at < turn) {
            self.flushed = Some((turn, self.leader().clone()));
        }
    }

    /// What a replica would say: of its region's own log in any case.
    pub(super) fn applied(&self, replica: usize) -> Vector {
        let of = &self.replicas[replica];
        let mut applied = of.applied();
        applied.set(&self.name, of.log(&self.name).end());
        applied
    }
}

/// The regions, and what has become of writes.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) regions: Vec<Region>,
    /// Who wrote at a position.
    written: BTreeMap<(RegionName, Position), Write>,
    /// Which region took a write, and where it is in that one's log.
    places: BTreeMap<Write, (usize, Position)>,
    /// The furthest position that each region ever gave away.
    furthest: BTreeMap<RegionName, Position>,
    /// Writes of a store that came back without a new epoch, and those whose position it gave away again: nobody
    /// can tell them apart.
    pub(super) ambiguous: BTreeSet<Write>,
    /// Writes that every replica had, and some replica then lost.
    pub(super) had_by_all: BTreeSet<Write>,
    everywhere: BTreeSet<Write>,
    left_behind: BTreeSet<Write>,
    /// Which writes a region's epoch began with.
    beginnings: BTreeMap<(usize, u64), BTreeSet<Write>>,
    pub(super) newcomers: Newcomers,
    /// The region that a reload has removed.
    closed: Option<usize>,
    /// The replica that one has removed, the last of its region.
    removed: Option<At>,
}

impl Store {
    /// A write at a region's leader.
    pub(super) fn write(&mut self, at: usize, write: Write, now_ms: u64) -> Position {
        let region = &mut self.regions[at];
        region.flush(now_ms);
        let name = region.name.clone();
        let leader = &mut region.replicas[region.leader];
        let mut log = (*leader.log(&name)).clone();
        let position = log.append(write);
        self.places.insert(write, (at, position));
        leader.logs.insert(name.clone(), Rc::new(log));
        let furthest = self.furthest.entry(name.clone()).or_default();
        if position <= *furthest {
            self.ambiguous.insert(write);
        }
        *furthest = position.max(*furthest);
        self.ambiguous
            .extend(self.written.insert((name, position), write));
        position
    }

    /// All replicas but newcomers and those that are asked no more.
    fn settled(&self) -> impl Iterator<Item = &Replica> {
        let regions = self.regions.iter().enumerate();
        let all = regions.flat_map(|(at, region)| {
            let replicas = region.replicas.iter().enumerate();
            replicas.map(move |(number, replica)| ((at, number), replica))
        });
        let settled = all.filter(|(at, _)| !self.newcomers.has(*at) && self.is_asked(*at));
        settled.map(|(_, replica)| replica)
    }

    /// A region has one more replica, which begins with what its last backup has.
    pub(super) fn grow(&mut self, at: usize, now_ms: u64) -> At {
        let region = &mut self.regions[at];
        let place = (at, region.replicas.len());
        region
            .replicas
            .push(region.backup.clone().unwrap_or_default());
        self.newcomers.add(place, now_ms);
        place
    }

    /// There is one more region, of which nobody has anything.
    pub(super) fn add(&mut self, region: Region, now_ms: u64) {
        for replica in 0..region.replicas.len() {
            self.newcomers.add((self.regions.len(), replica), now_ms);
        }
        self.regions.push(region);
    }

    /// No edge asks a region any more, though it replicates on.
    pub(super) fn close(&mut self, region: usize) {
        self.closed = Some(region);
    }

    /// No edge asks a replica any more, and none leads its region that is not asked.
    pub(super) fn remove(&mut self, at: At) {
        self.removed = Some(at);
    }

    /// Whether edges ask a replica.
    pub(super) fn is_asked(&self, at: At) -> bool {
        !self.is_closed(at.0) && self.removed != Some(at)
    }

    pub(super) fn is_closed(&self, region: usize) -> bool {
        self.closed == Some(region)
    }

    /// Remembers which writes everybody has.
    fn note_everywhere(&mut self) {
        let mut replicas = self.settled();
        let Some(first) = replicas.next() else { return };
        let of_first = first.logs.values().flat_map(|log| &log.entries);
        let others: Vec<&Replica> = replicas.collect();
        let found: Vec<Write> = of_first
            .map(|(_, write)| *write)
            .filter(|write| !self.everywhere.contains(write))
            .filter(|write| others.iter().all(|replica| replica.sees(*write)))
            .collect();
        self.everywhere.extend(found);
    }

    fn note_what_is_gone(&mut self) {
        let is_gone = |write: &&Write| !self.settled().all(|replica| replica.sees(**write));
        let gone: Vec<Write> = self.everywhere.iter().filter(is_gone).copied().collect();
        self.had_by_all.extend(gone);
    }

    /// Whether every replica has had it, and some has lost it: an edge that has not heard of that may retire it.
    pub(super) fn all_have_had(&self, write: Write) -> bool {
        let replicas = || self.settled();
        let has_lost = |replica: &Replica| replica.lost_at_ms(write).is_some();
        replicas().any(has_lost) && replicas().all(|of| has_lost(of) || of.sees(write))
    }

    /// Which region took a write, and where it is in that one's log.
    pub(super) fn place(&self, write: Write) -> Option<(usize, Position)> {
        self.places.get(&write).copied()
    }

    /// Whether every replica has it that was there from the start.
    pub(super) fn is_everywhere(&self, write: Write) -> bool {
        let mut replicas = self.settled();
        replicas.all(|replica| replica.sees(write))
    }

    /// What every replica has that was there from the start.
    pub(super) fn all_everywhere(&self) -> Vec<Write> {
        let writes = self.places.keys().copied();
        writes.filter(|write| self.is_everywhere(*write)).collect()
    }

    /// Whether nobody has it any more.
    pub(super) fn is_gone(&self, write: Write) -> bool {
        let mut replicas = self.regions.iter().flat_map(|region| &region.replicas);
        !replicas.any(|replica| replica.sees(write))
    }

    /// Whether its region has left it behind at a fork, even if a later leader of an older epoch brought it back.
    pub(super) fn is_past_a_fork(&self, write: Write) -> bool {
        self.left_behind.contains(&write)
    }

    /// Whether a position is of a write that its region goes on from, and says so.
    pub(super) fn goes_on_from(&self, writer: &RegionName, position: Position) -> bool {
        let says_so = |region: &Region| region.name == *writer && region.tells_forks;
        let write = self.written.get(&(writer.clone(), position));
        self.regions.iter().any(says_so) && write.is_some_and(|write| !self.is_past_a_fork(*write))
    }

    /// Whether an epoch of a region began with a write.
    pub(super) fn began_with(&self, at: usize, epoch: u64, write: Write) -> bool {
        let beginning = self.beginnings.get(&(at, epoch));
        beginning.is_some_and(|writes| writes.contains(&write))
    }

    fn note_what_is_left_behind(&mut self, at: usize) {
        let region = &self.regions[at];
        let log = region.leader().log(&region.name);
        let of_region = self
            .written
            .iter()
            .filter(|((name, _), _)| *name == region.name);
        let gone = of_region.filter(|(_, write)| !log.has(**write));
        self.left_behind.extend(gone.map(|(_, write)| *write));
    }

    pub(super) fn back_up(&mut self, at: usize) {
        let region = &mut self.regions[at];
        region.backup = Some(region.leader().clone());
    }

    /// The region's leader comes back from its backup; the other replicas take over its log later.
    pub(super) fn restore(&mut self, at: usize, new_epoch: Option<u64>, now_ms: u64) {
        if let Some(backup) = self.regions[at].backup.clone() {
            self.go_back_to(at, &backup, new_epoch, now_ms);
        }
    }

    /// The region's leader crashes and comes back with what it had flushed.
    pub(super) fn crash(&mut self, at: usize, new_epoch: Option<u64>, now_ms: u64) {
        if let Some((_, flushed)) = self.regions[at].flushed.take() {
            self.go_back_to(at, &flushed, new_epoch, now_ms);
        }
    }

    fn go_back_to(&mut self, at: usize, old: &Replica, new_epoch: Option<u64>, now_ms: u64) {
        self.note_everywhere();
        let region = &mut self.regions[at];
        region.replicas[region.leader].go_back_to(old, now_ms);
        self.fork(at, new_epoch);
    }

    /// Another replica becomes the region's leader, without what it does not have.
    pub(super) fn promote(&mut self, at: usize, replica: usize, epoch: u64) {
        self.note_everywhere();
        self.regions[at].leader = replica;
        self.newcomers.leads((at, replica));
        self.fork(at, Some(epoch));
    }

    fn fork(&mut self, at: usize, new_epoch: Option<u64>) {
        let region = &mut self.regions[at];
        if let Some(epoch) = new_epoch {
            let leader = &mut region.replicas[region.leader];
            let mut log = (*leader.log(&region.name)).clone();
            log.begin_epoch(epoch, region.tells_forks);
            let beginning = log.entries.iter().map(|(_, write)| *write);
            self.beginnings.insert((at, epoch), beginning.collect());
            leader.logs.insert(region.name.clone(), Rc::new(log));
            // A store that silently goes back to before this epoch gives away positions that count as left.
            let furthest = self.furthest.entry(region.name.clone()).or_default();
            *furthest = Position { epoch, seq: 0 }.max(*furthest);
        }
        // Who leads from now on has all that it has on its disk.
        region.flushed = None;
        self.note_what_is_gone();
        self.note_what_is_left_behind(at);
    }

    pub(super) fn epoch(&self, at: usize) -> u64 {
        let region = &self.regions[at];
        let logs = region
            .replicas
            .iter()
            .map(|replica| replica.log(&region.name));
        logs.map(|log| log.epoch).max().unwrap_or(0)
    }
}
