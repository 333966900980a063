//! An origin's HTTP/1.1 connection as hyper sees it: what is no answer, or no answer to what was asked, is an
//! error and the end of the connection.
//!
//! Bytes count as an answer only once a request has begun to be written. So what an origin sends on a kept
//! connection never becomes somebody else's answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::{Answers, Guard, Question, Refusal};

/// The question that is written next, as its asker leaves it for the connection.
#[derive(Clone, Default)]
pub(super) struct NextQuestion(Arc<AtomicU8>);

const NONE: u8 = 0;
const HEAD: u8 = 1;
const OTHER: u8 = 2;

impl NextQuestion {
    /// A request of this method is about to be sent.
    pub(super) fn set(&self, method: &Method) {
        let question = if method == Method::HEAD { HEAD } else { OTHER };
        self.0.store(question, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Question> {
        if self.0.load(Ordering::Relaxed) == NONE {
            return None;
        }
        match self.0.swap(NONE, Ordering::Relaxed) {
            NONE => None,
            HEAD => Some(Question::Head),
            _ => Some(Question::Other),
        }
    }
}

/// A connection to an origin whose bytes pass the guard.
pub(super) struct Wary<S> {
    stream: S,
    next: NextQuestion,
    guard: Guard<Answers>,
    /// What has passed the guard and was not read yet.
    ready: Vec<u8>,
    /// Why nothing more passes.
    refused: Option<Refusal>,
}

impl<S> Wary<S> {
    pub(super) fn new(stream: S, next: NextQuestion) -> Self {
        Self {
            stream,
            next,
            guard: Guard::new(Answers::default()),
            ready: Vec::new(),
            refused: None,
        }
    }

    fn note_question(&mut self) {
        if let Some(question) = self.next.take() {
            self.guard.heads_mut().expect(question);
        }
    }

    /// Leaves in `buf` what may pass of the bytes that came behind the first `before`.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let was_within_body = self.guard.is_within_body();
        let new = buf.filled().get(before..).unwrap_or_default();
        let (mut passed, judged) = self.guard.sift(new, &mut self.ready);
        self.refused = judged.err();
        if self.refused.is_some() && !was_within_body && self.guard.is_within_body() {
            // Its head has not been passed on yet: there is time for a 502.
            passed = 0;
            self.ready.clear();
        }
        buf.set_filled(before + passed);
    }

    fn give_ready(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.ready.len().min(buf.remaining());
        buf.put_slice(self.ready.get(..length).unwrap_or_default());
        self.ready.drain(..length);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wary<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                this.give_ready(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.refused {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal)));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let has_ended = buf.filled().len() == before;
            this.judge(buf, before);
            if has_ended || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wary<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note_question();
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
        self.note_question();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// What the guard refused, if that is why a connection failed.
pub(super) fn refusal_of(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let error = error.downcast_ref::<io::Error>()?;
    error.get_ref()?.downcast_ref::<Refusal>().copied()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn nothing_is_an_answer_before_a_request_is_written() {
        let (mut origin, edge) = duplex(1024);
        let next = NextQuestion::default();
        let mut edge = Wary::new(edge, next.clone());
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        next.set(&Method::GET);
        edge.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        origin.write_all(answer).await.unwrap();
        let mut read = vec![0; answer.len()];
        edge.read_exact(&mut read).await.unwrap();
        assert_eq!(read, answer);
        next.set(&Method::GET);
        origin.write_all(answer).await.unwrap();
        let error = edge.read(&mut read).await.unwrap_err();
        assert!(refusal_of(&error).is_some(), "{error}");
    }

    #[tokio::test]
    async fn what_came_well_before_a_refusal_is_read_first() {
        let (mut origin, edge) = duplex(1024);
        let next = NextQuestion::default();
        let mut edge = Wary::new(edge, next.clone());
        next.set(&Method::HEAD);
        edge.write_all(b"HEAD / HTTP/1.1\r\n\r\n").await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        origin.write_all(head).await.unwrap();
        origin.write_all(b"ok").await.unwrap();
        let mut read = Vec::new();
        assert!(edge.read_to_end(&mut read).await.is_err());
        assert_eq!(read, head);
    }
}
