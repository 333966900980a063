//! What the regions of a service publish: addresses and HTTPS records that hint at them (RFC 9460), or
//! a host name.
//!
//! Follows from the Plan alone; which region an answer is of, `steered` knows.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::choice::{ALTERNATIVES, SteeredType};
use super::rrset::RrSet;
use crate::config::plan::{Plan, Region};
use crate::dns::codec::code::rtype;
use crate::dns::codec::name::{LONGEST_NAME, to_key, to_wire};
use crate::ids::{RegionId, ServiceId};
use crate::steering::Draw;

/// The port that HTTPS records need not name (RFC 9460 §9.1).
const HTTPS_PORT: u16 = 443;

/// `1 .`: the first to be tried, and the owner itself as target (RFC 9460 §2.2).
const FIRST_AND_SELF: [u8; 3] = [0, 1, 0];

/// `alpn=h2,http/1.1`.
const PARAM_ALPN: [u8; 16] = *b"\x00\x01\x00\x0c\x02h2\x08http/1.1";
const PARAM_PORT: [u8; 4] = [0, 3, 0, 2];
const PARAM_IPV4HINT: u16 = 4;
const PARAM_IPV6HINT: u16 = 6;

/// Below a zone's apex, the name below which its regions have theirs.
pub(in crate::dns) const REGIONS: &[u8] = b"\x08_regions";

/// RDATA of an HTTPS record, most of which fit without an allocation.
pub(in crate::dns) type HttpsData = SmallVec<[u8; 192]>;

/// What a service's regions publish.
#[derive(Debug)]
pub(in crate::dns) struct Offer {
    /// How many addresses an answer has.
    answers: usize,
    /// In the service's order.
    regions: Vec<RegionOffer>,
    /// Whether any region is given by name.
    has_aliases: bool,
}

/// What services that offer alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OfferKey {
    answers: usize,
    /// Seconds, in calm.
    ttl: u32,
    regions: Vec<RegionId>,
}

impl OfferKey {
    pub(super) fn of(plan: &Plan, id: ServiceId) -> Self {
        let service = plan.services.of(id);
        Self {
            answers: usize::from(service.dns.answers).max(1),
            ttl: service.dns.ttl.secs(),
            regions: service.regions.iter().map(|member| member.region).collect(),
        }
    }
}

/// A region's records.
#[derive(Debug)]
struct RegionOffer {
    region: RegionId,
    /// By type, one RRset for every place at which an answer can begin.
    rrsets: [Vec<RrSet>; SteeredType::ALL.len()],
    /// Instead of addresses.
    alias: Option<Alias>,
    /// How other regions' HTTPS records lead here, if it has a name that they can give.
    alternative: Option<Alternative>,
}

/// The name that a region is given by.
#[derive(Debug)]
pub(in crate::dns) struct Alias {
    /// In lower case.
    pub(in crate::dns) target: Box<[u8]>,
    /// The CNAME.
    pub(in crate::dns) rrset: RrSet,
}

/// An HTTPS record's data behind its priority, in which the apex may have to be put.
#[derive(Debug)]
struct Alternative {
    target: Box<[u8]>,
    /// Whether the target goes on with the zone's apex.
    is_below_apex: bool,
    params: Box<[u8]>,
}

impl Offer {
    /// Encodes what regions publish.
    pub(super) fn compile(plan: &Plan, key: &OfferKey) -> Self {
        let port = https_port(plan);
        let regions = key.regions.iter();
        let regions: Vec<RegionOffer> = regions
            .map(|region| RegionOffer::new(plan, *region, key, port))
            .collect();
        Self {
            answers: key.answers,
            has_aliases: regions.iter().any(|region| region.alias.is_some()),
            regions,
        }
    }

    /// The regions, in their order.
    pub(in crate::dns) fn regions(&self) -> impl Iterator<Item = RegionId> {
        self.regions.iter().map(|region| region.region)
    }

    /// Where a region stands among them.
    pub(in crate::dns) fn member(&self, region: RegionId) -> Option<usize> {
        self.regions().position(|known| known == region)
    }

    /// The name that a region is given by.
    pub(in crate::dns) fn alias(&self, member: usize) -> Option<&Alias> {
        self.regions.get(member)?.alias.as_ref()
    }

