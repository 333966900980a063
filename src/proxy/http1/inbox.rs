//! What an origin has sent and nobody has taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::super::guard::{Answers, Head, Part, Refusal};

/// Room for the next read, bytes: it doubles when a read fills it, and halves when one leaves most of it empty.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 128 << 10;

/// What is read of a connection.
pub(super) struct Inbox {
    pub(super) answers: Answers,
    input: BytesMut,
    room: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            answers: Answers::default(),
            input: BytesMut::new(),
            room: LEAST_ROOM,
        }
    }
}

impl Inbox {
    /// Reads what has come; 0: no more will.
    pub(super) fn poll_fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.input.reserve(self.room);
        let room = self.input.capacity() - self.input.len();
        let filled = poll_read_buf(Pin::new(from), cx, &mut self.input);
        if let Poll::Ready(Ok(length)) = filled {
            if length == room {
                self.room = (self.room * 2).min(MOST_ROOM);
            } else if length < self.room / 4 {
                self.room = (self.room / 2).max(LEAST_ROOM);
            }
        }
        filled
    }

    /// The head that has come. One whose body is none, as far as it has come too, is none either: there is still time
    /// to say so.
    pub(super) fn head(&mut self) -> Result<Option<Head>, Refusal> {
        let head = self.answers.head(&mut self.input)?;
        if head.is_some() {
            self.answers.foresee(&self.input)?;
        }
        Ok(head)
    }

    /// The part of the body that has come.
    pub(super) fn part(&mut self) -> Result<Option<Part>, Refusal> {
        self.answers.part(&mut self.input)
    }

    /// Whether the answer has come, and nothing behind it.
    pub(super) fn is_spent(&self) -> bool {
        self.answers.is_over() && self.input.is_empty()
    }

    /// Gives back the memory that the next answer may do without.
    pub(super) fn shrink(&mut self) {
        self.input = BytesMut::new();
    }

    /// What has come of a tunnel.
    pub(super) fn take_rest(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }
}
