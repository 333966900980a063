//! The table of samples: client network × region, averaged, bounded, and slow to believe.
//!
//! Pure. Samples come in with their time, figures in force come out. One source counts once a minute, a
//! network counts once enough sources agree to be measured, and what is too few for a network still has
//! a vote, one for each, in what is said of those around it (`together`). Figures of a network that light does not
//! allow beside each other do not count, wherever each came from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::RoundTrip;
use super::measurement::{Measurement, Network, Row, Source};
use super::nearness::Nearness;
use super::plausible::{Whereabouts, go_together};
use super::settled::{Settled, trust};
use super::together::{Above, COVERING, Enough, Key, Vote, Voter, Votes};
use crate::earth::GeoPoint;
use crate::prefix::{IpVersion, Prefix};

/// The networks that are remembered.
pub(super) const MOST_NETWORKS: usize = 65_536;

/// Of these, the ones of an IPv4 /16, which has no more, or an IPv6 /32: whoever has one takes no place of others.
const MOST_OF_BLOCK: usize = 256;

/// The regions that are remembered of each.
const MOST_REGIONS: usize = 64;

/// The sources that are told apart in each network.
const MOST_SOURCES: usize = 16;

/// A source counts for a region once in this time.
const SOURCE_EVERY_MS: u64 = 60_000;

/// What full means to the sweep: a full table is thinned by an eighth, so that it is done seldom.
const ROOM: usize = MOST_NETWORKS / 8;

/// One measurement of one client.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Whose.
    pub client: IpAddr,
    /// To where.
    pub region: Arc<str>,
    /// How long.
    pub ms: f64,
    /// By whom.
    pub source: Source,
}

/// What has become of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counted,
    /// Its source was heard of that region less than a minute ago.
    TooOften,
    /// There is no room.
    Full,
    /// It is true of those few in its network that are near this edge.
    Apart,
}

/// What is known of a region from a network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) average: RoundTrip,
    pub(super) at_ms: u64,
    pub(super) source: Source,
    /// Hashes of addresses, with when each was last heard.
    heard: Vec<(u64, u64)>,
    /// How many there were before a restart, whose hashes nobody can compare.
    pub(super) heard_before: usize,
}

impl Cell {
    pub(super) fn new(average: RoundTrip, at_ms: u64, source: Source, heard_before: usize) -> Self {
        Self {
            average,
            at_ms,
            source,
            heard: Vec::new(),
            heard_before: heard_before.min(MOST_SOURCES),
        }
    }

    pub(super) fn sources(&self) -> usize {
        self.heard.len().max(self.heard_before)
    }

    /// Whether it was measured last on the way by this edge.
    fn is_of_edge(&self) -> bool {
        self.source == Source::Edge
    }

    fn times(&mut self) -> impl Iterator<Item = &mut u64> {
        let heard = self.heard.iter_mut().map(|(_, last)| last);
        heard.chain([&mut self.at_ms])
    }

    /// Whether this source may count now; if so, it is noted.
    fn hear(&mut self, hash: u64, now_ms: u64) -> bool {
        if let Some((_, last)) = self.heard.iter_mut().find(|(known, _)| *known == hash) {
            let is_due = now_ms.saturating_sub(*last) >= SOURCE_EVERY_MS;
            if is_due {
                *last = now_ms;
            }
            return is_due;
        }
        if self.heard.len() < MOST_SOURCES {
            self.heard.push((hash, now_ms));
        } else if let Some(oldest) = self.heard.iter_mut().min_by_key(|(_, last)| *last) {
            // Sixteen that each count once a minute are all that a network needs.
            if now_ms.saturating_sub(oldest.1) < SOURCE_EVERY_MS {
                return false;
            }
            *oldest = (hash, now_ms);
        }
        true
    }
}

/// What is known of a network.
pub(super) type Cells = BTreeMap<Arc<str>, Cell>;

/// The table.
#[derive(Debug, Default)]
pub struct Samples {
    pub(super) networks: HashMap<Prefix, Cells>,
    /// How many of them are in each block.
    of_block: HashMap<Voter, usize>,
    /// Of networks with figures that are true while their clients are near this edge.
    nearness: HashMap<Prefix, Nearness>,
    pub(super) settled: HashMap<Key, Settled>,
}

/// The figures in force.
#[derive(Debug)]
pub struct Figures {
    /// All of them, in order.
    pub rows: Vec<Row>,
    /// Whether any figure or its weight is another than last time.
    pub changed: bool,
}

impl Samples {
    /// How many networks are remembered.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Takes in what was known of a network before, if there is room.
    pub(super) fn remember(&mut self, network: Prefix, cells: Cells) {
        if self.has_place(network) {
            self.networks.insert(network, cells);
        }
    }

    /// Whether a network has a place; if there is room, it is given one.
    fn has_place(&mut self, network: Prefix) -> bool {
        if self.networks.contains_key(&network) {
            return true;
        }
        let of_block = self.of_block.entry(Voter::block(network, COVERING));
        let of_block = of_block.or_default();
        let has_room = self.networks.len() < MOST_NETWORKS && *of_block < MOST_OF_BLOCK;
        *of_block += usize::from(has_room);
        has_room
    }

