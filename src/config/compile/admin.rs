//! `admin`: tokens with their names and roles, and TLS.

use std::sync::Arc;

use super::{Compiling, check_name, secret, tls};
use crate::config::plan::{AdminAccess, AdminTls, AdminToken, Plan, Role, TokenDigest};
use crate::config::problem::Problem;
use crate::config::tree::Node;

/// The name of `admin.token`.
const ONLY: &str = "admin";

pub(super) fn admin(root: &Node, compiling: &mut Compiling<'_>) -> AdminAccess {
    let Some(node) = root.get("admin") else {
        return AdminAccess::default();
    };
    AdminAccess {
        tokens: tokens(node, compiling),
        tls: node.get("tls").and_then(|node| match node.text() {
            Some(_) => Some(AdminTls::Edge),
            None => tls::certificate(node).map(AdminTls::Own),
        }),
    }
}

fn tokens(node: &Node, compiling: &mut Compiling<'_>) -> Vec<AdminToken> {
    let only = node.read("token", secret).map(|secret| AdminToken {
        name: Arc::from(ONLY),
        digest: TokenDigest::from(&secret),
        role: Role::Operate,
    });
    let mut tokens: Vec<AdminToken> = only.into_iter().collect();
    for item in node.get("tokens").map_or(&[][..], Node::items) {
        let Some(token) = token(item) else { continue };
        // Never the text itself: it may be a secret in the wrong place.
        let at = item.get("name").map_or(&item.at, |name| &name.at);
        if check_name(&token.name).is_err() {
            let message =
                "admin.tokens: a name of 1 to 63 letters, digits, `-`, `_` and `.` is expected";
            compiling.problem(at, message);
        }
        if tokens.iter().any(|known| known.name == token.name) {
            let message = "admin.tokens: there are two tokens of this name (`admin` is that of `admin.token`)";
            compiling.problem(at, message);
        }
        if tokens.iter().any(|known| known.digest == token.digest) {
            let message = "admin.tokens: this token is there twice: whose it is could not be told";
            compiling.problem(at, message);
        }
        tokens.push(token);
    }
    tokens
}

fn token(item: &Node) -> Option<AdminToken> {
    Some(AdminToken {
        name: item.read("name", |text| Some(text.into()))?,
        digest: TokenDigest::from(&item.read("token", secret)?),
        role: match item.get("role").and_then(Node::text)? {
            "operate" => Role::Operate,
            _ => Role::Read,
        },
    })
}

/// What is allowed of an admin that others can reach, and probably not meant.
pub(super) fn doubts(plan: &Plan, compiling: &mut Compiling<'_>) {
    let Some(address) = plan.listen.admin.filter(|at| !at.ip().is_loopback()) else {
        return;
    };
    let admin = &plan.admin;
    let may_operate = |token: &AdminToken| token.role == Role::Operate;
    let mut doubt = |message: String| compiling.warnings.push(Problem::new(None, message));
    if !admin.tokens.iter().any(may_operate) {
        doubt(
            "admin listens beyond loopback without a token of role operate in `admin.tokens`: every change will be refused"
                .to_owned(),
        );
    }
    if admin.is_open_to_readers() {
        doubt(format!(
            "admin listens on {address} without a token of role read in `admin.tokens`: everybody who reaches it sees status, metrics and events"
        ));
    }
    if admin.tls.is_none() {
        doubt(format!(
            "admin listens on {address} without `admin.tls`: tokens pass in clear; set `admin: {{ tls: {{ cert: PATH, key: PATH }} }}` or `tls: edge`, or listen on 127.0.0.1"
        ));
    }
}
