//! What real traffic shows of origins, and what HTTP, DNS, status, events and explain make of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use support::{Edge, Origin, connect, raw_origin, read_head, say, wait_until};

const HOST: &str = "api.example.com";

/// Two regions as listed, `near` first, whose checks pass whatever traffic shows.
fn yaml(near: &str, far: &str, health: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ addresses: [192.0.2.1], origins: ['{near}'] }}
  far: {{ addresses: [192.0.2.2], origins: ['{far}'] }}
services:
  api:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    health: {{ interval: 300ms, {health} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
"
    )
}

struct Pair {
    edge: Edge,
    near: Origin,
    far: Origin,
}

fn pair(passive: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = Edge::start(&yaml(
        &near.url(),
        &far.url(),
        &format!("passive: {passive}"),
    ));
    Pair { edge, near, far }
}

fn answer(status: u16, header: &str, value: &str) -> Response<Body> {
    let builder = Response::builder().status(status).header(header, value);
    builder.body(Body::from("own")).unwrap()
}

impl Pair {
    fn body(&self) -> String {
        self.edge.curl(HOST, "/", &[]).body
    }

    fn dns(&self) -> String {
        self.edge.kdig("api.example.com A +short").trim().to_owned()
    }

    fn ejected(&self) -> serde_json::Value {
        let (_, status) = self.edge.admin("GET", "/api/v1/status", "");
        status["regions"][0]["services"][0]["origins"][0]["ejected"].clone()
    }

    /// Asks until the far region answers.
    #[track_caller]
    fn until_far(&self) {
        assert!(wait_until(|| self.body() == "far"));
        assert_eq!(self.dns(), "192.0.2.2");
    }
}

#[test]
fn a_region_whose_answers_fail_is_left_by_http_and_dns_and_comes_back() {
    let pair = pair("{ consecutive_failures: 3, ejection: 2s }");
    pair.near.set_answer(|_| answer(500, "x-own", "yes"));
    for _ in 0..3 {
        assert_eq!(pair.edge.curl(HOST, "/", &[]).status, 500);
    }
    pair.until_far();
    let ejected = pair.ejected();
    assert_eq!(ejected["cause"], "consecutive_failures");
    let (_, status) = pair.edge.admin("GET", "/api/v1/status", "");
    let service = &status["regions"][0]["services"][0];
    let told = (&service["state"], &service["health"]);
    assert_eq!(told, (&"unhealthy".into(), &"ejected".into()));
    assert_eq!(ejected["detail"], "3 requests in a row failed");
    let explain = "/api/v1/explain?name=api.example.com&client=127.0.0.1";
    let (_, explained) = pair.edge.admin("GET", explain, "");
    assert!(
        explained
            .to_string()
            .contains("ejected for what its traffic showed")
    );
    assert_eq!(
        pair.edge
            .counted("meridian_ejections_total", &["region=\"near\""]),
        1
    );
    pair.near.set_answer(|_| answer(200, "x-own", "yes"));
    assert!(wait_until(|| pair.body() == "own"));
    assert!(wait_until(|| pair.dns() == "192.0.2.1"));
    assert!(pair.ejected().is_null());
    let said = pair.edge.process.said();
    for told in ["is ejected for", "region near is ejected", "is let back in"] {
        assert!(said.contains(told), "{told} in\n{said}");
    }
}

#[test]
fn an_origin_that_cannot_be_connected_is_left_though_its_checks_pass() {
    let far = Origin::start("far");
    let health = format!(
        "protocol: http, port: {}, passive: {{ consecutive_failures: 3 }}",
        far.address.port()
    );
    let edge = Edge::start(&yaml("http://127.0.0.1:1", &far.url(), &health));
    let dns = || edge.kdig("api.example.com A +short").trim().to_owned();
    assert_eq!(dns(), "192.0.2.1");
    for _ in 0..3 {
        // No client sees it, since what was never sent moves on.
        assert_eq!(edge.curl(HOST, "/", &[]).body, "far");
    }
    assert!(wait_until(|| dns() == "192.0.2.2"));
}

#[test]
fn a_success_rate_below_its_share_is_enough() {
    let pair = pair("{ consecutive_failures: 0, min_requests: 10, success_rate: 80% }");
    let count = std::sync::atomic::AtomicU32::new(0);
    pair.near.set_answer(move |_| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        answer(
            if count.is_multiple_of(2) { 500 } else { 200 },
            "x-own",
            "yes",
        )
    });
    pair.until_far();
    assert!(pair.near.seen().len() >= 10);
    assert_eq!(pair.ejected()["cause"], "success_rate");
}