    /// Whether any region is given by name.
    pub(in crate::dns) fn has_aliases(&self) -> bool {
        self.has_aliases
    }

    /// Whether another region's HTTPS records can lead to this one.
    pub(in crate::dns) fn is_alternative(&self, member: usize) -> bool {
        let region = self.regions.get(member);
        region.is_some_and(|region| region.alternative.is_some())
    }

    /// The HTTPS records that lead to regions when those before them fail (RFC 9460 §2.4.1: lower priorities come
    /// first, and 1 is that of the first record).
    pub(in crate::dns) fn behind(
        &self,
        members: impl Iterator<Item = usize>,
        apex: &[u8],
    ) -> SmallVec<[HttpsData; ALTERNATIVES]> {
        let ranked = (2..).zip(members);
        let records =
            ranked.filter_map(|(priority, member)| self.alternative(member, priority, apex));
        records.collect()
    }

    fn alternative(&self, member: usize, priority: u16, apex: &[u8]) -> Option<HttpsData> {
        let alternative = self.regions.get(member)?.alternative.as_ref()?;
        if alternative.is_below_apex && alternative.target.len() + apex.len() > LONGEST_NAME {
            return None;
        }
        let mut rdata = HttpsData::from_slice(&priority.to_be_bytes());
        rdata.extend_from_slice(&alternative.target);
        if alternative.is_below_apex {
            rdata.extend_from_slice(apex);
        }
        rdata.extend_from_slice(&alternative.params);
        Some(rdata)
    }

    /// Whether a region has records of a type.
    pub(in crate::dns) fn has(&self, member: usize, rtype: SteeredType) -> bool {
        self.rotations(member, rtype) > 0
    }

    /// Whether a region has records of any type, or is given by name.
    pub(in crate::dns) fn publishes(&self, member: usize) -> bool {
        self.alias(member).is_some() || self.has(member, SteeredType::Https)
    }

    /// Whether any region has.
    pub(in crate::dns) fn any_has(&self, rtype: SteeredType) -> bool {
        (0..self.regions.len()).any(|member| self.has(member, rtype))
    }

    /// At how many places an answer can begin.
    pub(in crate::dns) fn rotations(&self, member: usize, rtype: SteeredType) -> usize {
        let region = self.regions.get(member);
        region.map_or(0, |region| region.of(rtype).len())
    }

    /// Whether answers that begin elsewhere are other RRsets: with all the addresses in each, they
    /// are the same set in another order.
    pub(in crate::dns) fn rotations_differ(&self, member: usize, rtype: SteeredType) -> bool {
        rtype == SteeredType::Https || self.answers < self.rotations(member, rtype)
    }

    /// The answer that a draw gives, and where it begins.
    #[inline]
    pub(in crate::dns) fn answer(
        &self,
        member: usize,
        rtype: SteeredType,
        draw: Draw,
    ) -> Option<(usize, &RrSet)> {
        let answers = self.regions.get(member)?.of(rtype);
        let rotation = rotation(answers.len(), draw);
        Some((rotation, answers.get(rotation)?))
    }

    /// For each HTTPS record that a region publishes, a draw with which answers begin there.
    pub(in crate::dns) fn https_draws(&self, member: usize) -> impl Iterator<Item = Draw> {
        let rotations = self.rotations(member, SteeredType::Https);
        (0..rotations)
            .filter_map(|rotation| u64::try_from(rotation).ok())
            .map(Draw)
    }

    /// The answer that begins at a place.
    pub(in crate::dns) fn rrset(
        &self,
        member: usize,
        rtype: SteeredType,
        rotation: usize,
    ) -> Option<&RrSet> {
        self.regions.get(member)?.of(rtype).get(rotation)
    }
}

