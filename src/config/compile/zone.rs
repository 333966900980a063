//! Zones: SOA, name servers, records from text, delegations, and the names that services answer for.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Compiling, file};
use crate::config::kinds::parse_host;
use crate::config::plan::{Dnssec, Service, SigningAlgorithm, SourceAt, Zone, ZoneRecord};
use crate::config::problem::nearest;
use crate::config::rdata;
use crate::config::tree::{Entry, Node};
use crate::ids::{ServiceId, Table};
use crate::steering::stable_hash;
use crate::units::Ttl;

/// Types whose presence at a name conflicts with steering it.
const STEERED_TYPES: [RecordType; 4] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::HTTPS,
];

/// Longest character-string of a TXT record (RFC 1035 §3.3).
const LONGEST_STRING: usize = 255;

/// Longest RDATA that still fits a message with its question and OPT.
const LONGEST_RDATA: usize = 65_000;

/// Compiles every zone.
pub(super) fn zones(
    root: &Node,
    services: &Table<ServiceId, Service>,
    compiling: &mut Compiling<'_>,
) -> Vec<Zone> {
    let mut zones: Vec<Compiled<'_>> = Vec::new();
    let mut origins: HashMap<Name, usize> = HashMap::new();
    for entry in root.get("zones").map_or(&[][..], Node::entries) {
        let Some(origin) = parse_host(&entry.key)
            .ok()
            .filter(|host| !host.starts_with('*'))
            .and_then(|host| name(&host))
        else {
            compiling.problem(
                &entry.at,
                format!("`{}` is not the name of a zone", entry.key),
            );
            continue;
        };
        let first = origins.get(&origin).and_then(|index| zones.get(*index));
        if let Some(Compiled { entry: first, .. }) = first {
            compiling.twice(entry, first);
            continue;
        }
        origins.insert(origin.clone(), zones.len());
        let mut compiler = Compiler {
            origin,
            entry,
            services,
            compiling,
            records: Vec::new(),
            names: HashMap::new(),
        };
        compiler.compile();
        zones.push(Compiled {
            entry,
            origin: compiler.origin,
            records: compiler.records,
            names: compiler.names,
        });
    }
    for (id, service) in services.iter() {
        for host in &service.hosts {
            let Some(owner) = name(&host.to_string()) else {
                continue;
            };
            let deepest = above(&owner).find_map(|name| origins.get(&name).copied());
            if let Some(zone) = deepest.and_then(|index| zones.get_mut(index)) {
                zone.steer_host(owner, id, services, compiling);
            }
        }
    }
    zones.into_iter().map(Compiled::into_zone).collect()
}

/// An absolute, lower-case name.
fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?.to_lowercase();
    name.set_fqdn(true);
    Some(name)
}

/// A name and every name above it, up to the root.
fn above(name: &Name) -> impl Iterator<Item = Name> + use<> {
    std::iter::successors(Some(name.clone()), |name| {
        (!name.is_root()).then(|| name.base_name())
    })
}

/// What stands at a name.
#[derive(Default)]
struct Standing {
    /// Where in the zone's records.
    records: Vec<usize>,
    types: Vec<RecordType>,
    steered: Option<ServiceId>,
    /// Where the file has it.
    at: Option<SourceAt>,
}

/// A zone with its own records; the names that services answer for are laid over it.
struct Compiled<'a> {
    entry: &'a Entry,
    origin: Name,
    records: Vec<ZoneRecord>,
    names: HashMap<Name, Standing>,
}

impl Compiled<'_> {
    /// A host of a service becomes a steered name.
    fn steer_host(
        &mut self,
        owner: Name,
        service: ServiceId,
        services: &Table<ServiceId, Service>,
        compiling: &mut Compiling<'_>,
    ) {
        let own = &services.of(service).name;
        let occluder = above(&owner)
            .take_while(|name| *name != self.origin)
            .find(|name| self.occludes(name, &owner));
        if let Some(cut) = occluder {
            let message = format!(
                "service `{own}` answers for {owner}, but DNS refers whoever asks for it to {cut}: only HTTP is steered"
            );
            compiling.warning(&self.entry.at, message);
            return;
        }
        let standing = self.names.entry(owner.clone()).or_default();
        let at = standing.at.as_ref().unwrap_or(&self.entry.at);
        match standing.steered {
            Some(other) if other != service => {
                let other = &services.of(other).name;
                let message = format!(
                    "{owner} is steered by service `{other}` here, and is a host of service `{own}`"
                );
                compiling.problem(at, message);
            }
            Some(_) => {}
            None => match standing.types.iter().find(|t| STEERED_TYPES.contains(t)) {
                Some(record_type) => {
                    let message = format!(
                        "service `{own}` answers for {owner}, which has a {record_type} record here too"
                    );
                    compiling.problem(at, message);
                }
                None => standing.steered = Some(service),
            },
        }
    }

    /// Whether what stands at `name` hides `owner`: a delegation at or above it, a DNAME above it.
    fn occludes(&self, name: &Name, owner: &Name) -> bool {
        let has = |wanted: RecordType| {
            self.names
                .get(name)
                .is_some_and(|standing| standing.types.contains(&wanted))
        };
        has(RecordType::NS) || (name != owner && has(RecordType::DNAME))
    }

    fn into_zone(self) -> Zone {
        let steered = self.names.into_iter();
        let steered = steered.filter_map(|(owner, standing)| Some((owner, standing.steered?)));
        let mut steered: Vec<(Name, ServiceId)> = steered.collect();
        steered.sort();
        Zone {
            origin: self.origin,
            records: self.records,
            steered,
            dnssec: self.entry.node.get("dnssec").and_then(dnssec),
        }
    }
}

