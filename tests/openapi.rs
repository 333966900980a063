//! The admin API is what `docs/openapi.yaml` says, whatever is asked: Schemathesis makes up the questions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Lab, admin};

const DESCRIPTION: &str = include_str!("../docs/openapi.yaml");

/// Whether a name is a region or a text a token, only the edge knows: it refuses what the description lets pass.
const NOT_OF_THE_DESCRIPTION: &str = "positive_data_acceptance";

/// An answer without end.
const EVENTS: &str = "/api/v1/events";

#[test]
fn no_question_gets_an_answer_that_the_description_does_not_know() {
    let lab = Lab::start();
    let edge = format!("http://{}", lab.address("admin"));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/schemathesis");
    let folder = tempfile::tempdir().unwrap();
    let said = Command::new(&program)
        .current_dir(&folder)
        .args(["run", &format!("{edge}/api/v1/openapi.yaml")])
        .args(["--url", &edge, "--exclude-path", EVENTS])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args([
            "--checks",
            "all",
            "--exclude-checks",
            NOT_OF_THE_DESCRIPTION,
        ])
        .args([
            "--continue-on-failure",
            "--max-examples",
            "50",
            "--seed",
            "1",
        ])
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}; scripts/test.sh installs it"));
    let report = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{report}");
    // All but the events and the description itself, which Schemathesis leaves out.
    let asked = DESCRIPTION.matches("operationId:").count() - 2;
    assert!(report.contains(&format!("Tested: {asked}\n")), "{report}");
    let (status, _) = admin(lab.address("admin"), "GET", "/healthz", "");
    assert_eq!(status, 200);
}

#[test]
fn every_path_of_the_api_is_described() {
    let routes = include_str!("../src/admin/serve.rs").split('"');
    let paths: Vec<_> = routes.filter(|text| text.starts_with("/api/")).collect();
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        assert!(DESCRIPTION.contains(&format!("\n  {path}:\n")), "{path}");
    }
}
