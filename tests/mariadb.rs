//! The example of `examples/mariadb/` on a real MariaDB: a primary, a replica that keeps behind, and a promotion.
//! `scripts/test.sh` installs MariaDB and its driver for Python.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn nobody_misses_a_write_behind_mariadb_and_tokens_survive_a_promotion() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/bin/python");
    assert!(python.exists(), "scripts/test.sh makes target/clients");
    let run = Command::new(python)
        .arg(root.join("examples/mariadb/drive.py"))
        .args(["--meridian", env!("CARGO_BIN_EXE_meridian")])
        .args(["--writes", "60"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}{complained}");
    for promise in [
        "reads missed their client's own write",
        "stale reads: 0",
        "ok: the replica served reads",
        "ok: the token survives the promotion",
        "is marked stale",
        "all is well",
    ] {
        assert!(said.contains(promise), "{promise} is not in\n{said}");
    }
}
