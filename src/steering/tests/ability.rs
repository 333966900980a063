//! Step 2: health, drains, and what happens when nobody is able.

use super::scene::{Client, READER, Scene, WRITER, check};
use crate::ids::{Id, ServiceId};
use crate::steering::{Percent, Reason};

const ALL: &str = "steering: { policy: priority }";
const NONE: &str = "steering: { policy: priority, when_none_healthy: none }";
const STICKY: &str = "affinity: { by: cookie }, steering: { policy: priority }";

#[test]
fn an_unhealthy_region_is_not_tried() {
    let scene = Scene::new(ALL).with("us=unhealthy");
    check(&scene, READER, "eu ap");
    check(&scene, WRITER, "eu ap");
    check(&scene, READER.by_dns(), "eu ap");
}

#[test]
fn a_degraded_region_keeps_its_place() {
    check(&Scene::new(ALL).with("us=degraded"), READER, "us eu ap");
}

#[test]
fn a_region_not_checked_yet_counts_as_healthy() {
    let scene = Scene::new(ALL).with("us=unknown eu=unhealthy");
    check(&scene, READER, "us ap");
    let decision = scene.decide(&READER);
    assert_eq!(decision.steps[0].reason, Reason::Unchecked);
}

#[test]
fn a_drained_region_is_not_tried_however_healthy() {
    for admin in ["draining", "drained"] {
        let scene = Scene::new(STICKY).with(&format!("us={admin}"));
        check(&scene, READER, "eu ap");
        check(&scene, READER.used_to("eu"), "eu ap");
    }
}

#[test]
fn a_drained_region_keeps_its_sessions_until_the_drain_time_has_passed() {
    let draining = Scene::new(STICKY).with("ap=draining");
    check(&draining, READER.used_to("ap"), "ap us eu");
    check(&draining, WRITER.used_to("ap"), "ap us eu");
    assert_eq!(
        draining.story(&draining.decide(&READER.used_to("ap")), "ap"),
        "kept by drain, kept by affinity"
    );
    let drained = Scene::new(STICKY).with("ap=drained");
    check(&drained, READER.used_to("ap"), "us eu");
}

#[test]
fn a_drained_region_that_is_down_keeps_no_sessions() {
    let scene = Scene::new(STICKY).with("ap=draining ap=unhealthy");
    check(&scene, READER.used_to("ap"), "us eu");
}

#[test]
fn a_session_on_a_drained_region_is_better_than_failing_open() {
    let scene = Scene::new(STICKY).with("us=unhealthy eu=unhealthy ap=draining");
    check(&scene, READER.used_to("ap"), "ap");
    check(&scene, READER, "unhealthy back: us eu ap");
}

#[test]
fn when_nobody_is_able_the_unhealthy_come_back_and_after_them_the_drained() {
    let down = Scene::new(ALL).with("us=unhealthy eu=unhealthy ap=unhealthy");
    check(&down, READER, "unhealthy back: us eu ap");
    let one_drained = Scene::new(ALL).with("us=drained eu=unhealthy ap=unhealthy");
    check(&one_drained, READER, "unhealthy back: eu ap us");
    let drained_too = Scene::new(ALL).with("us=drained us=unhealthy eu=unhealthy ap=draining");
    check(&drained_too, READER, "unhealthy back: eu us ap");
    let all_drained = Scene::new(ALL).with("us=drained eu=draining ap=drained");
    check(&all_drained, READER, "drained back: us eu ap");
}

#[test]
fn those_who_come_back_are_ranked_as_ever() {
    let down = "us=unhealthy eu=unhealthy ap=unhealthy";
    let geo = Scene::new("steering: { policy: geo }").with(down);
    check(&geo, READER, "unhealthy back: eu us ap");
    let sticky = Scene::new(STICKY).with(down);
    check(&sticky, READER.used_to("ap"), "unhealthy back: ap us eu");
    let one_drained = Scene::new(STICKY).with(down).with("ap=drained");
    check(
        &one_drained,
        READER.used_to("ap"),
        "unhealthy back: us eu ap",
    );
}

#[test]
fn every_region_that_comes_back_has_its_own_rank() {
    let scene = Scene::new(ALL).with("us=drained eu=unhealthy ap=unhealthy");
    let ranks: Vec<u8> = scene
        .decide(&READER)
        .ranked
        .iter()
        .map(|choice| choice.rank)
        .collect();
    assert_eq!(ranks, [0, 1, 2]);
}

#[test]
fn with_none_there_is_no_answer_when_nobody_is_able() {
    let down = Scene::new(NONE).with("us=unhealthy eu=unhealthy ap=unhealthy");
    check(&down, READER, "none healthy");
    check(&down, READER.by_dns(), "none healthy");
    check(
        &Scene::new(NONE).with("us=drained eu=drained ap=drained"),
        READER,
        "none healthy",
    );
    check(
        &Scene::new(NONE).with("us=unhealthy eu=unhealthy"),
        READER,
        "ap",
    );
}

