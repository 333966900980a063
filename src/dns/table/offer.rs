//! What the regions of a service publish: addresses, and HTTPS records that hint at them (RFC 9460).
//!
//! Follows from the Plan alone; which region an answer is of, `steered` knows.

use std::net::IpAddr;

use super::rrset::RrSet;
use super::steered::SteeredType;
use crate::config::plan::Plan;
use crate::ids::{RegionId, ServiceId};
use crate::steering::Draw;

/// The port that HTTPS records need not name (RFC 9460 §9.1).
const HTTPS_PORT: u16 = 443;

/// `1 . alpn=h2,http/1.1`: priority, the owner itself as target, the parameter (RFC 9460 §2.2).
const HTTPS_START: [u8; 19] = *b"\x00\x01\x00\x00\x01\x00\x0c\x02h2\x08http/1.1";
const PARAM_PORT: [u8; 4] = [0, 3, 0, 2];
const PARAM_IPV4HINT: u16 = 4;
const PARAM_IPV6HINT: u16 = 6;

/// What a service's regions publish.
#[derive(Debug)]
pub(in crate::dns) struct Offer {
    /// How many addresses an answer has.
    answers: usize,
    /// In the service's order.
    regions: Vec<RegionOffer>,
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
}

impl Offer {
    /// Encodes what regions publish.
    pub(super) fn compile(plan: &Plan, key: &OfferKey) -> Self {
        let port = https_port(plan);
        let regions = key.regions.iter();
        Self {
            answers: key.answers,
            regions: regions
                .map(|region| RegionOffer::new(plan, *region, key, port))
                .collect(),
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

    /// Whether a region has records of a type.
    pub(in crate::dns) fn has(&self, member: usize, rtype: SteeredType) -> bool {
        self.rotations(member, rtype) > 0
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

    /// Where an answer begins. `steer` mixes the draw, so that the two do not follow each other.
    pub(in crate::dns) fn rotation(&self, member: usize, rtype: SteeredType, draw: Draw) -> usize {
        let [_, _, _, _, a, b, c, d] = draw.0.to_be_bytes();
        let number = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        number
            .checked_rem(self.rotations(member, rtype))
            .unwrap_or(0)
    }

    /// The answer that begins there.
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
        let addresses = &plan.regions.of(region).addresses;
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
        let https = |at| https(port, &rotated(&v4, at, most), &rotated(&v6, at, most));
        Self {
            region,
            rrsets: SteeredType::ALL.map(|rtype| match rtype {
                SteeredType::A => rrsets(rtype, ttl, v4.len(), |at| rotated(&v4, at, most)),
                SteeredType::Aaaa => rrsets(rtype, ttl, v6.len(), |at| rotated(&v6, at, most)),
                SteeredType::Https => {
                    rrsets(rtype, ttl, v4.len().max(v6.len()), |at| vec![https(at)])
                }
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

fn https(port: u16, v4: &[[u8; 4]], v6: &[[u8; 16]]) -> Vec<u8> {
    let mut rdata = HTTPS_START.to_vec();
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
    let mut ports = plan.listen.https.iter().map(std::net::SocketAddr::port);
    let first = ports.next().unwrap_or(HTTPS_PORT);
    if ports.any(|port| port == HTTPS_PORT) {
        HTTPS_PORT
    } else {
        first
    }
}
