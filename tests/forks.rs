//! Forks of `pg_lsn` logs, and forks and positions that a restart brings back from `state_dir`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, two_regions};

const HOST: &str = "api.example.com";

fn yaml(near: &Origin, far: &Origin, node: &str, form: &str) -> String {
    two_regions(
        &near.url(),
        &far.url(),
        &format!("node: {{ {node} }}"),
        "interval: 500ms, timeout: 20s",
        &format!("wait: 0s, version: {form}"),
    )
}

/// What an origin says from now on: what it has applied (nothing if empty), and where writes are.
fn says(origin: &Origin, name: &'static str, applied: &str, committed: &str) {
    let (applied, committed) = (applied.to_owned(), committed.to_owned());
    origin.set_answer(move |seen| {
        let mut answer = Response::builder();
        if !applied.is_empty() {
            answer = answer.header("Meridian-Applied", &applied);
        }
        if seen.method == "POST" {
            answer = answer.header("Meridian-Committed", &committed);
        }
        answer.body(Body::from(name)).unwrap()
    });
}

fn origins() -> (Origin, Origin) {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    // A read goes where the answer comes soonest, so the far region is far for a loaded machine too.
    far.set_pause_of_health(std::time::Duration::from_secs(1));
    (near, far)
}

fn push(edge: &Edge, region: &str, position: &str) {
    let body = format!("{{\"applied\":{{\"far\":\"{position}\"}}}}");
    let path = format!("/api/v1/positions/{region}");
    let (status, told) = edge.admin("PUT", &path, &body);
    assert_eq!(status, 200, "{told}");
}

fn token(answer: &Answer) -> String {
    format!("Meridian-Token: {}", answer.header("meridian-token"))
}

fn write(edge: &Edge) -> String {
    token(&edge.curl(HOST, "/", &["-d", "x"]))
}

fn read(edge: &Edge, token: &str) -> Answer {
    edge.curl(HOST, "/", &["-H", token])
}

fn mark(answer: &Answer) -> (&str, &str) {
    (&answer.body, answer.header("meridian-consistency"))
}

fn required(origin: &Origin) -> String {
    let seen = origin.seen();
    seen.last().unwrap().header("meridian-require").to_owned()
}

#[test]
fn a_timeline_s_fork_decides_which_lsns_are_kept_and_which_are_lost() {
    let (near, far) = origins();
    let edge = Edge::start(&yaml(&near, &far, "", "pg_lsn"));
    // Hexadecimal halves: FF comes before 100, and 16/0 after 15/FFFFFFFF.
    says(&near, "near", "far=1:15/FFFFFFFF", "");
    says(&far, "far", "far=1:16/FF", "far=1:15/FFFFFFFF");
    let kept = write(&edge);
    says(&far, "far", "far=1:16/FF", "far=1:16/100");
    let lost = write(&edge);
    push(&edge, "far", "2:16/200@1:16/FF");
    says(&far, "far", "far=2:16/200@1:16/FF", "far=2:16/300");
    edge.curl(HOST, "/", &[]); // The answer of `near` tells that it has neither.
    assert_eq!(mark(&read(&edge, &kept)), ("near", "fresh"));
    let told = read(&edge, &lost);
    assert_eq!(mark(&told), ("far", "lost"), "{}", told.head);
    // What is before the fork is needed still, and is required in the form of the log.
    let rest = token(&told);
    assert_eq!(mark(&read(&edge, &rest)), ("far", "routed"));
    assert_eq!(required(&far), "far=1:16/FF");
    says(&near, "near", "far=2:16/1", "");
    edge.curl(HOST, "/", &[]);
    assert_eq!(
        mark(&read(&edge, &rest)),
        ("near", "fresh"),
        "forks count for who follows"
    );
    says(&far, "far", "far=2:16/300@1:16/FF", "far=2:16/300");
    let after = write(&edge);
    assert_eq!(mark(&read(&edge, &after)), ("far", "routed"));
    assert_eq!(required(&far), "far=2:16/300");
}

/// Restarts in the same folder.
fn restart(mut edge: Edge, yaml: &str) -> Edge {
    edge.process.signal("TERM");
    assert_eq!(edge.process.wait(), 0, "{}", edge.process.said());
    Edge::start_in(edge.folder, yaml)
}

/// A lost write is told, the edge restarts, and the client comes with what it was given then. The region that wrote is
/// away from then on, and `near` does not say where the epoch began. How the read is served.
fn after_a_restart(node: &str) -> (String, String) {
    let (near, mut far) = origins();
    let yaml = yaml(&near, &far, node, "integer");
    let edge = Edge::start(&yaml);
    says(&near, "near", "far=3:970", "");
    says(&far, "far", "far=3:980", "far=3:980");
    let lost = write(&edge);
    push(&edge, "far", "4:1@3:977");
    says(&far, "far", "far=4:1@3:977", "far=4:1");
    edge.curl(HOST, "/", &[]);
    let told = read(&edge, &lost);
    assert_eq!(mark(&told), ("far", "lost"), "{}", told.head);
    let told = token(&told);
    assert_eq!(mark(&read(&edge, &told)), ("far", "routed"), "told once");
    far.stop();
    let edge = restart(edge, &yaml);
    says(&near, "near", "far=4:1", "");
    edge.curl(HOST, "/", &[]);
    let read = read(&edge, &told);
    let (body, mark) = mark(&read);
    (body.to_owned(), mark.to_owned())
}

#[test]
fn with_a_state_dir_a_fork_is_known_after_a_restart_and_a_lost_write_is_not_told_again() {
    let with = after_a_restart("state_dir: state");
    assert_eq!((with.0.as_str(), with.1.as_str()), ("near", "fresh"));
    let without = after_a_restart("");
    assert_eq!(
        (without.0.as_str(), without.1.as_str()),
        ("near", "stale"),
        "nobody says where the epoch began"
    );
}

/// `near` is known to have a write; the edge restarts, the region that wrote is away, and `near` says nothing more.
fn known_after_a_restart(node: &str, form: &str, position: &str) -> (String, String) {
    let (near, mut far) = origins();
    let yaml = yaml(&near, &far, node, form);
    let edge = Edge::start(&yaml);
    says(&near, "near", &format!("far={position}"), "");
    says(&far, "far", "", position);
    let written = write(&edge);
    edge.curl(HOST, "/", &[]); // The answer of `near` tells the edge.
    assert_eq!(mark(&read(&edge, &written)), ("near", "fresh"));
    far.stop();
    says(&near, "near", "", "");
    let edge = restart(edge, &yaml);
    let read = read(&edge, &written);
    let (body, mark) = mark(&read);
    (body.to_owned(), mark.to_owned())
}

#[test]
fn with_a_state_dir_positions_are_known_after_a_restart_before_anybody_has_said_them_again() {
    for (form, position) in [("pg_lsn", "3:16/B374D848"), ("integer", "3:977")] {
        for (node, expected) in [("state_dir: state", "fresh"), ("", "stale")] {
            let (body, mark) = known_after_a_restart(node, form, position);
            assert_eq!((&*body, &*mark), ("near", expected), "{form} `{node}`");
        }
    }
}
