//! What survives a restart, and what a damaged state file costs: nothing but the memory.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::scene::{
    AP, EU, US_A, US_B, YAML, applied, at, check_states, drain, failed, fold, passed, since, world,
};
use crate::config::plan::VersionForm;
use crate::control::sealed::seal;
use crate::control::store;
use crate::control::{DrainRequest, ForcedState, Store, StoreError, World};
use crate::positions::{self, Pushed, Reported, parse_vector};
use crate::steering::Forced;

fn remember(world: &World) -> Value {
    store::remember(world, at(0))
}

/// A world in which something has happened.
fn lived() -> World {
    let mut world = world(YAML);
    fold(&mut world, applied(EU, "us=5,eu=3:9"), 10);
    fold(&mut world, applied(US_A, "us=7"), 10);
    fold(&mut world, failed("shop", US_B), 10);
    fold(&mut world, passed("api", AP), 10);
    let full = DrainRequest {
        until_ms: Some(9_000),
        over_ms: Some(60_000),
        by: Some("alice".into()),
        reason: Some("new \"disks\"\n".into()),
        ..drain("eu", Some("api"), 20)
    };
    world.drain(full.clone(), false).unwrap();
    let hurried = DrainRequest {
        since_ms: 25,
        over_ms: Some(50_000),
        ..full
    };
    world.drain(hurried, false).unwrap();
    let forced = ForcedState {
        region: "ap".into(),
        service: Some("api".into()),
        state: Forced::Up,
        since_ms: 40,
        until_ms: None,
        by: Some("alice".into()),
        reason: Some("its probe lies".into()),
    };
    world.force(forced, false).unwrap();
    world.drain(drain("us", None, 30), true).unwrap();
    world
}

