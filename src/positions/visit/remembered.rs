//! What this edge remembers of a session meets what its client brings, which another edge may have issued.

use super::{Now, Visit};
use crate::positions::applied::Applied;
use crate::positions::session::Sessions;
use crate::positions::token::{Pin, Token};
use crate::positions::vector::Vector;

impl Visit {
    /// Takes in what this edge remembers. Here a newer pin always comes later than an older one, so of two of one age
    /// the one that is carried was set elsewhere, after an answer of here was lost.
    pub(super) fn take_issued(&mut self, issued: &Token, applied: &Applied) {
        let own = self.token();
        if own.covers(issued) {
            return;
        }
        let carried = own.pin.clone();
        let is_left = applied.leaves_behind(&issued.vector, &own.vector);
        let mut superseded = issued.vector.clone();
        superseded.retain(|writer, position| {
            let own = own.vector.get(writer);
            own.is_some_and(|own| own.epoch > position.epoch)
        });
        let own = self.token_mut();
        own.merge(issued);
        own.lost |= is_left;
        if let Some(brought) = self.brought.as_mut().filter(|_| !superseded.is_empty()) {
            brought.superseded.push(superseded);
        }
        let age = |pin: &Option<Pin>| pin.as_ref().map(Pin::age);
        let merged = &self.token().pin;
        if *merged != carried && age(&carried) == age(merged) {
            self.token_mut().pin = carried;
        }
    }

    /// What is remembered and past the fork of an epoch that its client has written in is lost.
    fn note_superseded(&mut self, applied: &Applied) {
        let (newer, left) = self.take_superseded(applied);
        for mut lost in left {
            // Until its region speaks of the epoch, it is remembered on.
            lost.retain(|writer, _| {
                let epoch = newer.get(writer).map(|newer| newer.epoch);
                epoch.is_some_and(|epoch| applied.has_heard_of(writer, epoch))
            });
            self.note_lost(&lost);
        }
    }

    /// What its client has seen, whether all have that by now or not; and what of earlier epochs those do not go on from.
    pub(super) fn take_superseded(&mut self, applied: &Applied) -> (Vector, Vec<Vector>) {
        let brought = self.brought.as_mut();
        let Some(brought) = brought.filter(|brought| !brought.superseded.is_empty()) else {
            return (Vector::default(), Vec::new());
        };
        let mut superseded = std::mem::take(&mut brought.superseded);
        let mut newer = brought.carried.vector.clone();
        newer.merge(&self.token().vector);
        for older in &mut superseded {
            *older = applied.past_the_forks_of(&newer, older);
        }
        (newer, superseded)
    }

    /// What may turn out to be lost.
    #[cfg(test)]
    pub(crate) fn superseded(&self) -> &[Vector] {
        let brought = self.brought.as_ref();
        brought.map_or(&[], |brought| &brought.superseded)
    }

    /// What was issued to each of its sessions since the request came.
    pub(super) fn take_what_was_issued_meanwhile(
        &mut self,
        sessions: &Sessions,
        applied: &Applied,
        now: Now,
    ) {
        self.note_superseded(applied);
        for session in self.sessions() {
            self.take_issued_meanwhile(session, (sessions, applied), now);
        }
        self.note_superseded(applied);
    }

    fn take_issued_meanwhile(
        &mut self,
        session: u64,
        (sessions, applied): (&Sessions, &Applied),
        now: Now,
    ) {
        let recalled = sessions.recall(session, now.steady_ms);
        if let (Some(brought), Some(told)) = (&mut self.brought, &recalled.told)
            && let Some(lost) = brought.lost.take()
        {
            let untold = without(&lost, told);
            if untold.len() < lost.len() {
                sessions.keep(session, now.steady_ms);
            }
            brought.lost = (!untold.is_empty()).then(|| Box::new(untold));
        }
        if let Some(issued) = recalled.issued {
            self.take_issued(&issued, applied);
            self.drop_spent_pin(now);
            self.sift(applied);
        }
    }
}

/// The entries that are not among those told.
fn without(lost: &Vector, told: &Vector) -> Vector {
    let mut untold = lost.clone();
    untold.retain(|region, lost| {
        let told = told.get(region);
        !told.is_some_and(|told| told.epoch == lost.epoch && told.seq >= lost.seq)
    });
    untold
}
