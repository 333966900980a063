//! The answer of steering, as data: regions in the order to try them, and the reason for each.
//!
//! The same value is a metric's label, a line of `explain`, a row on the dashboard and the proxy's
//! order of tries.

use std::fmt;

use smallvec::SmallVec;

use super::share::Percent;
use crate::ids::RegionId;
use crate::latency::Estimate;
use crate::positions::Standing;

/// Which region, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Regions in the order to try them; empty only when the verdict is a refusal.
    pub ranked: SmallVec<[Choice; 8]>,
    /// Regions that no new client is sent to, drained ones mostly: for a read that none of the others can answer after all.
    pub reserve: SmallVec<[Choice; 1]>,
    /// Regions that are not read from, the best first: for a read that none of the others could be reached for.
    pub left_out: SmallVec<[Choice; 1]>,
    /// Whether this is a choice among the able.
    pub verdict: Verdict,
    /// What each rule did, in order.
    pub steps: SmallVec<[Step; 8]>,
}

impl Decision {
    /// Whether a region was left out as unfit to be read from; if it is ranked all the same, for what only it has.
    pub fn was_left_out(&self, region: RegionId) -> bool {
        let is_unfit = |step: &Step| step.region == region && step.reason == Reason::Unfit;
        self.steps.iter().any(is_unfit)
    }
}

/// A region to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Which.
    pub region: RegionId,
    /// Where it stood before freshness was asked for; 0 is the best.
    pub rank: u8,
    /// How it stands towards what the client must see.
    pub standing: Standing,
}

/// What kind of decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Among the able.
    Steered,
    /// Nobody was able, so those who are not have come back.
    FailOpen(FailOpen),
    /// No region may answer.
    Refused(Refusal),
}

/// Who has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOpen {
    /// The unhealthy, and after them the drained.
    Unhealthy,
    /// The drained alone.
    Drained,
}

/// Why no region may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is able, and `when_none_healthy` is `none`.
    NoneHealthy,
    /// Residency leaves no region of the service.
    Residency,
    /// The one region that takes writes is not able, and `failover` is `none`.
    Primary,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneHealthy => "no region is able to answer",
            Self::Residency => "residency allows no region of this service",
            Self::Primary => "the region that takes writes is not able to",
        })
    }
}

/// What one rule did to one region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// To which.
    pub region: RegionId,
    /// Whether it was still a candidate afterwards.
    pub kept: bool,
    /// Why; the reason knows its rule.
    pub reason: Reason,
}

/// The rules, in the order in which they apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The service's regions.
    Service,
    /// `residency`.
    Residency,
    /// Health.
    Health,
    /// What an operator says of health.
    Forced,
    /// Drains.
    Drain,
    /// `ramp`.
    Ramp,
    /// `when_none_healthy`.
    WhenNoneHealthy,
    /// `writes.to`.
    Writes,
    /// `affinity`.
    Affinity,
    /// `steering.overrides`.
    Override,
    /// `steering.policy`.
    Policy,
    /// Read-your-writes.
    Fresh,
    /// DNS: whether the region has an address of the type.
    Address,
}

impl Rule {
    /// As the API and the metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Residency => "residency",
            Self::Health => "health",
            Self::Forced => "forced",
            Self::Drain => "drain",
            Self::Ramp => "ramp",
            Self::WhenNoneHealthy => "when_none_healthy",
            Self::Writes => "writes",
            Self::Affinity => "affinity",
            Self::Override => "override",
            Self::Policy => "policy",
            Self::Fresh => "fresh",
            Self::Address => "address",
        }
    }
}

