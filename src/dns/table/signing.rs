//! Signs what the table holds: RRsets, what services answer, and what proves that there is no more.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::choice::SteeredType;
use super::names::{NodeDraft, Unindexed, ZoneFacts};
use super::offer::Offer;
use super::ranked::{RankedSignatures, Ranking, Room, rankable};
use super::rrset::RrSet;
use crate::dns::codec::code::rtype;
use crate::dns::dnssec::{
    Haste, Signatures, Signer, SigningRun, Signs, ToSign, ZoneKeys, bitmap, nsec,
};
use crate::ids::{ServiceId, Table};

/// The types of a name that is another name (RFC 4034 §4.1.2, RFC 4035 §2.5).
pub(in crate::dns) const ALIAS_TYPES: [u16; 3] = [rtype::CNAME, rtype::RRSIG, rtype::NSEC];

/// Fewer names are not worth a thread: signing them takes a few milliseconds.
const LEAST_SHARE: usize = 64;

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

    /// The same keys at another time, in seconds since 1970.
    pub(super) fn at(&self, now: u32) -> Self {
        Self::new(Arc::clone(&self.keys), now)
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

    /// Whether any zone is to be signed, by keys that sign now or at another time.
    pub(super) fn has_keys(&self) -> bool {
        self.keys.iter().any(Option::is_some)
    }

    /// What of a zone is signed by now; none: it has no keys.
    pub(super) fn signs(&self, zone: usize) -> Option<Signs> {
        let keys = self.keys.get(zone)?.as_ref()?;
        (!keys.keys.is_empty()).then(|| keys.signs(self.now))
    }

    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }

    pub(super) fn signer(&self, zone: usize, apex: &[u8]) -> Option<Signer> {
        let keys = self.keys.get(zone)?.clone()?;
        Signer::new(apex, keys, self.now)
    }
}

/// What a name of a signed zone has beside its RRsets, which have their signatures with them.
#[derive(Debug)]
pub(in crate::dns) struct Proofs {
    /// That it has no other types.
    pub(in crate::dns) denials: Denials,
    /// Of what the service answers for it.
    pub(in crate::dns) steered: SteeredSignatures,
}

/// NSECs of a name (RFC 9824 §3.2).
#[derive(Debug)]
pub(in crate::dns) struct Denials {
    /// Every type that the name has.
    types: Box<[u16]>,
    all: RrSet,
    /// Without a type that the name's service answers in other places or at other times.
    without: Vec<(u16, RrSet)>,
    /// Where the name is another name: its service has a region given by name.
    alias: Option<RrSet>,
}

impl Denials {
    /// What proves that the name does not have a type now.
    pub(in crate::dns) fn of(&self, qtype: u16) -> &RrSet {
        let without = self.without.iter().find(|(rtype, _)| *rtype == qtype);
        without.map_or(&self.all, |(_, nsec)| nsec)
    }

    /// Every type that the name has.
    pub(in crate::dns) fn all(&self) -> &RrSet {
        &self.all
    }

    /// Where the name is another name.
    pub(in crate::dns) fn alias(&self) -> Option<&RrSet> {
        self.alias.as_ref()
    }

    /// The types beside one that the names have for which a wildcard stands. Its NS delegates none of them, and would
    /// have a validator take their denials for those of a cut (RFC 6840 §4.1).
    pub(in crate::dns) fn types_beside(&self, qtype: u16) -> impl Iterator<Item = u16> {
        beside(&self.types, qtype).filter(|rtype| *rtype != rtype::NS)
    }
}

/// RFC 4035 §2.3: what the zone above says at a cut.
fn is_of_cut(rtype: &u16) -> bool {
    [rtype::NS, rtype::DS, rtype::RRSIG, rtype::NSEC].contains(rtype)
}

fn beside(types: &[u16], qtype: u16) -> impl Iterator<Item = u16> {
    let types = types.iter().copied();
    types.filter(move |rtype| *rtype != qtype)
}

/// RRSIGs of what a service answers for a name: by region, type and rotation; of HTTPS records of several regions by
/// ranking.
#[derive(Debug, Default)]
pub(in crate::dns) struct SteeredSignatures {
    by_member: Vec<[Vec<RrSet>; SteeredType::ALL.len()]>,
    /// Of the CNAMEs of regions given by name.
    aliases: Vec<Option<RrSet>>,
    /// None where the Plan has too many, or the name is a wildcard.
    ranked: Option<RankedSignatures>,
}

