//! Certificates of clients and of the edge itself towards origins, and connections made for another host.

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

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use support::{Answer, Edge, Origin, TlsOrigin, certificate, meridian, wait_until};

fn yaml(origin: &str, tls: &str, listen: &str) -> String {
    format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0', {listen} }}
tls: {{ {tls} }}
regions: {{ here: {{ origins: ['{origin}'] }} }}
services:
  www: {{ hosts: [www.example.com, api.example.com], health: {{ interval: 200ms, recheck_interval: 100ms }} }}
"
    )
}

/// Somebody who signs certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca: PathBuf,
}

/// A certificate of a client, with its key.
struct Client {
    cert: PathBuf,
    key: PathBuf,
    der: String,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca = folder.join(format!("{name}.ca.pem"));
        fs::write(&ca, issuer.pem()).unwrap();
        Self { issuer, ca }
    }

    fn client(&self, folder: &Path, name: &str) -> Client {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.serial_number = Some(serial(name));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        fs::write(path("pem"), cert.pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        Client {
            cert: path("pem"),
            key: path("key"),
            der: STANDARD.encode(cert.der()),
        }
    }
}

/// Of the certificate of a client.
fn serial(name: &str) -> SerialNumber {
    SerialNumber::from_slice(name.as_bytes())
}

impl Authority {
    /// A list of these clients that is current until the end of a year, in PEM.
    fn revokes(&self, names: &[&str], until: i32) -> String {
        let revoked = names.iter().map(|name| RevokedCertParams {
            serial_number: serial(name),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 12, 31),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Asks as this client (none: without a certificate); none: there was no answer.
fn ask(edge: &Edge, client: Option<&Client>, more: &[&str]) -> Option<Answer> {
    let mut arguments: Vec<String> = more.iter().map(ToString::to_string).collect();
    if let Some(client) = client {
        let path = |path: &Path| path.display().to_string();
        arguments.extend(["--cert".into(), path(&client.cert)]);
        arguments.extend(["--key".into(), path(&client.key)]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    edge.try_curl("www.example.com", "/", &arguments)
}

const FORGED: &[&str] = &[
    "-H",
    "Client-Cert: :Zm9yZ2Vk:",
    "-H",
    "Client-Cert-Chain: :Zm9yZ2Vk:",
];

#[test]
fn only_clients_with_a_certificate_of_the_authority_are_served_and_origins_see_it() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let (anna, eve) = (
        ours.client(folder.path(), "anna"),
        theirs.client(folder.path(), "eve"),
    );
    let tls = format!("clients: {{ ca: {} }}", ours.ca.display());
    let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
    for version in ["--http1.1", "--http2"] {
        let answer = ask(&edge, Some(&anna), &[&[version], FORGED].concat());
        assert_eq!(answer.unwrap().status, 200, "{version}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.header("client-cert"), format!(":{}:", anna.der));
        assert!(!seen.headers.contains_key("client-cert-chain"));
    }
    let served = origin.seen().len();
    for tls in ["--tlsv1.3", "--tls-max=1.2"] {
        let tls: Vec<&str> = tls.split('=').collect();
        assert!(ask(&edge, None, &tls).is_none(), "{tls:?} without any");
        assert!(ask(&edge, Some(&eve), &tls).is_none(), "{tls:?} of others");
    }
    assert_eq!(origin.seen().len(), served);
    assert!(edge.counted("meridian_tls_handshakes_failed_total", &[]) >= 4);
}

#[test]
fn where_certificates_are_optional_origins_learn_whether_there_was_one() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let (anna, eve) = (
        ours.client(folder.path(), "anna"),
        theirs.client(folder.path(), "eve"),
    );
    let tls = format!("clients: {{ ca: {}, verify: optional }}", ours.ca.display());
    let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
    let told = |client| {
        let answer = ask(&edge, client, FORGED)?;
        assert_eq!(answer.status, 200);
        let seen = origin.seen().pop().unwrap();
        let told = seen.headers.get("client-cert").cloned();
        Some(told.map(|value| value.to_str().unwrap().to_owned()))
    };
    assert_eq!(told(None), Some(None), "a forged one is removed");
    assert_eq!(told(Some(&anna)), Some(Some(format!(":{}:", anna.der))));
    assert_eq!(told(Some(&eve)), None, "one that is shown is verified");
}

#[test]
fn a_resumed_session_still_says_who_the_client_is() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ours = Authority::new(folder.path(), "ours");
    let anna = ours.client(folder.path(), "anna");
    let tls = format!("clients: {{ ca: {} }}", ours.ca.display());
    let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
    let connect = |version: &str, session: [&str; 2]| {
        let mut client = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-servername", "www.example.com"])
            .args(["-connect", &edge.address("https").to_string(), version])
            .args(session)
            .arg("-cert")
            .arg(&anna.cert)
            .arg("-key")
            .arg(&anna.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
        client.stdin.take().unwrap().write_all(request).unwrap();
        String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join(version).display().to_string();
        connect(version, ["-sess_out", &session]);
        let again = connect(version, ["-sess_in", &session]);
        assert!(again.contains("Reused, TLSv1."), "{again}");
        let seen = origin.seen();
        assert_eq!(seen.len() % 2, 0, "both were served");
        let told = seen.last().unwrap().header("client-cert");
        assert_eq!(told, format!(":{}:", anna.der), "{version}");
    }
}

#[test]
fn a_trusted_proxy_s_word_about_its_clients_is_kept() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "", "trusted_proxies: [127.0.0.0/8]"));
    assert_eq!(ask(&edge, None, FORGED).unwrap().status, 200);
    let seen = origin.seen().pop().unwrap();
    assert_eq!(seen.header("client-cert"), ":Zm9yZ2Vk:");
}

#[test]
fn another_authority_is_believed_after_a_reload_and_the_old_one_no_more() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let old = Authority::new(folder.path(), "old");
    let new = Authority::new(folder.path(), "new");
    let (anna, bert) = (
        old.client(folder.path(), "anna"),
        new.client(folder.path(), "bert"),
    );
    let tls = format!("clients: {{ ca: {} }}", old.ca.display());
    let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
    assert!(ask(&edge, Some(&anna), &[]).is_some());
    assert!(ask(&edge, Some(&bert), &[]).is_none());
    fs::rename(&new.ca, &old.ca).unwrap();
    assert!(wait_until(|| ask(&edge, Some(&bert), &[]).is_some()));
    assert!(ask(&edge, Some(&anna), &[]).is_none());
}

