//! What the writer saves, when, and what a disk costs that hangs.

use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

use super::running::{Ground, PATIENCE, Running, adoption, now_drain, publisher, unprobed_plan};
use super::scene::{member, told};
use crate::clock;
use crate::control::{DrainRequest, Event, Kind, Memory};
use crate::health::Health;
use crate::steering::Admin;

#[tokio::test(start_paused = true)]
async fn what_changed_is_saved_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&unprobed_plan(), Some(folder.path()));
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let mut saved = Vec::new();
    for _ in 0..3 {
        let (publish, _) = publisher();
        let adopted = running.control.adopt(adoption(&unprobed_plan(), publish));
        adopted.await.unwrap();
        while files() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        saved.push(tokio::time::Instant::now());
        for file in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    let apart = (saved[2] - saved[1]).as_millis();
    assert!((999..=1_001).contains(&apart), "{apart}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_saved_every_ten_seconds_and_what_is_over_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let running = Running::start(&unprobed_plan(), Some(folder.path()));
    let slow = |over_ms| DrainRequest {
        over_ms: Some(over_ms),
        ..now_drain("up")
    };
    let saved_within = async |most: Duration| {
        std::fs::remove_file(&file).unwrap();
        let is_there = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(most, is_there).await.is_ok()
    };
    let drained = running.control.drain(slow(3_600_000), true).await;
    assert_eq!(drained.unwrap().unwrap().unsaved, None);
    assert!(saved_within(Duration::from_secs(12)).await);
    let hurried = running.control.drain(slow(0), true).await;
    assert_eq!(hurried.unwrap().unwrap().unsaved, None);
    assert!(!saved_within(Duration::from_secs(60)).await);
    running.end().await;
}

#[tokio::test]
async fn a_drain_ends_by_itself_and_says_so_and_a_crash_does_not_bring_it_back() {
    let (ground, folder) = (Ground::new(), tempfile::tempdir().unwrap());
    let mut running = Running::start(&ground.plan("30s"), Some(folder.path()));
    let (_, mut to_come) = running.control.events().follow(0);
    let brief = DrainRequest {
        until_ms: Some(clock::unix_ms() + 100),
        ..now_drain("down")
    };
    running.control.drain(brief, false).await.unwrap().unwrap();
    let is_over = async {
        loop {
            let event = to_come.recv().await.unwrap();
            if event.message == "the drain of region down is over" {
                return event;
            }
        }
    };
    let event = timeout(PATIENCE, is_over).await.unwrap();
    assert_eq!(event.kind, Kind::Drain);
    running
        .until(|snapshot| member(snapshot, "api", "down").admin == Admin::Enabled)
        .await;
    let is_saved = async {
        let saved = || std::fs::read_to_string(folder.path().join("state.json")).unwrap();
        while !saved().contains("\"drains\":[]") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, is_saved).await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_restart_begins_where_the_last_run_ended() {
    let ground = Ground::new();
    let folder = tempfile::tempdir().unwrap();
    let mut first = Running::start(&ground.plan("30s"), Some(folder.path()));
    first.until_probed().await;
    first
        .control
        .drain(now_drain("up"), true)
        .await
        .unwrap()
        .unwrap();
    first.end().await;
    let second = Running::start(&ground.plan("30s"), Some(folder.path()));
    let snapshot = second.snapshot();
    assert_eq!(member(&snapshot, "api", "down").health, Health::Unhealthy);
    assert_eq!(member(&snapshot, "api", "up").admin, Admin::Drained);
    second.end().await;
}

#[tokio::test]
async fn a_drain_outlives_a_crash_right_after_its_caller_heard_of_it() {
    let ground = Ground::new();
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&ground.plan("30s"), Some(folder.path()));
    let outcome = running.control.drain(now_drain("up"), true).await;
    assert_eq!(outcome.unwrap().unwrap().unsaved, None);
    // What a process that died now would leave, read by one that starts.
    let after = Running::start(&ground.plan("30s"), Some(folder.path()));
    let admin = member(&after.snapshot(), "api", "up").admin;
    assert_eq!(admin, Admin::Drained);
    after.end().await;
    running.end().await;
}

#[tokio::test]
async fn a_disk_that_hangs_delays_who_drains_by_2_s_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    // Opening a pipe that nobody reads hangs, as a file does whose server is gone.
    let pipe = folder.path().join("state.json.new");
    let running = Running::start(&unprobed_plan(), Some(folder.path()));
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let control = &running.control;
    let began = tokio::time::Instant::now();
    let asked = async {
        control.status().await.unwrap();
        began.elapsed()
    };
    let (drained, asked) = tokio::join!(control.drain(now_drain("up"), true), asked);
    assert!(asked < Duration::from_secs(1), "{asked:?}");
    let why = format!(
        "state_dir {}: writing it takes longer than 2 s",
        folder.path().join("state.json").display()
    );
    assert_eq!(drained.unwrap().unwrap().unsaved, Some(why));
    let drained = began.elapsed();
    assert!(drained >= Duration::from_secs(2), "{drained:?}");
    let undrained = control.undrain("up".into(), None).await.unwrap().unwrap();
    assert!(undrained.unsaved.is_some());
    let more = began.elapsed() - drained;
    assert!(
        more < Duration::from_secs(1),
        "it does not wait again: {more:?}"
    );
    assert_eq!(running.events(Kind::State).len(), 1);

    // It comes back: what was written into the pipe is no file, and then there is one.
    let reading = std::fs::File::open(&pipe).unwrap();
    std::fs::remove_file(&pipe).unwrap();
    let saved = async {
        while running.events(Kind::State).len() == 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, saved).await.unwrap();
    drop(reading);
    let told = told(&running.events(Kind::State));
    assert_eq!(
        told[1],
        "state - -: drains, forced states and health are saved again"
    );
    running.end().await;
    let after = Running::start(&unprobed_plan(), Some(folder.path()));
    assert_eq!(member(&after.snapshot(), "api", "up").admin, Admin::Enabled);
    after.end().await;
}

