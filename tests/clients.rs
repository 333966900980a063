//! Clients of other people: curl, nghttp2's, Python's, gRPC's, a browser. `scripts/test.sh` installs them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axum::body::Body;
use axum::response::Response;
use support::{Edge, Origin, Process, Seen, certificate, run, wait_until};

/// An edge with a certificate that clients can trust, and an access log.
struct Ground {
    edge: Edge,
    folder: tempfile::TempDir,
    certificate: PathBuf,
}

impl Ground {
    fn new(origin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = certificate(folder.path(), "edge", "www.example.com");
        let edge = Edge::start(&format!(
            "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
tls: {{ certificates: [{{ cert: {}, key: {} }}] }}
access_log: {{ to: {} }}
regions: {{ here: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: tcp }} }} }}
",
            cert.display(),
            key.display(),
            folder.path().join("log").display()
        ));
        Self {
            edge,
            folder,
            certificate: cert,
        }
    }

    fn url(&self, path: &str) -> String {
        let port = self.edge.address("https").port();
        format!("https://www.example.com:{port}{path}")
    }

    /// Runs a client of `tests/clients` in one of its modes.
    fn python(&self, script: &str, mode: &str) {
        let port = self.edge.address("https").port().to_string();
        let mut client = python(script, mode);
        let said = run(client.arg(port).arg(&self.certificate));
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("all is well"), "{said}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn python(script: &str, mode: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join("target/clients/bin/python");
    assert!(interpreter.exists(), "scripts/test.sh makes target/clients");
    let mut command = Command::new(interpreter);
    command
        .arg(root.join("tests/clients").join(script))
        .arg(mode);
    command
}

/// An origin of `tests/clients`, and its port.
fn origin(script: &str) -> (Process, u16) {
    let mut process = Process::start(&mut python(script, "origin"));
    process.wait_for(" now");
    let said = process.said();
    let port = said.split("listening on ").nth(1).unwrap();
    let port = port.split(' ').next().unwrap().parse().unwrap();
    (process, port)
}

#[test]
fn python_s_websockets_talk_over_http1() {
    let (_origin, port) = origin("websocket.py");
    Ground::new(&format!("http://127.0.0.1:{port}")).python("websocket.py", "http1");
}

#[test]
fn python_s_h2_opens_a_websocket_over_http2() {
    let (_origin, port) = origin("websocket.py");
    Ground::new(&format!("http://127.0.0.1:{port}")).python("websocket.py", "http2");
}

