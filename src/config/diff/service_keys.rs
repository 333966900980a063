//! What a service says, key by key in the operator's words: so a reload tells which of them changed, from what to what.
//!
//! Only words, numbers, times and names that are no secrets have a value here; of the others, which may hold what came from
//! the environment, it is told that they changed.

use std::time::Duration;

use super::keys::{Key, word};
use crate::config::plan::{
    Affinity, AffinityBy, Consistency, HealthCheck, Limits, OriginTimeouts, PassiveHealth, Plan,
    ResidencyBy, Retries, Service, VersionForm, Writes,
};
use crate::ids::RegionId;
use crate::units::{Share, show_duration};

/// All keys of a service of this Plan.
pub(super) fn keys(plan: &Plan, service: &Service) -> Vec<Key> {
    let mut keys = of_itself(plan, service);
    keys.extend(health(&service.health));
    keys.extend(service.health.passive.iter().flat_map(passive));
    keys.extend(service.affinity.iter().flat_map(affinity));
    keys.extend(
        service
            .consistency
            .iter()
            .flat_map(|consistency| consistency_keys(plan, consistency)),
    );
    keys.extend(writes(plan, &service.writes));
    keys.extend(timeouts(service.timeouts));
    keys.extend(retries(&service.retries));
    keys.extend(limits(service.limits));
    keys
}

fn of_itself(plan: &Plan, service: &Service) -> Vec<Key> {
    let name = |region| &plan.regions.of(region).name;
    let members = service.regions.iter();
    let regions = members
        .clone()
        .map(|member| name(member.region).to_string());
    let weights = members.map(|member| format!("{} {}", name(member.region), member.weight));
    let hosts = service.hosts.iter().map(ToString::to_string);
    let overrides = service.overrides.iter();
    let overrides: Vec<_> = overrides
        .map(|over| (&over.clients, names(plan, &over.prefer)))
        .collect();
    let mut keys = vec![
        Key::list("hosts", hosts),
        Key::list("regions", regions),
        Key::shown("steering.policy", word(service.policy)),
        Key::list("steering.weights", weights),
        Key::hidden("steering.overrides", &overrides),
        Key::shown(
            "steering.when_none_healthy",
            word(service.when_none_healthy),
        ),
        Key::shown("dns.ttl", service.dns.ttl),
        Key::shown("dns.ttl_min", service.dns.ttl_min),
        Key::shown("dns.answers", service.dns.answers),
        Key::shown("guards.min_regions", service.min_regions),
    ];
    keys.extend(service.ramp.map(|ramp| Key::time("ramp", ramp)));
    keys.extend(service.residency.iter().flat_map(|residency| {
        let lists = residency.allow.iter();
        let lists: Vec<_> = lists
            .map(|(label, regions)| (label, names(plan, regions)))
            .collect();
        [
            Key::shown("residency.by", residency_by(&residency.by)),
            Key::hidden("residency.allow", &lists),
        ]
    }));
    keys
}

fn health(check: &HealthCheck) -> Vec<Key> {
    let mut keys = vec![
        Key::hidden("health.host", &check.host),
        Key::hidden("health.path", &check.path),
        Key::shown("health.method", &check.method),
        Key::hidden("health.expect", &(&check.statuses, &check.body)),
        Key::time("health.interval", check.interval),
        Key::time("health.recheck_interval", check.recheck_interval),
        Key::time("health.timeout", check.timeout),
        Key::shown("health.failure_threshold", check.failure_threshold),
        Key::shown("health.success_threshold", check.success_threshold),
        Key::shown("health.verify_tls", check.verify_tls),
        Key::shown("health.min_healthy", check.min_healthy),
    ];
    keys.extend(
        check
            .protocol
            .map(|protocol| Key::shown("health.protocol", word(protocol))),
    );
    keys.extend(check.port.map(|port| Key::shown("health.port", port)));
    keys
}

fn passive(passive: &PassiveHealth) -> Vec<Key> {
    vec![
        Key::time("health.passive.window", passive.window),
        Key::shown("health.passive.min_requests", passive.min_requests),
        Key::share("health.passive.success_rate", passive.success_rate),
        Key::shown(
            "health.passive.consecutive_failures",
            passive.consecutive_failures,
        ),
        Key::time("health.passive.ejection", passive.ejection),
        Key::time("health.passive.max_ejection", passive.max_ejection),
    ]
}

