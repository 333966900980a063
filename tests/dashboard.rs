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
    let pictures = concat!(env!("CARGO_MANIFEST_DIR"), "/target/dashboard");
    play(&[
        "lab",
        &admin,
        env!("CARGO_BIN_EXE_meridian"),
        &control,
        &dns,
        &https,
        pictures,
    ]);
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
fn a_drain_works_with_the_token_and_is_refused_without() {
    let near = Origin::start("near");
    let edge = edge(&near, "admin: { token: a-token-of-some-length }");
    let admin = format!("http://{}", edge.address("admin"));
    play(&["token", &admin, "a-token-of-some-length"]);
}

#[test]
fn a_refused_reload_is_shown_with_its_line_and_the_next_with_what_it_changed() {
    let near = Origin::start("near");
    let edge = edge(&near, "");
    let admin = format!("http://{}", edge.address("admin"));
    let file = edge.folder.path().join("edge.yaml");
    play(&["reload", &admin, file.to_str().unwrap()]);
}
