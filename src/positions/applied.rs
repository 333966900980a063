//! What each region's readers see, as far as this edge knows, for one consistency domain.
//!
//! Kept per origin, because replicas of one region differ. How reports come in is `report.rs`, what they
//! tell of lag `lag.rs`, who is woken by them `wait.rs`. All times are milliseconds of the edge's own
//! steady clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::fork::Forks;
use super::marks::Marks;
use super::sequence::Turns;
use super::vector::{Entry, Position, RegionName, Vector};
use super::wait::Waiting;
use super::waiters::Need;
use crate::config::plan::VersionForm;

/// How a region stands towards what a client must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of it is applied there.
    Dominates,
    /// Not yet. `expected` is how long it may still take; `None` when nothing was ever measured.
    Behind {
        /// From now.
        expected: Option<Duration>,
    },
}

/// The positions of one domain.
#[derive(Debug, Default)]
pub struct Applied {
    state: Mutex<State>,
    /// How often the state has changed in what is asked of it.
    changes: AtomicU64,
    /// Whether some region must not be read from; kept apart, because every read asks.
    pub(super) has_unfit: AtomicBool,
}

/// Whose regions and origins have to do with a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Region → its origins.
    pub regions: BTreeMap<RegionName, Vec<Arc<str>>>,
    /// How long the shortest-lived of its tokens lives.
    pub ttl: Duration,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) members: Membership,
    /// Region → origin → what it sees.
    pub(super) regions: BTreeMap<RegionName, BTreeMap<Arc<str>, Seen>>,
    /// Where epochs began, by the writers' own word.
    pub(super) forks: Forks,
    /// Region that writes → the newest epoch that it has named, and when it first did.
    pub(super) newest: BTreeMap<RegionName, (u64, u64)>,
    /// When an epoch was first named last.
    pub(super) named_ms: u64,
    /// Region that writes → when it was first seen how far.
    pub(super) marks: BTreeMap<RegionName, Marks>,
    /// (who applies, whose writes) → usual lag in ms.
    pub(super) lag_ms: BTreeMap<(RegionName, RegionName), f64>,
    /// Region → the reads that wait for it.
    pub(super) waiting: BTreeMap<RegionName, Waiting>,
    /// Origins that are new, and of which nothing is known.
    pub(super) newcomers: BTreeSet<(RegionName, Arc<str>)>,
    /// What every region has had at some time.
    pub(super) floor: Vector,
    /// Region that writes → the newest epoch whose losses were told.
    pub(super) told_losses: BTreeMap<RegionName, u64>,
    /// When it was last looked whether regions may be read from; none: that is due.
    pub(super) reviewed_ms: Option<u64>,
    /// The regions that there are, in all domains; stores may speak of logs of others. None: nothing was said of that.
    pub(super) configured: Option<BTreeSet<RegionName>>,
}

/// Entries that are missing; few, if any.
type Missing<'a> = SmallVec<[(&'a RegionName, Position); 2]>;

/// What an origin said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) applied: Arc<Vector>,
    /// The words in which it said so, and the form that they are in, if that was an answer.
    pub(super) words: Option<(VersionForm, Box<[u8]>)>,
    /// How often the state had changed when its region's log was last marked at what it says.
    pub(super) marked_at: Option<u64>,
    /// When it was last asked for what it says; a push was not asked for.
    pub(super) asked_at_ms: u64,
    /// When that arrived.
    pub(super) at_ms: u64,
    /// When it first said anything in this process; 0: it is known from before.
    pub(super) since_ms: u64,
    /// Whether it tells by itself as soon as it has applied more: a long poll is out.
    followed: bool,
    /// When an answer last showed that it ran backwards.
    pub(super) lowered_at_ms: Option<u64>,
    /// Whether it ever said less than before: it may lack what it has committed.
    pub(super) ran_backwards: bool,
    /// The last write to its region's own log that it acknowledged, and when that arrived.
    pub(super) acknowledged: Option<(Position, u64)>,
    /// Whether it said afterwards that it has less of that log: it crashed, or its readers see less than it writes.
    pub(super) denies: bool,
    /// Whether an answer of it said nothing of positions, and none has said anything else since.
    pub(super) is_silent: bool,
    /// When a report last showed that it had gone back, or begun an epoch.
    pub(super) reborn_at_ms: Option<u64>,
    /// The least that pushes have said since one said less than what was known, and when that was: those that
    /// say more may be of before it.
    pub(super) pushed_back: Option<(Vector, u64)>,
    /// Where its pushes stand.
    pub(super) turns: Turns,
}

