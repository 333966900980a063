//! Zones of the Plan → names, with occlusion, empty non-terminals, wildcards and glue settled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::names::{
    Delegation, NodeDraft, Redirection, Special, Unindexed, WILDCARD, ZoneFacts, is_steered_type,
};
use super::offer::region_label;
use super::rrset::{RrSet, Spelled, encode};
use super::signing::Signing;
use crate::config::plan::{Plan, Zone};
use crate::dns::codec::code::rtype;
use crate::dns::codec::name::{LONGEST_NAME, parent, to_key};
use crate::dns::dnssec::Signer;
use crate::ids::{RegionId, ServiceId};

/// Data of one owner and type, with the least of their TTLs (RFC 2181 §5.2).
struct Data {
    ttl: u32,
    rdata: Vec<Vec<u8>>,
}

/// All the data of one owner, by type.
type Owned = BTreeMap<u16, Data>;

/// A zone while it is compiled.
struct Draft {
    zone: usize,
    apex: Box<[u8]>,
    owners: BTreeMap<Box<[u8]>, Owned>,
    steered: BTreeMap<Box<[u8]>, ServiceId>,
    is_signed: bool,
}

impl Unindexed {
    /// Compiles all zones, unsigned but for the keys that they publish.
    pub(super) fn compile(plan: &Plan, signing: &Signing) -> Self {
        let mut drafts: Vec<Draft> = (0..).zip(&plan.zones).map(|(i, z)| draft(i, z)).collect();
        let mut names = Self::default();
        for draft in &mut drafts {
            let signer = signing.signer(draft.zone, &draft.apex);
            draft.publish_keys(signer.as_ref());
            draft.publish_regions(plan);
            names.zones.push(ZoneFacts {
                apex: draft.apex.clone(),
                negative_soa: draft.negative_soa(),
                soa_ttl: draft.soa_ttl(),
                negative_ttl: draft.negative_ttl(),
                signer,
            });
        }
        names.settle(&drafts);
        names
    }

    /// Who answers for which name.
    fn settle(&mut self, drafts: &[Draft]) {
        let apexes: BTreeSet<&[u8]> = drafts.iter().map(|draft| &*draft.apex).collect();
        let inner = inner_apexes(&apexes);
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut known_above: HashSet<&[u8]> = HashSet::new();
        for draft in drafts {
            let owners = draft.owners.keys().chain(draft.steered.keys());
            for owner in owners.filter(|owner| !draft.is_occluded(owner)) {
                // What lies in a deeper zone of this Plan is that zone's to answer, but for DS at
                // its apex (RFC 4035 §3.1.4.1).
                if zone_apex(owner, &apexes) == Some(&*draft.apex) {
                    let new = draft.path(owner).filter(|name| known.insert(name));
                    self.nodes.extend(new.map(|name| draft.node(name)));
                } else {
                    let path = draft.path(owner);
                    let inner = path.filter(|name| inner.get(name) == Some(&&*draft.apex));
                    let new = inner.filter(|name| known_above.insert(name));
                    self.inner_apexes.extend(new.map(|name| draft.node(name)));
                }
            }
        }
        let drafts_at: HashMap<&[u8], &Draft> = drafts.iter().map(|d| (&*d.apex, d)).collect();
        for (apex, above) in &inner {
            let (Some(draft), Some(between)) = (drafts_at.get(above), parent(apex)) else {
                continue;
            };
            if !draft.is_occluded(apex) {
                let new = draft.path(between).filter(|name| known.insert(name));
                self.nodes.extend(new.map(|name| draft.node(name)));
            }
        }
        let lone = inner.keys().filter(|apex| !known_above.contains(**apex));
        self.lone_apexes = lone.map(|apex| Box::from(*apex)).collect();
    }
}

/// The apexes that lie in other zones, each with that of the deepest zone above.
fn inner_apexes<'a>(apexes: &BTreeSet<&'a [u8]>) -> HashMap<&'a [u8], &'a [u8]> {
    let inner = apexes.iter().filter_map(|apex| {
        let above = zone_apex(parent(apex)?, apexes)?;
        Some((*apex, above))
    });
    inner.collect()
}

/// The deepest apex at or above a name.
fn zone_apex<'a>(name: &[u8], apexes: &BTreeSet<&'a [u8]>) -> Option<&'a [u8]> {
    std::iter::successors(Some(name), |name| parent(name))
        .find_map(|candidate| apexes.get(candidate).copied())
}

