//! The wall clock of a real process is wrong and is set right while it runs: Debian's libfaketime stands between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use support::{Edge, Process, meridian, wait_until};

/// Two regions of one origin.
fn yaml(origin: SocketAddr) -> String {
    format!(
        "
listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
node: {{ region: near, state_dir: state }}
regions:
  near: {{ origins: ['http://{origin}'], addresses: ['192.0.2.1'] }}
  far: {{ origins: ['http://{origin}'], addresses: ['192.0.2.2'] }}
services:
  www: {{ hosts: [www.example.com], ramp: 5s, health: {{ protocol: tcp }} }}
"
    )
}

/// The library, wherever this machine's kind has it.
fn library() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").unwrap();
    let libraries = kinds.map(|kind| kind.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let mut there = libraries.filter(|library| library.is_file());
    there
        .next()
        .expect("libfaketime, of the Debian package faketime")
}

/// A clock that is this many seconds ahead of the right one.
fn set(clock: &Path, ahead: i32) {
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("{ahead:+}")).unwrap();
    std::fs::rename(new, clock).unwrap();
}

/// An edge that goes by a clock of its own; the steady one is the machine's.
fn start_by(clock: &Path, yaml: &str) -> Edge {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
    let mut command = meridian();
    command.args(["serve", "--config"]).arg(folder.path());
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut process = Process::start(&mut command);
    process.wait_for(" ready");
    Edge { process, folder }
}

/// The share of its clients that `near` has, in percent.
fn share(edge: &Edge) -> f64 {
    let status = edge.admin("GET", "/api/v1/status", "").1;
    let regions = status["regions"].as_array().unwrap();
    let near = regions.iter().find(|region| region["name"] == "near");
    near.unwrap()["services"][0]["share"].as_f64().unwrap()
}

#[test]
fn what_goes_on_little_by_little_goes_on_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    set(&clock, 7_200);
    let edge = start_by(&clock, &yaml(origin.local_addr().unwrap()));
    let asked = edge.admin("PUT", "/api/v1/drains/near", r#"{"over": "5s"}"#);
    assert_eq!(asked.0, 200, "{}", asked.1);
    assert!(share(&edge) > 0.0);
    set(&clock, 3_600);
    assert!(wait_until(|| share(&edge) == 0.0), "the drain stands still");
    let asked = edge.admin("DELETE", "/api/v1/drains/near", "");
    assert_eq!(asked.0, 200, "{}", asked.1);
    assert!(share(&edge) < 100.0);
    set(&clock, 0);
    assert!(
        wait_until(|| share(&edge) == 100.0),
        "the ramp stands still"
    );
}
