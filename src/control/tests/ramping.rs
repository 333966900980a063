//! Ramps: who comes back to a region, and how many at a time.

use super::draining::{TEN_MINUTES_MS, over};
use super::scene::{
    EU, US_A, YAML, answers, at, check_states, drain, failed, fold, passed, see, states, world,
};
use crate::control::{World, remember, restore};

const RAMPED: &str = "ramp: 100s\n    regions: [us, eu]";

fn ramped() -> World {
    world(&YAML.replace("regions: [us, eu]", RAMPED))
}

#[test]
fn whoever_comes_back_from_a_drain_is_given_its_clients_little_by_little() {
    let mut world = ramped();
    world.drain(drain("us", None, 0), false).unwrap();
    check_states(&mut world, "shop", 500_000, "us=unknown+drained eu=unknown");
    world.undrain("us", None, 500_000).unwrap();
    for (now_ms, us) in [
        (500_000, "unknown+returning1"),
        (530_000, "unknown+returning30"),
        (599_999, "unknown+returning99"),
        (600_000, "unknown"),
    ] {
        world.expire(now_ms);
        check_states(&mut world, "shop", now_ms, &format!("us={us} eu=unknown"));
    }
    check_states(
        &mut world,
        "api",
        530_000,
        "us=unknown eu=unknown ap=unknown",
    );
}

#[test]
fn a_gradual_drain_that_is_undone_half_way_gives_back_the_other_half() {
    let mut world = ramped();
    world
        .drain(over(TEN_MINUTES_MS, drain("us", None, 0)), false)
        .unwrap();
    world.undrain("us", None, 300_000).unwrap();
    check_states(
        &mut world,
        "shop",
        300_000,
        "us=unknown+returning50 eu=unknown",
    );
    check_states(&mut world, "shop", 350_000, "us=unknown eu=unknown");
}

