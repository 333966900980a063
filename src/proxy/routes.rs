//! What is compiled from a Plan for the proxy: hosts, origins, counters.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;

use super::answered::Answered;
use super::headers::Via;
use super::origin_tls::OriginTls;
use super::sample::Sampled;
use super::served::{Served, ServedCounters};
use super::silence::Silence;
use super::tls::Identities;
use super::waits::Waits;
use super::witness::Witness;
use crate::clock;
use crate::config::plan::{Access, HostPattern, Plan};
use crate::health::{Prober, Target, Traffic, targets};
use crate::ids::{OriginId, RegionId, ServiceId, Table};
use crate::positions::Mark;

/// Requests in flight to one region for one service.
#[derive(Debug, Default)]
pub(super) struct InFlight(AtomicU32);

/// Counts one request while it lives.
pub(super) struct Admitted(Arc<InFlight>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Admits a request, unless `limit` (0: none) are in flight already.
    pub(super) fn admit(self: &Arc<Self>, limit: u32) -> Option<Admitted> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(self.clone());
        (limit == 0 || before < limit).then_some(admitted)
    }
}

/// What a region of a service has of its own.
pub(super) struct Lane {
    pub(super) in_flight: Arc<InFlight>,
    answered: Answered,
    witnesses: Vec<Arc<Witness>>,
    silence: Silence,
    served: Arc<Served>,
    pub(super) waits: Waits,
}

impl Lane {
    /// Counts what requests show of an origin; none: that counts for nothing.
    pub(super) fn witness(&self, origin: OriginId) -> Option<&Arc<Witness>> {
        self.witnesses.iter().find(|witness| witness.is_of(origin))
    }

    /// Notes that no health path of the region says anything of positions.
    pub(super) fn note_silence(&self) {
        self.silence.begin(clock::steady_ms());
    }

    /// Whether none did of late.
    pub(super) fn is_silent(&self) -> bool {
        self.silence.holds(clock::steady_ms())
    }

    /// Counts a try that got no answer, or one that another region was to better.
    pub(super) fn count_failure(&self) {
        self.served.failed();
    }

    /// Takes a request that it answered into the sample, perhaps.
    pub(super) fn sample(&self, access: Access, now_ms: u64, request: impl FnOnce() -> Sampled) {
        self.served.sample(access, now_ms, request);
    }

    /// Counts a response that begins this long after its request came, as an error or not; `mark` is that of a read with a
    /// token.
    pub(super) fn count(
        &self,
        (status, is_error): (http::StatusCode, bool),
        after: Duration,
        (access, mark): (Access, Option<Mark>),
    ) {
        self.served.answered(is_error, after, access);
        self.answered.count(status, mark);
    }
}

/// Counters of requests in flight by service and region, which outlive reloads.
#[derive(Debug, Default)]
pub struct InFlightCounters(Mutex<HashMap<LaneName, Arc<InFlight>>>);

/// A service and a region.
type LaneName = (Arc<str>, Arc<str>);

/// Those of a service, in the order of their ids.
type Lanes = Box<[(RegionId, Lane)]>;

/// What is compiled from a Plan for the proxy.
pub struct Routes {
    exact: HashMap<Arc<str>, ServiceId>,
    /// By the name below which they stand.
    wildcards: HashMap<Arc<str>, ServiceId>,
    origins: Table<OriginId, Arc<str>>,
    lanes: Table<ServiceId, Lanes>,
    probers: Table<ServiceId, Prober>,
    targets: Vec<Target>,
    pub(super) tls: OriginTls,
    pub(super) identities: Arc<Identities>,
    pub(super) via: Via,
    region_names: Table<RegionId, HeaderValue>,
    served: Arc<ServedCounters>,
}

