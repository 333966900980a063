//! The admin API over TLS: whose certificate is believed, and which one is shown.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::Path;
use std::process::Command;

use support::admin_access::{curl, yaml};
use support::{Edge, Origin, Process, certificate, listening, meridian, run};

#[test]
fn an_encrypted_admin_is_reached_with_its_certificate_and_not_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start("o");
    let (first, _) = certificate(folder.path(), "first", "localhost");
    let (second, _) = certificate(folder.path(), "second", "localhost");
    let file = folder.path().join("edge.yaml");
    let write = |name: &str| {
        let admin = format!("{{ tls: {{ cert: {name}.pem, key: {name}.key }} }}");
        std::fs::write(&file, yaml(&origin.url(), &admin)).unwrap();
    };
    write("first");
    let mut process = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    process.wait_for(" ready");
    let admin = listening(&process.said(), "admin");
    let status = |scheme: &str, ca: &Path| {
        let url = format!("{scheme}://localhost:{}", admin.port());
        let mut command = meridian();
        command
            .args(["status", "--admin", &url, "--admin-ca"])
            .arg(ca);
        command.output().unwrap().status.code()
    };
    assert_eq!(status("https", &first), Some(0));
    assert_eq!(
        status("https", &second),
        Some(1),
        "another certificate is not believed"
    );
    assert_eq!(status("http", &first), Some(1));
    write("second");
    process.wait_for("configuration 2 is in force");
    assert_eq!(
        status("https", &second),
        Some(0),
        "a reload takes over the new one"
    );
}

/// A certificate as operators make them by hand.
fn made_by_openssl(folder: &Path, more: &[&str]) {
    let made = run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "365", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(more)
        .args(["-keyout", "admin.key", "-out", "admin.pem"])
        .current_dir(folder));
    assert!(made.status.success());
}

#[test]
fn a_certificate_made_by_hand_is_believed_and_one_of_a_ca_is_told_apart_from_no_edge() {
    let told = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::start("o");
        made_by_openssl(folder.path(), more);
        let admin = "{ tls: { cert: admin.pem, key: admin.key } }";
        let file = folder.path().join("edge.yaml");
        std::fs::write(&file, yaml(&origin.url(), admin)).unwrap();
        let mut process = Process::start(meridian().args(["serve", "--config"]).arg(&file));
        process.wait_for(" ready");
        let port = listening(&process.said(), "admin").port();
        let url = format!("https://localhost:{port}");
        let mut command = meridian();
        command.args(["status", "--admin", &url, "--admin-ca"]);
        let output = command
            .arg(folder.path().join("admin.pem"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(
        told(&["-addext", "basicConstraints=critical,CA:FALSE"]).0,
        Some(0)
    );
    let (code, said) = told(&[]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("is not trusted") && said.contains("CA:FALSE"),
        "{said}"
    );
}

#[test]
fn a_new_certificate_of_the_admin_s_own_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start("o");
    made_by_openssl(folder.path(), &[]);
    let file = folder.path().join("edge.yaml");
    let admin = "{ tls: { cert: admin.pem, key: admin.key } }";
    std::fs::write(&file, yaml(&origin.url(), admin)).unwrap();
    let mut process = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    process.wait_for(" ready");
    made_by_openssl(folder.path(), &[]);
    process.wait_for("is in force: admin.tls changed");
    let in_clear = format!("http://{}", listening(&process.said(), "admin"));
    let mut status = meridian();
    let output = status.args(["status", "--admin", &in_clear]).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!("error: whoever answers at {in_clear} speaks no HTTP in clear");
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn the_admin_can_show_the_certificates_of_the_edge() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start("o");
    let (cert, key) = certificate(folder.path(), "edge", "localhost");
    let certificates = format!(
        "tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}\n",
        cert.display(),
        key.display()
    );
    let edge = Edge::start(&(yaml(&origin.url(), "{ tls: edge }") + &certificates));
    let url = format!("https://localhost:{}/healthz", edge.address("admin").port());
    assert_eq!(curl(&["--cacert", cert.to_str().unwrap(), &url]).0, 200);
}
