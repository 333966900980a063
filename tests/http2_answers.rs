//! Answers of HTTP/2 origins that are none, and answers that turn bad.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufRead, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Fate, FrameClient, HEADERS, PING, RST_STREAM, SETTINGS,
    block, edge, frame, open, read_frame, request,
};
use support::{Edge, raw_origin};

/// An answer of an HTTP/2 origin in raw frames on the stream that asked, and what the client gets.
struct Recited {
    name: &'static str,
    frames: fn(u32) -> Vec<u8>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    BadGateway,
    /// A head, and a body that does not end.
    Cut,
    /// `abc`.
    Passes,
}

fn answer(stream: u32, flags: u8, fields: &[(&str, &[u8])]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

fn end(stream: u32, text: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, text)
}

macro_rules! recited {
    ($($name:literal $expected:ident $(behind [$(($early:literal, $said:literal)),*])? [$(($field:literal, $value:literal)),*] $body:literal $(then [$(($trailer:literal, $text:literal)),*])?;)*) => {
        &[$(Recited {
            name: $name,
            expected: Expected::$expected,
            frames: |stream| {
                let before: Vec<Vec<u8>> = vec![$(answer(stream, 0, &[$(($early, $said)),*]),)?];
                let head = answer(stream, 0, &[$(($field, $value)),*]);
                #[allow(unused_mut, unused_assignments, reason = "some have trailers")]
                let mut rest = end(stream, $body);
                $(rest = [
                    frame(DATA, 0, stream, $body),
                    answer(stream, END_STREAM, &[$(($trailer, $text)),*]),
                ].concat();)?
                [before.concat(), head, rest].concat()
            },
        }),*]
    };
}

const RECITED: &[Recited] = recited! {
    "a name in upper case" BadGateway [(":status", b"200"), ("X-Upper", b"a")] b"abc";
    "a line break in a name" BadGateway [(":status", b"200"), ("x\r\ny", b"a")] b"abc";
    "a line break in a value" BadGateway [(":status", b"200"), ("x", b"a\r\nSet-Cookie: a=b")] b"abc";
    "an LF in a value" BadGateway [(":status", b"200"), ("x", b"a\nb")] b"abc";
    "a NUL in a value" BadGateway [(":status", b"200"), ("x", b"a\0b")] b"abc";
    "a blank before a value" BadGateway [(":status", b"200"), ("x", b" a")] b"abc";
    "connection" BadGateway [(":status", b"200"), ("connection", b"close")] b"abc";
    "transfer-encoding" BadGateway [(":status", b"200"), ("transfer-encoding", b"chunked")] b"abc";
    "keep-alive" BadGateway [(":status", b"200"), ("keep-alive", b"timeout=5")] b"abc";
    "upgrade" BadGateway [(":status", b"200"), ("upgrade", b"websocket")] b"abc";
    "no status" BadGateway [("x", b"a")] b"abc";
    "two statuses" BadGateway [(":status", b"200"), (":status", b"204")] b"abc";
    "a status behind a field" BadGateway [("x", b"a"), (":status", b"200")] b"abc";
    "a status of letters" BadGateway [(":status", b"abc")] b"abc";
    "a status of four digits" BadGateway [(":status", b"2000")] b"abc";
    "a status below 100" BadGateway [(":status", b"099")] b"abc";
    "101" BadGateway [(":status", b"101")] b"abc";
    "101 and another answer" BadGateway behind [(":status", b"101")] [(":status", b"200")] b"abc";
    "an unknown pseudo-header" BadGateway [(":status", b"200"), (":unknown", b"a")] b"abc";
    "two lengths" BadGateway [(":status", b"200"), ("content-length", b"3"), ("content-length", b"3")] b"abc";
    "a length past 63 bits" BadGateway [(":status", b"200"), ("content-length", b"9223372036854775808")] b"abc";
    "a length with a sign" BadGateway [(":status", b"200"), ("content-length", b"+3")] b"abc";
    "a body over its length" Cut [(":status", b"200"), ("content-length", b"2")] b"abc";
    "a body under its length" Cut [(":status", b"200"), ("content-length", b"4")] b"abc";
    "a name in upper case in trailers" Cut [(":status", b"200")] b"abc" then [("X", b"a")];
    "a body" Passes [(":status", b"200")] b"abc";
    "a body of its length" Passes [(":status", b"200"), ("content-length", b"3")] b"abc";
    "trailers" Passes [(":status", b"200")] b"abc" then [("x-sum", b"1")];
};

