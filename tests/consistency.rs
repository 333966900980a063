//! Read-your-writes through the whole edge: tokens, and reads that are fresh, waited, routed or stale.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, two_regions};

/// Two regions in one domain. Each says what it has applied; a test moves the numbers.
struct Store {
    edge: Edge,
    near: Origin,
    far: Origin,
    /// What `near` has applied of far's log, and far of its own.
    near_has: Arc<AtomicU64>,
    far_log: Arc<AtomicU64>,
}

fn store(consistency: &str) -> Store {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let (near_has, far_log) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let has = near_has.clone();
    near.set_answer(move |_| {
        let applied = format!("near=0,far={}", has.load(Ordering::SeqCst));
        Response::builder()
            .header("Meridian-Applied", applied)
            .body(Body::from("near"))
            .unwrap()
    });
    let log = far_log.clone();
    far.set_answer(move |seen| {
        let mut answer = Response::builder();
        if seen.method == "POST" {
            let position = log.fetch_add(1, Ordering::SeqCst) + 1;
            answer = answer.header("Meridian-Committed", position.to_string());
        }
        let applied = format!("near=0,far={}", log.load(Ordering::SeqCst));
        answer
            .header("Meridian-Applied", applied)
            .body(Body::from("far"))
            .unwrap()
    });
    // A read goes where the answer comes soonest, so the far region is far for a loaded machine too.
    far.set_pause_of_health(std::time::Duration::from_secs(1));
    let edge = Edge::start(&two_regions(
        &near.url(),
        &far.url(),
        "",
        "interval: 500ms, timeout: 20s",
        consistency,
    ));
    Store {
        edge,
        near,
        far,
        near_has,
        far_log,
    }
}

impl Store {
    fn write(&self, arguments: &[&str]) -> Answer {
        self.edge
            .curl("api.example.com", "/", &[&["-d", "x"], arguments].concat())
    }

    fn read(&self, arguments: &[&str]) -> Answer {
        self.edge.curl("api.example.com", "/", arguments)
    }
}

fn with_token(answer: &Answer) -> String {
    format!("Meridian-Token: {}", answer.header("meridian-token"))
}

/// What a client is told whose regions all answer 404, of which `on_status` makes something to better: its status
/// and its mark.
fn told_when_all_say_404(when_unsatisfiable: &str, near_has: u64) -> (u16, String) {
    let store = store(&format!(
        "wait: 50ms, when_unsatisfiable: {when_unsatisfiable} }}
    retries: {{ on_status: [404]"
    ));
    let write = store.write(&[]);
    store.near_has.store(near_has, Ordering::SeqCst);
    for (origin, far) in [(&store.near, near_has), (&store.far, 0)] {
        origin.set_answer(move |_| {
            Response::builder()
                .status(404)
                .header("Meridian-Applied", format!("near=0,far={far}"))
                .body(Body::empty())
                .unwrap()
        });
    }
    let answer = store.read(&["-H", &with_token(&write)]);
    let mark = answer.headers("meridian-consistency");
    (answer.status, mark.concat())
}

#[test]
fn an_answer_that_on_status_names_is_marked_by_what_it_shows_and_never_stale_with_fail() {
    assert_eq!(told_when_all_say_404("stale", 0), (404, "stale".to_owned()));
    assert_eq!(told_when_all_say_404("fail", 0), (503, String::new()));
    let (status, mark) = told_when_all_say_404("fail", 1);
    assert_eq!(status, 404);
    assert!(["fresh", "routed"].contains(&mark.as_str()), "{mark}");
}

#[test]
fn a_write_mints_a_token_on_both_carriers_and_a_read_follows_it() {
    let store = store("wait: 0s");
    let write = store.write(&[]);
    assert_eq!(write.body, "far");
    assert!(
        write.headers("meridian-committed").is_empty()
            && write.headers("meridian-applied").is_empty()
    );
    let cookie = write.cookie("__Host-meridian_seen");
    let by_header = store.read(&["-H", &with_token(&write)]);
    assert_eq!(
        (
            by_header.body.as_str(),
            by_header.header("meridian-consistency")
        ),
        ("far", "routed")
    );
    let by_cookie = store.read(&["-b", &cookie]);
    assert_eq!(
        (
            by_cookie.body.as_str(),
            by_cookie.header("meridian-consistency")
        ),
        ("far", "routed")
    );
    let asked = store.far.seen();
    assert_eq!(asked.last().unwrap().header("meridian-require"), "far=1");
    let without = store.read(&[]);
    assert_eq!(without.body, "near");
    assert!(without.headers("meridian-consistency").is_empty());
}

#[test]
fn a_region_that_has_caught_up_answers_fresh() {
    let store = store("wait: 0s");
    let token = with_token(&store.write(&[]));
    store.near_has.store(1, Ordering::SeqCst);
    store.read(&[]); // Its answer tells the edge.
    let read = store.read(&["-H", &token]);
    assert_eq!(
        (read.body.as_str(), read.header("meridian-consistency")),
        ("near", "fresh")
    );
}

#[test]
fn a_read_waits_for_the_one_region_that_will_catch_up() {
    let mut store = store("wait: 5s");
    let token = with_token(&store.write(&[]));
    store.far.stop();
    let near_has = store.near_has.clone();
    let asked = store.near.seen().len();
    let near = &store.near;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert!(support::wait_until(|| near.seen().len() > asked));
            near_has.store(1, Ordering::SeqCst);
        });
        let read = store.read(&["-H", &token]);
        assert_eq!(
            (read.body.as_str(), read.header("meridian-consistency")),
            ("near", "waited")
        );
    });
}

