//! What turns a Plan into snapshots that the DNS and HTTP faces answer from.
//!
//! Both faces are compiled from one snapshot and swapped one after the other; what counts outlives Plans here.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

use super::answers::{Answers, Renewed};
use super::materials::Materials;
use super::sampling::Ground;
use crate::clock;
use crate::config::plan::Plan;
use crate::control::{Adoption, Control, Replaced};
use crate::dns;
use crate::health::{Spared, Traffic};
use crate::positions::Keyring;
use crate::proxy::{self, AccessLog, InFlightCounters, Routes, ServedCounters};
use crate::steering::{MemberState, Snapshot};

/// What turns a Plan into an adoption.
pub(super) struct Wiring {
    pub(super) dns: Arc<ArcSwap<dns::Live>>,
    pub(super) proxy: Option<Arc<proxy::Context>>,
    /// Told of every table that DNS answers from.
    pub(super) published: Arc<Notify>,
    /// Signatures for the next of them.
    pub(super) renewed: Arc<Renewed>,
    /// What sampled figures are compiled for.
    pub(super) ground: Arc<ArcSwap<Ground>>,
    in_flight: InFlightCounters,
    traffic: Arc<Traffic>,
    served: Arc<ServedCounters>,
}

impl Wiring {
    /// Before the first snapshot there is nothing to serve, so nothing does.
    pub(super) fn first(plan: &Arc<Plan>, materials: &Materials) -> Self {
        let snapshot = Arc::new(first_snapshot(plan, materials));
        let signing = signing(materials);
        Self {
            dns: Arc::new(ArcSwap::from_pointee(dns::Live::compile(
                snapshot, &signing, None,
            ))),
            proxy: None,
            published: Arc::default(),
            renewed: Arc::default(),
            ground: Arc::new(ArcSwap::from_pointee(Ground::of(plan, materials))),
            in_flight: InFlightCounters::default(),
            traffic: Arc::default(),
            served: Arc::default(),
        }
    }

    pub(super) fn context(
        &mut self,
        plan: &Arc<Plan>,
        materials: &Materials,
        control: Control,
        tasks: TaskTracker,
    ) -> Arc<proxy::Context> {
        let live = proxy::Live {
            snapshot: self.dns.load().snapshot.clone(),
            routes: self.routes(plan, materials),
            access_log: access_log(plan, materials),
            keyring: Arc::new(Keyring::new(&plan.keys)),
        };
        let context = Arc::new(proxy::Context::new(live, control, tasks));
        self.proxy = Some(context.clone());
        context
    }

    /// Signs what a Plan decides of DNS answers, beside those who publish under the Plan before.
    pub(super) async fn lasting(
        &self,
        plan: &Arc<Plan>,
        materials: &Materials,
    ) -> Result<Arc<dns::Lasting>, JoinError> {
        let (plan, signing, before) = (plan.clone(), signing(materials), self.dns.load_full());
        let compiling = move || dns::Lasting::of(&plan, &signing, Some(before.answers.lasting()));
        tokio::task::spawn_blocking(compiling).await
    }

    /// An adoption whose snapshots reach the DNS and HTTP faces with what belongs to them.
    pub(super) fn adoption(
        &self,
        plan: Arc<Plan>,
        lasting: Arc<dns::Lasting>,
        materials: &Materials,
        summary: String,
    ) -> Adoption {
        let routes = self.routes(&plan, materials);
        self.ground.store(Arc::new(Ground::of(&plan, materials)));
        let keyring = Arc::new(Keyring::new(&plan.keys));
        let access_log = access_log(&plan, materials);
        let proxy = self.proxy.clone();
        let mut answers = Answers {
            dns: self.dns.clone(),
            lasting,
            renewed: self.renewed.clone(),
            published: self.published.clone(),
        };
        let mut last: Option<Arc<Snapshot>> = None;
        let publish = move |snapshot: Arc<Snapshot>| {
            let old_dns = answers.publish(snapshot.clone());
            let mut old_proxy = None;
            if let Some(proxy) = &proxy {
                old_proxy = Some(proxy.live.swap(Arc::new(proxy::Live {
                    snapshot: snapshot.clone(),
                    routes: routes.clone(),
                    access_log: access_log.clone(),
                    keyring: keyring.clone(),
                })));
            }
            publish_numbers(&snapshot, last.as_deref());
            let old_snapshot = last.replace(snapshot);
            let replaced: Replaced = Box::new((old_dns, old_proxy, old_snapshot));
            replaced
        };
        Adoption {
            plan,
            clients: materials.clients.clone(),
            probers: materials.probers.clone(),
            traffic: self.traffic.clone(),
            summary,
            publish: Box::new(publish),
        }
    }

