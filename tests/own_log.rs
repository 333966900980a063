//! The edge's own log, when whoever reads it stops or goes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use support::{Origin, admin, listening, meridian, wait_until};

/// An edge, and what it has said until it was ready.
struct Talkative {
    edge: Child,
    said: String,
    folder: tempfile::TempDir,
}

impl Talkative {
    /// With both ends of the pipe that is its stderr.
    fn start(origins: [&Origin; 2]) -> (Self, BufReader<PipeReader>, PipeWriter) {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!(
            "node: {{ drain_timeout: 2s }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ near: {{ origins: ['{}'] }}, far: {{ origins: ['{}'] }} }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    health: {{ interval: 100ms, recheck_interval: 100ms, failure_threshold: 2, timeout: 100ms }}
",
            origins[0].url(),
            origins[1].url()
        );
        std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
        let (output, input) = std::io::pipe().unwrap();
        let edge = meridian()
            .args(["serve", "--config"])
            .arg(folder.path())
            .stderr(input.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(output);
        let mut said = String::new();
        while !said.contains(" ready\n") {
            assert!(output.read_line(&mut said).unwrap() > 0, "{said}");
        }
        (Self { edge, said, folder }, output, input)
    }

    fn call(&self, path: &str) -> Value {
        admin(listening(&self.said, "admin"), "GET", path, "").1
    }

    /// That it leaves a region that fails, takes a reload, and ends when it is told to.
    fn goes_on(mut self, near: &Origin) {
        near.set_healthy(false);
        let state = || self.call("/api/v1/status")["regions"][0]["state"].clone();
        assert!(wait_until(|| state() == "unhealthy"));
        let yaml = std::fs::read_to_string(self.folder.path().join("edge.yaml")).unwrap();
        let yaml = yaml.replace("drain_timeout: 2s", "drain_timeout: 1s");
        std::fs::write(self.folder.path().join("edge.yaml"), yaml).unwrap();
        let generation = || self.call("/api/v1/status")["config"]["generation"].clone();
        assert!(wait_until(|| generation() == 2));
        let pid = self.edge.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(wait_until(|| self.edge.try_wait().unwrap().is_some()));
        assert!(self.edge.wait().unwrap().success());
    }
}

impl Drop for Talkative {
    fn drop(&mut self) {
        let _ = self.edge.kill();
        let _ = self.edge.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let (edge, output, mut input) = Talkative::start([&near, &far]);
    // So much fits into a pipe at most (pipe(7)): from then on whoever writes to it hangs.
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    std::thread::spawn(move || {
        while input.write_all(&[b'x'; 1024]).is_ok() {
            counted.fetch_add(1024, Ordering::SeqCst);
        }
    });
    assert!(wait_until(|| written.load(Ordering::SeqCst) > 60 << 10));
    edge.goes_on(&near);
    drop(output);
}

#[test]
fn a_log_whose_reader_has_gone_ends_nothing() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let (edge, output, _) = Talkative::start([&near, &far]);
    drop(output);
    edge.goes_on(&near);
}
