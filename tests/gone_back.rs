//! Reads of a client whose write was told by what its region has applied alone, once that region says less.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, Replica, two_regions, wait_until};

/// Two regions of which each says what it has of far's log, and that is all they say.
struct Store {
    edge: Edge,
    near: Origin,
    far: Origin,
    near_has: Arc<AtomicU64>,
    far_has: Arc<AtomicU64>,
}

fn says(origin: &Origin, name: &'static str) -> Arc<AtomicU64> {
    let has = Arc::new(AtomicU64::new(0));
    let told = has.clone();
    origin.set_answer(move |seen| {
        let writes = seen.method == "POST";
        let seq = told.fetch_add(u64::from(writes), Ordering::SeqCst) + u64::from(writes);
        Response::builder()
            .header("Meridian-Applied", format!("near=0,far={seq}"))
            .body(Body::from(name))
            .unwrap()
    });
    has
}

fn store(consistency: &str) -> Store {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let (near_has, far_has) = (says(&near, "near"), says(&far, "far"));
    far.set_pause_of_health(Duration::from_secs(1));
    let health = "interval: 500ms, timeout: 20s";
    let edge = Edge::start(&two_regions(
        &near.url(),
        &far.url(),
        "",
        health,
        consistency,
    ));
    Store {
        edge,
        near,
        far,
        near_has,
        far_has,
    }
}

impl Store {
    fn read(&self, token: &str) -> Answer {
        self.edge.curl("api.example.com", "/", &["-H", token])
    }

    /// Writes to `far`, which then goes back; the write's token.
    fn write_and_lose_it(&self) -> String {
        let write = self.edge.curl("api.example.com", "/", &["-d", "x"]);
        assert_eq!(write.body, "far");
        self.far_has.store(0, Ordering::SeqCst);
        format!("Meridian-Token: {}", write.header("meridian-token"))
    }
}

#[test]
fn a_read_that_waits_goes_to_another_region_as_soon_as_that_is_known_to_have_it() {
    for when in ["stale", "fail"] {
        let store = store(&format!("wait: 14s, when_unsatisfiable: {when}"));
        let token = store.write_and_lose_it();
        let asked = store.far.seen().len();
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(wait_until(|| store.far.seen().len() > asked));
                store.near_has.store(1, Ordering::SeqCst);
                store.edge.curl("api.example.com", "/", &[]); // Its answer tells the edge.
            });
            let read = store.read(&token);
            let mark = read.header("meridian-consistency");
            assert_eq!((read.body.as_str(), mark), ("near", "waited"));
        });
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn while_a_read_waits_for_one_region_the_others_are_asked_too() {
    let (near, far) = (Replica::start("near"), Replica::start("far"));
    let health = "interval: 1h, recheck_interval: 1h, timeout: 20s";
    let wait = "wait: 14s, when_unsatisfiable: fail";
    let edge = Edge::start(&two_regions(&near.url(), &far.url(), "", health, wait));
    let write = edge.curl("api.example.com", "/", &["-d", "x"]);
    assert_eq!(write.body, "far");
    far.apply(0);
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    let (began, asked) = (Instant::now(), near.probes());
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| edge.curl("api.example.com", "/", &["-H", &token])))
            .collect();
        assert!(wait_until(|| near.probes() > asked + 2));
        near.apply(1);
        for read in reading {
            let read = read.join().unwrap();
            let mark = read.header("meridian-consistency");
            assert_eq!((read.body.as_str(), mark), ("near", "waited"));
        }
    });
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(near.most_probes_at_once(), 1);
}

#[test]
fn an_answer_that_shows_it_when_all_waiting_is_over_is_marked_waited() {
    let store = store("wait: 300ms");
    let token = store.write_and_lose_it();
    let (near, far) = (store.near.seen().len(), store.far.seen().len());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(wait_until(|| store.far.seen().len() > far));
            store.near_has.store(1, Ordering::SeqCst);
        });
        let read = store.read(&token);
        let mark = read.header("meridian-consistency");
        assert_eq!((read.body.as_str(), mark), ("near", "waited"));
    });
    assert_eq!(store.near.seen().len(), near + 1);
}
