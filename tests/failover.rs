//! How a request moves from region to region before its client sees a failure, and when it does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use support::{
    Answer, Edge, Origin, Process, free_address, raw_origin, read_head, run, wait_until, wire,
};

const HOST: &str = "www.example.com";

/// `near` first, then `far`. Both are probed at the far origin, so that only requests show what is wrong with `near`.
fn edge(near: &str, far: &Origin, service: &str) -> Edge {
    Edge::start(&format!(
        "node: {{ name: test-edge }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ near: {{ origins: ['{near}'] }}, far: {{ origins: ['{}'] }} }}
services:
  www:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    health: {{ protocol: http, port: {}, passive: off }}
    {service}
",
        far.url(),
        far.address.port()
    ))
}

/// An origin that reads a request's head and breaks off, and how many requests it has read.
fn broken() -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let address = wire(move |stream, head| {
        counted.fetch_add(u32::from(!head.is_empty()), Ordering::SeqCst);
        drop(stream);
    });
    (format!("http://{address}"), asked)
}

/// An origin that closes what is opened to it before TLS is agreed on, so that nothing is ever sent.
fn closing(opened: &Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, opened) = (listener.local_addr().unwrap(), opened.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            opened.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    format!("https://{address}")
}

/// What a test can tell apart.
fn seen(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body.as_str())
}

fn post(edge: &Edge) -> Answer {
    edge.curl(HOST, "/", &["-X", "POST"])
}

#[test]
fn what_is_never_sent_moves_on_whatever_its_method() {
    let far = Origin::start("far");
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (no_tls, _) = broken();
    for near in [format!("http://{closed}"), no_tls.replace("http", "https")] {
        let edge = edge(&near, &far, "retries: { methods: none, attempts: 0 }");
        let answer = edge.curl(HOST, "/", &["-d", "x=1"]);
        assert_eq!(seen(&answer), (200, "far"), "{near}");
        assert_eq!(far.seen().last().unwrap().body, "x=1");
    }
}

/// Puts a body of so many bytes to an origin that breaks off, with a buffer of 1 KiB.
fn put(methods: &str, length: usize) -> (u16, Vec<usize>) {
    let far = Origin::start("far");
    let (near, asked) = broken();
    let retries = format!("retries: {{ methods: {methods}, buffer: 1KiB }}");
    let edge = edge(&near, &far, &retries);
    let body = "x".repeat(length);
    let answer = edge.curl(HOST, "/", &["-X", "PUT", "-d", &body]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let lengths = far.seen().iter().map(|seen| seen.body.len()).collect();
    (answer.status, lengths)
}

#[test]
fn a_put_is_sent_again_with_its_body_up_to_the_buffer_and_never_if_only_safe_ones_are() {
    assert_eq!(put("idempotent", 1_024), (200, vec![1_024]));
    assert_eq!(put("idempotent", 1_025), (502, vec![]));
    assert_eq!(put("safe", 1), (502, vec![]));
}

#[test]
fn without_attempts_the_first_error_is_the_client_s() {
    let far = Origin::start("far");
    let (near, _) = broken();
    let edge = edge(&near, &far, "retries: { attempts: 0 }");
    let answer = edge.curl(HOST, "/", &[]);
    assert_eq!(answer.status, 502);
    let status = answer.header("proxy-status");
    assert!(
        status.contains("error=http_response_incomplete"),
        "{status}"
    );
    assert!(status.contains(&near), "{status}");
    assert!(far.seen().is_empty());
}

/// An HTTP/2 origin without TLS that reads HEADERS and so much of a body, answers with these bytes and closes; how
/// many HEADERS it saw.
fn h2_origin(reply: &'static [u8], body: usize) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counted = counted.clone();
            std::thread::spawn(move || serve_h2(BufReader::new(stream), reply, body, &counted));
        }
    });
    (format!("h2c://{address}"), asked)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;

fn begin_h2(stream: &mut BufReader<TcpStream>) -> Option<()> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.read_exact(&mut [0; 24]).ok()?;
    stream.get_mut().write_all(&SETTINGS).ok()
}

/// The type and the length of the next frame.
fn frame(stream: &mut BufReader<TcpStream>) -> Option<(u8, usize)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some((head[3], length))
}

