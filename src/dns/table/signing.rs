//! Signs what the table holds: RRsets, what services answer, and what proves that there is no more.

use std::sync::Arc;

use super::names::{Names, Node, ZoneFacts};
use super::offer::Offer;
use super::rrset::RrSet;
use super::steered::SteeredType;
use crate::dns::codec::code::rtype;
use crate::dns::dnssec::{Signer, SigningRun, ToSign, ZoneKeys, nsec};
use crate::ids::{ServiceId, Table};

/// The keys of the Plan's zones, and what time it is.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    keys: Arc<[Option<Arc<ZoneKeys>>]>,
    now: u32,
}

impl Signing {
    /// Keys in the order of the Plan's zones, `None` for a zone that is not signed; `now` in seconds
    /// since 1970.
    pub fn new(keys: Arc<[Option<Arc<ZoneKeys>>]>, now: u32) -> Self {
        Self { keys, now }
    }

    /// The time, in seconds since 1970.
    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// When the times of a key next change anything, whether any is active by now or not.
    pub(super) fn next_change(&self) -> Option<u32> {
        let keys = self.keys.iter().flatten();
        keys.filter_map(|keys| keys.next_change(self.now)).min()
    }

    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }

    pub(super) fn signer(&self, zone: usize, apex: &[u8]) -> Option<Signer> {
        let keys = self.keys.get(zone)?.clone()?;
        Signer::new(apex, keys, self.now)
    }
}

/// NSECs of a name (RFC 9824 §3.2).
#[derive(Debug, Default)]
pub(in crate::dns) struct Denials {
    /// Every type that the name has.
    types: Box<[u16]>,
    all: Option<RrSet>,
    /// Without a type that the name's service answers in other places or at other times.
    without: Vec<(u16, RrSet)>,
}

impl Denials {
    /// What proves that the name does not have a type now; `None` in an unsigned zone.
    pub(in crate::dns) fn of(&self, qtype: u16) -> Option<&RrSet> {
        let without = self.without.iter().find(|(rtype, _)| *rtype == qtype);
        without.map(|(_, nsec)| nsec).or(self.all.as_ref())
    }

    /// The types that the name has beside one.
    pub(in crate::dns) fn types_beside(&self, qtype: u16) -> impl Iterator<Item = u16> {
        self.types
            .iter()
            .copied()
            .filter(move |rtype| *rtype != qtype)
    }
}

/// Signatures of what a service answers for a name: by region, type and rotation.
#[derive(Debug, Default)]
pub(in crate::dns) struct SteeredSignatures {
    by_member: Vec<[Vec<Rrsigs>; SteeredType::ALL.len()]>,
}

/// One of each key.
type Rrsigs = Vec<Arc<[u8]>>;

impl SteeredSignatures {
    /// Of the answer of a region that begins at a rotation.
    pub(in crate::dns) fn of(
        &self,
        member: usize,
        rtype: SteeredType,
        rotation: usize,
    ) -> &[Arc<[u8]>] {
        let types = self.by_member.get(member).into_iter().flatten();
        let found = SteeredType::ALL
            .iter()
            .zip(types)
            .find(|(known, _)| **known == rtype);
        // Where all rotations are one RRset, there is one.
        let found = found.and_then(|(_, rotations)| rotations.get(rotation).or(rotations.first()));
        found.map_or(&[], Vec::as_slice)
    }
}

impl Names {
    /// Signs every zone that has keys.
    pub(super) fn sign(&mut self, offers: &Table<ServiceId, Arc<Offer>>, run: &mut SigningRun<'_>) {
        for (name, index) in self.by_name.iter().chain(&self.inner_cuts) {
            let node = usize::try_from(*index)
                .ok()
                .and_then(|index| self.nodes.get_mut(index));
            let Some(node) = node else { continue };
            let Some(zone) = self.zones.get_mut(node.zone) else {
                continue;
            };
            let ZoneFacts {
                signer: Some(signer),
                negative_ttl,
                ..
            } = zone
            else {
                continue;
            };
            let mut signing = NodeSigning {
                name,
                signer,
                negative_ttl: *negative_ttl,
                run,
            };
            signing.sign(node, offers);
            if name.len() == zone.apex_length {
                sign_negative_soa(zone, name, node, run);
            }
        }
    }
}

