//! All that changes while the edge runs, and the snapshot it amounts to.
//!
//! Pure: events come in with their time, events to tell come out. What outlives a reload is keyed
//! by name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::drains::{Drain, DrainRefused, Drains};
use super::events::{Event, Kind};
use super::lag::Laggards;
use super::ranking::Ranking;
use crate::config::plan::{Consistency, Plan};
use crate::geo::ClientMap;
use crate::health::{
    Failure, Health, Phases, Report, Target, TargetKey, Verdict, of_targets, targets,
};
use crate::ids::{OriginId, RegionId, ServiceId, Table};
use crate::positions::{self, Applied, Reported, Vector, parse_vector};
use crate::steering::{Admin, MemberState, ServiceState, Snapshot, stable_hash};
use crate::units::Ttl;

/// How long a region whose positions ran backwards is shown as degraded.
const SUSPECT_MS: u64 = 60_000;

/// The last probe of a target.
#[derive(Clone, Debug)]
pub struct LastProbe {
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// Phase by phase, or why it failed.
    pub outcome: Result<Phases, Failure>,
}

/// What is known of a target.
#[derive(Clone, Debug)]
struct TargetState {
    verdict: Verdict,
    since_ms: u64,
    flip_in: Option<Duration>,
    last: Option<LastProbe>,
}

/// All that changes while the edge runs.
#[derive(Debug)]
pub struct World {
    plan: Arc<Plan>,
    generation: u64,
    clients: Arc<ClientMap>,
    targets: Targets,
    states: HashMap<TargetKey, TargetState>,
    /// Since when each service's region has its health.
    health: HashMap<(Arc<str>, Arc<str>), (Health, u64)>,
    drains: Drains,
    ranking: Ranking,
    positions: HashMap<Arc<str>, Arc<Applied>>,
    /// Region → until when its positions are suspect.
    suspects: HashMap<Arc<str>, u64>,
    laggards: Laggards,
    /// Up to when all that time alone changes has been taken in.
    settled_ms: u64,
}

/// The Plan's targets, found by name and by service.
#[derive(Debug, Default)]
struct Targets {
    all: Vec<(TargetKey, Target)>,
    place: HashMap<TargetKey, usize>,
    /// Where each service's targets lie in `all`: they stand together.
    of_service: Table<ServiceId, std::ops::Range<usize>>,
}

impl Targets {
    fn of(plan: &Plan) -> Self {
        let all: Vec<(TargetKey, Target)> = targets(plan)
            .into_iter()
            .map(|target| (target.key(plan), target))
            .collect();
        let place = all
            .iter()
            .enumerate()
            .map(|(at, (key, _))| (key.clone(), at))
            .collect();
        let of_service = Table::like(&plan.services, |service| {
            let first = all.partition_point(|(_, target)| target.service < service);
            first..all.partition_point(|(_, target)| target.service <= service)
        });
        Self {
            all,
            place,
            of_service,
        }
    }

    fn get(&self, key: &TargetKey) -> Option<&Target> {
        let (_, target) = self.all.get(*self.place.get(key)?)?;
        Some(target)
    }

    fn of_service(&self, service: ServiceId) -> impl Iterator<Item = &(TargetKey, Target)> {
        let range = self.of_service.get(service).cloned().unwrap_or_default();
        self.all.get(range).into_iter().flatten()
    }
}

/// What folding a report amounts to.
#[derive(Debug, Default)]
pub struct Folded {
    /// What there is to tell.
    pub events: Vec<Event>,
    /// Whether the snapshot may have changed by more than a round trip.
    pub stirred: bool,
}

/// A target as the status page shows it.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// Which.
    pub target: Target,
    /// Its state.
    pub verdict: Verdict,
    /// Its last probe.
    pub last: Option<LastProbe>,
}

/// What the status page shows beyond the snapshot.
#[derive(Clone, Debug)]
pub struct WorldStatus {
    /// Every target.
    pub targets: Vec<TargetStatus>,
    /// (service, region) → since when its health holds, in milliseconds since 1970.
    pub since_ms: HashMap<(Arc<str>, Arc<str>), u64>,
    /// The drains in force.
    pub drains: Vec<Drain>,
}

