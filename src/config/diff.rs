//! What a reload changed, in words.

mod keys;
mod region_keys;
mod service_keys;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use self::keys::{Key, changed};
use super::plan::Plan;

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

    fn named(&mut self, kind: &str, old: &[Entry], new: &[Entry]) {
        let by_name = |entries: &'_ [Entry]| -> HashMap<String, Entry> {
            let entries = entries.iter().cloned();
            entries.map(|entry| (entry.name.clone(), entry)).collect()
        };
        let (before, after) = (by_name(old), by_name(new));
        for entry in new {
            let name = &entry.name;
            match before.get(name) {
                None => self.0.push(format!("{kind} {name} added")),
                Some(known) if known.content != entry.content => {
                    let keys = changed(&known.keys, &entry.keys);
                    self.0.push(format!("{kind} {name} changed{keys}"));
                }
                Some(_) => {}
            }
        }
        for Entry { name, .. } in old {
            if !after.contains_key(name) {
                self.0.push(format!("{kind} {name} removed"));
            }
        }
    }
}

/// What has a name: it changed if its content did, and its keys tell where.
#[derive(Clone)]
struct Entry {
    name: String,
    content: String,
    keys: Vec<Key>,
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

fn regions(plan: &Plan) -> Vec<Entry> {
    let regions = plan.regions.values();
    let entries = regions.map(|region| {
        let keys = region_keys::keys(plan, region);
        Entry {
            name: region.name.to_string(),
            content: format!("{keys:?}"),
            keys,
        }
    });
    entries.collect()
}

/// Ids differ between Plans, so what is compared holds names instead.
fn services(plan: &Plan) -> Vec<Entry> {
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
    let services = plan.services.values().map(|service| Entry {
        name: service.name.to_string(),
        content: with_names(service, &spelt),
        keys: service_keys::keys(plan, service),
    });
    services.collect()
}

fn zones(plan: &Plan) -> Vec<Entry> {
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
            Entry {
                name: zone.origin.to_string(),
                content: format!("{:x} {steered:?}", hasher.finish()),
                keys: Vec::new(),
            }
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

/// A value's debug form with ids spelt out.
fn with_names(value: &impl Debug, spelt: &[(String, String)]) -> String {
    let text = format!("{value:?}");
    spelt
        .iter()
        .fold(text, |text, (id, name)| text.replace(id, name))
}
