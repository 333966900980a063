//! What goes wrong at the start is one clear message and exit status 1; bad usage is 2.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use support::{Origin, Process, certificate, meridian};

fn minimal(listen: &str, more: &str) -> String {
    format!(
        "listen: {listen}
regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
{more}
"
    )
}

#[track_caller]
fn check_refused(yaml: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut edge = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    let status = edge.wait();
    let said = edge.said();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(says), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let origin = Origin::start("taken");
    let taken = origin.address;
    for protocol in ["dns", "https", "http"] {
        check_refused(
            &minimal(&format!("{{ {protocol}: ['{taken}'] }}"), ""),
            &format!(
                "listen.{protocol} {taken}: Address already in use (os error 98): another process listens there"
            ),
        );
    }
}

#[test]
fn an_address_of_another_machine_is_told_apart() {
    check_refused(
        &minimal("{ http: ['192.0.2.99:0'] }", ""),
        "no interface of this machine has the address",
    );
}

#[test]
fn a_state_dir_that_is_a_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let at = file.path().display();
    check_refused(
        &minimal(
            "{ http: ['127.0.0.1:0'] }",
            &format!("node: {{ state_dir: '{at}' }}"),
        ),
        &format!("state_dir {at}: it is a file, and a folder is expected"),
    );
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    check_refused("regions: [\n", "edge.yaml:");
    check_refused(
        "regions: { a: }\nservices: { b: { hsots: [c] } }\n",
        "did you mean `hosts`?",
    );
}

#[test]
fn a_missing_variable_is_named_with_its_line() {
    let yaml = minimal(
        "{ dns: ['127.0.0.1:0'] }",
        "admin: { token: \"${NOBODY_SETS_THIS}\" }",
    );
    check_refused(
        &yaml,
        "edge.yaml:4:17: the environment variable `NOBODY_SETS_THIS` is not set",
    );
}

#[test]
fn a_bad_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, _) = certificate(folder.path(), "one", "www.example.com");
    let (_, other_key) = certificate(folder.path(), "two", "www.example.com");
    let tls = |cert: &str, key: &str| {
        format!("tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }}")
    };
    let listen = "{ https: ['127.0.0.1:0'] }";
    let (cert, key) = (cert.display().to_string(), other_key.display().to_string());
    check_refused(
        &minimal(listen, &tls(&cert, &key)),
        "the key does not belong to the certificate",
    );
    check_refused(
        &minimal(listen, &tls("/no/such.pem", &key)),
        "/no/such.pem: No such file or directory",
    );
}

#[test]
fn a_bad_geography_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("geo.mmdb");
    std::fs::write(&file, b"not a database").unwrap();
    let geo = format!("geo: {{ database: {} }}", file.display());
    check_refused(
        &minimal("{ dns: ['127.0.0.1:0'] }", &geo),
        "geo.mmdb: not a MaxMind-format database",
    );
    check_refused(
        &minimal(
            "{ dns: ['127.0.0.1:0'] }",
            "geo: { database: /no/such.mmdb }",
        ),
        "/no/such.mmdb",
    );
}

#[test]
fn bad_usage_is_2_and_an_unknown_name_is_1() {
    let status = |arguments: &[&str]| {
        meridian()
            .args(arguments)
            .output()
            .unwrap()
            .status
            .code()
            .unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    std::fs::write(&file, minimal("{}", "")).unwrap();
    let config = file.to_str().unwrap();
    assert_eq!(status(&["serve", "--no-such-flag"]), 2);
    assert_eq!(
        status(&[
            "explain",
            "www.example.com",
            "--client",
            "nonsense",
            "--config",
            config
        ]),
        2
    );
    assert_eq!(
        status(&[
            "explain",
            "nobody.example.net",
            "--client",
            "192.0.2.1",
            "--config",
            config
        ]),
        1
    );
    assert_eq!(
        status(&[
            "explain",
            "www.example.com",
            "--client",
            "192.0.2.1",
            "--config",
            config
        ]),
        0
    );
    assert_eq!(status(&["check", "--config", config]), 0);
    assert_eq!(status(&["check", "--strict", "--config", config]), 1);
    assert_eq!(status(&["status", "--admin", "http://127.0.0.1:9"]), 1);
    assert_eq!(status(&["status", "--admin", "nonsense url"]), 2);
    assert_eq!(status(&["status", "--admin", "http://[::"]), 2);
}

#[test]
fn an_admin_address_that_is_none_is_told_whoever_says_it() {
    let folder = tempfile::tempdir().unwrap();
    let told = |arguments: &[&str], variable: &str| {
        let mut command = meridian();
        command.args(arguments).current_dir(folder.path());
        let output = command.env("MERIDIAN_ADMIN", variable).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let explain = ["explain", "www.example.com", "--client", "192.0.2.1"];
    for message in [
        told(&["status", "--admin", "http://[::"], "http://127.0.0.1:9"),
        told(&["status"], "http://[::"),
        told(&explain, "http://[::"),
    ] {
        assert!(message.contains("'http://[::'"), "{message}");
        assert!(message.contains("invalid IPv6 address"), "{message}");
        assert!(
            message.contains("such as http://127.0.0.1:9090"),
            "{message}"
        );
    }
}

#[test]
fn a_lag_that_is_none_is_told_with_the_usage_of_its_command() {
    let output = meridian()
        .args(["lab", "lag", "eu", "bad"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("invalid value 'bad' for the lag"),
        "{message}"
    );
    assert!(message.contains("Usage: meridian lab lag "), "{message}");
}

#[test]
fn whoever_reads_may_have_enough_at_any_time() {
    let command = format!("{} schema | head -1", env!("CARGO_BIN_EXE_meridian"));
    let output = std::process::Command::new("sh")
        .args(["-c", &command])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "");
}

#[test]
fn the_version_names_the_geography_data_and_its_license() {
    let said = meridian().arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains("IPtoASN of 20") && said.contains("PDDL 1.0"),
        "{said}"
    );
}

#[test]
fn completions_are_printed_for_the_common_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = meridian().args(["completions", shell]).output().unwrap();
        assert!(
            output.status.success() && output.stdout.len() > 1_000,
            "{shell}"
        );
    }
}

/// Holds up whoever opens a file, and says so: the kernel tells the holder of a lease, and waits for it (fcntl(2)).
const HOLD: &str = "
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, lambda *_: print('asked for', flush=True))
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
time.sleep(600)
";

#[test]
fn a_sighup_before_it_is_ready_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "real", "www.example.com");
    let yaml = minimal(
        "{ https: ['127.0.0.1:0'] }",
        &format!(
            "tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}",
            cert.display(),
            key.display()
        ),
    );
    let file = folder.path().join("edge.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut python = std::process::Command::new("python3");
    let mut holder = Process::start(python.args(["-c", HOLD]).arg(&cert));
    holder.wait_for("held");
    let mut edge = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    // It is at its certificates then, and waits.
    holder.wait_for("asked for");
    edge.signal("HUP");
    drop(holder);
    edge.wait_for(" ready");
}
