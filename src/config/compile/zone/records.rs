//! `zones.NAME.records`: names and their RDATA in YAML, and the services that steer them.

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, RecordType};

use super::draft::{Draft, Record, Written};
use crate::config::compile::Compiling;
use crate::config::plan::{Service, SourceAt};
use crate::config::problem::nearest;
use crate::config::rdata;
use crate::config::tree::{Entry, Node};
use crate::ids::{ServiceId, Table};
use crate::units::Ttl;

/// Longest character-string of a TXT record (RFC 1035 §3.3).
const LONGEST_STRING: usize = 255;

/// Longest RDATA that still fits a message with its question and OPT.
const LONGEST_RDATA: usize = 65_000;

/// Where nothing says how long a record may be kept.
const DEFAULT_TTL: u32 = 3_600;

/// Reads `records`.
pub(super) fn read(
    draft: &mut Draft<'_>,
    services: &Table<ServiceId, Service>,
    compiling: &mut Compiling<'_>,
) {
    let entries = draft.entry.node.get("records");
    let ttl = zone_ttl(draft);
    let mut reader = Reader {
        draft,
        services,
        compiling,
    };
    for entry in entries.map_or(&[][..], Node::entries) {
        reader.records_of(entry, ttl);
    }
}

/// The TTL of records that have none of their own.
pub(super) fn zone_ttl(draft: &Draft<'_>) -> Ttl {
    let ttl = draft.entry.node.read("ttl", |text| text.parse().ok());
    ttl.unwrap_or(Ttl::from_secs(DEFAULT_TTL))
}

/// A name in the zone's text: `@`, relative, or absolute with a final dot.
pub(super) fn relative(
    draft: &Draft<'_>,
    text: &str,
    at: &SourceAt,
    compiling: &mut Compiling<'_>,
) -> Option<Name> {
    match rdata::name(text.as_bytes(), &draft.origin) {
        Ok(name) => Some(name.to_lowercase()),
        Err(message) => {
            compiling.problem(at, message);
            None
        }
    }
}

struct Reader<'a, 'd, 'c> {
    draft: &'a mut Draft<'d>,
    services: &'a Table<ServiceId, Service>,
    compiling: &'a mut Compiling<'c>,
}

impl Reader<'_, '_, '_> {
    /// A name that must lie in the zone.
    fn owner(&mut self, text: &str, at: &SourceAt) -> Option<Name> {
        let owner = relative(self.draft, text, at, self.compiling)?;
        if !self.draft.origin.zone_of(&owner) {
            let zone = &self.draft.entry.key;
            self.compiling
                .problem(at, format!("{owner} lies outside zone `{zone}`"));
            return None;
        }
        Some(owner)
    }

    fn records_of(&mut self, entry: &Entry, zone_ttl: Ttl) {
        let Some(owner) = self.owner(&entry.key, &entry.at) else {
            return;
        };
        let ttl = self.ttl(entry).unwrap_or(zone_ttl);
        let standing = self.draft.names.entry(owner.clone()).or_default();
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
            Some((id, _)) => self.draft.names.entry(owner.clone()).or_default().steered = Some(id),
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
                Ok(data) => self.draft.push(Record {
                    owner: owner.clone(),
                    ttl,
                    data,
                    at: item.at.clone(),
                    written: Written::InYaml,
                }),
                Err(message) => self.compiling.problem(&item.at, message),
            }
        }
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
        rdata::read(record_type, text, &self.draft.origin).map_err(|why| {
            format!(
                "`{text}` is not the RDATA of {}: {why}",
                rdata::written(record_type)
            )
        })
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
}
