//! What traffic shows takes origins out and lets them back in, as far as a service can do without them.

use super::scene::{
    EU, US_A, US_B, YAML, answers, at, check_states, drain, failed, failures, fold, member, passed,
    reload, see, told, world,
};
use crate::clock::Now;
use crate::control::World;
use crate::control::bequest::{bequeath, inherit};
use crate::control::store::{remember, restore};
use crate::health::{Seen, Verdict, Word};
use std::time::Duration;

fn steady(unix_ms: u64, steady_ms: u64) -> Now {
    Now { unix_ms, steady_ms }
}

/// `shop`, with probes that pass.
fn shop() -> World {
    let mut world = world(YAML);
    for target in [US_A, US_B, EU] {
        fold(&mut world, passed("shop", target), 0);
    }
    world.snapshot(0);
    world
}

#[test]
fn an_origin_that_fails_in_traffic_is_out_though_its_probes_pass() {
    let mut world = shop();
    let judged = see(&mut world, "shop", EU, failures(7), 1_000);
    assert_eq!(
        told(&judged.folded.events),
        ["health eu shop: http://10.2.0.1:80 of eu is ejected for 30s: 7 requests in a row failed"]
    );
    assert!(judged.folded.stirred);
    assert_eq!(judged.forgiven, ["shop/eu/http://10.2.0.1:80".into()]);
    let (_, events) = world.snapshot(1_000);
    assert_eq!(
        told(&events),
        ["health eu shop: region eu is ejected for service shop, was healthy"]
    );
    fold(&mut world, passed("shop", EU), 2_000);
    check_states(&mut world, "shop", 2_000, "us=healthy eu=unhealthy");
    check_states(&mut world, "api", 2_000, "us=unknown eu=unknown ap=unknown");
}

#[test]
fn it_is_let_back_in_when_its_time_is_over_and_told_of() {
    let mut world = shop();
    see(&mut world, "shop", EU, failures(7), 1_000);
    see(&mut world, "shop", US_A, answers(1), 30_999);
    check_states(&mut world, "shop", 30_999, "us=healthy eu=unhealthy");
    let judged = see(&mut world, "shop", US_A, answers(1), 31_000);
    assert_eq!(
        told(&judged.folded.events),
        ["health eu shop: http://10.2.0.1:80 of eu is let back in: its ejection is over"]
    );
    assert_eq!(judged.forgiven, ["shop/eu/http://10.2.0.1:80".into()]);
    check_states(&mut world, "shop", 31_000, "us=healthy eu=healthy");
}

#[test]
fn probes_that_connect_again_let_an_origin_back_in_whose_connections_failed() {
    let mut world = shop();
    let refused = Seen {
        answered: false,
        ..failures(7)
    };
    see(&mut world, "shop", EU, refused, 1_000);
    fold(&mut world, passed("shop", EU), 2_000);
    check_states(&mut world, "shop", 2_000, "us=healthy eu=unhealthy");
    let folded = fold(&mut world, passed("shop", EU), 3_000);
    assert_eq!(
        told(&folded.events),
        ["health eu shop: http://10.2.0.1:80 of eu is let back in: its probes connect"]
    );
    assert!(folded.stirred && folded.forgiven);
    check_states(&mut world, "shop", 3_000, "us=healthy eu=healthy");
}

#[test]
fn probes_of_another_port_let_nobody_back_in() {
    let mut world = world(&YAML.replace("regions: [us, eu]", "health: { port: 81 }"));
    let refused = Seen {
        answered: false,
        ..failures(7)
    };
    see(&mut world, "shop", EU, refused, 1_000);
    for now_ms in [2_000, 3_000, 4_000] {
        fold(&mut world, passed("shop", EU), now_ms);
    }
    check_states(
        &mut world,
        "shop",
        4_000,
        "us=unknown eu=unhealthy ap=unknown",
    );
}

#[test]
fn probes_that_fail_meanwhile_keep_it_out() {
    let mut world = shop();
    see(&mut world, "shop", EU, failures(7), 1_000);
    fold(&mut world, failed("shop", EU), 2_000);
    see(&mut world, "shop", US_A, answers(1), 31_000);
    check_states(&mut world, "shop", 31_000, "us=healthy eu=unhealthy");
}

#[test]
fn one_origin_of_several_is_avoided_and_its_region_degraded() {
    let mut world = shop();
    see(&mut world, "shop", US_A, failures(7), 1_000);
    check_states(&mut world, "shop", 1_000, "us=degraded eu=healthy");
    let (snapshot, _) = world.snapshot(1_000);
    let id = snapshot.plan.service("shop").unwrap();
    let able = snapshot.services.of(id).able_origins.iter();
    let able: Vec<_> = able
        .map(|(_, origin)| &snapshot.plan.origins.of(*origin).url.host)
        .collect();
    assert_eq!(able, [&"10.1.0.2".into(), &"10.2.0.1".into()]);
}

