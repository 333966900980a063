//! The least that a DNS server over UDP can cost: receives in batches, sets QR, sends back.
//!
//! `cargo run --release --example bare_responder -- 127.0.0.1:5399`. What a real server costs beyond
//! this is its own; `run.py` prints the ratio.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench that cannot go on should stop loudly"
)]

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// As `serve` has them.
const BATCH: usize = 32;
const BYTES: usize = 2048;

fn main() {
    let address = std::env::args()
        .nth(1)
        .expect("usage: bare_responder ADDRESS:PORT");
    let socket = UdpSocket::bind(address).expect("the address is free");
    let mut queries = Box::new([[0; BYTES]; BATCH]);
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut came = Vec::with_capacity(BATCH);
    loop {
        came.clear();
        let mut slices = queries.each_mut().map(|query| [IoSliceMut::new(query)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut incoming,
            slices.iter_mut(),
            flags,
            None,
        );
        came.extend(
            messages
                .expect("the socket receives")
                .map(|message| (message.address, message.bytes)),
        );
        let mut slices = Vec::with_capacity(BATCH);
        for (query, (_, length)) in queries.iter_mut().zip(&came) {
            query[2] |= 0x80;
            slices.push([IoSlice::new(&query[..*length])]);
        }
        let addresses: Vec<_> = came.iter().map(|(address, _)| *address).collect();
        sendmmsg(
            socket.as_raw_fd(),
            &mut outgoing,
            slices.iter(),
            &addresses,
            [],
            MsgFlags::empty(),
        )
        .expect("the socket sends");
    }
}
