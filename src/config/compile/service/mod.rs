//! Services: steering, health, affinity, consistency, writes, residency and the bounds.

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use super::traffic::{passive, retries};
use super::{Compiling, arc, check_name, duration};
use crate::config::kinds::{parse_host, parse_statuses};
use crate::config::plan::{
    Access, Affinity, AffinityBy, ClientMatch, Consistency, Domain, Failover, HealthCheck,
    HostPattern, Intent, Limits, Member, OriginTimeouts, Override, Policy, ProbeProtocol,
    RequestKey, Residency, ResidencyBy, Service, ServiceDns, SourceAt, VersionForm,
    WhenNoneHealthy, WhenUnsatisfiable, Writes,
};
use crate::config::tree::{Entry, Node};
use crate::ids::{DomainId, MOST_ENTRIES, RegionId, ServiceId, Table};
use crate::units::{Ttl, parse_size};

/// A TTL over this keeps clients on a dead region for long.
const LONG_TTL: u32 = 60;

type Domains = Table<DomainId, Domain>;

/// Compiles every service.
pub(super) fn services(
    root: &Node,
    compiling: &mut Compiling<'_>,
) -> (Table<ServiceId, Service>, Domains) {
    let (mut services, mut domains) = (Table::default(), Domains::default());
    let entries = root.get("services").map_or(&[][..], Node::entries);
    if let Some(node) = root
        .get("services")
        .filter(|_| entries.is_empty() || entries.len() > MOST_ENTRIES)
    {
        compiling.problem(
            &node.at,
            format!("from 1 to {MOST_ENTRIES} services are expected"),
        );
    }
    let mut hosts: HashMap<HostPattern, (Arc<str>, SourceAt)> = HashMap::new();
    for entry in entries {
        if let Err(message) = check_name(&entry.key) {
            compiling.problem(&entry.at, message);
        }
        let service = service(entry, compiling, &mut domains, &mut hosts);
        let _: ServiceId = services.push(service);
    }
    (services, domains)
}

fn service(
    entry: &Entry,
    compiling: &mut Compiling<'_>,
    domains: &mut Domains,
    claimed: &mut HashMap<HostPattern, (Arc<str>, SourceAt)>,
) -> Service {
    let node = &entry.node;
    let hosts = hosts(entry, compiling, claimed);
    let regions = members(entry, compiling);
    let ids: Vec<RegionId> = regions.iter().map(|member| member.region).collect();
    let steering = node.get("steering");
    Service {
        name: entry.key.clone(),
        policy: match steering.and_then(|s| s.get("policy")).and_then(Node::text) {
            Some("geo") => Policy::Geo,
            Some("weighted") => Policy::Weighted,
            Some("priority") => Policy::Priority,
            Some(_) | None => Policy::Latency,
        },
        overrides: overrides(steering, &ids, compiling),
        when_none_healthy: match steering
            .and_then(|s| s.get("when_none_healthy"))
            .and_then(Node::text)
        {
            Some("none") => WhenNoneHealthy::None,
            Some(_) | None => WhenNoneHealthy::All,
        },
        health: health(entry, &hosts, &ids, compiling),
        affinity: node.get("affinity").and_then(affinity),
        consistency: consistency(entry, compiling, domains),
        writes: writes(node.get("writes"), &ids, compiling),
        residency: residency(node.get("residency"), &ids, compiling),
        timeouts: timeouts(node.get("timeouts")),
        retries: retries(node.get("retries")),
        limits: limits(node.get("limits")),
        dns: dns(node.get("dns"), compiling),
        ramp: node.read("ramp", duration).unwrap_or_default(),
        min_regions: node
            .get("guards")
            .and_then(|guards| guards.read("min_regions", |text| text.parse().ok()))
            .unwrap_or(1),
        hosts,
        regions,
    }
}

