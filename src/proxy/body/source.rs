//! A body as it is read, whatever its peer speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::BodyError;
use crate::proxy::http1::{FromClient, Reading};
use crate::proxy::http2::{Receiving, Uploading};

/// A body as it is read.
pub(in crate::proxy) enum Source {
    /// There is none.
    Nothing,
    /// Of an origin over HTTP/2.
    Http2(Receiving),
    /// Of a client over HTTP/2.
    Upload(Uploading),
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
            Self::Upload(body) => Pin::new(body).poll_frame(cx),
            Self::Client(body) => Pin::new(body).poll_frame(cx),
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http2(body) => body.is_end_stream(),
            Self::Upload(body) => body.is_end_stream(),
            Self::Client(body) => body.is_end_stream(),
            Self::Http1(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Http2(body) => body.size_hint(),
            Self::Upload(body) => body.size_hint(),
            Self::Client(body) => body.size_hint(),
            Self::Http1(body) => body.size_hint(),
        }
    }
}
