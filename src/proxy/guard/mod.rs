//! HTTP/1.1 framing as it must be, before hyper's parsers see it. Pure.
//!
//! hyper settles some ambiguities silently (with both framings it drops Content-Length, it takes lines
//! that end in a bare LF), and whoever settles them otherwise behind or before us is open to request
//! smuggling, or takes one client's answer for another's. So every byte from a client and from an origin
//! passes here first, and what two parsers could read differently is refused. RFC 9112 §2.2, §3 to §7.

mod answer;
mod field;
mod pieces;
mod request;

pub(super) use answer::{Answers, Question};
pub(super) use pieces::Guard;
pub(super) use request::Requests;

/// The longest head, and the longest trailers, bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// The most fields that reach hyper's parser; the contract's 100 are checked behind it.
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
    pass(&mut Guard::new(Requests::default()), bytes, piece)
}

/// The same of an origin's bytes, that answer a HEAD or another request: for fuzzing.
pub fn what_passes_of_answers(
    bytes: &[u8],
    piece: usize,
    to_head: bool,
) -> (Vec<u8>, Option<String>) {
    let mut guard = Guard::new(Answers::default());
    guard.heads_mut().expect(if to_head {
        Question::Head
    } else {
        Question::Other
    });
    pass(&mut guard, bytes, piece)
}

fn pass<H: pieces::Heads>(
    guard: &mut Guard<H>,
    bytes: &[u8],
    piece: usize,
) -> (Vec<u8>, Option<String>) {
    let mut out = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        if let Err(refusal) = guard.judge(piece, &mut out) {
            return (out, Some(refusal.to_string()));
        }
    }
    (out, None)
}
