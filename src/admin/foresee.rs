//! What a drain would do, without doing it: whose traffic would move, where to, and what would be refused.
//!
//! Decides nothing: the same snapshot is asked twice, as it is and as it would be once the drain is over and
//! done with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::estimated::{Estimated, Parts};
use super::minute::{ByRegion, Served};
use super::moves::{counted, moves, percent};
use crate::config::plan::Access;
use crate::ids::{MemberName, RegionId, ServiceId};
use crate::proxy::{ByAccess, Sampled};
use crate::steering::{Admin, Ask, Require, Snapshot, Vantage, chances};

/// The traffic of the last minute.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// How long that is.
    pub(super) span_ms: u64,
    pub(super) served: ByRegion,
    /// Requests that the region answered for each service, and how many each stands for.
    pub(super) sampled: BTreeMap<MemberName, ByAccess<Vec<(Sampled, f64)>>>,
}

/// When it is looked ahead, and what is compared.
#[derive(Clone, Copy)]
pub(super) struct Outlook<'a> {
    pub(super) before: &'a Snapshot,
    pub(super) after: &'a Snapshot,
    /// The edge's steady clock.
    pub(super) now_ms: u64,
}

impl Outlook<'_> {
    /// What carries no token asks for.
    pub(super) fn require(&self) -> Require<'static> {
        Require {
            now_ms: self.now_ms,
            ..Require::default()
        }
    }
}

/// The answer to a dry run of a drain.
pub(super) fn foresee(
    (snapshot, now_ms): (&Snapshot, u64),
    region: RegionId,
    services: &[ServiceId],
    lately: &Lately,
) -> Value {
    let after = without(snapshot, region, services);
    let outlook = Outlook {
        before: snapshot,
        after: &after,
        now_ms,
    };
    let told: Vec<Value> = services
        .iter()
        .map(|service| of_service(outlook, region, *service, lately))
        .collect();
    let is_refused = told
        .iter()
        .any(|service| service.get("refused") == Some(&Value::Bool(true)));
    json!({
        "dry_run": true,
        "region": &*snapshot.plan.regions.of(region).name,
        "refused": is_refused,
        "measured_over_ms": lately.span_ms,
        "services": told,
    })
}

/// The snapshot once the region takes nobody for these services.
fn without(snapshot: &Snapshot, region: RegionId, services: &[ServiceId]) -> Snapshot {
    let mut after = Snapshot {
        generation: snapshot.generation,
        plan: snapshot.plan.clone(),
        clients: snapshot.clients.clone(),
        services: snapshot.services.clone(),
        edge: snapshot.edge.clone(),
        positions: snapshot.positions.clone(),
    };
    for id in services {
        let state = Arc::make_mut(after.services.of_mut(*id));
        let members = state.members.iter_mut();
        for member in members.filter(|member| member.region == region) {
            member.admin = Admin::Drained;
        }
    }
    after
}

fn of_service(outlook: Outlook<'_>, region: RegionId, id: ServiceId, lately: &Lately) -> Value {
    let before = outlook.before;
    let plan = &before.plan;
    let service = plan.services.of(id);
    let name = |region: RegionId| plan.regions.of(region).name.to_string();
    let names = |regions: &[RegionId]| -> Value { regions.iter().copied().map(name).collect() };
    let state = before.services.of(id);
    let left = state.left_without(region, |region| {
        before.is_read_from(id, region, outlook.now_ms)
    });
    let key = (service.name.clone(), plan.regions.of(region).name.clone());
    let served = lately.served.get(&key).copied().unwrap_or_default();
    let all = lately.served.iter().filter(|((of, _), _)| *of == key.0);
    let all = all.fold(Served::default(), |sum, (_, served)| Served {
        http_requests: sum.http_requests + served.http_requests,
        http_writes: sum.http_writes + served.http_writes,
        dns_answers: sum.dns_answers + served.dns_answers,
    });
    let dns = moves(outlook, region, id, (Vantage::Client, Access::Read));
    let answers = Estimated::default().and(served.dns_answers, &dns.of_traffic(region));
    let sampled = lately.sampled.get(&key);
    let going = |access: Access| {
        let sampled = sampled.map_or(&[][..], |sampled| sampled.of(access));
        match sampled {
            [] => moves(outlook, region, id, (Vantage::Edge, access)).of_traffic(region),
            sampled => of_sample(outlook, id, access, sampled),
        }
    };
    let reads = served.http_requests.saturating_sub(served.http_writes);
    let requests = [(reads, Access::Read), (served.http_writes, Access::Write)].into_iter();
    let requests = requests.filter(|(number, _)| *number > 0);
    let requests = requests.fold(Estimated::default(), |sum, (number, access)| {
        sum.and(number, &going(access))
    });
    json!({
        "service": &*service.name,
        "refused": left.is_too_few(service.min_regions),
        "min_regions": service.min_regions,
        "left": names(&left.regions),
        "unread": names(&left.unread),
        "clients": {
            "of": counted(before, id).1,
            "ipv4_percent": percent(dns.moved[0]),
            "ipv6_percent": percent(dns.moved[1]),
            "to": dns.told(&name, percent),
            "stays": { "ipv4_percent": percent(dns.stays[0]), "ipv6_percent": percent(dns.stays[1]) },
        },
        "dns": answers.told(region, &name, ("answers", all.dns_answers)),
        "http": requests.told(region, &name, ("requests", all.http_requests)),
    })
}

/// Where requests like these would go. Their sessions and tokens led them to the region that is drained, if anything did, and
/// lead there no more.
fn of_sample(
    outlook: Outlook<'_>,
    id: ServiceId,
    access: Access,
    sampled: &[(Sampled, f64)],
) -> Parts {
    let mut parts = Parts::new();
    for (request, stands_for) in sampled {
        let (place, _) = outlook.after.clients.locate(id, request.client);
        let ask = Ask {
            spread: request.spread,
            residency: request.residency.as_deref(),
            write_key: request.write_key.as_deref(),
            require: outlook.require(),
            ..Ask::http(id, place, access)
        };
        let chances = chances(outlook.after, &ask);
        let nowhere = chances.is_empty().then_some((None, 1.0));
        let somewhere = chances.into_iter().map(|(to, chance)| (Some(to), chance));
        for (to, chance) in somewhere.chain(nowhere) {
            *parts.entry(to).or_default() += chance * stands_for;
        }
    }
    parts
}

#[cfg(test)]
#[path = "foresee_tests.rs"]
mod tests;
