//! Pushes of positions that say where they stand: late ones hide nothing, and are told as late.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};
use support::{Answer, Edge, Origin, two_regions, wait_until};

const HOST: &str = "api.example.com";

/// `far` takes the writes and says where they are; `near`, which is better ranked, tells of itself by pushes alone.
struct World {
    yaml: String,
    edge: Edge,
    _near: Origin,
    _far: Origin,
}

fn world(node: &str) -> World {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    // A read goes where the answer comes soonest, so the far region is far for a loaded machine too.
    far.set_pause_of_health(std::time::Duration::from_secs(1));
    far.set_answer(|seen| {
        let answer = Response::builder().header("Meridian-Applied", "far=5");
        let answer = match seen.method.as_str() {
            "POST" => answer.header("Meridian-Committed", "5"),
            _ => answer,
        };
        answer.body(Body::from("far")).unwrap()
    });
    near.set_answer(|_| Response::new(Body::from("near")));
    let yaml = two_regions(
        &near.url(),
        &far.url(),
        &format!("node: {{ {node} }}"),
        "timeout: 20s",
        "wait: 0s",
    );
    let edge = Edge::start(&yaml);
    World {
        yaml,
        edge,
        _near: near,
        _far: far,
    }
}

impl World {
    /// What the answer to a push of `near` says.
    fn push(&self, sequence: Value, position: &str) -> (u16, Value) {
        let body = json!({ "applied": { "far": position }, "sequence": sequence });
        let path = "/api/v1/positions/near";
        self.edge.admin("PUT", path, &body.to_string())
    }

    #[track_caller]
    fn check(&self, sequence: Value, position: &str, became: &str) {
        let (status, told) = self.push(sequence, position);
        assert_eq!(status, 200, "{told}");
        let counts = ["taken", "late", "doubtful"].map(|what| (what, told[what].clone()));
        let expected = counts
            .clone()
            .map(|(what, _)| (what, json!(u8::from(what == became))));
        assert_eq!(counts, expected);
    }

    fn write(&self) -> String {
        let write = self.edge.curl(HOST, "/", &["-d", "x"]);
        format!("Meridian-Token: {}", write.header("meridian-token"))
    }

    fn read(&self, token: &str) -> Answer {
        self.edge.curl(HOST, "/", &["-H", token])
    }

    fn ignored(&self, reason: &str) -> u64 {
        let reason = format!("reason=\"{reason}\"");
        let labels = ["source=\"push\"", &*reason];
        self.edge
            .counted("meridian_position_rejected_total", &labels)
    }
}

fn mark(answer: &Answer) -> (&str, &str) {
    (&answer.body, answer.header("meridian-consistency"))
}

#[test]
fn a_late_push_hides_a_loss_unless_it_says_where_it_stands() {
    // What `near` says after it lost a write comes first, what it said before that comes late.
    for (after, before, became, expected) in [
        (json!("7:3"), json!("7:2"), "late", ("far", "routed")),
        (json!("8:1"), json!("7:2"), "late", ("far", "routed")),
        (json!("8:1"), Value::Null, "late", ("far", "routed")),
        (Value::Null, Value::Null, "taken", ("near", "fresh")),
    ] {
        let world = world("");
        let token = world.write();
        world.check(after.clone(), "4", "taken");
        world.check(before.clone(), "5", became);
        let read = world.read(&token);
        assert_eq!(
            mark(&read),
            expected,
            "{after}, then {before}: {}",
            read.head
        );
        assert_eq!(world.ignored("late"), u64::from(became == "late"));
    }
}

#[test]
fn pushes_in_their_turn_free_a_region_for_reads_and_take_it_back() {
    let world = world("");
    let token = world.write();
    world.check(json!("1790000000000:1"), "4", "taken");
    assert_eq!(mark(&world.read(&token)), ("far", "routed"));
    world.check(json!("1790000000000:2"), "5", "taken");
    assert_eq!(mark(&world.read(&token)), ("near", "fresh"));
    world.check(json!("1790000000000:2"), "5", "late");
    world.check(json!("1790000000000:3"), "4", "taken");
    assert_eq!(mark(&world.read(&token)), ("far", "routed"));
    world.check(json!("1790000009999:1"), "5", "taken");
    assert_eq!(mark(&world.read(&token)), ("near", "fresh"));
}

#[test]
fn what_is_no_sequence_is_refused_with_what_would_be_right_and_changes_nothing() {
    let world = world("");
    let token = world.write();
    for nonsense in [
        json!("7"),
        json!("a:1"),
        json!("7:-1"),
        json!(7),
        json!(["7:1"]),
    ] {
        let (status, told) = world.push(nonsense.clone(), "5");
        assert_eq!(status, 400, "{nonsense}: {told}");
        let error = told["error"].as_str().unwrap();
        assert!(error.starts_with("`sequence`"), "{error}");
        let helps = error.contains("INSTANCE:NUMBER") || error.contains("must be a string");
        assert!(helps, "{error}");
    }
    assert_eq!(mark(&world.read(&token)), ("far", "routed"));
    assert_eq!(world.ignored("malformed"), 3);
    world.check(json!("7:1"), "5", "taken");
}

#[test]
fn after_a_restart_a_late_push_is_known_as_late() {
    for (node, became) in [("state_dir: state", "late"), ("", "taken")] {
        let mut world = world(node);
        world.check(json!("7:3"), "4", "taken");
        world.edge.process.signal("TERM");
        assert_eq!(world.edge.process.wait(), 0);
        world.edge = Edge::start_in(world.edge.folder, &world.yaml);
        world.check(json!("7:2"), "5", became);
        world.check(json!("7:4"), "5", "taken");
    }
}

#[test]
fn what_was_pushed_outlives_a_crash() {
    let mut world = world("state_dir: state");
    world.check(json!("7:3"), "4", "taken");
    let state = world.edge.folder.path().join("state/state.json");
    let is_saved = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"far=4\""));
    assert!(
        wait_until(is_saved),
        "{:?}",
        std::fs::read_to_string(&state)
    );
    world.edge.process.signal("KILL");
    world.edge.process.wait();
    world.edge = Edge::start_in(world.edge.folder, &world.yaml);
    world.check(json!("7:2"), "5", "late");
}
