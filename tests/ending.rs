//! An upgrade that comes while the edge before ends: it takes the place all the same.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use support::{Edge, GET, Origin, Process, connect, get, raw_origin, read_head, wait_until};

fn yaml(origin: &str) -> String {
    format!(
        "node: {{ state_dir: state }}
listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['{origin}'] }}, there: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: tcp }} }} }}
"
    )
}

fn upgrade(edge: &Edge) -> Process {
    Process::serving(edge.folder.path(), &["--upgrade"])
}

/// A new process serves at the address of the old one's `admin`, and says that `there` is drained.
#[track_caller]
fn check_serves(mut successor: Process, edge: &mut Edge) -> Process {
    successor.wait_for(" ready");
    let old = std::mem::replace(&mut edge.process, successor);
    let status = edge.admin("GET", "/api/v1/status", "").1;
    assert_eq!(status["drains"][0]["region"], "there");
    assert!(get(&mut connect(edge.address("http"))).is_ok());
    old
}

#[test]
fn an_upgrade_takes_the_place_of_an_edge_that_waits_for_what_is_in_flight() {
    let (answer, answered) = std::sync::mpsc::channel::<()>();
    let answered = Arc::new(Mutex::new(answered));
    let origin = raw_origin(move |mut stream, head| {
        if head.starts_with("GET /slow") {
            answered.lock().unwrap().recv().unwrap();
        }
        let done = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        stream.get_mut().write_all(done).unwrap();
    });
    let mut edge = Edge::start(&yaml(&format!("http://{origin}")));
    assert_eq!(edge.admin("PUT", "/api/v1/drains/there", "").0, 200);
    let mut waiting = connect(edge.address("http"));
    let slow = GET.replace("GET / ", "GET /slow ");
    waiting.get_mut().write_all(slow.as_bytes()).unwrap();
    let in_flight = || edge.counted("meridian_http_connections", &[]) == 1;
    assert!(wait_until(in_flight));
    edge.process.signal("TERM");
    edge.process.wait_for("draining");
    let successor = upgrade(&edge);
    let mut old = check_serves(successor, &mut edge);
    answer.send(()).unwrap();
    assert!(read_head(&mut waiting).starts_with("HTTP/1.1 200"));
    drop(waiting);
    assert_eq!(old.wait(), 0);
}

#[test]
fn an_edge_that_is_told_to_end_while_another_takes_its_place_ends_after_that() {
    let origin = Origin::start("o");
    for asked in [false, true] {
        let mut edge = Edge::start(&yaml(&origin.url()));
        assert_eq!(edge.admin("PUT", "/api/v1/drains/there", "").0, 200);
        let successor = upgrade(&edge);
        if asked {
            edge.process.wait_for("another process asks to take over");
        }
        edge.process.signal("TERM");
        let mut old = check_serves(successor, &mut edge);
        assert_eq!(old.wait(), 0, "{asked}");
    }
}

#[test]
fn a_process_that_asks_to_take_over_and_falls_silent_holds_the_end_up_for_seconds_only() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml(&origin.url()));
    let door = edge.folder.path().join("state/upgrade.sock");
    let silent: Vec<_> = (0..3)
        .map(|_| UnixStream::connect(&door).unwrap())
        .collect();
    edge.process.wait_for("another process asks to take over");
    edge.process.signal("TERM");
    assert_eq!(edge.process.wait(), 0);
    drop(silent);
}
