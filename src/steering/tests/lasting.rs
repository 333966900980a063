//! Which decisions may be taken again without deciding: none that time or chance would change.

use super::scene::{Client, READER, Scene, WRITER};

const STORE: &str =
    "steering: { policy: priority }, consistency: { read_your_writes: true, ttl: 60s }";

/// `us` and `eu` have the write, and nobody knows when `ap` will.
fn store() -> Scene {
    let scene = Scene::new(STORE).measured("us=10 eu=50 ap=200");
    scene.applied("us", "us=5", 0).applied("eu", "us=5", 0)
}

#[track_caller]
fn check(scene: &Scene, client: Client<'_>, expected: bool) {
    assert_eq!(scene.decide_lasting(&client).1, expected);
}

#[test]
fn a_read_that_the_best_region_can_answer_is_decided_alike_for_a_while() {
    check(&store(), READER.saw("us=5"), true);
    check(&store(), READER, true);
    check(&store(), WRITER, false);
}

#[test]
fn what_only_another_region_or_a_wait_can_show_is_decided_each_time() {
    check(&store(), READER.saw("eu=5"), false);
    check(&store(), READER.saw("ap=5"), false);
}

#[test]
fn a_lag_that_is_known_runs_off_so_that_the_order_of_the_others_changes() {
    let scene = store().committed("eu", 1, 0).applied("ap", "eu=1", 100);
    check(&scene, READER.saw("us=5"), true);
    let scene = scene
        .applied("ap", "eu=1,us=4", 200)
        .committed("us", 6, 300);
    let scene = scene
        .applied("ap", "eu=1,us=5", 400)
        .applied("us", "us=6", 500);
    check(&scene, READER.saw("us=6"), false);
}

#[test]
fn chance_and_what_is_unfit_are_asked_anew() {
    let weighted = STORE.replace("priority", "weighted");
    check(&Scene::new(&weighted), READER, false);
    let unfit = store().applied("us", "us=5", 120_000);
    check(&unfit, READER.saw("us=5"), false);
}

/// Whether a decision is one for whoever asks from its place; if it is, others from there are decided alike.
fn is_of_place(service: &str, facts: &str, client: Client<'_>) -> bool {
    let scene = Scene::new(service).with(facts);
    let (decision, is_of_place) = scene.decide_for_place(&client);
    if is_of_place {
        for (draw, spread) in [(0, 0), (1, 49), (7, 99), (u64::MAX, 50)] {
            let other = scene.decide(&READER.key("k").draw(draw).spread(spread));
            assert_eq!(other, decision, "{service} {facts}");
        }
    }
    is_of_place
}

#[test]
fn what_is_decided_by_place_alone_is_decided_for_everybody_there() {
    for policy in ["priority", "geo", "latency"] {
        let service = format!("steering: {{ policy: {policy} }}");
        for facts in ["", "us=unhealthy", "us=drained", "us=draining eu=unhealthy"] {
            assert!(is_of_place(&service, facts, READER), "{policy} {facts}");
        }
    }
}

#[test]
fn what_a_request_carries_chance_writes_and_slow_drains_are_decided_for_each() {
    let plain = "steering: { policy: priority }";
    assert!(!is_of_place(plain, "", WRITER));
    assert!(!is_of_place(plain, "", READER.used_to("eu")));
    assert!(!is_of_place(plain, "us=leaving", READER));
    assert!(!is_of_place("steering: { policy: weighted }", "", READER));
    assert!(!is_of_place(STORE, "", READER));
    let by_label =
        "steering: { policy: priority }, residency: { by: { header: X-J }, allow: { one: [eu] } }";
    assert!(!is_of_place(by_label, "", READER));
}
