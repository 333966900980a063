//! The two sides of a stream, and who asks whether its client is there.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::error::{Error, Reason};
use super::state::Shared;

/// What comes on a stream behind its head. What is read may come again.
#[derive(Debug)]
pub(crate) struct Incoming {
    shared: Shared,
    id: u32,
}

impl Incoming {
    pub(super) fn new(shared: Shared, id: u32) -> Self {
        Self { shared, id }
    }

    /// Content as it comes; none: there is no more.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.shared.lock().poll_data(self.id, cx)
    }

    /// The trailers, once there is no more content; none: there are none.
    pub(crate) fn take_trailers(&mut self) -> Result<Option<HeaderMap>, Error> {
        self.shared.lock().take_trailers(self.id)
    }

    /// Whether all was read.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.shared.lock().is_read(self.id)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.lock().leave_reading(self.id);
    }
}

/// What goes on a stream. If it is dropped before the end was said, the stream is reset.
#[derive(Debug)]
pub(crate) struct Outgoing {
    shared: Shared,
    id: u32,
}

impl Outgoing {
    pub(super) fn new(shared: Shared, id: u32) -> Self {
        Self { shared, id }
    }

    /// Says what there is to say before an answer.
    pub(crate) fn say_interim(&mut self, head: &Response<()>) -> Result<(), Error> {
        self.send_head((head.status(), head.headers()), false)
    }

    /// Says the head of an answer, which may be all of it.
    pub(crate) fn send_head(
        &mut self,
        head: (StatusCode, &HeaderMap),
        is_all: bool,
    ) -> Result<(), Error> {
        self.shared.lock().send_head(self.id, head, is_all)
    }

    /// How much content there is room for, once there is any.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.shared.lock().poll_room(self.id, cx)
    }

    /// Says content that there is room for.
    pub(crate) fn send_data(&mut self, content: Bytes, is_all: bool) -> Result<(), Error> {
        self.shared.lock().send_data(self.id, content, is_all)
    }

    /// Says trailers, which are the end.
    pub(crate) fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Error> {
        self.shared.lock().send_trailers(self.id, trailers)
    }

    /// Gives the stream up.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.shared.lock().give_up(self.id, reason);
    }

    /// Why the stream is over before its time, once it is.
    pub(crate) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.shared.lock().poll_broken(self.id, cx)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.lock().leave_writing(self.id);
    }
}

/// Asks whether somebody is there.
#[derive(Clone, Debug)]
pub(crate) struct Pinger(Shared);

impl Pinger {
    pub(super) fn new(shared: Shared) -> Self {
        Self(shared)
    }

    /// Sends a PING, whose answer is heard as all that comes.
    pub(crate) fn ping(&self) {
        self.0.lock().ping();
    }
}
