//! The access log of a real edge: what its lines say of requests of every kind and end, that secrets are
//! not in it, and that nobody waits for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Edge, Origin, connect, get, meridian, raw_origin, read_head, run, wait_until};

/// An edge whose log is a file in its folder.
struct Logging {
    edge: Edge,
}

fn yaml(origins: &[(&str, String)], log: &str, service: &str) -> String {
    let regions: Vec<String> = origins
        .iter()
        .map(|(name, url)| format!("{name}: {{ location: [0, 0], origins: ['{url}'] }}"))
        .collect();
    format!(
        "node: {{ name: fra-1, drain_timeout: 1s }}
listen:
  https: ['127.0.0.1:0']
  http: ['127.0.0.1:0']
  http_mode: serve
  admin: '127.0.0.1:0'
  timeouts: {{ headers: 1s }}
access_log: {{ to: access.log{log} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ {} }}
services:
  www:
    hosts: [www.example.com]
    health: {{ interval: 10m }}
    steering: {{ policy: priority }}
{service}",
        regions.join(", ")
    )
}

impl Logging {
    fn start(origins: &[(&str, String)], log: &str, service: &str) -> Self {
        let edge = Edge::start(&yaml(origins, log, service));
        Self { edge }
    }

    fn of(origin: &Origin, log: &str) -> Self {
        Self::start(&[("here", origin.url())], log, "")
    }

    fn file(&self) -> PathBuf {
        self.edge.folder.path().join("access.log")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// The first lines, once there are so many.
    #[track_caller]
    fn lines(&self, count: usize) -> Vec<Value> {
        assert!(
            wait_until(|| self.text().lines().count() >= count),
            "{count} lines are expected in\n{}",
            self.text()
        );
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.edge.address("http")).unwrap();
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    /// All that comes back until the edge ends the connection.
    fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }
}

#[track_caller]
fn check(line: &Value, expected: &[(&str, Value)]) {
    for (pointer, value) in expected {
        assert_eq!(line.pointer(pointer), Some(value), "{pointer} in\n{line:#}");
    }
}

