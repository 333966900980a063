//! That the probabilities of regions are those of draws.

use proptest::prelude::*;

use super::any_world::{asker, snapshot, world};
use super::scene::Scene;
use crate::config::plan::Access;
use crate::geo::PlaceId;
use crate::ids::{Id, ServiceId};
use crate::steering::{Ask, Draw, Percent, Spread, chances, steer};

/// Each region's chance in percent, in the order of names.
#[track_caller]
fn check(scene: &Scene, spread: u8, expected: &str) {
    let ask = Ask {
        spread: Spread::at(Percent::new(spread)).unwrap(),
        ..Ask::http(ServiceId::at(0), PlaceId::NOWHERE, Access::Read)
    };
    let mut told: Vec<String> = chances(&scene.snapshot, &ask)
        .into_iter()
        .map(|(region, chance)| format!("{} {:.1}", scene.name(region), chance * 100.0))
        .collect();
    told.sort();
    assert_eq!(told.join(", "), expected);
    let draws: u32 = 20_000;
    for (region, chance) in chances(&scene.snapshot, &ask) {
        let first = |draw: &u32| {
            let draw = Draw(u64::from(*draw).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            steer(&scene.snapshot, &ask, draw).ranked[0].region == region
        };
        let won = (0..draws).filter(first).count();
        let off = f64::from(u32::try_from(won).unwrap()) / f64::from(draws) - chance;
        // Four standard deviations of so many draws.
        assert!(off.abs() < 0.015, "{} is off by {off}", scene.name(region));
    }
}

fn weighted() -> Scene {
    Scene::new("steering: { policy: weighted, weights: { us: 50, eu: 30, ap: 20 } }")
}

#[test]
fn weights_are_chances_among_those_that_are_able() {
    check(&weighted(), 0, "ap 20.0, eu 30.0, us 50.0");
    check(&weighted().with("us=unhealthy"), 0, "ap 40.0, eu 60.0");
    check(&weighted().with("us=drained ap=unhealthy"), 0, "eu 100.0");
}

#[test]
fn who_is_told_apart_by_a_share_has_the_chances_of_its_side() {
    check(
        &weighted().with("us=leaving"),
        49,
        "ap 20.0, eu 30.0, us 50.0",
    );
    check(&weighted().with("us=leaving"), 50, "ap 40.0, eu 60.0");
}

#[test]
fn failing_open_the_drained_have_no_chance_before_the_unhealthy() {
    let down = weighted().with("us=unhealthy eu=unhealthy ap=drained");
    check(&down, 0, "eu 37.5, us 62.5");
}

#[test]
fn without_weights_one_region_is_certain() {
    check(&Scene::new("steering: { policy: priority }"), 0, "us 100.0");
    let nobody = "steering: { policy: priority, when_none_healthy: none }";
    check(
        &Scene::new(nobody).with("us=unhealthy eu=unhealthy ap=unhealthy"),
        0,
        "",
    );
}

proptest! {
    /// Whatever the facts: whom a draw puts first had a chance, and all chances come to one.
    #[test]
    fn nobody_is_first_without_a_chance(facts in world(), asker in asker(), draw: u64) {
        let snapshot = snapshot(&facts);
        let plain = Ask::http(asker.service(), PlaceId::NOWHERE, Access::Read);
        let chances = chances(&snapshot, &plain);
        let first = steer(&snapshot, &plain, Draw(draw)).ranked.first().map(|c| c.region);
        match first {
            Some(first) => {
                prop_assert!(chances.iter().any(|(region, chance)| *region == first && *chance > 0.0));
                let sum: f64 = chances.iter().map(|(_, chance)| chance).sum();
                prop_assert!((sum - 1.0).abs() < 1e-9);
            }
            None => prop_assert!(chances.is_empty()),
        }
    }
}
