//! A body on its way over HTTP/2, as fast as the other side takes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::{Body as HttpBody, Frame};

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

impl SendError {
    /// Whether the other side takes nothing, of the stream or of the connection.
    pub(super) fn is_unread(&self) -> bool {
        let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
        match self {
            Self::Body(_) => false,
            Self::Stream(error) => error.get_io().is_some_and(is_late),
            Self::Unread => true,
        }
    }
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
                // What of the message has not been written yet would be lost.
                tokio::task::yield_now().await;
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

/// Sends it as fast as there is room: what waits within the h2 crate waits for the connection alone.
async fn send_data(
    mut data: Bytes,
    is_last: bool,
    stream: &mut SendStream<Bytes>,
    limit: Duration,
) -> Result<(), SendError> {
    loop {
        let room = if data.is_empty() {
            0
        } else {
            stream.reserve_capacity(data.len());
            room(stream, limit).await?
        };
        let piece = data.split_to(data.len().min(room));
        stream.send_data(piece, is_last && data.is_empty())?;
        if data.is_empty() {
            return Ok(());
        }
    }
}

/// How much may be sent, once something may. It is asked for only with data at hand: what is granted counts for the whole
/// connection.
async fn room(stream: &mut SendStream<Bytes>, limit: Duration) -> Result<usize, SendError> {
    let room = stream.capacity();
    if room > 0 {
        return Ok(room);
    }
    let granted = poll_fn(|cx| poll_room(stream, cx));
    let granted = if limit.is_zero() {
        Ok(granted.await)
    } else {
        tokio::time::timeout(limit, granted).await
    };
    match granted {
        Ok(granted) => Ok(granted?),
        Err(_) => {
            // Others may hold parts of the stream, which would keep it open.
            stream.send_reset(Reason::CANCEL);
            Err(SendError::Unread)
        }
    }
}

/// The same, whoever waits.
pub(super) fn poll_room(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Result<usize, h2::Error>> {
    loop {
        ready_if_reset(stream, cx)?;
        match stream.capacity() {
            0 => match ready!(stream.poll_capacity(cx)) {
                Some(granted) => drop(granted?),
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            },
            room => return Poll::Ready(Ok(room)),
        }
    }
}

/// Whether the other side has given the stream up; wakes when it does.
fn ready_if_reset(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Result<(), h2::Error> {
    match stream.poll_reset(cx) {
        Poll::Ready(reset) => Err(reset?.into()),
        Poll::Pending => Ok(()),
    }
}
