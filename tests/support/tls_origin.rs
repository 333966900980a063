//! An origin that speaks TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::wait_until;

/// openssl's own server, which answers every GET with a page of its own.
pub struct TlsOrigin {
    server: Child,
    pub port: u16,
}

impl TlsOrigin {
    /// Starts one with this certificate, and what else openssl is to be told.
    pub fn start(cert: &Path, key: &Path, more: &[&str]) -> Self {
        let port = {
            let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            probe.local_addr().unwrap().port()
        };
        let server = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("-cert")
            .arg(cert)
            .arg("-key")
            .arg(key)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_until(up));
        Self { server, port }
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
