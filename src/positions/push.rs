//! What regions say unasked. Nobody knows how long that was under way, unless its pusher numbers what it sends.

use std::sync::Arc;

use super::applied::{Applied, Seen, State};
use super::report::{DOUBTED_FOR_MS, Report, Reported, Trust, is_denial, is_less};
use super::sequence::{Place, Sequence};
use super::vector::{RegionName, Vector};

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was taken in.
    Taken(Reported),
    /// It was sent before another one that came before it.
    Late,
    /// It may be of before the origin ran backwards, or began an epoch.
    Doubtful,
}

impl Applied {
    /// Takes in what a region says unasked. Nobody knows how long that was under way: for a while after
    /// an answer showed that the origin ran backwards, it does not raise what is known. Nor does it count as said after
    /// anything else, which a loss needs, but for the pushes of smaller sequences.
    pub fn push(&self, report: Report<'_>, sequence: Option<Sequence>) -> Pushed {
        let mut state = self.change();
        let known = state.seen_mut(report.region, report.origin);
        let mut unknown = Seen::default();
        match known.unwrap_or(&mut unknown).admit(report, sequence) {
            Err(ignored) => ignored,
            Ok(trust) => {
                let reported = self.hear(&mut state, report, trust);
                state.note_turn(report, sequence);
                Pushed::Taken(reported)
            }
        }
    }

    /// The last numbered push of each origin that has one, unless that is so long ago that it does not count any more.
    pub fn sequences(&self, now_ms: u64) -> Vec<(RegionName, Arc<str>, Sequence)> {
        let state = self.state();
        let all = state.regions.iter().flat_map(|(region, origins)| {
            let numbered = origins.iter().filter_map(|(origin, seen)| {
                Some((region.clone(), origin.clone(), seen.turns.last(now_ms)?))
            });
            numbered.collect::<Vec<_>>()
        });
        all.collect()
    }

    /// Restores the last numbered push of an origin that is known; as if it had come when this process began.
    pub fn remember_sequence(&self, region: &str, origin: &str, sequence: Sequence) {
        if let Some(seen) = self.change().seen_mut(region, origin) {
            seen.turns.note(sequence, 0);
        }
    }
}

impl State {
    /// Notes the number of a push that was taken in: its origin may have been unknown before.
    fn note_turn(&mut self, report: Report<'_>, sequence: Option<Sequence>) {
        let seen = self.seen_mut(report.region, report.origin);
        if let (Some(seen), Some(sequence)) = (seen, sequence) {
            seen.turns.note(sequence, report.now_ms);
        }
    }
}

impl Seen {
    /// How far a push is to be trusted, or why not at all.
    fn admit(&mut self, report: Report<'_>, sequence: Option<Sequence>) -> Result<Trust, Pushed> {
        let Report {
            applied, now_ms, ..
        } = report;
        let place = self.turns.place(sequence, now_ms);
        if let (Place::Next, Some(sequence)) = (place, sequence) {
            self.turns.note(sequence, now_ms);
        }
        let is_doubtful = self.doubts(applied, place, now_ms);
        match place {
            Place::Overtaken => Err(Pushed::Late),
            Place::Displaced => {
                self.heed_what_is_not_taken(report);
                Err(Pushed::Late)
            }
            Place::Next if is_doubtful => {
                self.heed_what_is_not_taken(report);
                Err(Pushed::Doubtful)
            }
            Place::Next => Ok(Trust::InTurn),
            Place::Unnumbered if is_doubtful => Err(Pushed::Doubtful),
            Place::Unnumbered => Ok(Trust::Unasked),
        }
    }

    /// What a push lacks that is not taken in may be lost all the same: until an answer tells, or for as long as a push may
    /// be under way, an answer that says nothing does not show it.
    fn heed_what_is_not_taken(&mut self, report: Report<'_>) {
        let (own, pushed) = (report.applied.get(report.region), report.applied);
        if let (Some(own), Some((position, _))) = (own, self.acknowledged) {
            self.denies |= is_denial(own, position);
        }
        if is_less(pushed, &self.applied) {
            let least = self.pushed_back.take();
            let least = least.map_or_else(|| Vector::clone(&self.applied), |(least, _)| least);
            self.pushed_back = Some((least.least(pushed), report.now_ms));
        }
    }

    /// Whether a push may be of before the origin ran backwards. One that comes next after the push that says what is known
    /// may tell of an older epoch: it was sent later.
    fn doubts(&self, pushed: &Vector, place: Place, now_ms: u64) -> bool {
        let is_recent = |at_ms| now_ms < at_ms + DOUBTED_FOR_MS;
        let follows = place == Place::Next && self.turns.is_last_word;
        self.lowered_at_ms.is_some_and(is_recent) && is_less(&self.applied, pushed)
            || !follows && self.is_in_a_later_epoch(pushed)
    }

    /// Whether a push speaks of an epoch that the origin has left: of its last one, it may claim what is lost.
    fn is_in_a_later_epoch(&self, pushed: &Vector) -> bool {
        let mut known = self.applied.iter();
        known.any(|(writer, known)| {
            let pushed = pushed.get(writer);
            pushed.is_some_and(|pushed| pushed.epoch < known.epoch)
        })
    }
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
