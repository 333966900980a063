//! Every command that the README shows, against a lab, with the output that it shows.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Lab, wait_until};

/// A `$ command` with the lines that stand below it.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The lines of the README's blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in readme().lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = fence == language;
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks("console") {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                expected: Vec::new(),
            }),
            (None, Some(step)) => step.expected.push(line),
            (None, None) => panic!("`{line}` is the output of nothing"),
        }
    }
    steps
}

/// The README's command for a lab on ports of its own.
fn on_this_lab(command: &str, lab: &Lab) -> String {
    let mut command = command.replace("target/release/meridian", env!("CARGO_BIN_EXE_meridian"));
    for (port, protocol) in [("5300", "dns"), ("5301", "https"), ("5303", "admin")] {
        command = command.replace(port, &lab.address(protocol).port().to_string());
    }
    command
}

#[test]
fn what_the_readme_shows_is_what_happens() {
    let lab = Lab::start();
    let folder = tempfile::tempdir().unwrap();
    let steps = steps();
    let of = |tool: &str| {
        steps
            .iter()
            .filter(|step| step.command.contains(tool))
            .count()
    };
    assert!(
        of("dig ") >= 5 && of("curl ") >= 4,
        "the README shows less than it did"
    );
    for step in steps {
        let command = on_this_lab(&step.command, &lab);
        let mut said = String::new();
        let mut is_as_shown = || {
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(folder.path())
                .env("MERIDIAN_LAB", lab.control().to_string())
                .output()
                .unwrap();
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success() && step.expected.iter().all(|line| said.contains(line))
        };
        // DNS and events follow when a threshold is reached; everything else is so at once.
        let met = if step.command.contains("dig ") || step.command.contains(" events ") {
            wait_until(is_as_shown)
        } else {
            is_as_shown()
        };
        assert!(met, "$ {command}\n{said}\nexpected: {:#?}", step.expected);
    }
}

#[test]
fn exactly_two_commands_set_everything_up() {
    assert_eq!(
        blocks("sh"),
        ["cargo run --release --locked -- lab", "scripts/test.sh"]
    );
}

#[test]
fn every_page_that_it_names_is_there() {
    let text = readme();
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http")) {
        let (page, heading) = link.split_once('#').unwrap_or((link, ""));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        assert!(path.exists(), "{link}");
        if !heading.is_empty() {
            let text = std::fs::read_to_string(path).unwrap().to_lowercase();
            let title = heading.replace('-', " ");
            assert!(text.contains(&format!("# {title}\n")), "{link}");
        }
    }
}

#[test]
fn the_configuration_that_it_shows_is_valid() {
    let yaml = blocks("yaml").join("\n");
    let environment = |name: &str| (name == "MERIDIAN_KEY").then(|| "0123456789abcdef".to_owned());
    let loaded = meridian::config::load_text("README.md", &yaml, &environment);
    if let Err(problems) = loaded {
        panic!("{problems}");
    }
}
