//! A body on its way over HTTP/2, as fast as the other side takes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Body as HttpBody, Frame};

use crate::http2::{Error, Outgoing, Reason};
use crate::proxy::body::BodyError;

/// How a body is sent.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Something of it is taken within this time each; zero: within any.
    pub(super) limit: Duration,
    /// What is said if it breaks off.
    pub(super) broken: Reason,
}

/// Why a body is not sent whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It broke off.
    #[error("{0}")]
    Body(BodyError),
    /// Nobody takes it any more.
    #[error("{0}")]
    Stream(Error),
    /// Not a byte was taken for so long.
    #[error("the other side takes nothing")]
    Unread,
}

impl SendError {
    /// Whether the other side takes nothing, of the stream or of the connection.
    pub(super) fn is_unread(&self) -> bool {
        match self {
            Self::Body(_) => false,
            Self::Stream(error) => error.is_late(),
            Self::Unread => true,
        }
    }
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        Self::Stream(error)
    }
}

/// Sends a body. The stream of one that breaks off is reset: its end would say that it is whole.
pub(super) async fn send_body<B>(
    mut body: B,
    stream: &mut Outgoing,
    manner: Manner,
) -> Result<(), SendError>
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
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
                stream.reset(manner.broken);
                return Err(SendError::Body(error));
            }
        };
        match frame {
            None => return Ok(stream.send_data(Bytes::new(), true)?),
            Some(Err(other)) => {
                let trailers = other.into_trailers().unwrap_or_default();
                return Ok(stream.send_trailers(&trailers)?);
            }
            Some(Ok(data)) => {
                let is_last = body.is_end_stream();
                send_data(data, is_last, stream, manner.limit).await?;
                if is_last {
                    return Ok(());
                }
            }
        }
    }
}

/// Sends it as fast as there is room: what waits to be written waits for the connection alone.
async fn send_data(
    mut data: Bytes,
    is_last: bool,
    stream: &mut Outgoing,
    limit: Duration,
) -> Result<(), SendError> {
    loop {
        let room = if data.is_empty() {
            0
        } else {
            room(stream, limit).await?
        };
        let piece = data.split_to(data.len().min(room));
        stream.send_data(piece, is_last && data.is_empty())?;
        if data.is_empty() {
            return Ok(());
        }
    }
}

/// How much may be sent, once something may.
async fn room(stream: &mut Outgoing, limit: Duration) -> Result<usize, SendError> {
    // Most often there is some, and no timer is needed.
    if let Some(room) = granted(stream).now_or_never() {
        return Ok(room?);
    }
    if limit.is_zero() {
        return Ok(granted(stream).await?);
    }
    let mut said = stream.said_meanwhile();
    loop {
        if let Ok(room) = tokio::time::timeout(limit, granted(stream)).await {
            return Ok(room?);
        }
        // Its client may read all that it can, of others.
        let now = stream.said_meanwhile();
        if now.is_none() || now == std::mem::replace(&mut said, now) {
            // Others may hold parts of the stream, which would keep it open.
            stream.reset(Reason::CANCEL);
            return Err(SendError::Unread);
        }
    }
}

async fn granted(stream: &mut Outgoing) -> Result<usize, Error> {
    poll_fn(|cx| {
        if let Poll::Ready(why) = stream.poll_broken(cx) {
            return Poll::Ready(Err(why));
        }
        stream.poll_room(cx)
    })
    .await
}
