//! The HTTP face with real origins and curl: routing, headers, errors, failover, affinity, upgrades.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;

use axum::body::Body;
use axum::response::Response;
use support::{Edge, Origin, free_address, run, wait_until};

/// Two regions as listed, `near` first, with quick checks.
fn yaml(near: &str, far: &str, service: &str) -> String {
    format!(
        "node: {{ name: test-edge }}
listen: {{ dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{near}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{far}'] }}
services:
  api:
    hosts: [api.example.com, '*.apps.example.com']
    steering: {{ policy: priority }}
    health: {{ interval: 500ms, recheck_interval: 50ms, timeout: 400ms }}
{service}
"
    )
}

struct Pair {
    edge: Edge,
    near: Origin,
    far: Origin,
}

fn pair(service: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = Edge::start(&yaml(&near.url(), &far.url(), service));
    Pair { edge, near, far }
}

#[test]
fn a_request_reaches_the_first_region_and_says_so() {
    let pair = pair("");
    let answer = pair.edge.curl("api.example.com", "/hello?x=1", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "near"));
    assert_eq!(answer.header("meridian-region"), "near");
    assert_eq!(answer.header("via"), "1.1 test-edge");
    assert!(answer.header("server-timing").starts_with("edge;dur="));
    assert_eq!(answer.header("x-request-id").len(), 32);
    let seen = &pair.near.seen()[0];
    assert_eq!(seen.uri, "/hello?x=1");
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto"), "https");
    assert!(seen.header("host").starts_with("api.example.com:"));
    assert_eq!(seen.header("x-forwarded-host"), seen.header("host"));
    assert_eq!(seen.header("via"), "2 test-edge");
    assert_eq!(seen.header("x-request-id"), answer.header("x-request-id"));
    assert_eq!(seen.header("traceparent").len(), 55);
}

#[test]
fn a_client_s_word_about_itself_is_not_believed() {
    let pair = pair("");
    let liar = [
        "-H",
        "X-Forwarded-For: 1.2.3.4",
        "-H",
        "Meridian-Region: far",
        "-H",
        "X-Request-Id: mine",
        "-H",
        "X_Forwarded_For: 1.2.3.4",
        "-H",
        "Client_Cert: :AA==:",
    ];
    let answer = pair.edge.curl("api.example.com", "/", &liar);
    let seen = &pair.near.seen()[0];
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    for gone in ["meridian-region", "x_forwarded_for", "client_cert"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(answer.header("x-request-id"), "mine");
}

#[test]
fn both_http_versions_and_wildcard_hosts_are_served() {
    let pair = pair("");
    for version in ["--http1.1", "--http2"] {
        let answer = pair.edge.curl("x.apps.example.com", "/", &[version]);
        assert_eq!(answer.status, 200, "{version}");
    }
}

#[test]
fn an_unknown_host_is_misdirected() {
    let pair = pair("");
    let answer = pair.edge.curl("other.example.com", "/", &[]);
    assert_eq!(answer.status, 421);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(
        answer
            .header("proxy-status")
            .starts_with("\"test-edge\"; error=destination_not_found")
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], 421);
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
}

#[test]
fn plain_http_is_sent_to_https() {
    let pair = pair("");
    let http = pair.edge.address("http");
    let port = pair.edge.address("https").port();
    let url = format!("http://{http}/");
    for (target, path) in [
        ("/a?b=c", "/a?b=c"),
        ("http://api.example.com?b=c", "/?b=c"),
    ] {
        let output = support::run(std::process::Command::new("curl").args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{redirect_url}",
            "-H",
            "Host: api.example.com",
            "--request-target",
            target,
            &url,
        ]));
        let said = String::from_utf8(output.stdout).unwrap();
        let expected = format!("308 https://api.example.com:{port}{path}");
        assert_eq!(said, expected);
    }
}

