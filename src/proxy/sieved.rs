//! An origin's HTTP/2 connection without the DATA frames that bring nothing: no byte, no padding, no end (RFC 9113 §6.1).
//!
//! They mean nothing, and some send them all the same. The h2 crate ends a connection with the hundred and first of its
//! life, and with it every request on it. They count against no window, so that nobody misses them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, ReadBuf};

use super::guard::LONGEST_TRAILERS;
use super::http2::LongBlocks;
use super::write_through::write_through;
use crate::http2::frame::{CONTINUATION, END_STREAM, Frame, HEAD, HEADERS};

/// A connection whose reader sees no empty DATA frame. Blocks of fields that are longer than trailers may be are noted.
pub(super) struct Sieved<S> {
    stream: S,
    sieve: Sieve,
    /// What is left to be given out of a frame's head that came in pieces.
    late: SmallVec<[u8; HEAD]>,
}

impl<S> Sieved<S> {
    /// What an origin says.
    pub(super) fn of_origin(stream: S, long_blocks: LongBlocks) -> Self {
        Self {
            stream,
            sieve: Sieve {
                long_blocks,
                ..Sieve::default()
            },
            late: SmallVec::new(),
        }
    }

    /// Gives out what is late; whether there was any.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let is_late = !self.late.is_empty();
        let fitting = self.late.len().min(buf.remaining());
        for byte in self.late.drain(..fitting) {
            buf.put_slice(&[byte]);
        }
        is_late
    }
}

impl<S: AsyncRead + Unpin> Sieved<S> {
    /// Reads the rest of a head that has begun; what of it is to be given out is late then.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (head, have) = (&mut self.sieve.head, self.sieve.have);
        let mut rest = ReadBuf::new(head.get_mut(have..).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
        let more = rest.filled().len();
        self.sieve.have += more;
        let is_cut_off = more == 0;
        let is_whole = self.sieve.have == HEAD;
        if is_cut_off || (is_whole && self.sieve.keeps_frame()) {
            let come = self.sieve.head.get(..self.sieve.have);
            self.late = come.unwrap_or_default().into();
        }
        if is_cut_off || is_whole {
            self.sieve.have = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sieved<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.sieve.have > 0 {
                ready!(this.poll_head(cx))?;
                continue;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let come = buf.filled_mut().get_mut(before..).unwrap_or_default();
            let is_end = come.is_empty();
            let kept = this.sieve.sift(come);
            buf.set_filled(before + kept);
            if is_end || kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

write_through!(Sieved);

/// Walks over what comes from frame to frame.
#[derive(Debug, Default)]
struct Sieve {
    /// Bytes of a payload that are still to come.
    payload: usize,
    /// The next frame's head, and how much of it has come.
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the block of fields that came last; none: it does not end its stream.
    block: Option<usize>,
    long_blocks: LongBlocks,
}

impl Sieve {
    /// Whether the frame of this head is kept; if so, its payload is next.
    fn keeps_frame(&mut self) -> bool {
        let frame = Frame::of(self.head);
        self.payload = frame.length;
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.note_block(frame);
        }
        !frame.is_nothing()
    }

    /// Trailers end their stream (RFC 9113 §8.1); a head that does so has none.
    fn note_block(&mut self, frame: Frame) {
        let before = match frame.kind {
            HEADERS => Some(0).filter(|_| frame.flags & END_STREAM != 0),
            _ => self.block,
        };
        self.block = before.map(|before| before.saturating_add(frame.length));
        if before <= Some(LONGEST_TRAILERS) && self.block > Some(LONGEST_TRAILERS) {
            self.long_blocks.note(frame.stream);
        }
    }

    /// Takes empty frames out of what came; how many bytes are left, from the first on. A head that has not come whole is
    /// held back.
    fn sift(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            let left = bytes.len() - from;
            let length = if self.payload > 0 {
                let length = self.payload.min(left);
                self.payload -= length;
                length
            } else if let Some(head) = bytes.get(from..).and_then(|rest| rest.first_chunk()) {
                self.head = *head;
                if !self.keeps_frame() {
                    from += HEAD;
                    continue;
                }
                HEAD
            } else {
                let begun = bytes.get(from..).unwrap_or_default();
                for (place, byte) in self.head.iter_mut().zip(begun) {
                    *place = *byte;
                }
                self.have = left;
                break;
            };
            if from > to {
                bytes.copy_within(from..from + length, to);
            }
            (from, to) = (from + length, to + length);
        }
        to
    }
}

/// What is left of an origin's bytes that come in pieces of this size, read in pieces of that. For fuzzing.
pub fn what_is_sieved(bytes: &[u8], piece: usize, read: usize) -> Vec<u8> {
    let pieces = Pieces {
        bytes,
        piece: piece.max(1),
    };
    let (mut sieved, mut left) = (Sieved::of_origin(pieces, LongBlocks::default()), Vec::new());
    let mut room = vec![0; read.max(1)];
    let nobody = &mut Context::from_waker(std::task::Waker::noop());
    loop {
        let mut buf = ReadBuf::new(&mut room);
        let polled = Pin::new(&mut sieved).poll_read(nobody, &mut buf);
        if polled.is_pending() || buf.filled().is_empty() {
            return left;
        }
        left.extend_from_slice(buf.filled());
    }
}

/// Bytes that come in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.piece.min(buf.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(length);
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http2::frame::DATA;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [high, middle, low, kind, flags, 0, 0, 0, 1];
        [&head[..], payload].concat()
    }