#[test]
fn how_long_a_read_waited_is_in_the_histogram_of_its_region() {
    const HELD: Duration = Duration::from_millis(300);
    let mut store = store("wait: 20s");
    let token = with_token(&store.write(&[]));
    store.far.stop();
    let near_has = store.near_has.clone();
    let asked = store.near.seen().len();
    let near = &store.near;
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert!(support::wait_until(|| near.seen().len() > asked));
            let waiting = Instant::now();
            assert!(support::wait_until(|| waiting.elapsed() > HELD));
            near_has.store(1, Ordering::SeqCst);
        });
        let read = store.read(&["-H", &token]);
        assert_eq!(read.header("meridian-consistency"), "waited");
    });
    let took = began.elapsed();
    let (_, metrics) = store.edge.admin("GET", "/metrics", "");
    let series = |name: &str, label: &str| -> f64 {
        let metrics = metrics.as_str().unwrap().lines();
        let mut of_near = metrics.filter(|line| {
            line.starts_with(&format!("meridian_read_wait_seconds_{name}{{"))
                && line.contains("region=\"near\"")
                && line.contains(label)
        });
        of_near
            .next()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(series("count", ""), 1.0);
    let waited = Duration::from_secs_f64(series("sum", ""));
    // The wait may have begun a moment after the region was first asked, and ended before curl did.
    assert!(
        waited > HELD / 2 && waited <= took,
        "{waited:?} of {took:?}"
    );
    assert_eq!(series("bucket", "le=\"0.1\""), 0.0);
    assert_eq!(series("bucket", "le=\"30\""), 1.0);
}

#[test]
fn of_the_tokens_of_a_request_eight_are_read_and_no_more() {
    let store = store("wait: 0s");
    let write = store.write(&[]);
    let token = write.header("meridian-token").to_owned();
    let behind = |others: usize| {
        let others = vec!["none"; others].join(", ");
        store.read(&["-H", &format!("Meridian-Token: {others}, {token}")])
    };
    assert_eq!(behind(7).header("meridian-consistency"), "routed");
    assert!(behind(8).headers("meridian-consistency").is_empty());
}

