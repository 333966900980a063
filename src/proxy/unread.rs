//! Clients that do not read: what is sent to them must move, or what they hold is given up.
//!
//! hyper asks a body for more only once the client has taken what came before, so a body's own time-out does not
//! run meanwhile. [`Moving`] times a connection whose bytes are not taken. [`Streams`] times a stream of HTTP/2 whose
//! client grants no window, on a connection that is alive otherwise.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

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
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.timed(cx, polled)
    }
}

/// Since when an answer has been waiting for its client; none: it does not.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Option<Instant>>);

impl Waiting {
    /// The client has been given something to take.
    pub(super) fn begin(&self) {
        self.set(Some(Instant::now()));
    }

    /// It has taken all that there was.
    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

tokio::task_local! {
    /// Of the stream that is being served.
    static WAITING: RefCell<Arc<Waiting>>;
}

/// Of the HTTP/2 stream that this task serves; none: it serves none.
pub(super) fn waiting() -> Option<Arc<Waiting>> {
    WAITING.try_with(|waiting| waiting.borrow().clone()).ok()
}

/// Runs the streams of an HTTP/2 connection, each as long as its client takes what it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    limit: Duration,
}

impl Streams {
    /// What is sent on a stream is taken within `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let waiting = Arc::new(Waiting::default());
        let served = WAITING.scope(RefCell::new(waiting.clone()), stream);
        let limit = self.limit;
        tokio::spawn(async move {
            // Whichever ends first; a stream that is dropped is reset (RFC 9113 §5.4.2).
            tokio::select! {
                _ = served => {}
                () = until_unread(&waiting, limit) => {}
            }
        });
    }
}

/// Ends when a client has taken nothing for `limit`.
async fn until_unread(waiting: &Waiting, limit: Duration) {
    loop {
        let now = Instant::now();
        let until = waiting.since().unwrap_or(now) + limit;
        if until <= now {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

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

    #[tokio::test(start_paused = true)]
    async fn only_what_waits_for_its_client_is_timed() {
        let waiting = Waiting::default();
        let began = Instant::now();
        waiting.begin();
        let origin_is_slow = async {
            tokio::time::sleep(LIMIT / 2).await;
            waiting.end();
            tokio::time::sleep(LIMIT * 3).await;
            waiting.begin();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = until_unread(&waiting, LIMIT) => {}
            () = origin_is_slow => {}
        }
        let since = LIMIT / 2 + LIMIT * 3;
        let took = began.elapsed();
        assert!(
            (since + LIMIT..=since + LIMIT * 2).contains(&took),
            "{took:?}"
        );
    }
}
