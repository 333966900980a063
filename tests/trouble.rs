//! What an edge that goes on tells of what it cannot keep or read: on a full disk, with a folder that it may not
//! write, on a file system that hangs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Process, admin, listening, meridian, run, wait_until};

/// What the disk has room for in each file, bytes.
const ROOM: usize = 8_192;

const YAML: &str = "node: { state_dir: state }
listen: { dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }
keys: [{ id: 1, secret: 0123456789abcdef }]
regions:
  near: { location: [50, 8], addresses: [192.0.2.1] }
  far: { location: [39, -77], addresses: [192.0.2.2] }
services: { www: { hosts: [www.example.com], health: { interval: 1h } } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
";

struct Edge {
    process: Process,
}

impl Edge {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, YAML)
    }

    /// Within a folder that may have its `state` already. A file that grows over [`ROOM`] is on a full disk.
    fn start_with(folder: &Path, yaml: &str) -> Self {
        let file = folder.join("edge.yaml");
        fs::write(&file, yaml).unwrap();
        let mut shell = Command::new("sh");
        let program = meridian();
        shell
            .args(["-c", "trap '' XFSZ; exec prlimit --fsize=$0 \"$@\""])
            .arg(ROOM.to_string())
            .arg(program.get_program())
            .args(["serve", "--config"])
            .arg(&file);
        let mut process = Process::start(&mut shell);
        process.wait_for(" ready");
        Self { process }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        admin(listening(&self.process.said(), "admin"), method, path, body)
    }

    fn trouble(&self) -> Value {
        self.call("GET", "/api/v1/status", "").1["trouble"].clone()
    }

    fn says(&self, command: &str) -> String {
        let url = format!("http://{}", listening(&self.process.said(), "admin"));
        let said = run(meridian().args([command, "--admin", &url])).stdout;
        String::from_utf8(said).unwrap()
    }

    /// The kinds of trouble that the metrics tell.
    fn counted(&self) -> Vec<String> {
        let url = format!(
            "http://{}/metrics",
            listening(&self.process.said(), "admin")
        );
        let said = run(Command::new("curl").args(["-sSf", &url])).stdout;
        let said = String::from_utf8(said).unwrap();
        let kinds = said.lines().filter_map(|line| {
            let kind = line.strip_prefix("meridian_trouble{kind=\"")?;
            Some(kind.strip_suffix("\"} 1")?.to_owned())
        });
        kinds.collect()
    }
}

/// The acts of an audit log, each of which must be a line of JSON.
fn acts(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| {
        let act: Value = serde_json::from_str(line).unwrap();
        act["with"]["reason"]
            .as_str()
            .unwrap_or("earlier")
            .to_owned()
    });
    lines.filter(|reason| reason != "earlier").collect()
}

#[test]
fn a_full_disk_costs_no_more_than_the_line_that_has_no_room_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("state/audit.jsonl");
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(&log, "{}\n".repeat((ROOM - 60) / 3)).unwrap();
    let edge = Edge::start(folder.path());
    assert_eq!((edge.trouble(), edge.counted()), (json!([]), vec![]));
    let drain = |reason: &str| {
        let body = json!({ "reason": reason, "force": true }).to_string();
        assert_eq!(edge.call("PUT", "/api/v1/drains/near", &body).0, 200);
    };
    drain("first");
    drain("second");
    let told = "what was done last is not in the audit log, audit.jsonl in node.state_dir cannot be written: ";
    let trouble = edge.trouble();
    assert_eq!(trouble.as_array().unwrap().len(), 1, "{trouble}");
    assert!(trouble[0].as_str().unwrap().starts_with(told), "{trouble}");
    assert!(
        edge.says("status")
            .lines()
            .next()
            .unwrap()
            .starts_with(told)
    );
    assert_eq!(edge.says("events").matches(told).count(), 1, "told once");
    assert_eq!(edge.counted(), ["audit_unwritten"]);
    assert_eq!(acts(&log), [""; 0], "nothing of a line that had no room");

    let rotated = folder.path().join("state/audit.jsonl.2");
    fs::rename(&log, &rotated).unwrap();
    fs::write(&log, "").unwrap();
    drain("third");
    assert_eq!(
        (acts(&rotated), acts(&log)),
        (vec![], vec!["third".to_owned()])
    );
    assert_eq!((edge.trouble(), edge.counted()), (json!([]), vec![]));
    assert!(
        edge.says("events")
            .contains("what is done is in the audit log again")
    );
}

