//! Certificates: chosen by SNI, swapped without dropping a connection, and verified towards origins.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Edge, Origin, certificate, wait_until};

fn yaml(origin: &str, certificates: &str, more: &str) -> String {
    format!(
        "listen: {{ https: ['127.0.0.1:0'], dns_tls: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
tls: {{ {certificates} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ addresses: [192.0.2.1], origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com, '*.b.example'], health: {{ interval: 200ms, recheck_interval: 100ms }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
{more}
"
    )
}

fn certificates(pairs: &[(&Path, &Path)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(cert, key)| format!("{{ cert: {}, key: {} }}", cert.display(), key.display()))
        .collect();
    format!("certificates: [{}]", pairs.join(", "))
}

/// The subject alternative names of the certificate that the edge shows for a name, and its serial.
fn shown(edge: &Edge, name: &str) -> String {
    let address = edge.address("https").to_string();
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", name])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut reader = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-serial"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader
        .stdin
        .take()
        .unwrap()
        .write_all(&client.stdout)
        .unwrap();
    String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_certificate_follows_the_name_and_the_first_is_the_default() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let a = certificate(folder.path(), "a", "www.example.com");
    let b = certificate(folder.path(), "b", "*.b.example");
    let pairs = certificates(&[(&a.0, &a.1), (&b.0, &b.1)]);
    let edge = Edge::start(&yaml(&origin.url(), &pairs, ""));
    assert!(shown(&edge, "www.example.com").contains("DNS:www.example.com"));
    assert!(shown(&edge, "x.b.example").contains("DNS:*.b.example"));
    assert!(shown(&edge, "unknown.example").contains("DNS:www.example.com"));
}

#[test]
fn a_new_certificate_is_taken_over_and_old_connections_live_on() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let (cert, key) = certificate(folder.path(), "a", "www.example.com");
    let edge = Edge::start(&yaml(&origin.url(), &certificates(&[(&cert, &key)]), ""));
    let before = shown(&edge, "www.example.com");
    // A connection that is open while the certificate changes.
    let address = edge.address("https").to_string();
    let mut open = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-connect",
            &address,
            "-servername",
            "www.example.com",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut say = open.stdin.take().unwrap();
    say.write_all(b"GET /one HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    assert!(wait_until(|| origin
        .seen()
        .iter()
        .any(|seen| seen.uri == "/one")));
    let new = certificate(folder.path(), "new", "www.example.com");
    fs::rename(new.1, &key).unwrap();
    fs::rename(new.0, &cert).unwrap();
    assert!(wait_until(|| shown(&edge, "www.example.com") != before));
    say.write_all(b"GET /two HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n")
        .unwrap();
    let said = String::from_utf8(open.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
}

#[test]
fn a_key_that_does_not_fit_changes_nothing() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let (cert, key) = certificate(folder.path(), "a", "www.example.com");
    let mut edge = Edge::start(&yaml(&origin.url(), &certificates(&[(&cert, &key)]), ""));
    let before = shown(&edge, "www.example.com");
    let (_, other) = certificate(folder.path(), "other", "www.example.com");
    fs::rename(other, &key).unwrap();
    edge.process
        .wait_for("the key does not belong to the certificate");
    assert_eq!(shown(&edge, "www.example.com"), before);
    assert_eq!(edge.curl("www.example.com", "/", &[]).status, 200);
}

#[test]
fn without_certificates_one_is_made_for_the_hosts() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "", ""));
    let names = shown(&edge, "www.example.com");
    assert!(
        names.contains("DNS:www.example.com") && names.contains("DNS:*.b.example"),
        "{names}"
    );
    let said = edge.process.said();
    assert!(said.contains("tls.certificates is not set"), "{said}");
}

#[test]
fn dns_over_tls_uses_the_same_certificates() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let (cert, key) = certificate(folder.path(), "a", "www.example.com");
    let edge = Edge::start(&yaml(&origin.url(), &certificates(&[(&cert, &key)]), ""));
    let words = format!(
        "+tls-ca={} +tls-hostname=www.example.com www.example.com A +short",
        cert.display()
    );
    let answer = support::ask("kdig", edge.address("dns_tls"), &words);
    assert_eq!(answer.trim(), "192.0.2.1");
}

/// An origin that speaks TLS: openssl's own server, which answers every GET with a page of its own.
struct TlsOrigin(std::process::Child, u16);

impl TlsOrigin {
    fn start(cert: &Path, key: &Path) -> Self {
        let port = {
            let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            probe.local_addr().unwrap().port()
        };
        let server = Command::new("openssl")
            .args([
                "s_server",
                "-www",
                "-quiet",
                "-accept",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("-cert")
            .arg(cert)
            .arg("-key")
            .arg(key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_until(up));
        Self(server, port)
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_origin_s_certificate_is_verified_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "origin", "api.internal");
    let origin = TlsOrigin::start(&cert, &key);
    let url = format!("https://127.0.0.1:{}", origin.1);
    let status = |trust: &str| {
        let edge = Edge::start(&yaml(&url, &format!("origins: {{ {trust} }}"), ""));
        let answer = edge.curl("www.example.com", "/", &[]);
        let (_, status) = edge.admin("GET", "/api/v1/status", "");
        let healthy = || {
            let (_, status) = edge.admin("GET", "/api/v1/status", "");
            status["regions"][0]["state"].clone()
        };
        let expected = if answer.status == 200 {
            "healthy"
        } else {
            "unhealthy"
        };
        assert!(wait_until(|| healthy() == expected), "{trust}: {status}");
        answer.status
    };
    let ca = format!("ca: {}", cert.display());
    assert_eq!(status(&format!("{ca}, server_name: api.internal")), 200);
    assert_eq!(status(&ca), 503, "the name is not in the certificate");
    assert_eq!(
        status("server_name: api.internal"),
        503,
        "nobody vouches for it"
    );
    assert_eq!(status("verify: false"), 200);
}