#[test]
fn a_read_that_nobody_can_satisfy_is_marked_stale_and_not_kept() {
    let mut store = store("wait: 50ms");
    let token = with_token(&store.write(&[]));
    store.far.stop();
    let read = store.read(&["-H", &token]);
    assert_eq!(
        (read.body.as_str(), read.header("meridian-consistency")),
        ("near", "stale")
    );
    assert_eq!(read.header("cache-control"), "no-store");
}

#[test]
fn with_fail_such_a_read_is_a_503() {
    let mut store = store("wait: 50ms, when_unsatisfiable: fail");
    let token = with_token(&store.write(&[]));
    store.far.stop();
    let read = store.read(&["-H", &token]);
    assert_eq!(read.status, 503);
    assert!(!read.header("retry-after").is_empty());
}

#[test]
fn a_forged_token_counts_as_absent_and_is_counted() {
    let store = store("wait: 0s");
    let write = store.write(&[]);
    let token = write.header("meridian-token");
    // Another character in the middle: the form is right, the signature is not.
    let (before, after) = token.split_at(token.len() / 2);
    let other = if after.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("Meridian-Token: {before}{other}{}", &after[1..]);
    let read = store.read(&["-H", &forged]);
    assert_eq!(read.body, "near");
    assert!(read.headers("meridian-consistency").is_empty());
    let (_, metrics) = store.edge.admin("GET", "/metrics", "");
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("meridian_token_rejected_total{reason=\"forged\"} 1")
    );
}

#[test]
fn a_write_of_unknown_position_pins_its_client() {
    let store = store("wait: 0s, pin: 1m");
    store.far.set_answer(|_| Response::new(Body::from("far")));
    let token = with_token(&store.write(&[]));
    assert_eq!(store.read(&["-H", &token]).body, "far");
    store
        .far
        .set_answer(|_| Response::builder().status(422).body(Body::empty()).unwrap());
    let refused = store.write(&[]);
    assert!(
        refused.headers("meridian-token").is_empty(),
        "{}",
        refused.head
    );
}

#[test]
fn positions_pushed_by_a_region_are_believed_and_nonsense_is_not() {
    let store = store("wait: 0s");
    let token = with_token(&store.write(&[]));
    assert_eq!(store.far_log.load(Ordering::SeqCst), 1);
    let push = |region: &str, body: &str| {
        store
            .edge
            .admin("PUT", &format!("/api/v1/positions/{region}"), body)
            .0
    };
    assert_eq!(push("nowhere", "{\"applied\":{\"far\":\"1\"}}"), 404);
    assert_eq!(push("near", "{\"applied\":{\"far\":\"one\"}}"), 400);
    assert_eq!(push("near", "{\"applied\":{\"mars\":\"1\"}}"), 400);
    assert_eq!(push("near", "{\"applied\":{\"far\":\"1\"}}"), 200);
    store.near_has.store(1, Ordering::SeqCst);
    assert_eq!(
        store.read(&["-H", &token]).header("meridian-consistency"),
        "fresh"
    );
}

#[test]
fn an_answer_that_shows_less_than_the_token_is_never_fresh() {
    let store = store("wait: 0s");
    let token = with_token(&store.write(&[]));
    // A replica of the writing region itself that is behind.
    store.far.set_answer(|_| {
        Response::builder()
            .header("Meridian-Applied", "near=0,far=0")
            .body(Body::from("far"))
            .unwrap()
    });
    let read = store.read(&["-H", &token]);
    assert_eq!(
        read.header("meridian-consistency"),
        "stale",
        "{}",
        read.head
    );
}

#[test]
fn a_read_waits_no_longer_than_it_may_even_if_a_region_holds_it() {
    let mut store = store("wait: 300ms");
    let token = with_token(&store.write(&[]));
    store.far.stop();
    store
        .near
        .set_pause_of_required(std::time::Duration::from_secs(10));
    let read = store.read(&["-H", &token, "--max-time", "5"]);
    assert_eq!(
        read.header("meridian-consistency"),
        "stale",
        "{}",
        read.head
    );
}

