//! Which zones an edge has signed, over restarts: `signed` in `state_dir`, a line for each with the tags of its keys.
//!
//! Without it a folder of keys that is not mounted when the edge starts looks like that of a zone that nobody has signed yet.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::replace;
use crate::regular;

/// The zones, by their names as text, and the tags of the keys that each had last.
pub(super) type Tags = BTreeMap<String, Vec<u16>>;

/// What stands above the zones.
const HEAD: &str = "# Zones that this edge has signed, and the tags of their keys: none of them gets a key of the edge's making again.\n";

/// The file.
#[derive(Clone, Debug)]
pub(super) struct SignedBefore(PathBuf);

impl fmt::Display for SignedBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl SignedBefore {
    /// That of a folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.join("signed"))
    }

    /// What it remembers; nothing, if there is none. An error says what is wrong with it.
    pub(super) fn read(&self) -> Result<Tags, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", self.0.display());
        let text = match regular::read(&self.0) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tags::new()),
            Err(error) => return Err(told(&error)),
        };
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        let zones = lines.map(|(at, line)| {
            let expected = || {
                told(&format!(
                    "line {}: a zone and the tags of its keys are expected",
                    at + 1
                ))
            };
            zone_of(line).ok_or_else(expected)
        });
        zones.collect()
    }

    /// Remembers these, if they are not what the file says already.
    pub(super) fn write(&self, zones: &Tags) -> io::Result<()> {
        if self.read().is_ok_and(|known| known == *zones) {
            return Ok(());
        }
        replace(&self.0, text_of(zones).as_bytes())
    }
}

fn zone_of(line: &str) -> Option<(String, Vec<u16>)> {
    let mut words = line.split_whitespace();
    let zone = words.next()?.to_owned();
    let tags: Option<Vec<u16>> = words.map(|tag| tag.parse().ok()).collect();
    Some((zone, tags.filter(|tags| !tags.is_empty())?))
}

fn text_of(zones: &Tags) -> String {
    let lines = zones.iter().map(|(zone, tags)| {
        let tags: Vec<String> = tags.iter().map(u16::to_string).collect();
        format!("{zone} {}\n", tags.join(" "))
    });
    HEAD.to_owned() + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(all: &[(&str, &[u16])]) -> Tags {
        let zones = all.iter();
        zones
            .map(|(zone, tags)| ((*zone).to_owned(), tags.to_vec()))
            .collect()
    }

    #[test]
    fn what_was_signed_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let signed = SignedBefore::of(folder.path());
        assert_eq!(signed.read(), Ok(Tags::new()));
        for all in [
            zones(&[
                ("example.com.", &[7, 65_535]),
                ("0-31.2.0.192.in-addr.arpa.", &[1]),
            ]),
            zones(&[("0/25.2.0.192.in-addr.arpa.", &[1])]),
            Tags::new(),
        ] {
            signed.write(&all).unwrap();
            assert_eq!(signed.read(), Ok(all));
        }
    }

    #[test]
    fn a_line_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let signed = SignedBefore::of(folder.path());
        for broken in ["example.com.", "example.com. x", "example.com. 65536"] {
            std::fs::write(&signed.0, format!("{HEAD}\n{broken}\n")).unwrap();
            let why = signed.read().unwrap_err();
            assert!(
                why.ends_with("line 3: a zone and the tags of its keys are expected"),
                "{why}"
            );
        }
    }
}
