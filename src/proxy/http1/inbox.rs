//! What a peer has sent and nobody has taken yet.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::Request;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::super::guard::{Answers, Head, Part, Refusal, Requests};

/// Room for the next read, bytes: it doubles when a read fills it, and halves when one leaves most of it empty.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 128 << 10;

thread_local! {
    /// Where connections read that hold no room for it.
    static PASSING: RefCell<Box<[u8]>> = RefCell::new(vec![0; LEAST_ROOM].into_boxed_slice());
}

/// What is read of a connection.
pub(super) struct Inbox<M> {
    /// Where its messages stand.
    pub(super) messages: M,
    pub(super) input: BytesMut,
    room: usize,
}

impl<M: Default> Default for Inbox<M> {
    fn default() -> Self {
        Self {
            messages: M::default(),
            input: BytesMut::new(),
            room: LEAST_ROOM,
        }
    }
}

impl<M> Inbox<M> {
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

    /// The same without room of its own as long as nothing comes.
    pub(super) fn poll_fill_seldom(
        &mut self,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        PASSING.with_borrow_mut(|passing| {
            let mut read = ReadBuf::new(passing);
            ready!(Pin::new(from).poll_read(cx, &mut read))?;
            self.input.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// Whether what is left of a body, if that is known, has come.
    pub(super) fn has_come(&self, left: Option<u64>) -> bool {
        let left = left.and_then(|left| usize::try_from(left).ok());
        left.is_some_and(|left| left <= self.input.len())
    }

    /// Gives back the memory that the next message may do without.
    pub(super) fn shrink(&mut self) {
        self.input = BytesMut::new();
    }

    /// What has come of a tunnel.
    pub(super) fn take_rest(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }
}

impl Inbox<Answers> {
    /// The head that has come. One whose body is none, as far as it has come too, is none either: there is still time
    /// to say so.
    pub(super) fn head(&mut self) -> Result<Option<Head>, Refusal> {
        let head = self.messages.head(&mut self.input)?;
        if head.is_some() {
            self.messages.foresee(&self.input)?;
        }
        Ok(head)
    }

    /// The part of the body that has come.
    pub(super) fn part(&mut self) -> Result<Option<Part>, Refusal> {
        self.messages.part(&mut self.input)
    }

    /// Whether the answer has come, and nothing behind it.
    pub(super) fn is_spent(&self) -> bool {
        self.messages.is_over() && self.input.is_empty()
    }
}

impl Inbox<Requests> {
    /// The head that has come.
    pub(super) fn head(&mut self) -> Result<Option<Request<()>>, Refusal> {
        self.messages.head(&mut self.input)
    }

    /// The part of the body that has come.
    pub(super) fn part(&mut self) -> Result<Option<Part>, Refusal> {
        self.messages.part(&mut self.input)
    }
}