#[test]
fn a_region_that_cannot_be_connected_is_passed_over_within_the_request() {
    let mut pair = pair("");
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "near");
    pair.near.stop();
    for _ in 0..5 {
        let answer = pair.edge.curl("api.example.com", "/", &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "far"));
    }
    let write = pair.edge.curl("api.example.com", "/", &["-d", "x=1"]);
    assert_eq!((write.status, write.body.as_str()), (200, "far"));
}

#[test]
fn an_unhealthy_region_leaves_http_and_dns_and_comes_back() {
    let pair = pair("");
    let zone = "\nzones: { example.com: { nameservers: { ns1: [127.0.0.1] } } }";
    pair.edge
        .write(&(yaml(&pair.near.url(), &pair.far.url(), "") + zone));
    let answer = || pair.edge.kdig("api.example.com A +short");
    assert!(support::wait_until(|| answer().trim() == "192.0.2.1"));
    pair.near.set_healthy(false);
    assert!(support::wait_until(|| answer().trim() == "192.0.2.2"));
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "far");
    pair.near.set_healthy(true);
    assert!(support::wait_until(|| answer().trim() == "192.0.2.1"));
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "near");
}

#[test]
fn every_region_down_is_a_503_that_says_when_to_come_back() {
    let mut pair = pair(
        "    steering_is_above: x"
            .replace("    steering_is_above: x", "")
            .as_str(),
    );
    pair.near.stop();
    pair.far.stop();
    let all_unhealthy = || {
        let status = pair.edge.admin("GET", "/api/v1/status", "").1;
        let regions = status["regions"].as_array().unwrap();
        regions.iter().all(|region| region["state"] == "unhealthy")
    };
    assert!(support::wait_until(all_unhealthy));
    let answer = pair.edge.curl("api.example.com", "/", &[]);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
}

#[test]
fn an_edge_that_is_its_own_origin_says_so() {
    let own = free_address();
    let edge = Edge::start(&format!(
        "listen: {{ http: ['{own}'], http_mode: serve, admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['http://{own}'] }} }}
services: {{ api: {{ hosts: [api.example.com], health: {{ protocol: tcp }} }} }}
"
    ));
    let resolve = format!("api.example.com:{}:{}", own.port(), own.ip());
    let url = format!("http://api.example.com:{}/", own.port());
    let asked = run(Command::new("curl").args(["-s", "--resolve", &resolve, &url]));
    let said: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(said["type"], "urn:meridian:problem:looping", "{said}");
    assert_eq!(said["status"], 502, "{said}");
    let looping = edge.counted("meridian_http_problems_total", &["problem=\"looping\""]);
    assert_eq!(looping, 1);
}

#[test]
fn clients_are_told_in_brief_that_an_origin_fails_and_not_which() {
    for (errors, is_told) in [("full", true), ("brief", false)] {
        let edge = Edge::start(&format!(
            "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0', errors: {errors} }}
access_log: {{ to: access.log }}
regions: {{ here: {{ origins: ['http://127.0.0.1:1'] }} }}
services: {{ api: {{ hosts: [api.example.com] }} }}
"
        ));
        let answer = edge.curl("api.example.com", "/", &[]);
        let status = answer.header("proxy-status");
        for said in [status, &answer.body] {
            assert_eq!(said.contains("127.0.0.1"), is_told, "{said}");
        }
        assert!(status.contains("error=destination_unavailable"), "{status}");
        let log = edge.folder.path().join("access.log");
        let logged = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(wait_until(|| logged().contains("127.0.0.1:1")));
    }
}

