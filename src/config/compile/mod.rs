//! The checked tree → the Plan: defaults resolved, names made ids, and what does not fit together told.
//!
//! A value of the wrong form has been told of by its shape already and reads as absent here.

mod access_log;
mod admin;
mod latency;
mod service;
mod tls;
mod traffic;
mod zone;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::kinds::{parse_alias, parse_origin};
use crate::config::plan::{
    ClientLimits, ClientTimeouts, FileRef, Geo, HttpMode, Key, Listen, Node as PlanNode, Origin,
    Plan, ProxyHeader, RateLimit, Region, SourceAt,
};
use crate::config::problem::{Problem, nearest};
use crate::config::tree::{Entry, Node};
use crate::config::zone_files::ZoneFiles;
use access_log::access_log;
use latency::latency;
use service::services;
use zone::zones;

use crate::earth::GeoPoint;
use crate::geo::well_known;
use crate::ids::{MOST_ENTRIES, OriginId, RegionId, Table};
use crate::prefix::Prefix;
use crate::proxy_protocol;
use crate::units::{Secret, parse_duration};

/// Collects what is wrong and what is doubtful while compiling.
pub(super) struct Compiling<'a> {
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) warnings: &'a mut Vec<Problem>,
    pub(super) regions: Table<RegionId, Region>,
    pub(super) files: &'a mut ZoneFiles,
}

impl Compiling<'_> {
    pub(super) fn problem(&mut self, at: &SourceAt, message: impl Into<String>) {
        self.problems
            .push(Problem::new(Some(at.clone()), message.into()));
    }

    pub(super) fn warning(&mut self, at: &SourceAt, message: impl Into<String>) {
        self.warnings
            .push(Problem::new(Some(at.clone()), message.into()));
    }

    /// The same entry in another spelling.
    pub(super) fn twice(&mut self, second: &Entry, first: &Entry) {
        let message = format!("`{}` is here twice, in two spellings", second.key);
        let problem = Problem::new(Some(second.at.clone()), message);
        self.problems
            .push(problem.with_related(first.at.clone(), "first here"));
    }

    /// The region of a name; an unknown one is told of.
    pub(super) fn region(&mut self, name: &str, at: &SourceAt) -> Option<RegionId> {
        let found = self
            .regions
            .iter()
            .find(|(_, region)| &*region.name == name)
            .map(|(id, _)| id);
        if found.is_none() {
            let known: Vec<&str> = self.regions.values().map(|region| &*region.name).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(known) => format!(": did you mean `{known}`?"),
                None => format!(": there are {}", known.join(", ")),
            };
            self.problem(at, format!("there is no region `{name}`{hint}"));
        }
        found
    }

    /// The regions that a list names.
    pub(super) fn region_list(&mut self, node: &Node) -> Vec<RegionId> {
        let named = self.named_regions(node);
        named.into_iter().map(|(region, _)| region).collect()
    }

    /// The regions that a list names, each with the item that names it.
    pub(super) fn named_regions<'n>(&mut self, node: &'n Node) -> Vec<(RegionId, &'n Node)> {
        let mut regions: Vec<(RegionId, &Node)> = Vec::new();
        for item in node.items() {
            let Some(name) = item.text() else { continue };
            let Some(region) = self.region(name, &item.at) else {
                continue;
            };
            if regions.iter().any(|(known, _)| *known == region) {
                self.problem(&item.at, format!("`{name}` appears twice"));
            } else {
                regions.push((region, item));
            }
        }
        regions
    }
}

/// Compiles; `None` only when the tree is no map.
pub(super) fn compile(
    root: &Node,
    files: &mut ZoneFiles,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<Plan> {
    let (regions, origins) = regions(root, problems);
    let mut compiling = Compiling {
        problems,
        warnings,
        regions,
        files,
    };
    let listen = listen(root, &mut compiling);
    let (services, domains) = services(root, &mut compiling);
    let zones = zones(root, &services, &mut compiling);
    let plan = Plan {
        node: node(root, &mut compiling),
        tls: tls::tls(root, &mut compiling),
        admin: admin::admin(root, &mut compiling),
        access_log: access_log(root, &mut compiling),
        rate_limit: rate_limit(root),
        geo: geo(root, &mut compiling),
        latency: latency(root, &mut compiling),
        keys: keys(root, &mut compiling),
        listen,
        origins,
        services,
        domains,
        zones,
        regions: std::mem::take(&mut compiling.regions),
    };
    doubts(root, &plan, &mut compiling);
    Some(plan)
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text.to_owned()))
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    parse_duration(text).ok()
}

