//! A zone while it is compiled: its records with their places, and what stands at each name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::{Name, RData, RecordType};

use crate::config::compile::file;
use crate::config::plan::{Dnssec, SigningAlgorithm, SourceAt, Zone, ZoneRecord};
use crate::config::tree::{Entry, Node};
use crate::ids::ServiceId;
use crate::units::Ttl;

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    InYaml,
    InFile,
}

/// A record of a zone, with its place.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Lower case and absolute.
    pub(super) owner: Name,
    pub(super) ttl: Ttl,
    pub(super) data: RData,
    pub(super) at: SourceAt,
    pub(super) written: Written,
}

impl Record {
    pub(super) fn rtype(&self) -> RecordType {
        self.data.record_type()
    }

    pub(super) fn is_address(&self) -> bool {
        matches!(self.data, RData::A(_) | RData::AAAA(_))
    }
}

/// What stands at a name.
#[derive(Default)]
pub(super) struct Standing {
    /// Where in the zone's records.
    records: Vec<usize>,
    pub(super) steered: Option<ServiceId>,
    /// Where YAML has it.
    pub(super) at: Option<SourceAt>,
}

/// A zone while it is compiled.
pub(super) struct Draft<'a> {
    pub(super) entry: &'a Entry,
    pub(super) origin: Name,
    pub(super) records: Vec<Record>,
    pub(super) names: HashMap<Name, Standing>,
    /// Its master file.
    pub(super) file: Option<Arc<Path>>,
    /// Its SOA could not be read, which has been told.
    pub(super) soa_is_unread: bool,
    /// Steered names that are other names where a region given by host name is chosen.
    pub(super) aliases: HashSet<Name>,
    /// Whether a service chooses between regions here, so that HTTPS records name them.
    pub(super) leads_to_regions: bool,
    /// The regions whose own names below `_regions` here would be longer than a name may be.
    pub(super) unnamed_regions: BTreeSet<Arc<str>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(origin: Name, entry: &'a Entry) -> Self {
        Self {
            entry,
            origin,
            records: Vec::new(),
            names: HashMap::new(),
            file: None,
            soa_is_unread: false,
            aliases: HashSet::new(),
            leads_to_regions: false,
            unnamed_regions: BTreeSet::new(),
        }
    }

    pub(super) fn push(&mut self, record: Record) {
        let standing = self.names.entry(record.owner.clone()).or_default();
        standing.records.push(self.records.len());
        self.records.push(record);
    }

    /// Takes records out, by their index in ascending order.
    pub(super) fn remove(&mut self, indices: &[usize]) {
        if indices.is_empty() {
            return;
        }
        let gone: BTreeSet<usize> = indices.iter().copied().collect();
        let kept = std::mem::take(&mut self.records).into_iter().enumerate();
        let kept = kept.filter(|(index, _)| !gone.contains(index));
        for standing in self.names.values_mut() {
            standing.records.clear();
        }
        kept.for_each(|(_, record)| self.push(record));
    }

    /// The records of a name.
    pub(super) fn at(&self, name: &Name) -> impl Iterator<Item = &Record> {
        let records = self.names.get(name).map_or(&[][..], |s| &s.records);
        records.iter().filter_map(|index| self.records.get(*index))
    }

    pub(super) fn has(&self, name: &Name, wanted: RecordType) -> bool {
        self.at(name).any(|record| record.rtype() == wanted)
    }

    pub(super) fn steered(&self, name: &Name) -> Option<ServiceId> {
        self.names.get(name)?.steered
    }

    /// Where YAML has a name, or else the zone.
    pub(super) fn place_of(&self, name: &Name) -> &SourceAt {
        let standing = self.names.get(name);
        let at = standing.and_then(|standing| standing.at.as_ref());
        at.unwrap_or(&self.entry.at)
    }

    /// Whether the zone ends at a name.
    pub(super) fn is_cut(&self, name: &Name) -> bool {
        *name != self.origin && self.has(name, RecordType::NS)
    }

    pub(super) fn is_signed(&self) -> bool {
        self.entry.node.get("dnssec").is_some()
    }

    /// The records that are there once more, by their index in ascending order: of the same the one of the lowest TTL stays.
    pub(super) fn duplicates(&self) -> Vec<(usize, &Record)> {
        let mut found = Vec::new();
        for standing in self.names.values() {
            let mut seen: HashMap<&RData, (usize, &Record)> = HashMap::new();
            for index in &standing.records {
                let Some(record) = self.records.get(*index) else {
                    continue;
                };
                match seen.get(&record.data).copied() {
                    Some((_, first)) if first.ttl <= record.ttl => found.push((*index, record)),
                    first => {
                        found.extend(first);
                        seen.insert(&record.data, (*index, record));
                    }
                }
            }
        }
        found.sort_by_key(|(index, _)| *index);
        found
    }

    pub(super) fn into_zone(self) -> Zone {
        let steered = self.names.into_iter();
        let steered = steered.filter_map(|(owner, standing)| Some((owner, standing.steered?)));
        let mut steered: Vec<(Name, ServiceId)> = steered.collect();
        steered.sort();
        let plain = |record: Record| ZoneRecord {
            owner: record.owner,
            ttl: record.ttl,
            data: record.data,
        };
        Zone {
            origin: self.origin,
            records: self.records.into_iter().map(plain).collect(),
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

/// A name and every name above it, up to the root.
pub(super) fn above(name: &Name) -> impl Iterator<Item = Name> + use<> {
    std::iter::successors(Some(name.clone()), |name| {
        (!name.is_root()).then(|| name.base_name())
    })
}
