//! What the Plan and the keys decide: names, RRsets and their signatures. It stays as it is when health changes.
//!
//! Signing is by far the longest part of it, so it is made by whoever has the time, beside those who publish: with a Plan,
//! before that is in force, and again when signatures are due.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::counters::Counters;
use super::names::{Names, Unindexed};
use super::offer::{Offer, OfferKey};
use super::signing::Signing;
use crate::config::plan::Plan;
use crate::dns::dnssec::{Haste, Memo, Signatures, Signs, is_of_the_future};
use crate::ids::{ServiceId, Table};

/// Offers of a Plan's services.
type Offers = Table<ServiceId, Arc<Offer>>;

/// What the Plan and the keys decide: it stays as it is when health changes.
#[derive(Debug)]
pub struct Lasting {
    plan: Arc<Plan>,
    pub(super) names: Names,
    pub(super) offers: Arc<Offers>,
    pub(super) counters: Arc<Counters>,
    signing: Signing,
    signatures: Signatures,
    /// Of what only queries can name.
    pub(super) memo: Memo,
    /// Of HTTPS records of several regions that are not signed with the Plan. Apart, so that nobody who asks for what
    /// is not there has them give way.
    pub(super) ahead: Memo,
    /// Whether there are none.
    pub(super) is_wholly_ranked: bool,
    /// When signatures or keys are due to change, in seconds since 1970.
    renew_at: u32,
}

impl Lasting {
    /// Compiles a Plan, on all processors. All of `previous`, which was in force last, is taken over if it is of the same
    /// Plan and keys and nothing is due, and otherwise the signatures that hold for long enough.
    pub fn of(plan: &Arc<Plan>, signing: &Signing, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let same = previous.filter(|previous| {
            let has_keys = previous.signing.has_keys_of(signing);
            previous.is_of(plan) && has_keys && !previous.is_due(signing.now())
        });
        same.map(Arc::clone).unwrap_or_else(|| {
            let previous = previous.map(|previous| &**previous);
            let (made, _) = Self::make(plan, signing.clone(), previous, Haste::AtOnce);
            Arc::new(made)
        })
    }

    /// The same with what is due at `now`, in seconds since 1970, signed anew: on one processor, with a call of `rest`
    /// now and then, which waits and tells whether to go on. `None` if not.
    pub fn renewed(&self, now: u32, rest: &(dyn Fn() -> bool + Sync)) -> Option<Arc<Self>> {
        let (signing, haste) = (self.signing.at(now), Haste::Beside(rest));
        let (made, is_whole) = Self::make(&self.plan, signing, Some(self), haste);
        is_whole.then(|| Arc::new(made))
    }

    /// The zones that have keys, and what these sign by now.
    pub fn signed(&self) -> BTreeMap<Name, Signs> {
        let zones = self.plan.zones.iter().enumerate();
        let signed =
            zones.filter_map(|(at, zone)| Some((zone.origin.clone(), self.signing.signs(at)?)));
        signed.collect()
    }

    /// Returns with it whether all is signed.
    fn make(
        plan: &Arc<Plan>,
        signing: Signing,
        previous: Option<&Self>,
        haste: Haste<'_>,
    ) -> (Self, bool) {
        let same_plan = previous.filter(|previous| previous.is_of(plan));
        let offers = same_plan.map_or_else(|| Arc::new(offers(plan)), |p| Arc::clone(&p.offers));
        let mut names = Unindexed::compile(plan, &signing);
        let signed = previous.map(|previous| &previous.signatures);
        let run = names.sign(&offers, signed, haste);
        let is_whole = !run.is_given_up();
        let (signatures, due_at) = run.finish();
        let renew_at = signing.next_change().map_or(due_at, |at| at.min(due_at));
        let names = Names::index(names);
        let is_wholly_ranked = names.unranked().next().is_none();
        let counted = previous.map(|previous| &*previous.counters);
        let made = Self {
            plan: Arc::clone(plan),
            counters: same_plan.map_or_else(
                || Arc::new(Counters::of(plan, &offers, counted)),
                |previous| Arc::clone(&previous.counters),
            ),
            memo: Memo::new(names.is_signed()),
            ahead: Memo::new(!is_wholly_ranked),
            is_wholly_ranked,
            names,
            offers,
            signing,
            signatures,
            renew_at,
        };
        (made, is_whole)
    }

    /// Whether it is what a Plan decides.
    pub fn is_of(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(&self.plan, plan)
    }

    /// Whether it is to be made anew although nothing was reported; `now` in seconds since 1970. Signatures must not
    /// expire nor be of a time to come, and keys come and go at their times.
    pub fn is_due(&self, now: u32) -> bool {
        let signing = &self.signing;
        self.renew_at <= now || signing.has_keys() && is_of_the_future(signing.now(), now)
    }

    /// Whether services offer the same in both, and are known by the same ids.
    pub(super) fn offers_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.offers, &other.offers)
    }
}

/// What each service's regions publish, once for all that publish the same.
pub(super) fn offers(plan: &Plan) -> Offers {
    let mut known: HashMap<OfferKey, Arc<Offer>> = HashMap::new();
    Table::like(&plan.services, |id| {
        let key = OfferKey::of(plan, id);
        let offer = known
            .entry(key)
            .or_insert_with_key(|key| Arc::new(Offer::compile(plan, key)));
        Arc::clone(offer)
    })
}
