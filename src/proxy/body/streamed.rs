//! A body that streams through: bounded, timed, and told of to those who wait for its end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::arriving::Arriving;
use super::{Body, BodyError, Whole};
use crate::proxy::http1::Http1;
use crate::proxy::pace::{Pace, Timer};

/// A body that streams through.
pub(in crate::proxy) struct Streamed {
    /// Frames that were read ahead.
    ahead: VecDeque<Frame<Bytes>>,
    inner: Arriving,
    /// Bytes that may still come; none: any number.
    left: Option<(u64, u64)>,
    pace: Timer,
    /// Dropped when the body has ended: gives back what the exchange holds.
    held: Option<Box<dyn Held>>,
    /// Told of the trailers.
    heed: Option<Box<dyn Heed>>,
}

/// Told of a body's trailers, before those that go no further are taken out of them.
pub(in crate::proxy) trait Heed: Send + Sync {
    /// They have come.
    fn heed(self: Box<Self>, trailers: &HeaderMap);
}

/// What lives as long as a body: told whether the body ended well, then dropped. Nobody is told of a body that is
/// given up.
pub(in crate::proxy) trait Held: Send + Sync {
    /// The whole body has been passed on; with the connection that it came on, if that is free.
    fn ended(self: Box<Self>, connection: Option<Http1>);

    /// No more of it comes.
    fn broke_off(self: Box<Self>, why: &BodyError);
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: usize = self
            .ahead
            .iter()
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum();
        let (ahead, inner) = (u64::try_from(ahead).unwrap_or(0), self.inner.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint.set_lower(inner.lower().saturating_add(ahead));
        hint
    }
}

impl Streamed {
    /// Passes `inner` on with at most `limit` bytes (0: any number), at this pace.
    pub(super) fn new(
        inner: Arriving,
        limit: u64,
        pace: Pace,
        held: Option<Box<dyn Held>>,
    ) -> Self {
        Self {
            ahead: VecDeque::new(),
            inner,
            left: (limit > 0).then_some((limit, limit)),
            pace: pace.timer(),
            held,
            heed: None,
        }
    }

    /// Has somebody told of the trailers.
    pub(super) fn heed(&mut self, heed: Box<dyn Heed>) {
        self.heed = Some(heed);
    }

    /// Reads it to its end, if that comes within `limit` bytes. A longer one streams on behind what was read.
    pub(super) async fn kept(mut self: Box<Self>, limit: usize) -> Result<Body, BodyError> {
        let (mut frames, mut length) = (VecDeque::new(), 0);
        while let Some(frame) = self.frame().await {
            let frame = frame?;
            length += frame.data_ref().map_or(0, Bytes::len);
            frames.push_back(frame);
            if length > limit {
                self.ahead = frames;
                return Ok(Body::Streamed(self));
            }
        }
        Ok(Body::Whole(Whole::of(frames)))
    }

    /// The same body from its beginning, of which these frames have passed already.
    pub(in crate::proxy) fn again(mut self: Box<Self>, passed: VecDeque<Frame<Bytes>>) -> Body {
        if !self.is_at_end() {
            let rest = std::mem::replace(&mut self.ahead, passed);
            self.ahead.extend(rest);
            return Body::Streamed(self);
        }
        Body::Whole(Whole::of(passed))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.ahead.is_empty() && self.inner.is_at_end()
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_next(cx);
        if let Poll::Ready(Some(Err(why))) = &polled
            && let Some(held) = self.held.take()
        {
            held.broke_off(why);
        }
        polled
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.pace.is_late() {
            return Poll::Ready(Some(Err(BodyError::Late)));
        }
        let Poll::Ready(frame) = self.inner.poll(cx) else {
            if self.inner.is_asked_for() {
                self.pace.asks_for_more();
            }
            return self.pace.poll(cx).map(|too_long| Some(Err(too_long)));
        };
        let mut frame = match frame.transpose() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.end();
                return Poll::Ready(None);
            }
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.pace.passed(frame.data_ref().map_or(0, Bytes::len));
        if let Err(too_long) = self.count(&frame) {
            return Poll::Ready(Some(Err(too_long)));
        }
        if let Some(trailers) = frame.trailers_mut() {
            if let Some(heed) = self.heed.take() {
                heed.heed(trailers);
            }
            self.inner.sift(trailers);
        }
        if self.inner.is_at_end() {
            self.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn end(&mut self) {
        self.heed = None;
        if let Some(held) = self.held.take() {
            held.ended(self.inner.take_connection());
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        let (Some((left, limit)), Some(data)) = (&mut self.left, frame.data_ref()) else {
            return Ok(());
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        *left = left.checked_sub(length).ok_or(BodyError::TooLong(*limit))?;
        Ok(())
    }
}