/// A state file with this content, and a fresh world that has read it.
fn restored(yaml: &str, content: &[u8], now_ms: u64) -> (World, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    fs::write(folder.path().join("state.json"), content).unwrap();
    let mut world = world(yaml);
    let _ = store.restore(&mut world, at(now_ms));
    (world, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_restart_remembers_verdicts_drains_and_positions() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("not/made/yet");
    let before = lived();
    Store::open(&state_dir)
        .unwrap()
        .save(&remember(&before))
        .unwrap();
    assert_eq!(names(&state_dir), ["state.json"]);
    let mut after = world(YAML);
    Store::open(&state_dir)
        .unwrap()
        .restore(&mut after, at(1_000))
        .unwrap();
    assert_eq!(names(&state_dir), ["state.json"]);

    assert_eq!(after.drains(), before.drains());
    let verdicts = |world: &World| -> Vec<_> {
        let checks = world.checks();
        checks
            .map(|(key, _, verdict)| (key.clone(), verdict))
            .collect()
    };
    assert_eq!(verdicts(&after), verdicts(&before));
    let known = |world: &World| world.applied("orders").unwrap().all();
    assert_eq!(known(&after), known(&before));
    assert_eq!(remember(&after), remember(&before));
    check_states(&mut after, "shop", 1_000, "us=degraded+drained eu=unknown");
    assert_eq!(since(&after, "shop", "us"), Some(1_000));
    check_states(
        &mut after,
        "api",
        600_030,
        "us=healthy+drained eu=healthy ap=healthy",
    );
}

/// What becomes of a push of `eu`.
fn push(world: &World, sequence: &str, text: &str) -> Pushed {
    let report = positions::Report {
        region: &"eu".into(),
        origin: "http://10.2.0.1:80",
        applied: &parse_vector(text, VersionForm::Integer).unwrap(),
        asked_at_ms: 1,
        now_ms: 1,
    };
    let applied = world.applied("orders").unwrap();
    applied.push(report, Some(sequence.parse().unwrap()))
}

#[test]
fn a_restart_knows_which_pushes_are_late() {
    let before = world(YAML);
    push(&before, "1790000000000:7", "us=5");
    let file = seal(&remember(&before));
    let (after, _folder) = restored(YAML, file.as_bytes(), 1_000);
    assert_eq!(remember(&after), remember(&before));
    assert_eq!(push(&after, "1790000000000:6", "us=9"), Pushed::Late);
    let next = push(&after, "1790000000000:8", "us=6");
    assert_eq!(next, Pushed::Taken(Reported::Advanced));
}

#[test]
fn what_a_clock_that_was_ahead_began_goes_on_after_a_restart_from_where_it_was_and_ends_when_it_was_told_to()
 {
    let state = json!({
        "saved_at_ms": 600_500,
        "drains": [{ "region": "us", "since_ms": 600_000, "until_ms": 605_000, "over_ms": 1_000,
            "paces": [{ "over_ms": 9_000, "until_ms": 600_400 }] }],
        "ramps": [{ "service": "shop", "region": "eu", "from_ms": 599_500, "length_ms": 3_000 }],
    });
    let (mut after, _folder) = restored(YAML, seal(&state).as_bytes(), 100_000);
    let drain = after.drains().iter().next().unwrap();
    assert_eq!((drain.since_ms, drain.until_ms), (99_500, Some(605_000)));
    assert_eq!(drain.paces[0].until_ms, 99_900);
    assert_eq!(remember(&after)["ramps"][0]["from_ms"], 99_000);
    let expected = "us=unknown+drained eu=unknown+returning33";
    check_states(&mut after, "shop", 100_500, expected);
}

#[test]
fn a_state_that_does_not_say_when_it_was_saved_was_saved_after_what_it_tells_of() {
    let state = json!({
        "drains": [{ "region": "us", "since_ms": 600_000, "over_ms": 100_000 }],
        "ramps": [{ "service": "shop", "region": "eu", "from_ms": 590_000, "length_ms": 20_000 }],
    });
    let (mut after, _folder) = restored(YAML, seal(&state).as_bytes(), 100_000);
    let begun = "us=unknown+leaving100/100 eu=unknown+returning50";
    check_states(&mut after, "shop", 100_000, begun);
    let expected = "us=unknown+leaving50/50 eu=unknown";
    check_states(&mut after, "shop", 150_000, expected);
}

#[test]
fn a_clock_that_is_behind_at_the_start_and_right_later_ends_nothing_early() {
    let (hour_ms, until_ms) = (3_600_000, 8 * 3_600_000);
    let state = json!({
        "drains": [{ "region": "us", "since_ms": hour_ms, "until_ms": until_ms }],
        "forced": [{ "region": "eu", "state": "down", "since_ms": hour_ms, "until_ms": until_ms }],
    });
    let (mut world, _folder) = restored(YAML, seal(&state).as_bytes(), 9);
    assert_eq!(world.expire(hour_ms), []);
    assert_eq!(world.expire(until_ms - 1), []);
    assert_eq!(world.expire(until_ms).len(), 2);
}

#[test]
fn whichever_way_a_running_clock_is_set_drains_and_ramps_go_on_from_where_they_are() {
    let hour_ms = 3_600_000;
    let state = json!({
        "drains": [{ "region": "us", "since_ms": hour_ms, "over_ms": 100_000 }],
        "ramps": [{ "service": "shop", "region": "eu", "from_ms": hour_ms, "length_ms": 100_000 }],
    });
    let half = "us=unknown+leaving50/50 eu=unknown+returning50";
    for by_ms in [-3_600_000_i64, -70_000, 70_000, 86_400_000] {
        let (mut world, _folder) = restored(YAML, seal(&state).as_bytes(), hour_ms);
        check_states(&mut world, "shop", hour_ms + 50_000, half);
        assert_eq!(world.expire(hour_ms + 50_000), []);
        world.shift(by_ms);
        let now_ms = (hour_ms + 50_000).saturating_add_signed(by_ms);
        check_states(&mut world, "shop", now_ms, half);
        assert_eq!(world.next_change_ms(), Some(now_ms + 1_000), "{by_ms}");
        let through = "us=unknown+drained eu=unknown";
        check_states(&mut world, "shop", now_ms + 50_000, through);
    }
}

#[test]
fn a_clock_that_is_behind_at_the_start_and_set_right_later_hurries_nothing() {
    let state = json!({
        "saved_at_ms": 3_650_000,
        "drains": [{ "region": "us", "since_ms": 3_600_000, "over_ms": 100_000 }],
        "ramps": [{ "service": "shop", "region": "eu", "from_ms": 3_600_000, "length_ms": 100_000 }],
    });
    let (mut world, _folder) = restored(YAML, seal(&state).as_bytes(), 1_000_000);
    let half = "us=unknown+leaving50/50 eu=unknown+returning50";
    check_states(&mut world, "shop", 1_000_000, half);
    world.shift(2_700_000);
    check_states(&mut world, "shop", 3_700_000, half);
}

#[test]
fn a_later_state_replaces_the_earlier_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.save(&remember(&lived())).unwrap();
    store.save(&remember(&world(YAML))).unwrap();
    let mut after = world(YAML);
    store.restore(&mut after, at(0)).unwrap();
    assert_eq!(remember(&after), remember(&world(YAML)));
    assert_eq!(names(folder.path()), ["state.json"]);
}