#[test]
fn a_503_with_retry_after_is_obeyed_at_once() {
    let pair = pair("{ consecutive_failures: 100 }");
    pair.near.set_answer(|_| answer(503, "retry-after", "60"));
    assert_eq!(pair.edge.curl(HOST, "/", &[]).status, 503);
    pair.until_far();
    assert_eq!(pair.ejected()["cause"], "retry_after");
}

#[test]
fn an_origin_that_asks_to_be_drained_is_left_at_once_and_clients_do_not_see_it() {
    let pair = pair("{}");
    pair.near
        .set_answer(|_| answer(200, "meridian-drain", "60s"));
    let first = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(first.status, 200);
    assert!(first.headers("meridian-drain").is_empty());
    pair.until_far();
    assert_eq!(pair.ejected()["cause"], "drain");
}

#[test]
fn what_clients_do_wrong_is_not_an_origin_s_fault() {
    let pair = pair("{ consecutive_failures: 3, min_requests: 3 }");
    pair.near.set_answer(|_| answer(404, "x-own", "yes"));
    for _ in 0..6 {
        assert_eq!(pair.edge.curl(HOST, "/", &[]).status, 404);
    }
    pair.near.set_pause(Duration::from_secs(1));
    let https = pair.edge.address("https");
    for _ in 0..6 {
        let mut client = std::process::Command::new("curl");
        let url = format!("https://{HOST}:{}/", https.port());
        let resolve = format!("{HOST}:{}:{}", https.port(), https.ip());
        client.args(["-sk", "--max-time", "0.2", "--resolve", &resolve, &url]);
        assert!(!client.status().unwrap().success(), "it gives up");
    }
    pair.near.set_pause(Duration::ZERO);
    assert_eq!(pair.edge.curl(HOST, "/", &[]).status, 404);
    assert!(pair.ejected().is_null());
    assert_eq!(pair.dns(), "192.0.2.1");
}

#[test]
fn an_origin_that_uses_up_a_request_s_whole_time_fails() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let timeouts = "steering: { policy: priority }\n    timeouts: { request: 200ms }";
    let yaml = yaml(
        &near.url(),
        &far.url(),
        "passive: { consecutive_failures: 3 }",
    );
    let edge = Edge::start(&yaml.replace("steering: { policy: priority }", timeouts));
    near.set_pause(Duration::from_secs(3));
    for _ in 0..3 {
        assert_eq!(edge.curl(HOST, "/", &[]).status, 504);
    }
    assert!(wait_until(|| edge.curl(HOST, "/", &[]).body == "far"));
}

#[test]
fn a_call_whose_messages_pause_ejects_nobody() {
    for timeouts in ["idle: 0s, first_byte: 1s", "request: 1s"] {
        let (near, far) = (Origin::start("near"), Origin::start("far"));
        let timeouts = format!("steering: {{ policy: priority }}\n    timeouts: {{ {timeouts} }}");
        let yaml = yaml(
            &near.url(),
            &far.url(),
            "passive: { consecutive_failures: 1 }",
        );
        let edge = Edge::start(&yaml.replace("steering: { policy: priority }", &timeouts));
        let call = format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        );
        for _ in 0..3 {
            let mut client = connect(edge.address("http"));
            say(&mut client, &call);
            let head = read_head(&mut client);
            assert!(head.contains(" 408 ") || head.contains(" 504 "), "{head}");
        }
        for _ in 0..20 {
            assert_eq!(edge.curl(HOST, "/", &[]).body, "near");
        }
    }
}

#[test]
fn clients_that_use_up_a_request_s_whole_time_for_their_body_eject_nobody() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let timeouts = "steering: { policy: priority }\n    timeouts: { request: 400ms }";
    let yaml = yaml(
        &near.url(),
        &far.url(),
        "passive: { consecutive_failures: 1 }",
    );
    let edge = Edge::start(&yaml.replace("steering: { policy: priority }", timeouts));
    let post = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 8\r\n\r\nx");
    for _ in 0..3 {
        let mut client = connect(edge.address("http"));
        say(&mut client, &post);
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    }
    for _ in 0..20 {
        assert_eq!(edge.curl(HOST, "/", &[]).body, "near");
    }
    near.set_pause(Duration::from_secs(3));
    assert_eq!(edge.curl(HOST, "/", &[]).status, 504);
    assert!(wait_until(|| edge.curl(HOST, "/", &[]).body == "far"));
}

