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
}

impl Floor {
    /// Takes in what every origin says now.
    pub(super) fn hear(&mut self, said: &BTreeMap<At, Vector>, now_ms: u64) {
        self.note_what_all_have(said, now_ms);
        let is_left = |writer: &RegionName, floor: &Position| {
            said.values()
                .any(|said| said.get(writer).is_some_and(|at| at.epoch > floor.epoch))
        };
        self.floor.retain(|writer, floor| !is_left(writer, floor));
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
        self.had_by_all.retain(|writer, (had, _)| {
            let now = least.get(writer);
            now.is_some_and(|now| (now.epoch, now.seq) >= (had.epoch, had.seq))
        });
        for (writer, now) in least.iter() {
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
        self.floor.iter().any(|(writer, floor)| {
            let at = said.get(writer);
            at.is_none_or(|at| {
                at.epoch < floor.epoch || at.epoch == floor.epoch && at.seq < floor.seq
            })
        })
    }

    /// Whether it must have been noticed that an origin lacks what all once had.
    pub(super) fn is_known_below(&self, at: At, heard_ms: u64) -> bool {
        let since_ms = self.below_since_ms.get(&at);
        since_ms.is_some_and(|since_ms| heard_ms >= since_ms + REVIEWED_EVERY_MS)
    }
}
