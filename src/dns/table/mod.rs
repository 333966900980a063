//! The answer table: (name, type, place) → bytes.
//!
//! Names and RRsets are encoded and signed once per Plan, and steered answers decided once per
//! snapshot, for the services that changed, so that answering is finding and copying. Chooses no
//! region itself: `steer` does, and a property test holds the table to it.
//!
//! `counters` who was told what · `zone` and `names` what exists · `rrset` records on the wire · `offer` what regions publish ·
//! `ranked` those of several · `steered` whose answer where · `signing` RRSIGs and NSECs of all of it · `warm` for batches.

mod counters;
mod names;
mod offer;
mod ranked;
mod rrset;
mod signing;
mod steered;
#[cfg(test)]
mod tests;
mod warm;
mod zone;

use std::collections::HashMap;
use std::sync::Arc;

use counters::Counters;
use names::Unindexed;
pub(super) use names::{Delegation, Found, Names, Node, Redirection, ZoneFacts};
pub(super) use offer::{Alias, HttpsData};
use offer::{Offer, OfferKey};
pub(super) use ranked::Ranking;
pub use ranked::{TooManyRankings, too_many_rankings};
pub(super) use rrset::RrSet;
pub use signing::Signing;
pub(super) use signing::{ALIAS_TYPES, Denials, Proofs, SteeredSignatures};
use steered::Shared;
pub use steered::{Cause, Choice, Chosen, SteeredType, answers_by_name};
pub(super) use steered::{NotAble, SteeredService};
pub(super) use warm::{Ahead, GROUP, Located, Wanted};

use super::dnssec::{Memo, Signatures, is_of_the_future};
use crate::config::plan::Plan;
use crate::geo::PlaceId;
use crate::ids::{MemberName, ServiceId, Table};
use crate::steering::{Draw, Snapshot, Spread};

/// Everything that DNS answers under one snapshot.
#[derive(Debug)]
pub struct AnswerTable {
    snapshot: Arc<Snapshot>,
    lasting: Arc<Lasting>,
    services: Table<ServiceId, Arc<SteeredService>>,
}

/// A name for which a service answers.
pub(super) struct Steered<'t> {
    pub(super) node: &'t Node,
    pub(super) id: ServiceId,
    pub(super) service: &'t SteeredService,
}

/// What the Plan and the keys decide: it stays as it is when health changes.
#[derive(Debug)]
struct Lasting {
    names: Names,
    offers: Table<ServiceId, Arc<Offer>>,
    counters: Counters,
    signing: Signing,
    signatures: Signatures,
    /// Of what only queries can name.
    memo: Memo,
    /// Of HTTPS records of several regions that are not signed with the Plan. Apart, so that nobody who asks for what
    /// is not there has them give way.
    ahead: Memo,
    /// Whether there are none.
    is_wholly_ranked: bool,
    /// When signatures or keys are due to change, in seconds since 1970.
    renew_at: u32,
}

impl Lasting {
    fn compile(plan: &Plan, signing: Signing, previous: Option<&Self>) -> Self {
        let offers = offers(plan);
        let mut names = Unindexed::compile(plan, &signing);
        let run = names.sign(&offers, previous.map(|previous| &previous.signatures));
        let (signatures, due_at) = run.finish();
        let renew_at = signing.next_change().map_or(due_at, |at| at.min(due_at));
        let names = Names::index(names);
        let is_wholly_ranked = names.unranked().next().is_none();
        Self {
            counters: Counters::of(plan, &offers, previous.map(|previous| &previous.counters)),
            memo: Memo::new(names.is_signed()),
            ahead: Memo::new(!is_wholly_ranked),
            is_wholly_ranked,
            names,
            offers,
            signing,
            signatures,
            renew_at,
        }
    }
}

/// What each service's regions publish, once for all that publish the same.
fn offers(plan: &Plan) -> Table<ServiceId, Arc<Offer>> {
    let mut known: HashMap<OfferKey, Arc<Offer>> = HashMap::new();
    Table::like(&plan.services, |id| {
        let key = OfferKey::of(plan, id);
        let offer = known
            .entry(key)
            .or_insert_with_key(|key| Arc::new(Offer::compile(plan, key)));
        Arc::clone(offer)
    })
}

