//! The checked tree → the Plan: defaults resolved, names made ids, and what does not fit together told.
//!
//! A value of the wrong form has been told of by its shape already and reads as absent here.

mod access_log;
mod admin;
mod dns;
mod latency;
mod listen;
mod node;
mod regions;
mod service;
mod tls;
mod traffic;
mod zone;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::plan::{FileRef, Geo, Plan, Region, SourceAt};
use crate::config::problem::{Problem, nearest};
use crate::config::tree::{Entry, Node};
use crate::config::zone_files::ZoneFiles;
use crate::earth::GeoPoint;
use crate::ids::{RegionId, Table};
use crate::prefix::Prefix;
use crate::units::{Secret, parse_duration};
use access_log::access_log;
use dns::rate_limit;
use latency::latency;
use listen::listen;
use node::{keys, node};
use regions::regions;
use service::services;
use zone::zones;

/// Collects what is wrong and what is doubtful while compiling.
pub(super) struct Compiling<'a> {
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) warnings: &'a mut Vec<Problem>,
    pub(super) regions: Table<RegionId, Region>,
    /// The regions by their names.
    named: HashMap<Arc<str>, RegionId>,
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
        let found = self.named.get(name).copied();
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
    let named = regions.iter().map(|(id, region)| (region.name.clone(), id));
    let mut compiling = Compiling {
        problems,
        warnings,
        named: named.collect(),
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

fn prefix(node: &Node) -> Option<Prefix> {
    node.text()?.parse().ok()
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

/// Names of regions and services stand in headers, cookies and tokens.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    // Of dots alone it would be a way up in a path (RFC 3986 §5.2.4).
    let good = (1..=63).contains(&name.len())
        && name.bytes().any(|b| b != b'.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is not a name: 1 to 63 letters, digits, `-`, `_` and `.`, not dots alone, are expected"
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
    doubt_regions(root, plan, compiling);
}

fn doubt_regions(root: &Node, plan: &Plan, compiling: &mut Compiling<'_>) {
    let members = plan.services.values().flat_map(|s| s.regions.iter());
    let used: HashSet<RegionId> = members.map(|member| member.region).collect();
    let entries = root.get("regions").map_or(&[][..], Node::entries);
    for (entry, (id, region)) in entries.iter().zip(plan.regions.iter()) {
        if !used.contains(&id) {
            compiling.warning(
                &entry.at,
                format!("region `{}` is in no service", entry.key),
            );
        }
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
