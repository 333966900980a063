//! An edge whose regions an operator drains and forces, as the API and the commands have it done.

use std::path::PathBuf;

use serde_json::Value;

use super::{Origin, Process, admin, listening, meridian, wait_until};

/// `near` takes everybody.
pub const LISTED: &str = "steering: { policy: priority }";

pub struct Ground {
    pub folder: tempfile::TempDir,
    pub near: Origin,
    pub far: Origin,
}

pub struct Edge {
    pub process: Process,
}

impl Ground {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            near: Origin::start("near"),
            far: Origin::start("far"),
        }
    }

    pub fn start(&self, service: &str, more: &str) -> Edge {
        self.start_checking("", service, more)
    }

    /// An edge with more to say of its checks.
    pub fn start_checking(&self, health: &str, service: &str, more: &str) -> Edge {
        let file = self.folder.path().join("edge.yaml");
        let yaml = format!(
            "node: {{ state_dir: state }}
listen: {{ dns: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0', trusted_proxies: [127.0.0.0/8] }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{}'] }}
services:
  www:
    hosts: [www.example.com]
    health: {{ interval: 300ms, recheck_interval: 100ms{health} }}
    {service}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
{more}
",
            self.near.url(),
            self.far.url()
        );
        std::fs::write(&file, yaml).unwrap();
        let mut process = Process::start(meridian().args(["serve", "--config"]).arg(&file));
        process.wait_for(" ready");
        let edge = Edge { process };
        assert!(wait_until(
            || edge.health("near") == "healthy" && edge.health("far") == "healthy"
        ));
        edge
    }

    pub fn audit(&self) -> Vec<Value> {
        let path: PathBuf = self.folder.path().join("state/audit.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Edge {
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        admin(listening(&self.process.said(), "admin"), method, path, body)
    }

    pub fn member(&self, region: &str) -> Value {
        let status = self.call("GET", "/api/v1/status", "").1;
        let regions = status["regions"].as_array().unwrap();
        let found = regions.iter().find(|known| known["name"] == region);
        found.unwrap()["services"][0].clone()
    }

    pub fn health(&self, region: &str) -> String {
        self.member(region)["health"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn steered(&self, subnet: &str) -> String {
        let dns = listening(&self.process.said(), "dns");
        let words = format!("www.example.com A +short +subnet={subnet}");
        super::ask("kdig", dns, &words).trim().to_owned()
    }

    /// The region of an answer over HTTP.
    pub fn served(&self, fields: &[&str]) -> String {
        let url = format!("http://{}/", listening(&self.process.said(), "http"));
        let mut command = std::process::Command::new("curl");
        command.args([
            "-s",
            "-H",
            "Host: www.example.com",
            "-D",
            "-",
            "-o",
            "/dev/null",
            &url,
        ]);
        for field in fields {
            command.args(["-H", field]);
        }
        let said = String::from_utf8(super::run(&mut command).stdout).unwrap();
        let region = said.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("meridian-region")
                .then(|| value.trim().to_owned())
        });
        region.unwrap_or(said)
    }

    pub fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let url = format!("http://{}", listening(&self.process.said(), "admin"));
        let output = meridian()
            .args(words)
            .args(["--admin", &url])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}
