//! Clients that do not read: what is sent to them must move, or what they hold is given up.
//!
//! A body is asked for more only once the client has taken what came before, so its own time-out does not run meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::crowd::Seat;

/// A stream on which no byte is taken for a time at most.
pub(super) struct Moving<S> {
    stream: S,
    limit: Duration,
    /// Runs while the client takes nothing.
    sleep: Option<Pin<Box<Sleep>>>,
    /// What the connection counts for, until it is closed.
    _seat: Option<Arc<Seat>>,
}

impl<S> Moving<S> {
    /// Bytes are taken within `limit`.
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            sleep: None,
            _seat: None,
        }
    }

    /// Holds what the connection counts for, even when it is no HTTP any more.
    pub(super) fn holding(self, seat: Arc<Seat>) -> Self {
        Self {
            _seat: Some(seat),
            ..self
        }
    }

    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.sleep = None;
            return polled;
        }
        let limit = self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        let late = || {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client reads nothing",
            ))
        };
        sleep.as_mut().poll(cx).map(|()| late())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Moving<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Moving<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let polled = match bufs {
            // What most answers are, and `send` costs the kernel less than `writev`.
            [alone] => stream.poll_write(cx, alone),
            bufs => stream.poll_write_vectored(cx, bufs),
        };
        self.timed(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_after_its_time() {
        let (_client, server) = duplex(16);
        let mut server = Moving::new(server, LIMIT);
        let began = Instant::now();
        let error = server.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!(
            (error.kind(), began.elapsed()),
            (io::ErrorKind::TimedOut, LIMIT)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_gets_all() {
        let (mut client, server) = duplex(16);
        let mut server = Moving::new(server, LIMIT);
        let reading = tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok(byte) = client.read_u8().await {
                taken.push(byte);
                tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
            }
            taken
        });
        server.write_all(&[7; 50]).await.unwrap();
        drop(server);
        assert_eq!(reading.await.unwrap(), [7; 50]);
    }
}
