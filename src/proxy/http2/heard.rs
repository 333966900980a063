//! Whether the other side of a connection is still there: it has said something, or answers a PING (RFC 9113 §6.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::{Ping, PingPong};

/// How long the answer to a PING may take.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Told of every byte that comes.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Heard(Arc<AtomicBool>);

impl Heard {
    pub(in crate::proxy) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether anything has come since this was asked last.
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Asks whoever has said nothing for a while.
pub(super) struct KeepAlive {
    heard: Heard,
    pings: Option<PingPong>,
    every: Duration,
    has_asked: bool,
}

impl KeepAlive {
    /// Asks after so long a silence.
    pub(super) fn new(heard: Heard, pings: Option<PingPong>, every: Duration) -> Self {
        Self {
            heard,
            pings,
            every,
            has_asked: false,
        }
    }

    /// When to look again; none: there is nobody.
    pub(super) fn look(&mut self) -> Option<Duration> {
        if self.heard.take() {
            self.has_asked = false;
            return Some(self.every);
        }
        if self.has_asked {
            return None;
        }
        self.has_asked = true;
        if let Some(pings) = &mut self.pings {
            // An earlier answer was heard, and is still to be taken before the next question.
            let nobody = &mut Context::from_waker(Waker::noop());
            let _: Poll<_> = pings.poll_pong(nobody);
            // If it cannot be asked, the connection has ended, which its task finds out.
            let _ = pings.send_ping(Ping::opaque());
        }
        Some(PONG_WITHIN)
    }
}