impl World {
    /// The world of a first Plan.
    pub fn new(plan: Arc<Plan>, clients: Arc<ClientMap>) -> Self {
        let mut world = Self {
            plan: plan.clone(),
            generation: 0,
            clients: clients.clone(),
            targets: Targets::default(),
            states: HashMap::new(),
            health: HashMap::new(),
            drains: Drains::default(),
            ranking: Ranking::default(),
            positions: HashMap::new(),
            suspects: HashMap::new(),
            laggards: Laggards::default(),
            settled_ms: 0,
        };
        world.adopt(plan, clients);
        world
    }

    /// The Plan in force.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// How many Plans there have been.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Every target of the Plan with the verdict known of it.
    pub fn checks(&self) -> impl Iterator<Item = (&TargetKey, &Target, Verdict)> {
        self.targets
            .all
            .iter()
            .map(|(key, target)| (key, target, self.verdict(key)))
    }

    fn verdict(&self, key: &TargetKey) -> Verdict {
        self.states
            .get(key)
            .map_or(Verdict::Unknown, |state| state.verdict)
    }

    /// Takes over a new Plan; what is known of what did not change is kept.
    pub fn adopt(&mut self, plan: Arc<Plan>, clients: Arc<ClientMap>) {
        self.targets = Targets::of(&plan);
        let kept = &self.targets.place;
        self.states.retain(|key, _| kept.contains_key(key));
        let members: HashSet<(Arc<str>, Arc<str>)> = members(&plan).collect();
        self.health.retain(|key, _| members.contains(key));
        for domain in plan.domains.values() {
            self.positions.entry(domain.name.clone()).or_default();
        }
        self.positions
            .retain(|name, _| plan.domains.values().any(|domain| domain.name == *name));
        for applied in self.positions.values() {
            applied.retain(|region, url| has_origin(&plan, region, url));
        }
        self.laggards.retain(|domain, region| {
            self.positions.contains_key(domain) && plan.region(region).is_some()
        });
        self.plan = plan;
        self.clients = clients;
        self.generation += 1;
    }

    /// Restores what `state_dir` remembers of a target.
    pub fn remember_verdict(&mut self, key: TargetKey, verdict: Verdict, now_ms: u64) {
        let state = TargetState {
            verdict,
            since_ms: now_ms,
            flip_in: None,
            last: None,
        };
        self.states.insert(key, state);
    }

    /// Restores what `state_dir` remembers of an origin's positions, if there still is that origin.
    ///
    /// They count until its first word; that word, even if it says less, was asked for later and so
    /// is believed.
    pub fn remember_applied(&self, domain: &str, region: &str, origin: &str, applied: &Vector) {
        if let Some(positions) = self.positions.get(domain)
            && has_origin(&self.plan, region, origin)
        {
            positions.report(positions::Report {
                region: &region.into(),
                origin,
                applied,
                asked_at_ms: 0,
                now_ms: 0,
            });
        }
    }

    /// Restores a drain.
    pub fn remember_drain(&mut self, drain: Drain) {
        self.drains.put(drain);
    }

    /// The service and the region that a target belongs to.
    pub fn owner(&self, key: &TargetKey) -> Option<(&Arc<str>, &Arc<str>)> {
        let target = self.targets.get(key)?;
        let service = &self.plan.services.of(target.service).name;
        Some((service, &self.plan.regions.of(target.region).name))
    }

    /// The positions of a domain.
    pub fn applied(&self, domain: &str) -> Option<&Arc<Applied>> {
        self.positions.get(domain)
    }

    /// The drains in force.
    pub fn drains(&self) -> &Drains {
        &self.drains
    }

