//! Drains: whom they concern, what refuses them, and how they end.

use std::time::Duration;

use super::scene::{YAML, check_states, drain, told, world};
use crate::control::{DrainRefused, DrainRequest, World};

pub(super) const TEN_MINUTES_MS: u64 = 600_000;

pub(super) fn until(until_ms: u64, drain: DrainRequest) -> DrainRequest {
    DrainRequest {
        until_ms: Some(until_ms),
        ..drain
    }
}

#[test]
fn a_drain_is_told_with_its_scope_and_reason() {
    let mut world = world(YAML);
    let event = world.drain(drain("eu", None, 7), false).unwrap();
    assert_eq!(event.at_ms, 7);
    assert_eq!(told(&[event]), ["drain eu -: region eu is drained"]);
    let with_reason = DrainRequest {
        by: None,
        reason: Some("new disks".into()),
        ..drain("us", Some("api"), 8)
    };
    let event = world.drain(with_reason, false).unwrap();
    assert_eq!(
        told(&[event]),
        ["drain us api: region us is drained for service api: new disks"]
    );
}

#[test]
fn sessions_stay_for_the_service_s_drain_time_counted_from_the_drain() {
    let mut world = world(YAML);
    world.drain(drain("eu", None, 1_000), false).unwrap();
    check_states(&mut world, "shop", 1_000, "us=unknown eu=unknown+drained");
    let last = 1_000 + TEN_MINUTES_MS;
    let draining = "us=unknown eu=unknown+draining ap=unknown";
    check_states(&mut world, "api", 1_000, draining);
    check_states(&mut world, "api", last - 1, draining);
    assert_eq!(world.next_change_ms(), Some(last));
    let drained = "us=unknown eu=unknown+drained ap=unknown";
    check_states(&mut world, "api", last, drained);
    world.expire(last);
    assert_eq!(world.next_change_ms(), None);
}

#[test]
fn asking_again_gives_sessions_no_more_time() {
    let mut world = world(YAML);
    world.drain(drain("eu", None, 0), false).unwrap();
    world
        .drain(drain("eu", None, TEN_MINUTES_MS - 1), false)
        .unwrap();
    check_states(
        &mut world,
        "api",
        TEN_MINUTES_MS,
        "us=unknown eu=unknown+drained ap=unknown",
    );
}

#[test]
fn a_drain_that_is_asked_for_again_brings_nobody_back() {
    let mut world = world(YAML);
    let over = |over_ms, since_ms| DrainRequest {
        over_ms: Some(over_ms),
        ..drain("eu", None, since_ms)
    };
    let left = |world: &World| {
        world
            .drains()
            .of("eu", None)
            .unwrap()
            .leaves(Duration::ZERO, 60_000)
            .0
    };
    for (first, again, share) in [
        (0, 600_000, 0),
        (100_000, 600_000, 40),
        (100_000, 80_000, 25),
        (100_000, 0, 0),
    ] {
        world.drain(over(first, 0), true).unwrap();
        let event = world.drain(over(again, 60_000), true).unwrap();
        assert_eq!(
            left(&world).get(),
            share,
            "{first} {again}: {}",
            event.message
        );
        world.undrain("eu", None, 60_000).unwrap();
    }
}

#[test]
fn a_drain_for_one_service_leaves_the_others_alone() {
    let mut world = world(YAML);
    world.drain(drain("eu", Some("shop"), 0), false).unwrap();
    check_states(&mut world, "shop", 0, "us=unknown eu=unknown+drained");
    check_states(&mut world, "api", 0, "us=unknown eu=unknown ap=unknown");
}

#[test]
fn what_is_not_there_is_not_drained() {
    let mut world = world(YAML);
    for force in [false, true] {
        assert_eq!(
            world.drain(drain("mars", None, 0), force),
            Err(DrainRefused::UnknownRegion("mars".into()))
        );
        for service in ["nobody", "shop"] {
            assert_eq!(
                world.drain(drain("ap", Some(service), 0), force),
                Err(DrainRefused::UnknownService(service.into()))
            );
        }
    }
    assert_eq!(world.drains().iter().count(), 0);
}

#[test]
fn a_drain_ends_when_its_time_is_over_and_not_before() {
    let mut world = world(YAML);
    world
        .drain(until(100, drain("eu", None, 0)), false)
        .unwrap();
    assert_eq!(world.next_change_ms(), Some(100));
    assert_eq!(world.expire(99), []);
    check_states(&mut world, "shop", 99, "us=unknown eu=unknown+drained");
    let events = world.expire(100);
    assert_eq!(
        told(&events),
        ["drain eu -: the drain of region eu is over"]
    );
    check_states(&mut world, "shop", 100, "us=unknown eu=unknown");
    assert_eq!(world.expire(101), []);
    assert_eq!(world.next_change_ms(), None);
}

