//! What the last read came to that carried the same, for the next one that asks the same.
//!
//! A read asks the same if what it carries is recognized (`recognized.rs`), it comes from the same address, and must see all of its token,
//! no more and no less. As long as the published facts are the same and what is known of positions has not changed, it is
//! decided alike; and what an origin was known to have, and what an answer was found to show, are so still.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};

use super::asked::Asked;
use super::carried::Carried;
use super::consistency::Store;
use super::context::Live;
use super::handle::Exchange;
use crate::config::plan::{Access, Affinity, AffinityBy, Residency, ResidencyBy, Service};
use crate::ids::OriginId;
use crate::positions::{Applied, Now, Vector, Visit};
use crate::steering::Decision;

/// What a read came to.
pub(super) struct Repeat {
    /// Under which published facts.
    live: Weak<Live>,
    client: IpAddr,
    /// How often what is known of positions had changed before it was looked at.
    changes: u64,
    pub(super) decision: Arc<Decision>,
    /// An origin that was known to have all that is asked for.
    had_all: OnceLock<OriginId>,
    /// What an answer had applied that was found to show it.
    shown: OnceLock<Arc<Vector>>,
}

impl Exchange<'_> {
    /// The turn of a request that carries tokens; what the last one came to that asked the same, if that stands; and
    /// how often what is known of positions had changed.
    pub(super) fn begin(
        &self,
        store: &Store<'_>,
        carried: &Carried,
        client: IpAddr,
        access: Access,
        now: Now,
    ) -> (Visit, Option<Arc<Repeat>>, u64) {
        // Before anything is asked of it.
        let changes = store.applied.changes();
        if carried.tokens.is_empty() {
            return (Visit::default(), None, changes);
        }
        let mut visit = store.visit(&carried.tokens, now);
        if access == Access::Write {
            return (visit, None, changes);
        }
        let repeat = carried
            .repeat()
            .filter(|repeat| visit.is_as_carried() && repeat.stands(self.live, client, changes));
        if repeat.is_none() {
            visit.sift(store.applied);
        }
        (visit, repeat, changes)
    }

    /// Notes a lasting decision for the next read that asks the same.
    pub(super) fn note_repeat(&self, asked: &mut Asked<'_>, decision: &Arc<Decision>) {
        let carried = asked.carried.as_ref();
        let Some(carried) = carried.filter(|_| is_all_told(asked.service)) else {
            return;
        };
        let repeat = Arc::new(Repeat {
            live: Arc::downgrade(self.live),
            client: asked.client,
            changes: asked.changes,
            decision: decision.clone(),
            had_all: OnceLock::new(),
            shown: OnceLock::new(),
        });
        carried.note(repeat.clone());
        asked.repeat = Some(repeat);
    }
}

impl Repeat {
    /// Whether nothing has changed for a read from this address.
    fn stands(&self, live: &Arc<Live>, client: IpAddr, changes: u64) -> bool {
        std::ptr::eq(self.live.as_ptr(), Arc::as_ptr(live))
            && self.client == client
            && self.changes == changes
    }

    /// Whether nothing has changed since it was decided.
    pub(super) fn stands_still(&self, applied: &Applied) -> bool {
        self.changes == applied.changes()
    }

    /// Whether this is the origin that was known to have all.
    pub(super) fn had_all(&self, origin: OriginId) -> bool {
        self.had_all.get() == Some(&origin)
    }

    /// Notes that an origin is known to have all. Whoever was first stays.
    pub(super) fn note_had_all(&self, origin: OriginId) {
        let _ = self.had_all.set(origin);
    }

    /// Whether this is what was found to show all: the very same, not an equal one.
    pub(super) fn is_shown_by(&self, seen: &Arc<Vector>) -> bool {
        let shown = self.shown.get();
        shown.is_some_and(|shown| Arc::ptr_eq(shown, seen))
    }

    /// Notes that this shows all. Whoever was first stays.
    pub(super) fn note_shown(&self, seen: &Arc<Vector>) {
        let _ = self.shown.set(seen.clone());
    }
}

/// Whether all that a read's decision goes by is its address and what of the edge's own it carries.
fn is_all_told(service: &Service) -> bool {
    let by_cookie = |affinity: &Affinity| affinity.by == AffinityBy::Cookie;
    let by_country = |residency: &Residency| matches!(residency.by, ResidencyBy::ClientCountry);
    service.affinity.as_ref().is_none_or(by_cookie)
        && service.residency.as_ref().is_none_or(by_country)
}
