//! What is promised to a client and must hold under every failure: residency, old and new keys, and requests that can be
//! sent once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use support::{
    Answer, Edge, Origin, chat, echo, exchange_line, hears_the_end, raw_origin, wait_until,
};

/// Two regions of one jurisdiction, and one outside that is preferred, takes the writes, and is up all the time.
struct World {
    edge: Edge,
    home: Origin,
    second: Origin,
    outside: Origin,
}

const EU: [&str; 2] = ["-H", "X-Jurisdiction: eu"];

/// Answers as a store that commits each write at 7 and has applied all of `applied`.
fn answer_as(origin: &Origin, name: &'static str, applied: &'static str) {
    origin.set_answer(move |seen| {
        let mut answer = Response::builder().header("Meridian-Applied", applied);
        if seen.method == "POST" {
            answer = answer.header("Meridian-Committed", "7");
        }
        answer.body(Body::from(name)).unwrap()
    });
}

fn world() -> World {
    let origins = ["home", "second", "outside"].map(Origin::start);
    let [home, second, outside] = origins;
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  outside: {{ location: [50, 8], origins: ['{}'] }}
  home: {{ location: [48, 2], origins: ['{}'] }}
  second: {{ location: [53, -6], origins: ['{}'] }}
services:
  api:
    hosts: [api.example.com]
    steering: {{ policy: priority, when_none_healthy: all }}
    writes: {{ to: {{ primary: outside }} }}
    health: {{ interval: 100ms, recheck_interval: 100ms, timeout: 20s }}
    retries: {{ attempts: 2, budget: 100%, on_status: [503], hedge_after: 100ms }}
    residency: {{ by: {{ header: X-Jurisdiction }}, allow: {{ eu: [home, second] }} }}
    consistency: {{ read_your_writes: true, wait: 100ms }}
  web:
    hosts: [www.example.com]
    residency: {{ by: client_country, allow: {{ NL: [home, second] }} }}
",
        outside.url(),
        home.url(),
        second.url()
    ));
    answer_as(&home, "home", "home=7,outside=0");
    answer_as(&second, "second", "home=0,outside=0");
    answer_as(&outside, "outside", "home=7,outside=7");
    World {
        edge,
        home,
        second,
        outside,
    }
}

impl World {
    fn ask(&self, arguments: &[&str]) -> Answer {
        let answer = self
            .edge
            .curl("api.example.com", "/", &[&EU, arguments].concat());
        self.check();
        answer
    }

    /// No request of the jurisdiction has ever been outside.
    #[track_caller]
    fn check(&self) {
        let seen = self.outside.seen();
        let breach = seen
            .iter()
            .find(|seen| seen.headers.contains_key("x-jurisdiction"));
        assert!(breach.is_none(), "{breach:?}");
    }

    fn state(&self, region: &str) -> String {
        let (_, status) = self.edge.admin("GET", "/api/v1/status", "");
        let regions = status["regions"].as_array().unwrap().iter();
        let state = |found: &serde_json::Value| found["state"].as_str().unwrap().to_owned();
        regions
            .filter(|found| found["name"] == region)
            .map(state)
            .collect()
    }
}

#[test]
fn no_retry_hedge_drain_token_pin_or_panic_takes_a_client_out_of_its_jurisdiction() {
    let mut world = world();
    assert_eq!(world.edge.curl("api.example.com", "/", &[]).body, "outside");
    let write = world.ask(&["-d", "x"]);
    assert_eq!(write.body, "home", "the primary is outside");
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    assert_eq!(world.ask(&["-H", &token]).body, "home");

    // A retry by status, and a hedge.
    let busy = |_: &support::Seen| Response::builder().status(503).body(Body::empty()).unwrap();
    world.home.set_answer(busy);
    assert_eq!(world.ask(&[]).body, "second");
    world.second.set_answer(busy);
    assert_eq!(world.ask(&[]).status, 503);
    answer_as(&world.home, "home", "home=7,outside=0");
    answer_as(&world.second, "second", "home=0,outside=0");
    world.home.set_pause(Duration::from_secs(5));
    assert_eq!(world.ask(&[]).body, "second");
    world.home.set_pause(Duration::ZERO);

    // A token that only a region outside can satisfy, and a pin to it.
    let elsewhere = world.edge.curl("api.example.com", "/", &["-d", "x"]);
    assert_eq!(elsewhere.body, "outside");
    let foreign = format!("Meridian-Token: {}", elsewhere.header("meridian-token"));
    let read = world.ask(&["-H", &foreign]);
    assert_eq!(read.header("meridian-consistency"), "stale", "{read:?}");
    world.outside.set_answer(busy);
    let unknown = world.edge.curl("api.example.com", "/", &["-d", "x"]);
    let pinned = format!("Meridian-Token: {}", unknown.header("meridian-token"));
    let read = world.ask(&["-H", &pinned]);
    assert_eq!(read.header("meridian-consistency"), "stale", "{read:?}");

    // Drains of all that are allowed, and then their deaths.
    let drain = r#"{"reason": "test", "force": true}"#;
    for region in ["home", "second"] {
        let path = format!("/api/v1/drains/{region}");
        assert_eq!(world.edge.admin("PUT", &path, drain).0, 200);
    }
    let read = world.ask(&["-H", &token]);
    assert!(["home", "second"].contains(&&*read.body), "{read:?}");
    world.home.stop();
    world.second.stop();
    assert!(wait_until(
        || world.state("home") == "unhealthy" && world.state("second") == "unhealthy"
    ));
    for arguments in [&[][..], &["-d", "x"], &["-H", &token], &["-H", &foreign]] {
        let answer = world.ask(arguments);
        assert_eq!(answer.status, 503, "{answer:?}");
    }
}

