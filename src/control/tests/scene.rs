//! A small configuration, and short ways to tell a world what happened and to read what it says.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Now;
use crate::config::load_text;
use crate::config::plan::Plan;
use crate::control::{DrainRequest, Event, Folded, Judged, Witnessed, World};
use crate::geo::ClientMap;
use crate::health::{Failure, Phases, ProbeResult, Report, Seen, Verdict};
use crate::steering::{Admin, MemberState, Snapshot};

/// The first origin of `us`.
pub(super) const US_A: &str = "us/http://10.1.0.1:80";
/// The second origin of `us`.
pub(super) const US_B: &str = "us/http://10.1.0.2:80";
/// The origin of `eu`.
pub(super) const EU: &str = "eu/http://10.2.0.1:80";
/// The address of `ap`, which has no origin.
pub(super) const AP: &str = "ap/tcp://192.0.2.3:443";

/// Two services on three regions; `us` has two origins. Only `api` has affinity and positions.
pub(super) const YAML: &str = "
regions:
  us: { location: [38.95, -77.45], origins: ['http://10.1.0.1:80', 'http://10.1.0.2:80'] }
  eu: { location: [50.11, 8.68], origins: ['http://10.2.0.1:80'] }
  ap: { location: [35.62, 139.78], addresses: [192.0.2.3] }
services:
  api:
    hosts: [api.example.com]
    affinity: { by: cookie, drain: 10m }
    consistency: { read_your_writes: true, domain: orders }
    dns: { ttl: 30s, ttl_min: 5s }
  shop:
    hosts: [shop.example.com]
    regions: [us, eu]
";

pub(super) fn plan(yaml: &str) -> Arc<Plan> {
    match load_text("meridian.yaml", yaml, &|_| None) {
        Ok(loaded) => Arc::new(loaded.plan),
        Err(problems) => panic!("{problems}"),
    }
}

/// A moment at which the steady clock begins.
pub(super) fn at(unix_ms: u64) -> Now {
    Now {
        unix_ms,
        steady_ms: 0,
    }
}

/// A new world of a configuration. Where clients are does not matter to it.
pub(super) fn world(yaml: &str) -> World {
    World::new(plan(yaml), Arc::new(ClientMap::default()))
}

pub(super) fn reload(world: &mut World, yaml: &str) {
    world.adopt(plan(yaml), Arc::new(ClientMap::default()));
}

/// A passed probe of a target such as [`EU`].
pub(super) fn passed(service: &str, target: &str) -> Report {
    let phases = Phases {
        first_byte: Duration::from_millis(10),
        ..Phases::default()
    };
    Report {
        key: format!("{service}/{target}").into(),
        verdict: Verdict::Healthy,
        flip_in: None,
        result: ProbeResult {
            began: Instant::now(),
            ended: Instant::now(),
            outcome: Ok(phases),
            applied: None,
        },
    }
}

/// A failed probe, the last of as many as it takes.
pub(super) fn failed(service: &str, target: &str) -> Report {
    let mut report = passed(service, target);
    report.verdict = Verdict::Unhealthy;
    report.result.outcome = Err(Failure::Status(503));
    report
}

/// A passed probe whose answer says what its readers see.
pub(super) fn applied(target: &str, vector: &str) -> Report {
    let mut report = passed("api", target);
    report.result.applied = Some(vector.to_owned());
    report
}

/// Folds a report whose probe took no time.
pub(super) fn fold(world: &mut World, report: Report, now_ms: u64) -> Folded {
    world.report(report, now_ms, (now_ms, now_ms))
}

/// So many failures in a row, and nothing else.
pub(super) fn failures(failed: u32) -> Seen {
    Seen {
        failed,
        in_a_row: failed,
        answered: true,
        ..Seen::default()
    }
}

/// So many good answers, and nothing else.
pub(super) fn answers(good: u32) -> Seen {
    Seen {
        good,
        ..Seen::default()
    }
}

/// Folds what traffic shows of a target, by clocks that agree and without jitter.
pub(super) fn see(
    world: &mut World,
    service: &str,
    target: &str,
    seen: Seen,
    now_ms: u64,
) -> Judged {
    let witnessed = Witnessed {
        seen: &[(format!("{service}/{target}").into(), seen)],
        now_ms,
        steady_ms: now_ms,
    };
    world.witness(&witnessed, &mut || 0.0)
}

pub(super) fn drain(region: &str, service: Option<&str>, since_ms: u64) -> DrainRequest {
    DrainRequest {
        region: region.into(),
        service: service.map(Into::into),
        since_ms,
        until_ms: None,
        over_ms: None,
        by: None,
        reason: None,
    }
}

pub(super) fn member(snapshot: &Snapshot, service: &str, region: &str) -> MemberState {
    let service = snapshot.plan.service(service).unwrap();
    let region = snapshot.plan.region(region).unwrap();
    *snapshot.member(service, region).unwrap()
}

/// How every region of a service is, such as `us=healthy eu=unhealthy ap=unknown+drained`.
pub(super) fn states(world: &mut World, service: &str, now_ms: u64) -> String {
    let (snapshot, _) = world.snapshot(now_ms);
    let id = snapshot.plan.service(service).unwrap();
    let (_, state) = snapshot.service(id);
    let told: Vec<String> = state
        .members
        .iter()
        .map(|member| {
            let name = &snapshot.plan.regions.of(member.region).name;
            let admin = match member.admin {
                Admin::Enabled => String::new(),
                Admin::Returning(share) => format!("+returning{}", share.get()),
                Admin::Leaving { fresh, sessions } => {
                    format!("+leaving{}/{}", fresh.get(), sessions.get())
                }
                Admin::Draining => "+draining".to_owned(),
                Admin::Drained => "+drained".to_owned(),
            };
            format!("{name}={}{admin}", member.health.as_str())
        })
        .collect();
    told.join(" ")
}

#[track_caller]
pub(super) fn check_states(world: &mut World, service: &str, now_ms: u64, expected: &str) {
    assert_eq!(states(world, service, now_ms), expected);
}

/// Events as `kind region service: message`, with `-` for what they are not about.
pub(super) fn told(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let or_none = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
            let (region, service) = (or_none(&event.region), or_none(&event.service));
            format!(
                "{} {region} {service}: {}",
                event.kind.as_str(),
                event.message
            )
        })
        .collect()
}

/// Since when a region has its health for a service.
pub(super) fn since(world: &World, service: &str, region: &str) -> Option<u64> {
    let key = (service.into(), region.into());
    world.status().since_ms.get(&key).copied()
}