impl Seen {
    pub(super) fn since(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            ..Self::default()
        }
    }
}

impl Applied {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the maps consistent, even if it were to panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to be changed.
    pub(super) fn change(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        self.note_change();
        state
    }

    /// Notes, while the state is locked, that what is asked of it may be answered otherwise than before.
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Stands still as long as nothing changes but times: what sift_out, shows and origin_has said, and who
    /// dominates, stays true, and so does that nobody knows how long another may take. Whoever remembers an answer takes
    /// this number first, so that a change in between makes it void.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How `region` stands: by its furthest origin, since the proxy may choose that one.
    pub fn standing(&self, region: &str, required: &Vector, now_ms: u64) -> Standing {
        let state = self.state();
        let missing = state.region_misses(region, required);
        if missing.is_empty() {
            return Standing::Dominates;
        }
        let expected = missing
            .into_iter()
            .map(|(writer, position)| state.expected_ms(region, writer, position, now_ms))
            .try_fold(0.0_f64, |most, next| Some(most.max(next?)));
        Standing::Behind {
            expected: expected.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
        }
    }

    /// How many entries of `required` a region is not known to show.
    pub fn lacks(&self, region: &str, required: &Vector) -> usize {
        self.state().region_misses(region, required).len()
    }

    /// Whether whoever says that its readers see `applied` shows all of `required`.
    pub fn shows(&self, applied: &Vector, required: &Vector) -> bool {
        self.state().forks.dominates(applied, required)
    }

    /// Whether an origin is known to have applied all of `required`, or never said anything.
    pub fn origin_may_answer(&self, region: &str, origin: &str, required: &Vector) -> bool {
        let state = self.state();
        let seen = state.seen(region, origin);
        seen.is_none_or(|seen| state.has_at(region, &seen.applied, required))
    }

    /// Whether an origin is known to have applied all of `required`; of its region's own log it has all,
    /// unless it ever ran backwards or denies what it acknowledged.
    pub fn origin_has(&self, region: &str, origin: &str, required: &Vector) -> bool {
        self.state().origin_has(region, origin, required)
    }

    /// Whether a reload has removed an origin that is still being asked. Nothing is known of it any more, and it may lack what all
    /// others have.
    pub(super) fn is_removed(&self, region: &str, origin: &str) -> bool {
        self.state().is_removed(region, origin)
    }

    /// What an origin has applied. Empty if it never said.
    pub fn origin(&self, region: &str, origin: &str) -> Vector {
        let state = self.state();
        let seen = state.seen(region, origin);
        seen.map_or_else(Vector::default, |seen| Vector::clone(&seen.applied))
    }

    /// Notes whether an origin tells by itself as soon as it has applied more.
    pub fn set_followed(&self, region: &str, origin: &str, followed: bool) {
        let mut state = self.state();
        let origins = state.regions.get_mut(region);
        if let Some(seen) = origins.and_then(|origins| origins.get_mut(origin)) {
            seen.followed = followed;
        }
    }

    /// Whether an origin tells by itself as soon as it has applied more.
    pub fn is_followed(&self, region: &str, origin: &str) -> bool {
        let state = self.state();
        state.seen(region, origin).is_some_and(|seen| seen.followed)
    }

    /// What the region as a whole has applied: the least of its origins. Empty if it never said.
    pub fn region(&self, region: &str) -> Vector {
        self.state().region(region)
    }