impl RegionOffer {
    fn new(plan: &Plan, region: RegionId, key: &OfferKey, port: u16) -> Self {
        let Region {
            name,
            addresses,
            alias,
            ..
        } = plan.regions.of(region);
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some(v4.octets()),
            IpAddr::V6(_) => None,
        });
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V6(v6) => Some(v6.octets()),
            IpAddr::V4(_) => None,
        });
        let (v4, v6): (Vec<[u8; 4]>, Vec<[u8; 16]>) = (v4.collect(), v6.collect());
        let (most, ttl) = (key.answers, key.ttl);
        let params = |at| params(port, &rotated(&v4, at, most), &rotated(&v6, at, most));
        let https = |at| [&FIRST_AND_SELF[..], &params(at)].concat();
        let label = alias.is_none().then(|| region_label(name)).flatten();
        let target = match alias {
            Some(alias) => Some(to_key(alias)),
            None => label.filter(|_| !addresses.is_empty()),
        };
        Self {
            region,
            rrsets: SteeredType::ALL.map(|rtype| match rtype {
                SteeredType::A => rrsets(rtype, ttl, v4.len(), |at| rotated(&v4, at, most)),
                SteeredType::Aaaa => rrsets(rtype, ttl, v6.len(), |at| rotated(&v6, at, most)),
                SteeredType::Https => {
                    rrsets(rtype, ttl, v4.len().max(v6.len()), |at| vec![https(at)])
                }
            }),
            alias: alias.as_ref().map(|alias| Alias {
                target: to_key(alias),
                rrset: RrSet::new(rtype::CNAME, ttl, &[to_wire(alias)]),
            }),
            alternative: target.map(|target| Alternative {
                target,
                is_below_apex: alias.is_none(),
                params: params(0).into(),
            }),
        }
    }

    fn of(&self, rtype: SteeredType) -> &[RrSet] {
        let [a, aaaa, https] = &self.rrsets;
        match rtype {
            SteeredType::A => a,
            SteeredType::Aaaa => aaaa,
            SteeredType::Https => https,
        }
    }
}

/// Where of so many places an answer begins. `steer` mixes the draw, so that the two do not follow each other.
fn rotation(rotations: usize, draw: Draw) -> usize {
    if rotations <= 1 {
        return 0; // A division is the dearest that a processor has.
    }
    let [_, _, _, _, a, b, c, d] = draw.0.to_be_bytes();
    let number = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
    number.checked_rem(rotations).unwrap_or(0)
}

/// `most` of the addresses, from a place on and around the end.
fn rotated<const N: usize>(addresses: &[[u8; N]], rotation: usize, most: usize) -> Vec<[u8; N]> {
    let from = rotation.checked_rem(addresses.len()).unwrap_or(0);
    let around = addresses.iter().cycle().skip(from);
    around.take(most.min(addresses.len())).copied().collect()
}

/// An RRset for every place at which an answer can begin.
fn rrsets<D: AsRef<[u8]>>(
    rtype: SteeredType,
    ttl: u32,
    rotations: usize,
    data: impl Fn(usize) -> Vec<D>,
) -> Vec<RrSet> {
    (0..rotations)
        .map(|rotation| RrSet::new(rtype.number(), ttl, &data(rotation)))
        .collect()
}

/// The name of a region below a zone's apex, up to there; `None` for one that is no name.
pub(super) fn region_label(region: &str) -> Option<Box<[u8]>> {
    let mut name = Vec::new();
    for label in region.split('.') {
        let length = u8::try_from(label.len()).ok();
        name.push(length.filter(|length| (1..=63).contains(length))?);
        name.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    name.extend_from_slice(REGIONS);
    Some(name.into())
}

fn params(port: u16, v4: &[[u8; 4]], v6: &[[u8; 16]]) -> Vec<u8> {
    let mut rdata = PARAM_ALPN.to_vec();
    if port != HTTPS_PORT {
        rdata.extend(PARAM_PORT);
        rdata.extend(port.to_be_bytes());
    }
    append_hint(&mut rdata, PARAM_IPV4HINT, v4.as_flattened());
    append_hint(&mut rdata, PARAM_IPV6HINT, v6.as_flattened());
    rdata
}

/// A hint with these addresses; none without any (RFC 9460 §7.3).
fn append_hint(rdata: &mut Vec<u8>, param: u16, addresses: &[u8]) {
    if addresses.is_empty() {
        return;
    }
    let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
    rdata.extend(param.to_be_bytes());
    rdata.extend(length.to_be_bytes());
    rdata.extend_from_slice(addresses);
}

/// The port of the https listeners: 443 if one has it, else the first's.
fn https_port(plan: &Plan) -> u16 {
    let mut ports = plan.listen.https_ports.iter().copied();
    let first = ports.next().unwrap_or(HTTPS_PORT);
    if ports.any(|port| port == HTTPS_PORT) {
        HTTPS_PORT
    } else {
        first
    }
}
