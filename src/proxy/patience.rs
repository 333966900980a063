//! A client's connection as hyper sees it: guarded, timed, and told why it ends.
//!
//! hyper's own head time-out also counts the pause before a head begins, so it can hold clients to the
//! longer of both only, and it closes without a word. [`Patient`] times the head alone and says 408; what
//! the guard refuses is a 400 or 431 with all that answers of the edge's own have.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::access_log::Logged;
use super::activity::Activity;
use super::body::BodyError;
use super::crowd::InFlight;
use super::guard::{Guard, Refusal};
use super::interim::Interims;
use super::outcome::count_problem;
use super::problem::Problem;
use super::unread::{self, Waiting};
use crate::chance;

/// The requests of one connection.
pub(super) struct Turns {
    /// Under way: head read, answer not yet sent.
    open: AtomicU32,
    /// Whether the connection has left HTTP: nothing on it is a head any more.
    has_left: AtomicBool,
    /// All that there have been.
    begun: AtomicU32,
    /// Whoever waits for an answer to be given.
    waiting: AtomicWaker,
    activity: Activity,
    /// Microseconds from the first byte of the last head to its end.
    head_us: AtomicU64,
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            has_left: AtomicBool::new(false),
            begun: AtomicU32::new(0),
            waiting: AtomicWaker::new(),
            activity: Activity::new(),
            head_us: AtomicU64::new(0),
        })
    }

    /// A head is whole, whose first byte came at `since`, or with its last.
    fn head_came(&self, since: Option<Instant>) {
        let took = since.map_or(0, |since| since.elapsed().as_micros());
        let us = u64::try_from(took).unwrap_or(u64::MAX);
        self.head_us.store(us, Ordering::Relaxed);
    }

    /// How long the last head was arriving.
    pub(super) fn head_time(&self) -> Duration {
        Duration::from_micros(self.head_us.load(Ordering::Relaxed))
    }

    /// A request begins; it ends when the answer's body has been sent or dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    /// Whether every request of these has been answered.
    fn are_answered(&self, requests: u32) -> bool {
        self.begun.load(Ordering::Relaxed) == requests && !self.is_busy()
    }

    fn is_busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0 || self.has_left.load(Ordering::Relaxed)
    }

    /// Waits until there has been no request for `idle` from now on.
    pub(super) async fn until_idle_from_now(&self, idle: Duration) {
        self.activity.touch();
        self.until_idle(idle).await;
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
        self.0.waiting.wake();
    }
}

/// An answer's body, which keeps its turn until it has been sent.
pub(super) struct InTurn {
    body: Logged,
    /// Told whether it is the client that is waited for; only over HTTP/2.
    waiting: Option<Arc<Waiting>>,
    _turn: Turn,
    _in_flight: Option<InFlight>,
}

impl InTurn {
    pub(super) fn new(body: Logged, turn: Turn, in_flight: Option<InFlight>) -> Self {
        let waiting = unread::waiting();
        waiting.as_deref().inspect(|waiting| waiting.begin());
        Self {
            body,
            waiting,
            _turn: turn,
            _in_flight: in_flight,
        }
    }
}

