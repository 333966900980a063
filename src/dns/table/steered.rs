//! Steered names: what each service answers at each place, decided by `steer` when the snapshot
//! is built, or per query where a draw decides.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::super::codec::code::rtype;
use super::super::codec::reply::{Fixed, Owner, Reply, Section};
use crate::config::plan::{Plan, Policy};
use crate::geo::PlaceId;
use crate::ids::{Id, RegionId, ServiceId};
use crate::steering::{Ask, Decision, Draw, Refusal, Rule, Snapshot, Verdict, steer};

/// The port that HTTPS records need not name (RFC 9460 §9.1).
const HTTPS_PORT: u16 = 443;

/// `1 . alpn=h2,http/1.1`: priority, the owner itself as target, the parameter (RFC 9460 §2.2).
const HTTPS_START: [u8; 19] = *b"\x00\x01\x00\x00\x01\x00\x0c\x02h2\x08http/1.1";
const PARAM_PORT: [u8; 4] = [0, 3, 0, 2];
const PARAM_IPV4HINT: u16 = 4;
const PARAM_IPV6HINT: u16 = 6;

/// The types that services answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteeredType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// How to speak HTTPS, with both.
    Https,
}

impl SteeredType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A, Self::Aaaa, Self::Https];

    /// Of a type on the wire.
    pub(in crate::dns) fn of(qtype: u16) -> Option<Self> {
        match qtype {
            rtype::A => Some(Self::A),
            rtype::AAAA => Some(Self::Aaaa),
            rtype::HTTPS => Some(Self::Https),
            _ => None,
        }
    }
}

/// What decided the region of an answer, as metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// `steering.policy`.
    Policy,
    /// `steering.overrides`.
    Override,
    /// Nobody is able, so it is back.
    WhenNoneHealthy,
    /// A better one has no address of the type.
    Address,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Policy,
        Self::Override,
        Self::WhenNoneHealthy,
        Self::Address,
    ];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => Rule::Policy.as_str(),
            Self::Override => Rule::Override.as_str(),
            Self::WhenNoneHealthy => Rule::WhenNoneHealthy.as_str(),
            Self::Address => Rule::Address.as_str(),
        }
    }
}

/// A region that an answer is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place among the service's regions.
    pub(in crate::dns) member: usize,
    /// Which.
    pub region: RegionId,
    /// Why.
    pub cause: Cause,
}

/// What a service answers at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    verdict: Verdict,
    a: Option<Chosen>,
    aaaa: Option<Chosen>,
    https: Option<Chosen>,
}

impl Choice {
    /// Among whom it was chosen, or why nobody was.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why there is no answer, if there is none whatever the type.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.verdict {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Steered | Verdict::FailOpen(_) => None,
        }
    }

    /// The region for a type; `None`: none that may be chosen has it.
    pub fn of(&self, rtype: SteeredType) -> Option<Chosen> {
        match rtype {
            SteeredType::A => self.a,
            SteeredType::Aaaa => self.aaaa,
            SteeredType::Https => self.https,
        }
    }
}

/// What a service answers.
#[derive(Debug)]
pub(in crate::dns) struct SteeredService {
    id: ServiceId,
    ttl: u32,
    answers: usize,
    port: u16,
    regions: Vec<RegionAddresses>,
    choices: Choices,
}

#[derive(Debug)]
enum Choices {
    /// In the order of the places' ids.
    ByPlace(Vec<Choice>),
    /// `weighted` draws for every query.
    PerQuery,
}

/// A region's addresses on the wire, each list twice in a row: a rotation is a slice.
#[derive(Debug)]
struct RegionAddresses {
    region: RegionId,
    v4: Addresses<4>,
    v6: Addresses<16>,
}

#[derive(Debug, Default)]
struct Addresses<const N: usize> {
    twice: Vec<[u8; N]>,
}

impl SteeredService {
    /// Decides for every place.
    pub(super) fn compile(snapshot: &Snapshot, id: ServiceId) -> Self {
        let (service, state) = snapshot.service(id);
        let regions = state
            .members
            .iter()
            .map(|member| RegionAddresses::new(&snapshot.plan, member.region))
            .collect();
        let mut compiled = Self {
            id,
            ttl: state.ttl.secs(),
            answers: usize::from(service.dns.answers).max(1),
            port: https_port(&snapshot.plan),
            regions,
            choices: Choices::PerQuery,
        };
        if service.policy != Policy::Weighted {
            // Where nothing is known of places, there is one: nowhere.
            let places = snapshot.clients.places(id).len().max(1);
            let choices = (0..places)
                .map(|place| compiled.decide(snapshot, PlaceId::at(place), Draw(0)))
                .collect();
            compiled.choices = Choices::ByPlace(choices);
        }
        compiled
    }

    /// What it answers at a place.
    pub(in crate::dns) fn choose(&self, snapshot: &Snapshot, place: PlaceId, draw: Draw) -> Choice {
        match &self.choices {
            Choices::ByPlace(choices) => choices.get(place.index()).copied(),
            Choices::PerQuery => None,
        }
        .unwrap_or_else(|| self.decide(snapshot, place, draw))
    }

