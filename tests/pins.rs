//! Stores that say no positions, as DynamoDB's global tables: pins, and what they are worth.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, Seen, two_regions, wait_until};

const HOST: &str = "api.example.com";

/// What the readers of each region see, by region and path. Writes reach the other region when a test says so.
type Tables = Arc<Mutex<HashMap<(&'static str, String), String>>>;

/// Two regions with an eventually consistent store: `near` comes first for reads, `far` takes the writes.
struct Store {
    edge: Edge,
    far: Origin,
    near: Origin,
    tables: Tables,
}

fn serve(tables: &Tables, region: &'static str, seen: &Seen) -> Response {
    let mut tables = tables.lock().unwrap();
    let at = (region, seen.uri.clone());
    if seen.method == "POST" {
        let value = String::from_utf8(seen.body.to_vec()).unwrap();
        tables.insert(at.clone(), value);
    }
    let shown = tables.get(&at).cloned().unwrap_or_default();
    Response::new(Body::from(format!("{region}: {shown}")))
}

fn store(consistency: &str) -> Store {
    let tables = Tables::default();
    let start = |region: &'static str| {
        let (origin, tables) = (Origin::start(region), tables.clone());
        origin.set_answer(move |seen| serve(&tables, region, seen));
        origin
    };
    let (near, far) = (start("near"), start("far"));
    let edge = Edge::start(&two_regions(
        &near.url(),
        &far.url(),
        "",
        "interval: 500ms",
        consistency,
    ));
    Store {
        edge,
        far,
        near,
        tables,
    }
}

impl Store {
    fn replicate(&self) {
        let mut tables = self.tables.lock().unwrap();
        let far: Vec<_> = tables
            .iter()
            .filter(|((region, _), _)| *region == "far")
            .map(|((_, path), value)| (path.clone(), value.clone()))
            .collect();
        for (path, value) in far {
            tables.insert(("near", path), value);
        }
    }

    fn write(&self, path: &str, value: &str) -> String {
        let answer = self.edge.curl(HOST, path, &["-d", value]);
        assert_eq!(answer.body, format!("far: {value}"));
        format!("Meridian-Token: {}", answer.header("meridian-token"))
    }

    fn read(&self, path: &str, token: &str) -> Answer {
        self.edge.curl(HOST, path, &["-H", token])
    }
}

fn mark(answer: &Answer) -> (&str, &str) {
    (&answer.body, answer.header("meridian-consistency"))
}

#[test]
fn while_the_pin_lasts_no_read_misses_the_write_however_far_replication_is_behind() {
    let store = store("pin: 10m");
    std::thread::scope(|scope| {
        for client in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let path = format!("/items/{client}");
                for round in ["1", "2", "3"] {
                    let token = store.write(&path, round);
                    for _ in 0..10 {
                        let read = store.read(&path, &token);
                        assert_eq!(mark(&read), (&*format!("far: {round}"), "routed"));
                    }
                    let without = store.edge.curl(HOST, &path, &[]);
                    assert_eq!(without.body, "near: ", "who has no token misses it");
                    assert!(without.headers("meridian-consistency").is_empty());
                }
            });
        }
    });
    assert!(
        store
            .far
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("meridian-require")),
        "a pin alone asks for no position"
    );
}

#[test]
fn after_the_pin_a_region_that_is_still_behind_is_read_and_marked_fresh_and_the_token_is_taken_back()
 {
    let store = store("pin: 1s");
    let token = store.write("/items/a", "1");
    assert_eq!(mark(&store.read("/items/a", &token)), ("far: 1", "routed"));
    let mut over = None;
    assert!(wait_until(|| {
        let read = store.read("/items/a", &token);
        let is_over = read.body.starts_with("near");
        over = is_over.then_some(read);
        is_over
    }));
    let over = over.unwrap();
    assert_eq!(mark(&over), ("near: ", "fresh"), "the wager was lost");
    let empty = |line: &str| line.trim_end().eq_ignore_ascii_case("meridian-token:");
    assert!(over.head.lines().any(empty), "{}", over.head);
    store.replicate();
    assert_eq!(mark(&store.read("/items/a", &token)), ("near: 1", "fresh"));
}

