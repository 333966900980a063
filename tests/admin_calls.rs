//! Calls of the admin API that are not quite right: told as JSON, and nothing is changed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use serde_json::Value;
use support::{Edge, meridian, run};

const YAML: &str = "listen: { admin: '127.0.0.1:0' }
node: { state_dir: state }
regions: { near: { addresses: [192.0.2.1] }, far: { addresses: [192.0.2.2] } }
services: { www: { hosts: [www.example.com] } }
";

/// What the timeline and the audit log have of the same calls.
fn told(edge: &Edge) -> (usize, Vec<Value>) {
    let admin = format!("http://{}", edge.address("admin"));
    let events = run(meridian().args(["events", "--admin", &admin])).stdout;
    let events = String::from_utf8(events).unwrap();
    let refused = events.lines().filter(|line| line.contains(" refused: "));
    let log = edge.folder.path().join("state/audit.jsonl");
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    (refused.count(), lines.collect())
}

#[test]
fn a_call_that_is_not_quite_right_is_told_what_would_be_and_changes_nothing() {
    let edge = Edge::start(YAML);
    let utf8 = "the name in the path is not UTF-8 as RFC 3986 §2.5 encodes it";
    let unknown = "unknown parameter `dry_run`: expected none";
    let no_body = "this call takes no body: what the files say is loaded";
    for (method, path, body, expected) in [
        ("PUT", "drains/%ff", "", utf8),
        ("DELETE", "drains/%ff", "", utf8),
        ("PUT", "forced/%ff", "{\"state\":\"up\"}", utf8),
        ("DELETE", "forced/%ff", "", utf8),
        ("PUT", "positions/%ff", "{\"applied\":1}", utf8),
        ("POST", "reload?dry_run=true", "", unknown),
        ("POST", "reload", "{\"dry_run\":true}", no_body),
    ] {
        let (status, answer) = edge.admin(method, &format!("/api/v1/{path}"), body);
        assert_eq!(status, 400, "{method} {path}");
        assert_eq!(answer["error"], expected, "{method} {path}");
    }
    let status = edge.admin("GET", "/api/v1/status", "").1;
    assert_eq!(status["config"]["generation"], 1);
    assert_eq!(edge.admin("POST", "/api/v1/reload", "{}").0, 200);
}

#[test]
fn a_blank_reason_is_none() {
    let edge = Edge::start(YAML);
    let drained = edge.admin("PUT", "/api/v1/drains/far", "{\"reason\":\" \"}");
    assert_eq!((drained.0, &drained.1["reason"]), (200, &Value::Null));
}

#[test]
fn who_is_refused_without_end_pushes_nothing_out_of_the_audit_log_nor_out_of_the_timeline() {
    let edge = Edge::start(YAML);
    let reason = "{\"reason\":\"new disks\"}";
    assert_eq!(edge.admin("PUT", "/api/v1/drains/far", reason).0, 200);
    for _ in 0..50 {
        assert_eq!(edge.admin("PUT", "/api/v1/drains/none", "").0, 404);
    }
    let (refused, lines) = told(&edge);
    // Fifty calls may lie in two minutes.
    assert!((20..=40).contains(&refused), "{refused}");
    assert_eq!(lines.len(), 1 + refused);
    assert_eq!(lines[0]["with"]["reason"], "new disks");
    assert!(lines.iter().all(|line| line["who"] == "(this machine)"));
}

#[test]
fn a_refused_call_forges_no_line_of_the_timeline_however_it_is_put() {
    let edge = Edge::start(YAML);
    let forged = "x\n2026-11-28T18:50:01Z INFO alice: PUT /api/v1/drains/near done\u{202e}";
    let body = serde_json::json!({ "service": forged }).to_string();
    let path = "/api/v1/drains/near";
    assert_eq!(edge.admin("PUT", path, &body).0, 404);
    let in_path = format!("{path}%0a%1b%5b31m");
    assert_eq!(edge.admin("PUT", &in_path, "{}").0, 404);
    let long = serde_json::json!({ "service": "x".repeat(60_000) }).to_string();
    assert_eq!(edge.admin("PUT", path, &long).0, 404);
    let (_, lines) = told(&edge);
    for line in &lines {
        let why = line["why"].as_str().unwrap();
        assert!(why.len() < 3_000, "{} bytes", why.len());
        assert!(!why.contains(['\n', '\u{1b}', '\u{202e}']), "{why:?}");
    }
    assert_eq!(lines.len(), 3);
    let admin = format!("http://{}", edge.address("admin"));
    let events = run(meridian().args(["events", "--admin", &admin])).stdout;
    let events = String::from_utf8(events).unwrap();
    let forged = |line: &&str| line.starts_with("2026-11-28T18:50:01Z");
    assert_eq!(events.lines().find(forged), None, "{events}");
    assert!(events.contains("x\\u000a2026-11-28"), "{events}");
}
