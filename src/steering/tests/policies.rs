//! Step 3: the order that a policy gives, and what comes before the policy.

use proptest::prelude::*;

use super::scene::{
    Client, IN_AP, IN_JAPAN, IN_THE_NETHERLANDS, IN_US, READER, SOMEWHERE, Scene, check,
};
use crate::latency::Estimate;
use crate::steering::{Reason, Rule, stable_hash};

const PRIORITY: &str = "steering: { policy: priority }";
const GEO: &str = "steering: { policy: geo }";
const LATENCY: &str = "steering: { policy: latency }";

#[test]
fn priority_tries_regions_as_listed() {
    check(&Scene::new(PRIORITY), READER, "us eu ap");
    let listed = Scene::new("regions: [ap, us, eu], steering: { policy: priority }");
    check(&listed, READER.from(IN_US), "ap us eu");
    let two = Scene::new("regions: [ap, eu], steering: { policy: priority }");
    check(&two, READER, "ap eu");
}

#[test]
fn geo_tries_the_region_nearest_to_the_client_first() {
    let scene = Scene::new(GEO);
    check(&scene, READER.from(IN_AP), "ap eu us");
    check(&scene, READER.from(IN_US), "us eu ap");
    check(&scene, READER.from(IN_THE_NETHERLANDS), "eu us ap");
    check(&scene, READER.from(IN_JAPAN), "ap eu us");
    check(&scene, READER.from(IN_AP).by_dns(), "ap eu us");
}

#[test]
fn geo_does_not_care_how_fast_a_region_answers_this_edge() {
    let scene = Scene::new(GEO).measured("us=1 eu=300 ap=200");
    check(&scene, READER.from(IN_AP), "ap eu us");
    check(&scene, READER.from(SOMEWHERE), "eu us ap");
}

#[test]
fn a_client_of_unknown_place_ranks_as_from_this_edge() {
    for policy in [GEO, LATENCY] {
        let scene = Scene::new(policy);
        check(&scene, READER.from(SOMEWHERE), "eu us ap");
        check(&scene, READER.from(SOMEWHERE).by_dns(), "eu us ap");
    }
    let scene = Scene::new(GEO);
    let decision = scene.decide(&READER);
    assert_eq!(
        scene.reasons(&decision)[0],
        ("eu", Reason::EdgeDistance { place: 1 })
    );
}

#[test]
fn a_client_of_unknown_place_ranks_as_listed_where_the_edge_has_no_location() {
    for policy in [GEO, LATENCY] {
        let scene = Scene::of_edge_without_location(policy);
        check(&scene, READER.from(SOMEWHERE), "us eu ap");
        check(&scene, READER.from(SOMEWHERE).by_dns(), "us eu ap");
    }
    let measured = Scene::of_edge_without_location(LATENCY).measured("us=90 eu=10 ap=50");
    check(&measured, READER.from(SOMEWHERE).by_dns(), "us eu ap");
    let geo = Scene::of_edge_without_location(GEO).measured("us=90 eu=10 ap=50");
    check(&geo, READER.from(SOMEWHERE), "us eu ap");
}

#[test]
fn latency_over_http_counts_from_this_edge_wherever_the_client_is() {
    let scene = Scene::new(LATENCY).measured("us=90 eu=120 ap=10");
    for address in [IN_US, IN_JAPAN, SOMEWHERE] {
        check(&scene, READER.from(address), "ap us eu");
    }
    let decision = scene.decide(&READER);
    let measured = |ms| Reason::RoundTrip {
        estimate: Estimate::Measured(ms),
    };
    assert_eq!(
        scene.reasons(&decision),
        [
            ("ap", measured(10.0)),
            ("us", measured(90.0)),
            ("eu", measured(120.0))
        ]
    );
}

#[test]
fn latency_over_http_is_measured_even_at_an_edge_without_location() {
    let scene = Scene::of_edge_without_location(LATENCY).measured("us=90 eu=120 ap=10");
    check(&scene, READER, "ap us eu");
}

#[test]
fn latency_over_http_is_modelled_from_distance_until_all_are_measured() {
    let scene = Scene::new(LATENCY);
    check(&scene, READER, "eu us ap");
    let decision = scene.decide(&READER);
    for (region, reason) in scene.reasons(&decision) {
        let Reason::RoundTrip {
            estimate: Estimate::Modelled(ms),
        } = reason
        else {
            panic!("{region}: {reason:?}");
        };
        assert!(ms >= 26.0, "{region} cannot be {ms} ms away");
    }
    check(&Scene::new(LATENCY).measured("ap=1"), READER, "eu us ap");
    check(
        &Scene::new(LATENCY).measured("ap=1 us=30"),
        READER,
        "eu us ap",
    );
    check(
        &Scene::new(LATENCY).measured("ap=1 us=30 eu=60"),
        READER,
        "ap us eu",
    );
}

