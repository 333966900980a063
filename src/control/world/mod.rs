//! All that changes while the edge runs, and the snapshot it amounts to.
//!
//! Pure: events come in with their time, events to tell come out. What outlives a reload is keyed
//! by name.

mod drained;
mod forced;
mod history;
mod inherited;
mod lagging;
mod ramped;
mod reported;
mod shifted;
mod shown;
mod snapshotted;
mod watched;
mod witnessed;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use history::TargetProbes;
pub(in crate::control) use lagging::DomainLag;
use shown::{Shown, Stale};
use watched::{TargetState, Targets, Watched};
pub use witnessed::{Judged, Witnessed};

use crate::config::plan::{Plan, Region, Service};
use crate::control::drains::{Drain, Drains};
use crate::control::events::{Event, Kind};
use crate::control::forced::{ForcedState, ForcedStates};
use crate::control::lag::Laggards;
use crate::control::ramps::Ramps;
use crate::control::ranking::Ranking;
use crate::geo::ClientMap;
use crate::health::{Cause, Failure, Health, Passive, Phases, Target, TargetKey, Verdict};
use crate::ids::{DomainId, OriginId};
use crate::positions::{self, Applied, Membership, Vector};

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

impl LastProbe {
    /// Whether the target answered, as it should or not.
    fn is_answered(&self) -> bool {
        matches!(
            self.outcome,
            Ok(_) | Err(Failure::Status(_) | Failure::Body)
        )
    }
}

/// All that changes while the edge runs.
#[derive(Debug)]
pub struct World {
    plan: Arc<Plan>,
    generation: u64,
    clients: Arc<ClientMap>,
    targets: Targets,
    shown: Shown,
    /// Since when each service's region has its health.
    health: HashMap<(Arc<str>, Arc<str>), (Health, u64)>,
    drains: Drains,
    forced: ForcedStates,
    ramps: Ramps,
    /// How long services let sessions stay in a drained region: each time once.
    session_times: BTreeSet<Duration>,
    ranking: Ranking,
    positions: HashMap<Arc<str>, Arc<Applied>>,
    /// Region → until when its positions are suspect.
    suspects: HashMap<Arc<str>, u64>,
    laggards: Laggards,
    /// Up to when all that time alone changes has been taken in.
    settled_ms: u64,
    /// When traffic was last looked at, on the steady clock.
    witnessed_ms: u64,
}

/// What folding a report amounts to.
#[derive(Debug, Default)]
pub struct Folded {
    /// What there is to tell.
    pub events: Vec<Event>,
    /// Whether the snapshot may have changed by more than a round trip.
    pub stirred: bool,
    /// Whether its target's row of failures in traffic begins anew.
    pub forgiven: bool,
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
    /// How many there have been.
    pub probes: u64,
    /// What its traffic has done to it.
    pub ejected: Option<EjectedStatus>,
}

/// An ejection as the status page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectedStatus {
    /// When it ends unless the origin asks for more, in milliseconds since 1970.
    pub until_ms: u64,
    /// Why.
    pub cause: Cause,
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
    /// The forced states in force.
    pub forced: Vec<ForcedState>,
    /// Region → until when it is degraded at best since its positions ran backwards, in milliseconds since 1970.
    pub suspects: HashMap<Arc<str>, u64>,
}