    /// Folds what a check says. `steady_ms` is when the probe was sent and when it ended on the
    /// edge's steady clock.
    pub fn report(&mut self, report: Report, now_ms: u64, steady_ms: (u64, u64)) -> Folded {
        let Some(target) = self.targets.get(&report.key).cloned() else {
            return Folded::default(); // A reload has just taken it away.
        };
        let region = self.plan.regions.of(target.region).name.clone();
        if let Ok(phases) = &report.result.outcome {
            self.ranking
                .sample(&region, phases.round_trip().as_secs_f64() * 1000.0);
        }
        let mut folded = Folded::default();
        if let Some(applied) = &report.result.applied {
            folded
                .events
                .extend(self.take_applied(&target, &region, applied, now_ms, steady_ms));
        }
        let before = self.states.get(&report.key);
        folded.stirred = !folded.events.is_empty()
            || before.is_none_or(|state| {
                state.verdict != report.verdict || state.flip_in != report.flip_in
            });
        folded
            .events
            .extend(self.take_verdict(&target, &region, report, now_ms));
        folded
    }

    fn take_verdict(
        &mut self,
        target: &Target,
        region: &Arc<str>,
        report: Report,
        now_ms: u64,
    ) -> Option<Event> {
        let before = self.states.get(&report.key);
        let known = before.map_or(Verdict::Unknown, |state| state.verdict);
        let since_ms = match before {
            Some(state) if state.verdict == report.verdict => state.since_ms,
            Some(_) | None => now_ms,
        };
        let why = match &report.result.outcome {
            Ok(phases) => format!("answered in {} ms", phases.total().as_millis()),
            Err(failure) => failure.to_string(),
        };
        let state = TargetState {
            verdict: report.verdict,
            since_ms,
            flip_in: report.flip_in,
            last: Some(LastProbe {
                at_ms: now_ms,
                outcome: report.result.outcome,
            }),
        };
        self.states.insert(report.key, state);
        (known != report.verdict).then(|| {
            let service = &self.plan.services.of(target.service).name;
            let message = format!(
                "{} of {region} is {}: {why}",
                target.url,
                report.verdict.as_str()
            );
            event(Kind::Health, now_ms, Some(region), Some(service), message)
        })
    }

    fn take_applied(
        &mut self,
        target: &Target,
        region: &Arc<str>,
        applied: &str,
        now_ms: u64,
        steady_ms: (u64, u64),
    ) -> Vec<Event> {
        let plan = self.plan.clone();
        let consistency = plan.services.of(target.service).consistency.as_ref();
        let (Some(consistency), Some(origin)) = (consistency, target.origin) else {
            return Vec::new();
        };
        let origin = plan.origins.of(origin).url.to_string();
        let regressed =
            self.report_applied(consistency, region, &origin, applied, now_ms, steady_ms);
        let lag = self.note_lag(consistency, region, now_ms, steady_ms.1);
        regressed.into_iter().chain(lag).collect()
    }

    fn note_lag(
        &mut self,
        consistency: &Consistency,
        region: &Arc<str>,
        now_ms: u64,
        steady_now_ms: u64,
    ) -> Option<Event> {
        let domain = &self.plan.domains.of(consistency.domain).name;
        let lag = self.positions.get(domain)?.lag(region, steady_now_ms)?;
        let message = self
            .laggards
            .note(domain, region, lag, consistency.max_lag)?;
        Some(event(Kind::Position, now_ms, Some(region), None, message))
    }

    fn report_applied(
        &mut self,
        consistency: &Consistency,
        region: &Arc<str>,
        origin: &str,
        applied: &str,
        now_ms: u64,
        (asked_at_ms, steady_now_ms): (u64, u64),
    ) -> Option<Event> {
        let domain = self.plan.domains.of(consistency.domain);
        let applied = match parse_vector(applied, domain.version) {
            Ok(applied) => applied,
            Err(error) => {
                tracing::debug!(%region, %error, "Meridian-Applied ignored");
                return None;
            }
        };
        let report = positions::Report {
            region,
            origin,
            applied: &applied,
            asked_at_ms,
            now_ms: steady_now_ms,
        };
        match self.positions.get(&domain.name)?.report(report) {
            Reported::Known | Reported::Advanced => None,
            Reported::Regressed => {
                let message = format!("positions of {region} ran backwards, to {applied}");
                self.suspects.insert(region.clone(), now_ms + SUSPECT_MS);
                Some(event(Kind::Position, now_ms, Some(region), None, message))
            }
        }
    }

