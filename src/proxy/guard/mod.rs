//! HTTP/1.1 framing as it must be. Pure.
//!
//! Whoever settles an ambiguity otherwise than who stands behind or before him is open to request smuggling, or takes
//! one client's answer for another's. So what two parsers could read differently is refused. RFC 9112 §2.2, §3 to §7.
//!
//! hyper's server settles some of it silently (with both framings it drops Content-Length, it takes lines that end in
//! a bare LF), so every byte of a client passes [`Guard`] before it. What origins say is read by [`Answers`] alone.

mod answer;
mod field;
mod passage;
mod pieces;
mod request;

pub(super) use answer::{Answers, Head, Part, Question};
pub(super) use passage::Guard;

use bytes::BytesMut;

/// The longest head, and the longest trailers, bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// The most fields of a head; the contract's 100 are checked behind that.
pub(super) const PARSED_FIELDS: usize = 256;

/// The most that is read of a connection, or is to be written to it, before it is passed on, bytes: a head and
/// a little of what follows.
pub(super) const MOST_BUFFERED: usize = LONGEST_HEAD + (16 << 10);

/// Why a connection's bytes go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// 400 to a client, 502 for an origin.
    #[error("{0}")]
    Malformed(&'static str),
    /// 431 to a client, 502 for an origin.
    #[error("the head is longer than {LONGEST_HEAD} bytes")]
    HeadTooLarge,
    /// 431 to a client, 502 for an origin.
    #[error("the head has more than {PARSED_FIELDS} fields")]
    TooManyFields,
}

/// What passes of a client's bytes that come in pieces of this size, and why the rest does not: for fuzzing.
pub fn what_passes(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<String>) {
    let (mut guard, mut out) = (Guard::default(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        if let Err(refusal) = guard.judge(piece, &mut out) {
            return (out, Some(refusal.to_string()));
        }
    }
    (out, None)
}

/// What an origin's bytes say that come in pieces of this size, and answer a HEAD or another request: statuses, fields and
/// bodies line by line; and why the rest says nothing. For fuzzing.
pub fn what_answers_say(bytes: &[u8], piece: usize, to_head: bool) -> (Vec<u8>, Option<String>) {
    let (mut answers, mut input, mut out) = (Answers::default(), BytesMut::new(), Vec::new());
    answers.expect(if to_head {
        Question::Head
    } else {
        Question::Other
    });
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        if let Err(refusal) = answers.say_all(&mut input, &mut out) {
            return (out, Some(refusal.to_string()));
        }
    }
    (out, None)
}