#[test]
fn without_a_file_there_is_nothing_to_remember_and_nothing_to_complain_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut after = world(YAML);
    Store::open(folder.path())
        .unwrap()
        .restore(&mut after, at(0))
        .unwrap();
    assert_eq!(remember(&after), remember(&world(YAML)));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside_and_the_edge_starts_without_it() {
    let whole = seal(&remember(&lived()));
    let torn = &whole.as_bytes()[..whole.len() / 2];
    let newer = whole.replace("\"version\":2", "\"version\":3");
    assert_ne!(newer, whole);
    let altered = whole.replace("unhealthy", "healthy");
    assert_ne!(altered, whole);
    let deep = "[".repeat(100_000);
    let cases: [&[u8]; 10] = [
        b"",
        torn,
        b"[]",
        b"null",
        b"{}",
        newer.as_bytes(),
        altered.as_bytes(),
        br#"{"version":"1"}"#,
        b"\xff\xfe",
        deep.as_bytes(),
    ];
    for content in cases {
        let (after, folder) = restored(YAML, content, 0);
        assert_eq!(remember(&after), remember(&world(YAML)));
        assert_eq!(names(folder.path()), ["state.json.unreadable"]);
        let aside = fs::read(folder.path().join("state.json.unreadable")).unwrap();
        assert_eq!(aside, content, "it is kept for whoever wants to look");
        let store = Store::open(folder.path()).unwrap();
        store.save(&remember(&lived())).unwrap();
        let mut next = world(YAML);
        store.restore(&mut next, at(1_000)).unwrap();
        assert_eq!(next.drains(), lived().drains());
    }
}

#[test]
fn nonsense_within_the_file_costs_only_itself() {
    let state = json!({
        "verdicts": {
            "shop/eu/http://10.2.0.1:80": "unhealthy",
            "shop/us/http://10.1.0.1:80": "dead",
            "shop/us/http://10.1.0.2:80": 7,
            "gone/gone/gone": "unhealthy",
        },
        "drains": [
            { "region": "us", "service": null, "since_ms": 4, "until_ms": null, "reason": null },
            { "region": 5, "since_ms": 4 },
            { "region": "eu", "since_ms": -1 },
            { "region": "eu" },
            "eu",
        ],
        "positions": [
            { "domain": "orders", "region": "eu", "origin": "http://10.2.0.1:80", "applied": "us=5" },
            { "domain": "orders", "region": "us", "origin": "http://10.1.0.1:80", "applied": "us" },
            { "domain": "gone", "region": "us", "origin": "http://10.1.0.1:80", "applied": "us=1" },
            { "domain": "orders", "region": "us", "applied": "us=1" },
            [],
        ],
        "more": true,
    });
    let (mut after, folder) = restored(YAML, seal(&state).as_bytes(), 9);
    assert_eq!(names(folder.path()), ["state.json"]);
    check_states(&mut after, "shop", 9, "us=unknown+drained eu=unhealthy");
    let drains = after.drains().iter();
    let drains: Vec<_> = drains
        .map(|drain| (&*drain.region, drain.since_ms))
        .collect();
    assert_eq!(drains, [("us", 4)]);
    let orders = after.applied("orders").unwrap();
    assert_eq!(orders.region("eu").to_string(), "us=5");
    assert!(orders.region("us").is_empty());
    let wrong_kinds: Value = json!({ "verdicts": [], "drains": {}, "positions": 3 });
    let (after, _folder) = restored(YAML, seal(&wrong_kinds).as_bytes(), 9);
    assert_eq!(remember(&after), remember(&world(YAML)));
}

