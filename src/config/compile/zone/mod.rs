//! Zones: records from YAML and from master files, and the names that services answer for over them.
//!
//! A [`Draft`] gathers what a zone's files say: `records` from YAML, `authority` its SOA and name
//! servers, `file` from a master file. Then services' hosts are laid over, and `check` judges the
//! whole, the same for both ways of writing a zone.

mod authority;
mod check;
mod draft;
mod file;
mod nested;
mod records;
mod sizes;

use std::collections::HashMap;

use hickory_proto::rr::{Name, RecordType};

use super::Compiling;
use crate::config::plan::{Service, Zone};
use crate::config::problem::Problem;
use crate::config::rdata;
use crate::config::tree::Node;
use crate::ids::{ServiceId, Table};
use draft::{Draft, Written, above};

/// Types whose presence at a name conflicts with steering it.
const STEERED_TYPES: [RecordType; 4] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::HTTPS,
];

/// Of a name of 255 bytes (RFC 1035 §2.3.4) what is left for a region's name and the origin, beside the label `_regions`, the
/// length of the region's own and the root.
const BESIDE_REGIONS_LABEL: usize = 255 - 9 - 1 - 1;

/// Compiles every zone.
pub(super) fn zones(
    root: &Node,
    services: &Table<ServiceId, Service>,
    compiling: &mut Compiling<'_>,
) -> Vec<Zone> {
    let mut drafts = drafts(root, services, compiling);
    steer_hosts(&mut drafts, services, compiling);
    nested::check(&drafts, compiling);
    let finish = |mut draft: Draft<'_>| {
        draft.lay_services_over(compiling);
        draft.check_aliases(services, compiling);
        check::check(&mut draft, compiling);
        draft.into_zone()
    };
    drafts.into_iter().map(finish).collect()
}

/// Each zone as its files have it.
fn drafts<'a>(
    root: &'a Node,
    services: &Table<ServiceId, Service>,
    compiling: &mut Compiling<'_>,
) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    let mut origins: HashMap<Name, usize> = HashMap::new();
    for entry in root.get("zones").map_or(&[][..], Node::entries) {
        let Some(origin) = origin(&entry.key) else {
            let message = format!("`{}` is not the name of a zone", entry.key);
            compiling.problem(&entry.at, message);
            continue;
        };
        let first = origins.get(&origin).and_then(|index| drafts.get(*index));
        if let Some(Draft { entry: first, .. }) = first {
            compiling.twice(entry, first);
            continue;
        }
        origins.insert(origin.clone(), drafts.len());
        let mut draft = Draft::new(origin, entry);
        file::read(&mut draft, compiling);
        records::read(&mut draft, services, compiling);
        authority::complete(&mut draft, services, compiling);
        drafts.push(draft);
    }
    drafts
}

