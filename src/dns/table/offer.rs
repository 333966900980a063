//! What the regions of a service publish: addresses, and HTTPS records that hint at them (RFC 9460).
//!
//! Follows from the Plan alone; which region an answer is of, `steered` knows.

use std::net::IpAddr;

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
    /// Seconds, in calm.
    pub(in crate::dns) ttl: u32,
    /// In the service's order.
    regions: Vec<RegionOffer>,
}

/// The data of a region's records.
#[derive(Debug)]
struct RegionOffer {
    region: RegionId,
    v4: Addresses<4>,
    v6: Addresses<16>,
    /// One for every place at which hints can begin.
    https: Vec<Vec<u8>>,
}

/// Addresses on the wire, the list twice in a row: a rotation is a slice.
#[derive(Debug)]
struct Addresses<const N: usize> {
    twice: Vec<[u8; N]>,
}

impl Offer {
    /// Encodes what a service's regions publish.
    pub(in crate::dns) fn compile(plan: &Plan, id: ServiceId) -> Self {
        let service = plan.services.of(id);
        let answers = usize::from(service.dns.answers).max(1);
        let port = https_port(plan);
        let regions = service.regions.iter();
        Self {
            answers,
            ttl: service.dns.ttl.secs(),
            regions: regions
                .map(|member| RegionOffer::new(plan, member.region, answers, port))
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
        region.map_or(0, |region| region.rotations(rtype))
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

    /// The data of the answer that begins there.
    pub(in crate::dns) fn rdata(
        &self,
        member: usize,
        rtype: SteeredType,
        rotation: usize,
    ) -> impl Iterator<Item = &[u8]> {
        let region = self.regions.get(member);
        let of = |wanted| region.filter(|_| rtype == wanted);
        let v4 = of(SteeredType::A).map_or(&[][..], |r| r.v4.from(rotation, self.answers));
        let v6 = of(SteeredType::Aaaa).map_or(&[][..], |r| r.v6.from(rotation, self.answers));
        let https = of(SteeredType::Https).and_then(|region| region.https.get(rotation));
        let v4 = v4.iter().map(<[u8; 4]>::as_slice);
        let v6 = v6.iter().map(<[u8; 16]>::as_slice);
        v4.chain(v6).chain(https.map(Vec::as_slice))
    }
}

impl RegionOffer {
    fn new(plan: &Plan, region: RegionId, answers: usize, port: u16) -> Self {
        let addresses = &plan.regions.of(region).addresses;
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some(v4.octets()),
            IpAddr::V6(_) => None,
        });
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V6(v6) => Some(v6.octets()),
            IpAddr::V4(_) => None,
        });
        let (v4, v6) = (Addresses::new(v4.collect()), Addresses::new(v6.collect()));
        let https = (0..v4.count().max(v6.count()))
            .map(|rotation| https(port, v4.from(rotation, answers), v6.from(rotation, answers)))
            .collect();
        Self {
            region,
            v4,
            v6,
            https,
        }
    }

    fn rotations(&self, rtype: SteeredType) -> usize {
        match rtype {
            SteeredType::A => self.v4.count(),
            SteeredType::Aaaa => self.v6.count(),
            SteeredType::Https => self.https.len(),
        }
    }
}

impl<const N: usize> Addresses<N> {
    fn new(once: Vec<[u8; N]>) -> Self {
        let twice = once.iter().chain(&once).copied().collect();
        Self { twice }
    }

    fn count(&self) -> usize {
        self.twice.len() / 2
    }

    /// `most` of them, from a place on.
    fn from(&self, rotation: usize, most: usize) -> &[[u8; N]] {
        let start = rotation.checked_rem(self.count()).unwrap_or(0);
        let end = start + most.min(self.count());
        self.twice.get(start..end).unwrap_or_default()
    }
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