fn serve_h2(
    mut stream: BufReader<TcpStream>,
    reply: &[u8],
    mut body: usize,
    asked: &AtomicU32,
) -> Option<()> {
    let mut begun = false;
    begin_h2(&mut stream)?;
    loop {
        let (kind, length) = frame(&mut stream)?;
        if kind == HEADERS {
            asked.fetch_add(1, Ordering::SeqCst);
            begun = true;
        } else if kind == DATA {
            body = body.saturating_sub(length);
        }
        if begun && body == 0 {
            stream.get_mut().write_all(reply).ok()?;
            stream.get_mut().shutdown(Shutdown::Write).ok()?;
            // Were anything left unread, a reset could overtake what was said.
            stream.read_to_end(&mut Vec::new()).ok()?;
            return None;
        }
    }
}

/// RST_STREAM of stream 1 with REFUSED_STREAM.
const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
/// GOAWAY with NO_ERROR that has processed no stream.
const GOAWAY_0: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// GOAWAY with NO_ERROR that may have processed stream 1.
const GOAWAY_1: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

#[test]
fn a_stream_that_was_not_processed_moves_on_whatever_its_method() {
    let far = Origin::start("far");
    for reply in [REFUSED, GOAWAY_0] {
        let (near, asked) = h2_origin(reply, 0);
        let edge = edge(&near, &far, "retries: { methods: none, attempts: 0 }");
        assert_eq!(seen(&post(&edge)), (200, "far"), "{reply:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_refused_stream_s_body_moves_on_with_it_up_to_the_buffer() {
    let far = Origin::start("far");
    for (reply, length, status) in [
        (REFUSED, 1, 200),
        (GOAWAY_0, 1_024, 200),
        (REFUSED, 1_024, 200),
        (REFUSED, 5_000, 502),
    ] {
        let (near, asked) = h2_origin(reply, length);
        let edge = edge(&near, &far, "retries: { buffer: 1KiB }");
        let body = "x".repeat(length);
        let answer = edge.curl(HOST, "/", &["-d", &body]);
        assert_eq!(answer.status, status, "{length}: {}", answer.body);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        if status == 200 {
            assert_eq!(far.seen().last().unwrap().body, body);
        }
    }
}

#[test]
fn a_stream_below_a_goaway_s_last_may_have_been_processed() {
    let far = Origin::start("far");
    let (near, asked) = h2_origin(GOAWAY_1, 0);
    let edge = edge(&near, &far, "");
    assert_eq!(post(&edge).status, 502);
    assert!(
        far.seen().is_empty(),
        "an unsafe request is never sent twice"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(seen(&edge.curl(HOST, "/", &[])), (200, "far"));
}

/// An origin that answers the first request of a connection, and closes it when it has read another; how many it
/// has read.
fn forgetful() -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let address = wire(move |mut stream, head| {
        counted.fetch_add(u32::from(!head.is_empty()), Ordering::SeqCst);
        let _ = stream
            .get_mut()
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        let another = read_head(&mut stream);
        counted.fetch_add(u32::from(!another.is_empty()), Ordering::SeqCst);
    });
    (format!("http://{address}"), asked)
}

/// The same over HTTP/2, with last words.
fn forgetful_h2(last_words: &'static [u8]) -> (String, Arc<AtomicU32>) {
    /// HEADERS of stream 1 that end it: `:status: 204`.
    const NO_CONTENT: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x89];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let serve = move |stream| {
        let mut stream = BufReader::new(stream);
        begin_h2(&mut stream)?;
        for reply in [&NO_CONTENT, last_words] {
            while frame(&mut stream)?.0 != HEADERS {}
            counted.fetch_add(1, Ordering::SeqCst);
            stream.get_mut().write_all(reply).ok()?;
        }
        stream.get_mut().shutdown(Shutdown::Write).ok()?;
        // Were anything left unread, a reset could overtake what was said.
        stream.read_to_end(&mut Vec::new()).ok()
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    (format!("h2c://{address}"), asked)
}

/// The statuses of two requests, one after the other on one connection.
fn in_turn(edge: &Edge, arguments: &[&str]) -> String {
    let address = edge.address("https");
    let mut curl = Command::new("curl");
    curl.args(["-sk", "--resolve"])
        .arg(format!("{HOST}:{}:{}", address.port(), address.ip()))
        .args(["-o", "/dev/null", "-w", "%{http_code} "])
        .args(arguments)
        .arg(format!("https://{HOST}:{}/[1-2]", address.port()));
    String::from_utf8(run(&mut curl).stdout).unwrap()
}

#[test]
fn what_a_kept_connection_s_end_has_cost_is_sent_again_to_its_origin_if_it_may_be_sent_twice() {
    let far = Origin::start("far");
    let put = ["-X", "PUT", "-d", "x=1"];
    for (methods, arguments, statuses, times) in [
        ("safe", &[][..], "204 204 ", 3),
        ("idempotent", &put, "204 204 ", 3),
        ("safe", &put, "204 502 ", 2),
        ("idempotent", &["-X", "POST"], "204 502 ", 2),
        ("none", &[], "204 502 ", 2),
    ] {
        for (near, asked) in [forgetful(), forgetful_h2(&[])] {
            let retries = format!("retries: {{ methods: {methods}, attempts: 0 }}");
            let edge = edge(&near, &far, &retries);
            let said = in_turn(&edge, arguments);
            assert_eq!(said, statuses, "{methods} {arguments:?} {near}");
            assert_eq!(asked.load(Ordering::SeqCst), times, "{methods} {near}");
            assert!(far.seen().is_empty());
        }
    }
}

#[test]
fn a_write_stays_with_an_origin_that_renews_a_kept_connection() {
    let far = Origin::start("far");
    for arguments in [&["-X", "POST"][..], &["-d", "x=1"]] {
        let (near, asked) = forgetful_h2(GOAWAY_1);
        let edge = edge(&near, &far, "retries: { methods: none, attempts: 0 }");
        assert_eq!(in_turn(&edge, arguments), "204 204 ");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert!(far.seen().is_empty());
    }
}

/// nginx, which takes twenty requests on a connection.
fn renewing_nginx(folder: &Path) -> (Process, SocketAddr) {
    let at = free_address();
    let file = folder.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  keepalive_requests 20;
  server {{ listen {at} http2; location / {{ return 200 near; }} }}
}}
",
        folder.to_str().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let mut nginx = Command::new("/usr/sbin/nginx");
    let nginx = Process::start(nginx.args(["-p", "/tmp", "-e", "stderr", "-c"]).arg(&file));
    assert!(
        wait_until(|| TcpStream::connect(at).is_ok()),
        "{}",
        nginx.said()
    );
    (nginx, at)
}