#[test]
fn a_browser_opens_a_websocket_on_its_http2_connection() {
    let (mut origin, port) = origin("websocket.py");
    let ground = Ground::new(&format!("http://127.0.0.1:{port}"));
    let profile = ground.folder.path().join("profile");
    let _browser = Process::start(
        Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-dev-shm-usage", "--ignore-certificate-errors"])
            .args(["--remote-debugging-port=0"])
            .arg("--host-resolver-rules=MAP www.example.com 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(ground.url("/page")),
    );
    origin.wait_for("asked for /heard?hello");
    drop(_browser);
    let is_over_http2 = |line: &str| {
        line.contains(r#""protocol":"HTTP/2""#) && line.contains(r#""method":"CONNECT""#)
    };
    assert!(
        wait_until(|| ground.log().lines().any(is_over_http2)),
        "{}",
        ground.log()
    );
}

#[test]
fn grpc_calls_of_every_kind_pass_with_status_trailers_and_deadlines() {
    let (mut origin, port) = origin("grpc_calls.py");
    let ground = Ground::new(&format!("h2c://127.0.0.1:{port}"));
    ground.python("grpc_calls.py", "client");
    origin.wait_for("the call was given up");
}

#[test]
fn nghttp_and_h2load_get_every_answer_on_few_connections() {
    let origin = Origin::start("o");
    let ground = Ground::new(&origin.url());
    let url = ground.url("/").replace("www.example.com", "127.0.0.1");
    let host = "--header=:authority: www.example.com";
    let one = run(Command::new("nghttp").args(["-v", "--no-dep", host, &url]));
    let one = String::from_utf8_lossy(&one.stdout).into_owned();
    assert!(one.contains(":status: 200"), "{one}");
    let announced = "SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1";
    assert!(
        one.contains(announced) || one.contains("UNKNOWN(0x08):1"),
        "{one}"
    );
    // RFC 7541 §4.2: a client that keeps no table hears so.
    let without = ["--header-table-size=0", host, &url];
    let without = run(Command::new("nghttp").arg("-v").args(without));
    let without = String::from_utf8_lossy(&without.stdout).into_owned();
    assert!(without.contains(":status: 200"), "{without}");
    let many = run(Command::new("h2load").args(["-n", "2000", "-c", "4", "-m", "50", host, &url]));
    let many = String::from_utf8_lossy(&many.stdout).into_owned();
    assert!(
        many.contains("2000 succeeded, 0 failed, 0 errored"),
        "{many}"
    );
    assert!(many.contains("status codes: 2000 2xx"), "{many}");
}

/// What an origin says of what HTTP has more than GET for.
fn semantics(seen: &Seen) -> Response<Body> {
    let answer = Response::builder();
    let answer = match (seen.method.as_str(), seen.uri.as_str()) {
        ("HEAD", _) => answer.header("content-length", "1234"),
        ("OPTIONS", _) => answer.status(204).header("allow", "GET, HEAD"),
        (_, "/same") => answer.status(304).header("etag", "\"1\""),
        (_, "/part") => {
            assert_eq!(seen.header("range"), "bytes=2-4");
            let part = answer.status(206).header("content-range", "bytes 2-4/9");
            return part.body(Body::from("cde")).unwrap();
        }
        (_, path) => return answer.body(Body::from(path.to_owned())).unwrap(),
    };
    answer.body(Body::empty()).unwrap()
}

#[test]
fn head_204_304_range_and_options_are_passed_on_as_they_are() {
    let origin = Origin::start("o");
    origin.set_answer(semantics);
    let edge = Ground::new(&origin.url()).edge;
    for version in ["--http1.0", "--http1.1", "--http2"] {
        let ask = |path: &str, more: &[&str]| {
            edge.curl("www.example.com", path, &[&[version], more].concat())
        };
        let head = ask("/", &["--head"]);
        assert_eq!((head.status, head.header("content-length")), (200, "1234"));
        let options = ask("/", &["--request", "OPTIONS"]);
        assert_eq!(
            (options.status, options.header("allow")),
            (204, "GET, HEAD")
        );
        let same = ask("/same", &["-H", "If-None-Match: \"1\""]);
        assert_eq!(
            (same.status, same.header("etag"), &*same.body),
            (304, "\"1\"", "")
        );
        let part = ask("/part", &["--range", "2-4"]);
        assert_eq!((part.status, &*part.body), (206, "cde"));
        assert_eq!(part.header("content-range"), "bytes 2-4/9");
        ask("/", &["--request", "OPTIONS", "--request-target", "*"]);
        let seen = origin.seen().pop().unwrap();
        assert_eq!((&*seen.method, &*seen.uri), ("OPTIONS", "*"), "{version}");
    }
    for version in ["--http1.0", "--http1.1"] {
        let target = ["--request-target", "http://www.example.com/abs?q", version];
        let absolute = edge.curl("www.example.com", "/", &target);
        assert_eq!((absolute.status, &*absolute.body), (200, "/abs?q"));
        assert_eq!(
            origin.seen().pop().unwrap().header("host"),
            "www.example.com"
        );
    }
}

#[test]
fn an_answer_that_nobody_reads_stops_its_origin_whatever_is_spoken() {
    for version in ["--http1.1", "--http2"] {
        let (sent, origin) = endless();
        let ground = Ground::new(&format!("http://{origin}"));
        let resolve = ground.url("").replace("https://www.example.com:", "");
        let mut client = Command::new("curl")
            .args(["-sSk", version, "--limit-rate", "1"])
            .args(["--resolve", &format!("www.example.com:{resolve}:127.0.0.1")])
            .arg(ground.url("/"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let load = || sent.load(std::sync::atomic::Ordering::SeqCst);
        // The origin's writes stop once every buffer between it and the client is full.
        let mut last = 0;
        assert!(wait_until(|| {
            std::thread::park_timeout(std::time::Duration::from_secs(1));
            let now = load();
            now > 0 && now == std::mem::replace(&mut last, now)
        }));
        assert!(load() < 64 << 20, "{version}: {} bytes", load());
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

/// An origin whose answer never ends, and how much of it was written.
fn endless() -> (
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
    std::net::SocketAddr,
) {
    let sent = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let counted = sent.clone();
    let origin = support::raw_origin(move |mut stream, _| {
        let stream = stream.get_mut();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
        let chunk = vec![0; 64 << 10];
        while stream.write_all(&chunk).is_ok() {
            counted.fetch_add(chunk.len(), std::sync::atomic::Ordering::SeqCst);
        }
    });
    (sent, origin)
}
