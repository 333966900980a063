//! The answer table: (name, type, place) → bytes.
//!
//! Names and RRsets are encoded once per Plan, and steered answers decided once per snapshot, so
//! that answering is finding and copying. Chooses no region itself: `steer` does, and a property
//! test holds the table to it.

mod names;
mod rrset;
mod steered;
#[cfg(test)]
mod tests;
mod zone;

use std::sync::Arc;

use metrics::Counter;

pub(super) use names::{Delegation, Found, Names, Node, Redirection, ZoneFacts};
pub(super) use steered::SteeredService;
pub use steered::{Cause, Choice, Chosen, SteeredType};

use crate::config::plan::Plan;
use crate::geo::PlaceId;
use crate::ids::{ServiceId, Table};
use crate::steering::{Draw, Snapshot};

/// Everything that DNS answers under one snapshot.
#[derive(Debug)]
pub struct AnswerTable {
    plan: Arc<Plan>,
    names: Arc<Names>,
    services: Table<ServiceId, SteeredService>,
    counters: Table<ServiceId, Vec<[Counter; Cause::ALL.len()]>>,
}

impl AnswerTable {
    /// Compiles a snapshot. What only the Plan decides is taken over from `previous` when both have
    /// the same Plan, so that a change of health costs the steered names alone.
    pub fn compile(snapshot: &Snapshot, previous: Option<&Self>) -> Self {
        let previous = previous.filter(|previous| Arc::ptr_eq(&previous.plan, &snapshot.plan));
        let services = Table::like(&snapshot.plan.services, |id| {
            SteeredService::compile(snapshot, id)
        });
        Self {
            plan: Arc::clone(&snapshot.plan),
            names: previous.map_or_else(
                || Arc::new(Names::compile(&snapshot.plan)),
                |previous| Arc::clone(&previous.names),
            ),
            counters: previous.map_or_else(
                || counters(&snapshot.plan, &services),
                |previous| previous.counters.clone(),
            ),
            services,
        }
    }

    /// What a service answers at a place; `None` for a service of another Plan.
    pub fn choice(
        &self,
        snapshot: &Snapshot,
        service: ServiceId,
        place: PlaceId,
        draw: Draw,
    ) -> Option<Choice> {
        Some(self.services.get(service)?.choose(snapshot, place, draw))
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn service(&self, id: ServiceId) -> Option<&SteeredService> {
        self.services.get(id)
    }

    /// Counts a steered answer.
    pub(super) fn count(&self, service: ServiceId, chosen: Chosen) {
        let causes = self
            .counters
            .get(service)
            .and_then(|members| members.get(chosen.member));
        let counter = causes.and_then(|causes| {
            Cause::ALL
                .iter()
                .zip(causes)
                .find(|(cause, _)| **cause == chosen.cause)
        });
        if let Some((_, counter)) = counter {
            counter.increment(1);
        }
    }
}

/// A handle for each service, region and cause: bounded by the Plan, formatted never.
fn counters(
    plan: &Plan,
    services: &Table<ServiceId, SteeredService>,
) -> Table<ServiceId, Vec<[Counter; Cause::ALL.len()]>> {
    Table::like(&plan.services, |id| {
        let service = plan.services.of(id).name.to_string();
        let regions = services.of(id).regions();
        regions
            .map(|region| {
                let region = plan.regions.of(region).name.to_string();
                Cause::ALL.map(|cause| {
                    metrics::counter!(
                        "meridian_dns_steered_answers_total",
                        "service" => service.clone(),
                        "region" => region.clone(),
                        "reason" => cause.as_str(),
                    )
                })
            })
            .collect()
    })
}
