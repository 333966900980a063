//! The one writer, with real tasks and probes of real sockets: who is told what, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::running::{Ground, PATIENCE, Running, adoption, now_drain, publisher};
use super::scene::{member, plan, told};
use crate::control::{Closed, Control, DrainRefused, Kind, Memory, Replaced};
use crate::health::Health;
use crate::steering::Admin;

#[tokio::test]
async fn the_first_snapshot_is_there_before_start_returns() {
    let ground = Ground::new();
    let running = Running::start(&ground.plan("30s"), None);
    let snapshot = running.snapshot();
    assert_eq!(snapshot.generation, 1);
    assert_eq!(member(&snapshot, "api", "up").health, Health::Unknown);
    running.end().await;
}

#[tokio::test]
async fn what_probes_find_is_published_and_told_in_the_order_of_ids() {
    let ground = Ground::new();
    let mut running = Running::start(&ground.plan("30s"), None);
    running.until_probed().await;
    let (events, _) = running.control.events().follow(0);
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    let first = ids[0];
    assert_eq!(ids, [0, 1, 2, 3].map(|later| first + later), "{events:?}");
    let told = told(&events);
    for expected in [
        "health up api: region up is healthy for service api, was unknown",
        "health down api: region down is unhealthy for service api, was unknown",
    ] {
        assert!(told.iter().any(|event| event == expected), "{told:?}");
    }
    let (later, _) = running.control.events().follow(first + 2);
    assert_eq!(later, events[3..]);
    let status = running.control.status().await.unwrap();
    assert!(status.targets.iter().all(|target| target.last.is_some()));
    running.end().await;
}

#[tokio::test]
async fn reports_that_wait_together_are_published_once() {
    const SERVICES: usize = 40;
    let ground = Ground::new();
    let mut yaml = format!(
        "regions: {{ down: {{ origins: ['http://127.0.0.1:{}'] }} }}\nservices:\n",
        ground.closed_port
    );
    for service in 0..SERVICES {
        yaml += &format!(
            "  s{service}: {{ hosts: [s{service}.example.com], health: {{ protocol: tcp, interval: 1h }} }}\n"
        );
    }
    let published = Arc::new(AtomicUsize::new(0));
    let count = published.clone();
    let (control, inbox) = Control::new();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let publish = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Box::new(()) as Replaced
    });
    control.start(
        inbox,
        adoption(&plan(&yaml), publish),
        Memory::default(),
        &tasks,
        stop.clone(),
    );
    let (_, mut to_come) = control.events().follow(0);
    for _ in 0..2 * SERVICES {
        timeout(PATIENCE, to_come.recv()).await.unwrap().unwrap();
    }
    let published = published.load(Ordering::Relaxed);
    assert!(published < SERVICES, "{published}");
    stop.cancel();
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn so_many_probes_run_at_once_and_the_next_when_one_ends() {
    const AT_ONCE: usize = 256;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut yaml =
        format!("regions: {{ slow: {{ origins: ['http://127.0.0.1:{port}'] }} }}\nservices:\n");
    for service in 0..=AT_ONCE {
        yaml += &format!(
            "  s{service}: {{ hosts: [s{service}.example.com], health: {{ interval: 1h, timeout: 1h }} }}\n"
        );
    }
    let running = Running::start(&plan(&yaml), None);
    // Nobody is answered, so that every probe keeps its connection.
    let mut probes = Vec::new();
    for _ in 0..AT_ONCE {
        let (probe, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        probes.push(probe);
    }
    // All checks run on this thread and have had their turn: one that did not wait would stand in the queue.
    let listener = listener.into_std().unwrap();
    let next = listener.accept().unwrap_err();
    assert_eq!(next.kind(), std::io::ErrorKind::WouldBlock);
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    probes.pop();
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_drain_is_in_force_when_its_caller_hears_of_it() {
    let ground = Ground::new();
    let running = Running::start(&ground.plan("30s"), None);
    let outcome = running.control.drain(now_drain("down"), false).await;
    let outcome = outcome.unwrap().unwrap();
    assert_eq!(outcome.drains.len(), 1);
    assert_eq!(
        outcome.unsaved.as_deref(),
        Some("node.state_dir is not set")
    );
    let admin = |running: &Running| member(&running.snapshot(), "api", "down").admin;
    assert_eq!(admin(&running), Admin::Drained);
    let undone = running.control.undrain("down".into(), None).await;
    let undone = undone.unwrap().unwrap();
    assert_eq!((&undone.drains, &undone.unsaved), (&Vec::new(), &None));
    assert_eq!(admin(&running), Admin::Enabled);
    let events = running.events(Kind::Drain);
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [outcome.event, undone.event]);
    assert_eq!(
        told(&events),
        [
            "drain down -: region down is drained",
            "drain down -: the drain of region down is undone",
        ]
    );
    running.end().await;
}

#[tokio::test]
async fn a_refused_drain_says_what_would_be_left_and_changes_nothing() {
    let ground = Ground::new();
    let mut running = Running::start(&ground.plan("30s"), None);
    running.until_probed().await;
    let outcome = running.control.drain(now_drain("up"), false).await.unwrap();
    let Err(DrainRefused::Guard { left, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        member(&running.snapshot(), "api", "up").admin,
        Admin::Enabled
    );
    let forced = running.control.drain(now_drain("up"), true).await;
    assert!(matches!(forced, Ok(Ok(_))), "{forced:?}");
    assert_eq!(
        member(&running.snapshot(), "api", "up").admin,
        Admin::Drained
    );
    running.end().await;
}

#[tokio::test]
async fn an_adopted_plan_is_published_to_its_own_publisher_with_what_was_known() {
    let ground = Ground::new();
    let mut running = Running::start(&ground.plan("30s"), None);
    running.until_probed().await;
    let (publish, published) = publisher();
    let generation = running
        .control
        .adopt(adoption(&ground.plan("20s"), publish))
        .await;
    assert_eq!(generation, Ok(2));
    let snapshot = published.borrow().clone().unwrap();
    assert_eq!(snapshot.generation, 2);
    assert_eq!(member(&snapshot, "api", "down").health, Health::Unhealthy);
    assert_eq!(
        told(&running.events(Kind::Reload)),
        ["reload - -: configuration 2 is in force: a test asked for it"]
    );
    running.end().await;
}

#[tokio::test]
async fn a_suspicion_from_the_proxy_degrades_the_region_at_once() {
    let ground = Ground::new();
    let mut running = Running::start(&ground.plan("30s"), None);
    running.until_probed().await;
    running
        .control
        .suspect("up".into(), "positions of up ran backwards".into());
    running
        .until(|snapshot| member(snapshot, "api", "up").health == Health::Degraded)
        .await;
    assert_eq!(
        told(&running.events(Kind::Position)),
        ["position up -: positions of up ran backwards"]
    );
    running.end().await;
}

#[tokio::test]
async fn who_asks_after_the_end_is_told_that_it_is_over() {
    let ground = Ground::new();
    let running = Running::start(&ground.plan("30s"), None);
    let control = running.control.clone();
    running.end().await;
    assert_eq!(control.drain(now_drain("up"), true).await, Err(Closed));
    assert!(control.status().await.is_err());
}
