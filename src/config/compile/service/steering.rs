//! `steering`, `affinity` and `residency` of a service: which regions a client may get, and which it should.

use std::time::Duration;

use super::own_regions;
use crate::config::compile::{Compiling, duration};
use crate::config::plan::{
    Affinity, AffinityBy, ClientMatch, Override, Policy, Residency, ResidencyBy, WhenNoneHealthy,
};
use crate::config::tree::Node;
use crate::earth::Country;
use crate::ids::RegionId;

pub(super) fn policy(steering: Option<&Node>) -> Policy {
    match steering.and_then(|s| s.get("policy")).and_then(Node::text) {
        Some("geo") => Policy::Geo,
        Some("weighted") => Policy::Weighted,
        Some("priority") => Policy::Priority,
        Some(_) | None => Policy::Latency,
    }
}

pub(super) fn when_none_healthy(steering: Option<&Node>) -> WhenNoneHealthy {
    match steering
        .and_then(|s| s.get("when_none_healthy"))
        .and_then(Node::text)
    {
        Some("none") => WhenNoneHealthy::None,
        Some(_) | None => WhenNoneHealthy::All,
    }
}

pub(super) fn overrides(
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
            if let Some(node) = item.get(key).filter(|node| node.is_empty_list()) {
                compiling.problem(&node.at, format!("`{key}` of an override is empty"));
            }
        }
        let clients = match (item.get("country"), item.get("network")) {
            (Some(countries), None) => Some(ClientMatch::Country(
                countries.items().iter().filter_map(country).collect(),
            )),
            (None, Some(network)) => {
                let network = network.text().and_then(|text| text.parse().ok());
                network.map(ClientMatch::Network)
            }
            (Some(_), Some(_)) | (None, None) => {
                compiling.problem(&item.at, "an override has either `country` or `network`");
                None
            }
        };
        overrides.extend(clients.map(|clients| Override { clients, prefer }));
    }
    overrides
}

fn country(node: &Node) -> Option<Country> {
    node.text()?.parse().ok()
}

pub(super) fn affinity(node: &Node) -> Option<Affinity> {
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

pub(super) fn residency(
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
    let entries = node.get("allow")?.entries();
    for (place, entry) in entries.iter().enumerate() {
        let mut before = entries.iter().take(place);
        if let Some(first) = before.find(|first| first.key.eq_ignore_ascii_case(&entry.key)) {
            compiling.twice(entry, first);
        }
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
        if entry.node.is_empty_list() {
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