fn point(node: Option<&Node>) -> Option<Result<GeoPoint, String>> {
    let mut numbers = node?
        .items()
        .iter()
        .filter_map(|item| item.text()?.parse::<f64>().ok());
    let (lat, lon) = (numbers.next()?, numbers.next()?);
    Some(GeoPoint::new(lat, lon).map_err(|error| error.to_string()))
}

fn node(root: &Node, compiling: &mut Compiling<'_>) -> PlanNode {
    let node = root.get("node");
    let location = node.and_then(|node| node.get("location"));
    let point = point(location);
    if let (Some(Err(message)), Some(node)) = (&point, location) {
        compiling.problem(&node.at, message.clone());
    }
    let name = node.and_then(|node| node.read("name", |text| Some(text.to_owned())));
    let host_name = || nix::unistd::gethostname().ok()?.into_string().ok();
    let state_dir = node.and_then(|node| file(node, "state_dir"));
    let state_dir = state_dir.map(|file| file.path);
    let upgrade_socket = node.and_then(|node| file(node, "upgrade_socket"));
    PlanNode {
        name: name
            .or_else(host_name)
            .unwrap_or_else(|| "meridian".to_owned())
            .into(),
        location: point.and_then(Result::ok),
        region: own_region(node, compiling),
        upgrade_socket: upgrade_socket
            .map(|file| file.path)
            .or_else(|| Some(state_dir.as_ref()?.join("upgrade.sock"))),
        state_dir,
        drain_delay: node
            .and_then(|node| node.read("drain_delay", duration))
            .unwrap_or_default(),
        drain_timeout: node
            .and_then(|node| node.read("drain_timeout", duration))
            .unwrap_or(Duration::from_secs(30)),
    }
}

fn own_region(node: Option<&Node>, compiling: &mut Compiling<'_>) -> Option<Arc<str>> {
    let named = node?.get("region")?;
    let region = compiling.region(named.text()?, &named.at)?;
    Some(compiling.regions.of(region).name.clone())
}

/// A file that a key names, relative to the file that names it.
fn file(node: &Node, key: &str) -> Option<FileRef> {
    file_named(node.get(key)?)
}

/// The files that a list names.
fn files(node: &Node, key: &str) -> Vec<FileRef> {
    let named = node.get(key).map_or(&[][..], Node::items);
    named.iter().filter_map(file_named).collect()
}

fn file_named(named: &Node) -> Option<FileRef> {
    let folder = named.at.file.parent().unwrap_or(Path::new(""));
    Some(FileRef {
        path: folder.join(PathBuf::from(named.text()?)),
        at: named.at.clone(),
    })
}

