//! A client: a jar with one cookie, shared by its tabs, and what it has a right to see.

use std::collections::BTreeSet;

use super::edge::{NAMES, ends_ms};
use super::store::{Store, Write};
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
    /// Until an answer gives it a token, its tabs take turns: two first writes would begin two sessions.
    pub(super) last_answer_ms: u64,
}

impl Client {
    pub(super) fn new(tabs: usize, edge: Option<usize>) -> Self {
        Self {
            tabs,
            edge,
            ..Self::default()
        }
    }

    pub(super) fn acknowledge(&mut self, acknowledged: Acknowledged) {
        let is_replaced =
            acknowledged.given == Given::Pin && self.newest_pinned != Some(acknowledged.write);
        if !is_replaced {
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
    /// promised any more.
    pub(super) fn is_left_with(&mut self, left: &Token, store: &Store) {
        let pin = left.pin.as_ref();
        self.acknowledged.retain_mut(|known| {
            let place = store.place(known.write).map(|(region, _)| NAMES[region]);
            let is_left = place.is_some_and(|region| left.vector.get(region).is_some());
            if is_left || known.given == Given::Pin {
                return true;
            }
            let pin = pin.filter(|pin| Some(&*pin.region) == place);
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
        let is_excused = self.told_lost.contains(&right.write)
            || store.ambiguous.contains(&right.write)
            || store.had_by_all.contains(&right.write)
            || store.all_have_had(right.write)
            || (right.given == Given::Pin && store.is_gone(right.write));
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
