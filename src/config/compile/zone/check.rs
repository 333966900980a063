//! What the records of a zone mean together: what cannot be is an error, what is doubtful a warning.
//!
//! The same for YAML and for master files. Where BIND, NSD, Knot and PowerDNS disagree on what to
//! refuse, most of them decide; whatever one of them refuses is at least warned of.

use std::collections::{BTreeMap, HashSet};

use hickory_proto::rr::{Name, RData, RecordType};

use super::draft::{Draft, Record, above};
use super::sizes;
use crate::config::compile::Compiling;
use crate::config::plan::SourceAt;
use crate::config::problem::{Problem, bounded};
use crate::config::rdata::written;

/// Judges a zone whose steered names are laid over it, and takes out what is there twice.
pub(super) fn check(draft: &mut Draft<'_>, compiling: &mut Compiling<'_>) {
    let mut findings = Findings::default();
    drop_duplicates(draft, &mut findings);
    let zone = Zone::new(draft);
    zone.apex(&mut findings);
    for (owner, records) in zone.by_owner() {
        alone(owner, &records, &mut findings);
        zone.redirections(owner, &records, &mut findings);
        zone.occlusion(owner, &records, &mut findings);
        wildcard(owner, &records, &mut findings);
        rrsets(owner, &records, &mut findings);
        findings
            .errors
            .extend(sizes::too_large(draft, owner, &records));
    }
    zone.keys_of_others(&mut findings);
    zone.steered_out_of_sight(&mut findings);
    for record in &draft.records {
        zone.target(record, &mut findings);
    }
    compiling.problems.extend(bounded(findings.errors));
    compiling.warnings.extend(bounded(findings.warnings));
}

#[derive(Default)]
struct Findings {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    /// What cannot be beside something else.
    fn error(&mut self, at: &SourceAt, message: String, beside: &Record) {
        let problem = Problem::new(Some(at.clone()), message);
        let problem = problem.with_related(beside.at.clone(), "beside this");
        self.errors.push(problem);
    }

    fn warning(&mut self, at: &SourceAt, message: String) {
        self.warnings.push(Problem::new(Some(at.clone()), message));
    }
}

/// RFC 2181 §5: a record is there once.
fn drop_duplicates(draft: &mut Draft<'_>, findings: &mut Findings) {
    let mut indices = Vec::new();
    for (index, record) in draft.duplicates() {
        let (owner, rtype) = (&record.owner, written(record.rtype()));
        let message = format!(
            "{owner} has this {rtype} record once more: the one of the lowest TTL is taken"
        );
        findings.warning(&record.at, message);
        indices.push(index);
    }
    draft.remove(&indices);
}

/// RFC 1034 §3.6.2: a CNAME stands alone.
fn alone(owner: &Name, records: &[&Record], findings: &mut Findings) {
    let mut aliases = records.iter().filter(|r| r.rtype() == RecordType::CNAME);
    let Some(alias) = aliases.next() else { return };
    let is_same = |other: &&&Record| other.at == alias.at && other.data == alias.data;
    if let Some(other) = records.iter().find(|other| !is_same(other)) {
        let message = format!("{owner} has a CNAME beside other records (RFC 1034 §3.6.2)");
        findings.error(&alias.at, message, other);
    }
}

fn wildcard(owner: &Name, records: &[&Record], findings: &mut Findings) {
    if !owner.is_wildcard() {
        return;
    }
    let of = |rtype: RecordType| records.iter().find(move |r| r.rtype() == rtype);
    if let Some(server) = of(RecordType::NS) {
        let message = format!(
            "{owner}: a wildcard's NS delegates none of the names that it stands for (RFC 4592 §4.2)"
        );
        findings.warning(&server.at, message);
    }
    if let Some(dname) = of(RecordType::DNAME) {
        let message =
            format!("{owner}: what a wildcard's DNAME renames is not defined (RFC 4592 §4.4)");
        findings.warning(&dname.at, message);
    }
}

/// RFC 2181 §5.2: an RRset has one TTL.
fn rrsets(owner: &Name, records: &[&Record], findings: &mut Findings) {
    let mut firsts: BTreeMap<u16, &Record> = BTreeMap::new();
    for record in records {
        let number = u16::from(record.rtype());
        let first = *firsts.entry(number).or_insert(record);
        if first.ttl != record.ttl {
            let message = format!(
                "the TTLs of {owner} {} differ: the lowest counts (RFC 2181 §5.2)",
                written(record.rtype())
            );
            findings.warning(&record.at, message);
            firsts.insert(number, record);
        }
    }
}