fn listen(root: &Node, compiling: &mut Compiling<'_>) -> Listen {
    let node = root.get("listen");
    let mut addresses = |key: &str| -> Vec<SocketAddr> {
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
    };
    let (dns, dns_tls) = (addresses("dns"), addresses("dns_tls"));
    let (https, http) = (addresses("https"), addresses("http"));
    let admin: Option<SocketAddr> = node.and_then(|node| node.read("admin", |t| t.parse().ok()));
    let mut taken: Vec<SocketAddr> = Vec::new();
    for address in [&dns, &dns_tls, &https, &http]
        .into_iter()
        .flatten()
        .chain(&admin)
    {
        if let Some(node) = node
            && address.port() != 0
            && taken.contains(address)
        {
            let message = format!("{address} is listened on for two protocols");
            compiling.problem(&node.at, message);
        }
        taken.push(*address);
    }
    let timeouts = node.and_then(|node| node.get("timeouts"));
    let timeout = |key: &str, default: u64| {
        timeouts
            .and_then(|node| node.read(key, duration))
            .unwrap_or(Duration::from_secs(default))
    };
    let serves = node
        .and_then(|node| node.get("http_mode"))
        .and_then(Node::text)
        == Some("serve");
    let trusted = node.and_then(|node| node.get("trusted_proxies"));
    Listen {
        dns,
        dns_tls,
        https,
        http,
        http_mode: if serves {
            HttpMode::Serve
        } else {
            HttpMode::Redirect
        },
        admin,
        timeouts: ClientTimeouts {
            handshake: timeout("handshake", 10),
            headers: timeout("headers", 10),
            idle: timeout("idle", 60),
        },
        limits: client_limits(node.and_then(|node| node.get("limits"))),
        trusted_proxies: trusted
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(prefix)
            .collect(),
        proxy_header: proxy_header(node, compiling),
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

fn prefix(node: &Node) -> Option<Prefix> {
    node.text()?.parse().ok()
}

/// Networks that are never limited unless the configuration says otherwise: nobody else is there.
const LOOPBACK: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];

/// On unless it is turned off: an open UDP server is a weapon without it.
fn rate_limit(root: &Node) -> Option<RateLimit> {
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

fn geo(root: &Node, compiling: &mut Compiling<'_>) -> Geo {
    let node = root.get("geo");
    let built_in = node
        .and_then(|node| node.get("database"))
        .and_then(Node::text)
        == Some("built-in");
    let mut networks = Vec::new();
    for entry in node
        .and_then(|node| node.get("networks"))
        .map_or(&[][..], Node::entries)
    {
        let prefix = match entry.key.parse::<Prefix>() {
            Ok(prefix) => prefix,
            Err(error) => {
                compiling.problem(&entry.at, error.to_string());
                continue;
            }
        };
        let name = entry.node.text().unwrap_or_default();
        if let Some(region) = compiling.region(name, &entry.node.at) {
            networks.push((prefix, region));
        }
    }
    Geo {
        database: node
            .filter(|_| !built_in)
            .and_then(|node| file(node, "database")),
        networks,
        asns: node.and_then(|node| file(node, "asn_database")),
    }
}

fn keys(root: &Node, compiling: &mut Compiling<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for item in root.get("keys").map_or(&[][..], Node::items) {
        let id = item.read("id", |text| text.parse::<u8>().ok());
        let (Some(id), Some(secret)) = (id, item.read("secret", secret)) else {
            continue;
        };
        if keys.iter().any(|key| key.id == id) {
            compiling.problem(&item.at, format!("there are two keys of id {id}"));
        }
        keys.push(Key { id, secret });
    }
    keys
}

fn regions(
    root: &Node,
    problems: &mut Vec<Problem>,
) -> (Table<RegionId, Region>, Table<OriginId, Origin>) {
    let (mut regions, mut origins) = (Table::default(), Table::default());
    let entries = root.get("regions").map_or(&[][..], Node::entries);
    if let Some(node) = root
        .get("regions")
        .filter(|_| entries.is_empty() || entries.len() > MOST_ENTRIES)
    {
        let message = format!("from 1 to {MOST_ENTRIES} regions are expected");
        problems.push(Problem::new(Some(node.at.clone()), message));
    }
    for entry in entries {
        let id: RegionId = regions.push(Region {
            name: entry.key.clone(),
            location: None,
            jurisdiction: entry.node.read("jurisdiction", |text| Some(text.into())),
            addresses: Vec::new(),
            alias: None,
            origins: Vec::new(),
            proxy_protocol: entry.node.read("proxy_protocol", proxy_version),
            weight: entry
                .node
                .read("weight", |text| text.parse().ok())
                .unwrap_or(100),
        });
        if let Err(message) = check_name(&entry.key) {
            problems.push(Problem::new(Some(entry.at.clone()), message));
        }
        let location = entry.node.get("location");
        let given = point(location);
        if let (Some(Err(message)), Some(node)) = (&given, location) {
            problems.push(Problem::new(Some(node.at.clone()), message.clone()));
        }
        let region = regions.of_mut(id);
        region.location = given
            .and_then(Result::ok)
            .or_else(|| well_known(&entry.key));
        publish(region, entry.node.get("addresses"), problems);
        for url in distinct(entry.node.get("origins"), problems, |text| {
            parse_origin(text).ok()
        }) {
            let origin = origins.push(Origin { region: id, url });
            region.origins.push(origin);
        }
    }
    (regions, origins)
}

fn proxy_version(text: &str) -> Option<proxy_protocol::Version> {
    match text {
        "v1" => Some(proxy_protocol::Version::V1),
        "v2" => Some(proxy_protocol::Version::V2),
        _ => None,
    }
}

/// RFC 1034 §3.6.2: a CNAME stands alone, so that a region has addresses or one name.
fn publish(region: &mut Region, node: Option<&Node>, problems: &mut Vec<Problem>) {
    region.addresses = distinct(node, problems, |text| text.parse().ok());
    let items = node.map_or(&[][..], Node::items).iter();
    let aliases = items.filter_map(|item| {
        let text = item.text().filter(|text| text.parse::<IpAddr>().is_err())?;
        Some((item, parse_alias(text).ok()?))
    });
    for (item, name) in aliases {
        if region.alias.is_some() || !region.addresses.is_empty() {
            let message = format!(
                "`{name}` is answered with a CNAME, which stands alone: a region has addresses or one host name"
            );
            problems.push(Problem::new(Some(item.at.clone()), message));
        }
        region.alias = Some(name);
    }
}

/// The items of a list; one that is there twice is told of.
fn distinct<T: PartialEq>(
    node: Option<&Node>,
    problems: &mut Vec<Problem>,
    parse: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    for item in node.map_or(&[][..], Node::items) {
        let Some(value) = item.text().and_then(&parse) else {
            continue;
        };
        if found.contains(&value) {
            let message = format!("`{}` appears twice", item.text().unwrap_or_default());
            problems.push(Problem::new(Some(item.at.clone()), message));
        } else {
            found.push(value);
        }
    }
    found
}

/// Names of regions and services stand in headers, cookies and tokens.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let good = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is not a name: 1 to 63 letters, digits, `-`, `_` and `.` are expected"
        ))
    }
}