fn hosts(
    entry: &Entry,
    compiling: &mut Compiling<'_>,
    claimed: &mut HashMap<HostPattern, (Arc<str>, SourceAt)>,
) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    let items = entry.node.get("hosts");
    for item in items.map_or(&[][..], Node::items) {
        let Some(host) = item.text().and_then(|text| parse_host(text).ok()) else {
            continue;
        };
        let pattern = match host.strip_prefix("*.") {
            Some(name) => HostPattern::Wildcard(name.into()),
            None => HostPattern::Exact(host.into()),
        };
        if let Some((service, at)) = claimed.get(&pattern) {
            let message = format!(
                "host `{pattern}` is claimed by service `{service}` already ({}:{})",
                at.file.display(),
                at.line
            );
            compiling.problem(&item.at, message);
            continue;
        }
        claimed.insert(pattern.clone(), (entry.key.clone(), item.at.clone()));
        hosts.push(pattern);
    }
    if let Some(node) = items.filter(|node| node.items().is_empty()) {
        compiling.problem(&node.at, format!("service `{}` has no hosts", entry.key));
    }
    hosts
}

fn members(entry: &Entry, compiling: &mut Compiling<'_>) -> Vec<Member> {
    let regions = match entry.node.get("regions") {
        Some(node) => compiling.region_list(node),
        None => compiling.regions.ids().collect(),
    };
    if let Some(node) = entry
        .node
        .get("regions")
        .filter(|node| node.items().is_empty())
    {
        compiling.problem(&node.at, format!("service `{}` has no regions", entry.key));
    }
    let mut members: Vec<Member> = regions
        .iter()
        .map(|id| Member {
            region: *id,
            weight: compiling.regions.of(*id).weight,
        })
        .collect();
    let weights = entry
        .node
        .get("steering")
        .and_then(|steering| steering.get("weights"));
    for weight in weights.map_or(&[][..], Node::entries) {
        let Some(region) = compiling.region(&weight.key, &weight.at) else {
            continue;
        };
        match members.iter_mut().find(|member| member.region == region) {
            Some(member) => {
                member.weight = weight
                    .node
                    .text()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(member.weight);
            }
            None => not_a_member(compiling, &weight.key, &weight.at),
        }
    }
    if !members.is_empty() && members.iter().all(|member| member.weight == 0) {
        compiling.warning(
            &entry.at,
            format!("every region of service `{}` has weight 0", entry.key),
        );
    }
    members
}

fn not_a_member(compiling: &mut Compiling<'_>, name: &str, at: &SourceAt) {
    compiling.problem(
        at,
        format!("region `{name}` is not one of the service's `regions`"),
    );
}

/// The regions that a list names, all of them the service's.
fn own_regions(node: &Node, ids: &[RegionId], compiling: &mut Compiling<'_>) -> Vec<RegionId> {
    let regions = compiling.named_regions(node);
    for (region, item) in &regions {
        if !ids.contains(region) {
            not_a_member(compiling, item.text().unwrap_or_default(), &item.at);
        }
    }
    regions.into_iter().map(|(region, _)| region).collect()
}