/// Where the name in a record leads, as far as this zone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Out of the zone: others know.
    Outside,
    Addressed,
    Alias,
    /// Below a delegation of this zone, without an address here.
    Delegated,
    Nothing,
}

/// What keeps a name from being answered.
enum Hider {
    Delegation(Name),
    Dname(Name),
}

/// A zone's records, and what of them hides others.
struct Zone<'a, 'd> {
    draft: &'a Draft<'d>,
    cuts: HashSet<&'a Name>,
    dnames: HashSet<&'a Name>,
    /// Names of name servers: their addresses are glue.
    servers: HashSet<&'a Name>,
}

impl<'a, 'd> Zone<'a, 'd> {
    fn new(draft: &'a Draft<'d>) -> Self {
        let owners = |rtype: RecordType| {
            let records = draft.records.iter().filter(move |r| r.rtype() == rtype);
            records.map(|record| &record.owner)
        };
        let servers = draft.records.iter().filter_map(|record| {
            let is_server = record.rtype() == RecordType::NS;
            target_of(&record.data).filter(|_| is_server)
        });
        Self {
            draft,
            cuts: owners(RecordType::NS).filter(|n| draft.is_cut(n)).collect(),
            dnames: owners(RecordType::DNAME).collect(),
            servers: servers.collect(),
        }
    }

    /// Each name with its records, in the order in which they were written.
    fn by_owner(&self) -> impl Iterator<Item = (&'a Name, Vec<&'a Record>)> {
        let draft = self.draft;
        draft
            .names
            .keys()
            .map(|owner| (owner, draft.at(owner).collect()))
    }

    /// RFC 1035 §5.2: one SOA, and name servers beside it.
    fn apex(&self, findings: &mut Findings) {
        let draft = self.draft;
        let records = draft.records.iter();
        let soas: Vec<&Record> = records.filter(|r| r.rtype() == RecordType::SOA).collect();
        for soa in soas.iter().filter(|soa| soa.owner != draft.origin) {
            let message = format!(
                "an SOA at {}: it stands at {} only",
                soa.owner, draft.origin
            );
            findings
                .errors
                .push(Problem::new(Some(soa.at.clone()), message));
        }
        let mut own = soas.iter().filter(|soa| soa.owner == draft.origin);
        match (own.next(), own.next()) {
            (Some(first), Some(second)) => {
                let message = format!("{} has a second SOA (RFC 1035 §5.2)", draft.origin);
                findings.error(&second.at, message, first);
            }
            (None, _) if !draft.soa_is_unread => self.no_soa(findings),
            (Some(_) | None, _) => {}
        }
        if !draft.has(&draft.origin, RecordType::NS) {
            let message = format!(
                "zone `{}` has no {}: resolvers and checkers expect some",
                draft.entry.key,
                draft
                    .file
                    .as_ref()
                    .map_or("`nameservers`", |_| "NS records at its apex")
            );
            findings.warning(self.start(), message);
        }
    }

    /// What stands at the apex and says of the zone's keys what its own say already, or what only the zone above can.
    fn keys_of_others(&self, findings: &mut Findings) {
        let origin = &self.draft.origin;
        let mut told = Vec::new();
        for record in self.draft.at(origin) {
            let rtype = record.rtype();
            let is_of_keys = matches!(
                rtype,
                RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY
            );
            let message = match () {
                () if rtype == RecordType::DS => {
                    format!("{origin} has a DS: it stands in the zone above (RFC 4035 §2.4)")
                }
                () if is_of_keys && self.draft.is_signed() && !told.contains(&rtype) => format!(
                    "{origin} has this {rtype}, and its own keys have theirs: both are published, or this one alone if it asks for the DS to be deleted (RFC 8078 §4); take it out unless that is wanted, or another signer has the zone as well"
                ),
                () => continue,
            };
            told.push(rtype);
            findings.warning(&record.at, message);
        }
    }