fn draft(zone: usize, source: &Zone) -> Draft {
    let mut owners: BTreeMap<Box<[u8]>, Owned> = BTreeMap::new();
    for record in &source.records {
        let Some(rdata) = encode(&record.data) else {
            continue;
        };
        let ttl = record.ttl.secs();
        let data = owners
            .entry(to_key(&record.owner))
            .or_default()
            .entry(record.data.record_type().into())
            .or_insert(Data {
                ttl,
                rdata: Vec::new(),
            });
        data.ttl = data.ttl.min(ttl);
        data.rdata.push(rdata);
    }
    Draft {
        zone,
        apex: to_key(&source.origin),
        owners,
        steered: source
            .steered
            .iter()
            .map(|(name, service)| (to_key(name), *service))
            .collect(),
        is_signed: false,
    }
}

impl Draft {
    /// A name and all between it and the apex, which exist if it does (RFC 4592 §2.2.2).
    fn path<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'n [u8]> {
        let apex = self.apex.len();
        std::iter::successors(Some(name), |name| parent(name))
            .take_while(move |name| name.len() >= apex)
    }

    /// RFC 1034 §4.2, RFC 6672 §2.4: nothing below a delegation or a DNAME is the zone's to say.
    fn is_occluded(&self, owner: &[u8]) -> bool {
        let above = parent(owner).into_iter();
        let mut above = above.flat_map(|name| self.path(name));
        above.any(|above| self.is_cut(above) || self.has(above, rtype::DNAME))
    }

    fn is_cut(&self, name: &[u8]) -> bool {
        *name != *self.apex && self.has(name, rtype::NS)
    }

    fn has(&self, name: &[u8], rtype: u16) -> bool {
        self.data(name, rtype).is_some()
    }

    fn data(&self, name: &[u8], rtype: u16) -> Option<&Data> {
        self.owners.get(name)?.get(&rtype)
    }

    /// Steered names are laid over the records of the types that services answer, and over CNAME,
    /// which stands alone (RFC 2181 §10.1).
    fn node(&self, name: &[u8]) -> NodeDraft {
        let steered = self.steered.get(name).copied();
        let is_cut = self.is_cut(name);
        // RFC 4592 §4.2: its own name is delegated, the names that it stands for are not. What denies their other types
        // cannot say that they have NS (RFC 6840 §4.1), so that where it is proven they have none.
        let is_wildcard = name.starts_with(&WILDCARD);
        let is_hidden = |rtype: u16| {
            steered.is_some() && (is_steered_type(rtype) || rtype == rtype::CNAME)
                || is_cut && !is_wildcard && rtype != rtype::DS
                || is_cut && self.is_signed && rtype == rtype::NS
        };
        let rrsets = self.owners.get(name).into_iter().flatten();
        NodeDraft {
            name: name.into(),
            zone: self.zone,
            rrsets: rrsets
                .filter(|(rtype, _)| !is_hidden(**rtype))
                .map(|(rtype, data)| RrSet::new(*rtype, data.ttl, &data.rdata))
                .collect(),
            steered: steered.filter(|_| !is_cut),
            special: Special {
                delegation: is_cut.then(|| self.delegation(name)),
                dname: self.redirection(name, rtype::DNAME),
                cname: self
                    .redirection(name, rtype::CNAME)
                    .filter(|_| steered.is_none()),
                server_addresses: self.server_addresses(name).unwrap_or_default(),
            },
            proofs: None,
        }
    }

    fn redirection(&self, name: &[u8], rtype: u16) -> Option<Redirection> {
        let data = self.data(name, rtype)?;
        let target: Box<[u8]> = data.rdata.first()?.as_slice().into();
        let mut key = target.clone();
        key.make_ascii_lowercase();
        let ttl = data.ttl;
        Some(Redirection { target, key, ttl })
    }

    fn delegation(&self, cut: &[u8]) -> Delegation {
        let Some(servers) = self.data(cut, rtype::NS) else {
            return Delegation::default();
        };
        let mut delegation = Delegation {
            servers: RrSet::new(rtype::NS, servers.ttl, &servers.rdata),
            ..Delegation::default()
        };
        for server in &servers.rdata {
            let glue = if is_below(&server.to_ascii_lowercase(), cut) {
                &mut delegation.glue
            } else {
                &mut delegation.siblings
            };
            self.push_addresses(server, glue);
        }
        delegation
    }

    /// RFC 1035 §3.3.11: of the name servers that the zone itself knows.
    fn server_addresses(&self, name: &[u8]) -> Option<Spelled> {
        let is_referred_to = self.is_cut(name) && !name.starts_with(&WILDCARD);
        let servers = self.data(name, rtype::NS).filter(|_| !is_referred_to)?;
        let mut addresses = Spelled::default();
        for server in &servers.rdata {
            self.push_addresses(server, &mut addresses);
        }
        Some(addresses)
    }

    /// RFC 1034 §4.2.1: a name server's addresses, from below a delegation too.
    fn push_addresses(&self, server: &[u8], into: &mut Spelled) {
        let key = server.to_ascii_lowercase();
        for rtype in [rtype::A, rtype::AAAA] {
            let Some(data) = self.data(&key, rtype) else {
                continue;
            };
            for rdata in &data.rdata {
                into.push(server, rtype, data.ttl, rdata);
            }
        }
    }

    /// The apex has the zone's keys, beside what the operator has written of them (RFC 4034 §2,
    /// RFC 7344 §3). They live as long as the SOA.
    fn publish_keys(&mut self, signer: Option<&Signer>) {
        let Some(signer) = signer else { return };
        self.is_signed = true;
        let ttl = self.soa_ttl();
        let apex = self.owners.entry(self.apex.clone()).or_default();
        // RFC 8078 §4: what asks for the DS to be deleted, algorithm 0, stands alone, and what one says the other is not to
        // contradict (RFC 7344 §4).
        let has = |rtype, algorithm_at: usize| {
            let data = apex.get(&rtype).map_or(&[][..], |data| &data.rdata);
            data.iter()
                .any(|rdata: &Vec<u8>| rdata.get(algorithm_at) == Some(&0))
        };
        let asks_for_deletion = has(rtype::CDS, 2) || has(rtype::CDNSKEY, 3);
        let types = [rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY];
        for (rtype, rdata) in types.into_iter().zip(signer.key_records()) {
            let is_contrary = asks_for_deletion && rtype != rtype::DNSKEY;
            if !rdata.is_empty() && !is_contrary {
                let none = || Data {
                    ttl,
                    rdata: Vec::new(),
                };
                apex.entry(rtype).or_insert_with(none).rdata.extend(rdata);
            }
        }
    }

    /// Names of the regions whose addresses services answer with here: HTTPS records lead to them
    /// (RFC 9460 §2.4.1). What the operator has written at such a name stands.
    fn publish_regions(&mut self, plan: &Plan) {
        for (id, ttl) in self.regions(plan) {
            let region = plan.regions.of(id);
            let Some(label) = region_label(&region.name) else {
                continue;
            };
            let name: Box<[u8]> = [&*label, &*self.apex].concat().into();
            if name.len() <= LONGEST_NAME && !region.addresses.is_empty() {
                let none = || addresses(&region.addresses, ttl);
                self.owners.entry(name).or_insert_with(none);
            }
        }
    }

    /// The regions between which services choose here, each with the least of their TTLs.
    fn regions(&self, plan: &Plan) -> BTreeMap<RegionId, u32> {
        let mut ttls: BTreeMap<RegionId, u32> = BTreeMap::new();
        let services = self.steered.values().map(|id| plan.services.of(*id));
        for service in services.filter(|service| service.regions.len() > 1) {
            let ttl = service.dns.ttl.secs();
            for member in &service.regions {
                let least = ttls.entry(member.region).or_insert(ttl);
                *least = ttl.min(*least);
            }
        }
        ttls
    }

    fn soa_ttl(&self) -> u32 {
        self.data(&self.apex, rtype::SOA).map_or(0, |soa| soa.ttl)
    }

    fn negative_soa(&self) -> Option<RrSet> {
        let soa = self.data(&self.apex, rtype::SOA)?;
        Some(RrSet::new(rtype::SOA, self.negative_ttl(), &soa.rdata))
    }

    /// RFC 2308 §3: a negative answer lives for the lesser of the SOA's TTL and its `minimum`, the
    /// last four bytes of its data.
    fn negative_ttl(&self) -> u32 {
        let soa = self.data(&self.apex, rtype::SOA);
        let minimum = soa.and_then(|soa| soa.rdata.first()?.last_chunk::<4>());
        let minimum = minimum.map_or(0, |minimum| u32::from_be_bytes(*minimum));
        soa.map_or(0, |soa| soa.ttl.min(minimum))
    }
}

/// The records of a name that has these addresses.
fn addresses(addresses: &[IpAddr], ttl: u32) -> Owned {
    let mut owned = Owned::new();
    for address in addresses {
        let (rtype, rdata) = match address {
            IpAddr::V4(v4) => (rtype::A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (rtype::AAAA, v6.octets().to_vec()),
        };
        let rdata_of = owned.entry(rtype).or_insert(Data {
            ttl,
            rdata: Vec::new(),
        });
        rdata_of.rdata.push(rdata);
    }
    owned
}

/// Whether a name is at or below another.
fn is_below(name: &[u8], above: &[u8]) -> bool {
    std::iter::successors(Some(name), |name| parent(name)).any(|name| name == above)
}
