//! `GET /api/v1/status`: every region, service and origin, with what is known of them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::lag;
use super::state::AdminState;
use crate::clock;
use crate::config::plan::{Region, Service, WhenNoneHealthy};
use crate::control::{LastProbe, TargetStatus, WorldStatus};
use crate::health::{Health, Verdict};
use crate::ids::{RegionId, ServiceId};
use crate::positions::Vector;
use crate::steering::{Admin, Forced, MemberState, Snapshot};

/// Lines of what the last reload changed.
const MOST_CHANGES: usize = 100;

/// The whole status.
pub(super) fn status(state: &AdminState, world: &WorldStatus) -> Value {
    let snapshot = state.snapshot();
    let config = state.config.load();
    let view = View {
        snapshot: &snapshot,
        world,
    };
    let regions: Vec<Value> = snapshot
        .plan
        .regions
        .ids()
        .map(|region| view.region(region))
        .collect();
    let node = &snapshot.plan.node;
    json!({
        "node": &*node.name,
        "location": node.location.map(|point| [point.lat(), point.lon()]),
        "version": env!("CARGO_PKG_VERSION"),
        "ready": state.readiness.get(),
        "lab": state.lab.get().is_some(),
        "geo": state.database.load().info().to_string(),
        "trouble": trouble(state, world),
        "config": {
            "loaded_at": clock::rfc3339(config.loaded_at_ms),
            "generation": config.generation,
            "error": config.error.as_ref().map(|error| json!({
                "file": error.file, "line": error.line, "column": error.column, "message": error.message,
                "source": error.source,
            })),
            "changes": told_changes(&config.changes),
        },
        "drains": world.drains.iter().map(|drain| json!({
            "region": &*drain.region,
            "service": drain.service.as_deref(),
            "since": clock::rfc3339(drain.since_ms),
            "until": drain.until_ms.map(clock::rfc3339),
            "over_ms": drain.over_ms,
            "by": drain.by.as_deref(),
            "reason": drain.reason,
        })).collect::<Vec<_>>(),
        "forced": world.forced.iter().map(|forced| json!({
            "region": &*forced.region,
            "service": forced.service.as_deref(),
            "state": forced.state.as_str(),
            "since": clock::rfc3339(forced.since_ms),
            "until": forced.until_ms.map(clock::rfc3339),
            "by": forced.by.as_deref(),
            "reason": forced.reason,
        })).collect::<Vec<_>>(),
        "services": snapshot.plan.services.iter().map(|(id, service)| view.service(id, service)).collect::<Vec<_>>(),
        "regions": regions,
        "lag": lag::of_domains(&snapshot, clock::steady_ms()),
    })
}

/// What there is to mend although all goes on, in sentences.
fn trouble(state: &AdminState, world: &WorldStatus) -> Vec<String> {
    let mut told = state.control.troubles().told();
    let has_said = !world.drains.is_empty() || !world.forced.is_empty();
    if state.audit.is_none() && has_said {
        told.push(
            "there is no node.state_dir: drains and forced states would not outlive a restart"
                .to_owned(),
        );
    }
    told
}

fn told_changes(changes: &[String]) -> Vec<&String> {
    changes.iter().take(MOST_CHANGES).collect()
}

struct View<'a> {
    snapshot: &'a Snapshot,
    world: &'a WorldStatus,
}

/// Addresses, or the name that stands for them.
fn published(region: &Region) -> Vec<String> {
    let addresses = region.addresses.iter().map(ToString::to_string);
    addresses
        .chain(region.alias.iter().map(ToString::to_string))
        .collect()
}