#[test]
fn the_last_region_stays_and_it_is_told_once_a_window() {
    let mut world = shop();
    fold(&mut world, failed("shop", US_A), 0);
    fold(&mut world, failed("shop", US_B), 0);
    let judged = see(&mut world, "shop", EU, failures(7), 1_000);
    assert_eq!(
        told(&judged.folded.events),
        [
            "health eu shop: http://10.2.0.1:80 of eu is not ejected, although 7 requests in a row failed: no other region is able"
        ]
    );
    check_states(&mut world, "shop", 1_000, "us=unhealthy eu=healthy");
    let again = see(&mut world, "shop", EU, failures(9), 2_000);
    assert_eq!(again.folded.events, []);
}

#[test]
fn whoever_is_out_comes_back_when_the_others_fail_or_are_drained() {
    let mut world = shop();
    see(&mut world, "shop", EU, failures(7), 1_000);
    check_states(&mut world, "shop", 1_000, "us=healthy eu=unhealthy");
    fold(&mut world, failed("shop", US_A), 2_000);
    fold(&mut world, failed("shop", US_B), 2_000);
    check_states(&mut world, "shop", 2_000, "us=unhealthy eu=degraded");
    fold(&mut world, passed("shop", US_A), 3_000);
    check_states(&mut world, "shop", 3_000, "us=degraded eu=unhealthy");
    world.drain(drain("us", None, 4_000), true).unwrap();
    check_states(&mut world, "shop", 4_000, "us=degraded+drained eu=degraded");
}

#[test]
fn an_uplink_that_fails_takes_out_nobody() {
    let mut world = shop();
    for target in [US_A, US_B, EU] {
        see(&mut world, "shop", target, failures(6), 1_000);
    }
    for target in [US_A, US_B, EU] {
        see(&mut world, "shop", target, failures(9), 1_500);
    }
    check_states(&mut world, "shop", 1_500, "us=healthy eu=healthy");
}

#[test]
fn an_origin_s_own_word_takes_it_out_at_once() {
    let mut world = shop();
    let word = Seen {
        good: 1,
        word: Some(Word::Drain(Duration::from_secs(60))),
        ..Seen::default()
    };
    let judged = see(&mut world, "shop", EU, word, 1_000);
    assert_eq!(
        told(&judged.folded.events),
        [
            "health eu shop: http://10.2.0.1:80 of eu is ejected for 1m: it asked for it with Meridian-Drain"
        ]
    );
    check_states(&mut world, "shop", 1_000, "us=healthy eu=unhealthy");
}

#[test]
fn with_passive_off_traffic_counts_for_nothing() {
    let mut world = world(&YAML.replace("regions: [us, eu]", "health: { passive: off }"));
    let judged = see(&mut world, "shop", EU, failures(100), 1_000);
    assert_eq!(judged.folded.events, []);
    check_states(
        &mut world,
        "shop",
        1_000,
        "us=unknown eu=unknown ap=unknown",
    );
}

#[test]
fn an_ejection_outlives_a_reload_but_not_other_settings() {
    let mut world = shop();
    see(&mut world, "shop", EU, failures(7), 1_000);
    reload(&mut world, YAML);
    check_states(&mut world, "shop", 2_000, "us=healthy eu=unhealthy");
    let other = "regions: [us, eu]\n    health: { passive: { consecutive_failures: 9 } }";
    reload(&mut world, &YAML.replace("regions: [us, eu]", other));
    check_states(&mut world, "shop", 3_000, "us=healthy eu=healthy");
}

#[test]
fn the_status_says_why_and_until_when_and_what_is_remembered_is_the_probes_word() {
    let mut world = shop();
    see(&mut world, "shop", EU, failures(7), 1_000);
    let status = world.status();
    let ejected: Vec<_> = status
        .targets
        .iter()
        .filter_map(|t| t.ejected.as_ref())
        .collect();
    assert_eq!(ejected.len(), 1);
    assert_eq!(ejected[0].until_ms, 31_000);
    assert_eq!(ejected[0].cause.to_string(), "7 requests in a row failed");
    let known = world
        .checks()
        .find(|(key, ..)| &***key == "shop/eu/http://10.2.0.1:80");
    assert_eq!(known.unwrap().2, Verdict::Healthy);
}

#[test]
fn an_ejected_region_is_no_choice_and_explained() {
    let mut world = shop();
    see(&mut world, "shop", EU, failures(7), 1_000);
    let (snapshot, _) = world.snapshot(1_000);
    assert!(!member(&snapshot, "shop", "eu").health.is_able());
    let id = snapshot.plan.service("shop").unwrap();
    let ask = crate::steering::Ask::dns(id, crate::ids::Id::at(0));
    let decision = crate::steering::steer(&snapshot, &ask, crate::steering::Draw(0));
    let reasons: Vec<String> = decision
        .steps
        .iter()
        .map(|s| s.reason.to_string())
        .collect();
    let ejected = "ejected for what its traffic showed, though its probes pass".to_owned();
    assert!(reasons.contains(&ejected), "{reasons:?}");
}

