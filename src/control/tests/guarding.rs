//! What the guards of services refuse, and what counts for them.

use super::draining::until;
use super::scene::{
    EU, US_A, US_B, YAML, applied, check_states, drain, failed, fold, reload, world,
};
use crate::control::{DrainRefused, World};

/// Drains `us` of `shop`, which has `us` and `eu`, under a guard.
#[track_caller]
fn check_guard(min_regions: u16, before: impl FnOnce(&mut World), left: Option<&[&str]>) {
    let guard = format!("regions: [us, eu]\n    guards: {{ min_regions: {min_regions} }}");
    let mut world = world(&YAML.replace("regions: [us, eu]", &guard));
    before(&mut world);
    let drains = world.drains().clone();
    let outcome = world.drain(drain("us", Some("shop"), 5), false);
    match left {
        None => assert!(outcome.is_ok(), "{outcome:?}"),
        Some(left) => {
            let refused = DrainRefused::Guard {
                service: "shop".into(),
                min_regions,
                left: left.iter().map(|region| (*region).into()).collect(),
                unread: Vec::new(),
            };
            assert_eq!(outcome, Err(refused));
            assert_eq!(*world.drains(), drains, "what is refused changes nothing");
            assert!(world.drain(drain("us", Some("shop"), 5), true).is_ok());
        }
    }
}

#[test]
fn a_drain_that_leaves_too_few_healthy_regions_is_refused_unless_forced() {
    let nothing = |_: &mut World| {};
    check_guard(0, nothing, None);
    check_guard(1, nothing, None);
    check_guard(2, nothing, Some(&["eu"]));
}

#[test]
fn regions_that_are_down_or_drained_do_not_count_as_left() {
    let eu_is_down = |world: &mut World| {
        fold(world, failed("shop", EU), 0);
    };
    check_guard(1, eu_is_down, Some(&[]));
    check_guard(0, eu_is_down, None);
    let eu_is_drained = |world: &mut World| {
        world.drain(drain("eu", None, 0), true).unwrap();
    };
    check_guard(1, eu_is_drained, Some(&[]));
    let eu_of_another = |world: &mut World| {
        world.drain(drain("eu", Some("api"), 0), true).unwrap();
    };
    check_guard(1, eu_of_another, None);
    let eu_was_drained = |world: &mut World| {
        world.drain(until(5, drain("eu", None, 0)), true).unwrap();
    };
    check_guard(1, eu_was_drained, None);
}

#[test]
fn a_drain_that_takes_no_healthy_region_away_is_not_refused() {
    let us_is_down = |world: &mut World| {
        fold(world, failed("shop", US_A), 0);
        fold(world, failed("shop", US_B), 0);
    };
    check_guard(2, us_is_down, None);
    let both_are_down = |world: &mut World| {
        us_is_down(world);
        fold(world, failed("shop", EU), 0);
    };
    check_guard(1, both_are_down, None);
    let us_is_drained = |world: &mut World| {
        world.drain(drain("us", None, 0), true).unwrap();
    };
    check_guard(2, us_is_drained, None);
}

#[test]
fn a_degraded_region_counts_as_left() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", US_B), 0);
    check_states(&mut world, "shop", 0, "us=degraded eu=unknown");
    assert!(world.drain(drain("eu", Some("shop"), 0), false).is_ok());
}

#[test]
fn a_drain_for_all_is_refused_if_one_service_suffers() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", US_A), 0);
    fold(&mut world, failed("shop", US_B), 0);
    let refused = world.drain(drain("eu", None, 1), false);
    assert_eq!(
        refused,
        Err(DrainRefused::Guard {
            service: "shop".into(),
            min_regions: 1,
            left: Vec::new(),
            unread: Vec::new(),
        })
    );
    assert!(world.drain(drain("eu", Some("api"), 1), false).is_ok());
}

/// `us` has what was written; a reload adds `eu`, which has said nothing yet.
#[test]
fn a_new_region_that_lacks_what_all_had_does_not_count_as_left() {
    let of = |regions: &str| {
        YAML.replace(
            "    affinity:",
            &format!("    regions: {regions}\n    affinity:"),
        )
    };
    let mut world = world(&of("[us]"));
    for now_ms in [1_000, 2_500] {
        for target in [US_A, US_B] {
            fold(&mut world, applied(target, "us=5"), now_ms);
        }
    }
    reload(&mut world, &of("[us, eu]"));
    let refused = world.drain(drain("us", Some("api"), 3_000), false);
    let refused = refused.unwrap_err();
    assert_eq!(
        refused,
        DrainRefused::Guard {
            service: "api".into(),
            min_regions: 1,
            left: Vec::new(),
            unread: vec!["eu".into()],
        }
    );
    let told = "with 0 healthy region(s), and guards.min_regions is 1; not counted: eu, from which nothing is read now";
    assert!(refused.to_string().ends_with(told), "{refused}");
    assert!(
        world.drain(drain("eu", Some("api"), 3_000), false).is_ok(),
        "nobody misses it"
    );
    world.undrain("eu", Some("api"), 3_000).unwrap();
    fold(&mut world, applied(EU, "us=5"), 4_000);
    assert!(world.drain(drain("us", Some("api"), 4_100), false).is_ok());
}