/// Why a region was kept, dropped or moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// The service does not use it.
    NotOfService,
    /// Outside the residency's list.
    OutsideResidency,
    /// Its probes pass.
    Healthy,
    /// Enough of its targets are healthy, not all.
    Degraded,
    /// No probe has answered yet, so it counts as healthy.
    Unchecked,
    /// Its probes fail.
    Unhealthy,
    /// Its probes pass, but traffic has shown that it fails.
    Ejected,
    /// An operator says that it is up.
    ForcedUp,
    /// An operator says that it is down.
    ForcedDown,
    /// Drained.
    Drained,
    /// It is being drained, and this client is no longer of those that stay.
    Leaving {
        /// Those that stay.
        share: Percent,
    },
    /// It is coming back, and this client is not yet of those that it takes.
    Returning {
        /// Those that it takes.
        share: Percent,
    },
    /// It takes this client only because no other region is able.
    NobodyElse,
    /// Drained, but this client has affinity to it.
    DrainedWithAffinity,
    /// Nobody is able, so it is back.
    BackUnhealthy,
    /// Nobody is able, so it is back, after the unhealthy.
    BackDrained,
    /// It is the region that takes writes.
    Primary,
    /// It takes writes when the primary cannot.
    PrimaryFailover,
    /// It is not the region that takes writes.
    NotPrimary,
    /// It is the key's home, or comes next by rendezvous hashing.
    Home {
        /// 1 is the home.
        place: u8,
    },
    /// The client is used to it.
    Affinity,
    /// An override prefers it.
    Override {
        /// Which, from 0.
        index: u16,
    },
    /// As listed.
    Listed {
        /// From 1.
        place: u8,
    },
    /// By draw.
    Weight {
        /// Its share.
        weight: u32,
    },
    /// By great circle from the client.
    Distance {
        /// 1 is the nearest.
        place: u8,
    },
    /// By great circle from this edge: where the client is, nobody knows.
    EdgeDistance {
        /// 1 is the nearest.
        place: u8,
    },
    /// By round trip from this edge.
    RoundTrip {
        /// Its round trip.
        estimate: Estimate,
    },
    /// By round trip modelled from the client's distance.
    ClientRoundTrip {
        /// 1 is the nearest.
        place: u8,
    },
    /// All that the client must see is applied there.
    Dominates,
    /// It has not caught up with the client's writes.
    Behind {
        /// How long it may take, if known, in ms.
        expected_ms: Option<u32>,
    },
    /// The client's newest write went there, at a position that nobody knows.
    Pinned,
    /// It has been behind or silent for longer than tokens live, or has lost what all had.
    Unfit,
    /// It has no address of the type asked for.
    NoSuchAddress,
}

impl Reason {
    /// Moves a place behind so many others, which another rule has put before it.
    pub(super) fn stand_behind(&mut self, others: usize) {
        if let Self::Home { place }
        | Self::Listed { place }
        | Self::Distance { place }
        | Self::EdgeDistance { place }
        | Self::ClientRoundTrip { place } = self
        {
            *place = place.saturating_add(u8::try_from(others).unwrap_or(u8::MAX));
        }
    }

