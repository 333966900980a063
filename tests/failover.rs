//! How a request moves from region to region before its client sees a failure, and when it does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use support::near_and_far::{HOST, edge, post, seen};
use support::{Edge, Origin, raw_origin, wait_until, wire};

/// An origin that reads a request's head and breaks off, and how many requests it has read.
fn broken() -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let address = wire(move |stream, head| {
        counted.fetch_add(u32::from(!head.is_empty()), Ordering::SeqCst);
        drop(stream);
    });
    (format!("http://{address}"), asked)
}

/// An origin that the first request kills, and how many of them are dead.
fn killable(killed: &Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, killed) = (listener.local_addr().unwrap(), killed.clone());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        drop(listener);
        killed.fetch_add(1, Ordering::SeqCst);
    });
    format!("http://{address}")
}

/// An origin that closes what is opened to it before TLS is agreed on, so that nothing is ever sent.
fn closing(opened: &Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, opened) = (listener.local_addr().unwrap(), opened.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            opened.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    format!("https://{address}")
}

#[test]
fn what_is_never_sent_moves_on_whatever_its_method() {
    let far = Origin::start("far");
    let (no_tls, _) = broken();
    let closed = "http://127.0.0.1:1".to_owned();
    for near in [closed, no_tls.replace("http", "https")] {
        let edge = edge(&near, &far, "retries: { methods: none, attempts: 0 }");
        let answer = edge.curl(HOST, "/", &["-d", "x=1"]);
        assert_eq!(seen(&answer), (200, "far"), "{near}");
        assert_eq!(far.seen().last().unwrap().body, "x=1");
    }
}

/// Puts a body of so many bytes to an origin that breaks off, with a buffer of 1 KiB.
fn put(methods: &str, length: usize) -> (u16, Vec<usize>) {
    let far = Origin::start("far");
    let (near, asked) = broken();
    let retries = format!("retries: {{ methods: {methods}, buffer: 1KiB }}");
    let edge = edge(&near, &far, &retries);
    let body = "x".repeat(length);
    // curl (7.88) can miss the end of an answer over HTTP/2 that comes before its content was sent.
    let answer = edge.curl(HOST, "/", &["--http1.1", "-X", "PUT", "-d", &body]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let lengths = far.seen().iter().map(|seen| seen.body.len()).collect();
    (answer.status, lengths)
}

#[test]
fn a_put_is_sent_again_with_its_body_up_to_the_buffer_and_never_if_only_safe_ones_are() {
    assert_eq!(put("idempotent", 1_024), (200, vec![1_024]));
    assert_eq!(put("idempotent", 1_025), (502, vec![]));
    assert_eq!(put("safe", 1), (502, vec![]));
}

#[test]
fn without_attempts_the_first_error_is_the_client_s() {
    let far = Origin::start("far");
    let (near, _) = broken();
    let edge = edge(&near, &far, "retries: { attempts: 0 }");
    let answer = edge.curl(HOST, "/", &[]);
    assert_eq!(answer.status, 502);
    let status = answer.header("proxy-status");
    assert!(
        status.contains("error=http_response_incomplete"),
        "{status}"
    );
    assert!(status.contains(&near), "{status}");
    assert!(far.seen().is_empty());
}

/// Both regions with answers of their own.
struct Pair {
    edge: Edge,
    near: Origin,
    far: Origin,
}

fn pair(service: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = edge(&near.url(), &far, service);
    Pair { edge, near, far }
}

fn busy(origin: &Origin, name: &'static str, status: u16) {
    origin.set_answer(move |_| {
        let builder = Response::builder().status(status);
        builder.body(Body::from(name)).unwrap()
    });
}

#[test]
fn an_answer_that_on_status_names_is_bettered_by_another_region() {
    let pair = pair("retries: { on_status: [502-504] }");
    busy(&pair.near, "near is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "far"));
    // What came before the first second is no rate.
    assert!(wait_until(|| {
        assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "far"));
        let traffic = pair.edge.admin("GET", "/api/v1/traffic", "").1;
        let rate = traffic["regions"][0]["errors_per_s"].as_f64();
        rate.is_some_and(|rate| rate > 0.0)
    }));
    let write = post(&pair.edge);
    assert_eq!(seen(&write), (503, "near is busy"));
    assert!(pair.far.seen().iter().all(|seen| seen.method == "GET"));
    busy(&pair.near, "near fails", 500);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (500, "near fails"));
}

