//! The body of a client's request over HTTP/2, read as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::rules::take_trailers;
use crate::http2::Incoming;
use crate::proxy::answer_head::told_length;
use crate::proxy::body::BodyError;
use crate::proxy::interim::Interim;

/// A body of a request.
pub(in crate::proxy) struct Uploading {
    stream: Incoming,
    /// Bytes that are still to come, if that was told; its client is held to it.
    left: Option<u64>,
    /// Asks its client for it, who waits for that (RFC 9110 §10.1.1).
    ask: Option<Interim>,
}

impl Uploading {
    /// What is behind a head. Whoever waits for it is asked for it before it is read.
    pub(super) fn behind(headers: &HeaderMap, stream: Incoming, ask: Option<Interim>) -> Self {
        Self {
            left: told_length(headers),
            stream,
            ask,
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.left = self.left.map(|left| left.saturating_sub(length));
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(BodyError::broken(error))),
            None => take_trailers(&mut self.stream).transpose(),
        })
    }
}

impl HttpBody for Uploading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(ask) = self.ask.take() {
            ask.ask_for_body();
        }
        self.poll_part(cx)
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