#[test]
fn every_region_says_what_became_of_it() {
    let scene = Scene::new(ALL).with("us=unhealthy eu=drained");
    let decision = scene.decide(&READER);
    assert_eq!(scene.story(&decision, "us"), "dropped by health");
    assert_eq!(scene.story(&decision, "eu"), "dropped by drain");
    assert_eq!(
        scene.story(&decision, "ap"),
        "kept by health, kept by policy"
    );
    let open = Scene::new(ALL).with("us=unhealthy eu=drained ap=unhealthy");
    let decision = open.decide(&READER);
    assert_eq!(
        open.story(&decision, "us"),
        "dropped by health, kept by when_none_healthy, kept by policy"
    );
    assert_eq!(
        open.story(&decision, "eu"),
        "dropped by drain, kept by when_none_healthy, kept by policy"
    );
    let none = Scene::new(NONE).with("us=unhealthy eu=drained ap=unhealthy");
    let decision = none.decide(&READER);
    assert_eq!(none.story(&decision, "us"), "dropped by health");
    assert_eq!(none.story(&decision, "eu"), "dropped by drain");
}

#[test]
fn a_region_that_leaves_little_by_little_keeps_the_same_clients_by_dns_and_by_http() {
    let scene = Scene::new(ALL).with("us=leaving");
    for client in [READER, WRITER, READER.by_dns()] {
        check(&scene, client.spread(49), "us eu ap");
        check(&scene, client.spread(50), "eu ap");
    }
    let decision = scene.decide(&READER.spread(50));
    let share = Percent::new(50);
    assert_eq!(decision.steps[0].reason, Reason::Leaving { share });
}

#[test]
fn sessions_of_a_region_that_leaves_go_later_than_those_who_are_new() {
    let scene = Scene::new(STICKY).with("us=leaving");
    check(&scene, READER.used_to("us").spread(79), "us eu ap");
    check(&scene, READER.used_to("us").spread(80), "eu ap");
    check(&scene, READER.used_to("eu").spread(60), "eu ap");
}

#[test]
fn a_region_that_comes_back_takes_a_share_and_keeps_its_sessions() {
    let scene = Scene::new(STICKY).with("us=returning");
    check(&scene, READER.spread(49), "us eu ap");
    check(&scene, READER.spread(50), "eu ap");
    check(&scene, READER.used_to("us").spread(99), "us eu ap");
    let decision = scene.decide(&READER.spread(50));
    let share = Percent::new(50);
    assert_eq!(decision.steps[0].reason, Reason::Returning { share });
}

#[test]
fn when_nobody_else_is_able_a_share_is_everybody() {
    for admin in ["leaving", "returning"] {
        for steering in [ALL, NONE] {
            let facts = format!("us={admin} eu=unhealthy ap=drained");
            let scene = Scene::new(steering).with(&facts);
            check(&scene, READER.spread(99), "us");
            let decision = scene.decide(&READER.spread(99));
            let told = decision.steps.iter().map(|step| step.reason);
            assert!(told.into_iter().any(|reason| reason == Reason::NobodyElse));
        }
    }
}

#[test]
fn writes_that_must_not_go_to_two_regions_at_once_are_not_shared_out() {
    const PRIMARY: &str = "writes: { to: { primary: us } }, steering: { policy: priority }";
    for admin in ["leaving", "returning"] {
        let scene = Scene::new(PRIMARY).with(&format!("us={admin}"));
        check(&scene, WRITER.spread(99), "us eu ap");
        check(&scene, READER.spread(99), "eu ap");
    }
}

/// In the order us, eu, ap; half of the clients have come back to, or stay in, who returns or leaves.
#[test]
fn a_region_takes_its_share_and_the_last_one_that_takes_any_takes_all() {
    let shares = |facts: &str| {
        let scene = Scene::new(ALL).with(facts);
        let state = scene.snapshot.services.of(ServiceId::at(0));
        let shares = state
            .members
            .iter()
            .map(|member| state.share_of(member).get());
        shares.collect::<Vec<_>>()
    };
    assert_eq!(shares("us=returning eu=leaving"), [50, 50, 100]);
    assert_eq!(shares("us=drained eu=unhealthy"), [0, 0, 100]);
    assert_eq!(shares("us=returning eu=unhealthy ap=drained"), [100, 0, 0]);
    assert_eq!(shares("us=leaving eu=returning ap=drained"), [50, 50, 0]);
    assert_eq!(shares("us=unhealthy eu=unhealthy ap=unhealthy"), [0, 0, 0]);
}

/// Checks who comes back for a client whose regions cannot be reached.
#[track_caller]
fn check_reopened(scene: &Scene, client: Client<'_>, expected: &str) {
    assert_eq!(scene.told_reopened(&client), expected);
}

#[test]
fn where_none_of_the_able_can_be_reached_those_come_back_that_health_has_left_out() {
    let scene = |service| Scene::new(service).with("eu=unhealthy ap=ejected");
    check(&scene(ALL), READER, "us");
    for client in [READER, WRITER] {
        check_reopened(&scene(ALL), client, "unhealthy back: ap eu");
        check_reopened(&scene(NONE), client, "");
        let drained = scene(ALL).with("ap=drained");
        check_reopened(&drained, client, "unhealthy back: eu");
        let healthy = Scene::new(ALL).with("eu=drained ap=draining");
        check_reopened(&healthy, client, "");
        let open_already = scene(ALL).with("us=unhealthy");
        check_reopened(&open_already, client, "");
    }
    let primary = scene("steering: { policy: priority }, writes: { to: { primary: us } }");
    check_reopened(&primary, WRITER, "");
    check_reopened(&primary, READER, "unhealthy back: ap eu");
}