#[test]
fn what_the_configuration_no_longer_has_is_not_remembered() {
    let content = seal(&remember(&lived()));
    let moved = YAML.replace("10.2.0.1:80", "10.2.0.9:80");
    let (mut after, _folder) = restored(&moved, content.as_bytes(), 1_000);
    let orders = after.applied("orders").unwrap();
    assert!(orders.region("eu").is_empty(), "{}", orders.region("eu"));
    assert_eq!(orders.region("us").to_string(), "us=7");
    check_states(&mut after, "shop", 1_000, "us=degraded+drained eu=unknown");
}

#[test]
fn a_drain_that_ended_while_the_edge_was_down_is_over_when_it_is_up() {
    let content = seal(&remember(&lived()));
    let (mut after, _folder) = restored(YAML, content.as_bytes(), 9_000);
    check_states(
        &mut after,
        "api",
        9_000,
        "us=healthy+draining eu=healthy ap=healthy",
    );
    assert!(after.next_change_ms().is_some_and(|at| at <= 9_001));
    assert_eq!(after.expire(9_001).len(), 1);
}

#[test]
fn the_first_word_of_a_region_counts_even_if_it_says_less_than_was_remembered() {
    let content = seal(&remember(&lived()));
    let (mut after, _folder) = restored(YAML, content.as_bytes(), 0);
    let folded = fold(&mut after, applied(EU, "us=4,eu=3:9"), 2_000);
    let orders = after.applied("orders").unwrap();
    assert_eq!(orders.region("eu").to_string(), "eu=3:9,us=4");
    assert_eq!(folded.events.len(), 1, "{:?}", folded.events);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.clone(), file.join("below")] {
        let Err(StoreError::Write { path: told, .. }) = Store::open(&path) else {
            panic!("{} is no folder", path.display());
        };
        assert_eq!(told, path);
    }
}

#[test]
fn a_state_that_cannot_be_written_is_told_and_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.save(&remember(&lived())).unwrap();
    let before = fs::read(folder.path().join("state.json")).unwrap();
    fs::create_dir(folder.path().join("state.json.new")).unwrap();
    assert!(store.save(&remember(&world(YAML))).is_err());
    assert_eq!(fs::read(folder.path().join("state.json")).unwrap(), before);
}

#[test]
fn a_file_of_the_first_version_is_taken_over_and_written_anew_in_this_one() {
    let mut first = remember(&lived());
    first["version"] = json!(1);
    let (after, folder) = restored(YAML, first.to_string().as_bytes(), 1_000);
    assert_eq!(remember(&after), remember(&lived()));
    let store = Store::open(folder.path()).unwrap();
    store.save(&remember(&after)).unwrap();
    let written = fs::read_to_string(folder.path().join("state.json")).unwrap();
    assert!(written.starts_with("{\"version\":2,"), "{written}");
    let (next, folder) = restored(YAML, written.as_bytes(), 1_000);
    assert_eq!(remember(&next), remember(&lived()));
    assert_eq!(names(folder.path()), ["state.json"]);
}

#[test]
fn a_large_state_is_not_written_every_second() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let small = store.save(&remember(&lived())).unwrap();
    let large = store
        .save(&json!({ "verdicts": "x".repeat(3 << 18) }))
        .unwrap();
    let huge = store
        .save(&json!({ "verdicts": "x".repeat(64 << 18) }))
        .unwrap();
    assert_eq!([small, large, huge].map(|wait| wait.as_secs()), [0, 3, 30]);
}
