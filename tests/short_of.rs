//! An edge that the system gives too little: files of a length, or descriptors.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;
use support::{Edge, Origin, connect, read_head, say, wait_until};

fn start(origin: &Origin) -> Edge {
    Edge::start(&format!(
        "node: {{ state_dir: state }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['{}'] }}, there: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 100ms, recheck_interval: 100ms }} }} }}
",
        origin.url(),
        origin.url()
    ))
}

/// Sets a soft limit of a running edge, as `prlimit` has it.
fn limit(edge: &Edge, what: &str, to: &str) {
    let pid = edge.process.id().to_string();
    let mut prlimit = Command::new("prlimit");
    let prlimit = prlimit.args(["--pid", &pid, &format!("--{what}={to}:")]);
    assert!(prlimit.status().unwrap().success());
}

/// Asks the admin on a connection that is open already.
fn ask(admin: &mut BufReader<TcpStream>, path: &str) -> Value {
    say(
        admin,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    );
    let head = read_head(admin);
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    admin.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_drain_that_the_system_does_not_let_the_edge_save_is_in_force_and_told() {
    let origin = Origin::start("here");
    let edge = start(&origin);
    limit(&edge, "fsize", "64");
    let (status, told) = edge.admin("PUT", "/api/v1/drains/here", "");
    assert_eq!(status, 200, "{told}");
    assert!(
        told["unsaved"].as_str().unwrap().contains("too large"),
        "{told}"
    );
    let status = edge.admin("GET", "/api/v1/status", "").1;
    assert_eq!(status["drains"][0]["region"], "here");
}

#[test]
fn probes_for_which_the_edge_has_no_descriptor_say_nothing_of_a_region() {
    let origin = Origin::start("here");
    let edge = start(&origin);
    let mut admin = connect(edge.address("admin"));
    let is_healthy = |status: &Value| status["regions"][0]["state"] == "healthy";
    assert!(wait_until(|| is_healthy(&ask(
        &mut admin,
        "/api/v1/status"
    ))));
    limit(&edge, "nofile", "3");
    let mut unasked = 0;
    assert!(wait_until(|| {
        let probes = ask(&mut admin, "/api/v1/probes?region=here");
        let probes = probes["targets"][0]["probes"].as_array().unwrap().clone();
        let is_unasked = |probe: &&Value| {
            let detail = probe["detail"].as_str();
            detail.is_some_and(|detail| detail.contains("this edge cannot open another connection"))
        };
        unasked = probes.iter().filter(is_unasked).count();
        unasked >= 6
    }));
    let status = ask(&mut admin, "/api/v1/status");
    assert!(is_healthy(&status), "{}", status["regions"][0]);
}
