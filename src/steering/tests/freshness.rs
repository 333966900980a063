//! Step 4: reads with a token, and which of the contract's words their answer earns.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::scene::{Client, READER, Scene, WRITER, check};
use crate::positions::{Membership, Standing};
use crate::steering::Rule;

const STORE: &str = "affinity: { by: cookie }, steering: { policy: priority },
    consistency: { read_your_writes: true, wait: 500ms }";
const NO_WAIT: &str = "steering: { policy: priority },
    consistency: { read_your_writes: true, wait: 0s }";

/// `us` is near and `ap` far; the policy is `priority`, so that rank and distance agree.
fn store() -> Scene {
    Scene::new(STORE).measured("us=10 eu=50 ap=200")
}

/// What the first choice will be called: `fresh`, `routed`, `waited`, or `stale` when nobody can
/// ever have what the client must see.
fn mark(scene: &Scene, client: Client<'_>) -> String {
    let decision = scene.decide(&client);
    let first = decision.ranked[0];
    let mark = match first.standing {
        Standing::Dominates if first.rank == 0 => "fresh",
        Standing::Dominates => "routed",
        Standing::Behind { expected: Some(_) } => "waited",
        Standing::Behind { expected: None } => "unknown",
    };
    format!("{mark} {}", scene.told(&decision))
}

#[track_caller]
fn check_mark(scene: &Scene, client: Client<'_>, expected: &str) {
    assert_eq!(mark(scene, client), expected);
}

#[test]
fn fresh_is_the_best_ranked_region_that_has_it_all() {
    let scene = store().applied("us", "us=5", 0).applied("eu", "us=5", 0);
    check_mark(&scene, READER.saw("us=5"), "fresh us eu ap");
    check_mark(&scene, READER.saw("us=4"), "fresh us eu ap");
}

#[test]
fn routed_is_another_region_that_has_it_all() {
    let scene = store()
        .applied("us", "us=9,eu=4", 0)
        .applied("eu", "us=9,eu=5", 0);
    check_mark(&scene, READER.saw("eu=5,us=9"), "routed eu us ap");
    check_mark(&scene, READER.saw("eu=4"), "fresh us eu ap");
}

/// `us` usually has what `eu` writes after 100 ms.
fn lagging() -> Scene {
    store()
        .applied("us", "eu=0", 0)
        .committed("eu", 1, 0)
        .applied("us", "eu=1", 100)
        .committed("eu", 2, 1_000)
}

#[test]
fn a_read_waits_where_waiting_is_the_sooner_answer() {
    let near = lagging().measured("eu=9000");
    check_mark(&near, READER.saw("eu=2").at(1_000), "waited us ap eu");
    check_mark(&lagging(), READER.saw("eu=2").at(1_000), "routed eu us ap");
    let decision = near.decide(&READER.saw("eu=2").at(1_020));
    let Standing::Behind {
        expected: Some(expected),
    } = decision.ranked[0].standing
    else {
        panic!("{decision:?}");
    };
    assert_eq!(expected.as_millis(), 80);
}

#[test]
fn what_is_left_of_the_lag_decides_between_waiting_and_going_elsewhere() {
    // us: 10 ms and what is left of 100 ms; eu: 50 ms.
    check_mark(&lagging(), READER.saw("eu=2").at(1_050), "routed eu us ap");
    check_mark(&lagging(), READER.saw("eu=2").at(1_070), "waited us eu ap");
}

#[test]
fn no_lag_counts_for_less_than_the_20_ms_until_it_is_asked_again() {
    // us: 10 ms and the 5 that are left of 100 ms of lag, which count as 20.
    let check = |measured, expected| {
        let scene = Scene::new(STORE)
            .measured(measured)
            .applied("us", "eu=0", 0)
            .committed("eu", 1, 0)
            .applied("us", "eu=1", 100)
            .committed("eu", 2, 1_000);
        check_mark(&scene, READER.saw("eu=2").at(1_095), expected);
    };
    check("us=10 eu=22 ap=200", "routed eu us ap");
    check("us=10 eu=28 ap=200", "waited us eu ap");
}

#[test]
fn no_lag_counts_for_more_than_the_longest_wait() {
    let slow = store()
        .applied("us", "eu=0", 0)
        .committed("eu", 1, 0)
        .applied("us", "eu=1", 60_000)
        .committed("eu", 2, 60_000);
    // us: 10 ms and at most 500 ms of waiting; eu: more than that away.
    let far = slow.measured("eu=4000");
    check_mark(&far, READER.saw("eu=2").at(60_000), "waited us ap eu");
}

