//! How long a client may take for a request head, and how long its connection may do nothing.
//!
//! hyper's own head time-out also counts the pause before a head begins, so it can hold clients to the
//! longer of both only, and it closes without a word. [`Patient`] times the head alone and says 408.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::body::{Body, BodyError};

/// What a client is told whose request head does not arrive in time (RFC 9110 §15.5.9).
const TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The requests of one connection.
pub(super) struct Turns {
    /// Under way: head read, answer not yet sent.
    open: AtomicU32,
    /// Whether the connection has left HTTP: nothing on it is a head any more.
    has_left: AtomicBool,
    /// All that there have been: tells one head from the next.
    begun: AtomicU32,
    activity: Activity,
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            has_left: AtomicBool::new(false),
            begun: AtomicU32::new(0),
            activity: Activity::new(),
        })
    }

    /// A request begins; it ends when the answer's body has been sent or dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0 || self.has_left.load(Ordering::Relaxed)
    }

    /// Waits until there has been no request for `idle`.
    pub(super) async fn until_idle(&self, idle: Duration) {
        loop {
            let since = if self.is_busy() {
                Instant::now()
            } else {
                self.activity.last()
            };
            if since + idle <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(since + idle).await;
        }
    }
}

/// One request of a connection.
pub(super) struct Turn(Arc<Turns>);

impl Turn {
    /// The connection becomes a WebSocket with this answer.
    pub(super) fn leave_http(&self) {
        self.0.has_left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.activity.touch();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body, which keeps its turn until it has been sent.
pub(super) struct InTurn {
    body: Body,
    _turn: Turn,
}

impl InTurn {
    pub(super) fn new(body: Body, turn: Turn) -> Self {
        Self { body, _turn: turn }
    }
}

impl HttpBody for InTurn {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's connection that ends when a request head takes too long.
pub(super) struct Patient<S> {
    stream: S,
    turns: Arc<Turns>,
    limit: Duration,
    /// Since when the head of which request has been arriving.
    head_since: Option<(u32, Instant)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Heads on this connection take at most `limit`.
    pub(super) fn new(stream: S, turns: Arc<Turns>, limit: Duration) -> Self {
        Self {
            stream,
            turns,
            limit,
            head_since: None,
            sleep: None,
        }
    }

    /// Bytes of a head have come; the first of them begin its time.
    fn note_head(&mut self) {
        let begun = self.turns.begun.load(Ordering::Relaxed);
        if self.head_since.is_none_or(|(number, _)| number != begun) {
            self.head_since = Some((begun, Instant::now()));
        }
    }

    /// Ready when the head that is arriving has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begun = self.turns.begun.load(Ordering::Relaxed);
        let Some((_, since)) = self.head_since.filter(|(number, _)| *number == begun) else {
            return Poll::Pending;
        };
        let until = since + self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before && !self.turns.is_busy() {
                    self.note_head();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.poll_late(cx));
                metrics::counter!("meridian_http_problems_total", "problem" => "stalled")
                    .increment(1);
                // Told as well as possible: who takes no bytes either is only cut off.
                let _ = Pin::new(&mut self.stream).poll_write(cx, TIMEOUT);
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_head_that_stalls_is_told_408_after_its_time() {
        let (mut client, server) = duplex(1024);
        let mut server = Patient::new(server, Turns::new(), LIMIT);
        client.write_all(b"GET / HT").await.unwrap();
        let began = Instant::now();
        let mut head = Vec::new();
        let error = server.read_to_end(&mut head).await.unwrap_err();
        assert_eq!(
            (error.kind(), began.elapsed()),
            (io::ErrorKind::TimedOut, LIMIT)
        );
        drop(server);
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_before_or_within_a_request_is_no_stalled_head() {
        let (mut client, server) = duplex(1024);
        let turns = Turns::new();
        let mut server = Patient::new(server, turns.clone(), LIMIT);
        let mut chunk = [0; 64];
        let silence = tokio::time::timeout(LIMIT * 3, server.read(&mut chunk));
        assert!(silence.await.is_err(), "nothing has begun");
        client.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(server.read(&mut chunk).await.unwrap() > 0);
        let turn = turns.begin();
        let body = tokio::time::timeout(LIMIT * 3, server.read(&mut chunk));
        assert!(body.await.is_err(), "a body has time-outs of its own");
        drop(turn);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_between_requests() {
        let turns = Turns::new();
        let turn = turns.begin();
        let idle = Duration::from_secs(60);
        assert!(
            tokio::time::timeout(idle * 3, turns.until_idle(idle))
                .await
                .is_err()
        );
        drop(turn);
        let began = Instant::now();
        turns.until_idle(idle).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
