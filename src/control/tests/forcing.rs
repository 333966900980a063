//! Forced states: what counts before probes, and what guards say to it.

use super::scene::{EU, YAML, check_states, failed, fold, told, world};
use crate::control::{DrainRefused, ForcedState};
use crate::steering::Forced;

fn forced(region: &str, state: Forced, until_ms: Option<u64>) -> ForcedState {
    ForcedState {
        region: region.into(),
        service: None,
        state,
        since_ms: 5,
        until_ms,
        by: None,
        reason: Some("the probe lies".into()),
    }
}

#[test]
fn a_forced_state_counts_before_probes_until_its_time_is_over() {
    let mut world = world(YAML);
    fold(&mut world, failed("shop", EU), 1);
    let event = world
        .force(forced("eu", Forced::Up, Some(100)), false)
        .unwrap();
    assert_eq!(
        told(&[event]),
        ["forced eu -: region eu is forced up until 1970-01-01T00:00:00.100Z: the probe lies"]
    );
    check_states(&mut world, "shop", 99, "us=unknown eu=healthy");
    assert_eq!(world.next_change_ms(), Some(100));
    let over = world.expire(100);
    assert_eq!(
        told(&over),
        ["forced eu -: region eu is left to its probes again: its time is over"]
    );
    check_states(&mut world, "shop", 100, "us=unknown eu=unhealthy");
}

#[test]
fn a_region_that_is_forced_by_another_word_too_is_not_said_to_be_left_to_its_probes() {
    let mut world = world(YAML);
    let of = |service: Option<&str>, until_ms| ForcedState {
        service: service.map(Into::into),
        ..forced("eu", Forced::Down, until_ms)
    };
    for (service, until_ms) in [(None, None), (Some("shop"), None), (Some("api"), Some(100))] {
        world.force(of(service, until_ms), true).unwrap();
    }
    let events = world.expire(100);
    let still = "; it is still forced for";
    let all = format!("{still} all services and service shop: its time is over");
    assert_eq!(
        told(&events),
        [format!(
            "forced eu api: region eu is no longer forced for service api{all}"
        )]
    );
    let event = world.unforce("eu", Some("shop"), 101).unwrap();
    assert_eq!(
        event.message,
        format!("region eu is no longer forced for service shop{still} all services")
    );
    check_states(&mut world, "shop", 101, "us=unknown eu=unhealthy");
    let event = world.unforce("eu", None, 102).unwrap();
    assert_eq!(event.message, "region eu is left to its probes again");
}

#[test]
fn guards_hold_for_forcing_down_too() {
    let mut world = world(YAML);
    world
        .force(forced("eu", Forced::Down, None), false)
        .unwrap();
    check_states(&mut world, "shop", 6, "us=unknown eu=unhealthy");
    let refused = world
        .force(forced("us", Forced::Down, None), false)
        .unwrap_err();
    assert!(matches!(refused, DrainRefused::Guard { .. }), "{refused}");
    world.force(forced("us", Forced::Down, None), true).unwrap();
    world.unforce("us", None, 7).unwrap();
    let refused = world.unforce("us", None, 8).unwrap_err();
    assert_eq!(refused.to_string(), "region `us` is not forced");
}