    /// The clock has been set by so many ms: what is known is as old as it was.
    pub fn shift(&mut self, by_ms: i64) {
        let cells = self.networks.values_mut().flat_map(BTreeMap::values_mut);
        let settled = self.settled.values_mut().filter_map(Settled::since);
        let nearness = self.nearness.values_mut().flat_map(Nearness::times);
        for at_ms in cells.flat_map(Cell::times).chain(settled).chain(nearness) {
            *at_ms = at_ms.saturating_add_signed(by_ms);
        }
    }

    /// Takes in how long a client's way to this edge is. `hash` stands for its address.
    pub fn hear(&mut self, client: IpAddr, hash: u64, ms: f64, now_ms: u64) {
        let network = Network::around(client);
        if self.nearness.contains_key(&network) || self.has_figures_of_edge(network) {
            let nearness = self.nearness.entry(network).or_default();
            nearness.hear(hash, ms, now_ms);
        }
    }

    /// Whether what is measured of a client's network is by way of this edge, so that its far ones count with the near.
    pub fn goes_by_edge(&self, client: IpAddr) -> bool {
        let network = Network::around(client);
        !self.is_far(network) && self.has_figures_of_edge(network)
    }

    fn has_figures_of_edge(&self, network: Prefix) -> bool {
        let cells = self.networks.get(&network);
        cells.is_some_and(|cells| cells.values().any(Cell::is_of_edge))
    }

    /// Whether most of a network is far from this edge.
    fn is_far(&self, network: Prefix) -> bool {
        self.nearness.get(&network).is_some_and(Nearness::is_far)
    }

    /// Takes in a plausible sample. `hash` stands for its client's address.
    pub fn take(&mut self, sample: &Sample, hash: u64, now_ms: u64) -> Taken {
        let network = Network::around(sample.client);
        if self.is_far(network) && sample.source == Source::Edge {
            return Taken::Apart;
        }
        if !self.has_place(network) {
            return Taken::Full;
        }
        let cells = self.networks.entry(network).or_default();
        if cells.len() >= MOST_REGIONS && !cells.contains_key(&sample.region) {
            return Taken::Full;
        }
        let fresh = || Cell::new(RoundTrip::default(), now_ms, sample.source, 0);
        let cell = cells.entry(sample.region.clone()).or_insert_with(fresh);
        if !cell.hear(hash, now_ms) {
            return Taken::TooOften;
        }
        cell.average.sample(sample.ms);
        cell.at_ms = now_ms;
        cell.source = sample.source;
        Taken::Counted
    }

    /// Forgets what has aged away, settles what is measured, and tells what is in force. `place`: where a region is.
    pub fn settle(
        &mut self,
        enough: Enough,
        now_ms: u64,
        above: impl Fn(IpAddr) -> Above,
        place: impl Fn(&str) -> Option<GeoPoint>,
    ) -> Figures {
        self.forget_who_moved_away(enough.sources, now_ms);
        self.forget(now_ms);
        let measured = self.measured(enough, now_ms, above, place);
        let before = std::mem::take(&mut self.settled);
        let mut changed = before.keys().any(|key| !measured.contains_key(key));
        let mut moved = BTreeSet::new();
        for (key, measurement) in &measured {
            let known = before.get(key).copied();
            changed |= known.is_none();
            let mut settled = known.unwrap_or(Settled::new(measurement.ms));
            if settled.observe(measurement.ms, measurement.at_ms, now_ms) {
                changed = true;
                if measurement.source.is_of_way() {
                    moved.insert((key.0, key.1));
                }
            }
            self.settled.insert(key.clone(), settled);
        }
        let rows = measured.into_iter().map(|(key, mut measurement)| {
            let settled = self.settled.entry(key.clone());
            let settled = settled.or_insert(Settled::new(measurement.ms));
            // All of them have moved by what the way to this edge has: one alone would be nearer by that.
            if measurement.source.is_of_way() && moved.contains(&(key.0, key.1)) {
                *settled = Settled::new(measurement.ms);
            }
            measurement.ms = settled.ms();
            // That figure was measured until another was.
            let until = settled.gives_way_since();
            measurement.at_ms = measurement.at_ms.min(until.unwrap_or(u64::MAX));
            Row {
                network: key.0,
                region: key.2,
                measurement,
            }
        });
        Figures {
            rows: rows.collect(),
            changed,
        }
    }

    /// Drops what cannot be true as places are known now: a region has moved, or a network in the database.
    pub fn forget_implausible(
        &mut self,
        here: impl Fn(IpAddr) -> Option<Whereabouts>,
        place: impl Fn(&str) -> Option<GeoPoint>,
    ) {
        for (network, cells) in &mut self.networks {
            let Some(here) = here(network.address()) else {
                continue;
            };
            cells.retain(|region, cell| {
                let known = place(region).zip(cell.average.ms());
                known.is_none_or(|(there, ms)| here.reaches(there, ms))
            });
        }
    }