#[test]
fn a_drain_whose_time_is_over_holds_nobody_off_even_before_it_is_cleared_away() {
    let mut world = world(YAML);
    world
        .drain(until(100, drain("eu", None, 0)), false)
        .unwrap();
    check_states(&mut world, "shop", 100, "us=unknown eu=unknown");
    check_states(&mut world, "api", 100, "us=unknown eu=unknown ap=unknown");
}

#[test]
fn what_is_overdue_is_due_now() {
    let mut world = world(YAML);
    world
        .drain(until(100, drain("eu", None, 0)), false)
        .unwrap();
    assert!(world.next_change_ms().is_some_and(|at| at <= 150));
    world.expire(150);
    world.suspect(&"eu".into(), "it ran backwards".into(), 1_000);
    assert!(world.next_change_ms().is_some_and(|at| at <= 90_000));
}

#[test]
fn the_soonest_change_comes_first() {
    let mut world = world(YAML);
    world
        .drain(until(900_000, drain("eu", Some("api"), 0)), false)
        .unwrap();
    world
        .drain(until(50_000, drain("us", Some("api"), 0)), false)
        .unwrap();
    assert_eq!(world.next_change_ms(), Some(50_000));
    world.expire(50_000);
    assert_eq!(world.next_change_ms(), Some(TEN_MINUTES_MS));
    world.expire(TEN_MINUTES_MS);
    assert_eq!(world.next_change_ms(), Some(900_000));
}

#[test]
fn a_drain_can_be_undone_once_and_only_as_it_was_made() {
    let mut world = world(YAML);
    world.drain(drain("eu", Some("shop"), 0), false).unwrap();
    let refused =
        |world: &mut World, service| world.undrain("eu", service, 1).unwrap_err().to_string();
    assert_eq!(
        refused(&mut world, None),
        "region `eu` is not drained: it is for service `shop`, which is undone apart"
    );
    assert_eq!(
        refused(&mut world, Some("api")),
        "region `eu` is not drained for service `api`: it is for service `shop`, which is undone apart"
    );
    let event = world.undrain("eu", Some("shop"), 2).unwrap();
    assert_eq!(event.at_ms, 2);
    assert_eq!(
        told(&[event]),
        ["drain eu shop: the drain of region eu for service shop is undone"]
    );
    check_states(&mut world, "shop", 2, "us=unknown eu=unknown");
    assert_eq!(
        refused(&mut world, Some("shop")),
        "region `eu` is not drained for service `shop`"
    );
    let unknown = Err(DrainRefused::UnknownRegion("mars".into()));
    assert_eq!(world.undrain("mars", None, 3), unknown);
}

#[test]
fn a_drain_that_began_again_after_it_was_undone_gives_sessions_their_time() {
    let mut world = world(YAML);
    world.drain(drain("eu", None, 0), false).unwrap();
    world.undrain("eu", None, 10).unwrap();
    world
        .drain(drain("eu", None, TEN_MINUTES_MS), false)
        .unwrap();
    check_states(
        &mut world,
        "api",
        TEN_MINUTES_MS,
        "us=unknown eu=unknown+draining ap=unknown",
    );
}

#[test]
fn of_two_drains_of_a_region_the_older_counts() {
    let mut world = world(YAML);
    world.drain(drain("eu", None, 0), false).unwrap();
    world
        .drain(drain("eu", Some("api"), TEN_MINUTES_MS), false)
        .unwrap();
    check_states(
        &mut world,
        "api",
        TEN_MINUTES_MS,
        "us=unknown eu=unknown+drained ap=unknown",
    );
    world.undrain("eu", None, TEN_MINUTES_MS).unwrap();
    check_states(
        &mut world,
        "api",
        TEN_MINUTES_MS,
        "us=unknown eu=unknown+draining ap=unknown",
    );
}

pub(super) fn over(over_ms: u64, drain: DrainRequest) -> DrainRequest {
    DrainRequest {
        over_ms: Some(over_ms),
        ..drain
    }
}

