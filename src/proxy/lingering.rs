//! Connections whose last words are said: what still comes is read away, so that a reset does not cost their peers those words
//! (RFC 9112 §9.6).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::body::{DISCARD, MOST_DISCARDED};

/// How long it lingers while nothing comes. Over HTTP/1.1 who is known to send more of a request has longer.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How much is read away at once, bytes.
const CHUNK: usize = 8 << 10;

/// Reads away what comes behind the last answer, for a while.
pub(super) async fn linger(rest: impl AsyncRead + Unpin) {
    let read = read_away(rest, MOST_DISCARDED, LINGER);
    // Whoever does not end in time is cut off.
    let _ = tokio::time::timeout(DISCARD, read).await;
}

/// Reads until nothing has come for as long as `quiet`, or more than `most` bytes.
pub(super) async fn read_away(mut rest: impl AsyncRead + Unpin, mut most: usize, quiet: Duration) {
    let mut chunk = vec![0; CHUNK];
    // Broken or ended is the same here.
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(quiet, rest.read(&mut chunk)).await {
        match most.checked_sub(length) {
            Some(less) => most = less,
            None => return,
        }
    }
}
