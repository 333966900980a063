//! `writes` of a service.

use super::not_a_member;
use crate::config::compile::{Compiling, arc};
use crate::config::plan::{Failover, RequestKey, Writes};
use crate::config::tree::{Entry, Node, Value};
use crate::ids::RegionId;

pub(super) fn writes(
    node: Option<&Node>,
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> Writes {
    let Some(node) = node else {
        return Writes::Nearest;
    };
    let to = node.get("to");
    let by_home = to.and_then(Node::text) == Some("home");
    let by_primary = to.is_some_and(|to| to.get("primary").is_some());
    let without_effect = [
        ("key", by_home, "to: home"),
        ("homes", by_home, "to: home"),
        ("failover", by_primary, "to: { primary: REGION }"),
    ];
    for (key, has_effect, needs) in without_effect {
        if let (Some(node), false) = (node.get(key), has_effect) {
            compiling.warning(
                &node.at,
                format!("`{key}` has an effect only with `{needs}`"),
            );
        }
    }
    match to.and_then(Node::text) {
        Some("home") => home(node, ids, compiling),
        Some(_) => Writes::Nearest,
        None => primary(node, to, ids, compiling).unwrap_or(Writes::Nearest),
    }
}

fn primary(
    node: &Node,
    to: Option<&Node>,
    ids: &[RegionId],
    compiling: &mut Compiling<'_>,
) -> Option<Writes> {
    let named = to?.get("primary")?;
    let name = named.text()?;
    let region = compiling.region(name, &named.at)?;
    if !ids.contains(&region) {
        not_a_member(compiling, name, &named.at);
    }
    let failover = match node.get("failover").and_then(Node::text) {
        Some("none") => Failover::None,
        Some(_) | None => Failover::Order,
    };
    Some(Writes::Primary { region, failover })
}

fn home(node: &Node, ids: &[RegionId], compiling: &mut Compiling<'_>) -> Writes {
    let key = node.get("key");
    if key.is_none_or(|key| matches!(key.value, Value::Map(_)) && given(key) != 1) {
        compiling.problem(
            &node.at,
            "`to: home` needs `key` with one of header, cookie, query, path",
        );
    }
    let Some(key) = key.and_then(|key| request_keys(key).into_iter().next()) else {
        return Writes::Nearest;
    };
    let mut homes = Vec::new();
    for entry in node.get("homes").map_or(&[][..], Node::entries) {
        let name = entry.node.text().unwrap_or_default();
        let Some(region) = compiling.region(name, &entry.node.at) else {
            continue;
        };
        if !ids.contains(&region) {
            not_a_member(compiling, name, &entry.node.at);
        }
        homes.push((entry.key.clone(), region));
    }
    Writes::Home { key, homes }
}

/// How many keys of a map are not left empty.
fn given(node: &Node) -> usize {
    let is_given = |entry: &&Entry| !matches!(entry.node.value, Value::Null);
    node.entries().iter().filter(is_given).count()
}

fn request_keys(node: &Node) -> Vec<RequestKey> {
    let header = node
        .read("header", |text| text.parse().ok())
        .map(RequestKey::Header);
    let cookie = node.read("cookie", arc).map(RequestKey::Cookie);
    let query = node.read("query", arc).map(RequestKey::Query);
    let path = node
        .read("path", |text| text.parse().ok())
        .map(RequestKey::Path);
    [header, cookie, query, path]
        .into_iter()
        .flatten()
        .collect()
}
