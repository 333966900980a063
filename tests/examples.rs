//! The examples on real databases: a primary, replicas that keep behind, and a promotion. `scripts/test.sh` installs
//! the databases and their drivers for Python.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

use std::path::Path;
use std::process::Command;

/// Runs an example's own check, which must say all of this.
#[track_caller]
fn check(example: &str, arguments: &[&str], promises: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/bin/python");
    assert!(python.exists(), "scripts/test.sh makes target/clients");
    let run = Command::new(python)
        .arg(root.join("examples").join(example).join("drive.py"))
        .args(["--meridian", env!("CARGO_BIN_EXE_meridian")])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}{complained}");
    for promise in promises {
        assert!(said.contains(promise), "{promise} is not in\n{said}");
    }
    assert!(said.contains("all is well"), "{said}");
}

#[test]
fn nobody_misses_a_write_behind_postgresql_and_tokens_survive_a_promotion() {
    let promises = [
        "ok: no read missed its client's own write",
        "ok: standbys served reads",
        "ok: the token survives",
        "ok: the lost write is reported once",
    ];
    check(
        "postgres",
        &["--writes", "120", "--seconds", "15"],
        &promises,
    );
}

#[test]
fn nobody_misses_a_write_behind_mariadb_and_tokens_survive_a_promotion() {
    let promises = [
        "reads missed their client's own write",
        "stale reads: 0",
        "ok: the replica served reads",
        "ok: the token survives the promotion",
        "is marked stale",
    ];
    check("mariadb", &["--writes", "60"], &promises);
}

#[test]
fn the_examples_are_what_the_json_schema_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = Command::new(root.join("target/clients/bin/python"))
        .arg(root.join("tests/clients/schema.py"))
        .arg(env!("CARGO_BIN_EXE_meridian"))
        .args([
            "config/example.yaml",
            "config/minimal.yaml",
            "examples/postgres/edge.yaml",
            "examples/mariadb/edge.yaml",
            "src/cli/lab.yaml",
        ])
        .current_dir(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(said.contains("all is well"), "{said}{complained}");
}
