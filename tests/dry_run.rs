//! What an operator is told before a drain: who would move, where to, and whether a guard would refuse it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use serde_json::{Value, json};
use support::operated::{Edge, Ground, LISTED};

#[test]
fn a_dry_run_tells_who_would_move_where_and_changes_nothing() {
    let ground = Ground::new();
    let edge = ground.start("steering: { policy: geo }", "");
    for _ in 0..5 {
        assert_eq!(edge.steered("193.0.6.0/24"), "192.0.2.1");
    }
    assert_eq!(edge.steered("18.9.22.0/24"), "192.0.2.2");
    for _ in 0..3 {
        assert_eq!(edge.served(&["X-Try: 1"]), "near");
    }
    let (code, told) = edge.call(
        "PUT",
        "/api/v1/drains/near?dry_run=true",
        "{\"over\":\"10m\"}",
    );
    assert_eq!(
        (code, &told["dry_run"], &told["refused"]),
        (200, &json!(true), &json!(false))
    );
    assert_eq!(told["over_ms"], 600_000);
    let service = &told["services"][0];
    let clients = &service["clients"];
    let share = clients["ipv4_percent"].as_f64().unwrap();
    assert!(share > 10.0 && share < 90.0, "{told}");
    assert_eq!(clients["to"][0]["region"], "far");
    assert_eq!(clients["to"][0]["ipv4_percent"], clients["ipv4_percent"]);
    assert_eq!(
        (&service["dns"]["answers"], &service["dns"]["move"]),
        (&json!(6), &json!(5))
    );
    assert_eq!(
        (&service["http"]["requests"], &service["http"]["move"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        service["dns"]["to"][0],
        json!({ "region": "far", "estimate": 5 })
    );
    let (code, said) = edge.command(&["drain", "near", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the drain of region near would be done"),
        "{said}"
    );
    assert!(said.contains("5 of 6 answers"), "{said}");
    assert_eq!(
        edge.steered("193.0.6.0/24"),
        "192.0.2.1",
        "nothing has moved"
    );
    assert_eq!(
        edge.call("GET", "/api/v1/status", "").1["drains"],
        json!([])
    );
    assert_eq!(ground.audit(), Vec::<Value>::new());
}

#[test]
fn a_dry_run_tells_where_requests_go_that_are_in_a_region_for_their_session() {
    let ground = Ground::new();
    let edge = ground.start(&format!("{LISTED}\n    affinity: {{ by: client_ip }}"), "");
    edge.call("PUT", "/api/v1/drains/near", "{}");
    assert_eq!(edge.served(&[]), "far");
    edge.call("DELETE", "/api/v1/drains/near", "");
    for _ in 0..4 {
        assert_eq!(edge.served(&[]), "far");
    }
    let (_, told) = edge.call("PUT", "/api/v1/drains/far?dry_run=true", "{}");
    let service = &told["services"][0];
    assert_eq!(
        service["clients"]["ipv4_percent"], 0.0,
        "by the rules: {told}"
    );
    let http = &service["http"];
    assert_eq!((&http["requests"], &http["move"]), (&json!(5), &json!(5)));
    assert_eq!(http["to"], json!([{ "region": "near", "estimate": 5 }]));
}

#[test]
fn what_a_dry_run_counts_outlives_a_reload() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    let served = || {
        edge.steered("193.0.6.0/24");
        edge.served(&[]);
    };
    served();
    assert_eq!(edge.command(&["reload"]).0, Some(0));
    served();
    let (code, told) = edge.call("PUT", "/api/v1/drains/near?dry_run=true", "");
    assert_eq!(code, 200, "{told}");
    let service = &told["services"][0];
    assert_eq!(
        (&service["dns"]["move"], &service["http"]["move"]),
        (&json!(2), &json!(2)),
        "{told}"
    );
}

#[test]
fn a_dry_run_tells_what_a_guard_would_refuse() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    assert_eq!(edge.command(&["drain", "far"]).0, Some(0));
    let (code, told) = edge.call("PUT", "/api/v1/drains/near?dry_run=true", "");
    assert_eq!((code, &told["refused"]), (200, &json!(true)));
    assert_eq!(told["services"][0]["left"], json!([]));
    let (code, said) = edge.command(&["drain", "near", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("would be refused"), "{said}");
    assert!(
        said.contains(
            "stay 100.0 % of IPv4, 100.0 % of IPv6: no other region is able to take them"
        ),
        "{said}"
    );
    for (path, expected) in [
        ("/api/v1/drains/mars?dry_run=true", 404),
        ("/api/v1/drains/near?dry_run=yes", 400),
        ("/api/v1/drains/near?dryrun=true", 400),
    ] {
        assert_eq!(edge.call("PUT", path, "").0, expected, "{path}");
    }
    assert_eq!(
        edge.call(
            "PUT",
            "/api/v1/drains/near?dry_run=true",
            "{\"service\":\"x\"}"
        )
        .0,
        404
    );
}

/// The service's requests as a dry run of draining `near` tells them.
fn requests(edge: &Edge) -> Value {
    let (code, told) = edge.call("PUT", "/api/v1/drains/near?dry_run=true", "{}");
    assert_eq!(code, 200, "{told}");
    told["services"][0]["http"].clone()
}

#[test]
fn a_dry_run_tells_apart_requests_of_clients_that_residency_keeps_in_their_region() {
    let ground = Ground::new();
    let residency =
        "residency: { by: { header: X-Country }, allow: { DE: [near], US: [far, near] } }";
    let edge = ground.start(&format!("{LISTED}\n    {residency}"), "");
    for country in ["DE", "US", "DE", "DE", "DE", "US", "DE"] {
        let served = edge.served(&[&format!("X-Country: {country}")]);
        assert_eq!(served, "near", "{country}");
    }
    let to_far = json!([{ "region": "far", "estimate": 2 }]);
    let expected = json!({ "requests": 7, "move": 2, "to": to_far });
    assert_eq!(requests(&edge), expected);
    assert_eq!(edge.command(&["drain", "near"]).0, Some(0));
    assert_eq!(edge.served(&["X-Country: DE"]), "near", "as it was told");
    assert_eq!(edge.served(&["X-Country: US"]), "far", "as it was told");
}

#[test]
fn a_dry_run_tells_requests_by_who_sent_them_and_not_by_who_there_is() {
    let ground = Ground::new();
    let others = "overrides: [{ network: 192.0.2.0/24, prefer: [far] }]";
    let edge = ground.start(&format!("steering: {{ policy: priority, {others} }}"), "");
    assert_eq!(edge.served(&["X-Forwarded-For: 193.0.6.1"]), "near");
    assert_eq!(edge.served(&["X-Forwarded-For: 192.0.2.1"]), "far");
    let told = requests(&edge);
    assert_eq!(told["requests"], 2);
    assert_eq!(told["to"], json!([{ "region": "far", "estimate": 1 }]));
}