    fn no_soa(&self, findings: &mut Findings) {
        let message = format!("there is no SOA of {} (RFC 1035 §5.2)", self.draft.origin);
        let at = self.draft.file.as_ref().map(|file| SourceAt {
            file: file.clone(),
            line: 1,
            column: 1,
        });
        let at = at.unwrap_or_else(|| self.draft.entry.at.clone());
        findings.errors.push(Problem::new(Some(at), message));
    }

    /// Where the zone begins: its SOA, or YAML's entry.
    fn start(&self) -> &SourceAt {
        let mut apex = self.draft.at(&self.draft.origin);
        let soa = apex.find(|record| record.rtype() == RecordType::SOA);
        let in_file = soa.filter(|_| self.draft.file.is_some());
        in_file.map_or(&self.draft.entry.at, |soa| &soa.at)
    }

    fn redirections(&self, owner: &Name, records: &[&Record], findings: &mut Findings) {
        let of = |rtype: RecordType| records.iter().filter(move |r| r.rtype() == rtype);
        let mut dnames = of(RecordType::DNAME);
        let Some(first) = dnames.next() else { return };
        if let Some(second) = dnames.next() {
            let message = format!("{owner} has a second DNAME (RFC 6672 §2.4)");
            findings.error(&second.at, message, first);
        }
        // RFC 6672 §2.3: beside NS a DNAME stands at the apex only.
        if let Some(server) = of(RecordType::NS)
            .next()
            .filter(|_| self.draft.is_cut(owner))
        {
            let message = format!("{owner} has a DNAME beside NS (RFC 6672 §2.3)");
            findings.error(&first.at, message, server);
        }
    }

    /// RFC 1034 §4.2, RFC 6672 §2.4: what lies below a delegation or a DNAME is not this zone's.
    fn occlusion(&self, owner: &Name, records: &[&Record], findings: &mut Findings) {
        match self.hider(owner) {
            None => {}
            Some(Hider::Delegation(cut)) => {
                let place = if cut == *owner { "at" } else { "below" };
                // RFC 4035 §2.6: NS and DS stand at the delegation itself.
                let is_of_cut = |record: &Record| {
                    let stands = matches!(record.rtype(), RecordType::NS | RecordType::DS);
                    stands && cut == *owner
                };
                let mut hidden = records.iter().filter(|r| !self.is_glue(r) && !is_of_cut(r));
                if let Some(hidden) = hidden.next() {
                    let message = format!(
                        "{owner} lies {place} the delegation {cut}: only glue is ever answered from here"
                    );
                    findings.warning(&hidden.at, message);
                }
            }
            Some(Hider::Dname(dname)) => {
                if let Some(hidden) = records.first() {
                    let message = format!(
                        "{owner} lies below the DNAME of {dname}: it is never answered (RFC 6672 §2.4)"
                    );
                    findings.warning(&hidden.at, message);
                }
            }
        }
    }

    /// A name that YAML has a service steer, and that nobody ever reaches here.
    fn steered_out_of_sight(&self, findings: &mut Findings) {
        for (owner, standing) in &self.draft.names {
            let at = standing.at.as_ref().filter(|_| standing.steered.is_some());
            if let (Some(at), Some(Hider::Delegation(hider) | Hider::Dname(hider))) =
                (at, self.hider(owner))
            {
                let message = format!("{owner} is steered, but {hider} leads elsewhere");
                findings.warning(at, message);
            }
        }
        let regions = self.draft.origin.prepend_label("_regions");
        let hider = regions.ok().and_then(|name| self.hider(&name));
        if let (true, Some(Hider::Dname(hider))) = (self.draft.leads_to_regions, hider) {
            let message = format!(
                "HTTPS records lead to names of regions below _regions.{}, but {hider} leads elsewhere: clients cannot fail over by them",
                self.draft.origin
            );
            findings.warning(self.start(), message);
        }
        for region in &self.draft.unnamed_regions {
            let message = format!(
                "{region}._regions.{} would be longer than a name may be (RFC 1035 §2.3.4): HTTPS records leave region `{region}` out, and clients cannot fail over to it by them",
                self.draft.origin
            );
            findings.warning(self.start(), message);
        }
    }

    fn is_glue(&self, record: &Record) -> bool {
        record.is_address() && self.servers.contains(&record.owner)
    }

