//! A body that is held whole.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};

/// Its bytes and its trailers, as far as they have not been taken.
#[derive(Clone)]
pub(in crate::proxy) struct Whole {
    bytes: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Whole {
    pub(super) fn made(bytes: Bytes) -> Self {
        Self {
            bytes: Some(bytes),
            trailers: None,
        }
    }

    /// Whether all of it was taken.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes.is_none() && self.trailers.is_none()
    }

    /// A body with trailers, for tests.
    #[cfg(test)]
    pub(in crate::proxy) fn with_trailers(bytes: &'static str, trailers: HeaderMap) -> Self {
        Self {
            bytes: Some(Bytes::from_static(bytes.as_bytes())),
            trailers: Some(trailers),
        }
    }

    /// All frames of a body.
    pub(super) fn of(frames: VecDeque<Frame<Bytes>>) -> Self {
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

    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.bytes.take().map(Frame::data);
        data.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        match self.trailers {
            None => SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX)),
            // Trailers need a body of unannounced length over HTTP/1.1.
            Some(_) => SizeHint::default(),
        }
    }
}