#[test]
fn when_no_region_answers_better_the_last_real_answer_is_the_client_s() {
    let mut pair = pair("retries: { on_status: [503] }");
    busy(&pair.near, "near is busy", 503);
    busy(&pair.far, "far is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (503, "far is busy"));
    pair.far.stop();
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(seen(&answer), (503, "near is busy"));
    assert_eq!(answer.header("meridian-region"), "near");
    let status = answer.header("proxy-status");
    assert!(
        status.starts_with("\"test-edge\"; received-status=503; details="),
        "{status}"
    );
    assert!(status.contains("refused"), "{status}");
}

#[test]
fn the_last_real_answer_says_so_when_the_attempts_are_used_up() {
    let pair = pair("retries: { on_status: [503], attempts: 0 }");
    busy(&pair.near, "near is busy", 503);
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(seen(&answer), (503, "near is busy"));
    assert_eq!(
        answer.header("proxy-status"),
        "\"test-edge\"; received-status=503; details=\"the origin answered 503\""
    );
    assert!(pair.far.seen().is_empty());
}

#[test]
fn a_hedge_that_fails_with_the_last_attempt_does_not_answer_for_a_slow_region() {
    let pair = pair("retries: { hedge_after: 300ms, on_status: [503], attempts: 1 }");
    pair.near.set_pause(Duration::from_millis(900));
    busy(&pair.far, "far is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "near"));
    assert_eq!(pair.far.seen().len(), 1);
}

#[test]
fn an_origin_s_5xx_is_passed_on_unless_on_status_names_it() {
    let pair = pair("");
    busy(&pair.near, "near is busy", 503);
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(seen(&answer), (503, "near is busy"));
    assert!(answer.headers("proxy-status").is_empty());
}

#[test]
fn a_try_that_takes_too_long_gives_way_to_the_next_region() {
    let pair = pair("retries: { per_try: 200ms }");
    pair.near.set_pause(Duration::from_secs(10));
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "far"));
    pair.near.set_pause(Duration::from_millis(500));
    let write = post(&pair.edge);
    assert_eq!(
        seen(&write),
        (200, "near"),
        "what cannot be sent again has its time"
    );
}

#[test]
fn tries_together_take_no_longer_than_the_whole_request_may() {
    let pair = pair("timeouts: { request: 500ms }\n    retries: { per_try: 400ms }");
    for origin in [&pair.near, &pair.far] {
        origin.set_pause(Duration::from_secs(10));
    }
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(answer.status, 504);
    let status = answer.header("proxy-status");
    assert!(status.contains("longer than 500ms"), "{status}");
    assert!(wait_until(|| pair.far.is_asked()));
}

#[test]
fn a_hedge_answers_for_a_slow_region_whose_request_is_given_up() {
    let given_up = Arc::new(AtomicBool::new(false));
    let seen_by_origin = given_up.clone();
    let near = raw_origin(move |mut stream, _| {
        let rest = stream.read(&mut [0; 1]);
        seen_by_origin.store(matches!(rest, Ok(0) | Err(_)), Ordering::SeqCst);
    });
    let far = Origin::start("far");
    let edge = edge(
        &format!("http://{near}"),
        &far,
        "retries: { hedge_after: 100ms }",
    );
    assert_eq!(seen(&edge.curl(HOST, "/", &[])), (200, "far"));
    assert!(wait_until(|| given_up.load(Ordering::SeqCst)));
    assert_eq!(edge.counted("meridian_http_hedges_total", &[]), 1);
}

#[test]
fn only_what_is_safe_and_slow_is_hedged_and_a_failed_hedge_costs_nothing() {
    let pair = pair("retries: { hedge_after: 300ms, on_status: [503] }");
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "near"));
    pair.near.set_pause(Duration::from_millis(900));
    assert_eq!(seen(&post(&pair.edge)), (200, "near"));
    assert!(pair.far.seen().is_empty());
    busy(&pair.far, "far is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "near"));
    assert_eq!(pair.far.seen().len(), 1);
}