fn dnssec(node: &Node) -> Option<Dnssec> {
    let algorithm = node.read("algorithm", |text| match text {
        "ed25519" => Some(SigningAlgorithm::Ed25519),
        _ => None,
    });
    Some(Dnssec {
        algorithm: algorithm.unwrap_or(SigningAlgorithm::EcdsaP256Sha256),
        keys: file(node, "keys")?,
    })
}

struct Compiler<'a, 'b> {
    origin: Name,
    entry: &'a Entry,
    services: &'a Table<ServiceId, Service>,
    compiling: &'a mut Compiling<'b>,
    records: Vec<ZoneRecord>,
    names: HashMap<Name, Standing>,
}

impl Compiler<'_, '_> {
    fn compile(&mut self) {
        let ttl = self
            .entry
            .node
            .read("ttl", |text| text.parse().ok())
            .unwrap_or(Ttl::from_secs(3_600));
        let nameservers = self.nameservers(ttl);
        for entry in self
            .entry
            .node
            .get("records")
            .map_or(&[][..], Node::entries)
        {
            self.records_of(entry, ttl);
        }
        if nameservers.is_empty() {
            let message = format!(
                "zone `{}` has no `nameservers`: resolvers and checkers expect some",
                self.entry.key
            );
            self.compiling.warning(&self.entry.at, message);
        }
        self.check_together();
        self.start_of_authority(nameservers.first(), ttl);
    }

    /// NS records with their glue.
    fn nameservers(&mut self, ttl: Ttl) -> Vec<Name> {
        let mut names = Vec::new();
        for entry in self
            .entry
            .node
            .get("nameservers")
            .map_or(&[][..], Node::entries)
        {
            let Some(server) = self.relative(&entry.key, &entry.at) else {
                continue;
            };
            self.push(self.origin.clone(), ttl, RData::NS(NS(server.clone())));
            let addresses: Vec<IpAddr> = entry
                .node
                .items()
                .iter()
                .filter_map(|item| item.text()?.parse().ok())
                .collect();
            if self.origin.zone_of(&server) {
                for address in &addresses {
                    self.push(server.clone(), ttl, address_data(*address));
                }
                if addresses.is_empty() {
                    let message =
                        format!("name server {server} lies in the zone and has no address");
                    self.compiling.warning(&entry.at, message);
                }
            }
            names.push(server);
        }
        names
    }

    fn start_of_authority(&mut self, first: Option<&Name>, ttl: Ttl) {
        let soa = self.entry.node.get("soa");
        let named = |key: &str| soa.and_then(|soa| soa.read(key, name));
        if let Some(node) = soa.and_then(|soa| soa.get("rname"))
            && (named("rname").is_none() || node.text().is_some_and(|text| text.contains('@')))
        {
            let message = "`rname` is a mailbox written as a name, such as hostmaster.example.com";
            self.compiling.problem(&node.at, message);
        }
        let time = |key: &str, default: u32| {
            soa.and_then(|soa| soa.read(key, |text| text.parse::<Ttl>().ok()))
                .map_or(default, Ttl::secs)
        };
        let seconds = |secs: u32| i32::try_from(secs).unwrap_or(i32::MAX);
        let mname = named("mname")
            .or_else(|| first.cloned())
            .unwrap_or_else(|| self.origin.clone());
        let below = |label: &str| {
            Name::from_ascii(label)
                .ok()?
                .append_domain(&self.origin)
                .ok()
        };
        let rname = named("rname")
            .or_else(|| below("hostmaster"))
            .unwrap_or_else(|| self.origin.clone());
        let timers = [
            time("refresh", 7_200),
            time("retry", 900),
            time("expire", 1_209_600),
        ];
        let minimum = time("minimum", 60);
        let serial = self.serial(&format!("{mname} {rname} {timers:?} {minimum}"));
        let [refresh, retry, expire] = timers.map(seconds);
        let data = SOA::new(mname, rname, serial, refresh, retry, expire, minimum);
        self.push(self.origin.clone(), ttl, RData::SOA(data));
    }

