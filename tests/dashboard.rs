//! The dashboard in a real browser: what is routed where and why, while it changes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Edge, Lab, Origin, run};

/// Where pictures of the page go.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/dashboard");

/// Where the pictures of the documents are, with the words that were on the page when they were taken.
const PICTURED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images");

/// Plays a scene of `tests/clients/dashboard.py`.
fn play(words: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join("target/clients/bin/python");
    assert!(interpreter.exists(), "scripts/test.sh makes target/clients");
    let script = root.join("tests/clients/dashboard.py");
    let said = run(Command::new(interpreter).arg("-B").arg(script).args(words));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("all is well"), "{said}");
}

#[test]
fn it_shows_at_a_glance_what_is_routed_where_and_why() {
    let lab = Lab::start();
    let admin = format!("http://{}", lab.address("admin"));
    let control = lab.control().to_string();
    let (dns, https) = (
        lab.address("dns").to_string(),
        lab.address("https").to_string(),
    );
    play(&[
        "lab",
        &admin,
        env!("CARGO_BIN_EXE_meridian"),
        &control,
        &dns,
        &https,
        PICTURES,
    ]);
    expect_as_pictured("shown.txt");
}

/// Holds the words that were on the page when its pictures were taken to those that are on it.
#[track_caller]
fn expect_as_pictured(file: &str) {
    let words = |folder: &str| std::fs::read_to_string(Path::new(folder).join(file)).unwrap();
    assert_eq!(
        words(PICTURED),
        words(PICTURES),
        "the page is another than in its pictures: look at those of target/dashboard and copy that to docs/images"
    );
}

fn edge(near: &Origin, more: &str) -> Edge {
    edge_in(tempfile::tempdir().unwrap(), near, more)
}

fn edge_in(folder: tempfile::TempDir, near: &Origin, more: &str) -> Edge {
    let yaml = format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2] }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    health: {{ interval: 300ms }}
    guards: {{ min_regions: 0 }}
{more}
",
        near.url()
    );
    Edge::start_in(folder, &yaml)
}

#[test]
fn drains_and_forced_states_work_with_the_token_and_are_refused_without() {
    let near = Origin::start("near");
    let edge = edge(&near, "admin: { token: a-token-of-some-length }");
    let admin = format!("http://{}", edge.address("admin"));
    play(&["token", &admin, "a-token-of-some-length"]);
}

#[test]
fn who_drains_hears_that_it_cannot_be_saved() {
    let near = Origin::start("near");
    let folder = tempfile::tempdir().unwrap();
    // As a full disk would, this keeps the state from being written, for root too.
    std::fs::create_dir_all(folder.path().join("state/state.json.new")).unwrap();
    let edge = edge_in(folder, &near, "node: { state_dir: state }");
    play(&["unsaved", &format!("http://{}", edge.address("admin"))]);
}

#[test]
fn every_probe_is_in_the_strip_however_fast_they_come() {
    let near = Origin::start("near");
    let probes = AtomicUsize::new(0);
    near.set_answer(move |_| {
        let is_even = probes.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        let status = if is_even { 200 } else { 503 };
        http::Response::builder()
            .status(status)
            .body(axum::body::Body::empty())
            .unwrap()
    });
    let edge = Edge::start(&format!(
        "listen: {{ admin: '127.0.0.1:0' }}
regions: {{ near: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ path: /every-other, interval: 250ms }} }} }}
",
        near.url()
    ));
    play(&["flapping", &format!("http://{}", edge.address("admin"))]);
}

#[test]
fn regions_that_are_drawn_are_shown_in_their_shares() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = Edge::start(&format!(
        "listen: {{ admin: '127.0.0.1:0' }}
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], weight: 300, origins: ['{}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{}'] }}
services:
  www: {{ hosts: [www.example.com], steering: {{ policy: weighted }} }}
  any: {{ hosts: ['*.example.com'], steering: {{ policy: weighted }} }}
