//! What an operator does to regions: drains little by little, forces them up or down,
//! and finds it all in the audit log.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use serde_json::{Value, json};
use support::operated::{Edge, Ground, LISTED};
use support::{connect, get, listening, wait_until};

const TOKEN: &str = "alice-0123456789abcdef";

/// Clients of networks all over IPv4, as DNS takes them.
fn networks() -> Vec<String> {
    (0..60)
        .map(|i| format!("{}.{}.7.0/24", 20 + i, i * 4))
        .collect()
}

#[test]
fn a_gradual_drain_moves_more_and_more_clients_and_none_of_them_back() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    let (code, said) = edge.command(&["drain", "near", "--over", "6s"]);
    assert_eq!(code, Some(0), "{said}");
    let networks = networks();
    let mut moved: Vec<&str> = Vec::new();
    let mut sizes = Vec::new();
    assert!(wait_until(|| {
        let away = |network: &&String| edge.steered(network) == "192.0.2.2";
        let now: Vec<&str> = networks.iter().filter(away).map(String::as_str).collect();
        assert!(
            moved.iter().all(|network| now.contains(network)),
            "{moved:?} {now:?}"
        );
        sizes.push(now.len());
        moved = now;
        moved.len() == networks.len()
    }));
    let between = sizes
        .iter()
        .filter(|size| (1..networks.len()).contains(*size));
    assert!(between.count() > 0, "{sizes:?}");
    assert_eq!(edge.member("near")["state"], "draining");
}

#[test]
fn while_a_drain_goes_on_a_client_of_http_stays_on_one_side() {
    let ground = Ground::new();
    let edge = ground.start(
        &format!("{LISTED}\n    affinity: {{ by: {{ header: X-Tenant }}, drain: 0s }}"),
        "",
    );
    let tenants: Vec<String> = (0..30).map(|i| format!("X-Tenant: tenant-{i}")).collect();
    assert_eq!(edge.command(&["drain", "near", "--over", "3s"]).0, Some(0));
    let mut moved: Vec<&str> = Vec::new();
    assert!(wait_until(|| {
        let away = |tenant: &&String| edge.served(&[tenant]) == "far";
        let now: Vec<&str> = tenants.iter().filter(away).map(String::as_str).collect();
        assert!(
            moved.iter().all(|tenant| now.contains(tenant)),
            "{moved:?} {now:?}"
        );
        moved = now;
        moved.len() == tenants.len()
    }));
}

#[test]
fn a_region_that_comes_back_is_given_its_clients_little_by_little() {
    let ground = Ground::new();
    let edge = ground.start(&format!("ramp: 3s\n    {LISTED}"), "");
    assert_eq!(edge.command(&["force", "near", "down"]).0, Some(0));
    let networks = networks();
    let here = || {
        networks
            .iter()
            .filter(|network| edge.steered(network) == "192.0.2.1")
            .count()
    };
    assert_eq!(here(), 0);
    assert_eq!(edge.command(&["unforce", "near"]).0, Some(0));
    let mut sizes = vec![here()];
    assert!(wait_until(|| {
        sizes.push(here());
        sizes.last() == Some(&networks.len())
    }));
    assert!(sizes.is_sorted(), "{sizes:?}");
}

#[test]
fn without_a_ramp_whoever_recovers_is_back_at_once() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    ground.near.set_healthy(false);
    assert!(wait_until(|| edge.steered("193.0.6.0/24") == "192.0.2.2"));
    ground.near.set_healthy(true);
    assert!(wait_until(|| edge.health("near") == "healthy"));
    let networks = networks();
    assert!(
        networks
            .iter()
            .all(|network| edge.steered(network) == "192.0.2.1")
    );
}

#[test]
fn a_busy_service_is_not_slammed_by_what_recovers_though_nobody_asked_for_a_ramp() {
    check_that_a_busy_service_is_ramped("");
}

#[test]
fn a_busy_service_is_not_slammed_by_what_recovers_with_passive_health_off_either() {
    check_that_a_busy_service_is_ramped(", passive: off");
}

#[track_caller]
fn check_that_a_busy_service_is_ramped(health: &str) {
    let ground = Ground::new();
    let edge = ground.start_checking(health, LISTED, "");
    ground.near.set_healthy(false);
    assert!(wait_until(|| edge.steered("193.0.6.0/24") == "192.0.2.2"));
    let mut client = connect(listening(&edge.process.said(), "http"));
    for _ in 0..3_000 {
        get(&mut client).unwrap();
    }
    ground.near.set_healthy(true);
    assert!(wait_until(|| edge.health("near") == "healthy"));
    let shares = || edge.member("near")["share"].as_u64().unwrap();
    let mut seen = vec![shares()];
    assert!(seen[0] < 100, "all of its clients at once");
    assert!(wait_until(|| {
        seen.push(shares());
        seen.last() == Some(&100)
    }));
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(edge.steered("193.0.6.0/24"), "192.0.2.1");
}