fn affinity(affinity: &Affinity) -> Vec<Key> {
    let by = match &affinity.by {
        AffinityBy::Cookie => "cookie".to_owned(),
        AffinityBy::Header(name) => format!("header {name}"),
        AffinityBy::ClientIp => "client_ip".to_owned(),
    };
    vec![
        Key::shown("affinity.by", by),
        Key::time("affinity.ttl", affinity.ttl),
        Key::time("affinity.drain", affinity.drain),
    ]
}

fn consistency_keys(plan: &Plan, consistency: &Consistency) -> Vec<Key> {
    let domain = plan.domains.of(consistency.domain);
    vec![
        Key::shown("consistency.domain", &domain.name),
        Key::shown("consistency.version", version_form(domain.version)),
        Key::time("consistency.wait", consistency.wait),
        Key::shown(
            "consistency.when_unsatisfiable",
            word(consistency.when_unsatisfiable),
        ),
        Key::time("consistency.pin", consistency.pin),
        Key::time("consistency.ttl", consistency.ttl),
        Key::time("consistency.max_lag", consistency.max_lag),
        Key::hidden("consistency.follow", &consistency.follow),
        Key::hidden("consistency.intents", &consistency.intents),
    ]
}

fn version_form(form: VersionForm) -> &'static str {
    match form {
        VersionForm::Integer => "integer",
        VersionForm::PgLsn => "pg_lsn",
    }
}

fn residency_by(by: &ResidencyBy) -> String {
    match by {
        ResidencyBy::Header(name) => format!("header {name}"),
        ResidencyBy::ClientCountry => "client_country".to_owned(),
    }
}

fn writes(plan: &Plan, writes: &Writes) -> Vec<Key> {
    let name = |region: &RegionId| &plan.regions.of(*region).name;
    match writes {
        Writes::Nearest => vec![Key::shown("writes.to", "nearest")],
        Writes::Primary { region, failover } => vec![
            Key::shown("writes.to", format!("primary {}", name(region))),
            Key::shown("writes.failover", word(failover)),
        ],
        Writes::Home { key, homes } => {
            let homes: Vec<_> = homes
                .iter()
                .map(|(of, region)| (of, name(region)))
                .collect();
            vec![
                Key::shown("writes.to", "home"),
                Key::hidden("writes.key", key),
                Key::hidden("writes.homes", &homes),
            ]
        }
    }
}

fn timeouts(timeouts: OriginTimeouts) -> [Key; 4] {
    [
        Key::time("timeouts.connect", timeouts.connect),
        Key::time("timeouts.first_byte", timeouts.first_byte),
        Key::time("timeouts.idle", timeouts.idle),
        Key::time("timeouts.request", timeouts.request),
    ]
}

fn retries(retries: &Retries) -> [Key; 8] {
    [
        Key::shown("retries.attempts", retries.attempts),
        Key::share("retries.budget", retries.budget),
        Key::shown("retries.methods", word(retries.methods)),
        Key::hidden("retries.on_status", &retries.on_status),
        Key::time("retries.per_try", retries.per_try),
        Key::time("retries.backoff", retries.backoff),
        Key::time("retries.hedge_after", retries.hedge_after),
        Key::shown("retries.buffer", retries.buffer),
    ]
}

fn limits(limits: Limits) -> [Key; 4] {
    [
        Key::shown("limits.body", limits.body),
        Key::shown("limits.headers", limits.headers),
        Key::shown("limits.in_flight_per_region", limits.in_flight_per_region),
        Key::shown("limits.body_rate", limits.body_rate),
    ]
}

fn names<'a>(plan: &'a Plan, regions: &[RegionId]) -> Vec<&'a str> {
    let names = regions.iter().map(|id| &*plan.regions.of(*id).name);
    names.collect()
}

impl Key {
    /// A share in per cent.
    fn share(name: &'static str, share: Share) -> Self {
        let percent = (share.ratio() * 1e8).round() / 1e6;
        Self::shown(name, format!("{percent}%"))
    }

    /// A time in the form that the configuration takes.
    fn time(name: &'static str, duration: Duration) -> Self {
        Self::shown(name, show_duration(duration))
    }
}
