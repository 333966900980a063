//! A client's HTTP/2 connection whose small writes leave together.
//!
//! The h2 crate writes each frame by itself, which costs a TLS record and a system call each, and flushes when all that was
//! said has been written. Here a flush lets the runtime look once for what else has come, for instance answers to other
//! requests of the same connection: they leave with it. Nothing waits for what is not there.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

/// What is gathered at most: a TLS record's worth (RFC 8446 §5.1).
const MOST: usize = 16 << 10;

/// Room that a connection keeps while nothing is gathered.
const KEPT: usize = 2 << 10;

/// A stream that gathers what is written to it.
pub(super) struct Gather<S> {
    stream: S,
    gathered: Vec<u8>,
    /// Whether the runtime has looked for more since the first flush.
    has_looked: bool,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            gathered: Vec::new(),
            has_looked: false,
        }
    }

    /// Writes what was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let drained = loop {
            let rest = self.gathered.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => written += more,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.gathered.drain(..written);
        if self.gathered.is_empty() && self.gathered.capacity() > KEPT {
            self.gathered = Vec::new();
        }
        drained
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.len() + buf.len() > MOST {
            ready!(self.poll_drain(cx))?;
        }
        if buf.len() > MOST {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        self.gathered.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && !self.has_looked {
            self.has_looked = true;
            // Wakes this task once the runtime has looked.
            let _: Poll<()> = pin!(yield_now()).poll(cx);
            return Poll::Ready(Ok(()));
        }
        self.has_looked = false;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if self.gathered.len() + length > MOST {
            ready!(self.poll_drain(cx))?;
        }
        if length > MOST {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        for buf in bufs {
            self.gathered.extend_from_slice(buf);
        }
        Poll::Ready(Ok(length))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_comes_while_the_runtime_looks_leaves_together() {
        let (mut client, edge) = duplex(1 << 20);
        let mut edge = Gather::new(edge);
        let mut cx = Context::from_waker(Waker::noop());
        for part in [b"one ", b"two "] {
            edge.write_all(part).await.unwrap();
            let early = Pin::new(&mut client).poll_read(&mut cx, &mut ReadBuf::new(&mut [0; 9]));
            assert!(early.is_pending());
        }
        edge.flush().await.unwrap();
        edge.write_all(b"three").await.unwrap();
        edge.flush().await.unwrap();
        let mut said = [0; 32];
        let length = client.read(&mut said).await.unwrap();
        assert_eq!(&said[..length], b"one two three");
    }

    #[tokio::test]
    async fn whoever_flushes_is_woken_to_flush_what_nothing_came_to() {
        let (mut client, edge) = duplex(1 << 20);
        let mut edge = Gather::new(edge);
        edge.write_all(b"alone").await.unwrap();
        let mut turns = 0;
        let flushing = poll_fn(|cx| {
            turns += 1;
            let flushed = Pin::new(&mut edge).poll_flush(cx);
            if edge.gathered.is_empty() {
                flushed
            } else {
                Poll::Pending
            }
        });
        flushing.await.unwrap();
        assert_eq!((turns, client.read_u8().await.unwrap()), (2, b'a'));
    }

    #[tokio::test]
    async fn nothing_is_lost_or_reordered_whatever_its_length() {
        let (mut client, edge) = duplex(1000);
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            let mut edge = Gather::new(edge);
            let mut rest = &sent[..];
            for length in [1, MOST - 1, 1, MOST, MOST + 1, 7, usize::MAX] {
                let (part, behind) = rest.split_at(length.min(rest.len()));
                edge.write_all(part).await.unwrap();
                rest = behind;
            }
            edge.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        writing.await.unwrap();
        assert!(received == expected);
    }
}
