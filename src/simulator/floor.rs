//! What all origins once had, as one edge was told, and who said since that it has less: worked out apart from the
//! code that is checked, from believed words alone.

use std::collections::BTreeMap;

use super::edge::At;
use crate::positions::{Position, RegionName, Vector};

/// How often an edge looks who may be read from, ms.
const REVIEWED_EVERY_MS: u64 = 1_000;

/// What an edge was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Floor {
    /// Of each writer, what all have now, and since when they have had as much.
    had_by_all: BTreeMap<RegionName, (Position, u64)>,
    /// What all had for as long as it takes to be looked at.
    floor: BTreeMap<RegionName, Position>,
    /// Who lacks some of it, and since when.
    below_since_ms: BTreeMap<At, u64>,
    /// Where epochs began, as anybody said.
    began: BTreeMap<(RegionName, u64), Position>,
}

impl Floor {
    /// Takes in what every origin says now.
    pub(super) fn hear(&mut self, said: &BTreeMap<At, Vector>, now_ms: u64) {
        let entries = said.values().flat_map(Vector::entries);
        let told = entries.filter_map(|(writer, entry)| {
            Some(((writer.clone(), entry.position.epoch), entry.began?))
        });
        self.began.extend(told);
        self.note_what_all_have(said, now_ms);
        let mut floor = std::mem::take(&mut self.floor);
        floor.retain(|writer, floor| said.values().any(|said| self.has(said, writer, *floor)));
        self.floor = floor;
        for (at, said) in said {
            if self.is_below(said) {
                self.below_since_ms.entry(*at).or_insert(now_ms);
            } else {
                self.below_since_ms.remove(at);
            }
        }
    }

    fn note_what_all_have(&mut self, said: &BTreeMap<At, Vector>, now_ms: u64) {
        let mut least: Option<Vector> = None;
        for said in said.values() {
            least = Some(least.map_or_else(|| said.clone(), |least| least.least(said)));
        }
        let least = least.unwrap_or_default();
        let mut had_by_all = std::mem::take(&mut self.had_by_all);
        had_by_all
            .retain(|writer, (had, _)| said.values().all(|said| self.has(said, writer, *had)));
        self.had_by_all = had_by_all;
        // Of two epochs the earlier position is less, and who has the later one may never have had it.
        let have_all = |(writer, now): &(&RegionName, Position)| {
            said.values().all(|said| self.has(said, writer, *now))
        };
        let had_now: Vec<_> = least.iter().filter(have_all).collect();
        for (writer, now) in had_now {
            let (had, since_ms) = self
                .had_by_all
                .entry(writer.clone())
                .or_insert((now, now_ms));
            if now_ms - *since_ms >= REVIEWED_EVERY_MS {
                let floor = self.floor.entry(writer.clone()).or_insert(*had);
                *floor = (*had).max(*floor);
                (*had, *since_ms) = (now, now_ms);
            }
        }
    }

    fn is_below(&self, said: &Vector) -> bool {
        let mut floor = self.floor.iter();
        floor.any(|(writer, floor)| !self.has(said, writer, *floor))
    }

    /// Whether whoever says this may have a position, by where epochs began. Where nobody says that of its epoch, it has
    /// nothing of those before; of one between, this edge may have known before it began anew.
    fn has(&self, said: &Vector, writer: &RegionName, wanted: Position) -> bool {
        let Some(entry) = said.entry(writer) else {
            return false;
        };
        let mut at = entry.position;
        while at.epoch > wanted.epoch {
            let began = self.began.get(&(writer.clone(), at.epoch));
            match began {
                Some(began) => at = *began,
                None => return at != entry.position,
            }
        }
        at.epoch == wanted.epoch && at.seq >= wanted.seq
    }

    /// Whether it must have been noticed that an origin lacks what all once had.
    pub(super) fn is_known_below(&self, at: At, heard_ms: u64) -> bool {
        let since_ms = self.below_since_ms.get(&at);
        since_ms.is_some_and(|since_ms| heard_ms >= since_ms + REVIEWED_EVERY_MS)
    }
}