#[test]
fn no_write_leaves_an_nginx_that_renews_its_connections_under_load() {
    let (folder, far) = (tempfile::tempdir().unwrap(), Origin::start("far"));
    let (_nginx, at) = renewing_nginx(folder.path());
    let edge = edge(&format!("h2c://{at}"), &far, "");
    let body = folder.path().join("body");
    std::fs::write(&body, "x=1").unwrap();
    let https = edge.address("https");
    let load = run(Command::new("h2load")
        .args(["-n", "3000", "-c", "4", "-m", "10", "-d"])
        .arg(body)
        .arg(format!("--connect-to={https}"))
        .arg(format!("https://{HOST}/")));
    let said = String::from_utf8_lossy(&load.stdout).into_owned();
    assert!(said.contains("status codes: 3000 2xx"), "{said}");
    assert_eq!(far.seen().len(), 0);
}

/// Both regions with answers of their own.
struct Pair {
    edge: Edge,
    near: Origin,
    far: Origin,
}

fn pair(service: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let edge = edge(&near.url(), &far, service);
    Pair { edge, near, far }
}

fn busy(origin: &Origin, name: &'static str, status: u16) {
    origin.set_answer(move |_| {
        let builder = Response::builder().status(status);
        builder.body(Body::from(name)).unwrap()
    });
}

#[test]
fn an_answer_that_on_status_names_is_bettered_by_another_region() {
    let pair = pair("retries: { on_status: [502-504] }");
    busy(&pair.near, "near is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "far"));
    let write = post(&pair.edge);
    assert_eq!(seen(&write), (503, "near is busy"));
    assert!(pair.far.seen().iter().all(|seen| seen.method == "GET"));
    busy(&pair.near, "near fails", 500);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (500, "near fails"));
}

