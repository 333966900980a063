//! Floods of HTTP/2 frames, and what is logged of a client whose frames are wrong.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod access_log_support;
mod support;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::Duration;

use access_log_support::{Logging, check};
use support::frames::{
    CONTINUATION, DATA, END_STREAM, Fate, FrameClient, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, edge, frame, open, request,
};
use support::{Origin, raw_origin};

/// Sends these bytes again and again, and reads what comes, until the edge ends the connection.
fn flood(address: SocketAddr, first: &[u8], at_once: u32, next: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut client = FrameClient::connect(address);
    client.send(first).unwrap();
    // Acknowledgements are read all along: who does not read them is only held up.
    for round in 0..200_000 / at_once {
        let numbers = round * at_once..(round + 1) * at_once;
        let batch: Vec<u8> = numbers.flat_map(&next).collect();
        let ping = frame(PING, 0, 0, b"are you?");
        if client.send(&[batch, ping].concat()).is_err() {
            return true;
        }
        loop {
            match client.read() {
                None => return true,
                Some(frame) if frame.kind == PING && frame.payload == b"are you?" => break,
                Some(_) => {}
            }
        }
    }
    false
}

type Next = Box<dyn Fn(u32) -> Vec<u8>>;

/// Floods by name: what opens one, and what follows again and again.
fn floods() -> Vec<(&'static str, Vec<u8>, Next)> {
    let get = |number: u32, flags: u8| open(2 * number + 1, &request("GET", "/flood"), flags);
    let upload = || open(1, &request("POST", "/flood"), 0);
    vec![
        // Each is reset once it has been taken, and before it can be answered.
        (
            "rapid reset one by one",
            get(0, 0),
            Box::new(move |number| {
                [
                    frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]),
                    get(number + 1, 0),
                ]
                .concat()
            }),
        ),
        (
            "rapid reset",
            Vec::new(),
            Box::new(move |number| {
                [
                    get(number, END_STREAM),
                    frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
        (
            "rapid reset of uploads",
            Vec::new(),
            Box::new(move |number| {
                [
                    get(number, 0),
                    frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
        (
            "malformed requests",
            Vec::new(),
            Box::new(|number| {
                let mut fields = request("GET", "/bad");
                fields.push((b"X".into(), b"a".into()));
                open(2 * number + 1, &fields, END_STREAM)
            }),
        ),
        (
            "CONTINUATION",
            frame(HEADERS, 0, 1, &[]),
            Box::new(|_| frame(CONTINUATION, 0, 1, &[])),
        ),
        (
            "SETTINGS",
            Vec::new(),
            Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ),
        (
            "PING",
            Vec::new(),
            Box::new(|_| frame(PING, 0, 0, b"12345678")),
        ),
        ("empty DATA", upload(), Box::new(|_| frame(DATA, 0, 1, &[]))),
        (
            "small WINDOW_UPDATE",
            upload(),
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ),
        (
            "PRIORITY",
            Vec::new(),
            Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ),
    ]
}

#[test]
fn a_flood_of_frames_ends_its_connection_and_harms_nobody_else() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    let address = edge.address("https");
    let mut other = FrameClient::connect(address);
    let before = edge.process.resident_kib();
    for (number, (name, first, next)) in (0..).zip(floods()) {
        let at_once = if name.ends_with("one by one") { 1 } else { 100 };
        assert!(
            flood(address, &first, at_once, next),
            "{name} goes on for ever"
        );
        let stream = 2 * number + 1;
        other
            .send(&open(stream, &request("GET", "/good"), END_STREAM))
            .unwrap();
        assert_eq!(
            other.fate(stream),
            Fate::Answered(200),
            "another client behind {name}"
        );
    }
    let grown = edge.process.resident_kib().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB");
    // The PING behind CONTINUATION breaks off a head before those are too many.
    assert_eq!(edge.counted("meridian_http2_floods_total", &[]), 9);
}

#[test]
fn requests_of_a_client_whose_frames_are_wrong_are_logged_with_what_was_wrong() {
    let (tell, told) = channel();
    // Takes every request, and answers none.
    let origin = raw_origin(move |mut stream, _| {
        tell.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let log = Logging::start(&[("here", format!("http://{origin}"))], "", "");
    let address = log.edge.address("https");
    let get = open(1, &request("GET", "/slow"), END_STREAM);
    let ping = |_| frame(PING, 0, 0, b"12345678");
    assert!(flood(address, &get, 100, ping));
    told.recv().unwrap();
    let asking = || {
        let mut client = FrameClient::connect(address);
        client.send(&get).unwrap();
        told.recv_timeout(Duration::from_secs(20)).unwrap();
        client
    };
    let mut client = asking();
    client.send(&frame(WINDOW_UPDATE, 0, 0, &[0; 4])).unwrap();
    while client.read().is_some() {}
    drop(asking());
    let whys = ["a flood of frames", "protocol error"];
    for (line, why) in log.lines(3).iter().zip(whys) {
        let end = [("/termination", "protocol-error"), ("/ended_by", "client")];
        check(line, &end.map(|(key, value)| (key, value.into())));
        assert!(line["detail"].as_str().unwrap().contains(why), "{line}");
    }
    check(
        &log.lines(3)[2],
        &[("/termination", "client-closed".into())],
    );
}
