//! HAProxy, before the edge or behind it.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::{Process, free_address, wait_until};

/// A running HAProxy.
pub struct Haproxy {
    pub address: SocketAddr,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    /// Runs one proxy: `mode`, options of its `bind` line, and more lines. `FOLDER` stands for one that has a
    /// certificate in `both.pem`.
    #[track_caller]
    pub fn start(mode: &str, bind: &str, lines: &[&str]) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = super::certificate(folder.path(), "one", "www.example.com");
        let both = [cert, key].map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(folder.path().join("both.pem"), both.concat()).unwrap();
        let text = format!(
            "global
  maxconn 100
defaults
  mode {mode}
  timeout connect 5s
  timeout client 10s
  timeout server 10s
listen one
  bind {address} {bind}
  {}
",
            lines.join("\n  ")
        );
        let text = text.replace("FOLDER", &folder.path().display().to_string());
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        let process = Process::start(command.arg("-db").arg("-f").arg(&file));
        assert!(
            wait_until(|| TcpStream::connect(address).is_ok()),
            "{}",
            process.said()
        );
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }
}
