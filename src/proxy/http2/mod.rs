//! HTTP/2: towards clients, in [`serving`], as [`crate::http2`] speaks it; towards origins, in [`Http2`], on the h2 crate.
//!
//! The streams of a client's connection are polled by its one task, behind which what they have said leaves together.

mod heard;
mod long_blocks;
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

pub(super) use self::heard::Heard;
pub(super) use self::long_blocks::LongBlocks;
pub(super) use self::origin::{Http2, MOST_AT_FIRST, Place, Unanswered};
pub(super) use self::receiving::Receiving;
pub(super) use self::rules::{check_answer, check_request};
pub(super) use self::serving::serve;
pub(super) use self::uploading::Uploading;

/// What a client, or an origin, may be ahead of whom it speaks to on one stream, bytes: at 100 ms of round trip that is
/// 5 MB/s. The h2 crate ends an origin's connection on which small DATA frames wait for more than half of its window, counting
/// 256 bytes for each that has less: at this ratio a stream of messages of 29 bytes and more is held back by its own window before that.
const STREAM_WINDOW: u32 = 512 << 10;

/// The largest head of a message, bytes.
const LARGEST_HEAD: u32 = 256 << 10;

/// What the edge may be ahead of an origin on one stream, bytes.
const STREAM_BUFFER: usize = 64 << 10;
