//! `dns`: the bound of responses over UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::prefix;
use crate::config::plan::RateLimit;
use crate::config::tree::Node;
use crate::prefix::Prefix;

/// Networks that are never limited unless the configuration says otherwise: nobody else is there.
const LOOPBACK: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];

/// On unless it is turned off: an open UDP server is a weapon without it.
pub(super) fn rate_limit(root: &Node) -> Option<RateLimit> {
    let node = root.get("dns").and_then(|dns| dns.get("rate_limit"));
    if node.and_then(Node::text) == Some("off") {
        return None;
    }
    let number = |key: &str, default: u32| {
        node.and_then(|node| node.read(key, |text| text.parse().ok()))
            .unwrap_or(default)
    };
    let loopback = || LOOPBACK.map(|(address, length)| Prefix::around(address, length));
    let exempt = node.and_then(|node| node.get("exempt"));
    Some(RateLimit {
        responses_per_second: number("responses_per_second", 200),
        slip: number("slip", 2),
        exempt: exempt.map_or_else(
            || loopback().to_vec(),
            |exempt| exempt.items().iter().filter_map(prefix).collect(),
        ),
    })
}
