//! Bodies of HTTP/2 requests in a great many small frames, as streams of gRPC messages are.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use support::frames::{
    ACK, DATA, END_STREAM, Fate, FrameClient, SETTINGS, WINDOW_UPDATE, edge, frame, open, request,
};
use support::{Edge, raw_origin};

/// What the edge grants a stream.
const STREAM_WINDOW: u32 = 512 << 10;

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// An edge whose origin reads no body before it is told to, then the whole one, and answers anything without a body.
fn slow() -> (Edge, Sender<()>) {
    let (now, told) = channel();
    let told: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(told));
    let origin = raw_origin(move |mut stream, head| {
        if head.starts_with("POST ") {
            told.lock().unwrap().recv().unwrap();
            until_last_chunk(&mut stream);
        }
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = stream.get_mut().write_all(ok);
    });
    (edge(&format!("http://{origin}")), now)
}

fn until_last_chunk(stream: &mut BufReader<TcpStream>) {
    let mut last = [0; 7];
    while last != *b"\r\n0\r\n\r\n" {
        last.rotate_left(1);
        stream.read_exact(&mut last[6..]).unwrap();
    }
}

/// A client that has begun an upload.
fn uploading(edge: &Edge) -> FrameClient {
    let mut client = FrameClient::connect(edge.address("https"));
    // RFC 9113 §6.5.3, §6.9: the edge goes by its windows from here on.
    assert_eq!(client.read().unwrap().kind, SETTINGS);
    while client.read().unwrap().kind != WINDOW_UPDATE {}
    client.send(&frame(SETTINGS, ACK, 0, &[])).unwrap();
    client.send(&open(1, &request("POST", "/"), 0)).unwrap();
    client
}

#[test]
fn messages_of_a_few_bytes_are_held_back_by_their_window_and_not_broken_off() {
    let (edge, now) = slow();
    let mut client = uploading(&edge);
    // 510 kB: what the edge takes of a stream whose origin does not read.
    client
        .send(&frame(DATA, 0, 1, &[7; 30]).repeat(17_000))
        .unwrap();
    client
        .send(&open(3, &request("GET", "/"), END_STREAM))
        .unwrap();
    assert_eq!(client.fate(3), Fate::Answered(200));
    now.send(()).unwrap();
    client.send(&frame(DATA, END_STREAM, 1, &[7])).unwrap();
    assert_eq!(client.fate(1), Fate::Answered(200));
}

#[test]
fn any_number_of_small_frames_pass_to_an_origin_that_reads_them() {
    let (edge, now) = slow();
    now.send(()).unwrap();
    let mut client = uploading(&edge);
    let (messages, mut window) = (frame(DATA, 0, 1, &[7; 30]).repeat(1_000), STREAM_WINDOW);
    for _ in 0..40 {
        while window < 30_000 {
            let granted = client.read().unwrap();
            if (granted.kind, granted.stream) == (WINDOW_UPDATE, 1) {
                window += number(&granted.payload);
            }
        }
        client.send(&messages).unwrap();
        window -= 30_000;
    }
    client.send(&frame(DATA, END_STREAM, 1, &[7])).unwrap();
    assert_eq!(client.fate(1), Fate::Answered(200));
}

#[test]
fn a_client_may_send_512_kib_ahead_on_a_stream_and_8_mib_on_its_connection() {
    let (edge, _now) = slow();
    let mut client = FrameClient::connect(edge.address("https"));
    let settings = client.read().unwrap();
    assert_eq!(settings.kind, SETTINGS);
    let mut settings = settings.payload.chunks(6);
    let window = settings.find(|setting| setting[..2] == [0, 4]).unwrap();
    assert_eq!(number(&window[2..]), STREAM_WINDOW);
    let granted = std::iter::from_fn(|| client.read()).find(|read| read.kind == WINDOW_UPDATE);
    // RFC 9113 §6.9.2: it begins with 65,535.
    assert_eq!(number(&granted.unwrap().payload) + 65_535, 8 << 20);
}

#[test]
fn single_bytes_wait_for_their_origin_as_all_content_does_and_take_no_more_room() {
    let (edge, now) = slow();
    let mut client = uploading(&edge);
    let before = edge.process.resident_kib();
    let bytes = frame(DATA, 0, 1, &[7]).repeat(1 << 10);
    for _ in 0..STREAM_WINDOW >> 10 {
        client.send(&bytes).unwrap();
    }
    client
        .send(&open(3, &request("GET", "/"), END_STREAM))
        .unwrap();
    assert_eq!(client.fate(3), Fate::Answered(200));
    let grown = edge.process.resident_kib().saturating_sub(before);
    // Each by itself they would take 24 MiB at least: a pointer of 32 bytes to 16.
    assert!(grown < 16 << 10, "{grown} KiB");
    now.send(()).unwrap();
    client.send(&frame(DATA, END_STREAM, 1, &[])).unwrap();
    assert_eq!(client.fate(1), Fate::Answered(200));
}