#[test]
fn where_a_read_may_not_wait_who_has_it_all_comes_first_however_far() {
    let scene = Scene::new(NO_WAIT)
        .measured("us=10 eu=50 ap=9000")
        .applied("us", "ap=0", 0)
        .committed("ap", 1, 0)
        .applied("us", "ap=1", 1)
        .committed("ap", 2, 10);
    check_mark(&scene, READER.saw("ap=2").at(10), "routed ap us eu");
}

#[test]
fn when_nobody_has_it_the_order_is_the_policy_s() {
    let scene = Scene::new(NO_WAIT).measured("us=200 eu=50 ap=10");
    check_mark(&scene, READER.saw("gone=3"), "unknown us eu ap");
    let waiting = store();
    check_mark(&waiting, READER.saw("gone=3"), "unknown us eu ap");
}

#[test]
fn a_region_lacks_nothing_when_only_its_own_entry_is_missing() {
    let scene = store();
    check_mark(&scene, READER.saw("us=5"), "fresh us eu ap");
    check_mark(&scene, READER.saw("ap=5"), "routed ap us eu");
    check_mark(&scene, READER.saw("ap=5,us=5"), "unknown us eu ap");
    let knows = store().applied("ap", "us=5", 0);
    check_mark(&knows, READER.saw("ap=5,us=5"), "routed ap us eu");
}

#[test]
fn a_pin_leads_to_the_region_of_the_newest_write() {
    let scene = store();
    check_mark(&scene, READER.pinned("eu"), "routed eu us ap");
    check_mark(&scene, READER.pinned("us"), "fresh us eu ap");
    check_mark(&scene, READER.pinned("eu").saw("eu=3"), "routed eu us ap");
    let decision = scene.decide(&READER.pinned("eu"));
    assert_eq!(
        scene.story(&decision, "eu"),
        "kept by health, kept by policy, kept by fresh"
    );
}

#[test]
fn a_pin_does_not_excuse_what_else_the_client_must_see() {
    check_mark(
        &store(),
        READER.pinned("eu").saw("ap=3"),
        "unknown us eu ap",
    );
    let knows = store().applied("eu", "ap=3", 0);
    check_mark(&knows, READER.pinned("eu").saw("ap=3"), "routed eu us ap");
    let others = store().applied("us", "ap=3", 0);
    check_mark(&others, READER.pinned("eu").saw("ap=3"), "unknown us eu ap");
}

#[test]
fn a_drained_region_answers_what_only_it_can() {
    let scene = store().applied("eu", "eu=7", 0).with("eu=drained");
    check_mark(&scene, READER.saw("eu=7"), "routed eu us ap");
    check_mark(&scene, READER.pinned("eu"), "routed eu us ap");
    let decision = scene.decide(&READER.saw("eu=7"));
    assert_eq!(
        scene.story(&decision, "eu"),
        "dropped by drain, kept by fresh"
    );
    let others_too = scene.applied("ap", "eu=7", 0);
    check_mark(&others_too, READER.saw("eu=7"), "routed ap us");
}

/// The store, whose regions have an origin each and tokens that last a minute.
fn with_members() -> Scene {
    let scene = store();
    let origins = ["us", "eu", "ap"].map(|region| (region.into(), vec!["origin".into()]));
    let members = Membership {
        regions: origins.into(),
        ttl: Duration::from_secs(60),
    };
    scene.positions().adopt(members, None);
    scene
}

#[test]
fn a_region_that_left_behind_what_all_had_answers_nothing_but_what_only_it_has_written_since() {
    let mut scene = with_members();
    for now_ms in [0, 2_000] {
        for region in ["us", "eu", "ap"] {
            scene = scene.applied(region, "us=5,eu=5,ap=5", now_ms);
        }
    }
    let scene = scene.applied("us", "us=1:1,eu=5,ap=5", 4_000);
    let reader = READER.at(4_000);
    check(&scene, reader, "eu ap");
    check_mark(&scene, reader.saw("us=5"), "fresh eu ap");
    check_mark(&scene, reader.saw("us=1:1"), "routed us eu ap");
    let restored = scene.applied("us", "us=1:1,eu=3,ap=5", 4_001);
    check(&restored, reader.saw("us=1:1"), "eu ap");
}