    /// Notes that a proxied answer showed a region's positions running backwards.
    pub fn suspect(&mut self, region: &Arc<str>, message: String, now_ms: u64) -> Event {
        self.suspects.insert(region.clone(), now_ms + SUSPECT_MS);
        event(Kind::Position, now_ms, Some(region), None, message)
    }

    /// Drains a region, if the guards of the services allow it or `force` is set.
    pub fn drain(&mut self, drain: Drain, force: bool) -> Result<Event, DrainRefused> {
        let (region, services) = self.drain_scope(&drain.region, drain.service.as_deref())?;
        if !force {
            for service in services {
                self.guard(service, region, drain.since_ms)?;
            }
        }
        let of = drain
            .service
            .as_ref()
            .map_or(String::new(), |s| format!(" for service {s}"));
        let why = drain
            .reason
            .as_ref()
            .map_or(String::new(), |r| format!(": {r}"));
        let message = format!("region {} is drained{of}{why}", drain.region);
        let event = event(
            Kind::Drain,
            drain.since_ms,
            Some(&drain.region),
            drain.service.as_ref(),
            message,
        );
        self.drains.put(drain);
        Ok(event)
    }

    fn drain_scope(
        &self,
        region: &str,
        service: Option<&str>,
    ) -> Result<(RegionId, Vec<ServiceId>), DrainRefused> {
        let plan = &self.plan;
        let id = plan
            .region(region)
            .ok_or_else(|| DrainRefused::UnknownRegion(region.to_owned()))?;
        let services: Vec<ServiceId> = plan
            .services
            .iter()
            .filter(|(_, s)| s.regions.iter().any(|member| member.region == id))
            .filter(|(_, s)| service.is_none_or(|name| *s.name == *name))
            .map(|(id, _)| id)
            .collect();
        match service {
            Some(name) if services.is_empty() => Err(DrainRefused::UnknownService(name.to_owned())),
            Some(_) | None => Ok((id, services)),
        }
    }

    fn guard(
        &self,
        service: ServiceId,
        drained: RegionId,
        now_ms: u64,
    ) -> Result<(), DrainRefused> {
        let Service { name, min_regions } = Service::of(&self.plan, service);
        let left: Vec<Arc<str>> = self
            .members(service, now_ms)
            .into_iter()
            .filter(|member| {
                member.region != drained
                    && member.admin == Admin::Enabled
                    && member.health.is_able()
            })
            .map(|member| self.plan.regions.of(member.region).name.clone())
            .collect();
        if left.len() < usize::from(min_regions) {
            return Err(DrainRefused::Guard {
                service: name,
                min_regions,
                left,
            });
        }
        Ok(())
    }

    /// Ends a drain.
    pub fn undrain(
        &mut self,
        region: &str,
        service: Option<&str>,
        now_ms: u64,
    ) -> Result<Event, DrainRefused> {
        // A drain outlives a reload that takes its region away, and can be undone all the same.
        let Some(drain) = self.drains.take(region, service) else {
            self.drain_scope(region, service)?;
            return Err(DrainRefused::NotDrained(region.to_owned()));
        };
        Ok(self.drain_over(&drain, now_ms, "undone"))
    }

