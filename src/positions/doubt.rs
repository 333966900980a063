//! What an answer is worth that says nothing of positions: what is known of its origin, unless that is in doubt.
//!
//! An origin may have lost what it had, without a new epoch, and only reports of it tell so. Whatever speaks for a
//! loss makes such answers too old until a report shows what is required. Who waits has the origin asked, so that a
//! doubt costs a probe where there is none to be had.

use std::collections::BTreeMap;

use super::applied::{Applied, Seen, State};
use super::vector::{Position, Vector};

impl Applied {
    /// Whether an answer that says nothing shows all of `required`, by what is known of the origin that was asked for
    /// it at `asked_at_ms`. If that went back or began an epoch meanwhile, nobody knows on which side of that it
    /// answered.
    pub(super) fn answers_for(
        &self,
        region: &str,
        origin: &str,
        required: &Vector,
        asked_at_ms: u64,
    ) -> bool {
        self.note_silence(region, origin, true);
        let state = self.state();
        let is_doubtful = state.seen(region, origin).is_some_and(|seen| {
            let lacks = |(least, _): &(Vector, u64)| !state.has_at(region, least, required);
            // Asked when it was not known to be one of several, it seemed to have all that its region writes.
            let was_unknown = seen.since_ms > asked_at_ms && state.has_replicas(region);
            was_unknown
                || seen.was_reborn_since(asked_at_ms)
                || seen.pushed_back.as_ref().is_some_and(lacks)
        });
        !is_doubtful && state.origin_has(region, origin, required)
    }

    /// Notes that an answer of an origin speaks of positions.
    pub(super) fn note_word(&self, region: &str, origin: &str) {
        self.note_silence(region, origin, false);
    }

    fn note_silence(&self, region: &str, origin: &str, is_silent: bool) {
        let mut state = self.state();
        let seen = state.seen_mut(region, origin);
        let changes =
            |seen: &mut Seen| std::mem::replace(&mut seen.is_silent, is_silent) != is_silent;
        if seen.is_some_and(changes) {
            self.note_change();
        }
    }
}

impl State {
    /// Whether the only origin of a region, whose answers say nothing, has said less of its own log than this, and
    /// did not acknowledge this here: another edge's token may ask for what it has lost by now.
    pub(super) fn leaves_in_doubt(&self, region: &str, wanted: Position) -> bool {
        let origins = self.regions.get(region).into_iter();
        let mut seen = origins.flat_map(BTreeMap::values);
        seen.any(|seen| {
            let speaks = seen.applied.get(region).is_some();
            seen.is_silent && speaks && !seen.has_acknowledged(wanted)
        })
    }
}

impl Seen {
    fn was_reborn_since(&self, asked_at_ms: u64) -> bool {
        self.reborn_at_ms.is_some_and(|at_ms| at_ms >= asked_at_ms)
    }

    /// Whether it acknowledged here that it has this of its region's own log, and has not said otherwise since.
    fn has_acknowledged(&self, wanted: Position) -> bool {
        let includes = |(position, _): (Position, u64)| {
            position.epoch == wanted.epoch && position.seq >= wanted.seq
        };
        !self.denies && !self.ran_backwards && self.acknowledged.is_some_and(includes)
    }
}

#[cfg(test)]
#[path = "doubt_tests.rs"]
mod tests;
