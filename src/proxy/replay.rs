//! A streamed body that comes back if the origin did not want it: what has passed of it is held, within a bound.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::body::{Body, BodyError, Streamed};

/// How long it is waited for: whoever had it lets go of it as soon as its stream is reset.
const BACK_WITHIN: Duration = Duration::from_millis(100);

/// A body that streams through and is held as well.
pub(super) struct Replayed {
    streamed: Option<Box<Streamed>>,
    held: VecDeque<Frame<Bytes>>,
    /// Bytes that may still be held.
    left: usize,
    back: Option<oneshot::Sender<Body>>,
}

/// Where such a body comes back.
pub(super) struct Back(oneshot::Receiver<Body>);

impl Back {
    /// The body, if all that has passed of it was held.
    pub(super) async fn body(self) -> Option<Body> {
        let back = tokio::time::timeout(BACK_WITHIN, self.0).await;
        back.ok()?.ok()
    }
}

impl Replayed {
    /// Holds up to `limit` bytes of a body as they pass. Other bodies are held whole or empty already.
    pub(super) fn of(body: Body, limit: usize) -> (Body, Option<Back>) {
        let Body::Streamed(streamed) = body else {
            return (body, None);
        };
        let (back, receiver) = oneshot::channel();
        let replayed = Self {
            streamed: Some(streamed),
            held: VecDeque::new(),
            left: limit,
            back: Some(back),
        };
        (Body::Replayed(Box::new(replayed)), Some(Back(receiver)))
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(streamed) = &mut self.streamed else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut **streamed).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.hold(frame),
            Poll::Ready(Some(Err(_))) => self.let_go(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn hold(&mut self, frame: &Frame<Bytes>) {
        if self.back.is_none() {
            return;
        }
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return self.let_go(),
        }
        let data = frame.data_ref().cloned().map(Frame::data);
        let trailers = || frame.trailers_ref().cloned().map(Frame::trailers);
        self.held.extend(data.or_else(trailers));
    }

    fn let_go(&mut self) {
        self.back = None;
        self.held = VecDeque::new();
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.streamed
            .as_ref()
            .is_none_or(|streamed| streamed.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let hint = self
            .streamed
            .as_ref()
            .map(|streamed| HttpBody::size_hint(&**streamed));
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Replayed {
    fn drop(&mut self) {
        if let (Some(back), Some(streamed)) = (self.back.take(), self.streamed.take()) {
            let body = streamed.again(std::mem::take(&mut self.held));
            // Nobody waits for it any more if it was taken.
            let _ = back.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_lets_go_of_is_waited_for_a_tenth_of_a_second() {
        let began = tokio::time::Instant::now();
        let (held, receiver) = oneshot::channel();
        assert!(Back(receiver).body().await.is_none());
        assert_eq!(began.elapsed().as_millis(), 100);
        drop(held);
    }
}
