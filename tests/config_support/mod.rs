//! Configurations, and what is told of them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several tests; a test that cannot go on should stop loudly"
)]

use std::fs;
use std::path::Path;

use meridian::config::{self, Loaded, Problems};

pub fn environment(name: &str) -> Option<String> {
    let known = ["MERIDIAN_KEY", "MERIDIAN_ADMIN_TOKEN", "HOST"];
    known
        .contains(&name)
        .then(|| "0123456789abcdef0123.example".to_owned())
}

pub fn sample(name: &str) -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config")
            .join(name),
    )
    .unwrap()
}

pub fn load(yaml: &str) -> Result<Loaded, Problems> {
    config::load_text("edge.yaml", yaml, &environment)
}

/// A configuration with one region, one service, and this beside them.
pub fn with(more: &str) -> String {
    format!(
        "regions:\n  us-east-1: {{ addresses: [192.0.2.1] }}\nservices:\n  www: {{ hosts: [www.example.com] }}\n{more}\n"
    )
}

#[track_caller]
pub fn check_refused(yaml: &str, says: &str) {
    let said = load(yaml).unwrap_err().to_string();
    assert!(said.contains(says), "{said}");
}

#[track_caller]
pub fn check_warned(yaml: &str, says: &str) {
    let loaded = load(yaml).unwrap_or_else(|problems| panic!("{problems}"));
    let said = loaded.problems(loaded.warnings.clone()).as_warnings();
    assert!(said.contains(says), "{said}");
}
