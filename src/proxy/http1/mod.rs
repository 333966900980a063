//! HTTP/1.1, one exchange at a time on a connection: towards origins here, and towards clients in [`serving`].
//!
//! hyper's client would be a task for each connection, to which requests, bodies and answers go by channels; that was
//! more than a fifth of the instructions of a small request. Here whoever asks reads and writes the connection itself, and the
//! body of an answer brings it back.

mod inbox;
mod keep_alive;
mod outbox;
mod reading;
mod request_head;
mod serving;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::Response;
use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::unconstrained;

use self::inbox::Inbox;
use self::keep_alive::kept_for;
use self::outbox::{Outbox, SendError};
pub(super) use self::reading::Reading;
pub(super) use self::request_head::RequestHead;
pub(super) use self::serving::{FromClient, serve};
use super::body::{Body, BodyError};
use super::guard::{Answers, Head, Refusal};
use super::tunnel::Io;

/// A connection on which a request may be sent.
pub(super) struct Http1 {
    io: Box<dyn Io>,
    inbox: Box<Inbox<Answers>>,
    /// How long its origin keeps it, if that was said.
    kept_for: Option<Duration>,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Not a byte of the request was sent, and here is its body.
    Unsent(io::Error, Body),
    /// The request's body broke off.
    Client(BodyError),
    /// What came is no answer.
    Malformed(Refusal),
    /// The connection broke or ended before a byte of an answer came.
    Closed(io::Error),
    /// The connection broke or ended within its answer.
    Broken(io::Error),
}

/// Why no head of an answer came.
enum HeadError {
    Malformed(Refusal),
    Io(io::Error),
}

impl Http1 {
    /// A connection that is open and fresh.
    pub(super) fn new(io: impl Io + 'static) -> Self {
        Self {
            io: Box::new(io),
            inbox: Box::default(),
            kept_for: None,
        }
    }

    /// How long its origin keeps it from now on, if that was said.
    pub(super) fn kept_for(&self) -> Option<Duration> {
        self.kept_for
    }

    /// Whether it is still open, and nothing has come that nobody asked for: bytes count as an answer only once a
    /// request was sent, so that none becomes somebody else's.
    pub(super) fn is_quiet(&mut self) -> bool {
        let (mut nobody, mut byte) = (Context::from_waker(Waker::noop()), [0]);
        let mut buf = ReadBuf::new(&mut byte);
        let reading = poll_fn(|cx| Pin::new(&mut self.io).poll_read(cx, &mut buf));
        // tokio would have a task that has read much wait for its next turn, as if nothing had come.
        pin!(unconstrained(reading)).poll(&mut nobody).is_pending()
    }

    /// Sends a request and waits for the head of its answer. Interim answers are heard meanwhile.
    pub(super) async fn ask(
        mut self,
        head: &RequestHead<'_>,
        body: Body,
        heard: impl Fn(&Head) + Sync,
    ) -> Result<Response<Reading>, Unanswered> {
        self.inbox.messages.expect(head.question());
        let mut unsent = body.copy();
        let mut outbox = head.with(body);
        let mut failed = None;
        let mut is_silent = true;
        let answer = poll_fn(|cx| {
            if failed.is_none() {
                match outbox.poll_send(&mut self.io, cx) {
                    Poll::Ready(Err(SendError::Body(error))) => {
                        return Poll::Ready(Err(Unanswered::Client(error)));
                    }
                    // It may have answered before it closed.
                    Poll::Ready(Err(SendError::Io(error))) => failed = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            if !outbox.has_begun() {
                return match failed.take() {
                    None => Poll::Pending,
                    Some(error) => Poll::Ready(Err(match unsent.take() {
                        Some(body) => Unanswered::Unsent(error, body),
                        None => Unanswered::Broken(error),
                    })),
                };
            }
            let read = ready!(self.poll_head(cx, &heard, &mut is_silent));
            Poll::Ready(read.map_err(|why| match why {
                HeadError::Malformed(refusal) => Unanswered::Malformed(refusal),
                HeadError::Io(error) if is_silent => {
                    Unanswered::Closed(failed.take().unwrap_or(error))
                }
                HeadError::Io(error) => Unanswered::Broken(failed.take().unwrap_or(error)),
            }))
        })
        .await?;
        Ok(self.begin_reading(answer, outbox))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        heard: &impl Fn(&Head),
        is_silent: &mut bool,
    ) -> Poll<Result<Head, HeadError>> {
        loop {
            let head = self.inbox.head().map_err(HeadError::Malformed)?;
            match head {
                Some(head) if is_interim(&head) => {
                    heard(&head);
                    continue;
                }
                Some(head) => return Poll::Ready(Ok(head)),
                None => {}
            }
            let filled = ready!(self.inbox.poll_fill(&mut self.io, cx));
            if filled.map_err(HeadError::Io)? == 0 {
                let why = "the connection was closed without an answer";
                let ended = io::Error::new(io::ErrorKind::UnexpectedEof, why);
                return Poll::Ready(Err(HeadError::Io(ended)));
            }
            *is_silent = false;
        }
    }

    fn begin_reading(mut self, head: Head, outbox: Outbox<Body>) -> Response<Reading> {
        self.kept_for = kept_for(&head.headers);
        let keeps = head.keeps_connection() && self.kept_for != Some(Duration::ZERO);
        let mut response = Response::new(if outbox.is_sent() {
            Reading::of(self, keeps)
        } else {
            Reading::while_sending(self, outbox)
        });
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        let usual = head.status.canonical_reason().unwrap_or_default();
        if *head.reason != *usual.as_bytes()
            && let Ok(reason) = ReasonPhrase::try_from(head.reason)
        {
            response.extensions_mut().insert(reason);
        }
        *response.headers_mut() = head.headers;
        response
    }
}

/// 101 is an answer, and the last one.
fn is_interim(head: &Head) -> bool {
    head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests;
