//! Probe reports become verdicts, states of regions, TTLs and events.

use std::time::Duration;

use super::scene::{
    AP, EU, US_A, US_B, YAML, applied, check_states, failed, fold, member, passed, since, told,
    world,
};
use crate::health::{Health, Verdict};
use crate::ids::Id;
use crate::steering::Snapshot;

#[test]
fn before_the_first_probe_every_region_is_unknown_and_able() {
    let mut world = world(YAML);
    check_states(&mut world, "api", 0, "us=unknown eu=unknown ap=unknown");
    let (snapshot, events) = world.snapshot(0);
    assert_eq!(events, []);
    assert!(member(&snapshot, "api", "eu").health.is_able());
    assert_eq!(able(&snapshot, "api"), ["10.1.0.1", "10.1.0.2", "10.2.0.1"]);
}

/// The hosts of a service's able origins.
fn able(snapshot: &Snapshot, service: &str) -> Vec<String> {
    let id = snapshot.plan.service(service).unwrap();
    let (_, state) = snapshot.service(id);
    state
        .able_origins
        .iter()
        .map(|(_, origin)| snapshot.plan.origins.of(*origin).url.host.to_string())
        .collect()
}

#[test]
fn a_region_is_as_well_as_its_targets() {
    let mut world = world(YAML);
    for target in [US_A, US_B, EU, AP] {
        fold(&mut world, passed("api", target), 10);
    }
    check_states(&mut world, "api", 10, "us=healthy eu=healthy ap=healthy");
    fold(&mut world, failed("api", US_B), 20);
    check_states(&mut world, "api", 20, "us=degraded eu=healthy ap=healthy");
    fold(&mut world, failed("api", US_A), 30);
    fold(&mut world, failed("api", AP), 30);
    check_states(
        &mut world,
        "api",
        30,
        "us=unhealthy eu=healthy ap=unhealthy",
    );
    fold(&mut world, passed("api", US_A), 40);
    check_states(&mut world, "api", 40, "us=degraded eu=healthy ap=unhealthy");
}

#[test]
fn as_many_origins_as_min_healthy_must_be_healthy() {
    let strict = YAML.replace(
        "regions: [us, eu]",
        "regions: [us]\n    health: { min_healthy: 2 }",
    );
    let mut world = world(&strict);
    fold(&mut world, passed("shop", US_A), 0);
    fold(&mut world, passed("shop", US_B), 0);
    check_states(&mut world, "shop", 0, "us=healthy");
    fold(&mut world, failed("shop", US_A), 1);
    check_states(&mut world, "shop", 1, "us=unhealthy");
}

#[test]
fn one_service_s_health_is_not_another_s() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", EU), 0);
    check_states(&mut world, "shop", 0, "us=unknown eu=unhealthy");
    check_states(&mut world, "api", 0, "us=unknown eu=unknown ap=unknown");
}

#[test]
fn an_origin_that_fails_is_not_connected_to_first() {
    let mut world = world(YAML);
    fold(&mut world, failed("api", US_A), 0);
    let (snapshot, _) = world.snapshot(0);
    assert_eq!(able(&snapshot, "api"), ["10.1.0.2", "10.2.0.1"]);
    assert_eq!(
        able(&snapshot, "shop"),
        ["10.1.0.1", "10.1.0.2", "10.2.0.1"]
    );
}

#[test]
fn a_change_of_a_target_and_of_its_region_is_told_once_each() {
    let mut world = world(YAML);
    world.snapshot(0);
    let folded = fold(&mut world, failed("shop", EU), 5);
    assert_eq!(
        told(&folded.events),
        ["health eu shop: http://10.2.0.1:80 of eu is unhealthy: status 503 is not expected"]
    );
    let (_, events) = world.snapshot(6);
    assert_eq!(
        told(&events),
        ["health eu shop: region eu is unhealthy for service shop, was unknown"]
    );
    assert_eq!(events[0].at_ms, 6);
    let again = fold(&mut world, failed("shop", EU), 7);
    assert_eq!(again.events, []);
    assert_eq!(world.snapshot(8).1, []);
    let back = fold(&mut world, passed("shop", EU), 9);
    assert_eq!(
        told(&back.events),
        ["health eu shop: http://10.2.0.1:80 of eu is healthy: answered in 10 ms"]
    );
    let (_, events) = world.snapshot(10);
    assert_eq!(
        told(&events),
        ["health eu shop: region eu is healthy for service shop, was unhealthy"]
    );
}

#[test]
fn since_is_when_the_state_began_not_when_it_was_last_seen() {
    let mut world = world(YAML);
    assert_eq!(since(&world, "shop", "eu"), None);
    world.snapshot(1);
    assert_eq!(since(&world, "shop", "eu"), Some(1));
    fold(&mut world, passed("shop", EU), 50);
    world.snapshot(50);
    fold(&mut world, passed("shop", EU), 90);
    world.snapshot(90);
    assert_eq!(since(&world, "shop", "eu"), Some(50));
    assert_eq!(since(&world, "shop", "us"), Some(1));
    fold(&mut world, failed("shop", EU), 120);
    world.snapshot(120);
    assert_eq!(since(&world, "shop", "eu"), Some(120));
}

#[test]
fn the_status_has_the_last_probe_of_every_target() {
    let mut world = world(YAML);
    fold(&mut world, passed("shop", EU), 10);
    let mut dissent = failed("shop", EU);
    dissent.verdict = Verdict::Healthy;
    fold(&mut world, dissent, 20);
    let status = world.status();
    assert_eq!(status.targets.len(), 4 + 3);
    let shop = world.plan().service("shop").unwrap();
    let eu = status
        .targets
        .iter()
        .find(|status| status.target.service == shop && status.target.region.index() == 1)
        .unwrap();
    let last = eu.last.as_ref().unwrap();
    assert_eq!((eu.verdict, last.at_ms), (Verdict::Healthy, 20));
    assert!(last.outcome.is_err());
    let others = status.targets.iter().filter(|status| status.last.is_some());
    assert_eq!(others.count(), 1);
}

