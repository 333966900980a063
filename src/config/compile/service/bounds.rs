//! `timeouts`, `limits` and `dns` of a service.

use std::time::Duration;

use crate::config::compile::{Compiling, duration};
use crate::config::plan::{Limits, OriginTimeouts, ServiceDns};
use crate::config::tree::Node;
use crate::units::{Ttl, parse_size};

/// A TTL over this keeps clients on a dead region for long.
const LONG_TTL: u32 = 60;

pub(super) fn timeouts(node: Option<&Node>) -> OriginTimeouts {
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

pub(super) fn limits(node: Option<&Node>) -> Limits {
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

pub(super) fn dns(node: Option<&Node>, compiling: &mut Compiling<'_>) -> ServiceDns {
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
