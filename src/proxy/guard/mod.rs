//! HTTP/1.1 framing as it must be. Pure.
//!
//! Whoever settles an ambiguity otherwise than who stands behind or before him is open to request smuggling, or takes
//! one client's answer for another's. So what two parsers could read differently is refused. RFC 9112 §2.2, §3 to §7.
//!
//! What clients say is read by [`Requests`] alone, and what origins say by [`Answers`]; both are made of the same pieces.

mod answer;
mod field;
mod message;
mod pieces;
mod request;
mod requests;

pub(super) use answer::{Answers, Head, MOST_INTERIM, Question};
pub(super) use field::{LONGEST_BODY, keeps_connection};
pub(super) use message::Part;
pub(super) use requests::Requests;

use bytes::BytesMut;

/// The longest head, and the longest trailers, bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// The longest trailers of a message over HTTP/2, bytes: as a block, and as RFC 9113 §6.5.2 counts fields.
pub(super) const LONGEST_TRAILERS: usize = 64 << 10;

/// The most fields of a head, or of trailers; the contract's 100 are checked behind that.
pub(super) const PARSED_FIELDS: usize = 256;

/// The longest target of a request, bytes: what the type of all URIs takes.
const LONGEST_TARGET: usize = (64 << 10) - 2;

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
    /// 431 to a client, 502 for an origin.
    #[error(
        "the trailers are longer than {LONGEST_HEAD} bytes ({LONGEST_TRAILERS} over HTTP/2), or more than {PARSED_FIELDS} fields"
    )]
    TrailersTooLarge,
    /// 414 to a client.
    #[error("the target is longer than {LONGEST_TARGET} bytes")]
    TargetTooLong,
}

/// What a client's bytes say that come in pieces of this size: request lines, fields and bodies line by line; and why the
/// rest says nothing. For fuzzing.
pub fn what_requests_say(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<String>) {
    let (mut requests, mut input, mut out) = (Requests::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        if let Err(refusal) = requests.say_all(&mut input, &mut out) {
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