impl AnswerTable {
    /// Compiles a snapshot. What only the Plan decides is taken over from `previous` when both have
    /// the same Plan and no signature is due, and a service when nothing about it changed, so that a
    /// change of health costs the services that it concerns.
    pub fn compile(snapshot: Arc<Snapshot>, signing: &Signing, previous: Option<&Self>) -> Self {
        let same_plan = previous.filter(|p| Arc::ptr_eq(&p.snapshot.plan, &snapshot.plan));
        let lasting = same_plan
            .filter(|p| p.lasting.signing.has_keys_of(signing) && !p.is_due(signing.now()))
            .map_or_else(
                || {
                    let before = previous.map(|previous| &*previous.lasting);
                    Arc::new(Lasting::compile(&snapshot.plan, signing.clone(), before))
                },
                |previous| previous.lasting.clone(),
            );
        let unchanged = same_plan.filter(|previous| {
            Arc::ptr_eq(&previous.lasting, &lasting) && ranks_alike(&previous.snapshot, &snapshot)
        });
        let mut shared = Shared::default();
        let services = Table::like(&snapshot.plan.services, |id| {
            unchanged
                .filter(|previous| previous.snapshot.services.of(id) == snapshot.services.of(id))
                .map_or_else(
                    || {
                        let offer = lasting.offers.of(id).clone();
                        Arc::new(SteeredService::compile(&snapshot, id, offer, &mut shared))
                    },
                    |previous| previous.services.of(id).clone(),
                )
        });
        Self {
            snapshot,
            lasting,
            services,
        }
    }

    /// Whether the table is to be compiled anew although nothing was reported; `now` in seconds since 1970. Signatures
    /// must not expire nor be of a time to come, and keys come and go at their times.
    pub fn is_due(&self, now: u32) -> bool {
        let Lasting {
            signing, renew_at, ..
        } = &*self.lasting;
        *renew_at <= now || signing.has_keys() && is_of_the_future(signing.now(), now)
    }

    /// What a service answers a client of a place; `None` for a service of another Plan.
    pub fn choice(
        &self,
        snapshot: &Snapshot,
        service: ServiceId,
        client: (PlaceId, Spread),
        draw: Draw,
    ) -> Option<Choice> {
        let service = self.services.get(service)?;
        Some(service.choose(snapshot, client, draw).into_owned())
    }

    /// Signatures of what only queries can name.
    pub(super) fn memo(&self) -> &Memo {
        &self.lasting.memo
    }

    /// Signatures of HTTPS records of several regions that are not signed with the Plan.
    pub(super) fn signed_ahead(&self) -> &Memo {
        &self.lasting.ahead
    }

    pub(super) fn names(&self) -> &Names {
        &self.lasting.names
    }

    pub(super) fn service(&self, id: ServiceId) -> Option<&SteeredService> {
        self.services.get(id).map(|service| &**service)
    }

    /// What services answer where HTTPS records of several regions are not signed with the Plan.
    pub(super) fn unranked(&self) -> impl Iterator<Item = Steered<'_>> {
        let names = (!self.lasting.is_wholly_ranked).then(|| self.names());
        let nodes = names.into_iter().flat_map(Names::unranked);
        nodes.filter_map(|(node, id)| {
            let service = self.service(id)?;
            Some(Steered { node, id, service })
        })
    }

    /// Whether a service answers what it answers in `other`, with the same signatures.
    pub(super) fn answers_as(&self, other: &Self, id: ServiceId) -> bool {
        let both = self.services.get(id).zip(other.services.get(id));
        Arc::ptr_eq(&self.lasting, &other.lasting) && both.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Counts steered answers.
    pub(super) fn count(&self, service: ServiceId, chosen: Chosen, number: u64) {
        self.lasting.counters.count(service, chosen, number);
    }

    /// Steered answers since the process began, by the names of service and region.
    pub fn totals(&self) -> impl Iterator<Item = (MemberName, u64)> {
        self.lasting.counters.totals()
    }
}

/// Whether both say the same of what is beside services' own states and decides rankings.
fn ranks_alike(a: &Snapshot, b: &Snapshot) -> bool {
    Arc::ptr_eq(&a.clients, &b.clients)
        && a.edge.by_round_trip == b.edge.by_round_trip
        && a.edge.by_distance == b.edge.by_distance
}
