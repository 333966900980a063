//! Bodies as they stream through: bounded, timed, and never collected.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::access_log::Journal;
use super::expect::{Gate, Wanted, Wish};
use super::headers::remove_own;
use super::http1::{FromClient, Http1, Reading};
use super::http2::Receiving;
use super::pace::{Pace, Timer};
use super::replay::Replayed;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The other side did.
    #[error("the body broke off: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// No byte for too long.
    #[error("no byte of the body for {}", crate::units::show_duration(*.0))]
    Stalled(Duration),
    /// Slower than `limits.body_rate`.
    #[error("less than {0} bytes of the body a second")]
    Slow(u64),
    /// Over `limits.body`.
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    /// The origin has answered without it, and the client waits to be asked for it.
    #[error("the body was not wanted")]
    Unwanted,
    /// Past `timeouts.request`.
    #[error("the request took too long")]
    Late,
}

impl BodyError {
    /// The other side broke it off.
    pub(super) fn broken(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken(why.into())
    }
}

/// A body on its way.
pub(super) enum Body {
    /// None.
    Empty,
    /// One that is held whole: the edge made it, or keeps it to send it again.
    Whole(Whole),
    /// One that streams through.
    Streamed(Box<Streamed>),
    /// One that streams through, and comes back if it was not wanted.
    Replayed(Box<Replayed>),
}

/// A body that is held whole.
#[derive(Clone)]
pub(super) struct Whole {
    bytes: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

/// A body as it is read.
pub(super) enum Source {
    /// There is none.
    Nothing,
    /// Of a client or an origin over HTTP/2.
    Http2(Receiving),
    /// Of a client over HTTP/1.1.
    Client(FromClient),
    /// Of an origin over HTTP/1.1.
    Http1(Reading),
}

impl HttpBody for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Nothing => Poll::Ready(None),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
            Self::Client(body) => Pin::new(body).poll_frame(cx),
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http2(body) => body.is_end_stream(),
            Self::Client(body) => body.is_end_stream(),
            Self::Http1(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Http2(body) => body.size_hint(),
            Self::Client(body) => body.size_hint(),
            Self::Http1(body) => body.size_hint(),
        }
    }
}

/// What a peer sends.
pub(super) struct Arriving {
    body: Option<Source>,
    lingers: bool,
    /// Holds it back until it is wanted.
    gate: Option<Gate>,
    /// Counts what comes.
    journal: Option<Arc<Journal>>,
}

/// How long, and for how many bytes, the rest of a request is read that nobody wants any more: a client that is still
/// sending must be able to see the answer before its connection or stream is reset (RFC 9112 §9.6, RFC 9113 §8.1).
pub(super) const DISCARD: Duration = Duration::from_secs(5);
pub(super) const MOST_DISCARDED: usize = 32 << 20;

impl Arriving {
    /// A request's body. If it is given up before its end over HTTP/2, the rest is read and dropped for a while: a client
    /// that is still sending must be able to see the answer before the stream is reset (RFC 9113 §8.1). Over HTTP/1.1 its
    /// connection sees to that.
    pub(super) fn request(body: Source, journal: Option<&Arc<Journal>>) -> Self {
        Self {
            lingers: matches!(body, Source::Http2(_)),
            body: Some(body),
            gate: None,
            journal: journal.cloned(),
        }
    }

    /// Asks for nothing of it until it is wanted.
    pub(super) fn behind(mut self, wanted: Option<Wanted>) -> Self {
        self.gate = wanted.map(Gate::new);
        self
    }

    /// The body is wanted, whatever the origin says.
    pub(super) fn want(&mut self) {
        self.gate = None;
    }

