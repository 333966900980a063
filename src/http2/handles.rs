//! The two sides of a stream, who begins them, and who asks whether a peer is there.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use super::error::{Error, Reason};
use super::state::{Announced, Shared};

/// Who sends requests on a connection, which ends once none of these is left and all that was asked is answered.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    shared: Arc<Asking>,
    announced: Announced,
}

#[derive(Debug)]
struct Asking(Shared);

impl Requests {
    pub(super) fn new(shared: Shared, announced: Announced) -> Self {
        Self {
            shared: Arc::new(Asking(shared)),
            announced,
        }
    }

    /// Sends the head of a request, which may be all of it; what comes, and what goes behind it.
    pub(crate) fn ask(
        &self,
        head: &Request<()>,
        is_all: bool,
    ) -> Result<(Incoming, Outgoing), Error> {
        let shared = &self.shared.0;
        let id = shared.lock().ask(head, is_all)?;
        Ok((
            Incoming::new(shared.clone(), id),
            Outgoing::new(shared.clone(), id),
        ))
    }

    /// Whether its server takes CONNECT for a protocol.
    pub(crate) fn announced(&self) -> Announced {
        self.announced.clone()
    }

    /// Whether its server has said what it takes.
    pub(crate) fn is_settled(&self) -> bool {
        self.shared.0.lock().is_settled()
    }

    /// How many requests its server takes at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.0.lock().most_streams()
    }

    /// The same, as long as it takes what it is sent: none, while it has much to read.
    pub(crate) fn most_now(&self) -> usize {
        let state = self.shared.0.lock();
        if state.is_crowded() {
            0
        } else {
            state.most_streams()
        }
    }

    /// Whether its server has so much to read that it gets no more meanwhile.
    pub(crate) fn are_crowded(&self) -> bool {
        self.shared.0.lock().is_crowded()
    }

    /// Whether it takes none any more.
    pub(crate) fn are_over(&self) -> bool {
        self.shared.0.lock().takes_no_more()
    }

    /// How often something came.
    pub(crate) fn heard(&self) -> u64 {
        self.shared.0.lock().heard()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.lock().leave();
    }
}

/// What comes on a stream. What is read may come again.
#[derive(Debug)]
pub(crate) struct Incoming {
    shared: Shared,
    id: u32,
}

impl Incoming {
    pub(super) fn new(shared: Shared, id: u32) -> Self {
        Self { shared, id }
    }

    /// The next head of an answer: interim ones are before the last.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        self.shared.lock().poll_head(self.id, cx)
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

    /// How much content its connection has taken so far, if it waits for nothing but its turn.
    pub(crate) fn said_meanwhile(&self) -> Option<u64> {
        self.shared.lock().said_meanwhile(self.id)
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
