//! The example of `examples/postgres/` on a real PostgreSQL: a primary, two standbys, and a promotion.
//! `scripts/test.sh` installs PostgreSQL and its driver for Python.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn nobody_misses_a_write_behind_postgresql_and_tokens_survive_a_promotion() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/bin/python");
    assert!(python.exists(), "scripts/test.sh makes target/clients");
    let run = Command::new(python)
        .arg(root.join("examples/postgres/drive.py"))
        .args(["--meridian", env!("CARGO_BIN_EXE_meridian")])
        .args(["--writes", "120", "--seconds", "15"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}{complained}");
    for promise in [
        "ok: no read missed its client's own write",
        "ok: standbys served reads",
        "ok: the token survives",
        "ok: the lost write is reported once",
        "all is well",
    ] {
        assert!(said.contains(promise), "{promise} is not in\n{said}");
    }
}