    /// A response's body.
    pub(super) fn response(body: Source) -> Self {
        Self {
            body: Some(body),
            lingers: false,
            gate: None,
            journal: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.gate.as_mut().map(|gate| gate.poll(cx)) {
            None | Some(Poll::Ready(Wish::Send)) => {}
            Some(Poll::Ready(Wish::BreakOff)) => {
                return Poll::Ready(Some(Err(BodyError::Unwanted)));
            }
            Some(Poll::Ready(Wish::Keep)) => {
                self.body = None; // So that the client's connection can end.
                return Poll::Pending;
            }
            Some(Poll::Pending) => return Poll::Pending,
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if let (Some(journal), Poll::Ready(Some(Ok(frame)))) = (&self.journal, &polled) {
            journal.received(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    /// The connection that an answer came on, if it has ended and another request may be sent.
    fn take_connection(&mut self) -> Option<Http1> {
        match &mut self.body {
            Some(Source::Http1(reading)) => reading.take_connection(),
            Some(Source::Nothing | Source::Http2(_) | Source::Client(_)) | None => None,
        }
    }

    fn is_at_end(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // A body that was never wanted does not come (RFC 9110 §10.1.1).
        let is_coming = self.gate.as_ref().is_none_or(Gate::is_open);
        let rest = self
            .body
            .take()
            .filter(|body| is_coming && !body.is_end_stream());
        if let (Some(rest), true, Ok(runtime)) =
            (rest, self.lingers, tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async { tokio::time::timeout(DISCARD, read_away(rest)).await });
        }
    }
}

async fn read_away(mut rest: Source) {
    let mut left = MOST_DISCARDED;
    while let Some(Ok(frame)) = rest.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// A body that streams through.
pub(super) struct Streamed {
    /// Frames that were read ahead.
    ahead: VecDeque<Frame<Bytes>>,
    inner: Arriving,
    /// Bytes that may still come; none: any number.
    left: Option<(u64, u64)>,
    pace: Option<Timer>,
    /// Dropped when the body has ended: gives back what the exchange holds.
    held: Option<Box<dyn Held>>,
    /// Told of the trailers.
    heed: Option<Box<dyn Heed>>,
}

/// Told of a body's trailers, before the edge's own are taken out of them.
pub(super) trait Heed: Send + Sync {
    /// They have come.
    fn heed(self: Box<Self>, trailers: &HeaderMap);
}

/// What lives as long as a body: told whether the body ended well, then dropped. Nobody is told of a body that is
/// given up.
pub(super) trait Held: Send + Sync {
    /// The whole body has been passed on; with the connection that it came on, if that is free.
    fn ended(self: Box<Self>, connection: Option<Http1>);

    /// No more of it comes.
    fn broke_off(self: Box<Self>, why: &BodyError);
}

impl Body {
    /// A body that the edge makes.
    pub(super) fn made(text: impl Into<Bytes>) -> Self {
        Self::Whole(Whole {
            bytes: Some(text.into()),
            trailers: None,
        })
    }

    /// Passes `inner` on with at most `limit` bytes (0: any number), at this pace.
    pub(super) fn streamed(
        mut inner: Arriving,
        limit: u64,
        pace: Pace,
        held: Option<Box<dyn Held>>,
    ) -> Self {
        if inner.is_at_end() {
            if let Some(held) = held {
                held.ended(inner.take_connection());
            }
            return Self::Empty;
        }
        Self::Streamed(Box::new(Streamed {
            ahead: VecDeque::new(),
            inner,
            left: (limit > 0).then_some((limit, limit)),
            pace: pace.timer(),
            held,
            heed: None,
        }))
    }

    /// Has somebody told of the trailers, if it streams; dropped when it ends without any.
    pub(super) fn heed(&mut self, heed: Box<dyn Heed>) {
        if let Self::Streamed(streamed) = self {
            streamed.heed = Some(heed);
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The same body once more, if it is held whole.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Whole(whole) => Some(Self::Whole(whole.clone())),
            Self::Streamed(_) | Self::Replayed(_) => None,
        }
    }

    /// Reads a body that ends within `limit` bytes, so that it can be sent again. A longer one streams
    /// on behind what was read.
    pub(super) async fn kept(self, limit: usize) -> Result<Self, BodyError> {
        let Self::Streamed(mut streamed) = self else {
            return Ok(self);
        };
        let (mut frames, mut length) = (VecDeque::new(), 0);
        while let Some(frame) = streamed.frame().await {
            let frame = frame?;
            length += frame.data_ref().map_or(0, Bytes::len);
            frames.push_back(frame);
            if length > limit {
                streamed.ahead = frames;
                return Ok(Self::Streamed(streamed));
            }
        }
        Ok(Self::Whole(Whole::of(frames)))
    }
}

impl Whole {
    /// A body with trailers, for tests.
    #[cfg(test)]
    pub(super) fn with_trailers(bytes: &'static str, trailers: HeaderMap) -> Self {
        Self {
            bytes: Some(Bytes::from_static(bytes.as_bytes())),
            trailers: Some(trailers),
        }
    }

    /// All frames of a body.
    fn of(frames: VecDeque<Frame<Bytes>>) -> Self {
        let length = frames.iter().filter_map(Frame::data_ref).map(Bytes::len);
        let (mut bytes, mut trailers) = (Vec::with_capacity(length.sum()), None);
        for frame in frames {
            match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Self {
            bytes: Some(bytes.into()),
            trailers,
        }
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.bytes.take().map(Frame::data);
        data.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        match self.trailers {
            None => SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX)),
            // Trailers need a body of unannounced length over HTTP/1.1.
            Some(_) => SizeHint::default(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(whole) => Poll::Ready(whole.next().map(Ok)),
            Self::Streamed(streamed) => streamed.poll(cx),
            Self::Replayed(replayed) => replayed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(whole) => whole.bytes.is_none() && whole.trailers.is_none(),
            Self::Streamed(streamed) => streamed.is_at_end(),
            Self::Replayed(replayed) => replayed.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(whole) => whole.size_hint(),
            Self::Streamed(streamed) => HttpBody::size_hint(&**streamed),
            Self::Replayed(replayed) => replayed.size_hint(),
        }
    }
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
    /// The same body from its beginning, of which these frames have passed already.
    pub(super) fn again(mut self: Box<Self>, passed: VecDeque<Frame<Bytes>>) -> Body {
        if !self.is_at_end() {
            let rest = std::mem::replace(&mut self.ahead, passed);
            self.ahead.extend(rest);
            return Body::Streamed(self);
        }
        Body::Whole(Whole::of(passed))
    }

    fn is_at_end(&self) -> bool {
        self.ahead.is_empty() && self.inner.is_at_end()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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
        let Poll::Ready(frame) = self.inner.poll(cx) else {
            return match &mut self.pace {
                Some(pace) => pace.poll(cx).map(|too_long| Some(Err(too_long))),
                None => Poll::Pending,
            };
        };
        let mut frame = match frame.transpose() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.end();
                return Poll::Ready(None);
            }
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        if let Some(pace) = &mut self.pace {
            pace.passed(frame.data_ref().map_or(0, Bytes::len));
        }
        if let Err(too_long) = self.count(&frame) {
            return Poll::Ready(Some(Err(too_long)));
        }
        if let Some(trailers) = frame.trailers_mut() {
            if let Some(heed) = self.heed.take() {
                heed.heed(trailers);
            }
            remove_own(trailers);
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
