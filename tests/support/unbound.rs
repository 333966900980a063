//! A resolver in front of an edge: unbound, which knows no other server.

use std::net::SocketAddr;
use std::process::Command;

use super::{Process, ask, free_address, wait_until};

/// A running unbound. It asks the edge about example.com, and nobody about anything else.
pub struct Unbound {
    pub address: SocketAddr,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Unbound {
    /// Resolves example.com with the edge's DNS, and these lines in the `server` clause.
    #[track_caller]
    pub fn start(edge: SocketAddr, lines: &str) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unbound.conf");
        let text = format!(
            "server:
  interface: 127.0.0.1@{}
  do-daemonize: no
  username: ''
  chroot: ''
  pidfile: ''
  use-syslog: no
  do-not-query-localhost: no
  {lines}
remote-control:
  control-enable: no
stub-zone:
  name: example.com
  stub-addr: 127.0.0.1@{}
  stub-first: no
",
            address.port(),
            edge.port(),
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("/usr/sbin/unbound");
        let process = Process::start(command.arg("-d").arg("-c").arg(&file));
        let resolves = || {
            ask(
                "kdig",
                address,
                "+timeout=2 +retry=0 +noall +header example.com SOA",
            )
        };
        assert!(
            wait_until(|| resolves().contains("NOERROR")),
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
