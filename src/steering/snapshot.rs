//! What a decision reads: the Plan and the live facts, in one immutable value.
//!
//! Made by `control` alone, swapped whole, loaded once per query or request.

use std::sync::Arc;
use std::time::Duration;

use super::share::Percent;
use crate::config::plan::{Plan, Service};
use crate::geo::ClientMap;
use crate::health::Health;
use crate::ids::{DomainId, OriginId, RegionId, ServiceId, Table};
use crate::latency::Estimate;
use crate::positions::Applied;
use crate::units::Ttl;

/// The Plan and the live facts.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts reloads, from 1.
    pub generation: u64,
    /// What the configuration means.
    pub plan: Arc<Plan>,
    /// Where clients are.
    pub clients: Arc<ClientMap>,
    /// How each service's regions are; shared with the snapshots before and after in which it is the same.
    pub services: Table<ServiceId, Arc<ServiceState>>,
    /// How far regions are from here.
    pub edge: Edge,
    /// Who has applied what; shared, because it moves with every write.
    pub positions: Table<DomainId, Arc<Applied>>,
}

impl Snapshot {
    /// A service with its live state.
    pub fn service(&self, id: ServiceId) -> (&Service, &ServiceState) {
        (self.plan.services.of(id), self.services.of(id))
    }

    /// How one region of a service is; `None` if it is not one of the service's.
    pub fn member(&self, service: ServiceId, region: RegionId) -> Option<&MemberState> {
        self.services
            .of(service)
            .members
            .iter()
            .find(|member| member.region == region)
    }

    /// Whether reads may go to a region as far as it is known what it has. `now_ms`: of the edge's steady clock.
    pub fn is_read_from(&self, service: ServiceId, region: RegionId, now_ms: u64) -> bool {
        let consistency = self.plan.services.of(service).consistency.as_ref();
        let applied = consistency.map(|known| self.positions.of(known.domain));
        let able = &self.services.of(service).able_origins;
        applied.is_none_or(|applied| is_fit(&self.plan, applied, (region, able), now_ms))
    }
}

/// Whether a region's origins that are able to answer may be read from, or all if none is.
pub fn is_fit(
    plan: &Plan,
    applied: &Applied,
    (region, able): (RegionId, &[(RegionId, OriginId)]),
    now_ms: u64,
) -> bool {
    let known = plan.regions.of(region);
    let of_region = || able.iter().filter(|(of, _)| *of == region);
    if of_region().count() == known.origins.len() {
        return applied.is_fit(&known.name, now_ms);
    }
    let able: Vec<String> = of_region()
        .map(|(_, origin)| plan.origins.of(*origin).url.to_string())
        .collect();
    applied.is_fit_by(&known.name, &able, now_ms)
}

/// How far regions are from this edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Every region, nearest first by round trip; `None`: nothing tells them apart.
    pub by_round_trip: Option<Vec<RegionId>>,
    /// Every region, nearest first by great circle; `None`: this edge has no location.
    pub by_distance: Option<Vec<RegionId>>,
    /// The round trips.
    pub round_trips: Table<RegionId, Estimate>,
}

impl Edge {
    /// How far regions are, in ms. An unknown round trip counts as the longest one known, so that no region passes for the
    /// nearest because nobody knows where it is.
    pub fn round_trip_ms(&self) -> impl Fn(RegionId) -> f64 {
        let known = self.round_trips.values().filter_map(|known| known.ms());
        let farthest_ms = known.fold(0.0, f64::max);
        move |region| self.round_trips.of(region).ms().unwrap_or(farthest_ms)
    }
}

/// How a service is. `Eq`, so that comparing a shared one with itself costs a look at its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Its regions, in the Plan's order.
    pub members: Vec<MemberState>,
    /// Its origins whose probes do not fail, where the proxy connects first.
    pub able_origins: Vec<(RegionId, OriginId)>,
    /// What DNS answers with now: shorter while a state may soon flip.
    pub ttl: Ttl,
}

/// How a region of a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberState {
    /// Which region.
    pub region: RegionId,
    /// A stable hash of its name: what draws and rendezvous hashing go by.
    pub seed: u64,
    /// Its share under `weighted`.
    pub weight: u32,
    /// What its probes say.
    pub health: Health,
    /// What the operator says of its traffic.
    pub admin: Admin,
    /// What the operator says of its health; `health` says the same.
    pub forced: Option<Forced>,
}