    /// The rule that it belongs to.
    pub fn rule(self) -> Rule {
        match self {
            Self::NotOfService => Rule::Service,
            Self::OutsideResidency => Rule::Residency,
            Self::Healthy | Self::Degraded | Self::Unchecked | Self::Unhealthy | Self::Ejected => {
                Rule::Health
            }
            Self::ForcedUp | Self::ForcedDown => Rule::Forced,
            Self::Drained | Self::DrainedWithAffinity | Self::Leaving { .. } => Rule::Drain,
            Self::Returning { .. } | Self::NobodyElse => Rule::Ramp,
            Self::BackUnhealthy | Self::BackDrained => Rule::WhenNoneHealthy,
            Self::Primary | Self::PrimaryFailover | Self::NotPrimary | Self::Home { .. } => {
                Rule::Writes
            }
            Self::Affinity => Rule::Affinity,
            Self::Override { .. } => Rule::Override,
            Self::Listed { .. }
            | Self::Weight { .. }
            | Self::Distance { .. }
            | Self::EdgeDistance { .. }
            | Self::RoundTrip { .. }
            | Self::ClientRoundTrip { .. } => Rule::Policy,
            Self::Dominates | Self::Behind { .. } | Self::Pinned | Self::Unfit => Rule::Fresh,
            Self::NoSuchAddress => Rule::Address,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOfService => f.write_str("not one of the service's regions"),
            Self::OutsideResidency => f.write_str("outside the regions that residency allows"),
            Self::Healthy => f.write_str("healthy"),
            Self::Degraded => f.write_str("degraded, and able: some of its targets or of its traffic fail, or its positions ran backwards"),
            Self::Unchecked => f.write_str("not checked yet, so it counts as healthy"),
            Self::Unhealthy => f.write_str("unhealthy"),
            Self::Ejected => {
                f.write_str("ejected for what its traffic showed, though its probes pass")
            }
            Self::ForcedUp => {
                f.write_str("an operator says that it is up, whatever its probes say")
            }
            Self::ForcedDown => {
                f.write_str("an operator says that it is down, whatever its probes say")
            }
            Self::Drained => f.write_str("drained"),
            Self::Leaving { share } => write!(
                f,
                "being drained: {} % of clients stay so far, and this one is not of them",
                share.get()
            ),
            Self::Returning { share } => write!(
                f,
                "coming back: it takes {} % of clients so far, and this one is not of them",
                share.get()
            ),
            Self::NobodyElse => f.write_str("no other region is able, so it takes everybody"),
            Self::DrainedWithAffinity => {
                f.write_str("drained, but this client stays until the drain time has passed")
            }
            Self::BackUnhealthy => {
                f.write_str("unhealthy, but nobody is able: failing open, before the drained")
            }
            Self::BackDrained => f.write_str(
                "drained, but nobody is able: failing open, after those that are not drained, \
                 healthy or not",
            ),
            Self::Primary => f.write_str("the primary takes the writes"),
            Self::PrimaryFailover => f.write_str("next in line for writes after the primary"),
            Self::NotPrimary => f.write_str("only the primary takes writes"),
            Self::Home { place: 1 } => f.write_str("the home of this key's writes"),
            Self::Home { place } => {
                write!(f, "number {place} in line as the home of this key's writes")
            }
            Self::Affinity => f.write_str("the client is used to this region"),
            Self::Override { index } => write!(f, "preferred by override {}", index + 1),
            Self::Listed { place } => write!(f, "number {place} as listed"),
            Self::Weight { weight: 0 } => f.write_str("of weight 0: as listed, behind all that have some"),
            Self::Weight { weight } => {
                write!(f, "drawn with weight {weight}: another query draws anew")
            }
            Self::Distance { place } => write!(f, "number {place} by distance from the client"),
            Self::EdgeDistance { place } => {
                write!(
                    f,
                    "number {place} by distance from this edge: the client's place is unknown"
                )
            }
            Self::RoundTrip {
                estimate: Estimate::Measured(ms),
            } => write!(f, "{ms:.1} ms measured from this edge"),
            Self::RoundTrip {
                estimate: Estimate::Modelled(ms),
            } => {
                write!(f, "{ms:.0} ms from this edge, modelled from distance")
            }
            Self::RoundTrip {
                estimate: Estimate::Unknown,
            } => f.write_str("round trip from this edge unknown: as listed"),
            Self::ClientRoundTrip { place } => {
                write!(
                    f,
                    "number {place} by round trip from the client, modelled from distance"
                )
            }
            Self::Dominates => f.write_str("has applied all of the client's writes"),
            Self::Behind {
                expected_ms: Some(ms),
            } => write!(f, "behind the client's writes by about {ms} ms"),
            Self::Behind { expected_ms: None } => {
                f.write_str("behind the client's writes, nobody knows how far")
            }
            Self::Pinned => f.write_str("the client's newest write went there"),
            Self::Unfit => f.write_str(
                "behind or silent for longer than tokens live, without what all had, or new and \
                 not heard of yet: not read from",
            ),
            Self::NoSuchAddress => f.write_str("has no address of this type"),
        }
    }
}
