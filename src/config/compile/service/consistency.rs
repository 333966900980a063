//! `consistency` of a service, and the domains of services on one data store.

use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::{Compiling, arc, duration};
use crate::config::plan::{Access, Consistency, Domain, Intent, VersionForm, WhenUnsatisfiable};
use crate::config::tree::{Entry, Node};
use crate::ids::{DomainId, Table};
use crate::normal_path::normal;

pub(super) type Domains = Table<DomainId, Domain>;

pub(super) fn consistency(
    entry: &Entry,
    compiling: &mut Compiling<'_>,
    domains: &mut Domains,
) -> Option<Consistency> {
    let node = entry.node.get("consistency")?;
    let enabled = node
        .read("read_your_writes", |text| text.parse::<bool>().ok())
        .unwrap_or(false);
    if !enabled {
        compiling.warning(
            &node.at,
            "`consistency` without `read_your_writes: true` does nothing",
        );
        return None;
    }
    let follow = node.read("follow", arc);
    let wanted = Domain {
        name: node
            .read("domain", arc)
            .unwrap_or_else(|| entry.key.clone()),
        version: version(node),
        follow: follow.clone(),
    };
    let time = |key: &str, default: u64| {
        node.read(key, duration)
            .unwrap_or(Duration::from_millis(default))
    };
    let ttl = time("ttl", 300_000);
    if let Some(node) = node.get("ttl").filter(|_| ttl < Duration::from_secs(1)) {
        compiling.problem(
            &node.at,
            "a token's `ttl` is counted in whole seconds: at least 1s",
        );
    }
    Some(Consistency {
        domain: domain(node, wanted, compiling, domains),
        follow,
        wait: time("wait", 500),
        when_unsatisfiable: match node.get("when_unsatisfiable").and_then(Node::text) {
            Some("fail") => WhenUnsatisfiable::Fail,
            Some(_) | None => WhenUnsatisfiable::Stale,
        },
        pin: time("pin", 5_000),
        ttl,
        max_lag: time("max_lag", 5_000),
        intents: node
            .get("intents")
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(intent)
            .collect(),
    })
}

fn version(node: &Node) -> VersionForm {
    match node.get("version").and_then(Node::text) {
        Some("pg_lsn") => VersionForm::PgLsn,
        Some(_) | None => VersionForm::Integer,
    }
}

/// The domain that a service says it belongs to; all of its services must mean the same.
fn domain(
    node: &Node,
    wanted: Domain,
    compiling: &mut Compiling<'_>,
    domains: &mut Domains,
) -> DomainId {
    let known = domains.iter().find(|(_, known)| known.name == wanted.name);
    let Some((id, known)) = known.map(|(id, known)| (id, known.clone())) else {
        return domains.push(wanted);
    };
    let mut differs = |key: &str| {
        let name = &wanted.name;
        let message = format!("another service of domain `{name}` has another `{key}`");
        compiling.problem(&node.at, message);
    };
    if known.version != wanted.version {
        differs("version");
    }
    match (&known.follow, wanted.follow) {
        (Some(one), Some(other)) if *one != other => differs("follow"),
        (None, Some(path)) => domains.of_mut(id).follow = Some(path),
        (Some(_) | None, _) => {}
    }
    id
}

fn intent(node: &Node) -> Option<Intent> {
    Some(Intent {
        path: node.read("path", |text| Some(Arc::from(&*normal(text))))?,
        method: node.read("method", |text| text.parse().ok()),
        is: match node.get("is")?.text()? {
            "read" => Access::Read,
            _ => Access::Write,
        },
    })
}
