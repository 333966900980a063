//! Health checks as origins see them, and what they make of the answers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::{Edge, wait_until, wire};

fn yaml(region: &str, health: &str) -> String {
    format!(
        "listen: {{ admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ {region} }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 200ms, recheck_interval: 50ms, {health} }} }} }}
"
    )
}

/// An origin that answers every check alike, and the heads of the checks.
fn origin(answer: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    let address = wire(move |mut stream, head| {
        seen.lock().unwrap().push(head);
        let _ = stream.get_mut().write_all(answer.as_bytes());
    });
    (address, heads)
}

fn response(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// The region's state once it is known, and why.
fn state(edge: &Edge) -> (String, String) {
    let state = || edge.admin("GET", "/api/v1/status", "").1["regions"][0].clone();
    assert!(wait_until(|| state()["state"] != "unknown"));
    let region = state();
    let detail = &region["services"][0]["origins"][0]["last_check"]["detail"];
    (
        region["state"].as_str().unwrap().to_owned(),
        detail.as_str().unwrap().to_owned(),
    )
}

#[track_caller]
fn check(answer: &str, health: &str, expected: &str, why: &str) {
    let (address, _) = origin(answer.to_owned());
    let edge = Edge::start(&yaml(&format!("origins: ['http://{address}']"), health));
    let (state, detail) = state(&edge);
    assert_eq!(state, expected, "{detail}");
    assert!(detail.contains(why), "{detail}");
}

#[test]
fn the_status_must_lie_in_the_ranges() {
    let (ok, moved, gone) = (response(200, ""), response(302, ""), response(503, ""));
    check(&ok, "", "healthy", "ok");
    check(&moved, "", "healthy", "ok");
    check(&gone, "", "unhealthy", "503");
    check(&moved, "expect: { status: [200-299] }", "unhealthy", "302");
    check(&gone, "expect: { status: [200, 500-599] }", "healthy", "ok");
}

#[test]
fn the_body_must_hold_the_text_within_its_first_5120_bytes() {
    let expect = "expect: { body: fine }";
    let body = |before: usize| response(200, &format!("{}fine", "x".repeat(before)));
    check(&body(0), expect, "healthy", "ok");
    check(&body(5_116), expect, "healthy", "ok");
    check(
        &body(5_117),
        expect,
        "unhealthy",
        "not in the first 5120 bytes",
    );
    check(
        &response(200, "all is well"),
        expect,
        "unhealthy",
        "not in the first 5120 bytes",
    );
}

#[test]
fn a_body_without_end_passes_once_the_text_has_come_and_its_connection_is_dropped() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = dropped.clone();
    let address = wire(move |mut stream, _| {
        let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nall fine\r\n";
        let _ = stream.get_mut().write_all(begun.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let health = "timeout: 1h, expect: { body: fine }";
    let edge = Edge::start(&yaml(&format!("origins: ['http://{address}']"), health));
    assert_eq!(state(&edge), ("healthy".to_owned(), "ok".to_owned()));
    assert!(wait_until(|| dropped.load(Ordering::SeqCst) > 0));
}

#[test]
fn a_check_asks_as_it_is_told() {
    let (address, heads) = origin(response(200, "ok"));
    let elsewhere = "origins: ['http://127.0.0.1:9'], addresses: [192.0.2.1]";
    let health = format!(
        "port: {}, path: '/ready?deep=1', method: HEAD, host: api.internal",
        address.port()
    );
    let edge = Edge::start(&yaml(elsewhere, &health));
    assert_eq!(state(&edge).0, "healthy");
    let head = heads.lock().unwrap()[0].clone();
    assert!(
        head.starts_with("HEAD /ready?deep=1 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_ascii_lowercase()
            .contains("\r\nhost: api.internal\r\n"),
        "{head}"
    );
}

#[test]
fn without_origins_the_addresses_are_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let edge = Edge::start(&yaml("addresses: [127.0.0.1]", &format!("port: {port}")));
    assert_eq!(state(&edge).0, "healthy");
    drop(listener);
    assert!(wait_until(|| state(&edge).0 == "unhealthy"));
    assert!(state(&edge).1.contains("Connection refused"));
}

#[test]
fn what_is_no_answer_fails_with_its_reason() {
    check("", "", "unhealthy", "");
    check("nonsense\r\n\r\n", "", "unhealthy", "");
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "expect: { body: x }",
        "unhealthy",
        "",
    );
    let silent = wire(|stream, _| {
        std::thread::park_timeout(std::time::Duration::from_secs(20));
        drop(stream);
    });
    let edge = Edge::start(&yaml(
        &format!("origins: ['http://{silent}']"),
        "timeout: 200ms",
    ));
    let (state, detail) = state(&edge);
    assert_eq!(state, "unhealthy");
    assert!(detail.contains("200ms"), "{detail}");
}

#[test]
fn a_region_is_healthy_with_enough_of_its_origins() {
    let (good, _) = origin(response(200, ""));
    let (bad, _) = origin(response(500, ""));
    for (min_healthy, expected) in [(1, "healthy"), (2, "unhealthy")] {
        let origins = format!("origins: ['http://{good}', 'http://{bad}']");
        let edge = Edge::start(&yaml(&origins, &format!("min_healthy: {min_healthy}")));
        let state = || {
            let (_, status) = edge.admin("GET", "/api/v1/status", "");
            let origins = &status["regions"][0]["services"][0]["origins"];
            let known = [&origins[0]["state"], &origins[1]["state"]];
            (known[0] == "healthy" && known[1] == "unhealthy")
                .then(|| status["regions"][0]["state"].as_str().unwrap().to_owned())
        };
        assert!(wait_until(|| state().is_some()));
        let state = state().unwrap();
        assert!(
            state == expected || (expected == "healthy" && state == "degraded"),
            "{state}"
        );
    }
}