/// An HTTP/2 origin of raw frames that answers every request with the case that is due.
fn reciter(due: Arc<AtomicUsize>) -> SocketAddr {
    raw_origin(move |mut stream, _| {
        // The preface looks like a request's head, and has six bytes behind it.
        stream.read_exact(&mut [0; 6]).unwrap();
        let _ = stream.get_mut().write_all(&frame(SETTINGS, 0, 0, &[]));
        while let Some(read) = read_frame(&mut stream) {
            let reply = match read.kind {
                HEADERS => (RECITED[due.load(Ordering::SeqCst)].frames)(read.stream),
                SETTINGS if read.flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
                PING if read.flags & ACK == 0 => frame(PING, ACK, 0, &read.payload),
                _ => continue,
            };
            if stream.get_mut().write_all(&reply).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_malformed_answer_of_an_http2_origin_is_a_502_or_is_cut_off() {
    let due: Arc<AtomicUsize> = Arc::default();
    let origin = reciter(due.clone());
    let edge = edge(&format!("h2c://{origin}"));
    let faults: Mutex<Vec<String>> = Mutex::default();
    let fault = |text: String| faults.lock().unwrap().push(text);
    for (number, case) in RECITED.iter().enumerate() {
        due.store(number, Ordering::SeqCst);
        let mut client = FrameClient::connect(edge.address("https"));
        client
            .send(&open(1, &request("GET", "/"), END_STREAM))
            .unwrap();
        let fate = client.fate(1);
        let got = match fate {
            Fate::Answered(200) if client.ends(1) => Expected::Passes,
            Fate::Answered(200) => Expected::Cut,
            Fate::Answered(_) | Fate::Reset | Fate::Gone => Expected::BadGateway,
        };
        let is_unanswered = matches!(fate, Fate::Reset | Fate::Gone);
        if got != case.expected || is_unanswered {
            fault(format!("{}: {fate:?}, {got:?}", case.name));
        }
        let said = curl(&edge);
        if case.expected == Expected::Cut && !said.starts_with("HTTP/1.1 200 ") {
            fault(format!("{}: the head is lost: {said}", case.name));
        }
        if case.expected == Expected::BadGateway {
            let is_told = said.starts_with("HTTP/1.1 502 ")
                && said.contains("proxy-status: \"fra-1\"; error=");
            if !is_told {
                fault(format!("{}: {said}", case.name));
            }
        }
    }
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_head_of_an_answer_is_passed_on_whatever_comes_right_behind_it() {
    const HEAD: &[(&str, &[u8])] = &[(":status", b"200"), ("set-cookie", b"a=b")];
    for is_reset in [true, false] {
        let origin = raw_origin(move |mut stream, _| {
            stream.read_exact(&mut [0; 6]).unwrap();
            let _ = stream.get_mut().write_all(&frame(SETTINGS, 0, 0, &[]));
            while let Some(read) = read_frame(&mut stream) {
                if read.kind != HEADERS {
                    continue;
                }
                let head = answer(read.stream, 0, HEAD);
                let reset = frame(RST_STREAM, 0, read.stream, &2_u32.to_be_bytes());
                let reset: &[u8] = if is_reset { &reset } else { &[] };
                let _ = stream.get_mut().write_all(&[&head, reset].concat());
                if !is_reset {
                    return; // The connection ends.
                }
            }
        });
        let edge = edge(&format!("h2c://{origin}"));
        let mut client = FrameClient::connect(edge.address("https"));
        let post = open(1, &request("POST", "/"), END_STREAM);
        client.send(&post).unwrap();
        assert_eq!(client.fate(1), Fate::Answered(200), "{is_reset}");
        assert!(!client.ends(1), "a body that was cut off ended well");
        let said = curl(&edge);
        assert!(said.starts_with("HTTP/1.1 200 "), "{is_reset}: {said}");
        assert!(said.contains("set-cookie: a=b"), "{said}");
    }
}

fn curl(edge: &Edge) -> String {
    let mut command = std::process::Command::new("curl");
    let address = edge.address("https");
    command
        .args(["-sk", "--http1.1", "-i", "--max-time", "15", "--resolve"])
        .arg(format!(
            "www.example.com:{}:{}",
            address.port(),
            address.ip()
        ))
        .arg(format!("https://www.example.com:{}/", address.port()));
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

#[test]
fn an_answer_that_turns_bad_resets_its_stream() {
    let (go, due) = mpsc::channel::<()>();
    let due = Arc::new(Mutex::new(due));
    let origin = raw_origin(move |mut stream, _| {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let _ = stream.get_mut().write_all(answer);
        due.lock().unwrap().recv().unwrap();
        let _ = stream.get_mut().write_all(b"xyz\r\n0\r\n\r\n");
        let _ = stream.fill_buf();
    });
    let edge = edge(&format!("http://{origin}"));
    let mut client = FrameClient::connect(edge.address("https"));
    client
        .send(&open(1, &request("GET", "/"), END_STREAM))
        .unwrap();
    assert_eq!(client.fate(1), Fate::Answered(200));
    go.send(()).unwrap();
    assert!(!client.ends(1), "a body that was cut off ended well");
}