    /// A number that follows the content: every edge with this zone has the same one.
    fn serial(&self, soa: &str) -> u32 {
        let record =
            |record: &ZoneRecord| format!("{} {} {}", record.owner, record.ttl.secs(), record.data);
        let hosts = self.services.values().flat_map(|service| &service.hosts);
        let mut lines: Vec<String> = self.records.iter().map(record).collect();
        let steered = self.names.iter();
        let steered = steered.filter(|(_, standing)| standing.steered.is_some());
        lines.extend(steered.map(|(owner, _)| owner.to_string()));
        lines.extend(hosts.map(ToString::to_string));
        lines.push(soa.to_owned());
        lines.sort();
        u32::try_from(stable_hash(&lines.join("\n")) >> 33).unwrap_or(1)
    }

    fn push(&mut self, owner: Name, ttl: Ttl, data: RData) {
        let standing = self.names.entry(owner.clone()).or_default();
        standing.records.push(self.records.len());
        standing.types.push(data.record_type());
        self.records.push(ZoneRecord { owner, ttl, data });
    }

    /// The records of a name.
    fn at(&self, name: &Name) -> impl Iterator<Item = &ZoneRecord> {
        let records = self.names.get(name).map_or(&[][..], |s| &s.records);
        records.iter().filter_map(|index| self.records.get(*index))
    }

    /// A name as a zone's text has it: `@`, relative, or absolute with a final dot; in the zone.
    fn owner(&mut self, text: &str, at: &SourceAt) -> Option<Name> {
        let owner = self.relative(text, at)?;
        if !self.origin.zone_of(&owner) {
            self.compiling.problem(
                at,
                format!("{owner} lies outside zone `{}`", self.entry.key),
            );
            return None;
        }
        Some(owner)
    }

    fn relative(&mut self, text: &str, at: &SourceAt) -> Option<Name> {
        match rdata::name(text, &self.origin) {
            Ok(name) => Some(name.to_lowercase()),
            Err(message) => {
                self.compiling.problem(at, message);
                None
            }
        }
    }

    fn records_of(&mut self, entry: &Entry, zone_ttl: Ttl) {
        let Some(owner) = self.owner(&entry.key, &entry.at) else {
            return;
        };
        let ttl = self.ttl(entry).unwrap_or(zone_ttl);
        let standing = self.names.entry(owner.clone()).or_default();
        if let Some(first) = standing.at.replace(entry.at.clone()) {
            let message = format!(
                "the records of {owner} stand here and in line {}",
                first.line
            );
            self.compiling.problem(&entry.at, message);
        }
        let has = |key: &str| entry.node.get(key).is_some();
        let fields = entry.node.entries().len();
        if has("ttl") && has("service") && fields == 2 {
            let message = "`ttl` has no effect on steered answers: `dns.ttl` of the service has";
            self.compiling.warning(&entry.at, message);
        }
        if fields == 0 || (has("ttl") && fields == 1) {
            let message = format!(
                "`{}` needs record types, such as {{ A: [192.0.2.1] }}",
                entry.key
            );
            self.compiling.problem(&entry.at, message);
        }
        for field in entry.node.entries() {
            match &*field.key {
                "ttl" => {}
                "service" => self.steer(&owner, field),
                _ => self.rrset(&owner, ttl, field),
            }
        }
    }

    fn ttl(&mut self, entry: &Entry) -> Option<Ttl> {
        let node = entry.node.get("ttl")?;
        match node.text().unwrap_or_default().parse::<Ttl>() {
            Ok(ttl) => Some(ttl),
            Err(error) => {
                self.compiling.problem(&node.at, error.to_string());
                None
            }
        }
    }

    fn steer(&mut self, owner: &Name, field: &Entry) {
        let wanted = field.node.text().unwrap_or_default();
        match self
            .services
            .iter()
            .find(|(_, service)| &*service.name == wanted)
        {
            Some((id, _)) => self.names.entry(owner.clone()).or_default().steered = Some(id),
            None => {
                let known = self.services.values().map(|service| &*service.name);
                let hint = nearest(wanted, known)
                    .map_or(String::new(), |name| format!(": did you mean `{name}`?"));
                self.compiling.problem(
                    &field.node.at,
                    format!("there is no service `{wanted}`{hint}"),
                );
            }
        }
    }

