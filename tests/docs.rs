//! `docs/LIMITS.md` names tests and constants that there are, and no page points to nowhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_promise_names_a_test_that_there_is_or_says_pending() {
    let page = fs::read_to_string(root().join("docs/LIMITS.md")).unwrap();
    let mut checked = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let mut file: Option<String> = None;
        for word in quoted(line) {
            if word.ends_with(".rs") {
                assert!(root().join(word).exists(), "{word} in\n{line}");
                file = fs::read_to_string(root().join(word)).ok();
                continue;
            }
            let is_test = word.contains('_')
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if let Some(text) = file.as_ref().filter(|_| is_test) {
                assert!(text.contains(&format!("fn {word}(")), "{word} in\n{line}");
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn every_bound_is_a_constant_of_the_file_that_is_named() {
    let page = fs::read_to_string(root().join("docs/LIMITS.md")).unwrap();
    let mut checked = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let Some(path) = cells.get(1).and_then(|cell| quoted(cell).first().copied()) else {
            continue;
        };
        if !path.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(root().join(path)).unwrap();
        for name in quoted(cells.first().unwrap()) {
            let is_constant = name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if is_constant {
                assert!(
                    text.contains(&format!("const {name}:")),
                    "{name} is not in {path}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "{checked}");
}

/// The pages, and those at the root.
fn pages() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).unwrap();
    let pages = pages.map(|page| page.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut pages: Vec<PathBuf> = pages.filter(is_page).collect();
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    pages
}

/// How links call a heading: small, without signs, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

#[test]
fn no_page_has_marks_of_a_merge() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mark = text.lines().find(|line| {
            let marks = ["<<<<<<< ", "=======", ">>>>>>> "];
            marks.iter().any(|mark| line.starts_with(mark))
        });
        assert_eq!(mark, None, "{}", page.display());
    }
}

#[test]
fn no_page_points_to_nowhere() {
    let mut headings = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.parent().unwrap_or(Path::new("."));
            let target = match target {
                "" => page.clone(),
                target => folder.join(target),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(target).unwrap();
                let mut lines = text.lines().filter(|line| line.starts_with('#'));
                let is_there = lines.any(|line| anchor(line) == heading);
                assert!(is_there, "{}: {link}", page.display());
                headings += 1;
            }
        }
    }
    assert!(headings > 50, "{headings}");
}

fn operations() -> String {
    fs::read_to_string(root().join("docs/operations.md")).unwrap()
}

#[test]
fn every_alert_has_a_section_of_what_to_do() {
    let rules = fs::read_to_string(root().join("docs/monitoring/alerts.yml")).unwrap();
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 8, "{alerts:?}");
    for alert in alerts {
        assert!(
            operations().contains(&format!("\n### {alert}\n")),
            "{alert}"
        );
    }
}

/// The files that tell events.
const TELLERS: &[&str] = &[
    "src/proxy/memory.rs",
    "src/control/follow.rs",
    "src/control/lag.rs",
    "src/control/task/commands.rs",
    "src/control/task/handle.rs",
    "src/control/task/publishing.rs",
    "src/control/world/drained.rs",
    "src/control/world/forced.rs",
    "src/control/world/lagging.rs",
    "src/control/world/reported.rs",
    "src/control/world/snapshotted.rs",
    "src/control/world/witnessed.rs",
    "src/admin/audit.rs",
    "src/admin/positions.rs",
    "src/edge/reload.rs",
    "src/edge/sampling.rs",
    "src/edge/signatures.rs",
    "src/edge/watch.rs",
    "src/proxy/consistency.rs",
];

/// Files that speak of kinds of events, and tell none.
const NOT_TELLERS: &[&str] = &[
    "src/admin/follow.rs",
    "src/control/mod.rs",
    "src/control/events.rs",
    "src/control/told.rs",
    "src/control/world/mod.rs",
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn who_tells_events_is_known() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    for file in files {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let tells = [
            "Kind::Health",
            "Kind::Reload",
            "Kind::Drain",
            "Kind::Forced",
        ]
        .iter()
        .chain(&[
            "Kind::Audit",
            "Kind::Position",
            "Kind::State",
            ".suspect(",
            ".note_position(",
        ])
        .any(|word| text.contains(word));
        let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
        let is_known = TELLERS.contains(&&*name) || NOT_TELLERS.contains(&&*name);
        assert!(!tells || is_test || is_known, "{name} tells events too");
    }
}

/// What they say beside events.
const NOT_EVENTS: &[&str] = &["bytes is expected"];

/// Whether a line of the code holds the words of an event.
fn holds_words(line: &str) -> bool {
    [
        "let message =",
        "let what =",
        "message: format!",
        "format!(\"is ",
        "format!(\"{region} ",
        "\"is ",
    ]
    .iter()
    .any(|begins| line.contains(begins))
}

/// The longest run of plain words in a text with places to fill in, from its first place on.
fn words(literal: &str) -> String {
    let mut parts = literal.split(['{', '}']).step_by(2);
    let longest = parts.by_ref().max_by_key(|part| part.trim().len());
    longest.unwrap_or_default().trim().to_owned()
}

/// What the files say in events: the longest run of words of each.
fn told() -> Vec<(String, String)> {
    let mut told = Vec::new();
    for file in TELLERS {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        // A text that goes on in the next line is one.
        let joined: Vec<&str> = text.split("\\\n").map(str::trim_start).collect();
        let joined = joined.concat();
        let lines: Vec<&str> = joined.lines().collect();
        let begins = lines.iter().enumerate();
        for (at, _) in begins.filter(|(_, line)| holds_words(line)) {
            let rest = lines.get(at..(at + 3).min(lines.len())).unwrap_or_default();
            let statement = rest.concat();
            if let Some(literal) = statement.split('"').nth(1) {
                told.push(((*file).to_owned(), words(literal)));
            }
        }
    }
    told
}

#[test]
fn every_event_and_kind_is_in_the_table_of_events() {
    let page = operations();
    let (_, table) = page.split_once("\n## Events\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let events = fs::read_to_string(root().join("src/control/events.rs")).unwrap();
    let (_, names) = events.split_once("fn as_str").unwrap();
    let (names, _) = names.split_once("\n}\n").unwrap();
    let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(table.contains(&format!("\n| `{name}` |")), "kind {name}");
    }
    let told = told();
    for (file, words) in &told {
        let is_clear = words.len() < 6 || table.contains(words.as_str());
        let is_clear = is_clear || NOT_EVENTS.contains(&words.as_str());
        assert!(
            is_clear,
            "{file} tells `{words}`, and docs/operations.md does not"
        );
    }
    let clear = told.iter().filter(|(_, words)| words.len() >= 6).count();
    assert!(clear >= 14, "{told:#?}");
}

#[test]
fn every_room_has_its_place_in_the_architecture() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut rooms = 0;
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["lib", "main"].contains(&&*name) {
            continue;
        }
        let row = |line: &str| line.starts_with("| `") && quoted(line).contains(&&*name);
        let folder = format!("| `{name}/` |");
        let has_place = page.contains(&folder) || page.lines().any(row);
        assert!(has_place, "src/{name} is not in ARCHITECTURE.md");
        rooms += 1;
    }
    assert!(rooms > 15, "{rooms}");
}
