//! `listen`: where clients come in, and what they may take.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Compiling, duration, prefix};
use crate::config::plan::{
    ClientLimits, ClientTimeouts, ErrorDetail, HttpMode, Listen, ProxyHeader,
};
use crate::config::tree::Node;
use crate::units::parse_size;

/// `listen`.
pub(super) fn listen(root: &Node, compiling: &mut Compiling<'_>) -> Listen {
    let node = root.get("listen");
    let (dns, dns_tls) = (
        addresses(node, "dns", compiling),
        addresses(node, "dns_tls", compiling),
    );
    let (https, http) = (
        addresses(node, "https", compiling),
        addresses(node, "http", compiling),
    );
    let admin: Option<SocketAddr> = node.and_then(|node| node.read("admin", |t| t.parse().ok()));
    let faces = [&dns, &dns_tls, &https, &http].into_iter().flatten();
    tell_shared(node, faces.chain(&admin), compiling);
    let trusted = node.and_then(|node| node.get("trusted_proxies"));
    Listen {
        dns,
        dns_tls,
        https_ports: https.iter().map(SocketAddr::port).collect(),
        https,
        http,
        http_mode: http_mode(node),
        admin,
        timeouts: client_timeouts(node.and_then(|node| node.get("timeouts"))),
        limits: client_limits(node.and_then(|node| node.get("limits"))),
        trusted_proxies: trusted
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(prefix)
            .collect(),
        proxy_header: proxy_header(node, compiling),
        errors: errors(node),
    }
}

fn addresses(node: Option<&Node>, key: &str, compiling: &mut Compiling<'_>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for item in node
        .and_then(|node| node.get(key))
        .map_or(&[][..], Node::items)
    {
        let Some(address) = item.text().and_then(|text| text.parse::<SocketAddr>().ok()) else {
            continue;
        };
        if address.port() != 0 && found.contains(&address) {
            compiling.problem(&item.at, format!("{address} appears twice"));
        } else {
            found.push(address);
        }
    }
    found
}

/// Tells of addresses that two protocols want.
fn tell_shared<'a>(
    node: Option<&Node>,
    addresses: impl Iterator<Item = &'a SocketAddr>,
    compiling: &mut Compiling<'_>,
) {
    let mut taken: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if let Some(node) = node
            && address.port() != 0
            && taken.contains(address)
        {
            let message = format!("{address} is listened on for two protocols");
            compiling.problem(&node.at, message);
        }
        taken.push(*address);
    }
}

fn http_mode(node: Option<&Node>) -> HttpMode {
    let mode = node.and_then(|node| node.get("http_mode"));
    match mode.and_then(Node::text) {
        Some("serve") => HttpMode::Serve,
        Some(_) | None => HttpMode::Redirect,
    }
}

fn errors(node: Option<&Node>) -> ErrorDetail {
    let errors = node.and_then(|node| node.get("errors"));
    match errors.and_then(Node::text) {
        Some("brief") => ErrorDetail::Brief,
        Some(_) | None => ErrorDetail::Full,
    }
}

fn client_timeouts(node: Option<&Node>) -> ClientTimeouts {
    let timeout = |key: &str, default: u64| {
        node.and_then(|node| node.read(key, duration))
            .unwrap_or(Duration::from_secs(default))
    };
    ClientTimeouts {
        handshake: timeout("handshake", 10),
        headers: timeout("headers", 10),
        idle: timeout("idle", 60),
    }
}

fn client_limits(node: Option<&Node>) -> ClientLimits {
    let count = |key: &str| node.and_then(|node| node.read(key, |text| text.parse().ok()));
    ClientLimits {
        connections: count("connections"),
        connections_per_client: count("connections_per_client").unwrap_or(0),
        requests: count("requests"),
        delay: node
            .and_then(|node| node.read("delay", duration))
            .unwrap_or(Duration::from_millis(500)),
        memory: node.and_then(|node| node.read("memory", |text| parse_size(text).ok())),
    }
}

fn proxy_header(listen: Option<&Node>, compiling: &mut Compiling<'_>) -> ProxyHeader {
    let Some(node) = listen.and_then(|listen| listen.get("proxy_protocol")) else {
        return ProxyHeader::Optional;
    };
    if listen.is_some_and(|listen| listen.get("trusted_proxies").is_none()) {
        let message = "`proxy_protocol` without `trusted_proxies`: nobody's PROXY header is read";
        compiling.warning(&node.at, message);
    }
    match node.text() {
        Some("off") => ProxyHeader::Off,
        Some("required") => ProxyHeader::Required,
        Some(_) | None => ProxyHeader::Optional,
    }
}
