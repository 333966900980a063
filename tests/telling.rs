//! What the command line tells an operator: why a region is out, and what would help when something is refused.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use support::{Edge, Lab, Origin, Process, free_address, listening, meridian, wait_until, wire};

const TOKEN: &str = "alice-0123456789abcdef";

/// The exit status, and what it said.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn of_lab(lab: &Lab, words: &[&str]) -> (Option<i32>, String) {
    let admin = format!("http://{}", lab.address("admin"));
    said(meridian().args(words).args(["--admin", &admin]))
}

#[track_caller]
fn check(lab: &Lab, words: &[&str], expected: &[&str]) {
    let (_, said) = of_lab(lab, words);
    for part in expected {
        assert!(said.contains(part), "{words:?}: `{part}` is not in\n{said}");
    }
}

const TOKYO: &[&str] = &["explain", "www.lab.example", "--client", "203.178.141.1"];

#[test]
fn an_operator_finds_out_why_a_tokyo_client_goes_elsewhere() {
    let lab = Lab::start();
    let drain = [
        "drain",
        "ap-northeast-1",
        "--for",
        "30m",
        "--reason",
        "new disks",
    ];
    check(
        &lab,
        &drain,
        &["region ap-northeast-1 is drained until 20", ": new disks"],
    );
    let why = [
        "region ap-northeast-1 is drained since 20",
        " until 20",
        ": new disks",
    ];
    check(&lab, TOKYO, &why);
    check(&lab, &["status"], &why);
    check(
        &lab,
        &["undrain", "ap-northeast-1"],
        &["is not drained any more"],
    );

    for words in [
        &["force", "ap-northeast-1", "down"][..],
        &["force", "ap-northeast-1", "down", "--service", "www"],
    ] {
        check(&lab, words, &["is forced down"]);
    }
    check(
        &lab,
        &["unforce", "ap-northeast-1", "--service", "www"],
        &["is no longer forced for service www; it is still forced for all services"],
    );
    check(
        &lab,
        &["unforce", "ap-northeast-1"],
        &["left to its probes"],
    );

    let force = ["force", "ap-northeast-1", "down", "--reason", "bad disks"];
    check(
        &lab,
        &force,
        &["region ap-northeast-1 is forced down: bad disks"],
    );
    let why = [
        "region ap-northeast-1 is forced down since 20",
        ": bad disks",
    ];
    check(&lab, TOKYO, &why);
    check(&lab, &["status"], &why);
    check(
        &lab,
        &["unforce", "ap-northeast-1"],
        &["left to its probes"],
    );

    let control = lab.control().to_string();
    support::run(meridian().args(["lab", "kill", "ap-northeast-1", "--control", &control]));
    let is_told = || {
        let (_, said) = of_lab(&lab, TOKYO);
        said.contains("region ap-northeast-1 is unhealthy since 20") && said.contains(": cannot ")
    };
    assert!(wait_until(is_told), "{}", of_lab(&lab, TOKYO).1);
}

#[test]
fn a_refusal_says_what_would_help() {
    let lab = Lab::start();
    check(
        &lab,
        &["drain", "mars"],
        &["there is no region `mars` (`meridian status` shows"],
    );
    check(&lab, &["drain", "us-east-1"], &["is drained"]);
    check(&lab, &["drain", "eu-west-1"], &["is drained"]);
    let refused = ["guards.min_regions is 1 (--force does it anyway)"];
    check(&lab, &["drain", "ap-northeast-1"], &refused);

    // Two are drained: were the third down, clients would be sent there all the same.
    let down = ["force", "ap-northeast-1", "down", "--force"];
    check(&lab, &down, &["is forced down"]);
    let outage = [
        "no region is able for service www: clients are sent to regions that are unhealthy all the same",
        "; us-east-1 is healthy and drained: `meridian undrain us-east-1`",
    ];
    check(&lab, &["status"], &outage);
    let last = [
        "number 3 by round trip from the client",
        "failing open, after those that are not drained",
    ];
    check(&lab, TOKYO, &last);
    check(
        &lab,
        &["undrain", "us-east-1"],
        &["is not drained any more"],
    );
    let (_, status) = of_lab(&lab, &["status"]);
    assert!(!status.contains("no region is able"), "{status}");

    let nobody = ["status", "--admin", "http://127.0.0.1:1"];
    let (code, text) = said(meridian().args(nobody));
    assert_eq!(code, Some(1));
    let expected = "error: no edge answers at http://127.0.0.1:1: Connection refused";
    assert!(
        text.starts_with(expected) && text.contains("MERIDIAN_ADMIN"),
        "{text}"
    );
}

#[test]
fn where_no_configuration_is_the_flag_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |words: &[&str]| said(meridian().args(words).current_dir(&folder));
    for words in [&["check"][..], &["serve"], TOKYO] {
        let (code, text) = in_folder(words);
        assert_eq!(code, Some(1), "{words:?}");
        assert!(
            text.contains("--config PATH says where"),
            "{words:?}: {text}"
        );
    }
    assert!(
        in_folder(TOKYO)
            .1
            .contains("--admin URL asks a running edge")
    );
    let minimal = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/minimal.yaml");
    let minimal = minimal.to_str().unwrap();
    let (code, text) = in_folder(&["check", minimal]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        in_folder(&["check", minimal, "--config", minimal]).0,
        Some(2)
    );
}

