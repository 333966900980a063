//! Certificates: chosen by SNI, swapped without dropping a connection, and verified towards origins.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Edge, Origin, TlsOrigin, certificate, s_client, wait_until};

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
    shown_to(edge, name, &[])
}

/// The same for a client of such abilities.
fn shown_to(edge: &Edge, name: &str, able: &[&str]) -> String {
    let address = edge.address("https").to_string();
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", name])
        .args(able)
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

/// A certificate of a name with an RSA key.
fn rsa(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.join("rsa.pem"), folder.join("rsa.key"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365",
    ]);
    openssl.args([
        "-subj",
        "/CN=rsa",
        "-addext",
        &format!("subjectAltName=DNS:{name}"),
    ]);
    let made = support::run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert));
    assert!(made.status.success());
    (cert, key)
}

#[test]
fn of_two_certificates_of_a_name_a_client_is_shown_the_first_whose_key_it_can_use() {
    const OF_RSA: &[&[&str]] = &[
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
        &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"],
    ];
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ecdsa = certificate(folder.path(), "ecdsa", "www.example.com");
    let rsa = rsa(folder.path(), "www.example.com");
    let pairs = certificates(&[(&ecdsa.0, &ecdsa.1), (&rsa.0, &rsa.1)]);
    let edge = Edge::start(&yaml(&origin.url(), &pairs, ""));
    let of_others = shown(&edge, "www.example.com");
    for name in ["www.example.com", "unknown.example"] {
        for able in OF_RSA {
            let of_rsa = shown_to(&edge, name, able);
            assert!(of_rsa.contains("DNS:www.example.com"), "{name} {able:?}");
            assert_ne!(of_rsa, of_others, "{name} {able:?}");
        }
        assert_eq!(shown_to(&edge, name, &["-tls1_2"]), of_others);
        assert_eq!(shown_to(&edge, name, &["-tls1_3"]), of_others);
    }
}

#[test]
fn a_certificate_that_nobody_is_ever_shown_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let one = certificate(folder.path(), "one", "www.example.com");
    let two = certificate(folder.path(), "two", "www.example.com");
    let rsa = rsa(folder.path(), "www.example.com");
    let file = folder.path().join("edge.yaml");
    let pairs = certificates(&[(&one.0, &one.1), (&rsa.0, &rsa.1), (&two.0, &two.1)]);
    fs::write(&file, yaml("http://127.0.0.1:1", &pairs, "")).unwrap();
    let checked = support::run(support::meridian().args(["check", "--config"]).arg(&file));
    let said = String::from_utf8(checked.stderr).unwrap();
    let warned: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("never shown"))
        .collect();
    assert_eq!(warned.len(), 1, "{said}");
    assert!(warned[0].contains("two.pem"), "{said}");
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

#[test]
fn an_origin_s_certificate_is_verified_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "origin", "api.internal");
    let origin = TlsOrigin::start(&cert, &key, &[]);
    let url = format!("https://127.0.0.1:{}", origin.port);
    let status = |trust: &str| {
        let edge = Edge::start(&yaml(&url, &format!("origins: {{ {trust} }}"), ""));
        let status = || edge.admin("GET", "/api/v1/status", "").1;
        let state = || status()["regions"][0]["state"].clone();
        // Before it is known the origin is tried.
        assert!(wait_until(|| state() == "healthy" || state() == "unhealthy"));
        let answer = edge.curl("www.example.com", "/", &[]);
        let is_healthy = state() == "healthy";
        assert_eq!(is_healthy, answer.status == 200, "{trust}: {}", status());
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

#[test]
fn sessions_are_resumed_in_both_versions_of_tls() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "", ""));
    let folder = tempfile::tempdir().unwrap();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = folder.path().join(name).display().to_string();
        let first = s_client(&edge, &[version, "-sess_out", &session]);
        assert!(first.contains(&format!("New, {name}")), "{first}");
        let again = s_client(&edge, &[version, "-sess_in", &session]);
        assert!(again.contains(&format!("Reused, {name}")), "{again}");
        for said in [first, again] {
            assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        }
    }
    for older in ["-tls1", "-tls1_1"] {
        let refused = s_client(&edge, &[older, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!refused.contains("HTTP/1.1"), "{refused}");
    }
}

#[test]
fn keys_are_exchanged_so_that_quantum_computers_cannot_read_along() {
    use rustls::NamedGroup;
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "", ""));
    let address = edge.address("https");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let agreed = |offered: &[NamedGroup]| {
        let connector = support::trusting_anybody_with(&[b"h2"], offered);
        runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = rustls_pki_types::ServerName::try_from("www.example.com").unwrap();
            let stream = connector.connect(name, tcp).await.unwrap();
            let group = stream.get_ref().1.negotiated_key_exchange_group();
            group.unwrap().name()
        })
    };
    let (hybrid, classical) = (NamedGroup::X25519MLKEM768, NamedGroup::X25519);
    assert_eq!(agreed(&[hybrid, classical]), hybrid);
    assert_eq!(
        agreed(&[classical, hybrid]),
        classical,
        "it is the client's to begin"
    );
    assert_eq!(agreed(&[classical]), classical, "but serves who cannot");
}
