//! Step 1: residency leaves only its list, and nothing below brings another back.

use super::scene::{IN_JAPAN, IN_THE_NETHERLANDS, READER, SOMEWHERE, Scene, WRITER, check};

const BY_HEADER: &str = "
    affinity: { by: cookie }, consistency: { read_your_writes: true },
    residency: { by: { header: X-Jurisdiction }, allow: { eu: [eu], pacific: [ap, us] } },
    steering: { policy: priority, overrides: [ { country: [JP], prefer: [us] } ] }";

#[test]
fn a_label_leaves_only_its_regions_in_the_policy_s_order() {
    let scene = Scene::new(BY_HEADER);
    check(&scene, READER.resident("eu"), "eu");
    check(&scene, READER.resident("pacific"), "us ap");
    assert_eq!(
        scene.story(&scene.decide(&READER.resident("eu")), "us"),
        "dropped by residency"
    );
}

#[test]
fn a_label_is_known_however_it_is_cased() {
    check(&Scene::new(BY_HEADER), READER.resident("EU"), "eu");
}

#[test]
fn who_has_no_label_or_an_unlisted_one_may_go_anywhere() {
    let scene = Scene::new(BY_HEADER);
    check(&scene, READER, "us eu ap");
    check(&scene, READER.resident("antarctica"), "us eu ap");
}

#[test]
fn affinity_overrides_and_pins_bring_no_region_back() {
    let scene = Scene::new(BY_HEADER);
    let resident = READER.resident("eu");
    check(&scene, resident.used_to("us"), "eu");
    check(&scene, resident.from(IN_JAPAN), "eu");
    check(&scene, resident.pinned("us"), "eu");
    check(&scene, resident.saw("us=5"), "eu");
    check(&scene, WRITER.resident("eu").used_to("us"), "eu");
}

#[test]
fn failing_open_brings_no_region_back() {
    let down = Scene::new(BY_HEADER).with("eu=unhealthy");
    check(&down, READER.resident("eu"), "unhealthy back: eu");
    check(&down, READER, "us ap");
    let drained = Scene::new(BY_HEADER).with("eu=drained");
    check(&drained, READER.resident("eu"), "drained back: eu");
}

#[test]
fn residency_with_all_its_regions_down_refuses_where_none_may_fail_open() {
    let scene = Scene::new(
        "residency: { by: { header: X-J }, allow: { eu: [eu] } },
         steering: { policy: priority, when_none_healthy: none }",
    )
    .with("eu=unhealthy");
    check(&scene, READER.resident("eu"), "none healthy");
    check(&scene, WRITER.resident("eu"), "none healthy");
}

#[test]
fn a_drained_region_that_alone_has_the_client_s_writes_is_not_foreign_to_residency() {
    let drained = Scene::new(BY_HEADER)
        .applied("us", "us=5", 0)
        .with("us=drained");
    check(&drained, READER.saw("us=5"), "us eu ap");
    check(&drained, READER.saw("us=5").resident("eu"), "eu");
}

#[test]
fn by_client_country_the_client_s_address_decides() {
    let scene = Scene::new(
        "residency: { by: client_country, allow: { NL: [eu], JP: [ap, eu] } },
         steering: { policy: priority }",
    );
    check(&scene, READER.from(IN_THE_NETHERLANDS), "eu");
    check(&scene, READER.from(IN_THE_NETHERLANDS).by_dns(), "eu");
    check(&scene, READER.from(IN_JAPAN), "eu ap");
    check(&scene, READER.from(SOMEWHERE), "us eu ap");
    check(&scene, READER.from(IN_THE_NETHERLANDS).resident("JP"), "eu");
    let down = scene.with("eu=unhealthy");
    check(&down, READER.from(IN_THE_NETHERLANDS), "unhealthy back: eu");
    check(&down, READER.from(IN_JAPAN), "ap");
}

#[test]
fn a_primary_or_home_outside_residency_takes_no_write_of_it() {
    let residency = "residency: { by: { header: X-J }, allow: { eu: [eu, ap] } }";
    let primary = Scene::new(&format!("{residency}, writes: {{ to: {{ primary: us }} }}"));
    check(&primary, WRITER, "us eu ap");
    check(&primary, WRITER.resident("eu"), "eu ap");
    let fenced = Scene::new(&format!(
        "{residency}, writes: {{ to: {{ primary: us }}, failover: none }}"
    ));
    check(&fenced, WRITER.resident("eu"), "no primary");
    check(&fenced, READER.resident("eu"), "eu ap");
    let home = Scene::new(&format!(
        "{residency}, writes: {{ to: home, key: {{ header: X-T }}, homes: {{ acme: us }} }}"
    ));
    let decision = home.decide(&WRITER.key("acme").resident("eu"));
    assert!(!home.told(&decision).contains("us"), "{decision:?}");
}
