//! `regions`: what DNS answers and where the proxy connects.

use std::net::IpAddr;

use super::{check_name, point};
use crate::config::kinds::{parse_alias, parse_origin};
use crate::config::plan::{Origin, Region};
use crate::config::problem::Problem;
use crate::config::tree::Node;
use crate::geo::well_known;
use crate::ids::{MOST_ENTRIES, OriginId, RegionId, Table};
use crate::proxy_protocol;

pub(super) fn regions(
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
    if origins.len() > MOST_ENTRIES {
        let message =
            format!("regions: at most {MOST_ENTRIES} origins are expected, of all of them");
        let at = root.get("regions").map(|node| node.at.clone());
        problems.push(Problem::new(at, message));
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