#[test]
fn a_region_that_is_away_takes_its_pins_with_it() {
    for (consistency, expected) in [
        ("pin: 10m, when_unsatisfiable: stale", 200),
        ("pin: 10m, when_unsatisfiable: fail", 503),
    ] {
        let mut store = store(consistency);
        let token = store.write("/items/a", "1");
        store.far.stop();
        let read = store.read("/items/a", &token);
        assert_eq!(read.status, expected, "{}", read.head);
        if expected == 200 {
            assert_eq!(mark(&read), ("near: ", "stale"));
            assert_eq!(read.header("cache-control"), "no-store");
        } else {
            assert!(!read.header("retry-after").is_empty());
        }
        assert_eq!(store.near.seen().len(), usize::from(expected == 200));
    }
}

/// Reads without a token come back to it then.
#[test]
fn an_unhealthy_region_is_never_unmarked_in_the_place_of_the_pinned_one() {
    let mut store = store("pin: 10m, when_unsatisfiable: stale");
    let token = store.write("/items/a", "1");
    store.near.set_healthy(false);
    let is_down = || {
        let (_, status) = store.edge.admin("GET", "/api/v1/status", "");
        status.to_string().contains("\"unhealthy\"")
    };
    assert!(wait_until(is_down));
    store.far.stop();
    let read = store.read("/items/a", &token);
    let is_marked = read.headers("meridian-consistency") == ["stale"];
    assert!(read.status >= 500 || is_marked, "{}", read.head);
    assert_eq!(store.edge.curl(HOST, "/items/a", &[]).body, "near: ");
}

/// 404 is among what another region may better: the client's new object is not found in a region that lacks it.
#[test]
fn what_another_region_answers_for_the_pinned_one_is_stale_whatever_it_answers() {
    for (when, told) in [
        ("stale", (404, "stale", "no-store")),
        ("fail", (503, "fresh", "")),
    ] {
        let retries = "retries: { attempts: 1, on_status: [503, 404] }";
        let consistency = format!("pin: 10m, when_unsatisfiable: {when} }}\n    {retries} #");
        let store = store(&consistency);
        let token = store.write("/items/a", "1");
        let says = |origin: &Origin, status: u16| {
            origin.set_answer(move |_| {
                let answer = Response::builder().status(status);
                answer.body(Body::empty()).unwrap()
            });
        };
        says(&store.far, 503);
        says(&store.near, 404);
        let read = store.read("/items/a", &token);
        let kept = read
            .headers("cache-control")
            .first()
            .copied()
            .unwrap_or_default();
        let mark = read.header("meridian-consistency");
        assert_eq!((read.status, mark, kept), told, "{}", read.head);
        let details = read.header("proxy-status");
        assert!(!details.contains("no region has caught up"), "{details}");
    }
}

#[test]
fn a_pin_to_a_region_that_is_away_hides_no_write_that_others_have() {
    let [near, mid, mut far] = ["near", "mid", "far"].map(Origin::start);
    let answers = |origin: &Origin, region: &'static str, applied: &'static str| {
        origin.set_answer(move |_| {
            let answer = Response::builder().header("Meridian-Applied", applied);
            answer.body(Body::from(region)).unwrap()
        });
    };
    answers(&near, "near", "mid=4");
    answers(&mid, "mid", "mid=5");
    far.set_answer(|seen| {
        let (status, committed) = match seen.uri.as_str() {
            "/known" => (200, Some("mid=5")),
            _ => (500, None),
        };
        let mut answer = Response::builder().status(status);
        if let Some(committed) = committed {
            answer = answer.header("Meridian-Committed", committed);
        }
        answer.body(Body::empty()).unwrap()
    });
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ near: {{ origins: ['{}'] }}, mid: {{ origins: ['{}'] }}, far: {{ origins: ['{}'] }} }}
services:
  api:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    writes: {{ to: {{ primary: far }} }}
    health: {{ interval: 500ms }}
    consistency: {{ read_your_writes: true, wait: 50ms, pin: 10m }}
",
        near.url(),
        mid.url(),
        far.url()
    ));
    let token = |answer: &Answer| format!("Meridian-Token: {}", answer.header("meridian-token"));
    let known = token(&edge.curl(HOST, "/known", &["-d", "x"]));
    let unknown = token(&edge.curl(HOST, "/unknown", &["-d", "x", "-H", &known]));
    far.stop();
    let read = edge.curl(HOST, "/", &["-H", &unknown]);
    assert_eq!(mark(&read), ("mid", "stale"), "{}", read.head);
}