#[test]
fn a_read_by_intent_with_a_body_moves_on_like_any_other() {
    let mut store = store("wait: 50ms, intents: [{ path: /search, method: POST, is: read }]");
    let token = with_token(&store.write(&[]));
    store.far.set_answer(|_| {
        Response::builder()
            .header("Meridian-Applied", "near=0,far=1")
            .body(Body::from("far"))
            .unwrap()
    });
    let search = |store: &Store| {
        let arguments = ["-H", &token, "-d", "needle"];
        store.edge.curl("api.example.com", "/search", &arguments)
    };
    let found = search(&store);
    assert_eq!(
        (found.body.as_str(), found.header("meridian-consistency")),
        ("far", "routed")
    );
    store.far.stop();
    let found = search(&store);
    assert_eq!(
        (found.body.as_str(), found.header("meridian-consistency")),
        ("near", "stale")
    );
    assert_eq!(store.near.seen().last().unwrap().body, "needle");
}

#[test]
fn a_write_that_its_time_out_cut_off_pins() {
    let store = store("wait: 0s, pin: 1m }\n    timeouts: { request: 300ms");
    store.far.set_pause(std::time::Duration::from_secs(5));
    let write = store.write(&[]);
    assert_eq!(write.status, 504);
    let token = with_token(&write);
    store.far.set_pause(std::time::Duration::ZERO);
    assert_eq!(store.read(&["-H", &token]).body, "far");
}

#[test]
fn a_read_with_a_valid_token_is_marked_even_if_the_token_asks_for_nothing_more() {
    let store = store("wait: 0s, pin: 1s");
    store.far.set_answer(|_| Response::new(Body::from("far")));
    let token = with_token(&store.write(&[]));
    assert_eq!(store.read(&["-H", &token]).body, "far", "pinned");
    let over = || store.read(&["-H", &token]);
    assert!(support::wait_until(|| over().body == "near"));
    assert_eq!(over().header("meridian-consistency"), "fresh");
}

#[test]
fn a_read_waits_for_a_region_of_which_a_replica_keeps_behind_what_it_has_acknowledged() {
    let store = store("wait: 20s");
    let token = with_token(&store.write(&[]));
    let asked = AtomicU64::new(0);
    store.far.set_answer(move |_| {
        let has = u64::from(asked.fetch_add(1, Ordering::SeqCst) >= 3);
        Response::builder()
            .header("Meridian-Applied", format!("near=0,far={has}"))
            .body(Body::from("far"))
            .unwrap()
    });
    let read = store.read(&["-H", &token]);
    assert_eq!(
        (read.body.as_str(), read.header("meridian-consistency")),
        ("far", "waited")
    );
}

#[test]
fn an_answer_that_shows_less_than_all_were_known_to_have_is_not_fresh_and_the_token_stays() {
    let store = store("wait: 20s");
    let token = with_token(&store.write(&[]));
    store.near_has.store(1, Ordering::SeqCst);
    assert_eq!(store.read(&[]).body, "near", "and says what it has");
    let taken_back = |answer: &Answer| {
        let mut lines = answer.head.lines();
        lines.any(|line| line.trim_end().eq_ignore_ascii_case("meridian-token:"))
    };
    let mut last = String::new();
    let is_taken_back = support::wait_until(|| {
        let read = store.read(&["-H", &token]);
        last.clone_from(&read.head);
        taken_back(&read)
    });
    assert!(is_taken_back, "{last}");
    // All have it, and its token asks for nothing any more: until a replica shows that it lacks it.
    let asked = AtomicU64::new(0);
    store.near.set_answer(move |_| {
        let has = u64::from(asked.fetch_add(1, Ordering::SeqCst) >= 3);
        Response::builder()
            .header("Meridian-Applied", format!("near=0,far={has}"))
            .body(Body::from(format!("near {has}")))
            .unwrap()
    });
    let read = store.read(&["-H", &token]);
    assert_ne!(read.body, "near 0", "{}", read.head);
    assert_ne!(read.header("meridian-consistency"), "stale");
}
