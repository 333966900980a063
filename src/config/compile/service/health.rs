//! `health` of a service.

use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::compile::traffic::passive;
use crate::config::compile::{Compiling, arc, duration};
use crate::config::kinds::parse_statuses;
use crate::config::plan::{HealthCheck, HostPattern, ProbeProtocol};
use crate::config::tree::{Entry, Node};
use crate::ids::RegionId;

/// `health`; absent: a GET of /health on every origin.
pub(super) fn health(
    entry: &Entry,
    hosts: &[HostPattern],
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> HealthCheck {
    let absent = Node {
        at: entry.at.clone(),
        value: crate::config::tree::Value::Null,
    };
    let node = entry.node.get("health").unwrap_or(&absent);
    let check = check(node, hosts);
    doubt_probe(node, &check, compiling);
    doubt_health(node, &check, ids, compiling);
    check
}

fn check(node: &Node, hosts: &[HostPattern]) -> HealthCheck {
    let time = |key: &str, default: u64| {
        node.read(key, duration)
            .unwrap_or(Duration::from_secs(default))
    };
    let threshold =
        |key: &str, default: NonZeroU8| node.read(key, |text| text.parse().ok()).unwrap_or(default);
    let expect = node.get("expect");
    HealthCheck {
        protocol: protocol(node),
        port: node.read("port", |text| text.parse().ok()),
        host: node
            .read("host", arc)
            .unwrap_or_else(|| default_host(hosts).into()),
        path: node.read("path", arc).unwrap_or_else(|| "/health".into()),
        method: node
            .read("method", |text| text.parse().ok())
            .unwrap_or(http::Method::GET),
        statuses: statuses(expect),
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
    }
}

fn protocol(node: &Node) -> Option<ProbeProtocol> {
    match node.get("protocol").and_then(Node::text) {
        Some("https") => Some(ProbeProtocol::Https),
        Some("http") => Some(ProbeProtocol::Http),
        Some("tcp") => Some(ProbeProtocol::Tcp),
        Some(_) | None => None,
    }
}

/// The service's first host; a name below it, where that is a wildcard.
fn default_host(hosts: &[HostPattern]) -> String {
    match hosts.first() {
        None => "localhost".to_owned(),
        Some(HostPattern::Exact(name)) => name.to_string(),
        Some(HostPattern::Wildcard(name)) => format!("health.{name}"),
    }
}

fn statuses(expect: Option<&Node>) -> Vec<RangeInclusive<u16>> {
    let statuses: Vec<_> = expect
        .and_then(|expect| expect.get("status"))
        .map_or(&[][..], Node::items)
        .iter()
        .filter_map(|item| parse_statuses(item.text()?))
        .collect();
    if statuses.is_empty() {
        vec![200..=399]
    } else {
        statuses
    }
}

/// What is asked for and cannot be.
fn doubt_probe(node: &Node, check: &HealthCheck, compiling: &mut Compiling<'_>) {
    let expect = node.get("expect");
    if let Some(statuses) = expect.and_then(|expect| expect.get("status"))
        && statuses.is_empty_list()
    {
        let message = "`status` is empty, so no answer would pass: leave it out for [200-399]";
        compiling.problem(&statuses.at, message);
    }
    if check.protocol == Some(ProbeProtocol::Tcp) {
        for key in ["host", "path", "method", "expect"] {
            if let Some(node) = node.get(key) {
                let message = format!("`{key}` has no effect with `protocol: tcp`");
                compiling.warning(&node.at, message);
            }
        }
    } else if let Some(body) = expect.and_then(|expect| expect.get("body"))
        && check.method == http::Method::HEAD
    {
        // RFC 9110 §9.3.2.
        let message = "an answer to HEAD has no body, so this text is never found";
        compiling.warning(&body.at, message);
    }
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