/// An origin that says `near`, but of `/large` so much that it gives up when nobody takes it; says when it has.
fn impatient() -> (SocketAddr, Receiver<()>) {
    let (gave_up, has_given_up) = channel();
    let address = raw_origin(move |mut stream, head| {
        if !head.contains(" /large ") {
            let near = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnear";
            return say(&mut stream, near);
        }
        let patience = Some(Duration::from_millis(1_500));
        stream.get_ref().set_write_timeout(patience).unwrap();
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
        );
        let mut left = if head.contains("x-short") { 1 } else { 100_000 };
        while left > 0 && stream.get_mut().write_all(&[b'x'; 10_000]).is_ok() {
            left -= 1;
        }
        let _ = gave_up.send(());
    });
    (address, has_given_up)
}

#[test]
fn an_origin_that_gives_up_a_client_that_does_not_read_is_not_at_fault_and_one_that_breaks_off_is()
{
    let (near, has_given_up) = impatient();
    let far = Origin::start("far");
    let passive = "passive: { consecutive_failures: 1 }";
    let edge = Edge::start(&yaml(&format!("http://{near}"), &far.url(), passive));
    let ask = |fields: &str| {
        let mut client = connect(edge.address("http"));
        let get = format!("GET /large HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        say(&mut client, &get);
        client
    };
    let drain = |mut client: BufReader<TcpStream>| {
        let read = std::io::copy(&mut client, &mut std::io::sink()).unwrap();
        assert!(read > 10_000, "{read}");
    };
    let unread = ask("");
    has_given_up.recv_timeout(Duration::from_secs(15)).unwrap();
    drain(unread);
    for _ in 0..20 {
        assert_eq!(edge.curl(HOST, "/", &[]).body, "near");
    }
    drain(ask("X-Short: 1\r\n"));
    assert!(wait_until(|| edge.curl(HOST, "/", &[]).body == "far"));
}

#[test]
fn the_last_region_is_never_ejected() {
    let pair = pair("{ consecutive_failures: 3 }");
    for origin in [&pair.near, &pair.far] {
        origin.set_answer(|_| answer(500, "x-own", "yes"));
    }
    for _ in 0..20 {
        assert_eq!(pair.edge.curl(HOST, "/", &[]).status, 500);
    }
    let spared = || {
        pair.edge
            .counted("meridian_ejections_spared_total", &["rule=\"last_region\""])
    };
    assert!(wait_until(|| spared() == 1));
    assert_eq!(pair.dns(), "192.0.2.2");
}

#[test]
fn with_passive_off_an_origin_fails_as_often_as_it_likes() {
    let pair = pair("off");
    pair.near.set_answer(|_| answer(503, "retry-after", "60"));
    for _ in 0..20 {
        assert_eq!(pair.edge.curl(HOST, "/", &[]).status, 503);
    }
    assert_eq!(pair.dns(), "192.0.2.1");
    assert!(pair.far.seen().is_empty());
}

#[test]
fn an_ejection_survives_a_restart() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let state = tempfile::tempdir().unwrap();
    let yaml = format!(
        "node: {{ state_dir: {} }}\n{}",
        state.path().display(),
        yaml(&near.url(), &far.url(), "passive: {}")
    );
    let mut first = Edge::start(&yaml);
    near.set_answer(|_| answer(503, "retry-after", "60"));
    assert_eq!(first.curl(HOST, "/", &[]).status, 503);
    assert!(wait_until(|| first.curl(HOST, "/", &[]).body == "far"));
    first.process.signal("TERM");
    assert_eq!(first.process.wait(), 0);
    let asked = near.seen().len();
    let second = Edge::start(&yaml);
    assert_eq!(second.kdig("api.example.com A +short").trim(), "192.0.2.2");
    assert_eq!(second.curl(HOST, "/", &[]).body, "far");
    assert_eq!(near.seen().len(), asked);
    let (_, status) = second.admin("GET", "/api/v1/status", "");
    let ejected = &status["regions"][0]["services"][0]["origins"][0]["ejected"];
    assert_eq!(ejected["cause"], "retry_after");
}
