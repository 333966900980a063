//! What becomes of a request when its origin refuses it over HTTP/2, or ends the connection that was kept for it.

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
use std::sync::atomic::{AtomicU32, Ordering};

use support::near_and_far::{HOST, edge, post, seen};
use support::{Edge, Origin, Process, free_address, read_head, run, wait_until, wire};

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
const END_STREAM: u8 = 1;

fn begin_h2(stream: &mut BufReader<TcpStream>) -> Option<()> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.read_exact(&mut [0; 24]).ok()?;
    stream.get_mut().write_all(&SETTINGS).ok()
}

/// The type, the flags and the length of the next frame.
fn frame(stream: &mut BufReader<TcpStream>) -> Option<(u8, u8, usize)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some((head[3], head[4], length))
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
        let (kind, _, length) = frame(&mut stream)?;
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
        // An answer that comes before the whole request leaves a connection that is kept for nobody.
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        let _ = stream.read_exact(&mut body);
        let _ = stream
            .get_mut()
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        let another = read_head(&mut stream);
        counted.fetch_add(u32::from(!another.is_empty()), Ordering::SeqCst);
    });
    (format!("http://{address}"), asked)
}

/// Reads to the head of the next request; its flags.
fn await_headers(stream: &mut BufReader<TcpStream>, asked: &AtomicU32) -> Option<u8> {
    loop {
        let (kind, flags, _) = frame(stream)?;
        if kind == HEADERS {
            asked.fetch_add(1, Ordering::SeqCst);
            return Some(flags);
        }
    }
}

/// Reads a request to its end, from its head with these flags on.
fn await_end(stream: &mut BufReader<TcpStream>, mut flags: u8) -> Option<()> {
    while flags & END_STREAM == 0 {
        let (kind, of_frame, _) = frame(stream)?;
        flags = if kind == DATA { of_frame } else { 0 };
    }
    Some(())
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
        let flags = await_headers(&mut stream, &counted)?;
        // To an answer that comes before all of its request curl (7.88) wakes no more, until something else comes.
        await_end(&mut stream, flags)?;
        stream.get_mut().write_all(&NO_CONTENT).ok()?;
        await_headers(&mut stream, &counted)?;
        stream.get_mut().write_all(last_words).ok()?;
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

/// nginx, with a setting for its connections.
fn nginx(folder: &Path, setting: &str) -> (Process, SocketAddr) {
    let at = free_address();
    let file = folder.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  {setting};
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

/// So many writes, so many at once over four connections, at an edge that has not asked this nginx anything yet: all are
/// answered, and none by another region.
fn check_nobody_leaves(setting: &str, writes: &str, at_once: &str) {
    let (folder, far) = (tempfile::tempdir().unwrap(), Origin::start("far"));
    let (_nginx, at) = nginx(folder.path(), setting);
    let edge = edge(&format!("h2c://{at}"), &far, "");
    let body = folder.path().join("body");
    std::fs::write(&body, "x=1").unwrap();
    let https = edge.address("https");
    let load = run(Command::new("h2load")
        .args(["-n", writes, "-c", "4", "-m", at_once, "-d"])
        .arg(body)
        .arg(format!("--connect-to={https}"))
        .arg(format!("https://{HOST}/")));
    let said = String::from_utf8_lossy(&load.stdout).into_owned();
    let all = format!("status codes: {writes} 2xx");
    assert!(said.contains(&all), "{said}");
    assert_eq!(far.seen().len(), 0);
}

#[test]
fn no_write_leaves_an_nginx_that_renews_its_connections_under_load() {
    check_nobody_leaves("keepalive_requests 20", "3000", "10");
}

#[test]
fn no_write_leaves_an_nginx_that_takes_fewer_at_once_than_came_before_it_said_so() {
    check_nobody_leaves("http2_max_concurrent_streams 1", "400", "100");
}
