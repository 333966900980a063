//! A stream that has left HTTP: a WebSocket's (RFC 8441 §5).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::receiving::Receiving;
use crate::http2::{Error, Incoming, Outgoing};
use crate::proxy::tunnel::Tunnel;

/// Both directions of a stream, which is reset if it is given up before its end (RFC 9113 §8.5).
pub(super) struct Stream<F> {
    to: Outgoing,
    from: F,
    /// What has come and was not read.
    ahead: Bytes,
    _counted: Option<Tunnels>,
}

/// What comes on a stream of a client, or of an origin.
pub(super) trait Inlet {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>>;
}

impl Inlet for Incoming {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        Self::poll_data(self, cx)
    }
}

impl Inlet for Receiving {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        Self::poll_data(self, cx)
    }
}

/// The tunnels of a connection, each of which holds one of these.
#[derive(Clone, Default)]
pub(super) struct Tunnels(Arc<()>);

impl Tunnels {
    /// Whether there are any, beside whoever asks.
    pub(super) fn are_open(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl<F: Inlet + Unpin + Send + Sync + 'static> Stream<F> {
    pub(super) fn tunnel(to: Outgoing, from: F, counted: Option<Tunnels>) -> Tunnel {
        let stream = Self {
            to,
            from,
            ahead: Bytes::new(),
            _counted: counted,
        };
        Tunnel::new(BytesMut::new(), Box::new(stream))
    }
}

impl<F: Inlet + Unpin> AsyncRead for Stream<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.from.poll_data(cx)) {
                Some(Ok(data)) => self.ahead = data,
                Some(Err(error)) => {
                    let reset = io::Error::new(io::ErrorKind::ConnectionReset, error);
                    return Poll::Ready(Err(reset));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<F: Unpin> AsyncWrite for Stream<F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Poll::Ready(why) = self.to.poll_broken(cx) {
            return Poll::Ready(Err(io::Error::other(why)));
        }
        let room = ready!(self.to.poll_room(cx)).map_err(io::Error::other)?;
        let piece = buf.get(..room).unwrap_or(buf);
        let sent = self.to.send_data(Bytes::copy_from_slice(piece), false);
        Poll::Ready(sent.map(|()| piece.len()).map_err(io::Error::other))
    }

    /// The connection's own task sends what was said.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.to.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
