//! Configurations with master files, and what is told of them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by several tests; a test that cannot go on should stop loudly"
)]

use std::fs;

use meridian::config::{Loaded, Problems, load};

/// The beginning of a master file that is right.
pub const HEAD: &str = "$TTL 1h
@ SOA ns1 hostmaster 2024010101 2h 15m 2w 5m
@ NS ns1
ns1 A 192.0.2.53
";

/// A folder with a configuration of one zone, and files beside it.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn of(zone: &str, files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let yaml = format!(
            "regions: {{ eu-west-1: {{ addresses: [192.0.2.1] }} }}
services: {{ api: {{ hosts: [api.example.com] }} }}
zones: {{ example.com: {{ {zone} }} }}
"
        );
        folder.write("edge.yaml", &yaml);
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn load(&self) -> Result<Loaded, Problems> {
        load(&[self.0.path().join("edge.yaml")], &|_| None)
    }

    /// A text without this folder's name, which is another every time.
    pub fn shown(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    pub fn errors(&self) -> String {
        match self.load() {
            Ok(_) => String::new(),
            Err(problems) => self.shown(&problems.to_string()),
        }
    }

    #[track_caller]
    pub fn warnings(&self) -> String {
        let loaded = self.load().unwrap_or_else(|problems| panic!("{problems}"));
        self.shown(&loaded.problems(loaded.warnings.clone()).as_warnings())
    }

    /// `owner TYPE data` of the zone's records, in order.
    #[track_caller]
    pub fn records(&self) -> Vec<String> {
        let plan = self.load().unwrap_or_else(|p| panic!("{p}")).plan;
        let mut shown: Vec<String> = plan.zones[0]
            .records
            .iter()
            .map(|r| format!("{} {} {}", r.owner, r.data.record_type(), r.data))
            .collect();
        shown.sort();
        shown
    }
}
