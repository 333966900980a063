//! The body of an origin's answer over HTTP/2, read as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::long_blocks::LongBlocks;
use super::origin::Exchange;
use super::rules::check_values;
use super::tunnel::Stream;
use crate::proxy::answer_head::told_length;
use crate::proxy::body::BodyError;
use crate::proxy::guard::Refusal;
use crate::proxy::tunnel::Tunnel;

/// A body of an answer.
pub(in crate::proxy) struct Receiving {
    stream: RecvStream,
    long_blocks: LongBlocks,
    /// Bytes that are still to come, if that was told. The h2 crate holds the sender to it.
    left: Option<u64>,
    has_data: bool,
    /// Why it broke off, which is told a turn later.
    broken: Option<BodyError>,
    /// What it belongs to, until it is over.
    exchange: Option<Exchange>,
    /// The other direction, if the answer makes it a tunnel.
    back: Option<SendStream<Bytes>>,
}

impl Receiving {
    /// What is behind a head.
    pub(super) fn behind(headers: &HeaderMap, stream: RecvStream, long_blocks: LongBlocks) -> Self {
        Self {
            left: told_length(headers),
            has_data: true,
            broken: None,
            exchange: None,
            back: None,
            stream,
            long_blocks,
        }
    }

    /// It may become a tunnel with a way back.
    pub(super) fn answering(mut self, back: Option<SendStream<Bytes>>, exchange: Exchange) -> Self {
        self.back = back;
        self.exchange = Some(exchange);
        self
    }

    /// A stream that has left HTTP.
    pub(in crate::proxy) fn into_tunnel(mut self) -> Tunnel {
        match self.back.take() {
            Some(back) => Stream::tunnel(back, self, None),
            None => Tunnel::closed(),
        }
    }

    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let data = ready!(self.stream.poll_data(cx));
        if let Some(Ok(data)) = &data {
            // Fails for a stream that has ended, whose window does not matter.
            let _ = self.stream.flow_control().release_capacity(data.len());
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.left = self.left.map(|left| left.saturating_sub(length));
        }
        Poll::Ready(data)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, h2::Error>> {
        if self.has_data {
            match ready!(self.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Some(Err(_)) if self.is_whole() => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => self.has_data = false,
            }
        }
        let trailers = self.stream.poll_trailers(cx);
        trailers.map_ok(|trailers| trailers.map(Frame::trailers))
    }

    fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), Refusal> {
        let stream = self.stream.stream_id().into();
        if self.long_blocks.are_too_long(trailers, stream) {
            return Err(Refusal::TrailersTooLarge);
        }
        check_values(trailers).map_err(Refusal::Malformed)
    }

    /// An answer of which all that was told has come is whole, however its stream or connection ends.
    fn is_whole(&self) -> bool {
        self.is_end_stream() || self.exchange.is_some() && self.left == Some(0)
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
            Ok(part) => {
                let trailers = part.as_ref().and_then(Frame::trailers_ref);
                match trailers.map_or(Ok(()), |trailers| self.check_trailers(trailers)) {
                    Ok(()) => return Poll::Ready(part.map(Ok)),
                    Err(refusal) => BodyError::broken(refusal),
                }
            }
            Err(error) => BodyError::broken(error),
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
