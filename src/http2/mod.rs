//! HTTP/2 (RFC 9113), written for a proxy: heads are refused where they are read, what a peer may
//! cost is bounded where it comes, and a connection that says nothing holds next to nothing.
//!
//! `frame` what passes · `hpack` fields · `head` messages · `flood` and `cut` what may come · `window` flow control · `outbox` what is to be
//! written · `state` a connection, which reads and writes no socket · `connection` the one that does · `handles` the two
//! sides of a stream.

mod connection;
mod cut;
mod error;
mod flood;
pub(crate) mod frame;
mod handles;
mod head;
mod hpack;
mod outbox;
mod state;
mod stream;
mod window;

pub(crate) use connection::{Accepted, Came, Connection};
pub(crate) use error::{Ended, Error, Reason};
pub(crate) use handles::{Incoming, Outgoing, Pinger, Requests};
pub(crate) use head::{NoMessage, OF_CONNECTIONS, Protocol};
pub(crate) use state::{Announced, MOST_AT_FIRST, Signs};

use bytes::BytesMut;
use http::{Method, Request};
use state::State;

/// What a connection may cost, and its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Streams that its peer may begin, at once.
    pub(crate) streams: u32,
    /// What may come of one stream's content before it is read, bytes.
    pub(crate) stream_window: u32,
    /// The same of all streams.
    pub(crate) window: u32,
    /// A head, as RFC 9113 §6.5.2 counts it.
    pub(crate) head: u32,
    /// Trailers, so counted too, and how many fields they may be.
    pub(crate) trailers: usize,
    pub(crate) trailer_fields: usize,
    /// Interim answers to one request.
    pub(crate) interim: u8,
}

/// Limits that little is beyond, for fuzzing.
const SMALL: Limits = Limits {
    streams: 10,
    stream_window: 1_000,
    window: 100_000,
    head: 1_000,
    trailers: 100,
    trailer_fields: 4,
    interim: 2,
};

/// What a client brings whose bytes come in pieces of this size: each stream that it has begun, and in bytes what it is told.
/// For fuzzing.
pub fn what_comes(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    what_comes_of(State::answering(SMALL), bytes, piece)
}

/// What a server answers, whose bytes come in pieces of this size, to a GET, a HEAD, a CONNECT and a POST that goes on.
/// For fuzzing.
pub fn what_is_answered(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let (mut state, _) = State::asking(SMALL);
    for method in [Method::GET, Method::HEAD, Method::CONNECT, Method::POST] {
        let is_all = [Method::GET, Method::HEAD].contains(&method);
        let mut head = Request::new(());
        *head.method_mut() = method;
        // Nothing has ended it yet.
        let _ = state.ask(&head, is_all);
    }
    what_comes_of(state, bytes, piece)
}

fn what_comes_of(mut state: State, bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let mut input = BytesMut::new();
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        if let Err(wrong) = state.receive(&mut input) {
            state.end(Ended::Wrong(wrong));
            break;
        }
    }
    state.show()
}