#[test]
fn latency_in_dns_counts_from_the_client_s_network() {
    let scene = Scene::new(LATENCY).measured("us=1 eu=100 ap=200");
    check(&scene, READER.from(IN_AP).by_dns(), "ap eu us");
    check(&scene, READER.from(IN_THE_NETHERLANDS).by_dns(), "eu us ap");
    check(&scene, READER.from(SOMEWHERE).by_dns(), "us eu ap");
}

#[test]
fn a_region_overtakes_another_only_by_a_real_gain() {
    let near_equal = Scene::new(LATENCY).measured("us=98 eu=100 ap=99");
    check(&near_equal, READER, "eu us ap");
    let a_tenth = Scene::new(LATENCY).measured("us=90 eu=100 ap=300");
    check(&a_tenth, READER, "eu us ap");
    let more = Scene::new(LATENCY).measured("us=89 eu=100 ap=300");
    check(&more, READER, "us eu ap");
}

#[test]
fn the_order_in_force_stays_while_round_trips_waver() {
    let scene = Scene::new(LATENCY).measured("us=50 eu=100 ap=300");
    check(&scene, READER, "us eu ap");
    let wavered = scene.measured("us=295");
    check(&wavered, READER, "us eu ap");
    let crossed = wavered.measured("us=400");
    check(&crossed, READER, "eu us ap");
}

#[test]
fn regions_that_nothing_tells_apart_go_by_distance_then_as_listed() {
    let scene = Scene::new(LATENCY).measured("us=70 eu=70 ap=70");
    check(&scene, READER, "eu us ap");
    let twins = "
node: { location: [50.03, 8.57] }
regions:
  b: { location: [50.11, 8.68], addresses: [192.0.2.1] }
  a: { location: [50.11, 8.68], addresses: [192.0.2.2] }
  lost: { addresses: [192.0.2.3] }
  near: { location: [50.04, 8.57], addresses: [192.0.2.4] }
services: { api: { hosts: [api.example.com], steering: { policy: geo } } }
";
    check(&Scene::of_yaml(twins), READER, "near b a lost");
    check(
        &Scene::of_yaml(twins),
        READER.from(IN_JAPAN),
        "b a near lost",
    );
}

#[test]
fn the_first_override_that_matches_wins() {
    let scene = Scene::new(
        "steering: { policy: priority, overrides: [
            { network: 203.178.0.0/16, prefer: [eu] },
            { country: [JP, NL], prefer: [ap] },
            { network: 203.178.141.0/24, prefer: [us] },
            { country: [NL], prefer: [us] } ] }",
    );
    check(&scene, READER.from(IN_JAPAN), "eu us ap");
    check(&scene, READER.from(IN_JAPAN).by_dns(), "eu us ap");
    check(&scene, READER.from(IN_THE_NETHERLANDS), "ap us eu");
    check(&scene, READER.from(SOMEWHERE), "us eu ap");
    let decision = scene.decide(&READER.from(IN_THE_NETHERLANDS));
    let reasons = scene.reasons(&decision);
    assert_eq!(reasons[0], ("ap", Reason::Override { index: 1 }));
    assert_eq!(reasons[1].1.rule(), Rule::Policy);
}

#[test]
fn an_override_prefers_its_regions_in_its_order_and_leaves_the_rest_to_the_policy() {
    let scene =
        Scene::new("steering: { policy: geo, overrides: [ { country: [JP], prefer: [us, eu] } ] }");
    check(&scene, READER.from(IN_JAPAN), "us eu ap");
    check(&scene, READER.from(IN_AP), "ap eu us");
    let down = scene.with("us=unhealthy");
    check(&down, READER.from(IN_JAPAN), "eu ap");
}

#[test]
fn affinity_comes_before_overrides_and_overrides_before_the_policy() {
    let scene = Scene::new(
        "affinity: { by: cookie },
         steering: { policy: priority, overrides: [ { country: [JP], prefer: [ap] } ] }",
    );
    check(&scene, READER.from(IN_JAPAN), "ap us eu");
    check(&scene, READER.from(IN_JAPAN).used_to("eu"), "eu ap us");
    check(&scene, READER.used_to("ap"), "ap us eu");
    let decision = scene.decide(&READER.used_to("ap"));
    assert_eq!(scene.reasons(&decision)[0], ("ap", Reason::Affinity));
}