impl SteeredSignatures {
    /// Of the answer of a region that begins at a rotation.
    pub(in crate::dns) fn of(
        &self,
        member: usize,
        rtype: SteeredType,
        rotation: usize,
    ) -> Option<&RrSet> {
        let [a, aaaa, https] = self.by_member.get(member)?;
        let rotations = match rtype {
            SteeredType::A => a,
            SteeredType::Aaaa => aaaa,
            SteeredType::Https => https,
        };
        // Where all rotations are one RRset, there is one.
        rotations.get(rotation).or(rotations.first())
    }

    /// Of the HTTPS records of several regions.
    pub(in crate::dns) fn ranked(&self, ranking: Ranking) -> Option<&RrSet> {
        self.ranked.as_ref()?.get(&ranking)
    }

    /// Whether HTTPS records of several regions are all signed.
    pub(super) fn is_ranked(&self) -> bool {
        self.ranked.is_some()
    }

    /// Of the CNAME of a region given by name.
    pub(in crate::dns) fn alias(&self, member: usize) -> Option<&RrSet> {
        self.aliases.get(member)?.as_ref()
    }
}

impl Unindexed {
    /// Signs every zone that has keys. `previous` is what was signed before.
    pub(super) fn sign<'p>(
        &mut self,
        offers: &Table<ServiceId, Arc<Offer>>,
        previous: Option<&'p Signatures>,
        haste: Haste<'p>,
    ) -> SigningRun<'p> {
        let mut run = SigningRun::new(previous, haste);
        let zones = &self.zones;
        if zones.iter().all(|zone| zone.signer.is_none()) {
            return run;
        }
        let threads = match haste {
            Haste::AtOnce => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Haste::Beside(_) => 1,
        };
        let share = self.nodes.len().div_ceil(threads).max(LEAST_SHARE);
        let ranked = ranked_names(&self.nodes, zones, offers);
        std::thread::scope(|scope| {
            let ranked = ranked.chunks(share).chain([&[][..]]);
            let shares = self
                .nodes
                .chunks_mut(share)
                .chain([&mut *self.inner_apexes]);
            let shares: Vec<_> = shares
                .zip(ranked)
                .map(|(nodes, ranked)| {
                    let run = SigningRun::new(previous, haste);
                    scope.spawn(move || sign_nodes((nodes, ranked), zones, offers, run))
                })
                .collect();
            for share in shares {
                match share.join() {
                    Ok(part) => run.merge(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        for zone in &mut self.zones {
            sign_negative_soa(zone, &mut run);
        }
        run
    }
}

/// For each name whether its HTTPS records of several regions are signed: first come, first served.
fn ranked_names(
    nodes: &[NodeDraft],
    zones: &[ZoneFacts],
    offers: &Table<ServiceId, Arc<Offer>>,
) -> Vec<bool> {
    let mut room = Room::new();
    let is_signed = |node: &NodeDraft| zones.get(node.zone).is_some_and(|z| z.signer.is_some());
    let ranked = nodes.iter().map(|node| {
        let service = rankable(node).filter(|_| is_signed(node));
        service.is_some_and(|service| room.take(offers.of(service)))
    });
    ranked.collect()
}

/// Signs names, and of those that are marked the HTTPS records of several regions too.
fn sign_nodes<'p>(
    (nodes, ranked): (&mut [NodeDraft], &[bool]),
    zones: &[ZoneFacts],
    offers: &Table<ServiceId, Arc<Offer>>,
    mut run: SigningRun<'p>,
) -> SigningRun<'p> {
    let ranked = ranked.iter().copied().chain(std::iter::repeat(false));
    for (node, is_ranked) in nodes.iter_mut().zip(ranked) {
        if let Some(zone) = zones.get(node.zone)
            && let Some(signer) = &zone.signer
        {
            let name = node.name.clone();
            let mut signing = NodeSigning {
                name: &name,
                apex: is_ranked.then_some(&*zone.apex),
                signer,
                negative_ttl: zone.negative_ttl,
                run: &mut run,
            };
            signing.sign(node, offers);
        }
    }
    run
}

/// The SOA of negative answers has a TTL of its own, and the original one in its signature.
fn sign_negative_soa(zone: &mut ZoneFacts, run: &mut SigningRun<'_>) {
    let Some(signer) = &zone.signer else { return };
    let Some(soa) = zone.negative_soa.take() else {
        return;
    };
    let rdata: Vec<&[u8]> = soa.rdata().collect();
    let set = ToSign {
        owner: &zone.apex,
        rtype: rtype::SOA,
        original_ttl: zone.soa_ttl,
    };
    let rrsigs = signer.sign(run, set, &rdata);
    zone.negative_soa = Some(soa.signed(&rrsigs));
}

/// One name that is being signed.
struct NodeSigning<'a, 'r, 'p> {
    name: &'a [u8],
    /// Of its zone, if HTTPS records of several regions are to be signed.
    apex: Option<&'a [u8]>,
    signer: &'a Signer,
    negative_ttl: u32,
    run: &'r mut SigningRun<'p>,
}

