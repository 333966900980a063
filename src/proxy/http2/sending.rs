//! A body on its way over HTTP/2, as fast as the other side takes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::{Body as HttpBody, Frame};

use super::STREAM_BUFFER;
use crate::proxy::body::BodyError;

/// Why a body is not sent whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It broke off.
    #[error("{0}")]
    Body(BodyError),
    /// Nobody takes it any more.
    #[error("{0}")]
    Stream(h2::Error),
    /// Not a byte was taken for so long.
    #[error("the other side takes nothing")]
    Unread,
}

impl From<h2::Error> for SendError {
    fn from(error: h2::Error) -> Self {
        Self::Stream(error)
    }
}

/// Sends a body, of which something is taken within `limit` each time (zero: any time). The stream of one that breaks off
/// is reset for this reason: its end would say that it is whole.
pub(super) async fn send_body<B>(
    mut body: B,
    stream: &mut SendStream<Bytes>,
    reset: Reason,
    limit: Duration,
) -> Result<(), SendError>
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
{
    loop {
        let frame = poll_fn(|cx| {
            ready_if_reset(stream, cx)?;
            Pin::new(&mut body).poll_frame(cx).map(Ok)
        });
        let frame = frame.await.map_err(SendError::Stream)?;
        let frame = match frame.transpose() {
            Ok(frame) => frame.map(Frame::into_data),
            Err(error) => {
                stream.send_reset(reset);
                return Err(SendError::Body(error));
            }
        };
        match frame {
            None => return Ok(stream.send_data(Bytes::new(), true)?),
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

/// Sends it in pieces of which each is taken in time.
async fn send_data(
    mut data: Bytes,
    is_last: bool,
    stream: &mut SendStream<Bytes>,
    limit: Duration,
) -> Result<(), SendError> {
    loop {
        let piece = data.split_to(data.len().min(STREAM_BUFFER));
        if !piece.is_empty() {
            until_taken(stream, limit).await?;
        }
        stream.send_data(piece, is_last && data.is_empty())?;
        if data.is_empty() {
            return Ok(());
        }
    }
}

/// Waits until something may be sent. It is asked for only with data at hand: what is granted counts for the whole
/// connection.
async fn until_taken(stream: &mut SendStream<Bytes>, limit: Duration) -> Result<(), SendError> {
    stream.reserve_capacity(1);
    if stream.capacity() > 0 {
        return Ok(());
    }
    let taken = poll_fn(|cx| poll_taken(stream, cx));
    let taken = if limit.is_zero() {
        taken.await
    } else {
        let taken = tokio::time::timeout(limit, taken).await;
        taken.map_err(|_| SendError::Unread)?
    };
    Ok(taken?)
}

fn poll_taken(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
    ready_if_reset(stream, cx)?;
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(granted) => granted.map(drop)?,
            None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
        }
    }
    Poll::Ready(Ok(()))
}

/// Whether the other side has given the stream up; wakes when it does.
fn ready_if_reset(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Result<(), h2::Error> {
    match stream.poll_reset(cx) {
        Poll::Ready(reset) => Err(reset?.into()),
        Poll::Pending => Ok(()),
    }
}
