//! Whether an HTTP/2 origin takes WebSockets: SETTINGS_ENABLE_CONNECT_PROTOCOL in its first frame (RFC 8441 §3).
//!
//! The h2 crate knows it, and does not tell when it has come. So the first frame is read on its way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

use super::http2::Heard;
use super::write_through::write_through;
use crate::http2::frame::{Frame, HEAD, SETTINGS};

/// What an origin has announced; none: nothing yet.
pub(super) type Announced = watch::Receiver<Option<bool>>;

/// RFC 8441 §3, with the one value that says yes.
const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];

/// A connection to an HTTP/2 origin, whose first frame is noted.
pub(super) struct Announcing<S> {
    stream: S,
    heard: Heard,
    /// What has come of the first frame; none: it has been read.
    first: Option<Vec<u8>>,
    tell: watch::Sender<Option<bool>>,
}

impl<S> Announcing<S> {
    pub(super) fn new(stream: S, heard: Heard) -> (Self, Announced) {
        let (tell, announced) = watch::channel(None);
        let announcing = Self {
            stream,
            heard,
            first: Some(Vec::new()),
            tell,
        };
        (announcing, announced)
    }

    fn note(&mut self, bytes: &[u8]) {
        let Some(first) = &mut self.first else { return };
        first.extend_from_slice(bytes);
        if let Some(takes) = takes_websockets(first) {
            self.first = None;
            self.tell.send_replace(Some(takes));
        }
    }
}

/// Whether an origin whose bytes come in pieces of this size takes WebSockets; none: it has not said yet. For fuzzing.
pub fn what_is_announced(bytes: &[u8], piece: usize) -> Option<bool> {
    let (mut announcing, announced) = Announcing::new((), Heard::default());
    for piece in bytes.chunks(piece.max(1)) {
        announcing.note(piece);
    }
    *announced.borrow()
}

/// What the first frame says, once it has come whole (RFC 9113 §3.4: it is SETTINGS).
fn takes_websockets(bytes: &[u8]) -> Option<bool> {
    let (head, payload) = bytes.split_first_chunk::<HEAD>()?;
    let first = Frame::of(*head);
    if first.kind != SETTINGS {
        return Some(false);
    }
    let settings = payload.get(..first.length)?;
    let mut settings = settings.chunks_exact(ENABLE_CONNECT_PROTOCOL.len());
    Some(settings.any(|setting| setting == ENABLE_CONNECT_PROTOCOL))
}

impl<S: AsyncRead + Unpin> AsyncRead for Announcing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.heard.note();
        if self.first.is_some() {
            self.note(buf.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

write_through!(Announcing);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_known_once_the_first_frame_is_whole() {
        let yes = [
            0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9, 0, 8, 0, 0, 0, 1,
        ];
        for length in 0..yes.len() {
            assert_eq!(takes_websockets(&yes[..length]), None, "{length}");
        }
        assert_eq!(takes_websockets(&yes), Some(true));
        let mut no = yes;
        no[20] = 0;
        assert_eq!(takes_websockets(&no), Some(false));
        let nothing = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        assert_eq!(takes_websockets(&nothing), Some(false));
    }
}