impl NodeSigning<'_, '_, '_> {
    fn sign(&mut self, node: &mut NodeDraft, offers: &Table<ServiceId, Arc<Offer>>) {
        node.rrsets = std::mem::take(&mut node.rrsets)
            .into_iter()
            .map(|set| self.signed(set))
            .collect();
        let offer = node.steered.map(|service| &**offers.of(service));
        node.proofs = Some(Proofs {
            denials: self.denials(node, offer),
            steered: offer.map(|offer| self.steered(offer)).unwrap_or_default(),
        });
    }

    fn signed(&mut self, set: RrSet) -> RrSet {
        let rdata: Vec<&[u8]> = set.rdata().collect();
        let rrsigs = self.rrsigs(set.rtype(), set.ttl(), &rdata);
        set.signed(&rrsigs)
    }

    fn rrsigs(&mut self, rtype: u16, original_ttl: u32, rdata: &[&[u8]]) -> Vec<Arc<[u8]>> {
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
                    .filter_map(|rotation| offer.rrset(member, rtype, rotation))
                    .map(|answer| self.signatures(answer))
                    .collect()
            })
        });
        let by_member = by_member.collect();
        let members = 0..offer.regions().count();
        let aliases = members.map(|member| offer.alias(member));
        let aliases = aliases.map(|alias| alias.map(|alias| self.signatures(&alias.rrset)));
        SteeredSignatures {
            by_member,
            aliases: aliases.collect(),
            ranked: self.apex.map(|apex| self.ranked(offer, apex)),
        }
    }

    fn ranked(&mut self, offer: &Offer, apex: &[u8]) -> RankedSignatures {
        let rankings = Ranking::all(offer).filter_map(|ranking| {
            let rotation = usize::from(ranking.rotation);
            let first = offer.rrset(ranking.first(), SteeredType::Https, rotation)?;
            let behind = offer.behind(ranking.behind(), apex);
            let behind = behind.iter().map(|rdata| &**rdata);
            let rdata: Vec<&[u8]> = first.rdata().chain(behind).collect();
            let rrsigs = self.rrsigs(rtype::HTTPS, first.ttl(), &rdata);
            let signatures = RrSet::new(rtype::RRSIG, first.ttl(), &rrsigs);
            Some((ranking, signatures))
        });
        rankings.collect()
    }

    /// The signatures of an RRset alone.
    fn signatures(&mut self, set: &RrSet) -> RrSet {
        let rdata: Vec<&[u8]> = set.rdata().collect();
        let rrsigs = self.rrsigs(set.rtype(), set.ttl(), &rdata);
        RrSet::new(rtype::RRSIG, set.ttl(), &rrsigs)
    }

    fn denials(&mut self, node: &NodeDraft, offer: Option<&Offer>) -> Denials {
        let steered = SteeredType::ALL.into_iter();
        let steered: Vec<u16> = steered
            .filter(|rtype| offer.is_some_and(|offer| offer.any_has(*rtype)))
            .map(SteeredType::number)
            .collect();
        let mut types: Vec<u16> = node.rrsets.iter().map(RrSet::rtype).collect();
        types.extend(&steered);
        types.extend(node.special.delegation.as_ref().map(|_| rtype::NS));
        types.extend([rtype::RRSIG, rtype::NSEC]);
        types.sort_unstable();
        types.dedup();
        let own: Vec<u16> = match node.special.delegation {
            Some(_) => types.iter().copied().filter(is_of_cut).collect(),
            None => types.clone(),
        };
        let all = self.nsec(own.iter().copied());
        let without = steered.into_iter();
        let without = without.map(|rtype| (rtype, self.nsec(beside(&own, rtype))));
        let without = without.collect();
        let has_aliases = offer.is_some_and(Offer::has_aliases);
        Denials {
            all,
            alias: has_aliases.then(|| self.nsec(ALIAS_TYPES.into_iter())),
            without,
            types: types.into(),
        }
    }

    /// RFC 9077 §3: an NSEC lives as long as a negative answer.
    fn nsec(&mut self, types: impl Iterator<Item = u16>) -> RrSet {
        let rdata = nsec(self.name, self.signer.name(), &bitmap(types));
        self.signed(RrSet::new(rtype::NSEC, self.negative_ttl, &[rdata]))
    }
}
