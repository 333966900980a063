//! A body on its way over HTTP/2, as fast as the other side takes it.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::SendStream;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame};

use crate::http2::{Error, Outgoing, Reason};
use crate::proxy::body::BodyError;

/// What a stream to a client and one to an origin have in common.
pub(super) trait Outlet {
    /// Why it takes no more.
    type Error: Display;

    /// Why it is over before its time, once it is.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Self::Error>;

    /// How much of so many bytes may be sent, once some may.
    fn poll_room(&mut self, bytes: usize, cx: &mut Context<'_>)
    -> Poll<Result<usize, Self::Error>>;

    /// Sends bytes that there is room for.
    fn send(&mut self, data: Bytes, is_last: bool) -> Result<(), Self::Error>;

    fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), Self::Error>;

    /// Gives it up: the body broke off, or it takes nothing.
    fn reset(&mut self, why: Broken);
}

/// Why a body does not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Body,
    Unread,
}

impl Outlet for Outgoing {
    type Error = Error;

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        Self::poll_broken(self, cx)
    }

    fn poll_room(&mut self, _: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        Self::poll_room(self, cx)
    }

    fn send(&mut self, data: Bytes, is_last: bool) -> Result<(), Error> {
        self.send_data(data, is_last)
    }

    fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), Error> {
        Self::send_trailers(self, &trailers)
    }

    fn reset(&mut self, why: Broken) {
        Self::reset(
            self,
            match why {
                Broken::Body => Reason::INTERNAL_ERROR,
                Broken::Unread => Reason::CANCEL,
            },
        );
    }
}

impl Outlet for SendStream<Bytes> {
    type Error = h2::Error;

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<h2::Error> {
        self.poll_reset(cx)
            .map(|reset| reset.map_or_else(|error| error, h2::Error::from))
    }

    fn poll_room(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Result<usize, h2::Error>> {
        // It is asked for only with data at hand: what is granted counts for the whole connection.
        self.reserve_capacity(bytes);
        loop {
            match self.capacity() {
                0 => match ready!(self.poll_capacity(cx)) {
                    Some(granted) => drop(granted?),
                    None => return Poll::Ready(Err(h2::Reason::STREAM_CLOSED.into())),
                },
                room => return Poll::Ready(Ok(room)),
            }
        }
    }

    fn send(&mut self, data: Bytes, is_last: bool) -> Result<(), h2::Error> {
        self.send_data(data, is_last)
    }

    fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), h2::Error> {
        Self::send_trailers(self, trailers)
    }

    fn reset(&mut self, _: Broken) {
        self.send_reset(h2::Reason::CANCEL);
    }
}

/// Why a body is not sent whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError<E> {
    /// It broke off.
    #[error("{0}")]
    Body(BodyError),
    /// Nobody takes it any more.
    #[error("{0}")]
    Stream(E),
    /// Not a byte was taken for so long.
    #[error("the other side takes nothing")]
    Unread,
}

impl SendError<Error> {
    /// Whether the other side takes nothing, of the stream or of the connection.
    pub(super) fn is_unread(&self) -> bool {
        match self {
            Self::Body(_) => false,
            Self::Stream(error) => error.is_late(),
            Self::Unread => true,
        }
    }
}

impl<E> From<E> for SendError<E> {
    fn from(error: E) -> Self {
        Self::Stream(error)
    }
}

/// Sends a body, of which something is taken within `limit` each time (zero: any time). The stream of one that breaks off
/// is reset: its end would say that it is whole.
pub(super) async fn send_body<B, T>(
    mut body: B,
    stream: &mut T,
    limit: Duration,
) -> Result<(), SendError<T::Error>>
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
    T: Outlet,
{
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(why) = stream.poll_broken(cx) {
                return Poll::Ready(Err(why));
            }
            Pin::new(&mut body).poll_frame(cx).map(Ok)
        });
        let frame = match frame.await?.transpose() {
            Ok(frame) => frame.map(Frame::into_data),
            Err(error) => {
                // What of the message has not been written yet would be lost.
                tokio::task::yield_now().await;
                stream.reset(Broken::Body);
                return Err(SendError::Body(error));
            }
        };
        match frame {
            None => return Ok(stream.send(Bytes::new(), true)?),
            Some(Err(other)) => {
                let trailers = other.into_trailers().unwrap_or_default();
                return Ok(stream.send_trailers(trailers)?);
            }
            Some(Ok(data)) => {
                let is_last = body.is_end_stream();
                send_data(data, is_last, stream, limit).await?;
                if is_last {
                    return Ok(());
                }
            }
        }
    }
}

/// Sends it as fast as there is room: what waits to be written waits for the connection alone.
async fn send_data<T: Outlet>(
    mut data: Bytes,
    is_last: bool,
    stream: &mut T,
    limit: Duration,
) -> Result<(), SendError<T::Error>> {
    loop {
        let room = if data.is_empty() {
            0
        } else {
            room(data.len(), stream, limit).await?
        };
        let piece = data.split_to(data.len().min(room));
        stream.send(piece, is_last && data.is_empty())?;
        if data.is_empty() {
            return Ok(());
        }
    }
}

/// How much of so many bytes may be sent, once something may.
async fn room<T: Outlet>(
    bytes: usize,
    stream: &mut T,
    limit: Duration,
) -> Result<usize, SendError<T::Error>> {
    let mut granted = pin!(poll_fn(|cx| {
        if let Poll::Ready(why) = stream.poll_broken(cx) {
            return Poll::Ready(Err(why));
        }
        stream.poll_room(bytes, cx)
    }));
    // Most often there is some, and no timer is needed.
    if let Some(room) = granted.as_mut().now_or_never() {
        return Ok(room?);
    }
    let granted = if limit.is_zero() {
        Ok(granted.await)
    } else {
        tokio::time::timeout(limit, granted).await
    };
    match granted {
        Ok(room) => Ok(room?),
        Err(_) => {
            // Others may hold parts of the stream, which would keep it open.
            stream.reset(Broken::Unread);
            Err(SendError::Unread)
        }
    }
}
