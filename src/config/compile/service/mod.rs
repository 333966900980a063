//! Services: their hosts and regions; what else they say stands in files beside this one.

mod bounds;
mod consistency;
mod doubts;
mod health;
mod steering;
mod writes;

use std::collections::HashMap;
use std::sync::Arc;

use super::traffic::retries;
use super::{Compiling, check_name, duration};
use crate::config::kinds::parse_host;
use crate::config::plan::{HostPattern, Member, Service, SourceAt};
use crate::config::tree::{Entry, Node};
use crate::ids::{MOST_ENTRIES, RegionId, ServiceId, Table};
use bounds::{dns, limits, timeouts};
use consistency::{Domains, consistency};
use health::health;
use steering::{affinity, overrides, policy, residency, when_none_healthy};
use writes::writes;

/// Compiles every service.
pub(super) fn services(
    root: &Node,
    compiling: &mut Compiling<'_>,
) -> (Table<ServiceId, Service>, Domains) {
    let (mut services, mut domains) = (Table::default(), Domains::default());
    let entries = root.get("services").map_or(&[][..], Node::entries);
    if let Some(node) = root
        .get("services")
        .filter(|_| entries.is_empty() || entries.len() > MOST_ENTRIES)
    {
        compiling.problem(
            &node.at,
            format!("from 1 to {MOST_ENTRIES} services are expected"),
        );
    }
    let mut hosts: HashMap<HostPattern, (Arc<str>, SourceAt)> = HashMap::new();
    for entry in entries {
        if let Err(message) = check_name(&entry.key) {
            compiling.problem(&entry.at, message);
        }
        let service = service(entry, compiling, &mut domains, &mut hosts);
        doubts::warn(entry, &service, compiling);
        let _: ServiceId = services.push(service);
    }
    (services, domains)
}

fn service(
    entry: &Entry,
    compiling: &mut Compiling<'_>,
    domains: &mut Domains,
    claimed: &mut HashMap<HostPattern, (Arc<str>, SourceAt)>,
) -> Service {
    let node = &entry.node;
    let hosts = hosts(entry, compiling, claimed);
    let regions = members(entry, compiling);
    let ids: Vec<RegionId> = regions.iter().map(|member| member.region).collect();
    let steering = node.get("steering");
    Service {
        name: entry.key.clone(),
        policy: policy(steering),
        overrides: overrides(steering, &ids, compiling),
        when_none_healthy: when_none_healthy(steering),
        health: health(entry, &hosts, &ids, compiling),
        affinity: node.get("affinity").and_then(affinity),
        consistency: consistency(entry, compiling, domains),
        writes: writes(node.get("writes"), &ids, compiling),
        residency: residency(node.get("residency"), &ids, compiling),
        timeouts: timeouts(node.get("timeouts")),
        retries: retries(node.get("retries")),
        limits: limits(node.get("limits")),
        dns: dns(node.get("dns"), compiling),
        ramp: node.read("ramp", duration),
        min_regions: node
            .get("guards")
            .and_then(|guards| guards.read("min_regions", |text| text.parse().ok()))
            .unwrap_or(1),
        hosts,
        regions,
    }
}

fn hosts(
    entry: &Entry,
    compiling: &mut Compiling<'_>,
    claimed: &mut HashMap<HostPattern, (Arc<str>, SourceAt)>,
) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    let items = entry.node.get("hosts");
    for item in items.map_or(&[][..], Node::items) {
        let Some(host) = item.text().and_then(|text| parse_host(text).ok()) else {
            continue;
        };
        let pattern = match host.strip_prefix("*.") {
            Some(name) => HostPattern::Wildcard(name.into()),
            None => HostPattern::Exact(host.into()),
        };
        if let Some((service, at)) = claimed.get(&pattern) {
            let message = format!(
                "host `{pattern}` is claimed by service `{service}` already ({}:{})",
                at.file.display(),
                at.line
            );
            compiling.problem(&item.at, message);
            continue;
        }
        claimed.insert(pattern.clone(), (entry.key.clone(), item.at.clone()));
        hosts.push(pattern);
    }
    if let Some(node) = items.filter(|node| node.items().is_empty()) {
        compiling.problem(&node.at, format!("service `{}` has no hosts", entry.key));
    }
    hosts
}

fn members(entry: &Entry, compiling: &mut Compiling<'_>) -> Vec<Member> {
    let regions = match entry.node.get("regions") {
        Some(node) => compiling.region_list(node),
        None => compiling.regions.ids().collect(),
    };
    if let Some(node) = entry
        .node
        .get("regions")
        .filter(|node| node.items().is_empty())
    {
        compiling.problem(&node.at, format!("service `{}` has no regions", entry.key));
    }
    let mut members: Vec<Member> = regions
        .iter()
        .map(|id| Member {
            region: *id,
            weight: compiling.regions.of(*id).weight,
        })
        .collect();
    let weights = entry
        .node
        .get("steering")
        .and_then(|steering| steering.get("weights"));
    for weight in weights.map_or(&[][..], Node::entries) {
        let Some(region) = compiling.region(&weight.key, &weight.at) else {
            continue;
        };
        match members.iter_mut().find(|member| member.region == region) {
            Some(member) => {
                member.weight = weight
                    .node
                    .text()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(member.weight);
            }
            None => not_a_member(compiling, &weight.key, &weight.at),
        }
    }
    if !members.is_empty() && members.iter().all(|member| member.weight == 0) {
        compiling.warning(
            &entry.at,
            format!("every region of service `{}` has weight 0", entry.key),
        );
    }
    members
}

fn not_a_member(compiling: &mut Compiling<'_>, name: &str, at: &SourceAt) {
    compiling.problem(
        at,
        format!("region `{name}` is not one of the service's `regions`"),
    );
}

/// The regions that a list names, all of them the service's.
fn own_regions(node: &Node, ids: &[RegionId], compiling: &mut Compiling<'_>) -> Vec<RegionId> {
    let regions = compiling.named_regions(node);
    for (region, item) in &regions {
        if !ids.contains(region) {
            not_a_member(compiling, item.text().unwrap_or_default(), &item.at);
        }
    }
    regions.into_iter().map(|(region, _)| region).collect()
}