impl World {
    /// The world of a first Plan.
    pub fn new(plan: Arc<Plan>, clients: Arc<ClientMap>) -> Self {
        let mut world = Self {
            plan: plan.clone(),
            generation: 0,
            clients: clients.clone(),
            targets: Targets::default(),
            shown: Shown::default(),
            health: HashMap::new(),
            drains: Drains::default(),
            forced: ForcedStates::default(),
            ramps: Ramps::default(),
            session_times: BTreeSet::new(),
            ranking: Ranking::default(),
            positions: HashMap::new(),
            suspects: HashMap::new(),
            laggards: Laggards::default(),
            settled_ms: 0,
            witnessed_ms: 0,
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

    /// Every target of the Plan with what its probes say.
    pub fn checks(&self) -> impl Iterator<Item = (&TargetKey, &Target, Verdict)> {
        self.targets
            .iter()
            .map(|watched| (&watched.key, &watched.target, watched.probed()))
    }

    /// Takes over a new Plan; what is known of what did not change is kept.
    pub fn adopt(&mut self, plan: Arc<Plan>, clients: Arc<ClientMap>) {
        self.targets = Targets::of(&plan, std::mem::take(&mut self.targets));
        let members: HashSet<(Arc<str>, Arc<str>)> = members(&plan).collect();
        self.health.retain(|key, _| members.contains(key));
        self.ramps.retain(0, |key| members.contains(key));
        self.positions
            .retain(|name, _| plan.domains.values().any(|domain| domain.name == *name));
        for (id, domain) in plan.domains.iter() {
            let applied = self.positions.entry(domain.name.clone()).or_default();
            let regions = plan.regions.values().map(|region| region.name.clone());
            applied.adopt(membership(&plan, id), Some(regions.collect()));
        }
        self.laggards.retain(
            |domain| self.positions.contains_key(domain),
            |region| plan.region(region).is_some(),
        );
        let affinities = plan.services.values().filter_map(|s| s.affinity.as_ref());
        self.session_times = affinities.map(|affinity| affinity.drain).collect();
        self.plan = plan;
        self.clients = clients;
        self.generation += 1;
        self.forget_shown();
    }

    /// Puts clients where measurements have moved them, if they were placed for the Plan in force.
    pub fn relocate(&mut self, plan: &Arc<Plan>, clients: Arc<ClientMap>) -> bool {
        let is_for_this = Arc::ptr_eq(&self.plan, plan);
        if is_for_this {
            self.clients = clients;
        }
        is_for_this
    }

    /// Has the next snapshot made without the last one.
    pub(in crate::control) fn forget_shown(&mut self) {
        self.shown = Shown::default();
    }

    /// Restores what `state_dir` remembers of a target, if there still is that target.
    pub fn remember_verdict(&mut self, key: &TargetKey, verdict: Verdict, now_ms: u64) {
        if let Some(watched) = self.targets.get_mut(key) {
            watched.state = Some(TargetState {
                verdict,
                since_ms: now_ms,
                flip_in: None,
                last: None,
            });
            self.shown.stale.add(watched.target.service);
        }
    }

    /// The health of each region of each service, and since when it has it.
    pub(crate) fn healths(&self) -> impl Iterator<Item = (&(Arc<str>, Arc<str>), Health, u64)> {
        let healths = self.health.iter();
        healths.map(|(of, (health, since_ms))| (of, *health, *since_ms))
    }

    /// Restores what `state_dir` remembers of a region's health, if it still is one of the service's.
    pub(crate) fn remember_health(&mut self, of: (&str, &str), health: Health, since_ms: u64) {
        let of = (of.0.into(), of.1.into());
        if members(&self.plan).any(|member| member == of) {
            self.health.insert(of, (health, since_ms));
        }
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
        self.shown.stale = Stale::All;
    }

    /// The service and the region that a target belongs to.
    pub fn owner(&self, key: &TargetKey) -> Option<(&Arc<str>, &Arc<str>)> {
        let target = &self.targets.get(key)?.target;
        let service = &self.plan.services.of(target.service).name;
        Some((service, &self.plan.regions.of(target.region).name))
    }

    /// The positions of a domain.
    pub fn applied(&self, domain: &str) -> Option<&Arc<Applied>> {
        self.positions.get(domain)
    }

    /// How often what is known of positions has changed, in all domains.
    pub(in crate::control) fn position_changes(&self) -> u64 {
        let changes = self.positions.values().map(|applied| applied.changes());
        changes.fold(0, u64::wrapping_add)
    }

    /// The drains in force.
    pub fn drains(&self) -> &Drains {
        &self.drains
    }

    /// What the status page shows beyond the snapshot.
    pub fn status(&self) -> WorldStatus {
        WorldStatus {
            targets: self.targets.iter().map(Watched::status).collect(),
            since_ms: self
                .health
                .iter()
                .map(|(key, (_, since))| (key.clone(), *since))
                .collect(),
            drains: self.drains.iter().cloned().collect(),
            forced: self.forced.iter().cloned().collect(),
            suspects: self.suspects.clone(),
        }
    }
}

impl Watched {
    fn status(&self) -> TargetStatus {
        let ejection = self.passive.as_ref().and_then(Passive::ejection);
        TargetStatus {
            target: self.target.clone(),
            verdict: self.verdict(),
            last: self.state.as_ref().and_then(|state| state.last.clone()),
            probes: self.history.count,
            ejected: ejection.map(|ejection| EjectedStatus {
                until_ms: self.ejected_at_ms + whole_ms(ejection.length),
                cause: ejection.cause,
            }),
        }
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

/// Whose regions and origins a domain's services have. A region without origins is never read from here.
fn membership(plan: &Plan, id: DomainId) -> Membership {
    let of_domain = |service: &Service| {
        let consistency = service.consistency.as_ref();
        consistency.is_some_and(|consistency| consistency.domain == id)
    };
    let services = || plan.services.values().filter(|service| of_domain(service));
    let regions = services().flat_map(|service| &service.regions);
    let regions = regions.map(|member| plan.regions.of(member.region));
    let origins = |region: &Region| -> Vec<Arc<str>> {
        let origins = region.origins.iter();
        let url = |origin: &OriginId| plan.origins.of(*origin).url.to_string().into();
        origins.map(url).collect()
    };
    let ttls = services().filter_map(|service| service.consistency.as_ref());
    Membership {
        regions: regions
            .filter(|region| !region.origins.is_empty())
            .map(|region| (region.name.clone(), origins(region)))
            .collect(),
        ttl: ttls
            .map(|consistency| consistency.ttl)
            .min()
            .unwrap_or_default(),
    }
}

fn has_origin(plan: &Plan, region: &str, url: &str) -> bool {
    let origins = plan.region(region).map(|id| &plan.regions.of(id).origins);
    origins.into_iter().flatten().any(|origin| {
        let known = &plan.origins.of(*origin).url;
        known.to_string() == url
    })
}

fn event(
    kind: Kind,
    at_ms: u64,
    region: Option<&Arc<str>>,
    service: Option<&Arc<str>>,
    message: String,
) -> Event {
    Event {
        region: region.map(ToString::to_string),
        service: service.map(ToString::to_string),
        ..Event::new(kind, at_ms, message)
    }
}