    /// What every region has applied, for `state_dir` and the status page.
    pub fn all(&self) -> Vec<(RegionName, Arc<str>, Vector)> {
        let state = self.state();
        state
            .regions
            .iter()
            .flat_map(|(region, origins)| {
                origins.iter().map(|(origin, seen)| {
                    (region.clone(), origin.clone(), Vector::clone(&seen.applied))
                })
            })
            .collect()
    }

    /// Where epochs began.
    pub fn forks(&self) -> Forks {
        self.state().forks.clone()
    }

    /// Restores where an epoch of a region began.
    pub fn remember_fork(&self, writer: &RegionName, entry: Entry) {
        let mut state = self.change();
        if state.members.regions.contains_key(writer) {
            state.forks.learn(writer, entry);
        }
    }

    /// Takes over whose regions there are, and forgets origins that are no longer among them, and the
    /// writes of regions that are none any more: some that write have no origin here.
    pub fn adopt(&self, members: Membership, regions: Option<BTreeSet<RegionName>>) {
        let is_region = |name: &str| {
            let regions = regions.as_ref();
            regions.is_none_or(|regions| regions.contains(name))
        };
        let mut state = self.change();
        // Tokens have forgotten what all have by now, also what was not looked at since.
        state.raise_floor();
        state.regions.retain(|region, origins| {
            let still = members.regions.get(region);
            origins.retain(|origin, _| still.is_some_and(|still| still.contains(origin)));
            !origins.is_empty()
        });
        let is_member = |region: &str| members.regions.contains_key(region);
        state.forks.retain(is_member);
        state.newest.retain(|region, _| is_member(region));
        state.told_losses.retain(|region, _| is_member(region));
        state
            .waiting
            .retain(|region, waiting| is_member(region) || !waiting.is_idle());
        state.marks.retain(|writer, _| is_region(writer));
        state
            .lag_ms
            .retain(|(region, writer), _| is_region(region) && is_region(writer));
        state.configure(regions);
        state.admit(members);
        state.wake_by_change();
        if !state.newcomers.is_empty() {
            self.has_unfit.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Applied {
    /// Does something while nobody else can ask what is known of positions.
    pub(crate) fn while_held<T>(&self, act: impl FnOnce() -> T) -> T {
        let _state = self.state();
        act()
    }
}

impl State {
    pub(super) fn seen(&self, region: &str, origin: &str) -> Option<&Seen> {
        self.regions.get(region)?.get(origin)
    }

    pub(super) fn is_removed(&self, region: &str, origin: &str) -> bool {
        let members = &self.members.regions;
        let is_member = |origins: &Vec<Arc<str>>| origins.iter().any(|known| **known == *origin);
        !members.is_empty() && !members.get(region).is_some_and(is_member)
    }

    pub(super) fn seen_mut(&mut self, region: &str, origin: &str) -> Option<&mut Seen> {
        self.regions.get_mut(region)?.get_mut(origin)
    }

    pub(super) fn origin_has(&self, region: &str, origin: &str, required: &Vector) -> bool {
        let none = Vector::default();
        let seen = self.seen(region, origin);
        let applied = seen.map_or(&none, |seen| &*seen.applied);
        if seen.is_some_and(|seen| seen.ran_backwards || seen.denies) {
            return self.forks.dominates(applied, required);
        }
        self.has_at(region, applied, required)
    }

    /// What `region` lacks whose readers see `applied`. What it has committed itself, it has applied (the
    /// contract's "only missing entry"), unless it says that it has left that epoch, denies what it acknowledged, or leaves
    /// in doubt whether it still has it. Of several origins that speak of it, each has what it says: it may be a replica of the one that
    /// committed it.
    fn lacking_at<'a>(
        &self,
        region: &str,
        applied: &Vector,
        required: &'a Vector,
    ) -> impl Iterator<Item = (&'a RegionName, Position)> {
        let missing = self.forks.missing(applied, required);
        missing.filter(move |(writer, wanted)| {
            let has_left = |own: Position| own.epoch > wanted.epoch;
            ***writer != *region
                || applied.get(region).is_some_and(has_left)
                || self.has_replicas(region)
                || self.denies(region)
                || self.leaves_in_doubt(region, *wanted)
        })
    }

    fn missing_at(&self, region: &str, applied: &Vector, required: &Vector) -> Vec<Need> {
        let lacking = self.lacking_at(region, applied, required);
        lacking
            .map(|(writer, wanted)| (writer.clone(), wanted))
            .collect()
    }

    pub(super) fn has_at(&self, region: &str, applied: &Vector, required: &Vector) -> bool {
        self.lacking_at(region, applied, required).next().is_none()
    }

    /// Whether a region has said less than it acknowledged, or than it had said before: replicas behind one address, mostly.
    pub(super) fn denies(&self, region: &str) -> bool {
        let origins = self.regions.get(region).into_iter();
        let mut seen = origins.flat_map(BTreeMap::values);
        seen.any(|seen| seen.denies || seen.ran_backwards)
    }

    /// Whether origins of a region may differ in what they have of its own log: there are several, and they speak
    /// of it.
    pub(super) fn has_replicas(&self, region: &str) -> bool {
        let Some(known) = self.regions.get(region) else {
            return false;
        };
        let members = self.members.regions.get(region).map_or(0, Vec::len);
        let speaks = |seen: &Seen| seen.applied.get(region).is_some();
        known.len().max(members) > 1 && known.values().any(speaks)
    }

    /// What the origin that lacks the fewest entries lacks of `required`.
    fn region_misses<'a>(&self, region: &str, required: &'a Vector) -> Missing<'a> {
        let mut least: Option<Missing<'a>> = None;
        let origins = self.regions.get(region).into_iter();
        for seen in origins.flat_map(BTreeMap::values) {
            let missing: Missing<'a> = self.lacking_at(region, &seen.applied, required).collect();
            if missing.is_empty() {
                return missing;
            }
            if least
                .as_ref()
                .is_none_or(|least| missing.len() < least.len())
            {
                least = Some(missing);
            }
        }
        let none = Vector::default();
        least.unwrap_or_else(|| self.lacking_at(region, &none, required).collect())
    }