/// What is allowed and probably not meant.
fn doubts(root: &Node, plan: &Plan, compiling: &mut Compiling<'_>) {
    let anywhere = Problem::new;
    let listen = &plan.listen;
    let opens_nothing = listen.dns.is_empty()
        && listen.dns_tls.is_empty()
        && listen.https.is_empty()
        && listen.http.is_empty();
    if opens_nothing {
        compiling.warnings.push(anywhere(
            None,
            "`listen` opens no face: nobody can ask this edge".to_owned(),
        ));
    }
    admin::doubts(plan, compiling);
    if plan.keys.is_empty() {
        let message = "`keys` is not set: cookies and tokens are signed with a random key, which no other edge knows and no restart keeps";
        compiling.warnings.push(anywhere(None, message.to_owned()));
    }
    for entry in root.get("regions").map_or(&[][..], Node::entries) {
        let Some(id) = plan.region(&entry.key) else {
            continue;
        };
        let users = plan
            .services
            .values()
            .filter(|s| s.regions.iter().any(|member| member.region == id))
            .count();
        if users == 0 {
            compiling.warning(
                &entry.at,
                format!("region `{}` is in no service", entry.key),
            );
        }
        let region = plan.regions.of(id);
        if region.location.is_none() {
            let message = format!(
                "region `{}` has no `location` and no well-known name: it counts as the farthest",
                entry.key
            );
            compiling.warning(&entry.at, message);
        }
        if !region.publishes() && region.origins.is_empty() {
            compiling.warning(
                &entry.at,
                format!("region `{}` has neither addresses nor origins", entry.key),
            );
        }
    }
}

/// An `Arc` of a scalar's text.
pub(super) fn arc(text: &str) -> Option<Arc<str>> {
    Some(text.into())
}