",
        near.url(),
        far.url()
    ));
    play(&["weighted", &format!("http://{}", edge.address("admin"))]);
}

#[test]
fn a_dry_run_is_told_in_numbers_and_who_leaves_or_comes_back_little_by_little_in_shares() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = Edge::start(&format!(
        "listen: {{ dns: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{}'] }}
services:
  www:
    hosts: [www.example.com]
    ramp: 1m
    steering: {{ policy: geo }}
    health: {{ interval: 300ms }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
",
        near.url(),
        far.url()
    ));
    let admin = format!("http://{}", edge.address("admin"));
    let (dns, http) = (
        edge.address("dns").to_string(),
        edge.address("http").to_string(),
    );
    play(&["dry-run", &admin, &dns, &http, PICTURES]);
    expect_as_pictured("shown-drain.txt");
}

#[test]
fn a_refused_reload_is_shown_with_its_line_and_the_next_with_what_it_changed() {
    let near = Origin::start("near");
    let edge = edge(&near, "");
    let admin = format!("http://{}", edge.address("admin"));
    let file = edge.folder.path().join("edge.yaml");
    play(&["reload", &admin, file.to_str().unwrap()]);
}

const READER: &str = "a-token-to-read-with";
const OPERATOR: &str = "a-token-to-operate-with";

/// An edge that shows itself to bearers of these two alone.
fn edge_for_bearers(near: &Origin) -> Edge {
    edge(
        near,
        &format!(
            "admin: {{ tokens: [{{ name: reader, token: {READER}, role: read }}, {{ name: operator, token: {OPERATOR}, role: operate }}] }}"
        ),
    )
}

#[test]
fn a_page_whose_token_is_taken_away_asks_for_another_and_for_nothing_else() {
    let near = Origin::start("near");
    let edge = edge_for_bearers(&near);
    let admin = format!("http://{}", edge.address("admin"));
    let file = edge.folder.path().join("edge.yaml");
    play(&["readers", &admin, file.to_str().unwrap(), READER, OPERATOR]);
}

#[test]
fn of_many_services_only_those_are_built_that_somebody_looks_at() {
    let near = Origin::start("near");
    let long = "r".repeat(63);
    let names = (1..30).map(|number| format!("r{number}"));
    let regions: String = names
        .chain([long.clone()])
        .map(|name| {
            let url = near.url();
            format!("  {name}: {{ addresses: [192.0.2.1], origins: ['{url}'] }}\n")
        })
        .collect();
    let services: String = (0..4)
        .map(|number| {
            format!("  s{number}: {{ hosts: [s{number}.{long}.example], steering: {{ policy: priority }}, health: {{ interval: 60s }} }}\n")
        })
        .collect();
    let small: String = (0..8)
        .map(|number| {
            format!("  small{number}: {{ hosts: [small{number}.example], regions: [r1, r2], steering: {{ policy: priority }}, health: {{ interval: 60s }} }}\n")
        })
        .collect();
    let edge = Edge::start(&format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
{regions}services:
{services}{small}"
    ));
    play(&["many", &format!("http://{}", edge.address("admin"))]);
}

#[test]
fn an_edge_that_hangs_is_not_live_and_what_it_last_said_not_up_to_date() {
    let near = Origin::start("near");
    let edge = edge(&near, "");
    let admin = format!("http://{}", edge.address("admin"));
    play(&["hang", &admin, &edge.process.id().to_string()]);
}

#[test]
fn more_tabs_than_a_browser_has_connections_do_not_lock_each_other_out() {
    let near = Origin::start("near");
    let edge = edge(&near, "");
    play(&["tabs", &format!("http://{}", edge.address("admin"))]);
}

#[test]
fn windows_side_by_side_follow_over_one_stream_however_many_they_are() {
    let near = Origin::start("near");
    let edge = edge_for_bearers(&near);
    let admin = format!("http://{}", edge.address("admin"));
    play(&["windows", &admin, READER, OPERATOR]);
}
