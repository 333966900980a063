//! The access log of a real edge: what its lines say of requests of every kind, and that secrets are not in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod access_log_support;
mod support;

use access_log_support::{Logging, check, ms};
use serde_json::Value;
use support::Origin;

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
    let huge = "x".repeat(70 << 10);
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: www.example.com\r\nX: {huge}\r\nConnection: close\r\n\r\n"
    );
    let said = [
        &b"GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"[..],
        b"GARBAGE\r\n\r\n",
        b"GET / HT",
        huge.as_bytes(),
    ]
    .map(|request| log.say(request));
    let lines = log.lines(4);
    for (line, said) in lines.iter().zip(said) {
        let (_, body) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(line["response_bytes"], body.len(), "{said}");
    }
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