#[test]
fn where_no_region_may_be_read_from_all_are() {
    let mut scene = with_members();
    for (region, now_ms) in [("us", 0), ("ap", 0), ("eu", 1_000)] {
        scene = scene.applied(region, "us=5,eu=5,ap=5", now_ms);
    }
    check(&scene, READER.at(1_000), "us eu ap");
    let scene = scene.applied("eu", "us=5,eu=5,ap=5", 60_500);
    check(&scene, READER.at(60_500), "eu");
    check(&scene, READER.at(120_501), "us eu ap");
}

#[test]
fn an_unhealthy_region_answers_nothing_whatever_it_has() {
    let scene = store().applied("eu", "eu=7", 0).with("eu=unhealthy");
    check_mark(&scene, READER.saw("eu=7"), "unknown us ap");
    check_mark(&scene, READER.pinned("eu"), "unknown us ap");
    let both = scene.with("eu=drained");
    check_mark(&both, READER.saw("eu=7"), "unknown us ap");
}

#[test]
fn an_entry_of_another_epoch_is_not_satisfied() {
    let scene = store().applied("us", "eu=4:9", 0);
    check_mark(&scene, READER.saw("eu=4:9"), "fresh us eu ap");
    check_mark(&scene, READER.saw("eu=3:5"), "routed eu us ap");
}

#[test]
fn writes_and_reads_without_a_token_never_look_at_freshness() {
    let scene = store().applied("eu", "eu=7", 0);
    for client in [
        READER,
        READER.used_to("eu"),
        WRITER.saw("eu=7"),
        WRITER.pinned("eu"),
    ] {
        assert!(!Scene::applied_rule(&scene.decide(&client), Rule::Fresh));
    }
    check(&scene, WRITER.saw("eu=7"), "us eu ap");
    let without = Scene::new("steering: { policy: priority }");
    let decision = without.decide(&READER.saw("eu=7").pinned("eu"));
    assert!(!Scene::applied_rule(&decision, Rule::Fresh));
}

#[test]
fn equal_times_go_by_rank() {
    let scene = Scene::new(STORE).measured("us=50 eu=50 ap=50");
    let all = scene
        .applied("us", "eu=1", 0)
        .applied("eu", "eu=1", 0)
        .applied("ap", "eu=1", 0);
    check_mark(&all, READER.saw("eu=1"), "fresh us eu ap");
    check_mark(&all, READER.saw("eu=1").used_to("ap"), "fresh ap us eu");
}

#[test]
fn where_no_round_trip_is_known_the_rank_decides() {
    let scene = Scene::of_edge_without_location(STORE).applied("us", "ap=1", 0);
    check_mark(&scene, READER.saw("ap=1"), "fresh us ap eu");
}

#[test]
fn a_region_of_unknown_round_trip_does_not_pass_for_the_nearest() {
    let yaml = "
node: { location: [50.03, 8.57] }
regions:
  eu: { location: [50.11, 8.68], addresses: [192.0.2.1] }
  lost: { addresses: [192.0.2.2] }
services:
  api:
    hosts: [api.example.com]
    consistency: { read_your_writes: true }
";
    let scene = Scene::of_yaml(yaml)
        .applied("eu", "eu=1", 0)
        .applied("lost", "eu=1", 0);
    check_mark(&scene, READER.saw("eu=1"), "fresh eu lost");
}

/// Whether a decision for this client ends while nobody can ask what is known of positions.
fn is_decided_without_positions(scene: &Scene, client: &Client<'_>, patience: Duration) -> bool {
    let (decided, told) = mpsc::channel();
    thread::scope(|threads| {
        scene.positions().while_held(|| {
            threads.spawn(move || {
                scene.decide(client);
                let _ = decided.send(());
            });
            told.recv_timeout(patience).is_ok()
        })
    })
}

#[test]
fn a_request_without_a_token_is_decided_without_a_look_at_positions() {
    let scene = store().applied("us", "us=5", 0).applied("eu", "us=4", 0);
    let (long, short) = (Duration::from_secs(10), Duration::from_millis(50));
    for client in [READER, WRITER, WRITER.saw("us=5")] {
        assert!(is_decided_without_positions(&scene, &client, long));
    }
    let reads = READER.saw("us=5");
    assert!(!is_decided_without_positions(&scene, &reads, short));
}