#[test]
fn affinity_to_a_region_that_is_down_or_of_another_service_changes_nothing() {
    let scene =
        Scene::new("regions: [us, eu], affinity: { by: cookie }, steering: { policy: priority }");
    check(&scene, READER.used_to("ap"), "us eu");
    let down = scene.with("eu=unhealthy");
    check(&down, READER.used_to("eu"), "us");
}

/// How often each of `us`, `eu`, `ap` comes first in this many draws.
fn firsts(scene: &Scene, draws: u64) -> [u32; 3] {
    let mut firsts = [0; 3];
    for i in 0..draws {
        let draw = stable_hash(&i.to_string());
        let decision = scene.decide(&READER.draw(draw));
        let first = scene.name(decision.ranked[0].region);
        firsts[["us", "eu", "ap"].iter().position(|n| *n == first).unwrap()] += 1;
    }
    firsts
}

#[test]
fn weighted_shares_clients_by_weight() {
    let scene = Scene::new("steering: { policy: weighted, weights: { us: 3, eu: 1, ap: 0 } }");
    let [us, eu, ap] = firsts(&scene, 4_000);
    // Four standard deviations of a share of 3/4 in 4,000 draws: 110.
    assert!((2_890..=3_110).contains(&us), "{us} {eu} {ap}");
    assert_eq!(ap, 0);
    let decision = scene.decide(&READER);
    assert!(
        scene
            .reasons(&decision)
            .contains(&("us", Reason::Weight { weight: 3 }))
    );
}

#[test]
fn a_region_without_a_weight_of_the_service_has_its_own() {
    let yaml = "
regions:
  us: { addresses: [192.0.2.1], weight: 0 }
  eu: { addresses: [192.0.2.2] }
  ap: { addresses: [192.0.2.3], weight: 300 }
services: { api: { hosts: [api.example.com], steering: { policy: weighted } } }
";
    let [us, eu, ap] = firsts(&Scene::of_yaml(yaml), 4_000);
    assert!((2_890..=3_110).contains(&ap), "{us} {eu} {ap}");
    assert_eq!(us, 0);
}

#[test]
fn weight_0_is_chosen_only_when_nobody_else_is_able() {
    let yaml = "steering: { policy: weighted, weights: { us: 0, eu: 5, ap: 0 } }";
    assert_eq!(firsts(&Scene::new(yaml), 200), [0, 200, 0]);
    for draw in 0..20 {
        check(&Scene::new(yaml), READER.draw(draw), "eu us ap");
    }
    let down = Scene::new(yaml).with("eu=unhealthy");
    check(&down, READER, "us ap");
    let drained = Scene::new(yaml).with("eu=drained us=unhealthy");
    check(&drained, READER, "ap");
}

proptest! {
    #[test]
    fn one_draw_is_one_order(draw: u64) {
        let scene = Scene::new("affinity: { by: client_ip }, steering: { policy: weighted }");
        let client: Client<'_> = READER.draw(draw);
        let dns = scene.decide(&client.by_dns());
        prop_assert_eq!(scene.told(&scene.decide(&client)), scene.told(&dns));
        let elsewhere = scene.decide(&client.from(IN_AP));
        prop_assert_eq!(scene.told(&dns), scene.told(&elsewhere));
    }
}

#[test]
fn another_draw_may_be_another_order() {
    let scene = Scene::new("steering: { policy: weighted }");
    let orders: std::collections::BTreeSet<String> = (0..200)
        .map(|i| stable_hash(&i.to_string()))
        .map(|draw| scene.told(&scene.decide(&READER.draw(draw))))
        .collect();
    assert_eq!(orders.len(), 6, "{orders:?}");
}

#[test]
fn adding_a_region_moves_clients_only_to_it() {
    let two = Scene::new("regions: [us, eu], steering: { policy: weighted }");
    let three = Scene::new("regions: [ap, eu, us], steering: { policy: weighted }");
    let mut moved = 0;
    for i in 0..2_000 {
        let client = READER.draw(stable_hash(&i.to_string()));
        let before = two.told(&two.decide(&client));
        let after = three.told(&three.decide(&client));
        let without: Vec<&str> = after.split(' ').filter(|name| *name != "ap").collect();
        assert_eq!(without.join(" "), before);
        moved += u32::from(after.starts_with("ap"));
    }
    // A third of 2,000, four standard deviations: 84.
    assert!((582..=751).contains(&moved), "{moved}");
}
