//! The body of a message over HTTP/2, read as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::tunnel::Stream;
use crate::proxy::answer_head::told_length;
use crate::proxy::body::BodyError;
use crate::proxy::interim::Interim;
use crate::proxy::tunnel::Tunnel;

/// A body of a request or an answer.
pub(in crate::proxy) struct Receiving {
    stream: RecvStream,
    /// Bytes that are still to come, if that was told. The h2 crate holds the sender to it.
    left: Option<u64>,
    has_data: bool,
    /// Whether its sender may end it by a reset that is no error.
    is_answer: bool,
    /// Asks its client for it, who waits for that (RFC 9110 §10.1.1).
    ask: Option<Interim>,
    /// The other direction, if the answer makes it a tunnel.
    back: Option<SendStream<Bytes>>,
}

impl Receiving {
    /// What is behind the head of a request.
    pub(super) fn request(headers: &HeaderMap, stream: RecvStream) -> Self {
        Self {
            left: told_length(headers),
            has_data: true,
            is_answer: false,
            ask: None,
            back: None,
            stream,
        }
    }

    /// Asks its client for it before it is read.
    pub(super) fn asking(self, ask: Option<Interim>) -> Self {
        Self { ask, ..self }
    }

    /// What is behind the head of an answer, which may become a tunnel with a way back.
    pub(super) fn answer(
        headers: &HeaderMap,
        stream: RecvStream,
        back: Option<SendStream<Bytes>>,
    ) -> Self {
        Self {
            is_answer: true,
            back,
            ..Self::request(headers, stream)
        }
    }

    /// A stream that has left HTTP.
    pub(in crate::proxy) fn into_tunnel(self) -> Tunnel {
        match self.back {
            Some(back) => Stream::tunnel(back, self.stream, None),
            None => Tunnel::closed(),
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let data = ready!(self.stream.poll_data(cx));
        if let Some(Ok(data)) = &data {
            // Fails for a stream that has ended, whose window does not matter.
            let _ = self.stream.flow_control().release_capacity(data.len());
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.left = self.left.map(|left| left.saturating_sub(length));
        }
        Poll::Ready(data)
    }

    /// Who has answered whole may say by a reset that it wants no more of the request (RFC 9113 §8.1); the h2 crate does not
    /// tell any more whether the answer's end came before that.
    fn is_end(&self, error: &h2::Error) -> bool {
        let is_no_error = error.is_reset() && error.reason() == Some(Reason::NO_ERROR);
        self.is_answer && is_no_error && self.left.is_none_or(|left| left == 0)
    }
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(ask) = self.ask.take() {
            ask.ask_for_body();
        }
        if self.has_data {
            match ready!(self.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(error)) if self.is_end(&error) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::broken(error)))),
                None => self.has_data = false,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).transpose();
        let frame = trailers.map(|trailers| trailers.map(Frame::trailers));
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