    /// Drops what was true of networks that were near this edge and are not any more.
    fn forget_who_moved_away(&mut self, quorum: usize, now_ms: u64) {
        let networks = &mut self.networks;
        self.nearness.retain(|network, nearness| {
            let has_moved = nearness.has_moved_away(quorum, now_ms);
            if let Some(cells) = networks.get_mut(network).filter(|_| has_moved) {
                cells.retain(|_, cell| !cell.is_of_edge());
            }
            !nearness.is_silent()
        });
    }

    /// Drops what counts for nothing any more, and the oldest of a table that is full. What a clock that was ahead
    /// has dated is of now: it would not age until then.
    fn forget(&mut self, now_ms: u64) {
        self.networks.retain(|_, cells| {
            for cell in cells.values_mut() {
                cell.times().for_each(|at_ms| *at_ms = (*at_ms).min(now_ms));
            }
            cells.retain(|_, cell| trust(now_ms.saturating_sub(cell.at_ms)) > 0.0);
            !cells.is_empty()
        });
        if self.networks.len() > MOST_NETWORKS - ROOM {
            self.thin();
        }
        self.of_block.clear();
        for network in self.networks.keys() {
            let of_block = self.of_block.entry(Voter::block(*network, COVERING));
            *of_block.or_default() += 1;
        }
    }

    /// Drops the oldest.
    fn thin(&mut self) {
        let newest = |cells: &Cells| cells.values().map(|cell| cell.at_ms).max();
        let mut by_age: Vec<_> = self.networks.iter().map(|(n, c)| (newest(c), *n)).collect();
        by_age.sort_unstable();
        let most = by_age.len() - (MOST_NETWORKS - ROOM);
        for (_, network) in by_age.into_iter().take(most) {
            self.networks.remove(&network);
        }
    }

    /// What is measured at present, of networks and of what they lie in.
    fn measured(
        &self,
        enough: Enough,
        now_ms: u64,
        above: impl Fn(IpAddr) -> Above,
        place: impl Fn(&str) -> Option<GeoPoint>,
    ) -> BTreeMap<Key, Measurement> {
        let mut measured = BTreeMap::new();
        let mut votes = Votes::default();
        for (prefix, cells) in &self.networks {
            let above = above(prefix.address());
            let version = IpVersion::of(prefix.address());
            let is_far = self.is_far(*prefix);
            for (region, cell, measurement) in believable(cells, enough.off, now_ms, &place) {
                let key = (Network::Prefix(*prefix), version, region.clone());
                // What is in force gives way once that has lasted.
                if is_far && cell.is_of_edge() && !self.settled.contains_key(&key) {
                    continue;
                }
                votes.add(
                    region,
                    Vote {
                        prefix: *prefix,
                        above,
                        measurement,
                        sources: Some(cell.sources()),
                    },
                );
                let samples = cell.average.samples();
                if samples >= enough.samples && cell.sources() >= enough.sources {
                    measured.insert(key, measurement);
                }
            }
        }
        measured.extend(votes.count(enough));
        measured
    }
}

/// What is measured of a network, without what cannot be true beside a figure that is as well supported: by as many
/// sources, or by as many and as many samples. Nobody knows which of two that are equally supported is the lie.
fn believable<'c>(
    cells: &'c Cells,
    off: &[Source],
    now_ms: u64,
    place: &impl Fn(&str) -> Option<GeoPoint>,
) -> impl Iterator<Item = (&'c Arc<str>, &'c Cell, Measurement)> {
    let counted = cells.iter().filter(|(_, cell)| !off.contains(&cell.source));
    let measured = counted.filter_map(|(region, cell)| {
        let measurement = cell.measurement(now_ms)?;
        let placed = place(region).map(|there| (there, measurement.ms));
        Some((region, cell, measurement, placed))
    });
    let measured: Vec<_> = measured.collect();
    let claims: Vec<_> = measured
        .iter()
        .filter_map(|(_, cell, _, placed)| Some((cell.support(), (*placed)?)))
        .collect();
    measured
        .into_iter()
        .filter_map(move |(region, cell, measurement, placed)| {
            let contradicts = |(support, claim): &(_, _)| {
                placed.is_some_and(|own| *support >= cell.support() && !go_together(own, *claim))
            };
            let is_believable = !claims.iter().any(contradicts);
            is_believable.then_some((region, cell, measurement))
        })
}

impl Cell {
    /// Sources, and samples of theirs.
    fn support(&self) -> (usize, u32) {
        (self.sources(), self.average.samples())
    }

    fn measurement(&self, now_ms: u64) -> Option<Measurement> {
        Some(Measurement {
            ms: self.average.ms()?,
            samples: Some(self.average.samples()),
            at_ms: self.at_ms,
            source: self.source,
            trust: trust(now_ms.saturating_sub(self.at_ms)),
            networks: None,
        })
    }
}

#[cfg(test)]
#[path = "samples_tests.rs"]
mod tests;
