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
        let (back, receiver) = oneshot::channel();
        let replayed = match body {
            Body::Streamed(streamed) => Box::new(Self {
                streamed: Some(streamed),
                held: VecDeque::new(),
                left: limit,
                back: Some(back),
            }),
            // It was not sent before: nothing of it has passed.
            Body::Replayed(mut unsent) if unsent.is_whole() => {
                unsent.back = Some(back);
                unsent
            }
            body @ (Body::Replayed(_) | Body::Whole(_) | Body::Empty) => return (body, None),
        };
        (Body::Replayed(replayed), Some(Back(receiver)))
    }

    fn is_whole(&self) -> bool {
        self.back.is_some() && self.held.is_empty()
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
    use std::sync::Arc;

    use http::uri::PathAndQuery;
    use http::{HeaderMap, Method};
    use http_body_util::BodyExt;
    use tokio::io::AsyncWriteExt;

    use super::super::activity::Activity;
    use super::super::body::{Arriving, Source};
    use super::super::http1::{Http1, RequestHead};
    use super::super::pace::{Pace, Part};
    use super::*;

    #[tokio::test]
    async fn a_body_that_was_not_sent_comes_back_from_the_next_who_did_not_want_it() {
        let (mut sender, edge) = tokio::io::duplex(1 << 10);
        let said = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine";
        sender.write_all(said).await.unwrap();
        let head = RequestHead {
            method: &Method::GET,
            path: &PathAndQuery::from_static("/"),
            authority: "www.example.com",
            headers: &HeaderMap::new(),
        };
        let answer = Http1::new(edge).ask(&head, Body::Empty, |_| {}).await;
        let source = Source::Http1(answer.ok().unwrap().into_body());
        let pace = Pace {
            part: Part::Request,
            activity: Arc::new(Activity::new()),
            idle: Duration::ZERO,
            deadline: None,
            rate: 0,
        };
        let streamed = Body::streamed(Arriving::response(source), 0, pace, None);
        let (unsent, _) = Replayed::of(streamed, 10);
        let (mut sent, back) = Replayed::of(unsent, 10);
        sent.frame().await.unwrap().unwrap();
        drop(sent);
        let body = back.unwrap().body().await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "mine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_lets_go_of_is_waited_for_a_tenth_of_a_second() {
        let began = tokio::time::Instant::now();
        let (held, receiver) = oneshot::channel();
        assert!(Back(receiver).body().await.is_none());
        assert_eq!(began.elapsed().as_millis(), 100);
        drop(held);
    }
}