    fn rrset(&mut self, owner: &Name, ttl: Ttl, field: &Entry) {
        let Some(record_type) = rdata::record_type(&field.key) else {
            self.unknown_type(field);
            return;
        };
        if record_type == RecordType::SOA {
            let message = "the SOA is written under `soa` of the zone";
            self.compiling.problem(&field.at, message);
            return;
        }
        let items = match field.node.text() {
            Some(_) => std::slice::from_ref(&field.node),
            None => field.node.items(),
        };
        if items.is_empty() {
            self.compiling.problem(
                &field.node.at,
                format!("`{}` needs RDATA or a list of them", field.key),
            );
        }
        for item in items {
            let Some(text) = item.text() else {
                self.compiling
                    .problem(&item.at, "RDATA is a text as in a master file");
                continue;
            };
            match self.rdata(record_type, text) {
                Ok(data) => self.add(owner, ttl, data, &item.at),
                Err(message) => self.compiling.problem(&item.at, message),
            }
        }
    }

    fn add(&mut self, owner: &Name, ttl: Ttl, data: RData, at: &SourceAt) {
        if self.at(owner).any(|record| record.data == data) {
            self.compiling.warning(
                at,
                format!("{owner} has this {} record already", data.record_type()),
            );
            return;
        }
        self.push(owner.clone(), ttl, data);
    }

    /// RDATA as in a master file, relative names below the apex. A TXT without quotes is one string.
    fn rdata(&self, record_type: RecordType, text: &str) -> Result<RData, String> {
        let bare = !text.trim_start().starts_with(['"', '\\', '(']);
        if record_type == RecordType::TXT && bare {
            let strings: Vec<&[u8]> = match text.as_bytes() {
                [] => vec![&[]],
                bytes => bytes.chunks(LONGEST_STRING).collect(),
            };
            if text.len() + strings.len() > LONGEST_RDATA {
                return Err(format!(
                    "a TXT of {} bytes: at most {LONGEST_RDATA}",
                    text.len()
                ));
            }
            return Ok(RData::TXT(TXT::from_bytes(strings)));
        }
        rdata::read(record_type, text, &self.origin)
            .map_err(|why| format!("`{text}` is not the RDATA of {record_type}: {why}"))
    }

    fn unknown_type(&mut self, field: &Entry) {
        let known = rdata::mnemonics();
        let hint = match nearest(&field.key, known.clone()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => {
                let known: Vec<&str> = known.collect();
                format!(
                    "expected ttl, service, TYPE65534 or one of {}",
                    known.join(", ")
                )
            }
        };
        let message = format!("unknown record type `{}`: {hint}", field.key);
        self.compiling.problem(&field.at, message);
    }

    /// What must not stand beside something else.
    fn check_together(&mut self) {
        let mut told: Vec<(SourceAt, String, bool)> = Vec::new();
        for (owner, standing) in &self.names {
            let Some(at) = &standing.at else { continue };
            let types = &standing.types;
            let aliases = types.iter().filter(|t| **t == RecordType::CNAME).count();
            if aliases > 1 || (aliases == 1 && types.len() > 1) {
                let message = format!("{owner} has a CNAME beside other records (RFC 1034 §3.6.2)");
                told.push((at.clone(), message, true));
            }
            if standing.steered.is_some() && types.iter().any(|t| STEERED_TYPES.contains(t)) {
                let message = format!(
                    "{owner} is steered, so its A, AAAA, HTTPS and CNAME cannot be written here"
                );
                told.push((at.clone(), message, true));
            }
            if let Some(cut) = self.cut_above(owner) {
                let message = format!(
                    "{owner} lies below the delegation {cut}: only glue is ever answered from here"
                );
                told.push((at.clone(), message, false));
            }
        }
        told.extend(self.missing_glue());
        for (at, message, fatal) in told {
            if fatal {
                self.compiling.problem(&at, message)
            } else {
                self.compiling.warning(&at, message)
            }
        }
    }

    /// The delegation above a name, if the name is no address of a name server.
    fn cut_above(&self, owner: &Name) -> Option<Name> {
        let mut names = above(owner).skip(1);
        let cut = names
            .by_ref()
            .take_while(|name| *name != self.origin && !name.is_root())
            .find(|name| {
                self.at(name)
                    .any(|r| r.data.record_type() == RecordType::NS)
            })?;
        let is_glue = self
            .at(&cut)
            .any(|r| matches!(&r.data, RData::NS(server) if server.0 == *owner));
        (!is_glue).then_some(cut)
    }

    fn missing_glue(&self) -> Vec<(SourceAt, String, bool)> {
        let has_address = |name: &Name| {
            self.at(name)
                .any(|record| matches!(record.data.record_type(), RecordType::A | RecordType::AAAA))
        };
        self.records
            .iter()
            .filter(|record| record.owner != self.origin)
            .filter_map(|record| {
                let RData::NS(server) = &record.data else {
                    return None;
                };
                if !record.owner.zone_of(&server.0) || has_address(&server.0) {
                    return None;
                }
                let at = self.names.get(&record.owner)?.at.clone()?;
                let message = format!(
                    "name server {} lies below its own delegation and has no glue",
                    server.0
                );
                Some((at, message, false))
            })
            .collect()
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}
