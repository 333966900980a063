//! Streams of one HTTP/2 connection beside each other.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::HashMap;

use http::Response;
use support::Origin;
use support::frames::{
    DATA, END_STREAM, FrameClient, SETTINGS, WINDOW_UPDATE, edge, frame, open, request,
};

/// So large that it never holds anything back.
const WINDOW: [u8; 4] = [0x3f, 0xff, 0, 0];

#[test]
fn a_small_answer_comes_beside_large_ones_that_are_read_slowly() {
    let origin = Origin::start("o");
    origin.set_answer(|seen| {
        let length = if seen.uri == "/large" {
            64 << 20
        } else {
            100_000
        };
        Response::new(vec![b'x'; length].into())
    });
    let edge = edge(&origin.url());
    let mut client = FrameClient::connect(edge.address("https"));
    let windows = [
        frame(SETTINGS, 0, 0, &[&[0, 4][..], &WINDOW].concat()),
        frame(WINDOW_UPDATE, 0, 0, &WINDOW),
    ];
    client.send(&windows.concat()).unwrap();
    let get = |stream, path| open(stream, &request("GET", path), END_STREAM);
    let asked = [get(1, "/large"), get(3, "/large"), get(5, "/small")];
    client.send(&asked.concat()).unwrap();
    let mut come: HashMap<u32, usize> = HashMap::new();
    loop {
        let read = client.read().unwrap();
        if read.kind != DATA {
            continue;
        }
        *come.entry(read.stream).or_default() += read.payload.len();
        if read.stream == 5 && read.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(come[&5], 100_000);
    let large = come.get(&1).copied().unwrap_or(0) + come.get(&3).copied().unwrap_or(0);
    assert!(large < 64 << 20, "{come:?}");
}
