//! The snapshot that the world amounts to, and what changed since the last one.

use std::sync::Arc;
use std::{iter, mem};

use super::shown::Stale;
use super::watched::Watched;
use super::{World, event};
use crate::control::events::{Event, Kind};
use crate::health::{Health, Verdict, of_targets};
use crate::ids::{OriginId, RegionId, ServiceId, Table};
use crate::steering::{Forced, MemberState, ServiceState, Snapshot, stable_hash};
use crate::units::Ttl;

impl World {
    /// What it all amounts to, and what changed in regions' health since the last snapshot.
    pub fn snapshot(&mut self, now_ms: u64) -> (Snapshot, Vec<Event>) {
        let events = self.renew(now_ms);
        let plan = self.plan.clone();
        let services = self.shown.services.clone();
        let is_expected = |region: RegionId| {
            let is_able = |member: &MemberState| {
                member.region == region && member.forced.is_none() && member.health.is_able()
            };
            let mut members = services.values().flat_map(|service| &service.members);
            plan.regions.of(region).is_probed() && members.any(is_able)
        };
        let edge = self.ranking.edge(&plan, is_expected);
        let positions = Table::from_vec(
            plan.domains
                .values()
                .map(|domain| {
                    self.positions
                        .entry(domain.name.clone())
                        .or_default()
                        .clone()
                })
                .collect(),
        );
        let snapshot = Snapshot {
            generation: self.generation,
            plan,
            clients: self.clients.clone(),
            services,
            edge,
            positions,
        };
        (snapshot, events)
    }

    /// Brings the services' states up to now; what changed in regions' health.
    fn renew(&mut self, now_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        match self.take_stale(now_ms) {
            Stale::All => {
                let plan = self.plan.clone();
                self.shown.services =
                    Table::like(&plan.services, |id| self.renewed(id, now_ms, &mut events));
            }
            Stale::Some(services) => {
                for id in services {
                    *self.shown.services.of_mut(id) = self.renewed(id, now_ms, &mut events);
                }
            }
        }
        events
    }

    fn take_stale(&mut self, now_ms: u64) -> Stale {
        let last_ms = mem::replace(&mut self.shown.at_ms, now_ms);
        let stale = mem::replace(&mut self.shown.stale, Stale::none());
        let drains = self
            .drains
            .turn_between(&self.session_times, last_ms, now_ms);
        if drains || self.ramps.turn_between(last_ms, now_ms) {
            return Stale::All;
        }
        stale
    }

    /// A service's state: the last snapshot's own if it is still the same. Tells of the health that
    /// changed.
    fn renewed(
        &mut self,
        id: ServiceId,
        now_ms: u64,
        events: &mut Vec<Event>,
    ) -> Arc<ServiceState> {
        let mut state = self.state(id, now_ms);
        if self.ramp_the_recovered(id, &state, now_ms) {
            state = self.state(id, now_ms);
        }
        match self.shown.services.get(id) {
            Some(last) if **last == state => last.clone(),
            Some(_) | None => {
                events.extend(self.note_health(id, &state, now_ms));
                Arc::new(state)
            }
        }
    }

    pub(super) fn state(&self, id: ServiceId, now_ms: u64) -> ServiceState {
        ServiceState {
            members: self.members(id, now_ms),
            able_origins: self.able_origins(id),
            ttl: self.ttl(id),
        }
    }

    fn members(&self, id: ServiceId, now_ms: u64) -> Vec<MemberState> {
        let service = self.plan.services.of(id);
        let mut targets = self.targets.of_service(id).peekable();
        let mut members: Vec<MemberState> = service
            .regions
            .iter()
            .map(|member| {
                let region = self.plan.regions.of(member.region);
                let here = |watched: &&Watched| watched.target.region == member.region;
                let here: Vec<&Watched> = iter::from_fn(|| targets.next_if(here)).collect();
                let health = health(&here, service.health.min_healthy);
                let admin = self.drains.admin(&self.plan, id, member.region, now_ms);
                let forced = self.forced.of(&region.name, &service.name, now_ms);
                MemberState {
                    region: member.region,
                    seed: stable_hash(&region.name),
                    weight: member.weight,
                    health: forced
                        .map_or_else(|| self.unless_suspect(health, &region.name), Forced::health),
                    admin: self.with_ramp(admin, &service.name, &region.name, now_ms),
                    forced,
                }
            })
            .collect();
        keep_the_last(&mut members);
        members
    }

    /// A region whose positions ran backwards is degraded at best.
    fn unless_suspect(&self, health: Health, region: &Arc<str>) -> Health {
        match health {
            Health::Healthy | Health::Unknown if self.suspects.contains_key(region) => {
                Health::Degraded
            }
            Health::Healthy
            | Health::Unknown
            | Health::Degraded
            | Health::Unhealthy
            | Health::Ejected => health,
        }
    }

    pub(super) fn able_origins(&self, id: ServiceId) -> Vec<(RegionId, OriginId)> {
        self.targets
            .of_service(id)
            .filter(|watched| watched.verdict() != Verdict::Unhealthy)
            .filter_map(|watched| Some((watched.target.region, watched.target.origin?)))
            .collect()
    }

    /// The TTL shrinks towards `ttl_min` while a state may soon flip.
    fn ttl(&self, id: ServiceId) -> Ttl {
        let dns = self.plan.services.of(id).dns;
        let soonest = self
            .targets
            .of_service(id)
            .filter_map(|watched| watched.state.as_ref()?.flip_in)
            .min();
        match soonest {
            None => dns.ttl,
            Some(flip_in) => Ttl::from_duration(flip_in).max(dns.ttl_min).min(dns.ttl),
        }
    }

    fn note_health(&mut self, id: ServiceId, state: &ServiceState, now_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        let service = &self.plan.services.of(id).name;
        for member in &state.members {
            let region = &self.plan.regions.of(member.region).name;
            let key = (service.clone(), region.clone());
            let known = self.health.get(&key).map(|(health, _)| *health);
            if known == Some(member.health) {
                continue;
            }
            self.health.insert(key, (member.health, now_ms));
            let before = known.unwrap_or(Health::Unknown);
            if before != member.health {
                let message = format!(
                    "region {region} is {} for service {service}, was {}",
                    member.health.word(),
                    before.word()
                );
                let told = event(Kind::Health, now_ms, Some(region), Some(service), message);
                events.push(told.warning_if(!member.health.is_able()));
            }
        }
        events
    }
}

/// A region's health, by its probes and its traffic.
fn health(targets: &[&Watched], min_healthy: u16) -> Health {
    let all = of_targets(targets.iter().map(|watched| watched.verdict()), min_healthy);
    let probed = of_targets(targets.iter().map(|watched| watched.probed()), min_healthy);
    if probed.is_able() && !all.is_able() {
        Health::Ejected
    } else {
        all
    }
}

/// What traffic shows never takes out the last region, whatever has become of the others since.
fn keep_the_last(members: &mut [MemberState]) {
    let is_left = |member: &MemberState| member.health.is_able() && member.admin.takes_traffic();
    if members.iter().any(is_left) {
        return;
    }
    for member in members
        .iter_mut()
        .filter(|member| member.health == Health::Ejected)
    {
        member.health = Health::Degraded;
    }
}