impl View<'_> {
    fn region(&self, id: RegionId) -> Value {
        let region = self.snapshot.plan.regions.of(id);
        let members: Vec<(ServiceId, &MemberState)> = self
            .snapshot
            .services
            .iter()
            .flat_map(|(service, state)| state.members.iter().map(move |member| (service, member)))
            .filter(|(_, member)| member.region == id)
            .collect();
        let services: Vec<Value> = members
            .iter()
            .map(|(service, member)| self.member(*service, member))
            .collect();
        let suspect_until = self.world.suspects.get(&region.name);
        json!({
            "name": &*region.name,
            "state": overall(members.iter().map(|(_, member)| state_of(member))),
            "location": region.location.map(|point| [point.lat(), point.lon()]),
            "jurisdiction": region.jurisdiction.as_deref(),
            "addresses": published(region),
            "rtt_ms": self.snapshot.edge.round_trips.of(id).ms().map(|ms| (ms * 100.0).round() / 100.0),
            "suspect_until": suspect_until.map(|until_ms| clock::rfc3339(*until_ms)),
            "services": services,
        })
    }

    fn member(&self, id: ServiceId, member: &MemberState) -> Value {
        let (service, region) = (
            self.snapshot.plan.services.of(id),
            self.snapshot.plan.regions.of(member.region),
        );
        let since = self
            .world
            .since_ms
            .get(&(service.name.clone(), region.name.clone()));
        let targets: Vec<Value> = self
            .world
            .targets
            .iter()
            .filter(|status| status.target.service == id && status.target.region == member.region)
            .map(target)
            .collect();
        let (applied, lag_ms) = self.positions(service, &region.name);
        json!({
            "name": &*service.name,
            "state": state_of(member),
            "health": member.health.word(),
            "forced": member.forced.map(Forced::as_str),
            "share": self.snapshot.services.of(id).share_of(member).get(),
            "since": since.map(|since| clock::rfc3339(*since)),
            "origins": targets,
            "applied": applied,
            "lag_ms": lag_ms,
            "read_from": self.snapshot.is_read_from(id, member.region, clock::steady_ms()),
        })
    }

    fn positions(&self, service: &Service, region: &str) -> (Value, Option<u128>) {
        let Some(consistency) = &service.consistency else {
            return (json!({}), None);
        };
        let form = self.snapshot.plan.domains.of(consistency.domain).version;
        let applied = self.snapshot.positions.of(consistency.domain);
        let vector: Vector = applied.region(region);
        let entries: HashMap<String, String> = vector
            .iter()
            .map(|(writer, position)| (writer.to_string(), position.show(form)))
            .collect();
        let lag = applied.lag(region, clock::steady_ms());
        (json!(entries), lag.map(|lag| lag.as_millis()))
    }

    /// What becomes of a service's clients if no region is able; else nothing.
    fn none_able(&self, id: ServiceId, service: &Service) -> Option<&'static str> {
        let is_out = !self.snapshot.services.of(id).has_able();
        is_out.then_some(match service.when_none_healthy {
            WhenNoneHealthy::All => "fails_open",
            WhenNoneHealthy::None => "not_answered",
        })
    }

    fn service(&self, id: ServiceId, service: &Service) -> Value {
        json!({
            "name": &*service.name,
            "hosts": service.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "policy": format!("{:?}", service.policy).to_lowercase(),
            "ttl": self.snapshot.services.of(id).ttl.secs(),
            "none_able": self.none_able(id, service),
        })
    }
}

/// A probe, passed or not.
pub(super) fn probe(probe: &LastProbe) -> Value {
    let (ok, latency_ms, detail, phases) = match &probe.outcome {
        Ok(phases) => {
            let ms = |duration: Duration| (duration.as_secs_f64() * 1e5).round() / 100.0;
            let split = json!({
                "connect": ms(phases.connect), "tls": ms(phases.tls), "first_byte": ms(phases.first_byte),
            });
            (true, Some(ms(phases.total())), "ok".to_owned(), Some(split))
        }
        Err(failure) => (false, None, failure.to_string(), None),
    };
    json!({
        "at": clock::rfc3339(probe.at_ms), "ok": ok, "latency_ms": latency_ms, "detail": detail, "phases_ms": phases,
    })
}

fn target(status: &TargetStatus) -> Value {
    let last = status.last.as_ref().map(probe);
    let state = match status.verdict {
        Verdict::Unknown => "unknown",
        Verdict::Healthy => "healthy",
        Verdict::Unhealthy => "unhealthy",
    };
    let ejected = status.ejected.as_ref().map(|ejected| {
        json!({ "until": clock::rfc3339(ejected.until_ms), "cause": ejected.cause.as_str(), "detail": ejected.cause.to_string() })
    });
    json!({ "url": &*status.target.url, "state": state, "checks": status.probes, "last_check": last, "ejected": ejected })
}

/// A region's state for a service: a drain says more than health, but not more than its failing.
fn state_of(member: &MemberState) -> &'static str {
    match (member.admin, member.health) {
        (_, Health::Unhealthy | Health::Ejected) => "unhealthy",
        (Admin::Leaving { .. } | Admin::Draining | Admin::Drained, _) => "draining",
        (Admin::Enabled | Admin::Returning(_), health) => health.as_str(),
    }
}

/// A region's state over its services: their common one, or `degraded` where they differ.
fn overall(states: impl Iterator<Item = &'static str>) -> &'static str {
    let mut common = None;
    for state in states {
        match common {
            None => common = Some(state),
            Some(known) if known == state => {}
            Some(_) => return "degraded",
        }
    }
    common.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_changes_of_a_reload_are_told() {
        let changes: Vec<String> = (1..=101).map(|line| format!("change {line}")).collect();
        assert_eq!(told_changes(&changes[..100]).len(), 100);
        let told = told_changes(&changes);
        assert_eq!(told.len(), 100);
        assert_eq!(told[99], "change 100");
    }

    #[test]
    fn a_region_is_what_its_services_agree_on() {
        assert_eq!(overall(["healthy", "healthy"].into_iter()), "healthy");
        assert_eq!(overall(["healthy", "unhealthy"].into_iter()), "degraded");
        assert_eq!(overall([].into_iter()), "unknown");
    }
}