/// A phase, in ms.
#[track_caller]
fn ms(line: &Value, pointer: &str) -> f64 {
    let value = line.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {pointer} in\n{line:#}"))
}

#[test]
fn a_request_of_either_version_is_one_line_with_all_that_is_known_of_it() {
    let origin = Origin::start("hello");
    let log = Logging::of(
        &origin,
        ", request_headers: [User-Agent, X-None], response_headers: [Meridian-Region]",
    );
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let common = [
        "-H",
        trace,
        "-H",
        "X-Request-Id: abc",
        "-A",
        "tester/1",
        "-d",
        "12345",
    ];
    for version in ["--http1.1", "--http2"] {
        let arguments = [&common[..], &[version]].concat();
        let answer = log.edge.curl("www.example.com", "/a?b=c", &arguments);
        assert_eq!((answer.status, &*answer.body), (200, "hello"));
    }
    let lines = log.lines(2);
    assert_eq!(lines.len(), 2);
    let seen = origin.seen();
    for ((line, seen), version) in lines.iter().zip(&seen).zip(["HTTP/1.1", "HTTP/2"]) {
        check(
            line,
            &[
                ("/node", "fra-1".into()),
                ("/client", "127.0.0.1".into()),
                ("/protocol", version.into()),
                ("/scheme", "https".into()),
                ("/method", "POST".into()),
                ("/path", "/a?b=c".into()),
                ("/status", 200.into()),
                ("/termination", "completed".into()),
                ("/ended_by", "origin".into()),
                ("/detail", Value::Null),
                ("/service", "www".into()),
                ("/region", "here".into()),
                ("/origin", origin.url().into()),
                ("/access", "write".into()),
                ("/decision/verdict", "steered".into()),
                ("/decision/rule", "policy".into()),
                ("/decision/reason", "number 1 as listed".into()),
                ("/affinity", Value::Null),
                ("/consistency", Value::Null),
                ("/request_bytes", 5.into()),
                ("/response_bytes", 5.into()),
                ("/attempts_made", 1.into()),
                ("/attempts/0/region", "here".into()),
                ("/attempts/0/result", "answered".into()),
                ("/attempts/0/status", 200.into()),
                ("/tls/version", "TLSv1.3".into()),
                ("/tls/sni", "www.example.com".into()),
                ("/tls/resumed", false.into()),
                ("/request_id", "abc".into()),
                ("/trace_id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
                ("/request_headers/user-agent", "tester/1".into()),
                ("/request_headers/x-none", Value::Null),
                ("/response_headers/meridian-region", "here".into()),
            ],
        );
        let alpn = if version == "HTTP/2" {
            "h2"
        } else {
            "http/1.1"
        };
        check(line, &[("/tls/alpn", alpn.into())]);
        let cipher = line["tls"]["cipher"].as_str().unwrap();
        assert!(cipher.starts_with("TLS_"), "{cipher}");
        let span = line["span_id"].as_str().unwrap();
        assert!(seen.header("traceparent").contains(span), "{span}");
        let host = line["host"].as_str().unwrap();
        assert!(host.starts_with("www.example.com:"), "{host}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        let phases = line["phases"].as_object().unwrap();
        let after_head = phases.iter().filter(|(phase, _)| *phase != "head_ms");
        let sum: f64 = after_head.map(|(_, ms)| ms.as_f64().unwrap()).sum();
        let whole = ms(line, "/duration_ms");
        assert!((sum - whole).abs() < 0.01, "{sum} {whole}\n{line:#}");
    }
    check(&lines[0], &[("/attempts/0/connection", "new".into())]);
    assert!(lines[0]["phases"]["head_ms"].is_number());
    check(&lines[1], &[("/phases/head_ms", Value::Null)]);
    // RFC 3339, §5.6.
    let time = lines[0]["time"].as_str().unwrap();
    let form: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z");
}

#[test]
fn a_failover_shows_every_try_in_its_order() {
    let (mut near, far) = (Origin::start("near"), Origin::start("far"));
    let log = Logging::start(&[("near", near.url()), ("far", far.url())], "", "");
    assert_eq!(log.edge.curl("www.example.com", "/", &[]).body, "near");
    near.stop();
    assert_eq!(log.edge.curl("www.example.com", "/", &[]).body, "far");
    let line = &log.lines(2)[1];
    check(
        line,
        &[
            ("/region", "far".into()),
            ("/origin", far.url().into()),
            ("/status", 200.into()),
            ("/attempts_made", 2.into()),
            ("/attempts/0/region", "near".into()),
            ("/attempts/0/origin", near.url().into()),
            ("/attempts/0/status", Value::Null),
            ("/attempts/1/region", "far".into()),
            ("/attempts/1/result", "answered".into()),
            ("/decision/reason", "number 2 as listed".into()),
        ],
    );
    let first = line["attempts"][0]["result"].as_str().unwrap();
    assert!(
        ["unreachable", "broken-origin"].contains(&first),
        "{line:#}"
    );
    assert!(ms(line, "/phases/wait_ms") >= ms(line, "/attempts/0/duration_ms"));
}

#[test]
fn what_the_edge_refuses_is_logged_with_its_reason() {
    let origin = Origin::start("here");
    let log = Logging::of(&origin, "");
    log.say(b"GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n");
    log.say(b"GARBAGE\r\n\r\n");
    log.say(b"GET / HT");
    let huge = "x".repeat(70 << 10);
    log.say(
        format!(
            "GET / HTTP/1.1\r\nHost: www.example.com\r\nX: {huge}\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    );
    let lines = log.lines(4);
    let ends: Vec<_> = lines
        .iter()
        .map(|line| {
            let of = |key: &str| line[key].as_str().unwrap().to_owned();
            (
                line["status"].as_u64().unwrap(),
                of("termination"),
                of("ended_by"),
            )
        })
        .collect();
    let expected = [
        (421, "unknown-host"),
        (400, "malformed"),
        (408, "stalled"),
        (431, "headers-too-large"),
    ];
    let expected = expected.map(|(status, how)| (status, how.to_owned(), "client".to_owned()));
    assert_eq!(ends, expected);
    for line in &lines {
        assert!(!line["detail"].as_str().unwrap().is_empty());
        assert!(!line["request_id"].as_str().unwrap().is_empty());
        check(
            line,
            &[("/client", "127.0.0.1".into()), ("/region", Value::Null)],
        );
    }
    check(
        &lines[1],
        &[("/method", Value::Null), ("/path", Value::Null)],
    );
    assert!(ms(&lines[2], "/phases/head_ms") >= 1000.0);
}

/// Answers a request for a WebSocket, then sends back what comes, in capitals.
fn shouting() -> SocketAddr {
    raw_origin(|mut stream, _| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.get_mut().write_all(head).unwrap();
        let mut chunk = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            let louder = chunk[..length].to_ascii_uppercase();
            stream.get_mut().write_all(&louder).unwrap();
        }
    })
}

#[test]
fn a_websocket_is_logged_at_its_end_with_what_passed_through_it() {
    let log = Logging::start(&[("here", format!("http://{}", shouting()))], "", "");
    let mut stream = std::io::BufReader::new(log.connect());
    let head = b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.get_mut().write_all(head).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream.get_mut().write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"HELLO");
    assert_eq!(log.text(), "", "it has not ended");
    drop(stream);
    check(
        &log.lines(1)[0],
        &[
            ("/status", 101.into()),
            ("/path", "/chat".into()),
            ("/request_bytes", 5.into()),
            ("/response_bytes", 5.into()),
            ("/termination", "completed".into()),
            ("/region", "here".into()),
        ],
    );
    assert_eq!(log.lines(1).len(), 1, "one line, not one for each end");
}

#[test]
fn a_websocket_that_says_nothing_is_ended_by_the_edge() {
    let idle = "    timeouts: { idle: 300ms }\n";
    let log = Logging::start(&[("here", format!("http://{}", shouting()))], "", idle);
    let head = b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(log.say(head).starts_with("HTTP/1.1 101 "));
    let line = &log.lines(1)[0];
    let end = [
        ("/termination", "idle-timeout".into()),
        ("/ended_by", "edge".into()),
    ];
    check(line, &end);
    assert!(ms(line, "/duration_ms") >= 300.0);
}

/// Begins an answer and never ends it, until the connection is gone.
fn dripping() -> SocketAddr {
    raw_origin(|mut stream, head| {
        let length = if head.starts_with("GET /torn") {
            "100"
        } else {
            "1000000"
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n0123456789");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        if length == "1000000" {
            let _ = stream.read(&mut [0; 1]); // Until the edge gives up on it.
        }
    })
}

#[test]
fn who_broke_off_an_answer_is_told() {
    let log = Logging::start(&[("here", format!("http://{}", dripping()))], "", "");
    let said = log.say(b"GET /torn HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    assert!(said.ends_with("0123456789"), "{said}");
    check(
        &log.lines(1)[0],
        &[
            ("/status", 200.into()),
            ("/termination", "origin-closed".into()),
            ("/ended_by", "origin".into()),
            ("/response_bytes", 10.into()),
        ],
    );
    let mut stream = log.connect();
    stream
        .write_all(b"GET /left HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    drop(stream);
    let left: [(&str, Value); 3] = [
        ("/status", 200.into()),
        ("/termination", "client-closed".into()),
        ("/ended_by", "client".into()),
    ];
    check(&log.lines(2)[1], &left);
    let https = log.edge.address("https");
    let url = format!("https://www.example.com:{}/left", https.port());
    let resolve = format!("www.example.com:{}:127.0.0.1", https.port());
    let mut curl = Command::new("curl");
    curl.args([
        "-sk",
        "--http2",
        "--max-time",
        "1",
        "--resolve",
        &resolve,
        &url,
    ]);
    assert!(!curl.output().unwrap().status.success());
    let line = &log.lines(3)[2];
    check(line, &left);
    check(
        line,
        &[
            ("/protocol", "HTTP/2".into()),
            ("/response_bytes", 10.into()),
        ],
    );
}

#[test]
fn a_client_that_leaves_before_the_answer_is_logged_without_a_status() {
    let origin = Origin::start("here");
    origin.set_pause(Duration::from_secs(60));
    let log = Logging::of(&origin, "");
    let mut stream = log.connect();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    assert!(wait_until(|| origin.is_asked()));
    drop(stream);
    check(
        &log.lines(1)[0],
        &[
            ("/status", Value::Null),
            ("/termination", "client-closed".into()),
            ("/service", "www".into()),
            ("/region", Value::Null),
            ("/attempts/0/result", "given-up".into()),
        ],
    );
}

#[test]
fn what_a_drain_cuts_off_has_not_lost_its_client() {
    let mut log = Logging::start(&[("here", format!("http://{}", dripping()))], "", "");
    let mut stream = log.connect();
    stream
        .write_all(b"GET /left HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    log.edge.process.signal("TERM");
    assert_eq!(log.edge.process.wait(), 0);
    check(
        &log.lines(1)[0],
        &[
            ("/termination", "drain-timeout".into()),
            ("/ended_by", "edge".into()),
        ],
    );
}

#[test]
fn what_reading_a_kept_body_takes_is_told_where_it_fails() {
    let origin = Origin::start("here");
    let retries = "    retries: { methods: idempotent }";
    let log = Logging::start(&[("here", origin.url())], "", retries);
    let head = "PUT / HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    let said = log.say(format!("{head}3\r\nabc\r\nxyz\r\n").as_bytes());
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    let line = &log.lines(1)[0];
    assert!(line["phases"]["request_body_ms"].is_number(), "{line}");
}

#[test]
fn answers_without_a_body_are_completed() {
    let origin = Origin::start("here");
    origin.set_answer(|seen| {
        let status = if seen.uri == "/none" { 204 } else { 200 };
        let body = if status == 204 { "" } else { "text" };
        let response = axum::response::Response::builder().status(status);
        response.body(body.into()).unwrap()
    });
    let log = Logging::of(&origin, "");
    for version in ["--http1.1", "--http2"] {
        log.edge.curl("www.example.com", "/", &["-I", version]);
        log.edge.curl("www.example.com", "/none", &[version]);
    }
    let unknown = log.edge.address("http");
    run(Command::new("curl").args(["-sSI", &format!("http://{unknown}/")]));
    for line in log.lines(5) {
        let how = if line["status"] == 421 {
            "unknown-host"
        } else {
            "completed"
        };
        check(
            &line,
            &[("/termination", how.into()), ("/response_bytes", 0.into())],
        );
    }
}

#[test]
fn secrets_are_not_in_the_log() {
    let origin = Origin::start("here");
    origin.set_answer(|_| {
        axum::response::Response::builder()
            .header("set-cookie", "session=HUNTER2")
            .header("location", "/cb?code=HUNTER2&page=1")
            .body("".into())
            .unwrap()
    });
    let log = Logging::of(
        &origin,
        ", request_headers: [Cookie, Authorization, Proxy-Authorization, Meridian-Token, X-Api-Key, Referer]
  , response_headers: [Set-Cookie, Location]",
    );
    let mut arguments = Vec::new();
    for header in [
        "Cookie: a=HUNTER2",
        "Authorization: Bearer HUNTER2",
        "Proxy-Authorization: Basic HUNTER2",
        "Meridian-Token: HUNTER2",
        "X-Api-Key: HUNTER2",
        "Referer: https://a.example/?token=HUNTER2",
    ] {
        arguments.extend(["-H", header]);
    }
    let path = "/a?page=1&access_token=HUNTER2&%73ig=HUNTER2";
    log.edge.curl("www.example.com", path, &arguments);
    let line = &log.lines(1)[0];
    check(
        line,
        &[
            (
                "/path",
                "/a?page=1&access_token=REDACTED&%73ig=REDACTED".into(),
            ),
            ("/request_headers/cookie", "REDACTED".into()),
            ("/request_headers/authorization", "REDACTED".into()),
            ("/request_headers/proxy-authorization", "REDACTED".into()),
            ("/request_headers/meridian-token", "REDACTED".into()),
            (
                "/request_headers/referer",
                "https://a.example/?token=REDACTED".into(),
            ),
            ("/response_headers/set-cookie", "REDACTED".into()),
            (
                "/response_headers/location",
                "/cb?code=REDACTED&page=1".into(),
            ),
        ],
    );
    assert!(!log.text().contains("HUNTER2"), "{}", log.text());
}

#[test]
fn no_client_can_write_a_line_of_its_own() {
    let origin = Origin::start("here");
    let log = Logging::of(&origin, ", request_headers: [User-Agent, X-Forged]");
    let mut head = b"GET /%0a%22}?q=%0d%0a HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\nUser-Agent: ".to_vec();
    head.extend_from_slice(
        b"\",\"status\":999,\"a\":\"\\\xff\xc2\x9b\xe2\x80\xa8\x09\r\nX-Forged: {\"a\":1}\r\n\r\n",
    );
    let said = log.say(&head);
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let lines = log.lines(1);
    assert_eq!(lines.len(), 1);
    check(
        &lines[0],
        &[
            ("/status", 200.into()),
            ("/path", "/%0a%22}?q=%0d%0a".into()),
            ("/request_headers/x-forged", "{\"a\":1}".into()),
            (
                "/request_headers/user-agent",
                "\",\"status\":999,\"a\":\"\\\u{fffd}\u{fffd}\u{2028}".into(),
            ),
        ],
    );
}

#[test]
fn a_file_that_is_rotated_away_is_made_anew() {
    let origin = Origin::start("here");
    let log = Logging::of(&origin, "");
    log.edge.curl("www.example.com", "/one", &[]);
    check(&log.lines(1)[0], &[("/path", "/one".into())]);
    let old = log.file().with_extension("log.1");
    std::fs::rename(log.file(), &old).unwrap();
    log.edge.curl("www.example.com", "/two", &[]);
    check(&log.lines(1)[0], &[("/path", "/two".into())]);
    assert_eq!(std::fs::read_to_string(old).unwrap().lines().count(), 1);
    // copytruncate: the same file, from its start.
    std::fs::write(log.file(), "").unwrap();
    log.edge.curl("www.example.com", "/three", &[]);
    check(&log.lines(1)[0], &[("/path", "/three".into())]);
    std::fs::remove_file(log.file()).unwrap();
    log.edge.curl("www.example.com", "/four", &[]);
    check(&log.lines(1)[0], &[("/path", "/four".into())]);
}

#[test]
fn a_reload_turns_the_log_on_and_off_and_to_another_file() {
    let origin = Origin::start("here");
    let with = yaml(&[("here", origin.url())], "", "");
    let without = with.replace("access_log:", "# access_log:");
    let edge = Edge::start(&without);
    let log = Logging { edge };
    let turn = |yaml: &str| {
        log.edge.write(yaml);
        let (status, said) = log.edge.admin("POST", "/api/v1/reload", "");
        assert_eq!(status, 200, "{said}");
    };
    log.edge.curl("www.example.com", "/off", &[]);
    turn(&with);
    log.edge.curl("www.example.com", "/on", &[]);
    check(&log.lines(1)[0], &[("/path", "/on".into())]);
    turn(&with.replace("access.log", "other.log"));
    log.edge.curl("www.example.com", "/other", &[]);
    let other = log.edge.folder.path().join("other.log");
    let read = || std::fs::read_to_string(&other).unwrap_or_default();
    assert!(wait_until(|| read().contains("/other")), "{}", read());
    turn(&without);
    log.edge.curl("www.example.com", "/off", &[]);
    turn(&with);
    log.edge.curl("www.example.com", "/again", &[]);
    check(&log.lines(2)[1], &[("/path", "/again".into())]);
    assert_eq!(read().lines().count(), 1);
    log.edge
        .write(&with.replace("access.log", "no/such/folder.log"));
    let (status, said) = log.edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(status, 422, "{said}");
    assert!(said.to_string().contains("access_log: "), "{said}");
}

#[test]
fn of_a_sample_whatever_went_wrong_is_kept() {
    let origin = Origin::start("here");
    origin.set_answer(|seen| {
        let status = if seen.uri == "/bad" { 500 } else { 200 };
        let response = axum::response::Response::builder().status(status);
        response.body("".into()).unwrap()
    });
    let log = Logging::of(&origin, ", sample: 0%, query: none");
    for path in ["/good", "/bad", "/good?a=b"] {
        log.edge.curl("www.example.com", path, &[]);
    }
    log.say(b"GARBAGE\r\n\r\n");
    let lines = log.lines(2);
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(500), Some(400)]);
}

#[test]
fn a_read_with_a_token_says_how_it_was_served_and_how_long_it_waited() {
    let origin = Origin::start("here");
    origin.set_answer(|seen| {
        let response = axum::response::Response::builder();
        let response = match &*seen.method {
            "POST" => response.header("meridian-committed", "5"),
            _ if seen.uri == "/behind" => response.header("meridian-applied", "here=4"),
            _ => response.header("meridian-applied", "here=5"),
        };
        response.body("".into()).unwrap()
    });
    let service =
        "    consistency: { read_your_writes: true, wait: 200ms }\n    affinity: { by: cookie }\n";
    let log = Logging::start(&[("here", origin.url())], "", service);
    let answer = log.edge.curl("www.example.com", "/", &["-X", "POST"]);
    let token = format!("Meridian-Token: {}", answer.header("meridian-token"));
    let cookie = answer.cookie("__Host-meridian_region_www");
    // In this order: what every region is known to have, a read need not show any more.
    log.edge.curl("www.example.com", "/behind", &["-H", &token]);
    log.edge
        .curl("www.example.com", "/fresh", &["-H", &token, "-b", &cookie]);
    let lines = log.lines(3);
    check(
        &lines[0],
        &[
            ("/consistency", Value::Null),
            ("/access", "write".into()),
            ("/affinity", "new".into()),
        ],
    );
    check(&lines[1], &[("/consistency", "stale".into())]);
    assert!(
        lines[1]["attempts_made"].as_u64().unwrap() >= 2,
        "{:#}",
        lines[1]
    );
    check(
        &lines[2],
        &[
            ("/consistency", "fresh".into()),
            ("/access", "read".into()),
            ("/affinity", "kept".into()),
        ],
    );
}

#[test]
fn nobody_waits_for_a_log_that_nobody_reads() {
    let origin = Origin::start("here");
    let names: Vec<String> = (0..12).map(|number| format!("X-{number}")).collect();
    let wanted = format!(", request_headers: [{}]", names.join(", "));
    let yaml = yaml(&[("here", origin.url())], &wanted, "").replace("access.log", "stdout");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
    let stderr = folder.path().join("stderr");
    let mut child = meridian()
        .args(["serve", "--config"])
        .arg(folder.path().join("edge.yaml"))
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .env("NO_COLOR", "1")
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&stderr).unwrap();
    assert!(wait_until(|| said().contains(" ready")), "{}", said());
    let http = support::listening(&said(), "http");
    let admin = support::listening(&said(), "admin");
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\n",
        "--max-time",
        "60",
    ]);
    command.args(["-H", "Host: www.example.com"]);
    for name in &names {
        command.args(["-H", &format!("{name}: {}", "x".repeat(4096))]);
    }
    // 400 lines of 50 kB are far more than the pipe and the edge hold.
    command.arg(format!("http://{http}/[1-400]"));
    let answers = String::from_utf8(run(&mut command).stdout).unwrap();
    assert_eq!(answers.matches("200").count(), 400, "{answers}");
    let (_, metrics) = support::admin(admin, "GET", "/metrics", "");
    let dropped = "meridian_access_log_lines_total{outcome=\"dropped\"} ";
    let metrics = metrics.as_str().unwrap();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix(dropped));
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    assert!((100..400).contains(&dropped), "{dropped}");
    run(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]));
    let mut status = None;
    assert!(wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    }));
    assert!(status.unwrap().success());
}

