//! How many steered answers named which region: by the rule that decided as metrics, and in all for whoever reads totals.
//!
//! A handle for each service, region and cause: bounded by the Plan, formatted never. What was counted in all is kept
//! by name from one Plan to the next.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::Counter;

use super::choice::{Cause, Chosen};
use super::offer::Offer;
use crate::config::plan::Plan;
use crate::ids::{MemberName, ServiceId, Table};
use crate::per_core::Count;

/// The counters of a Plan's services.
#[derive(Debug)]
pub(super) struct Counters(Table<ServiceId, OfService>);

#[derive(Debug)]
struct OfService {
    name: Arc<str>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    region: Arc<str>,
    by_cause: [Counter; Cause::ALL.len()],
    all: Arc<Count>,
}

impl Counters {
    /// Those of a Plan; `previous` goes on where it has the same names.
    pub(super) fn of(
        plan: &Plan,
        offers: &Table<ServiceId, Arc<Offer>>,
        previous: Option<&Self>,
    ) -> Self {
        let known: HashMap<MemberName, Arc<Count>> = previous
            .into_iter()
            .flat_map(Self::members)
            .map(|(service, member)| {
                let name = (service.clone(), member.region.clone());
                (name, member.all.clone())
            })
            .collect();
        Self(Table::like(&plan.services, |id| {
            let service = &plan.services.of(id).name;
            let regions = offers.of(id).regions();
            let members = regions.map(|region| {
                let region = plan.regions.of(region).name.clone();
                let all = known.get(&(service.clone(), region.clone()));
                Member::new(service, region, all.cloned().unwrap_or_default())
            });
            OfService {
                name: service.clone(),
                members: members.collect(),
            }
        }))
    }

    /// Counts answers.
    pub(super) fn count(&self, service: ServiceId, chosen: Chosen, number: u64) {
        let service = self.0.get(service);
        let Some(member) = service.and_then(|service| service.members.get(chosen.member())) else {
            return;
        };
        member.all.add(number);
        let mut by_cause = Cause::ALL.iter().zip(&member.by_cause);
        if let Some((_, counter)) = by_cause.find(|(cause, _)| **cause == chosen.cause) {
            counter.increment(number);
        }
    }

    /// Answers since the process began, by the names of service and region.
    pub(super) fn totals(&self) -> impl Iterator<Item = (MemberName, u64)> {
        self.members().map(|(service, member)| {
            let name = (service.clone(), member.region.clone());
            (name, member.all.total())
        })
    }

    fn members(&self) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        self.0.values().flat_map(|service| {
            let members = service.members.iter();
            members.map(move |member| (&service.name, member))
        })
    }
}

impl Member {
    fn new(service: &str, region: Arc<str>, all: Arc<Count>) -> Self {
        let by_cause = Cause::ALL.map(|cause| {
            metrics::counter!(
                "meridian_dns_steered_answers_total",
                "service" => service.to_owned(),
                "region" => region.to_string(),
                "reason" => cause.as_str(),
            )
        });
        Self {
            region,
            by_cause,
            all,
        }
    }
}
