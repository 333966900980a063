//! What an edge remembers of reads, as `proxy/repeat.rs` does: checked to be what it would find anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::positions::{Applied, RegionName, Token, Vector, Visit};
use crate::steering::Decision;

/// When something was found: how often the members' states and what is known of positions had changed.
pub(super) type Moment = (u64, u64);

/// What was found for a token.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    decision: Decision,
    /// Of every origin, whether it has all that the token asks for, and whether what it said shows all.
    origins: Vec<(bool, bool)>,
}

/// What was found for tokens, and when.
#[derive(Default)]
pub(super) struct Repeats(RefCell<HashMap<String, (Moment, Found)>>);

impl Repeats {
    fn stands(&self, token: &Token, moment: Moment) -> Option<Found> {
        let known = self.0.borrow();
        let (of, found) = known.get(&format!("{token:?}"))?;
        (*of == moment).then(|| found.clone())
    }

    /// A read of a token for which something stands needs no sifting.
    pub(super) fn check_unsifted(&self, visit: &Visit, applied: &Applied, moment: Moment) {
        if visit.is_as_carried() && self.stands(visit.token(), moment).is_some() {
            let sifted = applied.sift_out(&visit.token().vector);
            assert_eq!(sifted, None, "of a token that needs no sifting");
        }
    }

    /// What stands is what is found now; whether anything stands.
    pub(super) fn check(
        &self,
        visit: &Visit,
        applied: &Applied,
        moment: Moment,
        (decision, lasts): (&Decision, bool),
    ) -> bool {
        if !visit.is_as_carried() {
            return false;
        }
        let found = Found {
            decision: decision.clone(),
            origins: origins(applied, &visit.token().vector),
        };
        if let Some(before) = self.stands(visit.token(), moment) {
            assert_eq!(before, found, "remembered, and found anew");
            return true;
        }
        if lasts {
            let token = format!("{:?}", visit.token());
            self.0.borrow_mut().insert(token, (moment, found));
        }
        false
    }
}

fn origins(applied: &Applied, required: &Vector) -> Vec<(bool, bool)> {
    let of = |(region, origin, seen): &(RegionName, Arc<str>, Vector)| {
        let has_all = applied.origin_has(region, origin, required);
        (has_all, applied.shows(seen, required))
    };
    applied.all().iter().map(of).collect()
}