/// How much `us` is given again after these drains, by service, from and until a second: all are over at the last one.
fn given_after(drains: &[(Option<&str>, u64, u64)]) -> u64 {
    let mut world = ramped();
    let mut turns: Vec<(u64, Option<&str>, bool)> = Vec::new();
    for (service, from, until) in drains {
        turns.extend([(*from, *service, true), (*until, *service, false)]);
    }
    turns.sort_unstable();
    for (second, service, begins) in &turns {
        let now_ms = 1_000_000 + second * 1_000;
        if *begins {
            world.drain(drain("us", *service, now_ms), false).unwrap();
        } else {
            world.undrain("us", *service, now_ms).unwrap();
        }
        states(&mut world, "shop", now_ms);
    }
    let last_ms = 1_000_000 + turns.last().unwrap().0 * 1_000;
    let shown = states(&mut world, "shop", last_ms);
    let given = shown.split("us=unknown+returning").nth(1).unwrap();
    given.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn outs_that_overlap_count_for_the_time_of_them_together() {
    let shop = Some("shop");
    assert_eq!(given_after(&[(None, 10, 30)]), 80);
    assert_eq!(given_after(&[(None, 10, 30), (shop, 10, 30)]), 80);
    assert_eq!(given_after(&[(None, 10, 32), (shop, 10, 30)]), 78);
    assert_eq!(given_after(&[(None, 10, 30), (shop, 20, 35)]), 75);
    assert_eq!(given_after(&[(None, 10, 40), (shop, 38, 39)]), 70);
    assert_eq!(given_after(&[(None, 10, 300), (shop, 298, 299)]), 1);
}

/// The usual restart.
#[test]
fn whoever_fails_while_it_is_drained_was_out_once() {
    let mut world = ramped();
    check_states(&mut world, "shop", 0, "us=unknown eu=unknown");
    world.drain(drain("eu", None, 210_000), false).unwrap();
    check_states(&mut world, "shop", 210_000, "us=unknown eu=unknown+drained");
    fold(&mut world, failed("shop", EU), 212_000);
    check_states(
        &mut world,
        "shop",
        212_000,
        "us=unknown eu=unhealthy+drained",
    );
    fold(&mut world, passed("shop", EU), 220_000);
    check_states(&mut world, "shop", 220_000, "us=unknown eu=healthy+drained");
    world.undrain("eu", None, 225_000).unwrap();
    check_states(
        &mut world,
        "shop",
        225_000,
        "us=unknown eu=healthy+returning85",
    );
}

#[test]
fn whoever_recovers_is_given_what_it_lost_little_by_little() {
    let mut world = ramped();
    check_states(&mut world, "shop", 1_000_000, "us=unknown eu=unknown");
    fold(&mut world, failed("shop", EU), 1_001_000);
    check_states(&mut world, "shop", 1_001_000, "us=unknown eu=unhealthy");
    fold(&mut world, passed("shop", EU), 1_041_000);
    check_states(
        &mut world,
        "shop",
        1_041_000,
        "us=unknown eu=healthy+returning60",
    );
    check_states(&mut world, "shop", 1_081_000, "us=unknown eu=healthy");
}

/// What a hundredth of the clients shows is no reason to send all.
#[test]
fn whoever_fails_again_on_its_way_back_begins_from_where_it_was_and_not_from_where_it_would_be() {
    let back_at = |mut world: World, now_ms: u64, eu: &str| {
        fold(&mut world, passed("shop", EU), now_ms);
        let expected = format!("us=unknown eu=healthy{eu}");
        check_states(&mut world, "shop", now_ms, &expected);
        world
    };
    let fails_at = |mut world: World, now_ms: u64| {
        fold(&mut world, failed("shop", EU), now_ms);
        check_states(&mut world, "shop", now_ms, "us=unknown eu=unhealthy");
        world
    };
    let mut world = ramped();
    check_states(&mut world, "shop", 1_000_000, "us=unknown eu=unknown");
    let world = fails_at(world, 1_001_000);
    let world = back_at(world, 1_201_000, "+returning1");
    let world = fails_at(world, 1_202_000);
    let world = back_at(world, 1_203_000, "+returning1");
    let mut world = fails_at(world, 1_253_000);
    let state = remember(&world, at(1_253_000));
    world.expire(1_260_000);
    let world = back_at(world, 1_263_000, "+returning40");
    // After so long nothing is left of it.
    let mut world = fails_at(world, 1_264_000);
    world.expire(1_364_000);
    back_at(world, 1_364_000, "+returning1");
    let mut later = ramped();
    restore(&mut later, &state, at(1_254_000));
    check_states(&mut later, "shop", 1_254_000, "us=unknown eu=unhealthy");
    back_at(later, 1_263_000, "+returning40");
}

#[test]
fn whoever_is_drained_on_its_way_back_begins_from_where_it_was() {
    let mut world = ramped();
    world.drain(drain("us", None, 0), false).unwrap();
    world.undrain("us", None, 500_000).unwrap();
    world.drain(drain("us", None, 510_000), false).unwrap();
    world.expire(515_000);
    world.undrain("us", None, 515_000).unwrap();
    let expected = "us=unknown+returning5 eu=unknown";
    check_states(&mut world, "shop", 515_000, expected);
}

#[test]
fn whoever_is_drained_little_by_little_on_its_way_back_is_given_no_more_meanwhile() {
    let mut world = ramped();
    world.drain(drain("us", None, 0), false).unwrap();
    world.undrain("us", None, 500_000).unwrap();
    let slowly = over(TEN_MINUTES_MS, drain("us", None, 510_000));
    world.drain(slowly, false).unwrap();
    for (now_ms, us) in [
        (510_000, "leaving10"),
        (700_000, "leaving10"),
        (1_080_000, "leaving5"),
    ] {
        world.expire(now_ms);
        let states = states(&mut world, "shop", now_ms);
        assert!(states.contains(us), "{now_ms}: {states}");
    }
    world.undrain("us", None, 1_080_000).unwrap();
    let expected = "us=unknown+returning5 eu=unknown";
    check_states(&mut world, "shop", 1_080_000, expected);
}

#[test]
fn how_long_a_region_has_been_out_is_known_after_a_restart() {
    let mut before = ramped();
    fold(&mut before, failed("shop", EU), 1_000_000);
    check_states(&mut before, "shop", 1_000_000, "us=unknown eu=unhealthy");
    let state = remember(&before, at(1_200_000));
    let mut after = ramped();
    restore(&mut after, &state, at(1_201_000));
    check_states(&mut after, "shop", 1_201_000, "us=unknown eu=unhealthy");
    fold(&mut after, passed("shop", EU), 1_202_000);
    let expected = "us=unknown eu=healthy+returning1";
    check_states(&mut after, "shop", 1_202_000, expected);
}

/// `shop` in a second in which each of so many requests is answered, when eu fails and comes back within it.
fn recovered_among(requests: u32) -> World {
    recovered_with(YAML, requests)
}

fn recovered_with(yaml: &str, requests: u32) -> World {
    let mut world = world(yaml);
    check_states(&mut world, "shop", 100_000, "us=unknown eu=unknown");
    fold(&mut world, failed("shop", EU), 101_000);
    check_states(&mut world, "shop", 101_000, "us=unknown eu=unhealthy");
    see(&mut world, "shop", US_A, answers(requests), 120_000);
    fold(&mut world, passed("shop", EU), 120_000);
    world
}

#[test]
fn a_busy_service_is_given_back_a_region_little_by_little_without_having_asked_and_another_at_once()
{
    let mut idle = recovered_among(999);
    check_states(&mut idle, "shop", 120_000, "us=unknown eu=healthy");
    let mut busy = recovered_among(1_000);
    for (now_ms, eu) in [
        (120_000, "healthy+returning1"),
        (125_000, "healthy+returning50"),
        (130_000, "healthy"),
    ] {
        check_states(&mut busy, "shop", now_ms, &format!("us=unknown eu={eu}"));
    }
    let mut later = recovered_among(1_000);
    see(&mut later, "shop", US_A, answers(1), 140_000);
    later.drain(drain("us", None, 140_000), false).unwrap();
    later.undrain("us", None, 150_000).unwrap();
    check_states(&mut later, "shop", 150_000, "us=unknown eu=healthy");
}

#[test]
fn how_busy_a_service_is_counts_with_passive_health_off_too() {
    let shop = "hosts: [shop.example.com]";
    let off = YAML.replace(shop, &format!("{shop}\n    health: {{ passive: off }}"));
    for (requests, eu) in [(999, "healthy"), (1_000, "healthy+returning1")] {
        let mut world = recovered_with(&off, requests);
        check_states(&mut world, "shop", 120_000, &format!("us=unknown eu={eu}"));
    }
}

#[test]
fn a_ramp_goes_on_in_the_process_after_from_where_it_was() {
    let mut before = ramped();
    before.drain(drain("us", None, 0), false).unwrap();
    before.undrain("us", None, 500_000).unwrap();
    before.expire(530_000);
    let state = remember(&before, at(530_000));
    for yaml in [RAMPED, "ramp: 10s\n    regions: [us, eu]"] {
        let mut after = world(&YAML.replace("regions: [us, eu]", yaml));
        restore(&mut after, &state, at(540_000));
        for (now_ms, us) in [(540_000, "unknown+returning40"), (600_000, "unknown")] {
            after.expire(now_ms);
            check_states(&mut after, "shop", now_ms, &format!("us={us} eu=unknown"));
        }
    }
    let mut without = world(&YAML.replace("regions: [us, eu]", "regions: [eu, ap]"));
    restore(&mut without, &state, at(540_000));
    assert_eq!(without.ramps(), []);
}
