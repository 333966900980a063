//! A reload keeps what is known of all that did not change.

use super::scene::{
    AP, EU, US_A, US_B, YAML, applied, check_states, drain, failed, fold, passed, reload, since,
    told, world,
};
use crate::control::World;
use crate::health::Verdict;

const EU_ORIGIN: &str = "http://10.2.0.1:80";

#[test]
fn every_reload_counts_from_1() {
    let mut world = world(YAML);
    assert_eq!(world.snapshot(0).0.generation, 1);
    reload(&mut world, YAML);
    assert_eq!((world.generation(), world.snapshot(0).0.generation), (2, 2));
}

#[test]
fn health_is_kept_with_its_since_and_told_to_nobody() {
    let mut world = world(YAML);
    fold(&mut world, failed("api", EU), 10);
    fold(&mut world, passed("api", AP), 10);
    world.snapshot(10);
    let renamed = YAML
        .replace("shop:", "store:")
        .replace("ttl: 30s", "ttl: 20s");
    reload(&mut world, &renamed);
    let (_, events) = world.snapshot(99);
    assert_eq!(events, []);
    check_states(&mut world, "api", 99, "us=unknown eu=unhealthy ap=healthy");
    assert_eq!(since(&world, "api", "eu"), Some(10));
    assert_eq!(since(&world, "store", "eu"), Some(99));
    assert_eq!(since(&world, "shop", "eu"), None);
}

#[test]
fn health_follows_its_region_when_a_reload_lists_regions_anew() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", EU), 10);
    let reversed = YAML.replace("regions: [us, eu]", "regions: [eu, us]");
    let first = "regions:\n  us:";
    let with_one_before =
        reversed.replace(first, "regions:\n  aa: { addresses: [192.0.2.9] }\n  us:");
    reload(&mut world, &with_one_before);
    check_states(&mut world, "shop", 20, "eu=unhealthy us=unknown");
    check_states(
        &mut world,
        "api",
        20,
        "aa=unknown us=unknown eu=unknown ap=unknown",
    );
}

#[test]
fn an_origin_that_moved_is_unknown_again_and_its_neighbour_is_not() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", US_A), 10);
    fold(&mut world, failed("shop", US_B), 10);
    check_states(&mut world, "shop", 10, "us=unhealthy eu=unknown");
    reload(&mut world, &YAML.replace("10.1.0.2:80", "10.1.0.2:81"));
    check_states(&mut world, "shop", 11, "us=degraded eu=unknown");
    let verdicts: Vec<(String, Verdict)> = world
        .checks()
        .filter(|(key, _, _)| key.starts_with("shop/us/"))
        .map(|(key, _, verdict)| (key.to_string(), verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("shop/us/http://10.1.0.1:80".into(), Verdict::Unhealthy),
            ("shop/us/http://10.1.0.2:81".into(), Verdict::Unknown),
        ]
    );
}

#[test]
fn a_report_from_before_the_reload_of_what_it_took_away_is_nobody_s() {
    let mut world = world(YAML);
    reload(&mut world, &YAML.replace("10.2.0.1:80", "10.2.0.1:81"));
    assert!(!fold(&mut world, failed("shop", EU), 5).stirred);
    reload(&mut world, YAML);
    check_states(&mut world, "shop", 6, "us=unknown eu=unknown");
}

#[test]
fn a_region_that_left_and_came_back_begins_anew() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", EU), 10);
    world.snapshot(10);
    reload(
        &mut world,
        &YAML.replace("regions: [us, eu]", "regions: [us]"),
    );
    world.snapshot(20);
    assert_eq!(since(&world, "shop", "eu"), None);
    reload(&mut world, YAML);
    let (_, events) = world.snapshot(30);
    assert_eq!(told(&events), [""; 0]);
    assert_eq!(since(&world, "shop", "eu"), Some(30));
    check_states(&mut world, "shop", 30, "us=unknown eu=unknown");
}