/// An origin that serves nobody without a certificate of this authority.
fn strict_origin(folder: &Path, ca: &Path) -> TlsOrigin {
    let (cert, key) = certificate(folder, "origin", "www.example.com");
    let ca = ca.to_str().unwrap();
    let strict = ["-Verify", "2", "-verify_return_error", "-CAfile", ca];
    TlsOrigin::start(&cert, &key, &strict)
}

#[test]
fn origins_that_ask_for_a_certificate_get_the_edge_s_with_requests_and_probes() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let edge_s = ours.client(folder.path(), "edge");
    let origin = strict_origin(folder.path(), &ours.ca);
    let url = format!("https://127.0.0.1:{}", origin.port);
    let outcome = |more: &str, state: &str| {
        let edge = Edge::start(&yaml(
            &url,
            &format!("origins: {{ verify: false{more} }}"),
            "",
        ));
        let now = || {
            let (_, status) = edge.admin("GET", "/api/v1/status", "");
            status["regions"][0]["state"].clone()
        };
        assert!(wait_until(|| now() == state), "{more}: {}", now());
        edge.curl("www.example.com", "/", &[]).status
    };
    let (cert, key) = (edge_s.cert.display(), edge_s.key.display());
    let shown = format!(", cert: {cert}, key: {key}");
    assert_eq!(outcome(&shown, "healthy"), 200);
    assert!(outcome("", "unhealthy") >= 502);
}

#[test]
fn a_certificate_for_origins_needs_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, _) = certificate(folder.path(), "a", "edge");
    let file = folder.path().join("edge.yaml");
    let tls = format!("origins: {{ cert: {} }}", cert.display());
    fs::write(&file, yaml("http://127.0.0.1:1", &tls, "")).unwrap();
    let check = support::meridian()
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    assert!(!check.status.success());
    assert!(said.contains("`cert` without `key`"), "{said}");
}

#[test]
fn a_host_with_a_certificate_of_its_own_is_misdirected_on_another_s_connection() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let pair = |name: &str| {
        let (cert, key) = certificate(folder.path(), name, &format!("{name}.example.com"));
        format!("{{ cert: {}, key: {} }}", cert.display(), key.display())
    };
    let both = format!("certificates: [{}, {}]", pair("www"), pair("api"));
    let one = format!("certificates: [{}]", pair("www"));
    for version in ["--http1.1", "--http2"] {
        let edge = Edge::start(&yaml(&origin.url(), &both, ""));
        let as_host = |sni: &str, host: &str| {
            let host = format!("Host: {host}");
            edge.curl(sni, "/", &[version, "-H", &host])
        };
        let answer = as_host("www.example.com", "api.example.com");
        assert_eq!(answer.status, 421, "{}", answer.head);
        assert!(answer.body.contains("urn:meridian:problem:misdirected"));
        assert_eq!(as_host("api.example.com", "www.example.com").status, 421);
        assert_eq!(as_host("api.example.com", "api.example.com").status, 200);
        assert_eq!(as_host("www.example.com", "WWW.example.com").status, 200);
        let edge = Edge::start(&yaml(&origin.url(), &one, ""));
        let host = ["-H", "Host: api.example.com", version];
        let shared = edge.curl("www.example.com", "/", &host);
        assert_eq!(shared.status, 200, "one certificate for both");
    }
}

