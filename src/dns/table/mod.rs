//! The answer table: (name, type, place) → bytes.
//!
//! Names and RRsets are encoded and signed once per Plan, and steered answers decided once per
//! snapshot, for the services that changed, so that answering is finding and copying. Chooses no
//! region itself: `steer` does, and a property test holds the table to it.
//!
//! `counters` who was told what · `zone` and `names` what exists · `rrset` records on the wire · `offer` what regions publish ·
//! `ranked` those of several · `choice` whose answer a place gets · `steered` what services answer where · `lasting` what the Plan decides ·
//! `signing` RRSIGs and NSECs of all of it · `warm` for batches.

mod choice;
mod counters;
mod lasting;
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

use std::sync::Arc;

pub(super) use choice::NotAble;
pub use choice::{Cause, Choice, Chosen, SteeredType};
pub use lasting::Lasting;
pub(super) use names::{Delegation, Found, Names, Node, Redirection, ZoneFacts};
pub(super) use offer::{Alias, HttpsData};
pub(super) use ranked::Ranking;
pub use ranked::{TooManyRankings, too_many_rankings};
pub(super) use rrset::RrSet;
pub use signing::Signing;
pub(super) use signing::{ALIAS_TYPES, Denials, Proofs, SteeredSignatures};
use steered::Shared;
pub(super) use steered::SteeredService;
pub use steered::answers_by_name;
pub(super) use warm::{Ahead, GROUP, Located, Wanted};

use super::dnssec::Memo;
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

impl AnswerTable {
    /// Compiles a snapshot on what its Plan decides. A service that has not changed since `previous` is taken over from
    /// there, so that a change of health costs the services that it concerns. Signs nothing.
    pub fn compile(
        snapshot: Arc<Snapshot>,
        lasting: Arc<Lasting>,
        previous: Option<&Self>,
    ) -> Self {
        let unchanged = previous.filter(|previous| {
            previous.lasting.offers_as(&lasting) && ranks_alike(&previous.snapshot, &snapshot)
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

    /// What the Plan and the keys decide of it.
    pub fn lasting(&self) -> &Arc<Lasting> {
        &self.lasting
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