#[test]
fn drains_are_kept_and_wait_for_their_region() {
    let mut world = world(YAML);
    world.drain(drain("eu", Some("shop"), 5), false).unwrap();
    reload(
        &mut world,
        &YAML.replace("regions: [us, eu]", "regions: [us]"),
    );
    check_states(&mut world, "shop", 6, "us=unknown");
    reload(&mut world, YAML);
    check_states(&mut world, "shop", 7, "us=unknown eu=unknown+drained");
}

#[test]
fn a_drain_can_be_undone_even_after_a_reload_took_its_region_away() {
    let mut world = world(YAML);
    world.drain(drain("eu", Some("shop"), 5), false).unwrap();
    reload(
        &mut world,
        &YAML.replace("regions: [us, eu]", "regions: [us]"),
    );
    assert!(world.undrain("eu", Some("shop"), 6).is_ok());
    assert_eq!(world.drains().iter().count(), 0);
}

#[test]
fn positions_are_kept_and_those_of_origins_that_left_forgotten() {
    let mut world = world(YAML);
    fold(&mut world, applied(EU, "us=5"), 10);
    fold(&mut world, applied(US_A, "us=7,eu=2"), 10);
    fold(&mut world, applied(US_B, "us=9"), 10);
    let before = world.snapshot(10).0;
    reload(&mut world, &YAML.replace("'http://10.1.0.1:80', ", ""));
    let orders = world.applied("orders").unwrap();
    assert_eq!(orders.region("eu").to_string(), "us=5");
    assert_eq!(orders.region("us").to_string(), "us=9");
    // A request that holds the old snapshot and one that holds the new share what is known.
    let after = world.snapshot(11).0;
    let domain = after.plan.domains.ids().next().unwrap();
    assert!(std::sync::Arc::ptr_eq(
        before.positions.of(domain),
        after.positions.of(domain)
    ));
    reload(&mut world, &YAML.replace(EU_ORIGIN, "http://10.2.0.9:80"));
    assert!(world.applied("orders").unwrap().region("eu").is_empty());
}

#[test]
fn positions_of_a_domain_that_nobody_has_any_more_are_forgotten() {
    let mut world = world(YAML);
    fold(&mut world, applied(EU, "us=5"), 10);
    reload(&mut world, &YAML.replace("domain: orders", "domain: carts"));
    assert!(world.applied("orders").is_none());
    assert!(world.applied("carts").unwrap().region("eu").is_empty());
    reload(&mut world, YAML);
    assert!(world.applied("orders").unwrap().region("eu").is_empty());
}

#[test]
fn an_origin_that_a_reload_adds_is_new_until_each_check_of_it_in_its_domain_has_had_a_result() {
    let yaml = YAML
        .replace(
            "domain: orders }",
            "domain: orders }\n    regions: [us, eu]",
        )
        .replace(
            "  shop:",
            "  chat:
    hosts: [chat.example.com]
    regions: [us, eu]
    consistency: { read_your_writes: true, domain: orders }
    health: { protocol: tcp }
  shop:",
        );
    let mut world = world(&yaml);
    for now_ms in [1_000, 2_500] {
        for target in [US_A, US_B, EU] {
            fold(&mut world, applied(target, "us=5"), now_ms);
        }
    }
    let two = format!("'{EU_ORIGIN}', 'http://10.2.0.2:80'");
    reload(&mut world, &yaml.replace(&format!("'{EU_ORIGIN}'"), &two));
    let new = "http://10.2.0.2:80";
    let is_new = |world: &World| world.applied("orders").unwrap().is_new("eu", new);
    assert!(is_new(&world));
    let target = format!("eu/{new}");
    fold(&mut world, passed("chat", &target), 3_000);
    assert!(is_new(&world), "connections say nothing of positions");
    fold(&mut world, passed("shop", &target), 3_100);
    assert!(is_new(&world), "nor do checks of another domain");
    fold(&mut world, passed("api", &target), 3_200);
    assert!(!is_new(&world));
}
