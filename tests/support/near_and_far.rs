//! Two regions of a service that does without tokens, as tests of failing over begin.

use super::{Answer, Edge, Origin};

pub const HOST: &str = "www.example.com";

/// `near` first, then `far`. Both are probed at the far origin, so that only requests show what is wrong with `near`.
pub fn edge(near: &str, far: &Origin, service: &str) -> Edge {
    let health = format!("port: {}, passive: off", far.address.port());
    edge_checked(near, far, &health, service)
}

/// The same with another health check.
pub fn edge_checked(near: &str, far: &Origin, health: &str, service: &str) -> Edge {
    Edge::start(&format!(
        "node: {{ name: test-edge }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ near: {{ origins: ['{near}'] }}, far: {{ origins: ['{}'] }} }}
services:
  www:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    health: {{ protocol: http, {health} }}
    {service}
",
        far.url(),
    ))
}

/// What a test can tell apart.
pub fn seen(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body.as_str())
}

pub fn post(edge: &Edge) -> Answer {
    edge.curl(HOST, "/", &["-X", "POST"])
}
