//! Bodies as they stream through: bounded, timed, and never collected.

mod arriving;
mod source;
mod streamed;
mod whole;

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

pub(super) use self::arriving::{Arriving, DISCARD, MOST_DISCARDED};
pub(super) use self::source::Source;
pub(super) use self::streamed::{Heed, Held, Streamed};
pub(super) use self::whole::Whole;
use super::pace::Pace;
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

impl Body {
    /// A body that the edge makes.
    pub(super) fn made(text: impl Into<Bytes>) -> Self {
        Self::Whole(Whole::made(text.into()))
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
        Self::Streamed(Box::new(Streamed::new(inner, limit, pace, held)))
    }

    /// An answer's body at this pace. One that has come with its head ends its exchange here, and is not timed.
    pub(super) fn answer(source: Source, pace: Pace, held: Box<dyn Held>) -> Self {
        let mut arriving = Arriving::response(source);
        match arriving.take_whole() {
            Some(whole) => {
                held.ended(arriving.take_connection());
                Self::made(whole)
            }
            None => Self::streamed(arriving, 0, pace, Some(held)),
        }
    }

    /// Has somebody told of the trailers, if it streams; dropped when it ends without any.
    pub(super) fn heed(&mut self, heed: Box<dyn Heed>) {
        if let Self::Streamed(streamed) = self {
            streamed.heed(heed);
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
        match self {
            Self::Streamed(streamed) => streamed.kept(limit).await,
            held @ (Self::Empty | Self::Whole(_) | Self::Replayed(_)) => Ok(held),
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
            Self::Whole(whole) => whole.is_spent(),
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