    fn decide(&self, snapshot: &Snapshot, place: PlaceId, draw: Draw) -> Choice {
        let decision = steer(snapshot, &Ask::dns(self.id, place), draw);
        Choice {
            verdict: decision.verdict,
            a: self.first_with(&decision, SteeredType::A),
            aaaa: self.first_with(&decision, SteeredType::Aaaa),
            https: self.first_with(&decision, SteeredType::Https),
        }
    }

    /// The first of the ranking that has the type.
    fn first_with(&self, decision: &Decision, rtype: SteeredType) -> Option<Chosen> {
        let member_of = |region: RegionId| self.regions.iter().position(|r| r.region == region);
        decision
            .ranked
            .iter()
            .enumerate()
            .find_map(|(rank, choice)| {
                let member = member_of(choice.region)?;
                let has = self.regions.get(member)?.has(rtype);
                has.then(|| Chosen {
                    member,
                    region: choice.region,
                    cause: if rank == 0 {
                        cause(decision, choice.region)
                    } else {
                        Cause::Address
                    },
                })
            })
    }

    /// Writes the records of a region: `answers` of its addresses, rotated by the draw.
    pub(in crate::dns) fn write(
        &self,
        reply: &mut Reply<'_, '_>,
        owner: Owner,
        chosen: Chosen,
        rtype: SteeredType,
        draw: Draw,
    ) {
        let Some(region) = self.regions.get(chosen.member) else {
            return;
        };
        let v4 = region.v4.rotated(self.answers, draw);
        let v6 = region.v6.rotated(self.answers, draw);
        let fixed = |number| Fixed::internet(number, self.ttl);
        match rtype {
            SteeredType::A => {
                for address in v4 {
                    reply.record(Section::Answer, owner, fixed(rtype::A), &[address]);
                }
            }
            SteeredType::Aaaa => {
                for address in v6 {
                    reply.record(Section::Answer, owner, fixed(rtype::AAAA), &[address]);
                }
            }
            SteeredType::Https => {
                let port = self.port.to_be_bytes();
                let port: [&[u8]; 2] = if self.port == HTTPS_PORT {
                    [&[], &[]]
                } else {
                    [&PARAM_PORT, &port]
                };
                let [port_param, port] = port;
                let data: [&[u8]; 7] = [
                    &HTTPS_START,
                    port_param,
                    port,
                    &hint(PARAM_IPV4HINT, v4.as_flattened()),
                    v4.as_flattened(),
                    &hint(PARAM_IPV6HINT, v6.as_flattened()),
                    v6.as_flattened(),
                ];
                reply.record(Section::Answer, owner, fixed(rtype::HTTPS), &data);
            }
        }
    }

    /// The regions in the order of [`Chosen::member`].
    pub(in crate::dns) fn regions(&self) -> impl Iterator<Item = RegionId> {
        self.regions.iter().map(|region| region.region)
    }
}

/// The start of a hint with these addresses; nothing without any (RFC 9460 §7.3).
fn hint(param: u16, addresses: &[u8]) -> SmallVec<[u8; 4]> {
    let mut start = SmallVec::new();
    if !addresses.is_empty() {
        let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
        start.extend_from_slice(&param.to_be_bytes());
        start.extend_from_slice(&length.to_be_bytes());
    }
    start
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

/// What placed the region that was chosen first.
fn cause(decision: &Decision, region: RegionId) -> Cause {
    if matches!(decision.verdict, Verdict::FailOpen(_)) {
        return Cause::WhenNoneHealthy;
    }
    let last = decision.steps.iter().rfind(|step| step.region == region);
    match last.map(|step| step.reason.rule()) {
        Some(Rule::Override) => Cause::Override,
        _ => Cause::Policy,
    }
}

impl RegionAddresses {
    fn new(plan: &Plan, region: RegionId) -> Self {
        let addresses = &plan.regions.of(region).addresses;
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some(v4.octets()),
            IpAddr::V6(_) => None,
        });
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V6(v6) => Some(v6.octets()),
            IpAddr::V4(_) => None,
        });
        Self {
            region,
            v4: Addresses::new(v4.collect()),
            v6: Addresses::new(v6.collect()),
        }
    }

    fn has(&self, rtype: SteeredType) -> bool {
        match rtype {
            SteeredType::A => !self.v4.twice.is_empty(),
            SteeredType::Aaaa => !self.v6.twice.is_empty(),
            SteeredType::Https => !self.v4.twice.is_empty() || !self.v6.twice.is_empty(),
        }
    }
}

impl<const N: usize> Addresses<N> {
    fn new(once: Vec<[u8; N]>) -> Self {
        let twice = once.iter().chain(&once).copied().collect();
        Self { twice }
    }

    /// `most` of them, from where the draw points on. `steer` mixes the draw, so that the two do
    /// not follow each other.
    fn rotated(&self, most: usize, draw: Draw) -> &[[u8; N]] {
        let count = self.twice.len() / 2;
        let [_, _, _, _, a, b, c, d] = draw.0.to_be_bytes();
        let number = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        let start = number.checked_rem(count).unwrap_or(0);
        self.twice
            .get(start..start + most.min(count))
            .unwrap_or_default()
    }
}
