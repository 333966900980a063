//! What was decided lately for reads that carry nothing: whoever asks the same service from the same place gets the same.
//!
//! As long as the facts are the same, such a decision stands ([`Decision::is_of_place`]).

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use foldhash::fast::FixedState;

use crate::geo::PlaceId;
use crate::ids::ServiceId;
use crate::steering::{Decision, Snapshot};

/// How many decisions a worker remembers.
const MOST_DECISIONS: usize = 64;

/// A decision, and for whom it was taken.
struct Decided {
    /// Under which facts.
    snapshot: Weak<Snapshot>,
    service: ServiceId,
    place: PlaceId,
    decision: Arc<Decision>,
}

thread_local! {
    /// Of the services and places that lead to one, the last ones.
    static LATELY: RefCell<[Option<Decided>; MOST_DECISIONS]> =
        const { RefCell::new([const { None }; MOST_DECISIONS]) };
}

/// Where a decision is remembered.
fn slot(service: ServiceId, place: PlaceId) -> usize {
    let hash = FixedState::default().hash_one((service, place));
    usize::try_from(hash).unwrap_or_default() % MOST_DECISIONS
}

/// What was decided for this service and place under these facts, if it is remembered.
pub(super) fn decided(
    snapshot: &Arc<Snapshot>,
    service: ServiceId,
    place: PlaceId,
) -> Option<Arc<Decision>> {
    LATELY.with_borrow(|lately| {
        let decided = lately.get(slot(service, place))?.as_ref()?;
        let is_it = std::ptr::eq(decided.snapshot.as_ptr(), Arc::as_ptr(snapshot))
            && decided.service == service
            && decided.place == place;
        is_it.then(|| decided.decision.clone())
    })
}

/// Remembers a decision that stands for everybody of its place.
pub(super) fn remember(
    snapshot: &Arc<Snapshot>,
    service: ServiceId,
    place: PlaceId,
    decision: &Arc<Decision>,
) {
    let decided = Decided {
        snapshot: Arc::downgrade(snapshot),
        service,
        place,
        decision: decision.clone(),
    };
    LATELY.with_borrow_mut(|lately| {
        if let Some(slot) = lately.get_mut(slot(service, place)) {
            *slot = Some(decided);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::control::World;
    use crate::geo::{ClientMap, Database};
    use crate::ids::Id;
    use crate::steering::{Ask, Draw, steer};

    fn snapshot() -> Arc<Snapshot> {
        let yaml = "
regions: { us: { addresses: [192.0.2.1] }, eu: { addresses: [192.0.2.2] } }
services: { www: { hosts: [www.example.com] }, api: { hosts: [api.example.com] } }";
        let Ok(loaded) = load_text("meridian.yaml", yaml, &|_| None) else {
            panic!("the configuration is none");
        };
        let plan = Arc::new(loaded.plan);
        let clients = Arc::new(ClientMap::compile(&plan, &Database::built_in()));
        Arc::new(World::new(plan, clients).snapshot(0).0)
    }

    #[test]
    fn a_decision_is_of_its_facts_its_service_and_its_place() {
        let (facts, others) = (snapshot(), snapshot());
        let (www, place) = (ServiceId::at(0), PlaceId::NOWHERE);
        let ask = Ask::http(www, place, crate::config::plan::Access::Read);
        let decision = Arc::new(steer(&facts, &ask, Draw(0)));
        remember(&facts, www, place, &decision);
        let known = decided(&facts, www, place);
        assert!(known.is_some_and(|known| Arc::ptr_eq(&known, &decision)));
        assert!(decided(&others, www, place).is_none());
        for number in 1..4 * MOST_DECISIONS {
            let others = ServiceId::at(number);
            assert!(decided(&facts, others, place).is_none(), "{number}");
        }
    }
}
