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

#[test]
fn no_page_points_to_nowhere() {
    let pages = fs::read_dir(root().join("docs")).unwrap();
    let pages = pages.map(|page| page.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut pages: Vec<PathBuf> = pages.filter(is_page).collect();
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let target = link.split('#').next().unwrap();
            let folder = page.parent().unwrap_or(Path::new("."));
            assert!(folder.join(target).exists(), "{}: {link}", page.display());
        }
    }
}