    #[test]
    fn a_block_that_ends_its_stream_and_is_longer_than_trailers_may_be_is_noted() {
        let is_noted = |frames: &[(u8, u8, usize)]| {
            let mut sieve = Sieve::default();
            for (kind, flags, length) in frames {
                sieve.sift(&mut frame(*kind, *flags, &vec![0; *length]));
            }
            sieve.long_blocks.have(1)
        };
        let (most, one) = (LONGEST_TRAILERS, 1);
        assert!(!is_noted(&[(HEADERS, END_STREAM, most)]));
        assert!(is_noted(&[(HEADERS, END_STREAM, most + one)]));
        assert!(is_noted(&[
            (HEADERS, END_STREAM, most),
            (CONTINUATION, 0, one)
        ]));
        assert!(!is_noted(&[(HEADERS, 0, most), (CONTINUATION, 0, most)]));
        let other = [(HEADERS, 0, most), (HEADERS, END_STREAM, most)];
        assert!(!is_noted(&other), "each is a block of its own");
    }

    proptest! {
        #[test]
        fn frames_that_bring_nothing_are_left_out_and_no_other_however_they_come_and_are_read(
            frames in prop::collection::vec((0..3_u8, 0..2_u8, prop::collection::vec(any::<u8>(), 0..20)), 0..30),
            empty in prop::collection::vec(0..30_usize, 0..30),
            (piece, read) in (1..40_usize, 1..40_usize),
        ) {
            let is_kept = |(kind, flags, payload): &(u8, u8, Vec<u8>)| *kind > 0 || *flags > 0 || !payload.is_empty();
            let mut frames: Vec<_> = frames.into_iter().filter(is_kept).collect();
            let bytes = |frames: &[(u8, u8, Vec<u8>)]| {
                let frames = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, payload));
                frames.collect::<Vec<u8>>()
            };
            let kept = bytes(&frames);
            for at in empty {
                frames.insert(at.min(frames.len()), (DATA, 0, Vec::new()));
            }
            let come = bytes(&frames);
            prop_assert_eq!(&what_is_sieved(&come, piece, read), &kept);
            // What is cut off anywhere is given out as far as it is no empty frame.
            prop_assert_eq!(&what_is_sieved(&kept, piece, read), &kept);
            let cut = kept.len() / 2;
            prop_assert_eq!(&what_is_sieved(&kept[..cut], piece, read), &kept[..cut]);
        }
    }
}
