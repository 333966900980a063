//! Answers that break off after their head: whose fault that was, and what becomes of their origin.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::frames::{
    ACK, DATA, END_HEADERS, HEADERS, RST_STREAM, SETTINGS, block, frame, read_frame,
};
use support::{Edge, Origin, connect, raw_origin, read_head, say, wait_until};

const HOST: &str = "api.example.com";
const GET: &str = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";

/// An edge that asks `near`, and `far` once `near` has failed three times in a row.
fn edge(near: &str, far: &Origin) -> Edge {
    Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ origins: ['{near}'] }}
  far: {{ origins: ['{}'] }}
services:
  api:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    health: {{ protocol: http, interval: 300ms, passive: {{ consecutive_failures: 3, min_requests: 3 }} }}
",
        far.url()
    ))
}

fn ejected(edge: &Edge) -> serde_json::Value {
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    status["regions"][0]["services"][0]["origins"][0]["ejected"].clone()
}

/// Asks, and reads the head of a good answer.
#[track_caller]
fn head(edge: &Edge, request: &str) -> BufReader<TcpStream> {
    let mut client = connect(edge.address("http"));
    say(&mut client, request);
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client
}

/// An origin that begins every answer so, and breaks it off when it is told to.
fn breaking(begin: &'static str, end: fn(&mut TcpStream)) -> (SocketAddr, Sender<()>) {
    let (now, told) = channel();
    let told: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(told));
    let address = raw_origin(move |mut stream, _| {
        let stream = stream.get_mut();
        stream.write_all(begin.as_bytes()).unwrap();
        told.lock().unwrap().recv().unwrap();
        end(stream);
    });
    (address, now)
}

/// Three such answers are enough to eject the origin.
#[track_caller]
fn check(near: &str, now: &Sender<()>) {
    let far = Origin::start("far");
    let edge = edge(near, &far);
    for _ in 0..3 {
        assert!(ejected(&edge).is_null());
        let mut client = head(&edge, GET);
        now.send(()).unwrap();
        // However the client is told, it is told before the next request.
        let _ = client.read_to_end(&mut Vec::new());
    }
    assert!(wait_until(|| !ejected(&edge).is_null()));
    assert_eq!(ejected(&edge)["cause"], "consecutive_failures");
    head(&edge, GET);
    assert_eq!(far.seen().len(), 1);
}

#[test]
fn an_answer_short_of_its_length_is_its_origin_s_failure() {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab";
    let (near, now) = breaking(short, |_| {});
    check(&format!("http://{near}"), &now);
}

#[test]
fn an_answer_without_its_last_chunk_is_its_origin_s_failure() {
    let (near, now) = breaking(CHUNKED, |_| {});
    check(&format!("http://{near}"), &now);
}

#[test]
fn a_malformed_chunk_is_its_origin_s_failure() {
    let (near, now) = breaking(CHUNKED, |stream| {
        let _ = stream.write_all(b"no chunk\r\n");
        let _ = stream.read(&mut [0]); // Until the edge has closed it.
    });
    check(&format!("http://{near}"), &now);
}

#[test]
fn a_reset_within_an_answer_is_its_origin_s_failure() {
    // Its length would be the end of the connection, had it ended.
    let (near, now) = breaking("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab", |stream| {
        let now = Some(Duration::ZERO);
        socket2::SockRef::from(&*stream).set_linger(now).unwrap();
    });
    check(&format!("http://{near}"), &now);
}

#[test]
fn a_stream_that_its_http2_origin_resets_is_its_failure() {
    let (now, told) = channel();
    let told: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(told));
    let near = raw_origin(move |mut stream, _| {
        stream.read_exact(&mut [0; 6]).unwrap(); // Of the preface, which looks like a head.
        let mut writer = stream.get_ref().try_clone().unwrap();
        let mut say = |bytes: &[u8]| writer.write_all(bytes).is_ok();
        say(&frame(SETTINGS, 0, 0, &[]));
        while let Some(read) = read_frame(&mut stream) {
            match read.kind {
                SETTINGS if read.flags & ACK == 0 => say(&frame(SETTINGS, ACK, 0, &[])),
                HEADERS => {
                    let fields = block(&[(":status", "200")]);
                    let head = frame(HEADERS, END_HEADERS, read.stream, &fields);
                    say(&[head, frame(DATA, 0, read.stream, b"ab")].concat());
                    told.lock().unwrap().recv().unwrap();
                    say(&frame(RST_STREAM, 0, read.stream, &2_u32.to_be_bytes()))
                }
                _ => continue,
            };
        }
    });
    check(&format!("h2c://{near}"), &now);
}

#[test]
fn an_answer_whose_client_has_left_is_nobody_s_failure() {
    let (gone, left) = channel();
    let near = raw_origin(move |mut stream, _| {
        stream.get_mut().write_all(CHUNKED.as_bytes()).unwrap();
        let _ = stream.read(&mut [0]); // Until the edge has closed it.
        gone.send(()).unwrap();
    });
    let far = Origin::start("far");
    let edge = edge(&format!("http://{near}"), &far);
    for _ in 0..6 {
        drop(head(&edge, GET));
        left.recv().unwrap();
    }
    head(&edge, GET);
    assert!(ejected(&edge).is_null());
    assert!(far.seen().is_empty());
}

#[test]
fn an_answer_whose_client_breaks_its_own_upload_off_is_nobody_s_failure() {
    let (gone, left) = channel();
    let near = raw_origin(move |mut stream, _| {
        stream.get_mut().write_all(CHUNKED.as_bytes()).unwrap();
        while stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            let length = stream.buffer().len();
            stream.consume(length);
        }
        gone.send(()).unwrap();
    });
    let far = Origin::start("far");
    let edge = edge(&format!("http://{near}"), &far);
    let upload =
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
    for _ in 0..6 {
        let mut client = head(&edge, upload);
        say(&mut client, "no chunk\r\n");
        left.recv().unwrap();
    }
    head(&edge, upload);
    assert!(ejected(&edge).is_null());
    assert!(far.seen().is_empty());
}
