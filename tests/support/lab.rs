//! A lab of its own ports, as `meridian lab` starts it.

use std::net::SocketAddr;

use super::{Answer, Process, admin, ask, meridian, run};

/// A running lab: three regions and the edge in front of them.
pub struct Lab {
    process: Process,
}

impl Lab {
    /// Starts it; returns once it has said how to reach it and every region is known to be healthy.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further options.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        let arguments = ["lab", "--port", "0", "--control", "127.0.0.1:0"];
        let mut process = Process::start(meridian().args(arguments).args(options));
        process.wait_for("Ctrl-C stops it all.");
        let lab = Self { process };
        assert!(super::wait_until(|| lab.states() == ["healthy"; 3]));
        lab
    }

    /// Where it takes connections, edge and regions.
    pub fn takes_connections_at(&self) -> Vec<SocketAddr> {
        self.process.takes_connections_at()
    }

    /// What it has printed.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Where the edge listens.
    #[track_caller]
    pub fn address(&self, protocol: &str) -> SocketAddr {
        self.after(&format!("{protocol} "))
    }

    /// Where it takes commands.
    pub fn control(&self) -> SocketAddr {
        self.after("--control ")
    }

    #[track_caller]
    fn after(&self, mark: &str) -> SocketAddr {
        let said = self.process.said();
        let mut found = said.split(mark).skip(1);
        let address = found.find_map(|rest| rest.split_whitespace().next()?.parse().ok());
        address.unwrap_or_else(|| panic!("no address after `{mark}` in\n{said}"))
    }

    /// Runs `meridian lab WORDS` against it.
    #[track_caller]
    pub fn command(&self, words: &str) -> String {
        let control = self.control().to_string();
        let mut command = meridian();
        command
            .arg("lab")
            .args(words.split_whitespace())
            .args(["--control", &control]);
        String::from_utf8(run(&mut command).stdout).unwrap()
    }

    /// The states of the regions, in the order of the configuration.
    pub fn states(&self) -> Vec<String> {
        let (_, status) = admin(self.address("admin"), "GET", "/api/v1/status", "");
        let regions = status["regions"].as_array().cloned().unwrap_or_default();
        let state = |region: &serde_json::Value| region["state"].as_str().unwrap().to_owned();
        regions.iter().map(state).collect()
    }

    /// What DNS says to a client of this network.
    pub fn steers(&self, network: &str) -> String {
        let words = format!("www.lab.example A +subnet={network} +short");
        ask("kdig", self.address("dns"), &words).trim().to_owned()
    }

    /// Runs curl straight against a region.
    #[track_caller]
    pub fn at(&self, region: &str, path: &str, arguments: &[&str]) -> Answer {
        let (_, state) = admin(self.control(), "GET", "/state", "");
        let regions = state["regions"].as_array().unwrap();
        let found = regions.iter().find(|state| state["name"] == region);
        let address = found.unwrap()["address"].as_str().unwrap();
        let mut command = std::process::Command::new("curl");
        command
            .args(["-sS", "-D", "/dev/stderr", "--max-time", "15"])
            .arg(format!("http://{address}{path}"))
            .args(arguments);
        Answer::of(&run(&mut command))
    }

    /// KiB of memory that it holds at present.
    pub fn resident_kib(&self) -> u64 {
        self.process.resident_kib()
    }

    /// Runs curl against the lab's host.
    #[track_caller]
    pub fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        Answer::from(self.address("https"), "www.lab.example", path, arguments)
    }
}