#[tokio::test]
async fn what_happened_is_told_after_a_restart_and_by_a_successor() {
    let folder = tempfile::tempdir().unwrap();
    let before = Running::start(&unprobed_plan(), Some(folder.path()));
    let drained = before.control.drain(now_drain("up"), true).await;
    drained.unwrap().unwrap();
    let of_before = told(&before.events(Kind::Drain));
    assert_eq!(of_before.len(), 1);
    let bequest = before.control.bequeath().await.unwrap();
    let heir = Running::start_with(
        &unprobed_plan(),
        Memory {
            store: None,
            bequest: Some(bequest),
        },
    );
    assert_eq!(told(&heir.events(Kind::Drain)), of_before);
    heir.end().await;
    before.control.resume().await;
    before.end().await;
    let after = Running::start(&unprobed_plan(), Some(folder.path()));
    assert_eq!(told(&after.events(Kind::Drain)), of_before);
    after.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_only_told_is_saved_within_a_second_and_nothing_while_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&unprobed_plan(), Some(folder.path()));
    let file = folder.path().join("state.json");
    let saved = || std::fs::read_to_string(&file).unwrap_or_default();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(saved(), "", "nothing has happened yet");
    running
        .control
        .events()
        .record(Event::new(Kind::Audit, 7, "somebody asked".to_owned()));
    let is_saved = async {
        while !saved().contains("somebody asked") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, is_saved).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(saved(), "", "nothing more has happened");
    running.end().await;
}

#[tokio::test]
async fn a_disk_that_hangs_delays_the_end_and_a_successor_by_2_s() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&unprobed_plan(), Some(folder.path()));
    let pipe = folder.path().join("state.json.new");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let began = tokio::time::Instant::now();
    let control = &running.control;
    let (drained, bequest) = tokio::join!(control.drain(now_drain("up"), true), control.bequeath());
    assert!(drained.unwrap().unwrap().unsaved.is_some());
    let bequest = bequest.unwrap().to_string();
    assert!(bequest.contains("\"region\":\"up\""), "{bequest}");
    running.end().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    // Lets the thread go that waits still.
    drop(std::fs::File::open(&pipe).unwrap());
}
