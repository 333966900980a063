//! The wall clock of a real process is wrong, and is set while it runs and between two runs: Debian's libfaketime stands between
//! them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::PathBuf;

use support::{Answer, Origin, Process, admin, listening, meridian, wait_until};

/// Seconds of an hour.
const HOUR: i32 = 3_600;

/// The library, wherever this machine's kind has it.
fn library() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").unwrap();
    let libraries = kinds.map(|kind| kind.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let mut there = libraries.filter(|library| library.is_file());
    there
        .next()
        .expect("libfaketime, of the Debian package faketime")
}

/// An edge with a wall clock of its own, and a client whom it has given to `near`; the steady clock is the machine's.
struct Ground {
    folder: tempfile::TempDir,
    _origins: [Origin; 2],
    process: Option<Process>,
    cookie: String,
}

impl Ground {
    /// So many seconds ahead of the right time.
    fn new(ahead: i32) -> Self {
        let origins = ["near", "far"].map(Origin::start);
        let yaml = format!(
            "node: {{ state_dir: state }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], origins: ['{}'] }}
  far: {{ location: [39, -77], origins: ['{}'] }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    affinity: {{ by: cookie, ttl: 30d, drain: 10m }}
    ramp: 60s
",
            origins[0].url(),
            origins[1].url()
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        std::fs::write(folder.path().join("config/edge.yaml"), yaml).unwrap();
        let mut ground = Self {
            folder,
            _origins: origins,
            process: None,
            cookie: String::new(),
        };
        ground.set(ahead);
        ground.start();
        let answer = ground.ask(&[]);
        assert_eq!(answer.body, "near");
        let cookie = answer.headers("set-cookie").remove(0);
        cookie
            .split(';')
            .next()
            .unwrap()
            .clone_into(&mut ground.cookie);
        ground
    }

    fn set(&self, ahead: i32) {
        let new = self.folder.path().join("clock.new");
        std::fs::write(&new, format!("{ahead:+}")).unwrap();
        std::fs::rename(new, self.folder.path().join("clock")).unwrap();
    }

    /// The same while it runs; returns once it has seen that.
    fn set_running(&self, ahead: i32) {
        let seen = || self.said().matches("the wall clock has been set").count();
        let before = seen();
        self.set(ahead);
        assert!(wait_until(|| seen() > before));
    }

    fn start(&mut self) {
        let mut command = meridian();
        let config = self.folder.path().join("config");
        command.args(["serve", "--config"]).arg(config);
        command
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("clock"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut process = Process::start(&mut command);
        process.wait_for(" ready");
        self.process = Some(process);
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal("KILL");
        process.wait();
    }

    fn said(&self) -> String {
        self.process.as_ref().unwrap().said()
    }

    fn ask(&self, words: &[&str]) -> Answer {
        let https = listening(&self.said(), "https");
        Answer::from(https, "www.example.com", "/", words)
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let (status, answer) = admin(listening(&self.said(), "admin"), method, path, body);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// The share of its clients that `near` has, in percent.
    fn share(&self) -> f64 {
        let status = self.admin("GET", "/api/v1/status", "");
        let regions = status["regions"].as_array().unwrap();
        let near = regions.iter().find(|region| region["name"] == "near");
        near.unwrap()["services"][0]["share"].as_f64().unwrap()
    }

    /// Drains `near` little by little, until that has begun.
    fn drain(&self) {
        self.admin("PUT", "/api/v1/drains/near", r#"{"over": "200s"}"#);
        assert!(wait_until(|| self.share() < 99.0));
    }

    /// Whether, since that was its share, nothing has happened but that a few seconds have passed.
    #[track_caller]
    fn check_goes_on(&self, before: f64, when: &str) {
        let now = self.share();
        assert!((now - before).abs() < 8.0, "{when}: {before} % and {now} %");
        let session = self.ask(&["-b", &self.cookie]);
        assert_eq!(session.body, "near", "{when}");
    }
}

#[test]
fn whichever_way_the_clock_is_set_drains_ramps_and_sessions_go_on_from_where_they_are() {
    let ground = Ground::new(2 * HOUR);
    ground.drain();
    for ahead in [0, 24 * HOUR, 24 * HOUR - 70, 0] {
        let before = ground.share();
        ground.set_running(ahead);
        ground.check_goes_on(before, &format!("drained, {ahead} s ahead"));
    }
    ground.admin("PUT", "/api/v1/drains/near", r#"{"over": "1s"}"#);
    assert!(wait_until(|| ground.share() == 0.0));
    ground.set_running(HOUR);
    ground.check_goes_on(0.0, "drained");
    ground.admin("DELETE", "/api/v1/drains/near", "");
    let ramped = ground.share();
    assert!(ramped < 92.0, "{ramped}");
    ground.set_running(10 * HOUR);
    ground.check_goes_on(ramped, "ramped");
}

#[test]
fn an_edge_that_is_killed_and_starts_with_a_clock_that_is_behind_goes_on_from_where_it_was() {
    let mut ground = Ground::new(0);
    ground.drain();
    // One that was ahead is right, then one that is behind is set right, as on a machine that keeps no time while it is off.
    for (start, then) in [(-2 * HOUR, -2 * HOUR + 90), (-24 * HOUR, 0)] {
        let before = ground.share();
        ground.kill();
        ground.set(start);
        ground.start();
        ground.check_goes_on(before, &format!("begun {start} s ahead"));
        ground.set_running(then);
        ground.check_goes_on(before, &format!("set from {start} to {then} s ahead"));
    }
}