#[test]
fn a_client_whose_certificate_is_revoked_is_refused_and_a_new_list_counts_at_once() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ours = Authority::new(folder.path(), "ours");
    let (anna, bert) = (
        ours.client(folder.path(), "anna"),
        ours.client(folder.path(), "bert"),
    );
    let list = folder.path().join("ours.crl");
    fs::write(&list, ours.revokes(&["anna"], 2090)).unwrap();
    for verify in ["required", "optional"] {
        let tls = format!(
            "clients: {{ ca: {}, crl: [{}], verify: {verify} }}",
            ours.ca.display(),
            list.display()
        );
        fs::write(&list, ours.revokes(&["anna"], 2090)).unwrap();
        let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
        assert!(ask(&edge, Some(&anna), &[]).is_none(), "{verify}");
        assert!(ask(&edge, Some(&bert), &[]).is_some(), "{verify}");
        fs::write(&list, ours.revokes(&["bert"], 2090)).unwrap();
        assert!(wait_until(|| ask(&edge, Some(&anna), &[]).is_some()));
        assert!(ask(&edge, Some(&bert), &[]).is_none(), "{verify}");
    }
}

#[test]
fn a_list_that_has_expired_lets_nobody_of_its_issuer_in_and_is_warned_of() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ours = Authority::new(folder.path(), "ours");
    let anna = ours.client(folder.path(), "anna");
    let list = folder.path().join("ours.crl");
    fs::write(&list, ours.revokes(&[], 2021)).unwrap();
    let tls = format!(
        "clients: {{ ca: {}, crl: [{}] }}",
        ours.ca.display(),
        list.display()
    );
    let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
    assert!(ask(&edge, Some(&anna), &[]).is_none());
    let said = edge.process.said();
    assert!(
        said.contains("the revocation list of `CN=ours` has expired"),
        "{said}"
    );
    fs::write(&list, ours.revokes(&[], 2090)).unwrap();
    assert!(wait_until(|| ask(&edge, Some(&anna), &[]).is_some()));
}

#[test]
fn beside_lists_an_authority_without_one_vouches_for_nobody() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("o"));
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let (anna, eve) = (
        ours.client(folder.path(), "anna"),
        theirs.client(folder.path(), "eve"),
    );
    let both = folder.path().join("both.pem");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    fs::write(&both, read(&ours.ca) + &read(&theirs.ca)).unwrap();
    let list = folder.path().join("ours.crl");
    fs::write(&list, ours.revokes(&[], 2090)).unwrap();
    let tls = format!(
        "clients: {{ ca: {}, crl: [{}] }}",
        both.display(),
        list.display()
    );
    let edge = Edge::start(&yaml(&origin.url(), &tls, ""));
    assert!(ask(&edge, Some(&anna), &[]).is_some());
    assert!(ask(&edge, Some(&eve), &[]).is_none());
    fs::write(&list, ours.revokes(&[], 2090) + &theirs.revokes(&[], 2090)).unwrap();
    assert!(wait_until(|| ask(&edge, Some(&eve), &[]).is_some()));
}

#[test]
fn a_file_that_is_no_list_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let file = folder.path().join("edge.yaml");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("empty.crl"), "").unwrap();
    fs::write(
        path("broken.crl"),
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    )
    .unwrap();
    for (list, expected) in [
        ("ours.ca.pem", "BEGIN X509 CRL is expected"),
        ("empty.crl", "BEGIN X509 CRL is expected"),
        ("missing.crl", "No such file"),
        ("broken.crl", "no usable revocation list"),
    ] {
        let tls = format!(
            "clients: {{ ca: {}, crl: [{}] }}",
            ours.ca.display(),
            path(list)
        );
        fs::write(&file, yaml("http://127.0.0.1:1", &tls, "")).unwrap();
        let checked = meridian()
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned()
            + &String::from_utf8_lossy(&checked.stderr);
        assert!(!checked.status.success(), "{list}: {said}");
        assert!(
            said.contains(expected) && said.contains("edge.yaml:2:"),
            "{list}: {said}"
        );
    }
}
