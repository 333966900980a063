//! The snapshot that the world amounts to, and what changed since the last one.

use std::iter;
use std::sync::Arc;

use super::watched::Watched;
use super::{World, event};
use crate::control::events::{Event, Kind};
use crate::health::{Health, Verdict, of_targets};
use crate::ids::{OriginId, RegionId, ServiceId, Table};
use crate::steering::{MemberState, ServiceState, Snapshot, stable_hash};
use crate::units::Ttl;

impl World {
    /// What it all amounts to, and what changed in regions' health since the last snapshot.
    pub fn snapshot(&mut self, now_ms: u64) -> (Snapshot, Vec<Event>) {
        let plan = self.plan.clone();
        let services = Table::like(&plan.services, |id| {
            Arc::new(ServiceState {
                members: self.members(id, now_ms),
                able_origins: self.able_origins(id),
                ttl: self.ttl(id),
            })
        });
        let able = |region: RegionId| {
            services
                .values()
                .flat_map(|service| &service.members)
                .any(|member| member.region == region && member.health.is_able())
        };
        let edge = self.ranking.edge(&plan, able);
        let events = self.note_health(&services, now_ms);
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

    pub(super) fn members(&self, id: ServiceId, now_ms: u64) -> Vec<MemberState> {
        let service = self.plan.services.of(id);
        let mut targets = self.targets.of_service(id).peekable();
        service
            .regions
            .iter()
            .map(|member| {
                let region = self.plan.regions.of(member.region);
                let here = |watched: &&Watched| watched.target.region == member.region;
                let verdicts = iter::from_fn(|| targets.next_if(here)).map(Watched::verdict);
                let health = of_targets(verdicts, service.health.min_healthy);
                MemberState {
                    region: member.region,
                    seed: stable_hash(&region.name),
                    weight: member.weight,
                    health: self.unless_suspect(health, &region.name),
                    admin: self.drains.admin(&self.plan, id, member.region, now_ms),
                }
            })
            .collect()
    }

    /// A region whose positions ran backwards is degraded at best.
    fn unless_suspect(&self, health: Health, region: &Arc<str>) -> Health {
        match health {
            Health::Healthy | Health::Unknown if self.suspects.contains_key(region) => {
                Health::Degraded
            }
            Health::Healthy | Health::Unknown | Health::Degraded | Health::Unhealthy => health,
        }
    }

    fn able_origins(&self, id: ServiceId) -> Vec<(RegionId, OriginId)> {
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

    fn note_health(
        &mut self,
        services: &Table<ServiceId, Arc<ServiceState>>,
        now_ms: u64,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, state) in services.iter() {
            let service = &self.plan.services.of(id).name;
            for member in &state.members {
                let region = &self.plan.regions.of(member.region).name;
                let key = (service.clone(), region.clone());
                let before = self
                    .health
                    .get(&key)
                    .map_or(Health::Unknown, |(health, _)| *health);
                if self.health.contains_key(&key) && before == member.health {
                    continue;
                }
                self.health.insert(key, (member.health, now_ms));
                if before != member.health {
                    let message = format!(
                        "region {region} is {} for service {service}, was {}",
                        member.health.as_str(),
                        before.as_str()
                    );
                    events.push(event(
                        Kind::Health,
                        now_ms,
                        Some(region),
                        Some(service),
                        message,
                    ));
                }
            }
        }
        events
    }
}