/// The SOA of negative answers has a TTL of its own, and the original one in its signature.
fn sign_negative_soa(zone: &mut ZoneFacts, apex: &[u8], node: &Node, run: &mut SigningRun<'_>) {
    let (Some(signer), Some(soa)) = (&zone.signer, zone.negative_soa.take()) else {
        return;
    };
    let original_ttl = node.rrset(rtype::SOA).map_or(soa.ttl(), RrSet::ttl);
    let rdata: Vec<&[u8]> = soa.rdata().collect();
    let set = ToSign {
        owner: apex,
        rtype: rtype::SOA,
        original_ttl,
    };
    let rrsigs = signer.sign(run, set, &rdata);
    zone.negative_soa = Some(soa.signed(&rrsigs));
}

/// One name that is being signed.
struct NodeSigning<'a, 'r, 'p> {
    name: &'a [u8],
    signer: &'a Signer,
    negative_ttl: u32,
    run: &'r mut SigningRun<'p>,
}

impl NodeSigning<'_, '_, '_> {
    fn sign(&mut self, node: &mut Node, offers: &Table<ServiceId, Arc<Offer>>) {
        node.rrsets = std::mem::take(&mut node.rrsets)
            .into_iter()
            .map(|set| self.signed(set))
            .collect();
        let offer = node.steered.map(|service| &**offers.of(service));
        if let Some(offer) = offer {
            node.steered_signatures = self.steered(offer);
        }
        node.denials = self.denials(node, offer);
    }

    fn signed(&mut self, set: RrSet) -> RrSet {
        let rdata: Vec<&[u8]> = set.rdata().collect();
        let rrsigs = self.rrsigs(set.rtype(), set.ttl(), &rdata);
        set.signed(&rrsigs)
    }

    fn rrsigs(&mut self, rtype: u16, original_ttl: u32, rdata: &[&[u8]]) -> Rrsigs {
        let owner = self.name;
        let set = ToSign {
            owner,
            rtype,
            original_ttl,
        };
        self.signer.sign(self.run, set, rdata)
    }

    fn steered(&mut self, offer: &Offer) -> SteeredSignatures {
        let members = 0..offer.regions().count();
        let by_member = members.map(|member| {
            SteeredType::ALL.map(|rtype| {
                let rotations = match offer.rotations(member, rtype) {
                    rotations if offer.rotations_differ(member, rtype) => rotations,
                    rotations => rotations.min(1),
                };
                (0..rotations)
                    .map(|rotation| {
                        let rdata: Vec<&[u8]> = offer.rdata(member, rtype, rotation).collect();
                        self.rrsigs(rtype.number(), offer.ttl, &rdata)
                    })
                    .collect()
            })
        });
        let by_member = by_member.collect();
        SteeredSignatures { by_member }
    }

    fn denials(&mut self, node: &Node, offer: Option<&Offer>) -> Denials {
        let steered = SteeredType::ALL.into_iter();
        let steered: Vec<u16> = steered
            .filter(|rtype| offer.is_some_and(|offer| offer.any_has(*rtype)))
            .map(SteeredType::number)
            .collect();
        let mut types: Vec<u16> = node.rrsets.iter().map(RrSet::rtype).collect();
        types.extend(&steered);
        types.extend(node.delegation.as_ref().map(|_| rtype::NS));
        types.extend([rtype::RRSIG, rtype::NSEC]);
        types.sort_unstable();
        let mut denials = Denials {
            types: types.into(),
            ..Denials::default()
        };
        // No type is 0.
        denials.all = Some(self.nsec(denials.types_beside(0)));
        for rtype in steered {
            let nsec = self.nsec(denials.types_beside(rtype));
            denials.without.push((rtype, nsec));
        }
        denials
    }

    /// RFC 9077 §3: an NSEC lives as long as a negative answer.
    fn nsec(&mut self, types: impl Iterator<Item = u16>) -> RrSet {
        let rdata = nsec(self.name, types);
        self.signed(RrSet::new(rtype::NSEC, self.negative_ttl, &[rdata]))
    }
}