#[test]
fn a_drain_that_cannot_be_saved_is_done_and_it_is_told_until_it_can() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    // As a full disk would, this keeps the state from being written, for root too.
    let in_the_way = ground.folder.path().join("state/state.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let (code, warned) = edge.command(&["drain", "near"]);
    assert_eq!(code, Some(0));
    assert!(
        warned.contains("warning: it is in force, and would not outlive a restart: state_dir"),
        "{warned}"
    );
    assert_eq!(edge.steered("193.0.6.0/24"), "192.0.2.2");
    let told = || edge.command(&["events"]).1;
    let said = told();
    assert!(
        said.contains("would not outlive a restart: state_dir"),
        "{said}"
    );
    assert!(said.contains("state.json"), "{said}");
    std::fs::remove_dir(in_the_way).unwrap();
    assert!(wait_until(|| told().contains("are saved again")));
    let said = told();
    assert_eq!(said.matches("would not outlive").count(), 1, "{said}");
    let saved = ground.folder.path().join("state/state.json");
    assert!(std::fs::read_to_string(saved).unwrap().contains("near"));
}

#[test]
fn a_forced_state_counts_for_dns_and_http_until_it_is_undone() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    let (code, said) = edge.command(&["force", "near", "down", "--reason", "bad disks"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        (edge.steered("193.0.6.0/24"), edge.served(&[])),
        ("192.0.2.2".into(), "far".into())
    );
    let member = edge.member("near");
    assert_eq!(
        (&member["forced"], &member["state"]),
        (&json!("down"), &json!("unhealthy"))
    );
    let explain = "/api/v1/explain?name=www.example.com&client=193.0.6.1";
    let told = edge.call("GET", explain, "").1;
    let step = &told["steps"][0];
    assert_eq!(
        (&step["rule"], &step["kept"]),
        (&json!("forced"), &json!(false)),
        "{told}"
    );
    let down = "an operator says that it is down, whatever its probes say";
    assert_eq!(step["reason"], down);
    assert_eq!(edge.command(&["drain", "near"]).0, Some(0));
    let told = edge.call("GET", explain, "").1;
    let both = format!("{down}; drained too");
    assert_eq!(told["steps"][0]["reason"], *both);
    assert_eq!(edge.command(&["undrain", "near"]).0, Some(0));
    let said = edge.command(&["status"]).1;
    assert!(said.contains("forced down"), "{said}");
    let said = edge.command(&["events"]).1;
    assert!(
        said.contains("region near is forced down: bad disks"),
        "{said}"
    );
    assert_eq!(edge.command(&["unforce", "near"]).0, Some(0));
    assert_eq!(edge.steered("193.0.6.0/24"), "192.0.2.1");
    assert_eq!(edge.command(&["unforce", "near"]).0, Some(1));
    ground.near.set_healthy(false);
    assert!(wait_until(|| edge.health("near") == "unhealthy"));
    assert_eq!(
        edge.command(&["force", "near", "up", "--for", "1h"]).0,
        Some(0)
    );
    assert_eq!(edge.steered("193.0.6.0/24"), "192.0.2.1");
    assert_eq!(
        edge.call("PUT", "/api/v1/forced/near", "{\"state\":\"sideways\"}")
            .0,
        400
    );
    assert_eq!(
        edge.call("PUT", "/api/v1/forced/mars", "{\"state\":\"up\"}")
            .0,
        404
    );
}

#[test]
fn forced_states_and_gradual_drains_survive_a_restart() {
    let ground = Ground::new();
    let mut edge = ground.start(LISTED, "");
    let forced = "{\"state\":\"up\",\"reason\":\"the probe lies\"}";
    assert_eq!(edge.call("PUT", "/api/v1/forced/far", forced).0, 200);
    assert_eq!(
        edge.command(&["drain", "near", "--over", "1h", "--for", "2h"])
            .0,
        Some(0)
    );
    let kept = |edge: &Edge| {
        let status = edge.call("GET", "/api/v1/status", "").1;
        (status["forced"].clone(), status["drains"].clone())
    };
    let before = kept(&edge);
    assert_eq!(before.1[0]["over_ms"], 3_600_000);
    let dry_run = "/api/v1/drains/near?dry_run=true";
    let (code, told) = edge.call("PUT", dry_run, "{\"for\":\"10m\"}");
    let why = told["error"].as_str().unwrap();
    assert!(code == 400 && why.contains("it goes on over 1h"), "{told}");
    edge.process.signal("KILL");
    edge.process.wait();
    let edge = ground.start(LISTED, "");
    assert_eq!(kept(&edge), before);
}

