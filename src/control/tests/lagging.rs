//! Replication that is behind is told of, whoever says so, and when nobody says anything.

use super::scene::{EU, US_A, US_B, YAML, applied, failed, fold, told, world};
use crate::control::World;

/// What the look of a second tells; the edge's clocks agree.
fn look(world: &mut World, now_ms: u64) -> Vec<String> {
    let lags = world.lags(now_ms);
    told(&world.note_lags(&lags, now_ms))
}

#[test]
fn a_region_that_falls_silent_while_another_writes_is_told_of() {
    let mut world = world(YAML);
    fold(&mut world, applied(EU, "us=1"), 0);
    for origin in [US_A, US_B] {
        fold(&mut world, applied(origin, "us=1"), 0);
        fold(&mut world, applied(origin, "us=2"), 1_000);
    }
    assert_eq!(look(&mut world, 6_000), [""; 0], "5 s is max_lag");
    assert_eq!(
        look(&mut world, 6_001),
        [
            "position eu -: eu is behind in domain orders: replication lags 5001 ms, over max_lag of 5000 ms"
        ]
    );
    assert_eq!(look(&mut world, 60_000), [""; 0], "once");
    let positions = world.applied("orders").unwrap().clone();
    positions.report(crate::positions::Report {
        region: &"eu".into(),
        origin: "http://10.2.0.1:80",
        applied: &crate::positions::parse_vector("us=2", crate::config::plan::VersionForm::Integer)
            .unwrap(),
        asked_at_ms: 60_000,
        now_ms: 60_000,
    });
    assert_eq!(
        look(&mut world, 61_000),
        ["position eu -: eu has caught up in domain orders"],
        "not heard by a health check"
    );
}

#[test]
fn a_writer_that_a_reload_took_away_is_nobody_s_lag() {
    let mut world = world(YAML);
    fold(&mut world, applied(US_A, "us=1"), 0);
    fold(&mut world, applied(US_B, "us=1"), 0);
    fold(&mut world, applied(EU, "eu=7"), 0);
    assert_eq!(look(&mut world, 9_000).len(), 2, "each lacks the other's");
    let (us, rest) = YAML.split_once("  us:").unwrap();
    let without = format!("{us}{}", rest.split_once('\n').unwrap().1).replace("[us, eu]", "[eu]");
    super::scene::reload(&mut world, &without);
    assert_eq!(
        look(&mut world, 9_001),
        ["position eu -: eu has caught up in domain orders"]
    );
}

#[test]
fn a_region_whose_only_origin_that_may_be_read_from_is_down_is_not_read_from() {
    let mut world = world(YAML);
    let mut is_read_from = |now_ms: u64, is_down: bool| {
        for (origin, has) in [(US_A, "us=5"), (US_B, "us=4"), (EU, "us=5")] {
            fold(&mut world, applied(origin, has), now_ms);
        }
        if is_down {
            fold(&mut world, failed("api", US_A), now_ms);
        }
        let (snapshot, _) = world.snapshot(now_ms);
        let service = snapshot.plan.service("api").unwrap();
        let us = snapshot.plan.region("us").unwrap();
        snapshot.is_read_from(service, us, now_ms)
    };
    assert!(is_read_from(1_000, false));
    assert!(is_read_from(2_000, true), "what b lacks is in tokens still");
    assert!(is_read_from(400_000, false));
    assert!(!is_read_from(401_000, true), "b alone would answer");
}