#[test]
fn explain_says_that_residency_forbids_a_region() {
    let world = world();
    let path = "/api/v1/explain?name=www.example.com&client=193.0.6.139&method=GET";
    let (_, explained) = world.edge.admin("GET", path, "");
    let decision = explained["decision"].as_array().unwrap();
    assert!(
        !decision.iter().any(|region| region == "outside"),
        "{explained}"
    );
    let steps = explained["steps"].as_array().unwrap().iter();
    let said = steps
        .filter(|step| step["region"] == "outside" && step["kept"] == false)
        .map(|step| step["reason"].as_str().unwrap())
        .collect::<String>();
    assert_eq!(said, "outside the regions that residency allows");
}

#[test]
fn explain_says_what_residency_by_a_field_forbids() {
    let world = world();
    let explained = |more: &str| {
        let path = format!("/api/v1/explain?name=api.example.com&client=193.0.6.139{more}");
        world.edge.admin("GET", &path, "")
    };
    let (_, forbidden) = explained("&header=X-Jurisdiction:%20eu");
    assert_eq!(
        forbidden["decision"],
        serde_json::json!(["home", "second"]),
        "{forbidden}"
    );
    let (_, another) = explained("&header=X-Jurisdiction:%20us");
    let all = serde_json::json!(["outside", "home", "second"]);
    assert_eq!(another["decision"], all, "{another}");
    let many: String = (0..101).map(|n| format!("&header=f{n}:")).collect();
    for (bad, why) in [
        ("&header=X-Jurisdiction", "expected"),
        ("&path=orders", "expected"),
        (&many, "at most 100 fields"),
    ] {
        let (status, refused) = explained(bad);
        assert_eq!(status, 400, "{refused}");
        assert!(
            refused["error"].as_str().unwrap().contains(why),
            "{refused}"
        );
    }
}

const EUROPEAN: &str = "X-Jurisdiction: eu\r\n";

#[test]
fn a_websocket_ends_drain_timeout_after_residency_forbids_its_region() {
    let origins = [(); 2].map(|()| raw_origin(echo));
    let yaml = |by: &str, allow: &str| {
        format!(
            "node: {{ drain_timeout: 1s }}
listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions:
  near: {{ origins: ['http://{}'] }}
  far: {{ origins: ['http://{}'] }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    residency: {{ by: {{ header: {by} }}, allow: {{ eu: [{allow}] }} }}
",
            origins[0], origins[1]
        )
    };
    let edge = Edge::start(&yaml("X-Other", "far"));
    let reloads = |yaml: &str, generation: u64| {
        edge.write(yaml);
        assert!(wait_until(|| {
            let (_, status) = edge.admin("GET", "/api/v1/status", "");
            status["config"]["generation"] == generation
        }));
    };
    let mut client = chat(&edge, EUROPEAN);
    reloads(&yaml("X-Jurisdiction", "near, far"), 2);
    exchange_line(&mut client, "there?\n");
    let began = Instant::now();
    reloads(&yaml("X-Jurisdiction", "far"), 3);
    exchange_line(&mut client, "there?\n");
    hears_the_end(&mut client);
    assert!(began.elapsed() >= Duration::from_secs(1));
    let mut allowed = chat(&edge, EUROPEAN);
    reloads(&yaml("X-Jurisdiction", "far, near"), 4);
    exchange_line(&mut allowed, "there?\n");
}

fn keys_yaml(store: &Origin, keys: &str) -> String {
    format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{keys}]
regions:
  only: {{ location: [50, 8], origins: ['{}'] }}
services:
  api:
    hosts: [api.example.com]
    consistency: {{ read_your_writes: true, wait: 0s, when_unsatisfiable: stale }}
",
        store.url()
    )
}