    /// Ends the drains whose time is over.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Event> {
        self.settled_ms = now_ms;
        self.suspects.retain(|_, until| *until > now_ms);
        let over = self.drains.expire(now_ms);
        over.iter()
            .map(|drain| self.drain_over(drain, now_ms, "over"))
            .collect()
    }

    fn drain_over(&self, drain: &Drain, now_ms: u64, how: &str) -> Event {
        let message = format!("the drain of region {} is {how}", drain.region);
        event(
            Kind::Drain,
            now_ms,
            Some(&drain.region),
            drain.service.as_ref(),
            message,
        )
    }

    /// When time alone changes something next, in milliseconds since 1970. What has passed since the last
    /// [`expire`](Self::expire) is still to come.
    pub fn next_change_ms(&self) -> Option<u64> {
        let drains = self.drains.next_change_ms(&self.plan, self.settled_ms);
        let suspects = self.suspects.values().copied();
        suspects.chain(drains).min()
    }

    /// What it all amounts to, and what changed in regions' health since the last snapshot.
    pub fn snapshot(&mut self, now_ms: u64) -> (Snapshot, Vec<Event>) {
        let plan = self.plan.clone();
        let services = Table::like(&plan.services, |id| ServiceState {
            members: self.members(id, now_ms),
            able_origins: self.able_origins(id),
            ttl: self.ttl(id),
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

    fn members(&self, id: ServiceId, now_ms: u64) -> Vec<MemberState> {
        let service = self.plan.services.of(id);
        service
            .regions
            .iter()
            .map(|member| {
                let region = self.plan.regions.of(member.region);
                MemberState {
                    region: member.region,
                    seed: stable_hash(&region.name),
                    weight: member.weight,
                    health: self.region_health(id, member.region),
                    admin: self.drains.admin(&self.plan, id, member.region, now_ms),
                }
            })
            .collect()
    }

    fn region_health(&self, service: ServiceId, region: RegionId) -> Health {
        let verdicts = self
            .targets
            .of_service(service)
            .filter(|(_, target)| target.region == region)
            .map(|(key, _)| self.verdict(key));
        let health = of_targets(verdicts, self.plan.services.of(service).health.min_healthy);
        let suspect = self
            .suspects
            .contains_key(&self.plan.regions.of(region).name);
        match health {
            Health::Healthy | Health::Unknown if suspect => Health::Degraded,
            Health::Healthy | Health::Unknown | Health::Degraded | Health::Unhealthy => health,
        }
    }

    fn able_origins(&self, id: ServiceId) -> Vec<(RegionId, OriginId)> {
        self.targets
            .of_service(id)
            .filter(|(key, _)| self.verdict(key) != Verdict::Unhealthy)
            .filter_map(|(_, target)| Some((target.region, target.origin?)))
            .collect()
    }

    /// The TTL shrinks towards `ttl_min` while a state may soon flip.
    fn ttl(&self, id: ServiceId) -> Ttl {
        let dns = self.plan.services.of(id).dns;
        let soonest = self
            .targets
            .of_service(id)
            .filter_map(|(key, _)| self.states.get(key)?.flip_in)
            .min();
        match soonest {
            None => dns.ttl,
            Some(flip_in) => Ttl::from_duration(flip_in).max(dns.ttl_min).min(dns.ttl),
        }
    }

    fn note_health(
        &mut self,
        services: &Table<ServiceId, ServiceState>,
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

    /// What the status page shows beyond the snapshot.
    pub fn status(&self) -> WorldStatus {
        WorldStatus {
            targets: self
                .targets
                .all
                .iter()
                .map(|(key, target)| TargetStatus {
                    target: target.clone(),
                    verdict: self.verdict(key),
                    last: self.states.get(key).and_then(|state| state.last.clone()),
                })
                .collect(),
            since_ms: self
                .health
                .iter()
                .map(|(key, (_, since))| (key.clone(), *since))
                .collect(),
            drains: self.drains.iter().cloned().collect(),
        }
    }
}

/// Every service's name with each of its regions'.
fn members(plan: &Plan) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
    plan.services.values().flat_map(|service| {
        let regions = service.regions.iter();
        regions.map(|member| {
            let region = &plan.regions.of(member.region).name;
            (service.name.clone(), region.clone())
        })
    })
}

fn has_origin(plan: &Plan, region: &str, url: &str) -> bool {
    let origins = plan.region(region).map(|id| &plan.regions.of(id).origins);
    origins.into_iter().flatten().any(|origin| {
        let known = &plan.origins.of(*origin).url;
        known.to_string() == url
    })
}

/// What a guard needs of a service.
struct Service {
    name: Arc<str>,
    min_regions: u16,
}

impl Service {
    fn of(plan: &Plan, id: ServiceId) -> Self {
        let service = plan.services.of(id);
        Self {
            name: service.name.clone(),
            min_regions: service.min_regions,
        }
    }
}

fn event(
    kind: Kind,
    at_ms: u64,
    region: Option<&Arc<str>>,
    service: Option<&Arc<str>>,
    message: String,
) -> Event {
    Event {
        id: 0,
        at_ms,
        kind,
        region: region.map(ToString::to_string),
        service: service.map(ToString::to_string),
        message,
    }
}
