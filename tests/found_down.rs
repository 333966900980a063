//! Requests that wait for a region while it is found down, and those that no able region can be reached for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use support::near_and_far::{HOST, edge_checked, post, seen};
use support::{Answer, Edge, Origin, wait_until};

/// Two regions.
struct Pair {
    edge: Edge,
    near: Origin,
    far: Origin,
}

/// Two regions that are asked themselves whether they are well.
fn probed(retries: &str) -> Pair {
    with(&format!("retries: {{ {retries} }}"))
}

/// The same of a service with these lines.
fn with(service: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let health = "interval: 200ms, timeout: 200ms, failure_threshold: 2, passive: off";
    let edge = edge_checked(&near.url(), &far, health, service);
    Pair { edge, near, far }
}

impl Pair {
    /// Has these turn unhealthy while near takes 4 s for a read, and checks that it answers.
    #[track_caller]
    fn waits_while(&self, turn_unhealthy: &[&Origin]) {
        self.near.set_pause(Duration::from_secs(4));
        std::thread::scope(|scope| {
            let read = scope.spawn(|| self.edge.curl(HOST, "/", &[]));
            assert!(wait_until(|| self.near.asked() == 1));
            for origin in turn_unhealthy {
                origin.set_healthy(false);
            }
            assert_eq!(seen(&read.join().unwrap()), (200, "near"));
        });
    }
}

#[test]
fn who_waits_for_a_region_that_is_found_down_asks_another_if_that_is_safe() {
    let pair = probed("budget: 0%");
    pair.near.set_pause(Duration::from_secs(60));
    let (asked, edge) = (AtomicBool::new(false), &pair.edge);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| edge.curl(HOST, "/", &[]));
        let write = scope.spawn(|| {
            let https = edge.address("https");
            let mut post = Command::new("curl");
            let resolve = format!("{HOST}:{}:{}", https.port(), https.ip());
            post.args(["-sk", "--max-time", "6", "-d", "x", "--resolve", &resolve])
                .arg(format!("https://{HOST}:{}/", https.port()));
            let status = post.status().unwrap();
            asked.store(true, Ordering::SeqCst);
            status
        });
        assert!(wait_until(|| pair.near.asked() == 2));
        pair.near.set_healthy(false);
        assert_eq!(seen(&read.join().unwrap()), (200, "far"));
        assert!(!asked.load(Ordering::SeqCst), "it still waits");
        assert_eq!(write.join().unwrap().code(), Some(28), "it waits on");
    });
    assert_eq!(pair.far.seen().len(), 1);
}

#[test]
fn who_may_ask_nobody_else_waits_for_a_region_that_is_found_down() {
    let pair = probed("attempts: 0");
    pair.waits_while(&[&pair.near]);
}

#[test]
fn a_region_that_an_operator_says_is_up_is_waited_for() {
    let pair = probed("");
    pair.near.set_healthy(false);
    assert!(wait_until(
        || seen(&pair.edge.curl(HOST, "/", &[])) == (200, "far")
    ));
    let up = "{\"state\":\"up\"}";
    let (status, told) = pair.edge.admin("PUT", "/api/v1/forced/near", up);
    assert!((200..300).contains(&status), "{told}");
    pair.near.set_pause(Duration::from_secs(3));
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "near"));
}

#[test]
fn where_no_able_region_can_be_reached_those_are_asked_that_health_has_left_out() {
    let mut pair = probed("budget: 0%");
    let far_is_down = || {
        let (_, status) = pair.edge.admin("GET", "/api/v1/status", "");
        status.to_string().contains("\"unhealthy\"")
    };
    pair.far.set_healthy(false);
    assert!(wait_until(far_is_down));
    // It dies, and nobody knows yet.
    pair.near.stop();
    assert_eq!(seen(&post(&pair.edge)), (200, "far"));
}

#[test]
fn who_waits_while_no_region_is_well_waits_on() {
    let pair = probed("budget: 0%");
    pair.waits_while(&[&pair.far, &pair.near]);
    let (_, status) = pair.edge.admin("GET", "/api/v1/status", "");
    for region in status["regions"].as_array().unwrap() {
        assert_eq!(region["services"][0]["health"], "unhealthy", "{region}");
    }
}

impl Pair {
    /// What far says of near's log from now on.
    fn far_says(&self, applied: &'static str) {
        answer_as(&self.far, "far", applied);
        let (writer, position) = applied.split_once('=').unwrap();
        let said = serde_json::json!({ "applied": { writer: position } }).to_string();
        let (status, told) = self.edge.admin("PUT", "/api/v1/positions/far", &said);
        assert_eq!(status, 200, "{told}");
    }
}

fn answer_as(origin: &Origin, name: &'static str, applied: &'static str) {
    origin.set_answer(move |seen| {
        let answer = Response::builder().header("Meridian-Applied", applied);
        let answer = match &*seen.method {
            "POST" => answer.header("Meridian-Committed", "7"),
            _ => answer,
        };
        answer.body(Body::from(name)).unwrap()
    });
}

/// Two regions of which `far` has applied so much of near's log, and the token of a write that near took.
fn written(consistency: &str, far: &'static str) -> (Pair, String) {
    let pair = with(&format!(
        "consistency: {{ read_your_writes: true, {consistency} }}"
    ));
    answer_as(&pair.near, "near", "near=7");
    let write = post(&pair.edge);
    assert_eq!(seen(&write), (200, "near"));
    pair.far_says(far);
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    (pair, token)
}

/// Which region a read was answered by, and how it is marked.
fn told(read: &Answer) -> (&str, &str) {
    (&read.body, read.header("meridian-consistency"))
}

#[test]
fn a_read_of_its_client_s_own_write_leaves_a_region_that_is_found_down_for_what_its_policy_takes() {
    for (when_unsatisfiable, far, expected) in [
        ("stale", "near=6", ("far", "stale")),
        ("stale", "near=7", ("far", "routed")),
        ("fail", "near=7", ("far", "routed")),
        ("fail", "near=6", ("near", "fresh")),
    ] {
        let policy = format!("wait: 0s, when_unsatisfiable: {when_unsatisfiable}");
        let (pair, token) = written(&policy, far);
        pair.near.set_pause(Duration::from_secs(4));
        std::thread::scope(|scope| {
            let read = scope.spawn(|| pair.edge.curl(HOST, "/", &["-H", &token]));
            assert!(wait_until(|| pair.near.asked() == 2));
            pair.near.set_healthy(false);
            let read = read.join().unwrap();
            assert_eq!(told(&read), expected, "{when_unsatisfiable} {far}");
        });
    }
}

#[test]
fn how_long_a_region_was_asked_that_died_is_no_part_of_the_wait_for_another() {
    let (mut pair, token) = written("wait: 2s, when_unsatisfiable: fail", "near=6");
    pair.near.set_pause(Duration::from_secs(60));
    let https = pair.edge.address("https");
    std::thread::scope(|scope| {
        let read = scope.spawn(|| Answer::from(https, HOST, "/", &["-H", &token]));
        assert!(wait_until(|| pair.near.asked() == 2));
        std::thread::park_timeout(Duration::from_millis(2_500));
        pair.near.stop();
        assert!(wait_until(|| pair.far.asked() == 1));
        pair.far_says("near=7");
        assert_eq!(told(&read.join().unwrap()), ("far", "waited"));
    });
}
