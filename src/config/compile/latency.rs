//! `latency`: what is measured of clients' round trips.

use http::Uri;

use super::{Compiling, file_named};
use crate::config::plan::{Beacon, Latency};
use crate::config::tree::{Entry, Node};
use crate::units::Share;

/// A beacon times two regions, so that it takes two to choose from.
const LEAST_PROBES: usize = 2;

pub(super) fn latency(root: &Node, compiling: &mut Compiling<'_>) -> Latency {
    let node = root.get("latency");
    let imports = node.and_then(|node| node.get("import"));
    let beacon = node.and_then(|node| node.get("beacon"));
    let default = Latency::default();
    let latency = Latency {
        imports: imports
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(file_named)
            .collect(),
        connections: node.and_then(|node| node.read("connections", |text| text.parse().ok()))
            == Some(true),
        beacon: beacon.and_then(|node| read_beacon(node, compiling)),
        min_samples: node
            .and_then(|node| node.read("min_samples", |text| text.parse().ok()))
            .unwrap_or(default.min_samples),
        quorum: node
            .and_then(|node| node.read("quorum", |text| text.parse().ok()))
            .unwrap_or(default.quorum),
    };
    if let Some(node) =
        node.filter(|_| latency.connections && root.get("node").is_none_or(lacks_place))
    {
        let message = "`latency.connections` without `node.region`: only clients near this edge are measured, by way of its own round trips";
        compiling.warning(&node.at, message);
    }
    latency
}

fn lacks_place(node: &Node) -> bool {
    node.get("region").is_none()
}

fn read_beacon(node: &Node, compiling: &mut Compiling<'_>) -> Option<Beacon> {
    let entries = node.get("probes").map_or(&[][..], Node::entries);
    let probes: Vec<_> = entries
        .iter()
        .filter_map(|entry| probe(entry, compiling))
        .collect();
    if entries.len() < LEAST_PROBES {
        compiling.problem(
            &node.at,
            "a beacon compares regions: at least two probes are expected",
        );
    }
    let sample = node.read("sample", |text| text.parse::<Share>().ok());
    Some(Beacon {
        sample: sample.or_else(|| "1%".parse().ok())?,
        probes,
    })
}

/// A page over https may fetch nothing else.
fn probe(entry: &Entry, compiling: &mut Compiling<'_>) -> Option<(std::sync::Arc<str>, String)> {
    let region = compiling.region(&entry.key, &entry.at)?;
    let text = entry.node.text()?;
    let is_https = |uri: &Uri| uri.scheme_str() == Some("https") && uri.authority().is_some();
    if !text.parse::<Uri>().is_ok_and(|uri| is_https(&uri)) {
        let message = format!(
            "`{text}` is no https URL: a browser that measures asks for one such as https://{}.example.com/ping",
            entry.key
        );
        compiling.problem(&entry.node.at, message);
        return None;
    }
    Some((compiling.regions.of(region).name.clone(), text.to_owned()))
}
