//! The access log: where its lines go, and that nobody waits for them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod access_log_support;
mod support;

use std::process::{Command, Stdio};

use access_log_support::{Logging, check, yaml};
use serde_json::Value;
use support::{Edge, Origin, connect, get, meridian, run, wait_until};

#[test]
fn a_file_that_is_rotated_away_is_made_anew() {
    let origin = Origin::start("here");
    let log = Logging::of(&origin, "");
    log.edge.curl("www.example.com", "/one", &[]);
    check(&log.lines(1)[0], &[("/path", "/one".into())]);
    let old = log.file().with_extension("log.1");
    std::fs::rename(log.file(), &old).unwrap();
    log.edge.curl("www.example.com", "/two", &[]);
    check(&log.lines(1)[0], &[("/path", "/two".into())]);
    assert_eq!(std::fs::read_to_string(old).unwrap().lines().count(), 1);
    // copytruncate: the same file, from its start.
    std::fs::write(log.file(), "").unwrap();
    log.edge.curl("www.example.com", "/three", &[]);
    check(&log.lines(1)[0], &[("/path", "/three".into())]);
    std::fs::remove_file(log.file()).unwrap();
    log.edge.curl("www.example.com", "/four", &[]);
    check(&log.lines(1)[0], &[("/path", "/four".into())]);
}

#[test]
fn a_reload_turns_the_log_on_and_off_and_to_another_file() {
    let origin = Origin::start("here");
    let with = yaml(&[("here", origin.url())], "", "");
    let without = with.replace("access_log:", "# access_log:");
    let edge = Edge::start(&without);
    let log = Logging { edge };
    let turn = |yaml: &str| {
        log.edge.write(yaml);
        let (status, said) = log.edge.admin("POST", "/api/v1/reload", "");
        assert_eq!(status, 200, "{said}");
    };
    log.edge.curl("www.example.com", "/off", &[]);
    turn(&with);
    log.edge.curl("www.example.com", "/on", &[]);
    check(&log.lines(1)[0], &[("/path", "/on".into())]);
    turn(&with.replace("access.log", "other.log"));
    log.edge.curl("www.example.com", "/other", &[]);
    let other = log.edge.folder.path().join("other.log");
    let read = || std::fs::read_to_string(&other).unwrap_or_default();
    assert!(wait_until(|| read().contains("/other")), "{}", read());
    turn(&without);
    log.edge.curl("www.example.com", "/off", &[]);
    turn(&with);
    log.edge.curl("www.example.com", "/again", &[]);
    check(&log.lines(2)[1], &[("/path", "/again".into())]);
    assert_eq!(read().lines().count(), 1);
    log.edge
        .write(&with.replace("access.log", "no/such/folder.log"));
    let (status, said) = log.edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(status, 422, "{said}");
    assert!(said.to_string().contains("access_log: "), "{said}");
}

#[test]
fn nobody_waits_for_a_log_that_nobody_reads() {
    let origin = Origin::start("here");
    let names: Vec<String> = (0..12).map(|number| format!("X-{number}")).collect();
    let wanted = format!(", request_headers: [{}]", names.join(", "));
    let yaml = yaml(&[("here", origin.url())], &wanted, "").replace("access.log", "stdout");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
    let stderr = folder.path().join("stderr");
    let mut child = meridian()
        .args(["serve", "--config"])
        .arg(folder.path().join("edge.yaml"))
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .env("NO_COLOR", "1")
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&stderr).unwrap();
    assert!(wait_until(|| said().contains(" ready")), "{}", said());
    let http = support::listening(&said(), "http");
    let admin = support::listening(&said(), "admin");
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\n",
        "--max-time",
        "60",
    ]);
    command.args(["-H", "Host: www.example.com"]);
    for name in &names {
        command.args(["-H", &format!("{name}: {}", "x".repeat(4096))]);
    }
    // 400 lines of 50 kB are far more than the pipe and the edge hold.
    command.arg(format!("http://{http}/[1-400]"));
    let answers = String::from_utf8(run(&mut command).stdout).unwrap();
    assert_eq!(answers.matches("200").count(), 400, "{answers}");
    let (_, metrics) = support::admin(admin, "GET", "/metrics", "");
    let dropped = "meridian_access_log_lines_total{outcome=\"dropped\"} ";
    let metrics = metrics.as_str().unwrap();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix(dropped));
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    assert!((100..400).contains(&dropped), "{dropped}");
    run(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]));
    let mut status = None;
    assert!(wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    }));
    assert!(status.unwrap().success());
}

#[test]
fn a_full_disk_costs_lines_and_no_answer_and_is_told_once() {
    let origin = Origin::start("here");
    let yaml = yaml(&[("here", origin.url())], "", "").replace("access.log", "/dev/full");
    let mut edge = Edge::start(&yaml);
    let failed = || edge.counted("meridian_access_log_lines_total", &["outcome=\"failed\""]);
    let mut client = connect(edge.address("http"));
    for number in 1..=3 {
        get(&mut client).unwrap();
        assert!(wait_until(|| failed() == number), "{number}");
    }
    edge.process.wait_for("the access log cannot be written");
    let said = edge.process.said();
    assert_eq!(said.matches("cannot be written").count(), 1, "{said}");
    assert!(
        said.contains("/dev/full") && said.contains("No space left"),
        "{said}"
    );
}

#[test]
fn lines_on_stdout_are_nothing_but_json() {
    let origin = Origin::start("here");
    let yaml = yaml(&[("here", origin.url())], "", "").replace("access.log", "stdout");
    let edge = Edge::start(&yaml);
    edge.curl("www.example.com", "/a", &[]);
    let line = || {
        let said = edge.process.said();
        let line = said.lines().find(|line| line.starts_with('{'))?;
        serde_json::from_str::<Value>(line).ok()
    };
    assert!(wait_until(|| line().is_some()), "{}", edge.process.said());
    check(&line().unwrap(), &[("/path", "/a".into())]);
}
