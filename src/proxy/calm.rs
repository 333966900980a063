//! A client's HTTP/2 connection as the h2 crate sees it: a flood of frames ends it, and so does a head that does not end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::frames::Frames;
use super::http2::Heard;
use crate::registered::Registered;

static FLOODS: Registered<(), 1> =
    Registered::new(|()| metrics::counter!("meridian_http2_floods_total"));

/// GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 §6.8, §7), whatever streams were begun.
const GOAWAY: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11,
];

/// A connection whose frames are counted.
pub(super) struct Calm<S> {
    stream: S,
    heard: Heard,
    frames: Frames,
    /// How long the preface, and each head, may take.
    limit: Duration,
    /// The frame that is arriving, and when it must have come.
    arriving: Option<(u32, Pin<Box<Sleep>>)>,
    /// Why nothing more is read.
    ended: Option<&'static str>,
}

impl<S> Calm<S> {
    /// The preface, and each head, take at most `limit`.
    pub(super) fn new(stream: S, limit: Duration, heard: Heard) -> Self {
        Self {
            stream,
            heard,
            frames: Frames::new(),
            limit,
            arriving: None,
            ended: None,
        }
    }

    /// Ready when the frame that is arriving has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(frame) = self.frames.unfinished() else {
            self.arriving = None;
            return Poll::Pending;
        };
        if self.arriving.as_ref().is_none_or(|(of, _)| *of != frame) {
            self.arriving = Some((frame, Box::pin(tokio::time::sleep(self.limit))));
        }
        match &mut self.arriving {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Calm<S> {
    /// Says why the connection ends, if that can be said at once.
    fn end(&mut self, cx: &mut Context<'_>, why: &'static str) {
        self.ended = Some(why);
        if self.frames.is_between_frames() {
            let _ = Pin::new(&mut self.stream).poll_write(cx, &GOAWAY);
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Calm<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.ended.is_none() {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(this.poll_late(cx));
                    this.end(cx, "a head that does not end");
                }
            }
        }
        if this.ended.is_none() {
            let new = buf.filled().get(before..).unwrap_or_default();
            this.heard.note();
            if this.frames.receive(new) {
                return Poll::Ready(Ok(()));
            }
            buf.set_filled(before);
            FLOODS.increment(&());
            this.end(cx, "a flood of frames");
        }
        let why = this.ended.unwrap_or_default();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Calm<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.frames.send(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
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
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let length = left.min(buf.len());
            self.frames.send(buf.get(..length).unwrap_or_default());
            left -= length;
        }
        Poll::Ready(Ok(written))
    }
}
