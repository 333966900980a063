//! A stream of which something was read ahead, for whoever comes next.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::write_through::write_through;

/// Gives what was read ahead first.
pub(super) struct Ahead<S> {
    pub(super) stream: S,
    pub(super) ahead: BytesMut,
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new(); // A connection lives long, and needs this no more.
        }
        Poll::Ready(Ok(()))
    }
}

write_through!(Ahead);
