//! Bodies as they stream through: bounded, timed, and never collected.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The other side did.
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// No byte for too long.
    #[error("no byte of the body for {}", crate::units::show_duration(*.0))]
    Stalled(Duration),
    /// Over `limits.body`.
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
}

/// A body on its way.
pub(super) enum Body {
    /// None.
    Empty,
    /// One that the edge made.
    Made(Option<Bytes>),
    /// One that streams through.
    Streamed(Box<Streamed>),
}

/// A body that streams through.
pub(super) struct Streamed {
    inner: Incoming,
    /// Bytes that may still come; none: any number.
    left: Option<(u64, u64)>,
    idle: Option<Idle>,
    /// Dropped when the body has ended: gives back what the exchange holds.
    held: Option<Box<dyn Held>>,
}

/// What lives as long as a body: told whether the body ended well, then dropped.
pub(super) trait Held: Send + Sync {
    /// The whole body has been passed on.
    fn ended(self: Box<Self>);
}

struct Idle {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Body {
    /// A body that the edge makes.
    pub(super) fn made(text: impl Into<Bytes>) -> Self {
        Self::Made(Some(text.into()))
    }

    /// Passes `inner` on with at most `limit` bytes (0: any number) and no pause longer than `idle`
    /// (zero: any).
    pub(super) fn streamed(
        inner: Incoming,
        limit: u64,
        idle: Duration,
        held: Option<Box<dyn Held>>,
    ) -> Self {
        if inner.is_end_stream() {
            if let Some(held) = held {
                held.ended();
            }
            return Self::Empty;
        }
        Self::Streamed(Box::new(Streamed {
            inner,
            left: (limit > 0).then_some((limit, limit)),
            idle: (!idle.is_zero()).then(|| Idle {
                limit: idle,
                sleep: Box::pin(tokio::time::sleep(idle)),
            }),
            held,
        }))
    }

    /// Whether there is nothing to send: such a request can be sent again at any time.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
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
            Self::Made(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(streamed) => streamed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Made(bytes) => bytes.is_none(),
            Self::Streamed(streamed) => streamed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Made(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Streamed(streamed) => streamed.inner.size_hint(),
        }
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return self.poll_idle(cx).map(|stalled| Some(Err(stalled)));
        };
        let frame = match frame.transpose() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.end();
                return Poll::Ready(None);
            }
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        if let Some(idle) = &mut self.idle {
            idle.sleep.as_mut().reset(Instant::now() + idle.limit);
        }
        if let Err(too_long) = self.count(&frame) {
            return Poll::Ready(Some(Err(too_long)));
        }
        if self.inner.is_end_stream() {
            self.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn end(&mut self) {
        if let Some(held) = self.held.take() {
            held.ended();
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

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(idle) = &mut self.idle else {
            return Poll::Pending;
        };
        ready!(idle.sleep.as_mut().poll(cx));
        Poll::Ready(BodyError::Stalled(idle.limit))
    }
}