/// Lays the services' hosts over the deepest zone of each.
fn steer_hosts(
    drafts: &mut [Draft<'_>],
    services: &Table<ServiceId, Service>,
    compiling: &mut Compiling<'_>,
) {
    let origins = drafts.iter().enumerate();
    let origins: HashMap<Name, usize> = origins
        .map(|(index, draft)| (draft.origin.clone(), index))
        .collect();
    for (id, service) in services.iter() {
        for host in &service.hosts {
            let Some(owner) = host_name(&host.to_string()) else {
                continue;
            };
            let deepest = above(&owner).find_map(|name| origins.get(&name).copied());
            if let Some(draft) = deepest.and_then(|index| drafts.get_mut(index)) {
                draft.steer_host(owner, id, services, compiling);
            }
        }
    }
}

/// The name of a zone. RFC 2317 §4: a slash may stand in it; `*` only below its first label, where it
/// means nothing.
fn origin(key: &str) -> Option<Name> {
    let name = rdata::name(key.as_bytes(), &Name::root()).ok()?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_/*".contains(byte);
    let is_good = !name.is_root() && !name.is_wildcard();
    let is_good = is_good && name.iter().all(|label| label.iter().all(is_plain));
    is_good.then(|| name.to_lowercase())
}

/// An absolute, lower-case name.
fn host_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?.to_lowercase();
    name.set_fqdn(true);
    Some(name)
}

impl Draft<'_> {
    /// A host of a service becomes a steered name.
    fn steer_host(
        &mut self,
        owner: Name,
        service: ServiceId,
        services: &Table<ServiceId, Service>,
        compiling: &mut Compiling<'_>,
    ) {
        let own = &services.of(service).name;
        if let Some(cut) = self.occluder(&owner) {
            let message = format!(
                "service `{own}` answers for {owner}, but DNS refers whoever asks for it to {cut}: only HTTP is steered"
            );
            compiling.warning(&self.entry.at, message);
            return;
        }
        let other = self.steered(&owner).filter(|other| *other != service);
        if let Some(other) = other {
            let other = &services.of(other).name;
            let message = format!(
                "{owner} is steered by service `{other}` here, and is a host of service `{own}`"
            );
            compiling.problem(self.place_of(&owner), message);
            return;
        }
        if let Some(record_type) = self.conflict(&owner) {
            let message = format!(
                "service `{own}` answers for {owner}, which has a {record_type} record here too"
            );
            compiling.problem(self.place_of(&owner), message);
            return;
        }
        self.names.entry(owner).or_default().steered = Some(service);
    }

    /// RFC 1034 §3.6.2: a name that a region given by host name answers for has nothing else, and so
    /// it is no apex, which has an SOA.
    fn check_aliases(
        &mut self,
        services: &Table<ServiceId, Service>,
        compiling: &mut Compiling<'_>,
    ) {
        let mut found = Vec::new();
        let mut aliases = Vec::new();
        for (owner, standing) in &self.names {
            let Some(service) = standing.steered.map(|id| services.of(id)) else {
                continue;
            };
            let regions = service.regions.iter();
            let regions = regions.map(|member| compiling.regions.of(member.region));
            if service.regions.len() > 1 {
                self.leads_to_regions = true;
                let room = BESIDE_REGIONS_LABEL.saturating_sub(self.origin.len());
                let unnamed = regions.clone().filter(|region| region.name.len() > room);
                self.unnamed_regions
                    .extend(unnamed.map(|region| region.name.clone()));
            }
            let mut named = regions.filter(|region| region.alias.is_some());
            let own = named
                .clone()
                .find(|region| region.alias.as_ref() == Some(owner));
            if let Some(region) = own {
                let message = format!(
                    "region `{}` is given by the name {owner}, for which service `{}` answers with it: the name would be an alias of itself",
                    region.name, service.name
                );
                compiling
                    .warnings
                    .push(Problem::new(Some(self.entry.at.clone()), message));
            }
            let Some(region) = named.next() else {
                continue;
            };
            aliases.push(owner.clone());
            if let Some(other) = self.at(owner).next() {
                let message = format!(
                    "{owner} has this {} record, but service `{}` answers for it with a CNAME where region `{}` is chosen, and a CNAME stands alone (RFC 1034 §3.6.2)",
                    rdata::written(other.rtype()),
                    service.name,
                    region.name
                );
                found.push((other.at.clone(), message));
            }
        }
        self.aliases.extend(aliases);
        for (at, message) in found {
            compiling.problem(&at, message);
        }
    }

    /// A type in YAML that cannot stand at a steered name.
    fn conflict(&self, owner: &Name) -> Option<RecordType> {
        let mut yaml = self.at(owner).filter(|r| r.written == Written::InYaml);
        let found = yaml.find(|record| STEERED_TYPES.contains(&record.rtype()));
        found.map(|record| record.rtype())
    }

    /// What stands at a name or above it and hides it: a delegation, or a DNAME above.
    fn occluder(&self, owner: &Name) -> Option<Name> {
        let mut in_zone = above(owner).take_while(|name| self.origin.zone_of(name));
        in_zone
            .find(|name| self.is_cut(name) || (name != owner && self.has(name, RecordType::DNAME)))
    }

    /// Steered names are laid over the master file's records; YAML must not have both.
    fn lay_services_over(&mut self, compiling: &mut Compiling<'_>) {
        let mut hidden = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            let is_steered =
                STEERED_TYPES.contains(&record.rtype()) && self.steered(&record.owner).is_some();
            match record.written {
                Written::InYaml if is_steered => {
                    let owner = &record.owner;
                    let message = format!(
                        "{owner} is steered, so its A, AAAA, HTTPS and CNAME cannot be written here"
                    );
                    compiling.problem(&record.at, message);
                }
                Written::InFile if is_steered => {
                    let message = format!(
                        "{} is steered: this {} is not answered",
                        record.owner,
                        record.rtype()
                    );
                    compiling.warning(&record.at, message);
                    hidden.push(index);
                }
                Written::InYaml | Written::InFile => {}
            }
        }
        self.remove(&hidden);
    }
}
