//! Two edges and one `state_dir`: only one writes into it, whichever of them dies, hands over or starts anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use support::{Edge, GET, Process, connect, wait_until};

/// An edge on a folder's `state`, on ports of its own, in front of origins that are never heard of.
fn yaml(state: &Path, origin: SocketAddr) -> String {
    format!(
        "node: {{ state_dir: '{}' }}
listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['http://{origin}'] }}, there: {{ origins: ['http://{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: tcp }} }} }}
",
        state.display()
    )
}

/// What takes connections and says nothing.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A second edge on the same folder, which is refused.
#[track_caller]
fn check_refused(yaml: &str, state: &Path) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
    let mut second = Process::serving(folder.path(), &[]);
    assert_eq!(second.wait(), 1, "{}", second.said());
    let said = second.said();
    let expected = format!(
        "state_dir {}: another edge uses it, and each would overwrite the other's drains",
        state.display()
    );
    assert!(said.contains(&expected), "{said}");
}

fn is_drained(edge: &Edge) -> bool {
    let status = edge.admin("GET", "/api/v1/status", "").1;
    status["drains"][0]["region"] == "here"
}

#[test]
fn a_second_edge_on_a_state_dir_is_refused_and_takes_it_once_the_first_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (_origin, origin) = silent();
    let yaml = yaml(&state, origin);
    let mut first = Edge::start(&yaml);
    let drained = first.admin("PUT", "/api/v1/drains/here", "");
    assert_eq!(drained.0, 200, "{}", drained.1);
    check_refused(&yaml, &state);
    assert!(is_drained(&first));
    first.process.signal("KILL");
    first.process.wait();
    assert!(is_drained(&Edge::start(&yaml)));
}

/// Its troubles: all that it holds against its own state.
/// The regions of the drains that are saved.
fn drained_in(state: &Path) -> Vec<String> {
    let saved = std::fs::read(state.join("state.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_slice(&saved).unwrap();
    let drains = saved["state"]["drains"].as_array().unwrap().iter();
    drains
        .map(|drain| drain["region"].as_str().unwrap().to_owned())
        .collect()
}

fn troubles(edge: &Edge) -> String {
    edge.admin("GET", "/api/v1/status", "").1["trouble"].to_string()
}

#[test]
fn an_edge_whose_lock_was_removed_writes_nothing_over_what_the_next_one_on_its_folder_has() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (_origin, origin) = silent();
    let yaml = yaml(&state, origin);
    let mut first = Edge::start(&yaml);
    // Else it would find out at its next save, and lock the file anew.
    first.process.signal("STOP");
    std::fs::remove_file(state.join("lock")).unwrap();
    let second = Edge::start(&yaml);
    first.process.signal("CONT");
    assert_eq!(second.admin("PUT", "/api/v1/drains/here", "").0, 200);
    let drained = first.admin("PUT", "/api/v1/drains/there", "");
    assert_eq!(drained.0, 200, "{}", drained.1);
    let told = "another edge uses it: `lock` was removed or replaced";
    assert!(troubles(&first).contains(told), "{}", troubles(&first));
    assert_eq!(drained_in(&state), ["here"]);
    drop(second);
    first.process.signal("TERM");
    assert_eq!(first.process.wait(), 0);
    assert_eq!(drained_in(&state), ["here"]);
    assert!(is_drained(&Edge::start(&yaml)));
}

#[test]
fn whoever_empties_the_state_dir_loses_no_drain_and_keeps_nobody_from_taking_over() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (_origin, origin) = silent();
    let mut edge = Edge::start(&yaml(&state, origin));
    assert_eq!(edge.admin("PUT", "/api/v1/drains/here", "").0, 200);
    for file in std::fs::read_dir(&state).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert!(wait_until(|| state.join("upgrade.sock").exists()));
    let mut successor = Process::serving(edge.folder.path(), &["--upgrade"]);
    successor.wait_for("took over");
    drop(std::mem::replace(&mut edge.process, successor));
    assert!(is_drained(&edge));
    assert!(wait_until(|| state.join("state.json").exists()));
    assert_eq!(drained_in(&state), ["here"]);
}

#[test]
fn an_upgrade_passes_the_state_dir_on_and_the_one_before_does_not_hold_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (_origin, origin) = silent();
    let yaml = yaml(&state, origin);
    let mut edge = Edge::start(&yaml);
    let mut before = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        // What is in flight keeps the one before.
        let mut client = connect(edge.address("http"));
        client.get_mut().write_all(GET.as_bytes()).unwrap();
        waiting.push(client);
        let mut successor = Process::serving(edge.folder.path(), &["--upgrade"]);
        successor.wait_for("took over");
        before.push(std::mem::replace(&mut edge.process, successor));
        check_refused(&yaml, &state);
    }
    edge.process.signal("KILL");
    edge.process.wait();
    drop(Edge::start(&yaml));
    for client in &mut waiting {
        let socket = client.get_mut();
        socket.set_nonblocking(true).unwrap();
        let heard = socket.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(
            heard,
            Err(ErrorKind::WouldBlock),
            "the ones before are still there"
        );
    }
}
