//! What a request costs for the sake of the view: counts without locks, and no lock that is not accounted for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms that requests and queries pass through.
const ROOMS: [&str; 8] = [
    "dns",
    "health",
    "http2",
    "latency",
    "positions",
    "proxy",
    "steering",
    "proxy_protocol",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sources of these rooms by their path, without tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for room in ROOMS {
        collect(&root().join("src").join(room), &mut found);
    }
    for file in ["per_core.rs", "registered.rs", "admin/recorder.rs"] {
        found.push(read(&root().join("src").join(file)));
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.ends_with("tests") {
            collect(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(read(&path));
        }
    }
}

fn read(path: &Path) -> (String, String) {
    let name = path
        .strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    (name, code.to_owned())
}

/// Whether a metric is looked up where it is counted, which takes the recorder's lock each time.
fn looks_up_and_counts(code: &str) -> bool {
    ["counter!(", "gauge!(", "histogram!("].iter().any(|call| {
        code.split(call).skip(1).any(|rest| {
            let mut depth = 1;
            let end = rest.find(|c| {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            rest[end.unwrap() + 1..].trim_start().starts_with('.')
        })
    })
}

#[test]
fn no_request_looks_up_a_metric_that_it_counts() {
    assert!(looks_up_and_counts(
        "metrics::counter!(\"a\", \"b\" => c())\n    .increment(1);"
    ));
    assert!(!looks_up_and_counts(
        "let a = metrics::counter!(\"a\", \"b\" => c());"
    ));
    for (file, code) in sources() {
        assert!(!looks_up_and_counts(&code), "{file}");
    }
}

#[test]
fn every_lock_that_a_request_can_meet_is_in_the_table_of_locks() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = page.split_once("## Locks").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let named: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let has_lock = |code: &str| code.contains("Mutex<") || code.contains("RwLock<");
    let mut locks: Vec<String> = sources()
        .into_iter()
        .filter(|(_, code)| has_lock(code))
        .map(|(file, _)| file.trim_start_matches("src/").to_owned())
        .collect();
    locks.sort();
    assert_eq!(named, locks);
}
