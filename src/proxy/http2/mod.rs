//! HTTP/2, as [`crate::http2`] speaks it: towards clients in [`serving`], towards origins in [`Http2`].
//!
//! The streams of a client's connection are polled by its one task, behind which what they have said leaves together.

mod keep_alive;
mod origin;
mod receiving;
mod rules;
mod sending;
mod serving;
mod stream;
mod tunnel;
mod uploading;

#[cfg(test)]
mod tests;

pub(super) use self::origin::{Http2, Place, Unanswered};
pub(super) use self::receiving::Receiving;
pub(super) use self::rules::{check_answer, check_request};
pub(super) use self::serving::serve;
pub(super) use self::uploading::Uploading;

/// What a client, or an origin, may be ahead of whom it speaks to on one stream, bytes: at 100 ms of round trip that is
/// 5 MB/s.
const STREAM_WINDOW: u32 = 512 << 10;

/// The largest head of a message, bytes.
const LARGEST_HEAD: u32 = 256 << 10;
