//! One harness for the end-to-end tests: a real `meridian` process, origins of our own, real clients.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "shared by several tests; a test that cannot go on should stop loudly"
)]

pub mod admin_access;
mod chat;
pub mod clear;
mod dns;
pub mod frames;
mod haproxy;
mod lab;
mod load;
pub mod near_and_far;
pub mod one_service;
pub mod operated;
mod origin;
mod process;
mod raw;
mod replica;
mod served;
mod tls;
mod tls_origin;
mod two_regions;
mod unbound;
mod wired;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use chat::{chat, echo, exchange_line, hears_the_end};
pub use dns::{DnsClient, Reply, query, subnet};
pub use haproxy::Haproxy;
pub use lab::Lab;
pub use load::{GET, Http2Client, Load, connect, connect_tls, get, say};
pub use origin::{Origin, Seen};
pub use process::{Process, kept_waiting};
pub use raw::{raw_origin, read_head, wire};
pub use replica::{Mode, Replica};
pub use tls::{s_client, trusting_anybody, trusting_anybody_with};
pub use tls_origin::TlsOrigin;
pub use two_regions::two_regions;
pub use unbound::Unbound;
pub use wired::{Answered, Wire, Wired, WiredOrigin};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub fn meridian() -> Command {
    Command::new(env!("CARGO_BIN_EXE_meridian"))
}

/// A running edge with a configuration folder of its own.
pub struct Edge {
    pub process: Process,
    pub folder: tempfile::TempDir,
}

impl Edge {
    /// Serves this configuration; returns once it is ready.
    #[track_caller]
    pub fn start(yaml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), yaml)
    }

    /// The same in a folder that has something already.
    #[track_caller]
    pub fn start_in(folder: tempfile::TempDir, yaml: &str) -> Self {
        std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
        let mut process = Process::start(meridian().args(["serve", "--config"]).arg(folder.path()));
        process.wait_for(" ready");
        Self { process, folder }
    }

    /// Replaces the configuration as editors do: a new file takes the old one's name.
    pub fn write(&self, yaml: &str) {
        let new = self.folder.path().join(".edge.yaml.new");
        std::fs::write(&new, yaml).unwrap();
        std::fs::rename(new, self.folder.path().join("edge.yaml")).unwrap();
    }

    /// Where a protocol is listened on: the last address that was opened for it.
    #[track_caller]
    pub fn address(&self, protocol: &str) -> SocketAddr {
        listening(&self.process.said(), protocol)
    }

    /// Asks the admin API; the status and the body.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        admin(self.address("admin"), method, path, body)
    }

    /// The sum of a counter's series that have all these labels, each as `name="value"`.
    pub fn counted(&self, counter: &str, labels: &[&str]) -> u64 {
        let (_, metrics) = self.admin("GET", "/metrics", "");
        let series = metrics.as_str().unwrap().lines().filter(|line| {
            let labeled = line.strip_prefix(counter);
            let labeled = labeled.filter(|rest| rest.starts_with(['{', ' ']));
            labeled.is_some_and(|labeled| labels.iter().all(|label| labeled.contains(label)))
        });
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Runs curl against the edge's https listener as if it were `host`.
    #[track_caller]
    pub fn curl(&self, host: &str, path: &str, arguments: &[&str]) -> Answer {
        Answer::from(self.address("https"), host, path, arguments)
    }

    /// The same; none: the connection failed.
    pub fn try_curl(&self, host: &str, path: &str, arguments: &[&str]) -> Option<Answer> {
        let output = Answer::command(self.address("https"), host, path, arguments)
            .output()
            .unwrap();
        output.status.success().then(|| Answer::of(&output))
    }

    /// Asks DNS with kdig.
    pub fn kdig(&self, words: &str) -> String {
        ask("kdig", self.address("dns"), words)
    }
}

/// The last address that was opened for a protocol, as the log has it.
#[track_caller]
pub fn listening(said: &str, protocol: &str) -> SocketAddr {
    let mark = format!("listening {protocol} ");
    let line = said.lines().rev().find(|line| line.contains(&mark));
    let line = line.unwrap_or_else(|| panic!("{protocol} is not listened on:\n{said}"));
    line.split(&mark)
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// What curl got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Runs curl against an https listener as if it were `host`.
    #[track_caller]
    pub fn from(address: SocketAddr, host: &str, path: &str, arguments: &[&str]) -> Self {
        Self::of(&run(&mut Self::command(address, host, path, arguments)))
    }

    fn command(address: SocketAddr, host: &str, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-sSk", "-D", "/dev/stderr", "--max-time", "15", "--resolve"])
            .arg(format!("{host}:{}:{}", address.port(), address.ip()))
            .arg(format!("https://{host}:{}{path}", address.port()))
            .args(arguments);
        command
    }

    fn of(output: &Output) -> Self {
        let head = String::from_utf8_lossy(&output.stderr).replace('\r', "");
        let body = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = head
            .lines()
            .rev()
            .find(|line| line.starts_with("HTTP/"))
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("curl got no answer: {head}"));
        Self { status, head, body }
    }

    /// Every value of a header.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The one value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let values = self.headers(name);
        assert_eq!(values.len(), 1, "{name} in\n{}", self.head);
        values[0]
    }

    /// `name=value` of the cookie that is set.
    #[track_caller]
    pub fn cookie(&self, name: &str) -> String {
        let cookies = self.headers("set-cookie");
        let cookie = cookies.iter().find(|cookie| cookie.starts_with(name));
        let cookie = cookie.unwrap_or_else(|| panic!("no cookie {name} in\n{}", self.head));
        cookie.split(';').next().unwrap().to_owned()
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// An address for a server that cannot pick one itself. Below the ports that the system gives out, and from
/// another place in each process, so that nobody takes it meanwhile.
#[track_caller]
pub fn free_address() -> SocketAddr {
    let first = 10_000 + std::process::id() % 20_000;
    let addresses = (first..first + 100).map(|port| format!("127.0.0.1:{port}"));
    let is_free =
        |address: &String| UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
    let free = addresses.filter(is_free).map(|address| address.parse());
    free.flatten()
        .next()
        .unwrap_or_else(|| panic!("no free port from {first} on"))
}

/// Asks a DNS server with a tool.
pub fn ask(tool: &str, server: SocketAddr, words: &str) -> String {
    let mut command = Command::new(tool);
    command
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(words.split_whitespace());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}; scripts/test.sh installs it"));
    String::from_utf8(output.stdout).unwrap()
}

/// Asks an admin API; the status and the body.
pub fn admin(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    let url = format!("http://{address}{path}");
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "-w",
        "\n%{http_code}",
        "-X",
        method,
        "--max-time",
        "15",
        &url,
    ]);
    if !body.is_empty() {
        command.args(["-d", body]);
    }
    let output = String::from_utf8(run(&mut command).stdout).unwrap();
    let (body, status) = output.rsplit_once('\n').unwrap();
    (
        status.parse().unwrap(),
        serde_json::from_str(body).unwrap_or(body.into()),
    )
}

/// Waits for a condition; whether it came.
pub fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    false
}

/// The DS records that the parents of an edge's signed zones are to have.
#[track_caller]
pub fn delegation(folder: &Path) -> String {
    let config = folder.join("edge.yaml");
    let check = run(meridian().args(["check", "--ds", "--config"]).arg(config));
    String::from_utf8(check.stdout).unwrap()
}

/// A self-signed certificate of a name in PEM, written into a folder.
pub fn certificate(folder: &Path, file: &str, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (cert, key) = (
        folder.join(format!("{file}.pem")),
        folder.join(format!("{file}.key")),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}