#[test]
fn nothing_is_done_past_the_audit_log_by_calling_it_a_dry_run() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    let down = "{\"state\":\"down\"}";
    edge.call("PUT", "/api/v1/forced/near?dry_run=true", down);
    edge.call("DELETE", "/api/v1/forced/near?dry_run=true", "");
    edge.call("POST", "/api/v1/reload?dry_run=true", "");
    edge.call("PUT", "/api/v1/drains/near?dry_run=true&dry_run=false", "");
    let told = ground.audit();
    let whats: Vec<&str> = told
        .iter()
        .map(|line| line["what"].as_str().unwrap())
        .collect();
    assert_eq!(whats.len(), 4, "{whats:?}");
}

#[test]
fn the_audit_log_tells_who_did_what_and_who_was_refused() {
    let ground = Ground::new();
    let admin = format!("admin: {{ tokens: [{{ name: alice, token: {TOKEN}, role: operate }}] }}");
    let edge = ground.start(LISTED, &admin);
    let with = |words: &[&str]| edge.command(&[words, &["--admin-token", TOKEN]].concat()).0;
    assert_eq!(with(&["drain", "near", "--reason", "new disks"]), Some(0));
    assert_eq!(
        edge.call("GET", "/api/v1/status", "").1["drains"][0]["by"],
        "alice"
    );
    let status = edge.command(&["status"]).1;
    assert!(status.contains(" by alice: new disks"), "{status}");
    assert_eq!(with(&["drain", "far"]), Some(1));
    assert_eq!(edge.call("DELETE", "/api/v1/drains/near", "").0, 401);
    assert_eq!(with(&["reload"]), Some(0));
    let told: Vec<Value> = ground
        .audit()
        .iter()
        .map(|line| {
            assert!(
                line["at"].is_string() && line["from"] == "127.0.0.1",
                "{line}"
            );
            json!([line["who"], line["what"], line["outcome"], line["status"]])
        })
        .collect();
    let expected = [
        json!(["alice", "PUT /api/v1/drains/near", "done", 200]),
        json!(["alice", "PUT /api/v1/drains/far", "refused", 409]),
        json!(["(unknown)", "DELETE /api/v1/drains/near", "refused", 401]),
        json!(["alice", "POST /api/v1/reload", "done", 200]),
    ];
    assert_eq!(told, expected);
    let done = &ground.audit()[0];
    assert_eq!(done["with"]["reason"], "new disks");
    let events = edge.command(&["events", "--json"]).1;
    let events = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut told_of = events.filter(|event| event["id"] == done["event"]);
    assert_eq!(told_of.next().unwrap()["kind"], "drain");
    let text = std::fs::read_to_string(ground.folder.path().join("state/audit.jsonl")).unwrap();
    assert!(!text.contains(TOKEN));
    let said = edge.command(&["events"]).1;
    assert!(
        said.contains("alice from 127.0.0.1: PUT /api/v1/drains/near done"),
        "{said}"
    );
}

#[test]
fn what_undoes_reloads_and_tells_prints_json_too() {
    let ground = Ground::new();
    let edge = ground.start(LISTED, "");
    let json = |words: &[&str]| {
        let (code, said) = edge.command(&[words, &["--json"]].concat());
        assert_eq!(code, Some(0), "{words:?}: {said}");
        said
    };
    let one = |words: &[&str]| serde_json::from_str::<Value>(&json(words)).unwrap();
    edge.command(&["drain", "near"]);
    assert_eq!(one(&["undrain", "near"])["region"], "near");
    edge.command(&["force", "near", "down"]);
    assert_eq!(one(&["unforce", "near"])["region"], "near");
    let reloaded = one(&["reload"]);
    assert_eq!(
        (&reloaded["generation"], &reloaded["changes"]),
        (&json!(2), &json!([]))
    );
    let events = json(&["events"]);
    let kinds: Vec<String> = events
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    for kind in ["drain", "forced", "reload", "audit"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind}: {events}");
    }
}
