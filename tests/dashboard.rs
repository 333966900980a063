//! The dashboard in a real browser: what is routed where and why, while it changes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::Path;
use std::process::Command;

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
    let said = run(Command::new(interpreter).arg(script).args(words));
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
    let words =
        |folder: &str| std::fs::read_to_string(Path::new(folder).join("shown.txt")).unwrap();
    assert_eq!(
        words(PICTURED),
        words(PICTURES),
        "the page is another than in its pictures: look at those of target/dashboard and copy that to docs/images"
    );
}

fn edge(near: &Origin, more: &str) -> Edge {
    Edge::start(&format!(
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
    ))
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
    let edge = edge(&near, "node: { state_dir: state }");
    // As a full disk would, this keeps the state from being written, for root too.
    std::fs::create_dir(edge.folder.path().join("state/state.json.new")).unwrap();
    play(&["unsaved", &format!("http://{}", edge.address("admin"))]);
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
}

#[test]
fn a_refused_reload_is_shown_with_its_line_and_the_next_with_what_it_changed() {
    let near = Origin::start("near");
    let edge = edge(&near, "");
    let admin = format!("http://{}", edge.address("admin"));
    let file = edge.folder.path().join("edge.yaml");
    play(&["reload", &admin, file.to_str().unwrap()]);
}