#[test]
fn an_ejection_goes_on_in_the_process_that_takes_over_and_the_next_is_longer() {
    let mut old = shop();
    see(&mut old, "shop", EU, failures(7), 1_000);
    let bequest = bequeath(&old, steady(11_000, 11_000));
    let mut new = world(YAML);
    inherit(&mut new, &bequest, at(11_000)); // Its steady clock has just begun.
    check_states(&mut new, "shop", 11_000, "us=healthy eu=unhealthy");
    see(&mut new, "shop", US_A, answers(1), 19_999);
    check_states(&mut new, "shop", 19_999, "us=healthy eu=unhealthy");
    see(&mut new, "shop", US_A, answers(1), 20_000);
    check_states(&mut new, "shop", 20_000, "us=healthy eu=healthy");
    let judged = see(&mut new, "shop", EU, failures(7), 21_000);
    let told = told(&judged.folded.events);
    assert!(told[0].contains("is ejected for 1m"), "{told:?}");
}

/// What a file says that was written at 11,000, ten seconds after `eu` was ejected for half a minute.
fn file() -> serde_json::Value {
    let mut old = shop();
    see(&mut old, "shop", EU, failures(7), 1_000);
    remember(&old, steady(11_000, 11_000))
}

#[test]
fn an_ejection_goes_on_after_a_restart_until_its_end() {
    let mut new = world(YAML);
    restore(&mut new, &file(), at(21_000)); // Ten seconds later.
    check_states(&mut new, "shop", 21_000, "us=healthy eu=unhealthy");
    see(&mut new, "shop", US_A, answers(1), 9_999);
    check_states(&mut new, "shop", 30_999, "us=healthy eu=unhealthy");
    see(&mut new, "shop", US_A, answers(1), 10_000);
    check_states(&mut new, "shop", 31_000, "us=healthy eu=healthy");
    let judged = see(&mut new, "shop", EU, failures(7), 11_000);
    let told = told(&judged.folded.events);
    assert!(told[0].contains("is ejected for 1m"), "{told:?}");
}

#[test]
fn an_ejection_that_ended_while_the_edge_was_down_is_over() {
    let mut new = world(YAML);
    restore(&mut new, &file(), at(31_000));
    check_states(&mut new, "shop", 31_000, "us=healthy eu=healthy");
}

#[test]
fn a_clock_that_was_set_back_meanwhile_keeps_nobody_out_for_longer_than_max_ejection() {
    let mut file = file();
    file["ejections"][0]["until_ms"] = (10 * 365 * 86_400_000_u64).into();
    file["ejections"][0]["length_ms"] = u64::MAX.into();
    let mut new = world(YAML);
    restore(&mut new, &file, at(0));
    see(&mut new, "shop", US_A, answers(1), 299_999);
    check_states(&mut new, "shop", 299_999, "us=healthy eu=unhealthy");
    see(&mut new, "shop", US_A, answers(1), 300_000);
    check_states(&mut new, "shop", 300_000, "us=healthy eu=healthy");
}

#[test]
fn ejections_of_origins_that_are_gone_or_whose_traffic_counts_no_more_are_forgotten() {
    let moved = YAML.replace("10.2.0.1:80", "10.2.0.9:80");
    let off = YAML.replace("regions: [us, eu]", "health: { passive: off }");
    for yaml in [&moved, &off] {
        let mut new = world(yaml);
        restore(&mut new, &file(), at(12_000));
        assert_eq!(new.ejections(0).count(), 0, "{yaml}");
    }
}

#[test]
fn an_ejection_that_is_nonsense_costs_only_itself() {
    for (field, nonsense) in [
        ("target", serde_json::json!(7)),
        ("cause", serde_json::json!(["unheard of"])),
        ("until_ms", serde_json::json!(-1)),
        ("strikes", serde_json::json!(1_u64 << 40)),
        ("length_ms", serde_json::json!("long")),
        ("at_ms", serde_json::json!(null)),
    ] {
        let mut file = file();
        let mut bad = file["ejections"][0].clone();
        bad[field] = nonsense;
        let good = file["ejections"][0].take();
        file["ejections"] = serde_json::json!([bad]);
        let mut new = world(YAML);
        restore(&mut new, &file, at(12_000));
        assert_eq!(new.ejections(0).count(), 0, "{field}");
        file["ejections"] = serde_json::json!([bad, "x", good]);
        restore(&mut new, &file, at(12_000));
        assert_eq!(new.ejections(0).count(), 1, "{field}");
    }
}
