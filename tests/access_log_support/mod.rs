//! An edge that logs, and what its lines say.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several tests; a test that cannot go on should stop loudly"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Edge, Origin, wait_until};

/// An edge whose log is a file in its folder.
pub struct Logging {
    pub edge: Edge,
}

pub fn yaml(origins: &[(&str, String)], log: &str, service: &str) -> String {
    let regions: Vec<String> = origins
        .iter()
        .map(|(name, url)| format!("{name}: {{ location: [0, 0], origins: ['{url}'] }}"))
        .collect();
    format!(
        "node: {{ name: fra-1, drain_timeout: 1s }}
listen:
  https: ['127.0.0.1:0']
  http: ['127.0.0.1:0']
  http_mode: serve
  admin: '127.0.0.1:0'
  timeouts: {{ headers: 1s }}
access_log: {{ to: access.log{log} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ {} }}
services:
  www:
    hosts: [www.example.com]
    health: {{ interval: 10m }}
    steering: {{ policy: priority }}
{service}",
        regions.join(", ")
    )
}

impl Logging {
    pub fn start(origins: &[(&str, String)], log: &str, service: &str) -> Self {
        let edge = Edge::start(&yaml(origins, log, service));
        Self { edge }
    }

    pub fn of(origin: &Origin, log: &str) -> Self {
        Self::start(&[("here", origin.url())], log, "")
    }

    pub fn file(&self) -> PathBuf {
        self.edge.folder.path().join("access.log")
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// The first lines, once there are so many.
    #[track_caller]
    pub fn lines(&self, count: usize) -> Vec<Value> {
        assert!(
            wait_until(|| self.text().lines().count() >= count),
            "{count} lines are expected in\n{}",
            self.text()
        );
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.edge.address("http")).unwrap();
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    /// All that comes back until the edge ends the connection.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }
}

#[track_caller]
pub fn check(line: &Value, expected: &[(&str, Value)]) {
    for (pointer, value) in expected {
        assert_eq!(line.pointer(pointer), Some(value), "{pointer} in\n{line:#}");
    }
}

/// A phase, in ms.
#[track_caller]
pub fn ms(line: &Value, pointer: &str) -> f64 {
    let value = line.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {pointer} in\n{line:#}"))
}
