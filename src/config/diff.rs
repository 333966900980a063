//! What a reload changed, in words.

mod keys;
mod region_keys;
mod service_keys;

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use self::keys::changed;
use super::plan::{Plan, Region, Service, Zone};

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

    /// `keys` tells which keys of a part changed, if that is known.
    fn named<T>(
        &mut self,
        kind: &str,
        old: &[Part<'_, T>],
        new: &[Part<'_, T>],
        keys: impl Fn(&T, &T) -> String,
    ) {
        let before: HashMap<&str, &Part<'_, T>> =
            old.iter().map(|part| (&*part.name, part)).collect();
        let after: HashSet<&str> = new.iter().map(|part| &*part.name).collect();
        for Part { name, content, of } in new {
            match before.get(&**name) {
                None => self.0.push(format!("{kind} {name} added")),
                Some(known) if known.content != *content => {
                    let keys = keys(known.of, of);
                    self.0.push(format!("{kind} {name} changed{keys}"));
                }
                Some(_) => {}
            }
        }
        for Part { name, .. } in old {
            if !after.contains(&**name) {
                self.0.push(format!("{kind} {name} removed"));
            }
        }
    }
}

/// What has a name, and what is compared of it.
struct Part<'a, T> {
    name: String,
    content: String,
    of: &'a T,
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
    diff.named("region", &regions(old), &regions(new), |was, is| {
        changed(&region_keys::keys(old, was), &region_keys::keys(new, is))
    });
    diff.named("service", &services(old), &services(new), |was, is| {
        changed(&service_keys::keys(old, was), &service_keys::keys(new, is))
    });
    diff.named("zone", &zones(old), &zones(new), |was, is| {
        let told = match (was.dnssec.is_some(), is.dnssec.is_some()) {
            (true, false) => ": it is signed no more",
            (false, true) => ": it is signed",
            (true, true) | (false, false) => "",
        };
        told.to_owned()
    });
    diff
}

/// Ids differ between Plans, so what is compared holds names instead.
fn regions(plan: &Plan) -> Vec<Part<'_, Region>> {
    let parts = plan.regions.values().map(|region| {
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
        Part {
            name: region.name.to_string(),
            content,
            of: region,
        }
    });
    parts.collect()
}

fn services(plan: &Plan) -> Vec<Part<'_, Service>> {
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
    let parts = plan.services.values().map(|service| Part {
        name: service.name.to_string(),
        content: with_names(service, &spelt),
        of: service,
    });
    parts.collect()
}

fn zones(plan: &Plan) -> Vec<Part<'_, Zone>> {
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
            let dnssec = zone.dnssec.as_ref();
            let dnssec = dnssec.map(|dnssec| (&dnssec.keys.path, dnssec.algorithm));
            Part {
                name: zone.origin.to_string(),
                content: format!("{:x} {steered:?} {dnssec:?}", hasher.finish()),
                of: zone,
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