#[test]
fn a_slow_origin_is_a_504() {
    let pair = pair("    timeouts: { first_byte: 200ms }\n    retries: { methods: none }");
    pair.near.set_pause(std::time::Duration::from_millis(350));
    let body = ["-d", "x"];
    let chunked = ["-d", "x", "--http1.1", "-H", "Transfer-Encoding: chunked"];
    for arguments in [&[][..], &body, &chunked] {
        let answer = pair.edge.curl("api.example.com", "/", arguments);
        assert_eq!(answer.status, 504, "{arguments:?}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let pair = pair("    limits: { body: 10, headers: 1KiB }");
    assert_eq!(
        pair.edge
            .curl("api.example.com", "/", &["-d", "0123456789"])
            .status,
        200
    );
    assert_eq!(
        pair.edge
            .curl("api.example.com", "/", &["-d", "0123456789a"])
            .status,
        413
    );
    let chunked = [
        "-H",
        "Transfer-Encoding: chunked",
        "--http1.1",
        "-d",
        "0123456789a",
    ];
    assert_eq!(pair.edge.curl("api.example.com", "/", &chunked).status, 413);
    let long = format!("X-Long: {}", "x".repeat(1024));
    assert_eq!(
        pair.edge
            .curl("api.example.com", "/", &["-H", &long])
            .status,
        431
    );
}

#[test]
fn a_large_body_streams_both_ways() {
    let pair = pair("");
    pair.near
        .set_answer(|seen| Response::new(Body::from(seen.body.clone())));
    let file = pair.edge.folder.path().join("body.bin");
    std::fs::write(&file, vec![b'x'; 5 << 20]).unwrap();
    let upload = format!("@{}", file.display());
    for version in ["--http1.1", "--http2"] {
        let answer = pair
            .edge
            .curl("api.example.com", "/", &[version, "--data-binary", &upload]);
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 5 << 20),
            "{version}"
        );
    }
}

#[test]
fn the_affinity_cookie_keeps_a_client_on_its_region_through_a_drain() {
    let pair = pair("    affinity: { by: cookie, drain: 10m }");
    let first = pair.edge.curl("api.example.com", "/", &[]);
    let set = first.headers("set-cookie")[0];
    for attribute in [
        "Path=/",
        "Max-Age=3600",
        "Secure",
        "HttpOnly",
        "SameSite=Lax",
    ] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = first.cookie("__Host-meridian_region_api");
    assert_eq!(pair.edge.admin("PUT", "/api/v1/drains/near", "").0, 200);
    let kept = pair.edge.curl("api.example.com", "/", &["-b", &cookie]);
    assert_eq!(kept.body, "near");
    assert!(
        !pair
            .near
            .seen()
            .last()
            .unwrap()
            .headers
            .contains_key("cookie")
    );
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "far");
    let forged = cookie.replace("api=", "api=AAAA");
    assert_eq!(
        pair.edge
            .curl("api.example.com", "/", &["-b", &forged])
            .body,
        "far"
    );
    assert_eq!(pair.edge.admin("DELETE", "/api/v1/drains/near", "").0, 200);
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "near");
}

#[test]
fn residency_never_leaves_its_regions() {
    let residency =
        "    residency: { by: { header: X-Jurisdiction }, allow: { us: [far], eu: [near] } }";
    let mut pair = pair(residency);
    let us = ["-H", "X-Jurisdiction: us"];
    assert_eq!(pair.edge.curl("api.example.com", "/", &us).body, "far");
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "near");
    let beside = ["-H", "X-Jurisdiction: ch", "-H", "X-Jurisdiction: us"];
    assert_eq!(pair.edge.curl("api.example.com", "/", &beside).body, "far");
    for both in [
        &["-H", "X-Jurisdiction: eu, US"][..],
        &["-H", "X-Jurisdiction: eu", "-H", "X-Jurisdiction: us"],
    ] {
        let answer = pair.edge.curl("api.example.com", "/", both);
        assert_eq!(answer.status, 503, "{both:?}: {}", answer.head);
    }
    pair.far.stop();
    let answer = pair.edge.curl("api.example.com", "/", &us);
    assert!(
        answer.status == 502 || answer.status == 503,
        "{}",
        answer.head
    );
}

#[test]
fn writes_go_to_the_primary_and_reads_to_the_nearest() {
    let pair = pair("    writes: { to: { primary: far } }");
    assert_eq!(
        pair.edge.curl("api.example.com", "/", &["-d", "x"]).body,
        "far"
    );
    assert_eq!(pair.edge.curl("api.example.com", "/", &[]).body, "near");
}