    /// What hides a name: the highest delegation at or above it, or DNAME above it.
    fn hider(&self, owner: &Name) -> Option<Hider> {
        if self.cuts.is_empty() && self.dnames.is_empty() {
            return None;
        }
        let in_zone = above(owner).take_while(|name| self.draft.origin.zone_of(name));
        let hiding = in_zone.filter_map(|name| match () {
            () if self.cuts.contains(&name) => Some(Hider::Delegation(name)),
            () if name != *owner && self.dnames.contains(&name) => Some(Hider::Dname(name)),
            () => None,
        });
        hiding.last()
    }

    /// Name servers are found by their addresses, and neither they nor others are aliases.
    fn target(&self, record: &Record, findings: &mut Findings) {
        let Some(server) = target_of(&record.data) else {
            return;
        };
        let needs_address = record.rtype() == RecordType::NS;
        let server = server.to_lowercase();
        if self.is_address_literal(&server) {
            // RFC 1035 §3.3.11, RFC 5321 §5.1, RFC 2782.
            let message = format!(
                "the {} of {} is an address: the name of a host is expected",
                record.rtype(),
                record.owner
            );
            findings.warning(&record.at, message);
            return;
        }
        let message = match self.leads_to(&server) {
            // RFC 2181 §10.3, RFC 2782.
            Target::Alias => format!(
                "the {} of {} points at {server}, which is an alias (RFC 2181 §10.3)",
                record.rtype(),
                record.owner
            ),
            Target::Delegated if needs_address && record.owner.zone_of(&server) => {
                format!("name server {server} lies below its own delegation and has no glue")
            }
            Target::Delegated | Target::Nothing if needs_address => {
                format!("name server {server} lies in the zone and has no address")
            }
            Target::Nothing => format!(
                "the {} of {} points at {server}, which lies in the zone and has no address",
                record.rtype(),
                record.owner
            ),
            Target::Outside | Target::Addressed | Target::Delegated => return,
        };
        findings.warning(&record.at, message);
    }

    /// Whether a name is an IPv4 address, with the zone's name behind it or without.
    fn is_address_literal(&self, name: &Name) -> bool {
        let labels: Vec<&[u8]> = name.iter().collect();
        let (first, behind) = labels.split_at(labels.len().min(4));
        let behind = Name::from_labels(behind.iter().copied());
        let is_bare = behind.is_ok_and(|rest| rest.is_root() || rest == self.draft.origin);
        let text = first.join(&b'.');
        let text = std::str::from_utf8(&text).unwrap_or_default();
        is_bare && text.parse::<std::net::Ipv4Addr>().is_ok()
    }

    fn leads_to(&self, name: &Name) -> Target {
        let draft = self.draft;
        if !draft.origin.zone_of(name) {
            return Target::Outside;
        }
        let hider = self.hider(name);
        if matches!(hider, Some(Hider::Dname(_))) {
            return Target::Alias;
        }
        if draft.names.contains_key(name) {
            return self.stands_at(name);
        }
        if hider.is_some() {
            return Target::Delegated;
        }
        // RFC 4592 §3.3.1: the nearest wildcard stands for it.
        let wildcards = above(name)
            .skip(1)
            .filter_map(|n| n.prepend_label("*").ok());
        let mut wildcards = wildcards.take_while(|wildcard| draft.origin.zone_of(wildcard));
        let wildcard = wildcards.find(|wildcard| draft.names.contains_key(wildcard));
        wildcard.map_or(Target::Nothing, |wildcard| self.stands_at(&wildcard))
    }

    fn stands_at(&self, name: &Name) -> Target {
        let draft = self.draft;
        match () {
            () if draft.aliases.contains(name) => Target::Alias,
            () if draft.steered(name).is_some() => Target::Addressed,
            () if draft.at(name).any(Record::is_address) => Target::Addressed,
            () if draft.has(name, RecordType::CNAME) => Target::Alias,
            () if self.hider(name).is_some() => Target::Delegated,
            () => Target::Nothing,
        }
    }
}

/// The host that NS, MX and SRV name, which must not be an alias.
fn target_of(data: &RData) -> Option<&Name> {
    if let RData::NS(server) = data {
        Some(&server.0)
    } else if let RData::MX(mail) = data {
        Some(&mail.exchange)
    } else if let RData::SRV(service) = data {
        Some(&service.target)
    } else {
        None
    }
}
