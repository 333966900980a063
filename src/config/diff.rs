//! What a reload changed, in words.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::plan::Plan;
use crate::ids::{Id, Table};

/// What changed, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanDiff(Vec<String>);

impl PlanDiff {
    /// What changed, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.0.clone()
    }

    fn section<T: PartialEq>(&mut self, name: &str, old: &T, new: &T) {
        if old != new {
            self.0.push(format!("{name} changed"));
        }
    }

    fn named(&mut self, kind: &str, old: &[(String, String)], new: &[(String, String)]) {
        let by_name = |entries: &[(String, String)]| entries.iter().cloned().collect();
        let (before, after): (HashMap<_, _>, HashMap<_, _>) = (by_name(old), by_name(new));
        for (name, content) in new {
            match before.get(name) {
                None => self.0.push(format!("{kind} {name} added")),
                Some(known) if known != content => self.0.push(format!("{kind} {name} changed")),
                Some(_) => {}
            }
        }
        for (name, _) in old {
            if !after.contains_key(name) {
                self.0.push(format!("{kind} {name} removed"));
            }
        }
    }
}

/// Compares two Plans. Whoever moves from one to the other reads this in the log.
pub fn diff(old: &Plan, new: &Plan) -> PlanDiff {
    let mut diff = PlanDiff::default();
    diff.section("node", &old.node, &new.node);
    diff.section("listen", &old.listen, &new.listen);
    diff.section("tls", &old.tls, &new.tls);
    diff.section("admin", &old.admin, &new.admin);
    diff.section("access_log", &old.access_log, &new.access_log);
    diff.section("dns", &old.rate_limit, &new.rate_limit);
    diff.section("geo", &named_networks(old), &named_networks(new));
    diff.section("latency", &old.latency, &new.latency);
    diff.section("keys", &old.keys, &new.keys);
    diff.named("region", &regions(old), &regions(new));
    diff.named("service", &services(old), &services(new));
    diff.named("zone", &zones(old), &zones(new));
    diff
}

/// Ids differ between Plans, so what is compared holds names instead.
fn regions(plan: &Plan) -> Vec<(String, String)> {
    entries(&plan.regions, |region| {
        let origins: Vec<String> = region
            .origins
            .iter()
            .map(|id| plan.origins.of(*id).url.to_string())
            .collect();
        let content = format!(
            "{:?} {:?} {:?} {:?} {origins:?} {:?} {}",
            region.location,
            region.jurisdiction,
            region.addresses,
            region.alias,
            region.proxy_protocol,
            region.weight
        );
        (region.name.to_string(), content)
    })
}

fn services(plan: &Plan) -> Vec<(String, String)> {
    let names = |id: &str, names: Vec<String>| {
        let spelt = names.into_iter().enumerate();
        spelt
            .map(|(index, name)| (format!("{id}({index})"), name))
            .collect::<Vec<_>>()
    };
    let regions = plan.regions.values().map(|region| region.name.to_string());
    let domains = plan.domains.values().map(|domain| format!("{domain:?}"));
    let spelt = [
        names("RegionId", regions.collect()),
        names("DomainId", domains.collect()),
    ]
    .concat();
    entries(&plan.services, |service| {
        (service.name.to_string(), with_names(service, &spelt))
    })
}

fn zones(plan: &Plan) -> Vec<(String, String)> {
    let service = |id| &plan.services.of(id).name;
    plan.zones
        .iter()
        .map(|zone| {
            let steered: Vec<String> = zone
                .steered
                .iter()
                .map(|(owner, id)| format!("{owner} {}", service(*id)))
                .collect();
            // A hash, since a zone may have millions of records.
            let mut hasher = DefaultHasher::new();
            for record in &zone.records {
                (&record.owner, record.ttl, &record.data).hash(&mut hasher);
            }
            let content = format!("{:x} {steered:?}", hasher.finish());
            (zone.origin.to_string(), content)
        })
        .collect()
}

fn named_networks(plan: &Plan) -> ([Option<std::path::PathBuf>; 2], Vec<(String, String)>) {
    let networks = plan.geo.networks.iter();
    let networks = networks.map(|(prefix, region)| {
        (
            prefix.to_string(),
            plan.regions.of(*region).name.to_string(),
        )
    });
    (
        [&plan.geo.database, &plan.geo.asns].map(|file| Some(file.as_ref()?.path.clone())),
        networks.collect(),
    )
}

fn entries<K: Id, V>(
    table: &Table<K, V>,
    entry: impl Fn(&V) -> (String, String),
) -> Vec<(String, String)> {
    table.values().map(entry).collect()
}

/// A value's debug form with ids spelt out.
fn with_names(value: &impl Debug, spelt: &[(String, String)]) -> String {
    let text = format!("{value:?}");
    spelt
        .iter()
        .fold(text, |text, (id, name)| text.replace(id, name))
}
