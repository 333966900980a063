//! The body of an origin's answer over HTTP/2, read as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::origin::Exchange;
use super::rules::take_trailers;
use super::tunnel::Stream;
use crate::http2::{Error, Incoming, Outgoing};
use crate::proxy::answer_head::told_length;
use crate::proxy::body::BodyError;
use crate::proxy::tunnel::Tunnel;

/// A body of an answer.
pub(in crate::proxy) struct Receiving {
    stream: Incoming,
    /// Bytes that are still to come, if that was told; its origin is held to it.
    left: Option<u64>,
    /// Why it broke off, which is told a turn later.
    broken: Option<BodyError>,
    /// What it belongs to, until it is over.
    exchange: Option<Exchange>,
    /// The other direction, if the answer makes it a tunnel.
    back: Option<Outgoing>,
}

impl Receiving {
    /// What is behind a head; it may become a tunnel with a way back.
    pub(super) fn behind(
        headers: &HeaderMap,
        stream: Incoming,
        back: Option<Outgoing>,
        exchange: Exchange,
    ) -> Self {
        Self {
            stream,
            left: told_length(headers),
            broken: None,
            exchange: Some(exchange),
            back,
        }
    }

    /// A stream that has left HTTP.
    pub(in crate::proxy) fn into_tunnel(mut self) -> Tunnel {
        match self.back.take() {
            Some(back) => Stream::tunnel(back, self, None),
            None => Tunnel::closed(),
        }
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let data = ready!(self.stream.poll_data(cx));
        if let Some(Ok(data)) = &data {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.left = self.left.map(|left| left.saturating_sub(length));
        }
        Poll::Ready(data)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        Poll::Ready(match ready!(self.poll_data(cx)) {
            Some(Ok(data)) => Ok(Some(Frame::data(data))),
            Some(Err(_)) if self.is_whole() => Ok(None),
            Some(Err(error)) => Err(BodyError::broken(error)),
            None => take_trailers(&mut self.stream),
        })
    }

    /// An answer of which all that was told has come is whole, however its stream or connection ends.
    fn is_whole(&self) -> bool {
        self.is_end_stream() || self.left == Some(0)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let is_whole = self.is_whole();
        if let Some(exchange) = self.exchange.take() {
            exchange.end(is_whole);
        }
    }
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let broken = match ready!(self.poll_part(cx)) {
            Ok(part) => return Poll::Ready(part.map(Ok)),
            Err(broken) => broken,
        };
        // What a server has not written when a body fails is lost, the head before all; it writes when it has to wait.
        self.broken = Some(broken);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream() && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