#[test]
fn a_full_disk_costs_lines_and_no_answer_and_is_told_once() {
    let origin = Origin::start("here");
    let yaml = yaml(&[("here", origin.url())], "", "").replace("access.log", "/dev/full");
    let mut edge = Edge::start(&yaml);
    let failed = || edge.counted("meridian_access_log_lines_total", &["outcome=\"failed\""]);
    let mut client = connect(edge.address("http"));
    for number in 1..=3 {
        get(&mut client).unwrap();
        assert!(wait_until(|| failed() == number), "{number}");
    }
    edge.process.wait_for("the access log cannot be written");
    let said = edge.process.said();
    assert_eq!(said.matches("cannot be written").count(), 1, "{said}");
    assert!(
        said.contains("/dev/full") && said.contains("No space left"),
        "{said}"
    );
}

#[test]
fn lines_on_stdout_are_nothing_but_json() {
    let origin = Origin::start("here");
    let yaml = yaml(&[("here", origin.url())], "", "").replace("access.log", "stdout");
    let edge = Edge::start(&yaml);
    edge.curl("www.example.com", "/a", &[]);
    let line = || {
        let said = edge.process.said();
        let line = said.lines().find(|line| line.starts_with('{'))?;
        serde_json::from_str::<Value>(line).ok()
    };
    assert!(wait_until(|| line().is_some()), "{}", edge.process.said());
    check(&line().unwrap(), &[("/path", "/a".into())]);
}
