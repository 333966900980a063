//! `node` and `keys`: this edge, and what it signs with.

use std::sync::Arc;
use std::time::Duration;

use super::{Compiling, duration, file, point, secret};
use crate::config::plan::{Key, Node as PlanNode};
use crate::config::tree::Node;

pub(super) fn node(root: &Node, compiling: &mut Compiling<'_>) -> PlanNode {
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

pub(super) fn keys(root: &Node, compiling: &mut Compiling<'_>) -> Vec<Key> {
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
