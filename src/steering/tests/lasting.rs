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
