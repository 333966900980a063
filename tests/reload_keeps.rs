//! What a reload leaves alone because nothing of it changed, and what it does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::{Edge, Origin, Wire, WiredOrigin, certificate, connect, get, s_client, wait_until};

const HOST: &str = "www.example.com";

/// An edge before one origin, in its `round`th configuration: each tells another TTL.
fn yaml(origin: &str, round: usize, tls: &str, health: &str, more: &str) -> String {
    format!(
        "listen: {{ https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
tls: {{ {tls} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ addresses: [192.0.2.1], origins: ['{origin}'] }} }}
services:
  www: {{ hosts: [{HOST}], dns: {{ ttl: {round}s }}, health: {{ {health} }} }}
{more}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
"
    )
}

/// Has the edge take over a configuration of a `round`.
fn reload(edge: &Edge, yaml: &str, round: usize) {
    edge.write(yaml);
    let shown = || edge.kdig(&format!("{HOST} A +noall +answer"));
    let is_in_force = || shown().split_whitespace().nth(1) == Some(&round.to_string());
    assert!(wait_until(is_in_force), "{}", shown());
}

/// Checks that are no connections on which anything is asked.
const ONLY_CONNECTS: &str = "protocol: tcp, interval: 600s";

/// An origin over TLS, with this certificate.
fn tls_origin((cert, key): &(PathBuf, PathBuf)) -> WiredOrigin {
    let cert = CertificateDer::from_pem_file(cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let wire = Wire {
        tls: Some(Arc::new(config)),
        ..Wire::default()
    };
    WiredOrigin::start(wire, |_| async {
        Response::new(Full::new(Bytes::from("here")).boxed())
    })
}

fn trust(ca: &Path) -> String {
    format!("origins: {{ ca: {}, server_name: {HOST} }}", ca.display())
}

#[test]
fn connections_to_origins_outlive_a_reload_unless_it_changes_whom_the_edge_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let pair = certificate(folder.path(), "origin", HOST);
    let origin = tls_origin(&pair);
    let url = format!("https://{}", origin.address);
    let ca = folder.path().join("ca.pem");
    fs::copy(&pair.0, &ca).unwrap();
    let yaml = |round, tls: &str| yaml(&url, round, tls, ONLY_CONNECTS, "");
    let edge = Edge::start(&yaml(30, &trust(&ca)));
    // One connection of a client is one worker's of the edge, which has its own to the origin.
    let mut client = connect(edge.address("http"));
    assert_eq!(get(&mut client), Ok(true));
    for round in 31..35 {
        reload(&edge, &yaml(round, &trust(&ca)), round);
        assert_eq!(get(&mut client), Ok(true));
    }
    assert_eq!(origin.versions.lock().unwrap().len(), 1);
    // Another authority, which did not sign what the origin shows. The old connection is still open.
    let other = certificate(folder.path(), "other", HOST);
    fs::copy(other.0, folder.path().join("new.pem")).unwrap();
    fs::rename(folder.path().join("new.pem"), &ca).unwrap();
    let changes = || edge.admin("GET", "/api/v1/status", "").1["config"]["changes"].clone();
    assert!(
        wait_until(|| changes() == serde_json::json!(["tls.origins changed"])),
        "{}",
        changes()
    );
    let refused = get(&mut client).unwrap_err();
    assert!(refused.starts_with("`http/1.1 502 "), "{refused}");
}

#[test]
fn a_client_resumes_its_tls_session_after_a_reload_that_left_the_certificates_alone() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("here"));
    let edge = Edge::start(&yaml(&origin.url(), 30, "", "", ""));
    let session = folder.path().join("session").display().to_string();
    let first = s_client(&edge, &["-sess_out", &session]);
    assert!(first.contains("New, TLSv1.3"), "{first}");
    reload(&edge, &yaml(&origin.url(), 31, "", "", ""), 31);
    let again = s_client(&edge, &["-sess_in", &session]);
    assert!(again.contains("Reused, TLSv1.3"), "{again}");
    assert!(again.contains("HTTP/1.1 200 OK"), "{again}");
}

#[test]
fn a_check_that_a_reload_does_not_touch_goes_on_in_its_own_time() {
    let origin = Origin::start("here");
    let probes = |path: &str| {
        let seen = origin.seen();
        seen.iter().filter(|seen| seen.uri == path).count()
    };
    let yaml = |round, more: &str| {
        yaml(
            &origin.url(),
            round,
            "",
            "path: /first, interval: 600s",
            more,
        )
    };
    let edge = Edge::start(&yaml(30, ""));
    assert!(wait_until(|| probes("/first") == 1));
    let other = "  other: { hosts: [other.example.com], health: { path: /other } }";
    reload(&edge, &yaml(31, other), 31);
    // A check that begins probes at once.
    assert!(wait_until(|| probes("/other") > 0));
    assert_eq!(probes("/first"), 1);
}