impl ServiceState {
    /// Whether clients of one place are told apart by their spread.
    pub fn is_shared_out(&self) -> bool {
        self.members.iter().any(|member| match member.admin {
            Admin::Returning(_) => true,
            Admin::Leaving { fresh, .. } => fresh > Percent::NONE,
            Admin::Enabled | Admin::Draining | Admin::Drained => false,
        })
    }

    /// The regions that are able for clients that may go anywhere. Without one a service fails open, or is not
    /// answered.
    pub fn able(&self) -> impl Iterator<Item = &MemberState> {
        let is_able = |member: &&MemberState| member.health.is_able() && member.admin.takes_some();
        self.members.iter().filter(is_able)
    }

    /// Whether there is such a region.
    pub fn has_able(&self) -> bool {
        self.able().next().is_some()
    }

    /// The share of clients without affinity to it that a region takes, were it the best for all of them. The last one that
    /// takes some takes all.
    pub fn share_of(&self, member: &MemberState) -> Percent {
        if !member.health.is_able() {
            return Percent::NONE;
        }
        let share = match member.admin {
            Admin::Enabled => Percent::ALL,
            Admin::Returning(share) | Admin::Leaving { fresh: share, .. } => share,
            Admin::Draining | Admin::Drained => Percent::NONE,
        };
        let is_last = self.able().all(|able| able.region == member.region);
        if member.admin.takes_some() && is_last {
            Percent::ALL
        } else {
            share
        }
    }

    /// What would be left to take traffic without a region. `is_read`: whether reads may go to a region as it is; where they
    /// may go to none they go to all.
    pub fn left_without(&self, region: RegionId, is_read: impl Fn(RegionId) -> bool) -> Left {
        let (mut regions, mut unread): (Vec<_>, Vec<_>) =
            self.taking().partition(|one| is_read(*one));
        if regions.is_empty() {
            std::mem::swap(&mut regions, &mut unread);
        }
        let is_missed = regions.contains(&region);
        regions.retain(|left| *left != region);
        unread.retain(|left| *left != region);
        Left {
            regions,
            unread,
            is_missed,
        }
    }

    /// The able regions that take traffic.
    fn taking(&self) -> impl Iterator<Item = RegionId> {
        let is_taking =
            |member: &&MemberState| member.admin.takes_traffic() && member.health.is_able();
        let members = self.members.iter().filter(is_taking);
        members.map(|member| member.region)
    }
}

/// What a service is left without one of its regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The able ones that take traffic.
    pub regions: Vec<RegionId>,
    /// Those that are able too, and that no read goes to.
    pub unread: Vec<RegionId>,
    /// Whether the region is one of the first: one that takes no traffic as it is takes nothing away.
    is_missed: bool,
}

impl Left {
    /// Whether so many regions are to be left, and are not.
    pub fn is_too_few(&self, least: u16) -> bool {
        self.is_missed && self.regions.len() < usize::from(least)
    }
}

/// As what a region counts, whatever its probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forced {
    /// Healthy.
    Up,
    /// Unhealthy.
    Down,
}

impl Forced {
    /// What counts as its health.
    pub fn health(self) -> Health {
        match self {
            Self::Up => Health::Healthy,
            Self::Down => Health::Unhealthy,
        }
    }

    /// As the API calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What the operator says of a region's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admin {
    /// It takes traffic.
    Enabled,
    /// It has come back, and takes this share of clients so far.
    Returning(Percent),
    /// It is being drained little by little.
    Leaving {
        /// Of clients without affinity to it, those that it still takes.
        fresh: Percent,
        /// Of clients with affinity to it, those that stay.
        sessions: Percent,
    },
    /// Drained; clients with affinity to it stay for now.
    Draining,
    /// Drained; the service's drain time has passed.
    Drained,
}

impl Admin {
    /// Whether it is there for whoever comes, be it little by little; not drained, nor on the way to it.
    pub fn takes_traffic(self) -> bool {
        match self {
            Self::Enabled | Self::Returning(_) => true,
            Self::Leaving { .. } | Self::Draining | Self::Drained => false,
        }
    }

    /// Whether it is there for some of those who come.
    pub fn takes_some(self) -> bool {
        match self {
            Self::Enabled | Self::Returning(_) => true,
            Self::Leaving { fresh, .. } => fresh > Percent::NONE,
            Self::Draining | Self::Drained => false,
        }
    }
}

/// Milliseconds of a duration, as reasons and labels show them.
pub(super) fn whole_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
