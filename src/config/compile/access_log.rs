//! `access_log`.

use http::HeaderName;

use super::{Compiling, file};
use crate::config::plan::{AccessLog, LogTarget, LoggedQuery};
use crate::config::tree::Node;
use crate::redact;
use crate::units::Share;

/// The most headers of one kind: they bound how long a line gets.
const MOST_HEADERS: usize = 32;

pub(super) fn access_log(root: &Node, compiling: &mut Compiling<'_>) -> Option<AccessLog> {
    let node = root.get("access_log")?;
    Some(AccessLog {
        to: target(node)?,
        sample: node
            .read("sample", |text| text.parse().ok())
            .unwrap_or(Share::ALL),
        query: match node.get("query").and_then(Node::text) {
            Some("full") => LoggedQuery::Full,
            Some("none") => LoggedQuery::None,
            Some(_) | None => LoggedQuery::Redacted,
        },
        request_headers: headers(node, "request_headers", compiling),
        response_headers: headers(node, "response_headers", compiling),
    })
}

fn target(node: &Node) -> Option<LogTarget> {
    Some(match node.get("to")?.text()? {
        "stdout" => LogTarget::Stdout,
        "stderr" => LogTarget::Stderr,
        _ => LogTarget::File(file(node, "to")?),
    })
}

fn headers(node: &Node, key: &str, compiling: &mut Compiling<'_>) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = Vec::new();
    let Some(list) = node.get(key) else {
        return names;
    };
    if list.items().len() > MOST_HEADERS {
        compiling.problem(
            &list.at,
            format!("at most {MOST_HEADERS} headers are logged"),
        );
    }
    for item in list.items() {
        let Some(text) = item.text() else { continue };
        let Ok(name) = text.parse::<HeaderName>() else {
            continue;
        };
        if redact::is_secret(name.as_str()) {
            let redacted = redact::REDACTED;
            let message = format!("`{text}` may bear a secret: its value is logged as {redacted}");
            compiling.warning(&item.at, message);
        }
        if names.contains(&name) {
            compiling.problem(&item.at, format!("`{text}` appears twice"));
        } else {
            names.push(name);
        }
    }
    names
}