#[test]
fn a_state_that_cannot_be_saved_is_told_until_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("state/state.json.new");
    fs::create_dir_all(&in_the_way).unwrap();
    let edge = Edge::start(folder.path());
    assert_eq!(
        edge.call("PUT", "/api/v1/drains/near", "{\"force\":true}")
            .0,
        200
    );
    let told = "drains, forced states and health would not outlive a restart: state_dir ";
    let trouble = edge.trouble();
    assert!(trouble[0].as_str().unwrap().starts_with(told), "{trouble}");
    assert_eq!(edge.counted(), ["state_unsaved"]);
    fs::remove_dir(in_the_way).unwrap();
    assert!(wait_until(|| edge.trouble() == json!([])));
    assert_eq!(edge.counted(), [""; 0]);
}

#[test]
fn a_drain_without_a_folder_to_keep_it_in_is_told_while_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = YAML.replace("node: { state_dir: state }\n", "");
    let edge = Edge::start_with(folder.path(), &yaml);
    assert_eq!(edge.trouble(), json!([]));
    edge.call("PUT", "/api/v1/drains/near", "{\"force\":true}");
    let told = "there is no node.state_dir: drains and forced states would not outlive a restart";
    assert_eq!(edge.trouble(), json!([told]));
    edge.call("DELETE", "/api/v1/drains/near", "");
    assert_eq!(edge.trouble(), json!([]));
}

#[test]
fn what_is_measured_and_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/latency"), "garbage").unwrap();
    let edge = Edge::start(folder.path());
    let told = "starting without measured latency: ";
    assert!(wait_until(|| edge.says("status").contains(told)));
    assert_eq!(edge.counted(), ["latency_set_aside"]);
}

/// Holds up whoever opens a file, as a file system does that hangs: the kernel waits for the holder of a lease (fcntl(2)).
const HOLD: &str = "
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
time.sleep(600)
";

/// An edge with a file that hangs, once it has noticed; and what lets the file go.
fn hung(folder: &Path) -> (Edge, Process) {
    let import = folder.join("measured.csv");
    fs::write(&import, "network,region,ms\n192.0.2.0/24,near,20\n").unwrap();
    let yaml = format!("{YAML}latency: {{ import: [measured.csv] }}\n");
    let edge = Edge::start_with(folder, &yaml);
    let mut holder = Process::start(Command::new("python3").args(["-c", HOLD]).arg(&import));
    holder.wait_for("held");
    fs::write(folder.join("edge.yaml"), format!("{yaml}# changed\n")).unwrap();
    let told =
        "files of the configuration cannot be read: the file system has not answered for 10 s";
    assert!(wait_until(|| edge.says("status").contains(told)));
    (edge, holder)
}

#[test]
fn a_file_system_that_hangs_holds_up_nothing_but_changes_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, holder) = hung(folder.path());
    assert_eq!(edge.counted(), ["files_unread"]);
    assert_eq!(edge.call("GET", "/healthz", "").0, 200);
    let drained = edge.call("PUT", "/api/v1/drains/near", "{\"force\":true}");
    assert_eq!(drained.0, 200);
    drop(holder);
    assert!(wait_until(|| edge.trouble() == json!([])));
    assert!(wait_until(|| edge
        .says("status")
        .contains("configuration 2 ")));
}

#[test]
fn an_edge_whose_files_hang_still_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (mut edge, _holder) = hung(folder.path());
    edge.process.signal("TERM");
    assert_eq!(edge.process.wait(), 0);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_waited_for_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let import = folder.path().join("measured.csv");
    fs::write(&import, "network,region,ms\n192.0.2.0/24,near,20\n").unwrap();
    let edge = Edge::start_with(
        folder.path(),
        &format!("{YAML}latency: {{ import: [measured.csv] }}\n"),
    );
    fs::remove_file(&import).unwrap();
    run(Command::new("mkfifo").arg(&import));
    let refused = "measured.csv: not a file";
    assert!(wait_until(|| edge.says("status").contains(refused)));
    fs::remove_file(&import).unwrap();
    fs::write(&import, "network,region,ms\n192.0.2.0/24,near,30\n").unwrap();
    assert!(wait_until(|| !edge.says("status").contains(refused)));
}