impl HttpBody for InTurn {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(waiting) = &self.waiting {
            if polled.is_ready() {
                waiting.begin();
            } else {
                waiting.end();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's HTTP/1.1 connection: its bytes pass the guard, and a head that takes too long or is none is
/// told so before the connection ends.
pub(super) struct Patient<S> {
    stream: S,
    turns: Arc<Turns>,
    limit: Duration,
    /// The name that answers of our own bear.
    node: Arc<str>,
    guard: Guard,
    /// What has passed the guard and was not read yet.
    ready: Vec<u8>,
    /// Since when a head has been arriving.
    head_since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether hyper has written what it has not flushed yet.
    is_unflushed: bool,
    /// Why the body that is arriving is none.
    broken: Option<Refusal>,
    last_words: Option<LastWords>,
    /// Is told what was refused.
    refusals: Option<Refusals>,
    /// What origins say before they answer.
    interims: Arc<Interims>,
    /// Of that, what is being written, and how much of it was.
    interim: (Vec<u8>, usize),
}

/// Is told of every head that was refused: why, how long it had been arriving, and the id of the answer.
pub(super) type Refusals = Box<dyn Fn(&Problem, Option<Duration>, &str) + Send>;

/// The end of a connection: an answer of our own, then what still comes is read away, so that the answer is
/// not lost to a reset (RFC 9112 §9.6).
struct LastWords {
    text: Vec<u8>,
    written: usize,
    until: Pin<Box<Sleep>>,
}

/// How long a connection lingers after its last answer.
const LINGER: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin> Patient<S> {
    /// Heads on this connection take at most `limit`.
    pub(super) fn new(stream: S, turns: Arc<Turns>, limit: Duration, node: Arc<str>) -> Self {
        Self {
            stream,
            turns,
            limit,
            node,
            guard: Guard::default(),
            ready: Vec::new(),
            head_since: None,
            sleep: None,
            is_unflushed: false,
            broken: None,
            last_words: None,
            refusals: None,
            interims: Arc::default(),
            interim: (Vec::new(), 0),
        }
    }

    /// Passes these interim answers on.
    pub(super) fn hinting(self, interims: Arc<Interims>) -> Self {
        Self { interims, ..self }
    }

    /// Tells of what is refused.
    pub(super) fn telling(self, refusals: Refusals) -> Self {
        Self {
            refusals: Some(refusals),
            ..self
        }
    }

    /// Whether the answer to a request for a WebSocket has been given, so that the guard may go on.
    fn is_decided(&mut self) -> bool {
        if !self.guard.is_undecided() {
            return true;
        }
        let has_left = self.turns.has_left.load(Ordering::Relaxed);
        if !has_left && !self.turns.are_answered(self.guard.passed()) {
            return false;
        }
        self.guard.decide(has_left);
        true
    }

    /// Leaves in `buf` what may pass of the bytes that came behind the first `before`.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let heads = self.guard.passed();
        let new = buf.filled().get(before..).unwrap_or_default();
        let (passed, judged) = self.guard.sift(new, &mut self.ready);
        buf.set_filled(before + passed);
        self.note_judged(judged);
        if self.guard.passed() > heads {
            self.turns.head_came(self.head_since);
        }
        self.head_since = if self.guard.is_within_head() {
            self.head_since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
    }

    fn note_judged(&mut self, judged: Result<(), Refusal>) {
        match judged {
            Ok(()) => {}
            Err(refusal) if self.guard.is_within_body() => self.broken = Some(refusal),
            Err(refusal) => self.refuse(&Problem::from(refusal)),
        }
    }

    /// Ready when the head that is arriving has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.head_since.filter(|_| !self.turns.is_busy()) else {
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

    /// Begins to end the connection.
    fn refuse(&mut self, problem: &Problem) {
        count_problem(problem);
        let id = format!("{:032x}", chance::id_128());
        if let Some(tell) = &self.refusals {
            tell(problem, self.head_since.map(|since| since.elapsed()), &id);
        }
        self.last_words = Some(LastWords {
            text: problem.as_message(&self.node, &id),
            written: 0,
            until: Box::pin(tokio::time::sleep(LINGER)),
        });
    }

    /// Says the last words, once every answer before them is on its way, and reads away what still comes.
    fn poll_end(&mut self, cx: &mut Context<'_>, last: &mut LastWords) -> Poll<io::Error> {
        let over = || io::Error::from(io::ErrorKind::InvalidData);
        if !self.turns.are_answered(self.guard.passed()) || self.is_unflushed {
            self.turns.waiting.register(cx.waker());
            return Poll::Pending;
        }
        while let Some(rest @ [_, ..]) = last.text.get(last.written..) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(written @ 1..) => last.written += written,
                Ok(0) | Err(_) => return Poll::Ready(over()),
            }
        }
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        let mut chunk = [0; 4096];
        loop {
            if last.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(over());
            }
            let mut read = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(over()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let length = this.ready.len().min(buf.remaining());
                buf.put_slice(this.ready.get(..length).unwrap_or_default());
                this.ready.drain(..length);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.broken {
                // Whoever reads this body answers for it.
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal)));
            }
            if let Some(mut last) = this.last_words.take() {
                let ended = this.poll_end(cx, &mut last);
                this.last_words = Some(last);
                return ended.map(Err);
            }
            if !this.is_decided() {
                this.turns.waiting.register(cx.waker());
                return Poll::Pending;
            }
            if this.guard.has_more() {
                let judged = this.guard.release(&mut this.ready);
                this.note_judged(judged);
                continue;
            }
            let before = buf.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(this.poll_late(cx));
                    this.refuse(&Problem::Stalled);
                    continue;
                }
            }
            let has_ended = buf.filled().len() == before;
            if !has_ended {
                this.judge(buf, before);
            }
            if has_ended || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    /// Writes interim answers where none of hyper's messages is being written; whether there were any.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.is_unflushed {
            self.interims.drop_late();
        } else if let Some(more) = self.interims.take() {
            self.interim.0.extend_from_slice(&more);
        }
        let (text, written) = &mut self.interim;
        while let Some(rest @ [_, ..]) = text.get(*written..) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => *written += length,
            }
        }
        let has_written = *written > 0;
        text.clear();
        *written = 0;
        Poll::Ready(Ok(has_written))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.is_unflushed = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.interims.writer.register(cx.waker());
        let mut flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.is_unflushed = false;
        if ready!(self.poll_interim(cx))? {
            flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        }
        if self.last_words.is_some() {
            self.turns.waiting.wake();
        }
        Poll::Ready(flushed)
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
        ready!(self.poll_interim(cx))?;
        self.is_unflushed = true;
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
        let mut server = Patient::new(server, Turns::new(), LIMIT, "fra-1".into());
        client.write_all(b"GET / HT").await.unwrap();
        let began = Instant::now();
        let mut head = Vec::new();
        let reading = tokio::spawn(async move { server.read_to_end(&mut head).await });
        let mut first = [0; 12];
        client.read_exact(&mut first).await.unwrap();
        assert_eq!((&first, began.elapsed()), (b"HTTP/1.1 408", LIMIT));
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(
            said.contains("application/problem+json") && said.contains("proxy-status"),
            "{said}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_before_or_within_a_request_is_no_stalled_head() {
        let (mut client, server) = duplex(1024);
        let turns = Turns::new();
        let mut server = Patient::new(server, turns.clone(), LIMIT, "fra-1".into());
        let mut chunk = [0; 64];
        let silence = tokio::time::timeout(LIMIT * 3, server.read(&mut chunk));
        assert!(silence.await.is_err(), "nothing has begun");
        let head = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(head).await.unwrap();
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