#[test]
fn a_reload_that_was_refused_and_a_token_that_is_lacking_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let origin = Origin::start("near");
    let yaml = format!(
        "listen: {{ http: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
admin: {{ tokens: [{{ name: alice, token: {TOKEN}, role: read }}] }}
regions: {{ near: {{ addresses: [192.0.2.1], origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
",
        origin.url()
    );
    std::fs::write(&file, &yaml).unwrap();
    let mut edge = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    edge.wait_for(" ready");
    let admin = format!("http://{}", listening(&edge.said(), "admin"));
    let ask = |words: &[&str]| said(meridian().args(words).args(["--admin", &admin]));
    for words in [&["status"][..], &["events"], &["drain", "near"]] {
        let (code, text) = ask(words);
        assert_eq!(code, Some(1), "{words:?}");
        assert!(
            text.contains("MERIDIAN_ADMIN_TOKEN gives one"),
            "{words:?}: {text}"
        );
    }
    std::fs::write(&file, format!("{yaml}wrong: 1\n")).unwrap();
    let (code, text) = ask(&["status", "--admin-token", "to ken\n"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("without blanks or ends of lines"), "{text}");
    let by_tls = admin.replace("http://", "https://");
    let (code, text) = said(meridian().args(["status", "--admin", &by_tls]));
    assert_eq!(code, Some(1));
    let expected = format!("error: whoever answers at {by_tls} speaks no TLS");
    assert!(text.starts_with(&expected), "{text}");
    let told = || ask(&["status", "--admin-token", TOKEN]).1;
    let is_told = || told().contains("edge.yaml:6:1: unknown key `wrong`");
    assert!(wait_until(is_told), "{}", told());
}

#[test]
fn commands_give_up_on_an_edge_that_takes_connections_and_says_nothing() {
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", hung.local_addr().unwrap());
    let ask = |words: &[&str]| said(meridian().args(words).args(["--admin", &admin]));
    std::thread::scope(|scope| {
        let commands: [&[&str]; 5] = [
            &["healthcheck"],
            &["status"],
            &["drain", "near"],
            &["events"],
            &["events", "--follow"],
        ];
        let asking = commands.map(|words| scope.spawn(move || (words, ask(words))));
        for asked in asking {
            let (words, (code, text)) = asked.join().unwrap();
            let expected = format!("error: the edge at {admin} does not answer");
            assert!(text.starts_with(&expected), "{words:?}: {text}");
            assert_eq!(code, Some(1), "{words:?}");
        }
    });
}

/// An edge's answer, by a way that holds it up for a second between two events, and that stays open.
fn events_by_a_slow_way() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        let event = |id: u64| {
            format!(
                "id: {id}\ndata: {{\"id\":{id},\"kind\":\"health\",\"message\":\"number {id}\"}}\n\n"
            )
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        stream
            .write_all(format!("{head}{}", event(1)).as_bytes())
            .unwrap();
        std::thread::sleep(Duration::from_secs(1));
        stream
            .write_all(format!("{}: now\n\n", event(2)).as_bytes())
            .unwrap();
        // Until the command has gone.
        let _ = stream.read(&mut [0]);
    });
    url
}

#[test]
fn the_newest_event_is_told_however_slow_the_way_to_the_edge_is() {
    let (code, text) = said(meridian().args(["events", "--admin", &events_by_a_slow_way()]));
    assert_eq!(code, Some(0), "{text}");
    let told: Vec<&str> = text.lines().collect();
    assert_eq!(told.len(), 2, "{text}");
    assert!(told[1].ends_with("number 2"), "{text}");
}

#[test]
fn who_follows_events_waits_while_others_ask_too_much() {
    let turns = Arc::new(AtomicU32::new(0));
    let admin = wire(move |mut stream, _| {
        let event = |id: u32, message: &str| {
            let data = format!(
                r#"{{"id":{id},"at":"2026-11-27T00:00:00Z","kind":"reload","message":"{message}"}}"#
            );
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: {data}\n\n"
            )
        };
        let answer = match turns.fetch_add(1, Ordering::SeqCst) {
            0 => event(1, "the first"),
            1 => "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"error\":\"\"}".to_owned(),
            _ => event(2, "the second"),
        };
        let _ = stream.get_mut().write_all(answer.as_bytes());
    });
    let admin = format!("http://{admin}");
    let mut following = Process::start(meridian().args(["events", "--follow", "--admin", &admin]));
    following.wait_for("the first");
    following.wait_for("the second");
}

#[test]
fn who_follows_events_follows_on_after_a_restart_and_after_an_edge_that_hung() {
    let (origin, admin) = (Origin::start("near"), free_address());
    let yaml = format!(
        "listen: {{ http: ['127.0.0.1:0'], admin: '{admin}' }}
regions: {{ near: {{ addresses: [192.0.2.1], origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], guards: {{ min_regions: 0 }} }} }}
",
        origin.url()
    );
    let url = format!("http://{admin}");
    let drain = |reason: &str| {
        let words = ["drain", "near", "--reason", reason, "--admin", &url];
        support::run(meridian().args(words));
    };
    let mut edge = Edge::start(&yaml);
    let mut following = Process::start(meridian().args(["events", "--follow", "--admin", &url]));
    drain("before the restart");
    following.wait_for("drained: before the restart");
    edge.process.signal("TERM");
    edge.process.wait();
    following.wait_for("(trying again)");
    let Edge { process, folder } = edge;
    drop(process);
    let edge = Edge::start_in(folder, &yaml);
    drain("after the restart");
    following.wait_for("drained: after the restart");

    edge.process.signal("STOP");
    following.wait_for("does not answer");
    edge.process.signal("CONT");
    drain("after the hang");
    following.wait_for("drained: after the hang");
    let told = following.said();
    for reason in ["before the restart", "after the restart", "after the hang"] {
        assert_eq!(
            told.matches(&format!("drained: {reason}")).count(),
            1,
            "{told}"
        );
    }
}