    /// The first entry of `required` that whoever sees `applied` in `region` lacks, but for what no region
    /// has any more.
    pub(super) fn lacks(&self, region: &str, applied: &Vector, required: &Vector) -> Option<Need> {
        self.not_lost(region, applied, self.missing_at(region, applied, required))
    }

    /// The first entry of `required` that a region is not known to show, but for what none has any more.
    pub(super) fn region_lacks(&self, region: &str, required: &Vector) -> Option<Need> {
        let origins = self.regions.get(region).into_iter();
        let mut lacking = origins
            .flat_map(BTreeMap::values)
            .map(|seen| self.lacks(region, &seen.applied, required))
            .peekable();
        if lacking.peek().is_none() {
            return self.lacks(region, &Vector::default(), required);
        }
        lacking.min_by_key(Option::is_some).flatten()
    }

    fn not_lost(&self, region: &str, applied: &Vector, missing: Vec<Need>) -> Option<Need> {
        missing.into_iter().find_map(|(writer, wanted)| {
            if !self.is_lost(&writer, wanted) {
                return Some((writer, wanted));
            }
            let mut rest = Vector::default();
            rest.set(&writer, self.rest(&writer, wanted));
            let left = self.missing_at(region, applied, &rest).pop();
            // Some store may have it after all: who waits is filed where its report looks too.
            left.map(|(writer, position)| (writer, position.min(wanted)))
        })
    }

    /// The least of a region's origins; empty if none ever spoke.
    pub(super) fn region(&self, region: &str) -> Vector {
        let origins = self.regions.get(region);
        let seen = origins.into_iter().flat_map(BTreeMap::values);
        let least = seen.map(|seen| Vector::clone(&seen.applied));
        least
            .reduce(|least, applied| least.least(&applied))
            .unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "applied_tests.rs"]
mod tests;
