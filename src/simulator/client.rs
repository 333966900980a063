//! A client: a jar with one cookie, shared by its tabs, and what it has a right to see.

use std::collections::BTreeSet;

use super::edge::ends_ms;
use super::store::{Store, Write};
use super::terms::NAMES;
use crate::positions::Token;

/// What a client's writes gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// A position in its token.
    Position,
    /// A pin.
    Pin,
}

/// A write that was acknowledged to its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub(super) write: Write,
    pub(super) given: Given,
    /// How long the edge has promised to show it.
    pub(super) until_ms: u64,
}

/// A client, on one edge with several tabs, or on any edge with one.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) tabs: usize,
    /// Where its tabs go; none: to any edge.
    pub(super) edge: Option<usize>,
    pub(super) jar: Option<String>,
    acknowledged: Vec<Acknowledged>,
    /// The write that was pinned last, though its answer may still be on its way.
    newest_pinned: Option<Write>,
    /// Writes of which it was told that they are lost.
    told_lost: BTreeSet<Write>,
    /// Tabs that wait for an answer.
    pub(super) busy: BTreeSet<usize>,
    /// Of these, the ones that write.
    pub(super) writing: BTreeSet<usize>,
    /// Whether its answers come in any order, for each tab has a connection of its own.
    overtakes: bool,
    /// When answers were given to it, and when they come.
    given: Vec<(u64, u64)>,
    /// Until when answers may come that were given by an edge whose memory is gone.
    is_void_until_ms: u64,
}

impl Client {
    pub(super) fn new(tabs: usize, edge: Option<usize>) -> Self {
        Self {
            tabs,
            edge,
            ..Self::default()
        }
    }

    /// From now on its answers overtake each other.
    pub(super) fn overtakes(&mut self) {
        self.overtakes = true;
    }

    /// When an answer comes that is given now and takes so long. None overtakes one that was given before its request was made:
    /// what was taken back then cannot be told from what is taken back later.
    pub(super) fn arrival_ms(&mut self, began_ms: u64, now_ms: u64, way_ms: u64) -> u64 {
        let is_behind = |(given_ms, _): &&(u64, u64)| !self.overtakes || *given_ms <= began_ms;
        let before = self.given.iter().filter(is_behind);
        let last_ms = before.map(|(_, comes_ms)| *comes_ms).max().unwrap_or(0);
        let comes_ms = last_ms.max(now_ms + way_ms);
        self.given.push((now_ms, comes_ms));
        comes_ms
    }

    /// Its edge has forgotten what it issued. Whose answers overtake each other is promised nothing of what was issued before.
    pub(super) fn is_forgotten(&mut self) {
        if self.overtakes {
            self.acknowledged.clear();
            let comes_ms = self.given.iter().map(|(_, comes_ms)| *comes_ms);
            self.is_void_until_ms = comes_ms.max().unwrap_or(0);
        }
    }

    pub(super) fn acknowledge(&mut self, acknowledged: Acknowledged, now_ms: u64) {
        let is_replaced =
            acknowledged.given == Given::Pin && self.newest_pinned != Some(acknowledged.write);
        if !is_replaced && now_ms > self.is_void_until_ms {
            self.acknowledged.push(acknowledged);
        }
    }

    /// The newest pin decides: older ones promise nothing from now on.
    pub(super) fn begins_pinned_write(&mut self, write: Write) {
        self.newest_pinned = Some(write);
        self.acknowledged
            .retain(|known| known.given == Given::Position);
    }

    /// Its token had no room for all: what was written where the pin leads is pinned, and of the rest nothing is
    /// promised any more, nor where a pin leads to one of several replicas.
    pub(super) fn is_left_with(&mut self, left: &Token, store: &Store) {
        let pin = left.pin.as_ref();
        self.acknowledged.retain_mut(|known| {
            let at = store.place(known.write).map(|(region, _)| region);
            let place = at.map(|region| NAMES[region]);
            let is_left = place.is_some_and(|region| left.vector.get(region).is_some());
            let pin = pin.filter(|pin| Some(&*pin.region) == place);
            if is_left || known.given == Given::Pin {
                // A pin that leads elsewhere stands for a later write, and is the newest.
                return is_left || pin.is_some();
            }
            let has_replicas = at.is_some_and(|region| store.regions[region].replicas.len() > 1);
            let pin = pin.filter(|_| !has_replicas);
            if let Some(pin) = pin {
                known.given = Given::Pin;
                known.until_ms = known.until_ms.min(ends_ms(pin));
            }
            pin.is_some()
        });
    }

    /// What it has a right to see in a read that ends at `until_ms`.
    pub(super) fn rights(&self, until_ms: u64) -> Vec<Acknowledged> {
        let lasts = |known: &&Acknowledged| known.until_ms > until_ms;
        self.acknowledged.iter().filter(lasts).copied().collect()
    }

    /// Which of its rights still hold, as things are.
    pub(super) fn holds(&self, right: &Acknowledged, store: &Store, until_ms: u64) -> bool {
        let leads_to_it = |write| {
            let place = store.place(write);
            !store.is_gone(write) && place.is_some_and(|(region, _)| !store.is_closed(region))
        };
        let is_excused = self.told_lost.contains(&right.write)
            || store.ambiguous.contains(&right.write)
            || store.had_by_all.contains(&right.write)
            || store.all_have_had(right.write)
            || (right.given == Given::Pin && !leads_to_it(right.write));
        let is_withdrawn = !self
            .acknowledged
            .iter()
            .any(|known| known.write == right.write);
        right.until_ms > until_ms && !is_excused && !is_withdrawn
    }

    /// An answer says that writes of the client are lost: those that their regions have left behind.
    pub(super) fn is_told_of_a_loss(&mut self, is_past_a_fork: impl Fn(Write) -> bool) {
        let writes = self.acknowledged.iter().map(|known| known.write);
        self.told_lost
            .extend(writes.filter(|write| is_past_a_fork(*write)));
    }
}