/// The statuses of so many requests at once on one connection.
fn at_once(address: SocketAddr, count: usize) -> Vec<String> {
    let mut curl = Command::new("curl");
    curl.args([
        "-sk",
        "--http2",
        "--parallel",
        "--parallel-max",
        "100",
        "--resolve",
    ])
    .arg(format!("{HOST}:{}:{}", address.port(), address.ip()))
    .args(["-o", "/dev/null", "-w", "%{http_code}\n"])
    .arg(format!("https://{HOST}:{}/[1-{count}]", address.port()));
    let output = String::from_utf8(support::run(&mut curl).stdout).unwrap();
    output.lines().map(str::to_owned).collect()
}

#[test]
fn a_budget_holds_while_retries_wait_and_the_rest_gets_its_real_error() {
    let far = Origin::start("far");
    let (near, _) = broken();
    let edge = edge(&near, &far, "retries: { backoff: 4s }");
    let statuses = at_once(edge.address("https"), 40);
    let count = |status: &str| statuses.iter().filter(|s| *s == status).count();
    let (good, failed) = (count("200"), count("502"));
    assert_eq!(good + failed, 40, "{statuses:?}");
    assert!(good >= 10 && failed >= 10, "{good} good, {failed} failed");
    assert_eq!(far.seen().len(), good);
}

const AT_ONCE: usize = 60;

/// Requests of which at least so many are under way when their origin is killed, on connections that were kept or on new ones: all
/// are answered.
#[track_caller]
fn kill_under_load(mut near: Origin, edge: &Edge, under_way: usize, are_kept: bool) {
    let address = edge.address("https");
    let good = vec!["200".to_owned(); AT_ONCE];
    if are_kept {
        near.set_pause(Duration::from_millis(300));
        assert_eq!(at_once(address, AT_ONCE), good);
    }
    let before = near.asked();
    near.set_pause(Duration::from_secs(60));
    let asking = std::thread::spawn(move || at_once(address, AT_ONCE));
    assert!(wait_until(|| near.asked() >= before + under_way));
    near.stop();
    assert_eq!(asking.join().unwrap(), good);
}

#[test]
fn every_request_that_a_killed_origin_had_is_answered_by_another_whatever_the_budget() {
    for are_kept in [true, false] {
        let (near, far) = (Origin::start("near"), Origin::start("far"));
        let edge_of_both = edge(&near.url(), &far, "retries: { budget: 0% }");
        kill_under_load(near, &edge_of_both, AT_ONCE, are_kept);
        assert_eq!(far.seen().len(), AT_ONCE);
        let (near, beside) = (Origin::start("near"), Origin::start("beside"));
        let both = format!("{}', '{}", near.url(), beside.url());
        let edge_of_both = edge(&both, &far, "retries: { budget: 0% }");
        kill_under_load(near, &edge_of_both, AT_ONCE / 3, are_kept);
        let by_far = far.seen().len();
        assert_eq!(by_far, AT_ONCE, "its own region had another origin");
    }
}

#[test]
fn a_request_that_kills_every_origin_kills_no_more_than_its_attempts() {
    let far = Origin::start("far");
    for attempts in [0, 1] {
        let killed = Arc::new(AtomicU32::new(0));
        let origins: Vec<String> = (0..3).map(|_| killable(&killed)).collect();
        let service = format!("retries: {{ attempts: {attempts} }}");
        let edge = edge(&origins.join("', '"), &far, &service);
        assert_eq!(edge.curl(HOST, "/", &[]).status, 502);
        assert_eq!(killed.load(Ordering::SeqCst), 1 + attempts);
    }
    assert!(far.seen().is_empty());
}

#[test]
fn who_would_wait_past_the_time_of_the_whole_request_hears_the_real_error_at_once() {
    // A pause is drawn below a day: nearly all of them are longer.
    let pair = pair("retries: { backoff: 1d, on_status: [503] }\n    timeouts: { request: 5s }");
    busy(&pair.near, "near is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (503, "near is busy"));
    assert!(pair.far.seen().is_empty());
    let (near, _) = broken();
    let edge = edge(
        &near,
        &pair.far,
        "retries: { backoff: 1d }\n    timeouts: { request: 5s }",
    );
    assert_eq!(edge.curl(HOST, "/", &[]).status, 502);
}

#[test]
fn of_a_region_three_origins_are_tried_before_the_next_region() {
    let (far, opened) = (Origin::start("far"), Arc::new(AtomicU32::new(0)));
    let origins: Vec<String> = (0..5).map(|_| closing(&opened)).collect();
    let edge = edge(&origins.join("', '"), &far, "");
    assert_eq!(seen(&post(&edge)), (200, "far"));
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}