#[test]
fn a_gradual_drain_takes_clients_step_by_step_and_sessions_as_much_later() {
    let mut world = world(YAML);
    let event = world
        .drain(over(TEN_MINUTES_MS, drain("us", None, 0)), false)
        .unwrap();
    assert_eq!(
        told(&[event]),
        ["drain us -: region us is drained over 10m"]
    );
    for (now_ms, api, shop) in [
        (0, "leaving100/100", "leaving100/100"),
        (300_000, "leaving50/100", "leaving50/50"),
        (600_000, "draining", "drained"),
        (900_000, "leaving0/50", "drained"),
        (1_200_000, "drained", "drained"),
    ] {
        let others = "eu=unknown ap=unknown";
        check_states(
            &mut world,
            "api",
            now_ms,
            &format!("us=unknown+{api} {others}"),
        );
        check_states(
            &mut world,
            "shop",
            now_ms,
            &format!("us=unknown+{shop} eu=unknown"),
        );
    }
}

#[test]
fn the_writer_wakes_for_every_step_of_a_gradual_drain() {
    let mut world = world(YAML);
    world
        .drain(over(4_000, drain("us", Some("shop"), 10)), false)
        .unwrap();
    let mut steps = Vec::new();
    while let Some(at) = world.next_change_ms().filter(|at| *at < 100_000) {
        steps.push(at);
        world.expire(at);
    }
    assert_eq!(steps, [1_010, 2_010, 3_010, 4_010]);
}

/// A drain of `us` over ten minutes since 0, asked for again at a time and looked at with `api`, whose sessions have ten minutes.
#[track_caller]
fn check_hurried(at_ms: u64, again: DrainRequest, states: &[(u64, &str)]) {
    let mut world = world(YAML);
    let gradual = over(TEN_MINUTES_MS, drain("us", None, 0));
    world.drain(gradual, false).unwrap();
    let again = DrainRequest {
        since_ms: at_ms,
        ..again
    };
    world.drain(again, false).unwrap();
    for (now_ms, us) in states {
        let states = format!("us=unknown+{us} eu=unknown ap=unknown");
        check_states(&mut world, "api", *now_ms, &states);
    }
}

#[test]
fn hurrying_a_gradual_drain_gives_sessions_their_time_from_the_hurrying() {
    check_hurried(
        300_000,
        over(0, drain("us", None, 0)),
        &[
            (300_000, "draining"),
            (TEN_MINUTES_MS, "draining"),
            (720_000, "leaving0/80"),
            (899_999, "leaving0/51"),
            (900_000, "drained"),
        ],
    );
    check_hurried(
        300_000,
        over(400_000, drain("us", None, 0)),
        &[
            (300_000, "leaving25/100"),
            (899_999, "leaving0/51"),
            (900_000, "leaving0/25"),
            (1_000_000, "drained"),
        ],
    );
}

#[test]
fn a_drain_that_was_through_goes_on_with_its_sessions_as_it_was_when_it_is_hurried() {
    check_hurried(
        700_000,
        over(0, drain("us", None, 0)),
        &[(700_000, "leaving0/84"), (1_200_000, "drained")],
    );
}

#[test]
fn an_end_and_a_reason_given_later_leave_the_pace_as_it_is() {
    let again = DrainRequest {
        by: None,
        reason: Some("until noon".into()),
        ..until(2_000_000, drain("us", None, 0))
    };
    check_hurried(
        300_000,
        again,
        &[
            (300_000, "leaving50/100"),
            (TEN_MINUTES_MS, "draining"),
            (900_000, "leaving0/50"),
        ],
    );
}

#[test]
fn an_end_before_a_drain_is_through_is_refused_unless_it_is_hurried() {
    let mut world = world(YAML);
    let gradual = over(TEN_MINUTES_MS, drain("us", None, 0));
    world.drain(gradual, false).unwrap();
    let before = world.drains().clone();
    let early = until(TEN_MINUTES_MS - 1, drain("us", None, 1));
    let refused = world.drain(early.clone(), true).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it would end before it is through: it goes on over 10m, say `over` to hurry it"
    );
    assert_eq!(*world.drains(), before);
    world.drain(over(0, early), true).unwrap();
    world
        .drain(until(TEN_MINUTES_MS, drain("us", None, 2)), true)
        .unwrap();
}

#[test]
fn the_writer_wakes_for_the_sessions_of_a_drain_that_was_hurried() {
    let mut world = world(YAML);
    let gradual = over(4_000, drain("us", Some("api"), 10));
    world.drain(gradual, false).unwrap();
    world
        .drain(over(0, drain("us", Some("api"), 2_500)), false)
        .unwrap();
    world.expire(2_500);
    let mut steps = Vec::new();
    while let Some(at) = world.next_change_ms() {
        steps.push(at);
        world.expire(at);
    }
    let sessions = [601_010, 602_010, 602_500];
    assert_eq!(steps, sessions);
}
