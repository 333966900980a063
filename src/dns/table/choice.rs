//! What a service answers at a place: the region for each type, where HTTPS clients go next, and what decided it.

use super::super::codec::code::rtype;
use super::ranked::Ranking;
use crate::ids::RegionId;
use crate::steering::{Refusal, Rule, Verdict};

/// How many regions HTTPS records name behind the first: more do not make an answer better, and all
/// of them have to fit into it.
pub(super) const ALTERNATIVES: usize = 2;

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

    /// On the wire.
    pub(in crate::dns) fn number(self) -> u16 {
        match self {
            Self::A => rtype::A,
            Self::Aaaa => rtype::AAAA,
            Self::Https => rtype::HTTPS,
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
    member: u16,
    /// Which.
    pub region: RegionId,
    /// Why.
    pub cause: Cause,
}

impl Chosen {
    /// `None` past the most regions that there can be.
    pub(super) fn new(member: usize, region: RegionId, cause: Cause) -> Option<Self> {
        let member = u16::try_from(member).ok()?;
        Some(Self {
            member,
            region,
            cause,
        })
    }

    /// Its place among the service's regions.
    pub(in crate::dns) fn member(self) -> usize {
        self.member.into()
    }

    /// Whether it is not able, and answers because nobody is.
    fn is_back(self) -> bool {
        self.cause == Cause::WhenNoneHealthy
    }
}

/// For whom a region that is not able stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum NotAble {
    /// No region is able.
    Anybody,
    /// No region that has the type is.
    OfTheType,
}

/// What a service answers at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub(super) verdict: Verdict,
    /// For every type, by name; then there is none by type.
    pub(super) alias: Option<Chosen>,
    pub(super) a: Option<Chosen>,
    pub(super) aaaa: Option<Chosen>,
    pub(super) https: Option<Chosen>,
    /// Where HTTPS clients go next, by the regions' places among the service's.
    pub(super) alternatives: [Option<u16>; ALTERNATIVES],
}

impl Choice {
    /// Among whom it was chosen, or why nobody was.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Who is not able, if an answer of this region fails open.
    pub(in crate::dns) fn fails_open(&self, chosen: Option<Chosen>) -> Option<NotAble> {
        match self.verdict {
            Verdict::FailOpen(_) => Some(NotAble::Anybody),
            Verdict::Steered | Verdict::Refused(_) => chosen
                .filter(|chosen| chosen.is_back())
                .map(|_| NotAble::OfTheType),
        }
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
        self.alias.or(match rtype {
            SteeredType::A => self.a,
            SteeredType::Aaaa => self.aaaa,
            SteeredType::Https => self.https,
        })
    }

    /// The region that is answered by its name, whatever the type.
    pub fn alias(&self) -> Option<Chosen> {
        self.alias
    }

    /// The region of the first of several HTTPS records; `None` if there are no several.
    pub(in crate::dns) fn https_of_several(&self) -> Option<Chosen> {
        self.alternatives().next()?;
        self.of(SteeredType::Https)
    }

    /// What is as simple as most answers are.
    pub(super) fn plainly(&self) -> Plain {
        match (self.verdict, self.alias) {
            (Verdict::Steered, None) => Plain {
                a: self.a.filter(|chosen| !chosen.is_back()),
                aaaa: self.aaaa.filter(|chosen| !chosen.is_back()),
            },
            // What else there is to say, or the name that stands for addresses.
            (Verdict::Steered, Some(_)) | (Verdict::FailOpen(_) | Verdict::Refused(_), _) => {
                Plain::default()
            }
        }
    }

    /// Of the first of several HTTPS records and those behind it.
    pub(in crate::dns) fn ranking(&self, first: Chosen, rotation: usize) -> Option<Ranking> {
        let rotation = u16::try_from(rotation).ok()?;
        Some(Ranking {
            first: first.member,
            rotation,
            behind: self.alternatives,
        })
    }

    /// Where HTTPS clients go next.
    pub(in crate::dns) fn alternatives(&self) -> impl Iterator<Item = usize> {
        self.alternatives.into_iter().flatten().map(usize::from)
    }
}

/// The regions that a place gets its addresses of, if there is nothing else to say of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plain {
    pub(super) a: Option<Chosen>,
    pub(super) aaaa: Option<Chosen>,
}