#[test]
fn a_token_outlives_the_turn_of_keys_by_a_reload_and_not_its_own_key() {
    let store = Origin::start("only");
    answer_as(&store, "only", "only=0");
    let (old, new) = (
        "{ id: 1, secret: 0123456789abcdef }",
        "{ id: 2, secret: fedcba9876543210 }",
    );
    let edge = Edge::start(&keys_yaml(&store, old));
    let ask = |arguments: &[&str]| edge.curl("api.example.com", "/", arguments);
    let token = format!(
        "Meridian-Token: {}",
        ask(&["-d", "x"]).header("meridian-token")
    );
    let mark = |token: &str| {
        let answer = ask(&["-H", token]);
        let marks = answer.headers("meridian-consistency");
        marks.first().copied().unwrap_or_default().to_owned()
    };
    assert_eq!(mark(&token), "stale", "it asks for what is not applied");
    let reloads = |keys: &str, generation: u64| {
        edge.write(&keys_yaml(&store, keys));
        assert!(wait_until(|| {
            let (_, status) = edge.admin("GET", "/api/v1/status", "");
            status["config"]["generation"] == generation
        }));
    };
    reloads(&format!("{new}, {old}"), 2);
    assert_eq!(mark(&token), "stale", "the old key is still good");
    let newer = format!(
        "Meridian-Token: {}",
        ask(&["-d", "x"]).header("meridian-token")
    );
    reloads(new, 3);
    assert_eq!(mark(&token), "", "its key is gone");
    assert_eq!(mark(&newer), "stale", "the new key had signed");
    assert_eq!(edge.counted("meridian_token_rejected_total", &[]), 1);
}

fn large_read(when_unsatisfiable: &str) -> (Answer, usize) {
    let store = Origin::start("only");
    answer_as(&store, "only", "only=0");
    let yaml = keys_yaml(&store, "{ id: 1, secret: 0123456789abcdef }").replace(
        "when_unsatisfiable: stale",
        &format!(
            "when_unsatisfiable: {when_unsatisfiable}, intents: [{{ path: /search, method: POST, is: read }}]"
        ),
    );
    let edge = Edge::start(&yaml);
    let write = edge.curl("api.example.com", "/", &["-d", "x"]);
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("needle");
    std::fs::write(&file, "n".repeat(64 * 1024 + 1)).unwrap();
    let body = format!("@{}", file.display());
    let arguments = ["-H", &token, "--data-binary", &body];
    let answer = edge.curl("api.example.com", "/search", &arguments);
    let searches = store.seen();
    let searches = searches.iter().filter(|seen| seen.uri.ends_with("/search"));
    (answer, searches.count())
}

#[test]
fn a_read_with_a_body_over_64_kib_is_sent_once_and_served_stale_or_not_at_all() {
    let (answer, times) = large_read("stale");
    assert_eq!(
        (answer.status, answer.header("meridian-consistency")),
        (200, "stale")
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(times, 1);
    let (answer, times) = large_read("fail");
    assert_eq!((answer.status, times), (503, 1), "{answer:?}");
    assert!(!answer.header("retry-after").is_empty());
}

/// What a GET comes to that writes at 9 and shows nothing of what its client wrote at 7, how often it is sent, and what the
/// client's next read must see.
fn read_that_writes(when_unsatisfiable: &str, status: u16) -> (Answer, usize, String) {
    let store = Origin::start("only");
    store.set_answer(move |seen| {
        let answer = Response::builder().header("Meridian-Applied", "only=0");
        let answer = match (&*seen.method, seen.uri.ends_with("/next")) {
            ("POST", _) => answer.header("Meridian-Committed", "7"),
            (_, false) => answer.status(status).header("Meridian-Committed", "9"),
            (_, true) => answer,
        };
        answer.body(Body::from("only")).unwrap()
    });
    let when = format!("when_unsatisfiable: {when_unsatisfiable}");
    let yaml = keys_yaml(&store, "{ id: 1, secret: 0123456789abcdef }")
        .replace("wait: 0s", "wait: 100ms")
        .replace("when_unsatisfiable: stale", &when);
    let edge = Edge::start(&format!("{yaml}    retries: {{ on_status: [502] }}\n"));
    let token = |answer: &Answer| format!("Meridian-Token: {}", answer.header("meridian-token"));
    let write = edge.curl("api.example.com", "/", &["-d", "x"]);
    let answer = edge.curl("api.example.com", "/draw", &["-H", &token(&write)]);
    edge.curl("api.example.com", "/next", &["-H", &token(&answer)]);
    let seen = store.seen();
    let times = seen.iter().filter(|seen| seen.uri.ends_with("/draw"));
    let next = seen.iter().find(|seen| seen.uri.ends_with("/next"));
    let required = next.map(|next| next.headers["meridian-require"].to_str().unwrap());
    (
        answer,
        times.count(),
        required.unwrap_or_default().to_owned(),
    )
}

#[test]
fn a_read_that_turns_out_to_have_written_is_sent_once_and_its_client_gets_the_position() {
    for (when, status, told, mark) in [
        ("stale", 200, 200, "stale"),
        ("stale", 502, 502, "stale"),
        ("fail", 200, 503, ""),
    ] {
        let (answer, times, required) = read_that_writes(when, status);
        let marks = answer.headers("meridian-consistency");
        let marked = marks.first().copied().unwrap_or_default();
        assert_eq!(
            (answer.status, marked, times),
            (told, mark, 1),
            "{answer:?}"
        );
        assert_eq!(required, "only=9", "{when} {status}");
    }
}