fn overrides(
    steering: Option<&Node>,
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> Vec<Override> {
    let mut overrides = Vec::new();
    let items = steering
        .and_then(|s| s.get("overrides"))
        .map_or(&[][..], Node::items);
    for item in items {
        let prefer = item
            .get("prefer")
            .map_or_else(Vec::new, |node| own_regions(node, ids, compiling));
        for key in ["country", "prefer"] {
            if let Some(node) = item.get(key).filter(|node| node.items().is_empty()) {
                compiling.problem(&node.at, format!("`{key}` of an override is empty"));
            }
        }
        let countries = item.get("country").map(|node| {
            node.items()
                .iter()
                .filter_map(|c| c.text()?.parse().ok())
                .collect()
        });
        let network = item.read("network", |text| text.parse().ok());
        let clients = match (countries, network) {
            (Some(countries), None) => ClientMatch::Country(countries),
            (None, Some(network)) => ClientMatch::Network(network),
            (Some(_), Some(_)) | (None, None) => {
                compiling.problem(&item.at, "an override has either `country` or `network`");
                continue;
            }
        };
        overrides.push(Override { clients, prefer });
    }
    overrides
}

fn health(
    entry: &Entry,
    hosts: &[HostPattern],
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> HealthCheck {
    let empty = Node {
        at: entry.at.clone(),
        value: crate::config::tree::Value::Null,
    };
    let node = entry.node.get("health").unwrap_or(&empty);
    let expect = node.get("expect");
    let statuses: Vec<_> = expect
        .and_then(|expect| expect.get("status"))
        .map_or(&[][..], Node::items)
        .iter()
        .filter_map(|item| parse_statuses(item.text()?))
        .collect();
    let time = |key: &str, default: u64| {
        node.read(key, duration)
            .unwrap_or(Duration::from_secs(default))
    };
    let threshold =
        |key: &str, default: NonZeroU8| node.read(key, |text| text.parse().ok()).unwrap_or(default);
    let default_host = hosts.first().map_or_else(
        || "localhost".to_owned(),
        |host| match host {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Wildcard(name) => format!("health.{name}"),
        },
    );
    let check = HealthCheck {
        protocol: match node.get("protocol").and_then(Node::text) {
            Some("https") => Some(ProbeProtocol::Https),
            Some("http") => Some(ProbeProtocol::Http),
            Some("tcp") => Some(ProbeProtocol::Tcp),
            Some(_) | None => None,
        },
        port: node.read("port", |text| text.parse().ok()),
        host: node
            .read("host", arc)
            .unwrap_or_else(|| default_host.into()),
        path: node.read("path", arc).unwrap_or_else(|| "/health".into()),
        method: node
            .read("method", |text| text.parse().ok())
            .unwrap_or(http::Method::GET),
        statuses: if statuses.is_empty() {
            vec![200..=399]
        } else {
            statuses
        },
        body: expect.and_then(|expect| expect.read("body", arc)),
        interval: time("interval", 10),
        recheck_interval: time("recheck_interval", 2),
        timeout: time("timeout", 2),
        failure_threshold: threshold("failure_threshold", NonZeroU8::MIN.saturating_add(2)),
        success_threshold: threshold("success_threshold", NonZeroU8::MIN.saturating_add(1)),
        verify_tls: node
            .read("verify_tls", |text| text.parse().ok())
            .unwrap_or(true),
        min_healthy: node
            .read("min_healthy", |text| text.parse().ok())
            .unwrap_or(1),
        passive: passive(node.get("passive")),
    };
    doubt_health(node, &check, ids, compiling);
    check
}

fn doubt_health(node: &Node, check: &HealthCheck, ids: &[RegionId], compiling: &mut Compiling<'_>) {
    if check.timeout > check.interval {
        compiling.warning(
            &node.at,
            "health.timeout is longer than health.interval: probes of a slow target come late",
        );
    }
    if let Some(at) = node.get("min_healthy").map(|node| node.at.clone()) {
        let too_many = ids
            .iter()
            .map(|id| compiling.regions.of(*id))
            .find(|region| {
                let targets = if region.origins.is_empty() {
                    region.addresses.len() + usize::from(region.alias.is_some())
                } else {
                    region.origins.len()
                };
                targets < usize::from(check.min_healthy)
            });
        if let Some(name) = too_many.map(|region| region.name.clone()) {
            let message = format!(
                "min_healthy is {}, but region `{name}` has fewer targets",
                check.min_healthy
            );
            compiling.problem(&at, message);
        }
    }
}

fn affinity(node: &Node) -> Option<Affinity> {
    let by = node.get("by")?;
    Some(Affinity {
        by: match by.text() {
            Some("client_ip") => AffinityBy::ClientIp,
            Some(_) => AffinityBy::Cookie,
            None => AffinityBy::Header(by.read("header", |text| text.parse().ok())?),
        },
        ttl: node
            .read("ttl", duration)
            .unwrap_or(Duration::from_secs(3_600)),
        drain: node
            .read("drain", duration)
            .unwrap_or(Duration::from_secs(600)),
    })
}

fn consistency(
    entry: &Entry,
    compiling: &mut Compiling<'_>,
    domains: &mut Domains,
) -> Option<Consistency> {
    let node = entry.node.get("consistency")?;
    let enabled = node
        .read("read_your_writes", |text| text.parse::<bool>().ok())
        .unwrap_or(false);
    if !enabled {
        compiling.warning(
            &node.at,
            "`consistency` without `read_your_writes: true` does nothing",
        );
        return None;
    }
    let form = match node.get("version").and_then(Node::text) {
        Some("pg_lsn") => VersionForm::PgLsn,
        Some(_) | None => VersionForm::Integer,
    };
    let name = node
        .read("domain", arc)
        .unwrap_or_else(|| entry.key.clone());
    let time = |key: &str, default: u64| {
        node.read(key, duration)
            .unwrap_or(Duration::from_millis(default))
    };
    let follow = node.read("follow", arc);
    let wanted = Domain {
        name,
        version: form,
        follow: follow.clone(),
    };
    Some(Consistency {
        domain: domain(node, wanted, compiling, domains),
        follow,
        wait: time("wait", 500),
        when_unsatisfiable: match node.get("when_unsatisfiable").and_then(Node::text) {
            Some("fail") => WhenUnsatisfiable::Fail,
            Some(_) | None => WhenUnsatisfiable::Stale,
        },
        pin: time("pin", 5_000),
        ttl: time("ttl", 300_000),
        max_lag: time("max_lag", 5_000),
        intents: node
            .get("intents")
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(intent)
            .collect(),
    })
}

/// The domain that a service says it belongs to; all of its services must mean the same.
fn domain(
    node: &Node,
    wanted: Domain,
    compiling: &mut Compiling<'_>,
    domains: &mut Domains,
) -> DomainId {
    let known = domains.iter().find(|(_, known)| known.name == wanted.name);
    let Some((id, known)) = known.map(|(id, known)| (id, known.clone())) else {
        return domains.push(wanted);
    };
    let mut differs = |key: &str| {
        let name = &wanted.name;
        let message = format!("another service of domain `{name}` has another `{key}`");
        compiling.problem(&node.at, message);
    };
    if known.version != wanted.version {
        differs("version");
    }
    match (&known.follow, wanted.follow) {
        (Some(one), Some(other)) if *one != other => differs("follow"),
        (None, Some(path)) => domains.of_mut(id).follow = Some(path),
        (Some(_) | None, _) => {}
    }
    id
}

fn intent(node: &Node) -> Option<Intent> {
    Some(Intent {
        path: node.read("path", arc)?,
        method: node.read("method", |text| text.parse().ok()),
        is: match node.get("is")?.text()? {
            "read" => Access::Read,
            _ => Access::Write,
        },
    })
}

fn writes(node: Option<&Node>, ids: &[RegionId], compiling: &mut Compiling<'_>) -> Writes {
    let Some(node) = node else {
        return Writes::Nearest;
    };
    let to = node.get("to");
    let by_home = to.and_then(Node::text) == Some("home");
    let by_primary = to.is_some_and(|to| to.get("primary").is_some());
    let without_effect = [
        ("key", by_home, "to: home"),
        ("homes", by_home, "to: home"),
        ("failover", by_primary, "to: { primary: REGION }"),
    ];
    for (key, has_effect, needs) in without_effect {
        if let (Some(node), false) = (node.get(key), has_effect) {
            compiling.warning(
                &node.at,
                format!("`{key}` has an effect only with `{needs}`"),
            );
        }
    }
    match to.and_then(Node::text) {
        Some("home") => home(node, ids, compiling),
        Some(_) => Writes::Nearest,
        None => primary(node, to, ids, compiling).unwrap_or(Writes::Nearest),
    }
}

fn primary(
    node: &Node,
    to: Option<&Node>,
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> Option<Writes> {
    let named = to?.get("primary")?;
    let name = named.text()?;
    let region = compiling.region(name, &named.at)?;
    if !ids.contains(&region) {
        not_a_member(compiling, name, &named.at);
    }
    let failover = match node.get("failover").and_then(Node::text) {
        Some("none") => Failover::None,
        Some(_) | None => Failover::Order,
    };
    Some(Writes::Primary { region, failover })
}

fn home(node: &Node, ids: &[RegionId], compiling: &mut Compiling<'_>) -> Writes {
    let keys = node.get("key").map_or_else(Vec::new, request_keys);
    let mut keys = keys.into_iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        compiling.problem(
            &node.at,
            "`to: home` needs `key` with one of header, cookie, query, path",
        );
        return Writes::Nearest;
    };
    let mut homes = Vec::new();
    for entry in node.get("homes").map_or(&[][..], Node::entries) {
        let name = entry.node.text().unwrap_or_default();
        let Some(region) = compiling.region(name, &entry.node.at) else {
            continue;
        };
        if !ids.contains(&region) {
            not_a_member(compiling, name, &entry.node.at);
        }
        homes.push((entry.key.clone(), region));
    }
    Writes::Home { key, homes }
}

fn request_keys(node: &Node) -> Vec<RequestKey> {
    let header = node
        .read("header", |text| text.parse().ok())
        .map(RequestKey::Header);
    let cookie = node.read("cookie", arc).map(RequestKey::Cookie);
    let query = node.read("query", arc).map(RequestKey::Query);
    let path = node
        .read("path", |text| text.parse().ok())
        .map(RequestKey::Path);
    [header, cookie, query, path]
        .into_iter()
        .flatten()
        .collect()
}

fn residency(
    node: Option<&Node>,
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> Option<Residency> {
    let node = node?;
    let by = node.get("by")?;
    let by = match by.text() {
        Some(_) => ResidencyBy::ClientCountry,
        None => ResidencyBy::Header(by.read("header", |text| text.parse().ok())?),
    };
    let mut allow = Vec::new();
    for entry in node.get("allow")?.entries() {
        let is_country = entry.key.parse().is_ok_and(crate::geo::is_country);
        if by == ResidencyBy::ClientCountry && !is_country {
            compiling.problem(
                &entry.at,
                format!(
                    "`{}` is not a country: two letters such as DE are expected",
                    entry.key
                ),
            );
        }
        if entry.node.items().is_empty() {
            let message = format!(
                "`{}` allows no region: its clients would never be served",
                entry.key
            );
            compiling.problem(&entry.at, message);
        }
        allow.push((entry.key.clone(), own_regions(&entry.node, ids, compiling)));
    }
    Some(Residency { by, allow })
}

fn timeouts(node: Option<&Node>) -> OriginTimeouts {
    let time = |key: &str, default: u64| {
        node.and_then(|node| node.read(key, duration))
            .unwrap_or(Duration::from_secs(default))
    };
    OriginTimeouts {
        connect: time("connect", 2),
        first_byte: time("first_byte", 30),
        idle: time("idle", 60),
        request: time("request", 0),
    }
}

fn limits(node: Option<&Node>) -> Limits {
    let size = |key: &str, default: u64| {
        node.and_then(|node| node.read(key, |text| parse_size(text).ok()))
            .unwrap_or(default)
    };
    Limits {
        body: size("body", 0),
        headers: size("headers", 64 << 10),
        in_flight_per_region: node
            .and_then(|node| node.read("in_flight_per_region", |text| text.parse().ok()))
            .unwrap_or(0),
        body_rate: size("body_rate", 500),
    }
}

fn dns(node: Option<&Node>, compiling: &mut Compiling<'_>) -> ServiceDns {
    let ttl = |key: &str| node.and_then(|node| node.read(key, |text| text.parse::<Ttl>().ok()));
    let (given, given_min) = (ttl("ttl"), ttl("ttl_min"));
    let longest = given.unwrap_or(Ttl::from_secs(30));
    let dns = ServiceDns {
        ttl: longest,
        ttl_min: given_min.unwrap_or(Ttl::from_secs(5).min(longest)),
        answers: node
            .and_then(|node| node.read("answers", |text| text.parse().ok()))
            .unwrap_or(1),
    };
    if let Some(node) = node {
        if dns.ttl_min > dns.ttl {
            compiling.problem(
                &node.at,
                format!("ttl_min ({}) is longer than ttl ({})", dns.ttl_min, dns.ttl),
            );
        }
        if dns.ttl.secs() > LONG_TTL {
            compiling.warning(
                &node.at,
                format!(
                    "a TTL of {} keeps clients on a dead region that long",
                    dns.ttl
                ),
            );
        }
    }
    dns
}
