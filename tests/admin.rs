//! The admin API as scripts and dashboards use it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Edge, Origin, meridian, run, wait_until};

fn yaml(near: &str, far: &str, more: &str) -> String {
    format!(
        "node: {{ name: fra-1, location: [50.11, 8.68] }}
listen: {{ dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], jurisdiction: eu, addresses: [192.0.2.1], origins: ['{near}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{far}'] }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    health: {{ interval: 300ms, recheck_interval: 100ms }}
    consistency: {{ read_your_writes: true }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
{more}
"
    )
}

struct Pair {
    edge: Edge,
    near: Origin,
    _far: Origin,
}

fn pair(more: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = Edge::start(&yaml(&near.url(), &far.url(), more));
    let pair = Pair {
        edge,
        near,
        _far: far,
    };
    assert!(wait_until(
        || pair.state(0) == "healthy" && pair.state(1) == "healthy"
    ));
    pair
}

impl Pair {
    fn get(&self, path: &str) -> (u16, Value) {
        self.edge.admin("GET", path, "")
    }

    fn state(&self, region: usize) -> String {
        let status = self.get("/api/v1/status").1;
        status["regions"][region]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Runs a subcommand against the edge; its exit status and all that it said.
    fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let url = format!("http://{}", self.edge.address("admin"));
        let output = meridian()
            .args(words)
            .args(["--admin", &url])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}

#[test]
fn status_has_the_shape_that_scripts_rely_on() {
    let pair = pair("");
    let (code, status) = pair.get("/api/v1/status");
    assert_eq!(code, 200);
    assert_eq!(
        (
            &status["node"],
            &status["ready"],
            &status["config"]["generation"]
        ),
        (&json!("fra-1"), &json!(true), &json!(1))
    );
    assert!(status["config"]["error"].is_null() && status["config"]["loaded_at"].is_string());
    let region = &status["regions"][0];
    assert_eq!(
        (&region["name"], &region["state"], &region["location"]),
        (&json!("near"), &json!("healthy"), &json!([50.0, 8.0]))
    );
    assert!(region["rtt_ms"].as_f64().unwrap() >= 0.0);
    let service = &region["services"][0];
    assert_eq!(
        (&service["name"], &service["state"]),
        (&json!("www"), &json!("healthy"))
    );
    assert!(service["since"].is_string() && service["applied"].is_object());
    let origin = &service["origins"][0];
    assert_eq!(origin["url"], pair.near.url());
    let check = &origin["last_check"];
    assert!(check["at"].is_string() && check["detail"].is_string());
    assert!(check["ok"] == true && check["latency_ms"].as_f64().unwrap() > 0.0);
    for phase in ["connect", "tls", "first_byte"] {
        assert!(check["phases_ms"][phase].is_number(), "{check}");
    }
}

#[test]
fn a_drain_moves_traffic_and_undoing_it_brings_it_back() {
    let pair = pair("");
    let steered = || pair.edge.kdig("www.example.com A +short").trim().to_owned();
    assert_eq!(steered(), "192.0.2.1");
    let body = "{\"for\":\"30m\",\"reason\":\"new disks\"}";
    let (code, drain) = pair.edge.admin("PUT", "/api/v1/drains/near", body);
    assert_eq!((code, &drain["region"]), (200, &json!("near")));
    assert!(drain["until"].is_string());
    assert_eq!(steered(), "192.0.2.2");
    let status = pair.get("/api/v1/status").1;
    assert_eq!(status["drains"][0]["reason"], "new disks");
    assert_eq!(pair.state(0), "draining");
    assert_eq!(pair.edge.admin("DELETE", "/api/v1/drains/near", "").0, 200);
    assert_eq!(steered(), "192.0.2.1");
    assert_eq!(pair.edge.admin("DELETE", "/api/v1/drains/near", "").0, 404);
}

#[test]
fn a_drain_ends_by_itself_when_its_time_is_over() {
    let pair = pair("");
    let drain = |lasts: &str| {
        let body = format!("{{\"for\":\"{lasts}\"}}");
        pair.edge.admin("PUT", "/api/v1/drains/near", &body).0
    };
    assert_eq!(drain("soon"), 400);
    assert_eq!(drain("200ms"), 200);
    assert!(wait_until(|| pair.state(0) == "healthy"));
    let said = pair.command(&["events"]).1;
    assert!(said.contains("the drain of region near is over"), "{said}");
}

#[test]
fn a_drain_that_would_leave_too_little_is_refused_unless_forced() {
    let pair = pair("");
    assert_eq!(
        pair.command(&["drain", "far", "--reason", "upgrade"]).0,
        Some(0)
    );
    let (code, refused) = pair.edge.admin("PUT", "/api/v1/drains/near", "");
    assert_eq!(code, 409);
    assert_eq!(
        (
            &refused["service"],
            &refused["left"],
            &refused["min_regions"]
        ),
        (&json!("www"), &json!([]), &json!(1))
    );
    let (code, said) = pair.command(&["drain", "near"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("www"), "{said}");
    let (code, _) = pair
        .edge
        .admin("PUT", "/api/v1/drains/near", "{\"force\":true}");
    assert_eq!(code, 200);
    assert_eq!(pair.command(&["undrain", "near"]).0, Some(0));
    assert_eq!(pair.command(&["undrain", "mars"]).0, Some(1));
    // Two were refused by the guard: each is told once, with who asked.
    let (_, events) = pair.command(&["events"]);
    let refused = events
        .lines()
        .filter(|line| line.contains("guards.min_regions is 1"));
    assert_eq!(refused.count(), 2, "{events}");
}

#[test]
fn nonsense_is_refused_with_a_word_of_why() {
    let pair = pair("");
    for (method, path, body, expected) in [
        ("PUT", "/api/v1/drains/mars", "", 404),
        ("PUT", "/api/v1/drains/near", "{\"service\":\"none\"}", 404),
        ("PUT", "/api/v1/drains/near", "{\"until\":\"now\"}", 400),
        ("PUT", "/api/v1/drains/near", "{", 400),
        ("PUT", "/api/v1/positions/mars", "{\"applied\":{}}", 404),
        ("PUT", "/api/v1/positions/near", "{}", 400),
        ("PUT", "/api/v1/positions/near", "{\"applied\":{}}", 400),
        ("POST", "/api/v1/nothing", "", 404),
        ("GET", "/nothing", "", 404),
    ] {
        let (code, told) = pair.edge.admin(method, path, body);
        assert_eq!(code, expected, "{method} {path} {body}: {told}");
        assert!(
            !told["error"].as_str().unwrap().is_empty(),
            "{method} {path} {body}"
        );
    }
}

#[test]
fn another_method_is_told_those_that_a_path_takes() {
    let pair = pair("");
    for (method, path, methods) in [
        ("POST", "/api/v1/status", "GET, HEAD"),
        ("GET", "/api/v1/drains/near", "PUT, DELETE"),
        ("DELETE", "/api/v1/reload", "POST"),
    ] {
        let (code, told) = pair.edge.admin(method, path, "");
        assert_eq!(code, 405, "{method} {path}: {told}");
        let why = format!("this path takes {methods} alone");
        assert_eq!(told["error"], *why, "{method} {path}");
        let url = format!("http://{}{path}", pair.edge.address("admin"));
        let head = run(Command::new("curl").args(["-s", "-i", "-X", method, &url]));
        let head = String::from_utf8(head.stdout).unwrap();
        let allow = format!("allow: {methods}\r\n").to_lowercase();
        assert!(head.to_lowercase().contains(&allow), "{head}");
    }
}

#[test]
fn a_reason_is_a_line_of_500_characters_and_no_more() {
    let pair = pair("");
    for path in ["/api/v1/drains/near", "/api/v1/forced/near"] {
        for (reason, expected) in [
            ("ü".repeat(500), 200),
            ("ü".repeat(501), 400),
            ("red: \u{1b}[31m".to_owned(), 400),
            ("one line\nand a forged one".to_owned(), 400),
        ] {
            let body = serde_json::json!({ "reason": reason, "state": "up", "force": true });
            let mut body = body.as_object().unwrap().clone();
            if path.contains("drains") {
                body.remove("state");
            }
            let body = serde_json::to_string(&body).unwrap();
            let (code, told) = pair.edge.admin("PUT", path, &body);
            assert_eq!(code, expected, "{path}: {told}");
            let is_told = told["error"]
                .as_str()
                .is_some_and(|error| error.contains("at most 500"));
            assert_eq!(is_told, expected == 400, "{told}");
        }
    }
}

#[test]
fn with_a_token_only_its_bearer_changes_anything() {
    let pair = pair("admin: { token: correct-horse-battery }");
    assert_eq!(pair.get("/api/v1/status").0, 200);
    assert_eq!(pair.edge.admin("PUT", "/api/v1/drains/near", "").0, 401);
    let with = |token: &str| {
        let url = format!("http://{}/api/v1/drains/near", pair.edge.address("admin"));
        let header = format!("Authorization: Bearer {token}");
        let arguments = [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "PUT",
            "-H",
            &header,
            &url,
        ];
        String::from_utf8(run(std::process::Command::new("curl").args(arguments)).stdout).unwrap()
    };
    assert_eq!(with("wrong"), "401");
    assert_eq!(with("correct-horse-battery"), "200");
    assert_eq!(pair.command(&["undrain", "near"]).0, Some(1));
    let words = ["undrain", "near", "--admin-token", "correct-horse-battery"];
    assert_eq!(pair.command(&words).0, Some(0));
}

#[test]
fn a_page_of_another_site_cannot_change_anything() {
    let pair = pair("");
    let url = format!("http://{}/api/v1/reload", pair.edge.address("admin"));
    let arguments = [
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-X",
        "POST",
        "-H",
        "Origin: https://evil.example",
        &url,
    ];
    let output = run(std::process::Command::new("curl").args(arguments));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "403");
}

#[test]
fn events_are_streamed_and_replayed_after_an_id() {
    let pair = pair("");
    pair.near.set_healthy(false);
    assert!(wait_until(|| pair.state(0) == "unhealthy"));
    let stream = |query: &str, more: &[&str]| {
        let url = format!("http://{}/api/v1/events{query}", pair.edge.address("admin"));
        let output = std::process::Command::new("curl")
            .args(["-sN", "--max-time", "1", &url])
            .args(more)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let ids = |text: &str| -> Vec<u64> {
        text.lines()
            .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
            .collect()
    };
    let all = stream("?since=0", &[]);
    let known = ids(&all);
    assert!(known.is_sorted() && known.len() >= 4, "{all}");
    assert!(all.contains("event: health\n"), "{all}");
    assert!(
        all.contains("region near is unhealthy for service www, was healthy"),
        "{all}"
    );
    let middle = known[known.len() / 2];
    assert!(
        ids(&stream(&format!("?since={middle}"), &[]))
            .iter()
            .all(|id| *id > middle)
    );
    // As a browser asks when it comes back.
    let header = format!("Last-Event-ID: {middle}");
    assert!(
        ids(&stream("", &["-H", &header]))
            .iter()
            .all(|id| *id > middle)
    );
}

#[test]
fn metrics_are_prometheus_text_with_names_of_our_own() {
    let pair = pair("");
    pair.edge.curl("www.example.com", "/", &[]);
    pair.edge.kdig("www.example.com A +short");
    let metrics = pair.get("/metrics").1;
    let text = metrics.as_str().unwrap();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let name = line
            .trim_start_matches("# TYPE ")
            .trim_start_matches("# HELP ");
        assert!(name.starts_with("meridian_"), "{line}");
    }
    for expected in [
        "meridian_http_responses_total{service=\"www\",region=\"near\",class=\"2xx\"} 1",
        "meridian_dns_queries_total{transport=\"udp\"} 1",
        "meridian_region_healthy{service=\"www\",region=\"near\"} 1",
        "meridian_config_generation 1",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn the_page_and_all_it_loads_are_served_from_here() {
    let pair = pair("");
    let page = pair.get("/").1;
    let page = page.as_str().unwrap();
    assert!(page.contains("<title>") && page.contains("dashboard.js"));
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing from elsewhere"
    );
    for path in [
        "/dashboard.js",
        "/dashboard.css",
        "/dashboard/map.js",
        "/dashboard/world.json",
        "/healthz",
        "/readyz",
    ] {
        assert_eq!(pair.get(path).0, 200, "{path}");
    }
}

#[test]
fn while_it_drains_it_is_alive_and_not_ready() {
    let mut pair = pair("");
    let pause = std::time::Duration::from_secs(2);
    pair.near.set_pause(pause);
    let admin = pair.edge.address("admin");
    std::thread::scope(|scope| {
        let request = scope.spawn(|| pair.edge.curl("www.example.com", "/", &[]));
        assert!(wait_until(|| pair.near.is_asked()));
        pair.edge.process.signal("TERM");
        let ready = || support::admin(admin, "GET", "/readyz", "").0;
        assert!(wait_until(|| ready() == 503));
        assert_eq!(support::admin(admin, "GET", "/healthz", "").0, 200);
        assert_eq!(
            request.join().unwrap().status,
            200,
            "what was in flight is finished"
        );
    });
    assert_eq!(pair.edge.process.wait(), 0);
}

#[test]
fn the_log_warns_of_a_region_that_turns_unhealthy_and_notes_that_it_is_back() {
    let pair = pair("");
    let said = |level: &str, what: &str| {
        let log = pair.edge.process.said();
        log.lines()
            .any(|line| line.contains(level) && line.contains(what))
    };
    pair.near.set_healthy(false);
    assert!(wait_until(|| said(
        " WARN ",
        "region near is unhealthy for service www"
    )));
    pair.near.set_healthy(true);
    assert!(wait_until(|| said(
        " INFO ",
        "region near is healthy for service www, was unhealthy"
    )));
}
