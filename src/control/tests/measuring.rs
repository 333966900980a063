//! Round trips from this edge: measured or modelled, and the order that they give.

use std::sync::Arc;
use std::time::Duration;

use super::scene::{AP, EU, US_A, YAML, at, drain, failed, fold, passed, reload, world};
use crate::control::World;
use crate::control::bequest::{bequeath, inherit};
use crate::control::task::says_the_same;
use crate::latency::Estimate;
use crate::steering::Snapshot;

/// The same configuration at an edge in Frankfurt.
fn near_eu() -> String {
    format!("node: {{ location: [50.03, 8.57] }}\n{YAML}")
}

fn measure(world: &mut World, target: &str, ms: u64) {
    let mut report = passed("api", target);
    if let Ok(phases) = &mut report.result.outcome {
        phases.first_byte = Duration::from_millis(ms);
    }
    fold(world, report, 0);
}

/// The regions by round trip and by distance, `-` where nothing tells them apart.
fn orders(snapshot: &Snapshot) -> (String, String) {
    let names = |order: &Option<Vec<_>>| {
        let name = |region| &*snapshot.plan.regions.of(region).name;
        order.as_ref().map_or_else(
            || "-".to_owned(),
            |order| {
                order
                    .iter()
                    .map(|region| name(*region))
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        )
    };
    let edge = &snapshot.edge;
    (names(&edge.by_round_trip), names(&edge.by_distance))
}

#[track_caller]
fn check(world: &mut World, by_round_trip: &str, by_distance: &str) {
    let (snapshot, _) = world.snapshot(0);
    let expected = (by_round_trip.to_owned(), by_distance.to_owned());
    assert_eq!(orders(&snapshot), expected);
}

fn estimate(world: &mut World, region: &str) -> Estimate {
    let (snapshot, _) = world.snapshot(0);
    let region = snapshot.plan.region(region).unwrap();
    *snapshot.edge.round_trips.of(region)
}

#[test]
fn the_first_probe_to_answer_does_not_make_its_region_the_nearest() {
    let mut world = world(&near_eu());
    check(&mut world, "eu us ap", "eu us ap");
    measure(&mut world, AP, 1);
    check(&mut world, "eu us ap", "eu us ap");
    measure(&mut world, EU, 80);
    check(&mut world, "eu us ap", "eu us ap");
    measure(&mut world, US_A, 40);
    check(&mut world, "ap us eu", "eu us ap");
}

#[test]
fn a_region_that_is_down_is_not_waited_for() {
    let mut world = world(&near_eu());
    measure(&mut world, AP, 1);
    measure(&mut world, EU, 80);
    for service in ["api", "shop"] {
        for origin in ["us/http://10.1.0.1:80", "us/http://10.1.0.2:80"] {
            fold(&mut world, failed(service, origin), 0);
        }
    }
    // us is modelled: about 120 ms.
    check(&mut world, "ap eu us", "eu us ap");
}

#[test]
fn a_region_that_nothing_measures_keeps_nobody_from_being_measured() {
    let mut world = world(&YAML.replace("services:\n", "  later: {}\nservices:\n"));
    for (target, ms) in [(AP, 1), (EU, 80), (US_A, 40)] {
        measure(&mut world, target, ms);
    }
    check(&mut world, "ap us eu later", "-");
}

#[test]
fn an_edge_without_location_knows_no_distance_and_still_measures() {
    let mut world = world(YAML);
    check(&mut world, "-", "-");
    assert_eq!(estimate(&mut world, "us"), Estimate::Unknown);
    for (target, ms) in [(AP, 1), (EU, 80), (US_A, 40)] {
        measure(&mut world, target, ms);
    }
    check(&mut world, "ap us eu", "-");
}

#[test]
fn a_round_trip_is_modelled_until_it_is_measured() {
    let mut world = world(&near_eu());
    let Estimate::Modelled(ms) = estimate(&mut world, "us") else {
        panic!("us was never measured");
    };
    assert!((100.0..150.0).contains(&ms), "{ms}");
    measure(&mut world, US_A, 90);
    assert_eq!(estimate(&mut world, "us"), Estimate::Measured(90.0));
    measure(&mut world, US_A, 190);
    assert_eq!(estimate(&mut world, "us"), Estimate::Measured(110.0));
    fold(&mut world, failed("api", US_A), 0);
    assert_eq!(estimate(&mut world, "us"), Estimate::Measured(110.0));
}

#[test]
fn the_order_in_force_outlasts_a_small_gain_and_a_reload() {
    let mut world = world(&near_eu());
    for (target, ms) in [(AP, 300), (EU, 100), (US_A, 60)] {
        measure(&mut world, target, ms);
    }
    check(&mut world, "us eu ap", "eu us ap");
    measure(&mut world, US_A, 280); // On average 104 ms.
    check(&mut world, "us eu ap", "eu us ap");
    reload(&mut world, &near_eu().replace("ttl: 30s", "ttl: 20s"));
    check(&mut world, "us eu ap", "eu us ap");
    measure(&mut world, US_A, 200); // On average 123.2 ms.
    check(&mut world, "eu us ap", "eu us ap");
}

#[test]
fn round_trips_follow_their_region_when_a_reload_lists_regions_anew() {
    let mut world = world(&near_eu());
    for (target, ms) in [(AP, 1), (EU, 80), (US_A, 40)] {
        measure(&mut world, target, ms);
    }
    world.snapshot(0);
    let us =
        "us: { location: [38.95, -77.45], origins: ['http://10.1.0.1:80', 'http://10.1.0.2:80'] }";
    let ap = "ap: { location: [35.62, 139.78], addresses: [192.0.2.3] }";
    let swapped = near_eu().replace(us, "X").replace(ap, us).replace('X', ap);
    reload(&mut world, &swapped);
    assert_eq!(estimate(&mut world, "ap"), Estimate::Measured(1.0));
    assert_eq!(estimate(&mut world, "us"), Estimate::Measured(40.0));
    check(&mut world, "ap us eu", "eu us ap");
}

#[test]
fn a_region_without_location_goes_last_by_distance() {
    let yaml = near_eu().replace("us: { location: [38.95, -77.45],", "us: {");
    check(&mut world(&yaml), "eu ap us", "eu ap us");
}

/// A world that measured `us` once, at so many ms; `eu` and `ap` are far nearer and far farther.
fn us_at(ms: u64) -> World {
    let mut world = world(&near_eu());
    for (target, ms) in [(EU, 1), (US_A, ms), (AP, 9_000)] {
        measure(&mut world, target, ms);
    }
    world
}

#[track_caller]
fn check_moved(from_ms: u64, to_ms: u64, moved: bool) {
    let (last, _) = us_at(from_ms).snapshot(0);
    let (mut new, _) = us_at(to_ms).snapshot(0);
    new.clients = last.clients.clone();
    assert_eq!(!says_the_same(&last, &new), moved);
}

#[test]
fn a_round_trip_is_published_anew_when_it_moved_by_2_ms_and_a_fifth() {
    check_moved(100, 100, false);
    check_moved(100, 120, false);
    check_moved(100, 121, true);
    check_moved(100, 80, false);
    check_moved(100, 79, true);
    check_moved(8, 10, false);
    check_moved(8, 11, true);
}

#[test]
fn a_snapshot_that_says_anything_else_is_published() {
    let (last, _) = us_at(100).snapshot(0);
    let changes: [fn(&mut World); 4] = [
        |world| reload(world, &near_eu()),
        |world| {
            fold(world, failed("shop", EU), 0);
        },
        |world| {
            world.drain(drain("eu", None, 0), true).unwrap();
        },
        |world| {
            for _ in 0..20 {
                measure(world, AP, 0);
            }
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut world = us_at(100);
        change(&mut world);
        let (mut new, _) = world.snapshot(0);
        new.clients = last.clients.clone();
        assert!(!says_the_same(&last, &new), "change {at}");
    }
    let (before, _) = world(YAML).snapshot(0);
    let mut measured = world(YAML);
    measure(&mut measured, US_A, 1);
    let (mut after, _) = measured.snapshot(0);
    after.clients = before.clients.clone();
    assert!(!says_the_same(&before, &after), "known, then unknown");
}

#[test]
fn clients_that_measurements_have_moved_are_published_and_those_of_another_plan_refused() {
    let mut here = us_at(100);
    let (last, _) = here.snapshot(0);
    let plan = here.plan().clone();
    assert!(here.relocate(&plan, Arc::default()));
    assert!(!says_the_same(&last, &here.snapshot(0).0));
    let other = us_at(100).plan().clone();
    assert!(!here.relocate(&other, last.clients.clone()));
    assert!(!Arc::ptr_eq(&here.snapshot(0).0.clients, &last.clients));
}

#[test]
fn round_trips_and_their_order_go_on_in_the_process_that_takes_over() {
    let mut old = world(&near_eu());
    measure(&mut old, AP, 30);
    measure(&mut old, EU, 40);
    measure(&mut old, US_A, 90);
    check(&mut old, "ap eu us", "eu us ap");
    for _ in 0..50 {
        measure(&mut old, AP, 41); // No longer the nearest, but near enough to stay first.
    }
    check(&mut old, "ap eu us", "eu us ap");
    let mut new = world(&near_eu());
    inherit(&mut new, &bequeath(&old, at(0)), at(0));
    check(&mut new, "ap eu us", "eu us ap");
    let Estimate::Measured(ms) = estimate(&mut new, "ap") else {
        panic!("it was measured");
    };
    assert!((40.0..42.0).contains(&ms), "{ms}");
}