#[test]
fn a_report_of_a_target_that_is_gone_changes_nothing() {
    let mut world = world(YAML);
    let folded = fold(&mut world, failed("shop", AP), 0);
    assert!(folded.events.is_empty() && !folded.stirred);
    let folded = fold(&mut world, failed("nobody", EU), 0);
    assert!(folded.events.is_empty() && !folded.stirred);
    check_states(&mut world, "shop", 0, "us=unknown eu=unknown");
}

#[test]
fn only_a_verdict_or_the_prospect_of_one_stirs() {
    let mut world = world(YAML);
    let dissent = |left_s| {
        let mut report = failed("api", EU);
        report.verdict = Verdict::Healthy;
        report.flip_in = Some(Duration::from_secs(left_s));
        report
    };
    assert!(fold(&mut world, passed("api", EU), 0).stirred);
    assert!(!fold(&mut world, passed("api", EU), 1).stirred);
    assert!(fold(&mut world, dissent(4), 2).stirred);
    assert!(!fold(&mut world, dissent(4), 3).stirred);
    assert!(fold(&mut world, dissent(2), 4).stirred);
    assert!(fold(&mut world, passed("api", EU), 5).stirred);
}

/// The TTLs of `api` when its targets could flip in so many seconds; `api` has 30 s and 5 s.
#[track_caller]
fn check_ttl(flips_in_s: &[Option<u64>], expected_s: u32) {
    let mut world = world(YAML);
    for (target, flip_in) in [US_A, EU, AP].iter().zip(flips_in_s) {
        let mut report = passed("api", target);
        report.flip_in = flip_in.map(Duration::from_secs);
        fold(&mut world, report, 0);
    }
    let (snapshot, _) = world.snapshot(0);
    let ttl = |service| {
        let id = snapshot.plan.service(service).unwrap();
        snapshot.services.of(id).ttl.secs()
    };
    assert_eq!((ttl("api"), ttl("shop")), (expected_s, 30));
}

#[test]
fn the_ttl_is_no_longer_than_the_soonest_flip_and_never_below_ttl_min() {
    check_ttl(&[], 30);
    check_ttl(&[None, Some(12)], 12);
    check_ttl(&[Some(20), Some(12), Some(14)], 12);
    check_ttl(&[Some(6)], 6);
    check_ttl(&[Some(5)], 5);
    check_ttl(&[Some(4)], 5);
    check_ttl(&[Some(0)], 5);
    check_ttl(&[Some(31)], 30);
}

#[test]
fn what_a_probe_s_answer_says_of_positions_is_known_at_once() {
    let mut world = world(YAML);
    let folded = fold(&mut world, applied(EU, "us=5,eu=3:9"), 10);
    assert_eq!(told(&folded.events).len(), 1); // It is healthy; of positions there is nothing to tell.
    let known = world.applied("orders").unwrap().region("eu");
    assert_eq!(known.to_string(), "eu=3:9,us=5");
    for nonsense in ["", "us", "us=x", "us=1,us=2"] {
        fold(&mut world, applied(US_A, nonsense), 11);
        let known = world.applied("orders").unwrap().region("us");
        assert!(known.is_empty(), "{nonsense}: {known}");
    }
}

#[test]
fn positions_that_run_backwards_are_told_and_the_region_is_degraded_for_a_minute() {
    let mut world = world(YAML);
    fold(&mut world, applied(EU, "us=5"), 1_000);
    fold(&mut world, passed("shop", EU), 1_000);
    let folded = fold(&mut world, applied(EU, "us=4"), 2_000);
    assert_eq!(
        told(&folded.events),
        ["position eu -: positions of eu ran backwards, to us=4"]
    );
    assert!(folded.stirred);
    check_states(
        &mut world,
        "api",
        2_000,
        "us=unknown eu=degraded ap=unknown",
    );
    check_states(&mut world, "shop", 2_000, "us=unknown eu=degraded");
    let known = world.applied("orders").unwrap().region("eu");
    assert_eq!(known.to_string(), "us=4");
    assert_eq!(world.next_change_ms(), Some(62_000));
    world.expire(61_999);
    check_states(&mut world, "shop", 61_999, "us=unknown eu=degraded");
    world.expire(62_000);
    check_states(&mut world, "shop", 62_000, "us=unknown eu=healthy");
    assert_eq!(world.next_change_ms(), None);
}

#[test]
fn a_late_word_is_no_step_backwards() {
    let mut world = world(YAML);
    world.report(applied(EU, "us=5"), 1_000, (900, 1_000));
    let late = world.report(applied(EU, "us=4"), 1_010, (950, 1_010));
    assert_eq!(late.events, []);
    let known = world.applied("orders").unwrap().region("eu");
    assert_eq!(known.to_string(), "us=5");
}

#[test]
fn a_suspect_region_that_is_down_stays_down() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", EU), 0);
    let event = world.suspect(&"eu".into(), "it ran backwards".into(), 5);
    assert_eq!(told(&[event]), ["position eu -: it ran backwards"]);
    let (snapshot, _) = world.snapshot(5);
    assert_eq!(member(&snapshot, "shop", "eu").health, Health::Unhealthy);
    assert_eq!(member(&snapshot, "api", "eu").health, Health::Degraded);
}
