//! What is to be written to a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use tokio::io::AsyncWrite;

use super::frame::Frame;

/// Content that is longer is not copied.
const LONGEST_COPIED: usize = 4 << 10;

/// Room that a connection keeps while nothing is to be written.
const KEPT: usize = 1 << 10;

/// Pieces that are written at once.
const MOST_AT_ONCE: usize = 16;

/// Frames in their order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What is before `last`.
    pieces: VecDeque<Bytes>,
    last: Vec<u8>,
    length: usize,
    /// Bytes that were written.
    written: u64,
}

impl Outbox {
    /// Bytes that are still to be written.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that were written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that will have been written once nothing is left.
    pub(super) fn end(&self) -> u64 {
        self.written.saturating_add(count(self.length))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    pub(super) fn push_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = Frame {
            length: payload.len(),
            kind,
            flags,
            stream,
        };
        self.push(&frame.head());
        self.push(payload);
    }

    /// Content of a stream, in one frame.
    pub(super) fn push_content(&mut self, kind: u8, flags: u8, stream: u32, content: Bytes) {
        if content.len() <= LONGEST_COPIED {
            return self.push_frame(kind, flags, stream, &content);
        }
        let frame = Frame {
            length: content.len(),
            kind,
            flags,
            stream,
        };
        self.push(&frame.head());
        self.length += content.len();
        self.pieces.push_back(std::mem::take(&mut self.last).into());
        self.pieces.push_back(content);
    }

    /// Writes what there is, and sees it off.
    pub(super) fn poll_write<S>(&mut self, to: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while self.length > 0 {
            let written = ready!(self.poll_write_some(to, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        if self.last.capacity() > KEPT {
            self.last = Vec::new();
        }
        Pin::new(to).poll_flush(cx)
    }

    fn poll_write_some<S>(&self, to: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Unpin,
    {
        if self.pieces.is_empty() {
            return Pin::new(to).poll_write(cx, &self.last);
        }
        let pieces = self
            .pieces
            .iter()
            .map(|piece| &**piece)
            .chain([&*self.last]);
        let pieces: SmallVec<[IoSlice<'_>; MOST_AT_ONCE]> =
            pieces.take(MOST_AT_ONCE).map(IoSlice::new).collect();
        Pin::new(to).poll_write_vectored(cx, &pieces)
    }

    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        self.written = self.written.saturating_add(count(written));
        while let Some(first) = self.pieces.front_mut() {
            let length = written.min(first.len());
            first.advance(length);
            written -= length;
            if !first.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.last.drain(..written);
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn nothing_is_lost_or_reordered_whatever_its_length_and_however_it_is_taken() {
        for pipe in [7, 1_000, 1 << 20] {
            let (mut client, mut edge) = duplex(pipe);
            let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
            for (number, length) in (0_u8..).zip([
                1,
                3,
                LONGEST_COPIED,
                LONGEST_COPIED + 1,
                9_000,
                2,
                16_384,
                5,
            ]) {
                let content = vec![number; length];
                expected.extend(
                    Frame {
                        length,
                        kind: 0,
                        flags: 0,
                        stream: 1,
                    }
                    .head(),
                );
                expected.extend_from_slice(&content);
                outbox.push_content(0, 0, 1, content.into());
            }
            assert_eq!(outbox.len(), expected.len());
            let end = outbox.end();
            let writing = tokio::spawn(async move {
                let written = std::future::poll_fn(|cx| outbox.poll_write(&mut edge, cx));
                written.await.unwrap();
                edge.shutdown().await.unwrap();
                assert!(outbox.is_empty() && outbox.last.capacity() <= KEPT);
                assert_eq!(outbox.written(), outbox.end());
                assert_eq!(outbox.written(), end);
            });
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            writing.await.unwrap();
            assert!(received == expected, "{pipe}");
        }
    }
}
