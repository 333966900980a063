//! What a peer sends: when it is asked for, who counts it, and what becomes of it when nobody wants it any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{BodyError, Source};
use crate::proxy::access_log::Journal;
use crate::proxy::expect::{Gate, Wanted, Wish};
use crate::proxy::headers;
use crate::proxy::http1::Http1;
use crate::proxy::reserved;

/// What a peer sends.
pub(in crate::proxy) struct Arriving {
    body: Option<Source>,
    lingers: bool,
    /// Holds it back until it is wanted.
    gate: Option<Gate>,
    /// Counts what comes.
    journal: Option<Arc<Journal>>,
    /// Removes from its trailers what goes no further.
    sift: fn(&mut HeaderMap),
}

/// How long, and for how many bytes, the rest of a request is read that nobody wants any more: a client that is still
/// sending must be able to see the answer before its connection or stream is reset (RFC 9112 §9.6, RFC 9113 §8.1).
pub(in crate::proxy) const DISCARD: Duration = Duration::from_secs(5);
pub(in crate::proxy) const MOST_DISCARDED: usize = 32 << 20;

impl Arriving {
    /// A request's body. If it is given up before its end over HTTP/2, the rest is read and dropped for a while: a client
    /// that is still sending must be able to see the answer before the stream is reset (RFC 9113 §8.1). Over HTTP/1.1 its
    /// connection sees to that.
    pub(in crate::proxy) fn request(body: Source, journal: Option<&Arc<Journal>>) -> Self {
        Self {
            lingers: matches!(body, Source::Upload(_)),
            body: Some(body),
            gate: None,
            journal: journal.cloned(),
            sift: reserved::remove_from_trailers,
        }
    }

    /// Asks for nothing of it until it is wanted.
    pub(in crate::proxy) fn behind(mut self, wanted: Option<Wanted>) -> Self {
        self.gate = wanted.map(Gate::new);
        self
    }

    /// The body is wanted, whatever the origin says; to be told once it has been asked for, if its client waits for that.
    pub(in crate::proxy) fn want(&mut self) -> Option<Wanted> {
        self.gate.take().map(Gate::into_wanted)
    }

    /// A response's body.
    pub(in crate::proxy) fn response(body: Source) -> Self {
        Self {
            body: Some(body),
            lingers: false,
            gate: None,
            journal: None,
            sift: headers::remove_from_trailers,
        }
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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

    /// Whether its peer knows that it is to send it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.gate.as_ref().is_none_or(Gate::is_open)
    }

    /// Removes from its trailers what goes no further.
    pub(super) fn sift(&self, trailers: &mut HeaderMap) {
        (self.sift)(trailers);
    }

    /// All of an answer, if it has come with its head.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        match &mut self.body {
            Some(Source::Http1(reading)) => reading.take_whole(),
            Some(Source::Nothing | Source::Http2(_) | Source::Upload(_) | Source::Client(_))
            | None => None,
        }
    }

    /// The connection that an answer came on, if it has ended and another request may be sent.
    pub(super) fn take_connection(&mut self) -> Option<Http1> {
        match &mut self.body {
            Some(Source::Http1(reading)) => reading.take_connection(),
            Some(Source::Nothing | Source::Http2(_) | Source::Upload(_) | Source::Client(_))
            | None => None,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
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