impl Routes {
    /// Compiles.
    pub fn new(
        plan: &Plan,
        probers: Table<ServiceId, Prober>,
        tls: OriginTls,
        identities: Arc<Identities>,
        in_flight: &InFlightCounters,
        traffic: &Arc<Traffic>,
        served: &Arc<ServedCounters>,
    ) -> Self {
        served.keep_only(plan);
        let mut exact = HashMap::new();
        let mut wildcards = HashMap::new();
        for (id, service) in plan.services.iter() {
            for host in &service.hosts {
                match host {
                    HostPattern::Exact(name) => exact.insert(name.clone(), id),
                    HostPattern::Wildcard(name) => wildcards.insert(name.clone(), id),
                };
            }
        }
        Self {
            exact,
            wildcards,
            origins: Table::like(&plan.origins, |id| {
                plan.origins.of(id).url.to_string().into()
            }),
            lanes: Table::like(&plan.services, |id| {
                lanes(plan, id, in_flight, traffic, served)
            }),
            probers,
            targets: targets(plan),
            tls,
            identities,
            via: Via::new(&plan.node.name),
            region_names: Table::like(&plan.regions, |id| {
                let name = HeaderValue::from_str(&plan.regions.of(id).name);
                name.unwrap_or_else(|_| HeaderValue::from_static(""))
            }),
            served: served.clone(),
        }
    }

    /// The service of a host: the exact one, else the longest wildcard.
    pub(super) fn service(&self, host: &str) -> Option<ServiceId> {
        if let Some(service) = self.exact.get(host) {
            return Some(*service);
        }
        let mut below = host;
        while let Some((_, parent)) = below.split_once('.') {
            if let Some(service) = self.wildcards.get(parent) {
                return Some(*service);
            }
            below = parent;
        }
        None
    }

    /// What regions answered.
    pub fn served(&self) -> &ServedCounters {
        &self.served
    }

    /// An origin's URL as a text.
    pub(super) fn origin(&self, id: OriginId) -> &Arc<str> {
        self.origins.of(id)
    }

    /// A region's name as answers tell it.
    pub(super) fn region_name(&self, id: RegionId) -> &HeaderValue {
        self.region_names.of(id)
    }

    /// What a region of a service has of its own.
    pub(super) fn lane(&self, service: ServiceId, region: RegionId) -> Option<&Lane> {
        let lanes = self.lanes.of(service);
        let at = lanes.binary_search_by_key(&region, |(of, _)| *of).ok()?;
        lanes.get(at).map(|(_, lane)| lane)
    }

    /// How to ask a region's origins for their positions, beside requests.
    pub(super) fn probes(
        &self,
        service: ServiceId,
        region: RegionId,
    ) -> impl Iterator<Item = (OriginId, &Target)> {
        self.targets
            .iter()
            .filter(move |target| target.service == service && target.region == region)
            .filter_map(|target| Some((target.origin?, target)))
    }

    /// How a service's targets are probed.
    pub(super) fn prober(&self, service: ServiceId) -> &Prober {
        self.probers.of(service)
    }
}

fn lanes(
    plan: &Plan,
    id: ServiceId,
    in_flight: &InFlightCounters,
    traffic: &Arc<Traffic>,
    served: &ServedCounters,
) -> Lanes {
    let service = plan.services.of(id);
    let mut counters = in_flight.0.lock().unwrap_or_else(PoisonError::into_inner);
    let lanes = service.regions.iter().map(|member| {
        let region = &plan.regions.of(member.region).name;
        let key = (service.name.clone(), region.clone());
        let lane = Lane {
            in_flight: counters.entry(key).or_default().clone(),
            answered: Answered::new(&service.name, region),
            witnesses: Witness::of_region(plan, id, member.region, traffic),
            silence: Silence::default(),
            served: served.of(&service.name, region),
            waits: Waits::default(),
        };
        (member.region, lane)
    });
    let mut lanes: Vec<_> = lanes.collect();
    lanes.sort_unstable_by_key(|(region, _)| *region);
    lanes.into()
}
