//! Where writes go: the nearest region, a primary, or the key's home.

use std::collections::BTreeMap;

use super::scene::{IN_JAPAN, READER, Scene, WRITER, check};
use crate::steering::Reason;

const PRIMARY: &str = "writes: { to: { primary: eu } }, steering: { policy: priority }";
const FENCED: &str =
    "writes: { to: { primary: eu }, failover: none }, steering: { policy: priority }";
const HOME: &str = "affinity: { by: cookie }, steering: { policy: priority },
    writes: { to: home, key: { header: X-Tenant }, homes: { acme: ap } }";

#[test]
fn writes_go_where_reads_go_unless_told_otherwise() {
    let scene =
        Scene::new("steering: { policy: geo, overrides: [ { country: [JP], prefer: [us] } ] }");
    check(&scene, WRITER, "eu us ap");
    check(&scene, WRITER.from(IN_JAPAN), "us ap eu");
}

#[test]
fn writes_go_to_the_primary_and_reads_do_not() {
    let scene = Scene::new(PRIMARY);
    check(&scene, WRITER, "eu us ap");
    check(&scene, READER, "us eu ap");
    let reasons = scene.decide(&WRITER);
    assert_eq!(scene.reasons(&reasons)[0], ("eu", Reason::Primary));
}

#[test]
fn nothing_draws_a_write_from_its_primary() {
    let scene = Scene::new(
        "affinity: { by: cookie }, writes: { to: { primary: eu } },
         consistency: { read_your_writes: true },
         steering: { policy: geo, overrides: [ { country: [JP], prefer: [ap] } ] }",
    );
    check(&scene, WRITER.used_to("ap").from(IN_JAPAN), "eu us ap");
    check(&scene, WRITER.pinned("ap").saw("ap=3"), "eu us ap");
}

#[test]
fn no_session_keeps_its_writes_on_a_drained_primary_or_home_while_the_others_go_elsewhere() {
    let sticky = format!("affinity: {{ by: cookie }}, {PRIMARY}");
    let primary = Scene::new(&sticky).with("eu=draining");
    check(&primary, WRITER.used_to("eu"), "us ap");
    check(&primary, READER.used_to("eu"), "eu us ap");
    let home = Scene::new(HOME).with("ap=draining");
    let others = home.decide(&WRITER.key("acme"));
    let own = home.decide(&WRITER.key("acme").used_to("ap"));
    assert_eq!(home.reasons(&own), home.reasons(&others));
}

#[test]
fn the_primary_fails_over_as_listed_and_returns_when_able() {
    let scene = Scene::new(PRIMARY).with("eu=unhealthy");
    check(&scene, WRITER, "us ap");
    let next = scene.with("us=drained");
    check(&next, WRITER, "ap");
    let back = next.with("eu=healthy");
    check(&back, WRITER, "eu ap");
    let reversed = Scene::new(
        "regions: [ap, eu, us], writes: { to: { primary: eu } }, steering: { policy: geo }",
    );
    check(&reversed, WRITER, "eu ap us");
}

#[test]
fn when_nobody_is_able_the_primary_still_comes_first_among_those_who_come_back() {
    let scene = Scene::new(PRIMARY).with("us=unhealthy eu=unhealthy ap=unhealthy");
    check(&scene, WRITER, "unhealthy back: eu us ap");
}

#[test]
fn without_failover_a_write_waits_for_its_primary() {
    check(&Scene::new(FENCED), WRITER, "eu");
    for facts in [
        "eu=unhealthy",
        "eu=drained",
        "us=unhealthy eu=unhealthy ap=unhealthy",
        "us=drained eu=drained ap=drained",
    ] {
        let scene = Scene::new(FENCED).with(facts);
        check(&scene, WRITER, "no primary");
    }
    let down = Scene::new(FENCED).with("eu=unhealthy");
    check(&down, READER, "us ap");
}

#[test]
fn a_refused_write_says_of_every_region_why() {
    let scene = Scene::new(FENCED).with("eu=unhealthy");
    let decision = scene.decide(&WRITER);
    assert_eq!(scene.story(&decision, "eu"), "dropped by health");
    assert_eq!(
        scene.story(&decision, "us"),
        "kept by health, dropped by writes"
    );
    let all = Scene::new(FENCED).with("us=unhealthy eu=drained ap=unhealthy");
    let decision = all.decide(&WRITER);
    for region in ["us", "eu", "ap"] {
        let story = all.story(&decision, region);
        assert!(story.contains("dropped by"), "{region}: {story}");
        let last = story.rsplit(", ").next().unwrap();
        assert!(last.starts_with("dropped"), "{region}: {story}");
    }
}

#[test]
fn an_explicit_home_takes_its_key_s_writes() {
    let scene = Scene::new(HOME);
    let decision = scene.decide(&WRITER.key("acme"));
    assert_eq!(
        scene.reasons(&decision)[0],
        ("ap", Reason::Home { place: 1 })
    );
    let affine = scene.decide(&WRITER.key("acme").used_to("us"));
    assert_eq!(scene.told(&affine), scene.told(&decision));
}

#[test]
fn a_write_without_a_key_goes_to_the_nearest() {
    check(&Scene::new(HOME), WRITER, "us eu ap");
    check(&Scene::new(HOME), WRITER.used_to("eu"), "eu us ap");
}

#[test]
fn reads_do_not_go_by_home() {
    check(&Scene::new(HOME), READER.key("acme"), "us eu ap");
}

#[test]
fn one_key_has_one_home_whoever_asks() {
    let scene = Scene::new(HOME);
    let reordered = Scene::new(
        "regions: [ap, eu, us], steering: { policy: geo },
         writes: { to: home, key: { cookie: tenant } }",
    );
    for key in ["globex", "initech", "", "ü"] {
        let once = scene.told(&scene.decide(&WRITER.key(key)));
        let other = WRITER.key(key).from(IN_JAPAN).used_to("eu").draw(77);
        assert_eq!(scene.told(&scene.decide(&other)), once, "{key}");
        let of_reordered = reordered.decide(&WRITER.key(key));
        assert_eq!(reordered.told(&of_reordered), once, "{key}");
    }
}

#[test]
fn keys_spread_evenly_and_a_lost_region_moves_only_its_own() {
    let scene = Scene::new(HOME);
    let without = Scene::new(HOME).with("us=unhealthy");
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for i in 0..1_500 {
        let key = format!("tenant-{i}");
        let before = scene.told(&scene.decide(&WRITER.key(&key)));
        let after = without.told(&without.decide(&WRITER.key(&key)));
        let rest: Vec<&str> = before.split(' ').filter(|name| *name != "us").collect();
        assert_eq!(after, rest.join(" "), "{key}");
        let home = before.split(' ').next().unwrap();
        *shares.entry(home.to_owned()).or_default() += 1;
    }
    // A third of 1,500, four standard deviations: 73.
    assert!(
        shares.len() == 3 && shares.values().all(|share| (427..=573).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn a_home_that_is_down_is_replaced_and_no_other_key_moves() {
    let scene = Scene::new(HOME).with("ap=unhealthy");
    let told = scene.told(&scene.decide(&WRITER.key("acme")));
    assert!(!told.contains("ap"), "{told}");
    let drained = Scene::new(HOME).with("us=drained eu=drained ap=unhealthy");
    let told = drained.told(&drained.decide(&WRITER.key("acme")));
    assert!(told.starts_with("unhealthy back: ap "), "{told}");
}
