//! What there is to probe: every origin of every service's regions, or what DNS answers with.

use std::sync::Arc;

use crate::config::plan::{HealthCheck, OriginScheme, Plan, ProbeProtocol};
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::proxy_protocol;

/// The port of a service without origins, unless `health.port` says otherwise.
const ADDRESS_PORT: u16 = 443;

/// One target of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Whose state it decides.
    pub service: ServiceId,
    /// In which region.
    pub region: RegionId,
    /// Which origin it is; none: an address of the region, or its name.
    pub origin: Option<OriginId>,
    /// How it is probed.
    pub protocol: TargetProtocol,
    /// Where to connect: a host name or an address.
    pub host: Arc<str>,
    /// The port to connect to.
    pub port: u16,
    /// The PROXY header that it wants first.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// As the status page calls it: the origin, or what is probed where there is none.
    pub url: Arc<str>,
}

/// Names a target through reloads and restarts: `service/region/url`.
pub type TargetKey = Arc<str>;

impl Target {
    /// Whether it is asked as another one is. Ids may differ: a reload moves them.
    pub fn is_asked_like(&self, other: &Self) -> bool {
        self.url == other.url && self.proxy_protocol == other.proxy_protocol
    }

    /// Its name through reloads and restarts.
    pub fn key(&self, plan: &Plan) -> TargetKey {
        let service = &plan.services.of(self.service).name;
        let region = &plan.regions.of(self.region).name;
        format!("{service}/{region}/{}", self.url).into()
    }
}

/// The name of an origin of a service, as a target.
pub fn origin_key(
    plan: &Plan,
    service: ServiceId,
    region: RegionId,
    origin: OriginId,
) -> TargetKey {
    let service = &plan.services.of(service).name;
    let region = &plan.regions.of(region).name;
    format!("{service}/{region}/{}", plan.origins.of(origin).url).into()
}

/// How a target is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetProtocol {
    /// HTTP/1.1 in clear.
    Http,
    /// HTTP/2 in clear, as its origin wants it.
    H2c,
    /// HTTP over TLS, version by ALPN.
    Https,
    /// A connection.
    Tcp,
}

/// Every target of the Plan: by service, and for each in the order of its regions.
pub fn targets(plan: &Plan) -> Vec<Target> {
    let members = plan.services.iter().flat_map(|(id, service)| {
        service
            .regions
            .iter()
            .map(move |member| (id, &service.health, member.region))
    });
    members
        .flat_map(|(service, health, region)| of_member(plan, service, health, region))
        .collect()
}

fn of_member(plan: &Plan, service: ServiceId, health: &HealthCheck, id: RegionId) -> Vec<Target> {
    let region = plan.regions.of(id);
    if region.origins.is_empty() {
        let port = health.port.unwrap_or(ADDRESS_PORT);
        let protocol = protocol(health.protocol, TargetProtocol::Tcp);
        let addresses = region.addresses.iter().map(ToString::to_string);
        let alias = region.alias.iter().map(|name| {
            // Resolvers of hosts want no final dot.
            name.to_string().trim_end_matches('.').to_owned()
        });
        return addresses
            .chain(alias)
            .map(|host| target(service, id, None, protocol, host.into(), port))
            .collect();
    }
    region
        .origins
        .iter()
        .map(|origin| {
            // Another port or protocol may make two origins' probes look alike; they stay two.
            let itself = of_origin(plan, service, *origin);
            let port = health.port.unwrap_or(itself.port);
            Target {
                protocol: protocol(health.protocol, itself.protocol),
                port,
                // Another port is another listener, of which nothing is known.
                proxy_protocol: itself.proxy_protocol.filter(|_| port == itself.port),
                ..itself
            }
        })
        .collect()
}

/// An origin of a service as the proxy connects to it.
pub fn of_origin(plan: &Plan, service: ServiceId, origin: OriginId) -> Target {
    let known = plan.origins.of(origin);
    let url = &known.url;
    let protocol = match url.scheme {
        OriginScheme::Http => TargetProtocol::Http,
        OriginScheme::Https => TargetProtocol::Https,
        OriginScheme::H2c => TargetProtocol::H2c,
    };
    let (region, host) = (known.region, url.host.clone());
    Target {
        url: url.to_string().into(),
        proxy_protocol: plan.regions.of(region).proxy_protocol,
        ..target(service, region, Some(origin), protocol, host, url.port)
    }
}

fn protocol(configured: Option<ProbeProtocol>, native: TargetProtocol) -> TargetProtocol {
    match configured {
        None => native,
        Some(ProbeProtocol::Http) => TargetProtocol::Http,
        Some(ProbeProtocol::Https) => TargetProtocol::Https,
        Some(ProbeProtocol::Tcp) => TargetProtocol::Tcp,
    }
}

fn target(
    service: ServiceId,
    region: RegionId,
    origin: Option<OriginId>,
    protocol: TargetProtocol,
    host: Arc<str>,
    port: u16,
) -> Target {
    let scheme = match protocol {
        TargetProtocol::Http => "http",
        TargetProtocol::H2c => "h2c",
        TargetProtocol::Https => "https",
        TargetProtocol::Tcp => "tcp",
    };
    let url = if host.contains(':') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    };
    Target {
        service,
        region,
        origin,
        protocol,
        host,
        port,
        proxy_protocol: None,
        url: url.into(),
    }
}