    fn routes(&self, plan: &Plan, materials: &Materials) -> Arc<Routes> {
        let (probers, tls) = (materials.probers.clone(), materials.origin_tls.clone());
        Arc::new(Routes::new(
            plan,
            probers,
            tls,
            materials.identities.clone(),
            &self.in_flight,
            &self.traffic,
            &self.served,
        ))
    }
}

fn signing(materials: &Materials) -> dns::Signing {
    dns::Signing::new(materials.zone_keys.clone(), clock::unix_secs())
}

fn access_log(plan: &Plan, materials: &Materials) -> Option<Arc<AccessLog>> {
    let (wanted, sink) = (plan.access_log.clone()?, materials.access_log.clone()?);
    let log = AccessLog::new(wanted, plan.node.name.clone(), sink);
    Some(Arc::new(log))
}

/// A configuration has been taken over.
pub(super) fn publish_generation(generation: u64) {
    metrics::gauge!("meridian_config_last_reload_successful").set(1.0);
    // Exact as long as anybody will count.
    let generation = u32::try_from(generation).unwrap_or(u32::MAX);
    metrics::gauge!("meridian_config_generation").set(f64::from(generation));
}

/// Sets what is not as in the last snapshot of the same Plan.
fn publish_numbers(snapshot: &Snapshot, last: Option<&Snapshot>) {
    for (id, state) in snapshot.services.iter() {
        if last.is_some_and(|last| last.services.of(id) == state) {
            continue;
        }
        let service = &snapshot.plan.services.of(id).name;
        let able = u32::try_from(state.able().count()).unwrap_or(u32::MAX);
        metrics::gauge!("meridian_service_able_regions", "service" => service.to_string())
            .set(f64::from(able));
        for member in &state.members {
            let region = &snapshot.plan.regions.of(member.region).name;
            publish_member(service, region, member);
            if last.is_none() {
                begin_counting(service, region);
            }
        }
    }
    for (id, estimate) in snapshot.edge.round_trips.iter() {
        if let Some(ms) = estimate.ms() {
            let region = snapshot.plan.regions.of(id).name.to_string();
            metrics::gauge!("meridian_region_round_trip_seconds", "region" => region)
                .set(ms / 1000.0);
        }
    }
}

fn publish_member(service: &str, region: &str, member: &MemberState) {
    let number = |is_so: bool| if is_so { 1.0 } else { 0.0 };
    let labels = [
        ("service", service.to_owned()),
        ("region", region.to_owned()),
    ];
    metrics::gauge!("meridian_region_healthy", &labels).set(number(member.health.is_able()));
    metrics::gauge!("meridian_region_drained", &labels).set(number(!member.admin.takes_some()));
    metrics::gauge!("meridian_region_forced", &labels).set(number(member.forced.is_some()));
}

/// Counters of which a single event is to be seen: what grows by it has to have been there before.
fn begin_counting(service: &str, region: &str) {
    for rule in Spared::ALL {
        metrics::counter!("meridian_ejections_spared_total", "service" => service.to_owned(), "region" => region.to_owned(), "rule" => rule.as_str())
            .increment(0);
    }
}

fn first_snapshot(plan: &Arc<Plan>, materials: &Materials) -> Snapshot {
    let mut world = crate::control::World::new(plan.clone(), materials.clients.clone());
    world.snapshot(clock::unix_ms()).0
}
