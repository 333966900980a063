//! A message on its way: its head, its body and how that is framed. RFC 9112 §6, §7.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::body::{Body as HttpBody, Frame};
use tokio::io::AsyncWrite;

use super::super::body::BodyError;
use super::super::headers::write_field;

/// Room for most heads, bytes.
pub(super) const HEAD: usize = 1024;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Why a message is not sent whole.
pub(super) enum SendError {
    Body(BodyError),
    Io(io::Error),
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// By its length, of which this is left.
    Length(u64),
    Chunked,
    /// By the end of the connection.
    ToTheEnd,
}

/// A message that is being sent.
pub(super) struct Outbox<B> {
    /// Heads, sizes of chunks and trailers that wait to be written, and how much of them was.
    text: Vec<u8>,
    written: usize,
    /// Then this of the body.
    data: Bytes,
    /// Then this.
    behind: &'static [u8],
    framing: Framing,
    /// What is left to be read of the body.
    body: Option<B>,
    /// Whether whoever takes it takes trailers.
    takes_trailers: bool,
    has_begun: bool,
    is_sent: bool,
}

impl Framing {
    /// Whether nothing can follow the body.
    pub(super) fn ends_connection(self) -> bool {
        self == Self::ToTheEnd
    }

    /// Writes the field that says so.
    pub(super) fn write(self, text: &mut Vec<u8>) {
        match self {
            Self::None | Self::ToTheEnd => {}
            Self::Length(length) => {
                text.extend_from_slice(b"content-length: ");
                text.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                text.extend_from_slice(b"\r\n");
            }
            Self::Chunked => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
    }
}

impl<B: HttpBody<Data = Bytes, Error = BodyError> + Unpin> Outbox<B> {
    /// Sends this text, which ends in a head, and the body behind it.
    pub(super) fn new(text: Vec<u8>, framing: Framing, body: B) -> Self {
        let is_empty = framing == Framing::None || body.is_end_stream();
        Self {
            text,
            written: 0,
            data: Bytes::new(),
            behind: if is_empty && framing == Framing::Chunked {
                LAST_CHUNK
            } else {
                &[]
            },
            framing,
            body: (!is_empty).then_some(body),
            takes_trailers: true,
            has_begun: false,
            is_sent: false,
        }
    }

    /// The same, without trailers.
    pub(super) fn without_trailers(self) -> Self {
        Self {
            takes_trailers: false,
            ..self
        }
    }

    /// What has not been sent whole.
    pub(super) fn body(&self) -> Option<&B> {
        self.body.as_ref()
    }

    /// Whether some of it was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether all of it was.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
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
                // A vector takes whatever is written to it.
                let _ = write!(self.text, "{length:x}\r\n");
                self.behind = b"\r\n";
            }
            Framing::Chunked | Framing::None | Framing::ToTheEnd => {}
        }
        self.data = data;
        Ok(())
    }

    /// A body whose length was told has no room for trailers.
    fn stage_trailers(&mut self, trailers: &HeaderMap) -> bool {
        if self.framing != Framing::Chunked || !self.takes_trailers {
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
            Framing::Length(0) | Framing::None | Framing::ToTheEnd => {}
            Framing::Length(_) => return Err(wrong_length("shorter")),
            Framing::Chunked if has_trailers => {}
            Framing::Chunked if self.data.is_empty() => self.behind = LAST_CHUNK,
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
