//! A request on its way to an origin: its head, its body and how that is framed. RFC 9112 §3, §6, §7.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use hyper::body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::super::body::{Body, BodyError};
use super::super::guard::Question;
use super::super::headers::write_field;
use super::Unanswered;

/// Room for most heads, bytes.
const HEAD: usize = 1024;

/// What a request begins with.
pub(in crate::proxy) struct RequestHead<'a> {
    pub(in crate::proxy) method: &'a Method,
    pub(in crate::proxy) path: &'a PathAndQuery,
    /// For `Host`, whatever `headers` have.
    pub(in crate::proxy) authority: &'a str,
    /// What of them frames the body goes by the body itself.
    pub(in crate::proxy) headers: &'a HeaderMap,
}

/// Why a request is not sent whole.
pub(super) enum SendError {
    Body(BodyError),
    Io(io::Error),
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// By its length, of which this is left.
    Length(u64),
    Chunked,
}

/// A request that is being sent.
pub(super) struct Outbox {
    /// Heads, sizes of chunks and trailers that wait to be written, and how much of them was.
    text: Vec<u8>,
    written: usize,
    /// Then this of the body.
    data: Bytes,
    /// Then this.
    behind: &'static [u8],
    framing: Framing,
    /// What is left to be read of the body.
    body: Option<Body>,
    /// The same body, as long as nothing of it was sent.
    unsent: Option<Body>,
    has_begun: bool,
    is_sent: bool,
}

impl RequestHead<'_> {
    pub(super) fn question(&self) -> Question {
        if self.method == Method::HEAD {
            Question::Head
        } else {
            Question::Other
        }
    }

    /// How a body is framed: by the length that it knows or the client has told, else in chunks.
    fn framing(&self, body: &Body) -> Framing {
        if body.is_end_stream() {
            return Framing::Length(0);
        }
        let told = || {
            self.headers
                .get(CONTENT_LENGTH)?
                .to_str()
                .ok()?
                .parse()
                .ok()
        };
        let length = body.size_hint().exact().or_else(told);
        length.map_or(Framing::Chunked, Framing::Length)
    }

    fn write(&self, framing: Framing, text: &mut Vec<u8>) {
        let path = self.path.as_str();
        // RFC 9112 §3.2.1: a query alone has a path, which is the root.
        let root = if path.starts_with('?') { "/" } else { "" };
        let line = [
            self.method.as_str(),
            " ",
            root,
            path,
            " HTTP/1.1\r\nhost: ",
            self.authority,
            "\r\n",
        ];
        for part in line {
            text.extend_from_slice(part.as_bytes());
        }
        for (name, value) in self.headers {
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                write_field(name, value, text);
            }
        }
        match framing {
            // RFC 9110 §8.6: whether an empty body is told is the client's affair.
            Framing::Length(0) if !self.headers.contains_key(CONTENT_LENGTH) => {}
            Framing::Length(length) => {
                write_number(format_args!("content-length: {length}\r\n"), text)
            }
            Framing::Chunked => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        text.extend_from_slice(b"\r\n");
    }
}

fn write_number(formatted: std::fmt::Arguments<'_>, text: &mut Vec<u8>) {
    // A vector takes whatever is written to it.
    let _ = text.write_fmt(formatted);
}

impl Outbox {
    pub(super) fn new(head: &RequestHead<'_>, body: Body) -> Self {
        let framing = head.framing(&body);
        let mut text = Vec::with_capacity(HEAD);
        head.write(framing, &mut text);
        Self {
            text,
            written: 0,
            data: Bytes::new(),
            behind: &[],
            framing,
            unsent: body.copy(),
            body: (!body.is_end_stream()).then_some(body),
            has_begun: false,
            is_sent: false,
        }
    }

    /// Whether some of it was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether all of it was.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Nothing could be sent: the body as it was, if it is held whole.
    pub(super) fn unsent(&mut self, error: io::Error) -> Unanswered {
        match self.unsent.take() {
            Some(body) => Unanswered::Unsent(error, body),
            None => Unanswered::Broken(error),
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.text.len() && self.data.is_empty() && self.behind.is_empty()
    }

    /// Sends what there is; ready when all has been sent.
    pub(super) fn poll_send(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            let waits = self.body.is_some() && self.poll_frame(cx)?.is_pending();
            ready!(self.poll_write(io, cx)).map_err(SendError::Io)?;
            if waits || self.body.is_none() {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(SendError::Io)?;
                self.is_sent = !waits;
                return if waits {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(()))
                };
            }
        }
    }

    /// Takes the next frame of the body, if what went before was written but for the head.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let is_ready = self.data.is_empty() && self.behind.is_empty();
        let Some(body) = self.body.as_mut().filter(|_| is_ready) else {
            return Poll::Ready(Ok(()));
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let is_last = frame.is_none() || body.is_end_stream();
        let frame = frame.transpose().map_err(SendError::Body)?;
        let has_trailers = match frame.map(Frame::into_data) {
            None => false,
            Some(Ok(data)) => {
                self.stage(data).map_err(SendError::Body)?;
                false
            }
            Some(Err(other)) => self.stage_trailers(&other.into_trailers().unwrap_or_default()),
        };
        if is_last || has_trailers {
            self.body = None;
            self.end(has_trailers).map_err(SendError::Body)?;
        }
        Poll::Ready(Ok(()))
    }

    fn stage(&mut self, data: Bytes) -> Result<(), BodyError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left
                    .checked_sub(length)
                    .ok_or_else(|| wrong_length("longer"))?;
            }
            Framing::Chunked if length > 0 => {
                write_number(format_args!("{length:x}\r\n"), &mut self.text);
                self.behind = b"\r\n";
            }
            Framing::Chunked => {}
        }
        self.data = data;
        Ok(())
    }

    /// A body whose length was told has no room for trailers.
    fn stage_trailers(&mut self, trailers: &HeaderMap) -> bool {
        if self.framing != Framing::Chunked {
            return false;
        }
        self.text.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                write_field(name, value, &mut self.text);
            }
        }
        self.text.extend_from_slice(b"\r\n");
        true
    }

    fn end(&mut self, has_trailers: bool) -> Result<(), BodyError> {
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(wrong_length("shorter")),
            Framing::Chunked if has_trailers => {}
            Framing::Chunked if self.data.is_empty() => self.behind = b"0\r\n\r\n",
            Framing::Chunked => self.behind = b"\r\n0\r\n\r\n",
        }
        Ok(())
    }

    fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let mut io = Pin::new(&mut *io);
            let text = self.text.get(self.written..).unwrap_or_default();
            let written = if self.data.is_empty() && self.behind.is_empty() {
                io.as_mut().poll_write(cx, text)
            } else {
                let parts = [text, &self.data, self.behind].map(IoSlice::new);
                io.as_mut().poll_write_vectored(cx, &parts)
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.advance(length),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, length: usize) {
        self.has_begun = true;
        self.unsent = None;
        let of_text = length.min(self.text.len() - self.written);
        self.written += of_text;
        if self.written == self.text.len() {
            self.text.clear();
            self.written = 0;
        }
        let of_data = (length - of_text).min(self.data.len());
        self.data.advance(of_data);
        let of_behind = length - of_text - of_data;
        self.behind = self.behind.get(of_behind..).unwrap_or_default();
    }
}

fn wrong_length(than_told: &str) -> BodyError {
    BodyError::broken(format!("it is {than_told} than its Content-Length"))
}