#[test]
fn when_no_region_answers_better_the_last_real_answer_is_the_client_s() {
    let mut pair = pair("retries: { on_status: [503] }");
    busy(&pair.near, "near is busy", 503);
    busy(&pair.far, "far is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (503, "far is busy"));
    pair.far.stop();
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(seen(&answer), (503, "near is busy"));
    assert_eq!(answer.header("meridian-region"), "near");
    let status = answer.header("proxy-status");
    assert!(
        status.starts_with("\"test-edge\"; received-status=503; details="),
        "{status}"
    );
    assert!(status.contains("refused"), "{status}");
}

#[test]
fn an_origin_s_5xx_is_passed_on_unless_on_status_names_it() {
    let pair = pair("");
    busy(&pair.near, "near is busy", 503);
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(seen(&answer), (503, "near is busy"));
    assert!(answer.headers("proxy-status").is_empty());
}

#[test]
fn a_try_that_takes_too_long_gives_way_to_the_next_region() {
    let pair = pair("retries: { per_try: 200ms }");
    pair.near.set_pause(Duration::from_secs(10));
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "far"));
    pair.near.set_pause(Duration::from_millis(500));
    let write = post(&pair.edge);
    assert_eq!(
        seen(&write),
        (200, "near"),
        "what cannot be sent again has its time"
    );
}

#[test]
fn tries_together_take_no_longer_than_the_whole_request_may() {
    let pair = pair("timeouts: { request: 500ms }\n    retries: { per_try: 400ms }");
    for origin in [&pair.near, &pair.far] {
        origin.set_pause(Duration::from_secs(10));
    }
    let answer = pair.edge.curl(HOST, "/", &[]);
    assert_eq!(answer.status, 504);
    let status = answer.header("proxy-status");
    assert!(status.contains("longer than 500ms"), "{status}");
    assert!(wait_until(|| pair.far.is_asked()));
}

#[test]
fn a_hedge_answers_for_a_slow_region_whose_request_is_given_up() {
    let given_up = Arc::new(AtomicBool::new(false));
    let seen_by_origin = given_up.clone();
    let near = raw_origin(move |mut stream, _| {
        let rest = stream.read(&mut [0; 1]);
        seen_by_origin.store(matches!(rest, Ok(0) | Err(_)), Ordering::SeqCst);
    });
    let far = Origin::start("far");
    let edge = edge(
        &format!("http://{near}"),
        &far,
        "retries: { hedge_after: 100ms }",
    );
    assert_eq!(seen(&edge.curl(HOST, "/", &[])), (200, "far"));
    assert!(wait_until(|| given_up.load(Ordering::SeqCst)));
    assert_eq!(edge.counted("meridian_http_hedges_total", &[]), 1);
}

#[test]
fn only_what_is_safe_and_slow_is_hedged_and_a_failed_hedge_costs_nothing() {
    let pair = pair("retries: { hedge_after: 300ms, on_status: [503] }");
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "near"));
    pair.near.set_pause(Duration::from_millis(900));
    assert_eq!(seen(&post(&pair.edge)), (200, "near"));
    assert!(pair.far.seen().is_empty());
    busy(&pair.far, "far is busy", 503);
    assert_eq!(seen(&pair.edge.curl(HOST, "/", &[])), (200, "near"));
    assert_eq!(pair.far.seen().len(), 1);
}

/// The statuses of so many requests at once on one connection.
fn at_once(address: SocketAddr, count: usize) -> Vec<String> {
    let mut curl = Command::new("curl");
    curl.args([
        "-sk",
        "--http2",
        "--parallel",
        "--parallel-max",
        "100",
        "--resolve",
    ])
    .arg(format!("{HOST}:{}:{}", address.port(), address.ip()))
    .args(["-o", "/dev/null", "-w", "%{http_code}\n"])
    .arg(format!("https://{HOST}:{}/[1-{count}]", address.port()));
    let output = String::from_utf8(support::run(&mut curl).stdout).unwrap();
    output.lines().map(str::to_owned).collect()
}

#[test]
fn a_budget_holds_while_retries_wait_and_the_rest_gets_its_real_error() {
    let far = Origin::start("far");
    let (near, _) = broken();
    let edge = edge(&near, &far, "retries: { backoff: 4s }");
    let statuses = at_once(edge.address("https"), 40);
    let count = |status: &str| statuses.iter().filter(|s| *s == status).count();
    let (good, failed) = (count("200"), count("502"));
    assert_eq!(good + failed, 40, "{statuses:?}");
    assert!(good >= 10 && failed >= 10, "{good} good, {failed} failed");
    assert_eq!(far.seen().len(), good);
}

#[test]
fn of_a_region_three_origins_are_tried_before_the_next_region() {
    let (far, opened) = (Origin::start("far"), Arc::new(AtomicU32::new(0)));
    let origins: Vec<String> = (0..5).map(|_| closing(&opened)).collect();
    let edge = edge(&origins.join("', '"), &far, "");
    assert_eq!(seen(&post(&edge)), (200, "far"));
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}
