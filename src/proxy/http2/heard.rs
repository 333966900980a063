//! Whether the other side of a connection is still there: it has said something, or answers a PING (RFC 9113 §6.7). One that
//! lets a request wait too long and has not said a word meanwhile gets no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the answer to a PING may take.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Told of every byte that comes.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Heard(Arc<Words>);

#[derive(Default)]
struct Words {
    /// How often something came.
    count: AtomicU64,
    is_given_up: AtomicBool,
}

impl Heard {
    pub(in crate::proxy) fn note(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> Listening {
        Listening {
            heard: self.clone(),
            before: self.count(),
        }
    }

    /// Whether it gets no more requests.
    pub(super) fn is_given_up(&self) -> bool {
        self.0.is_given_up.load(Ordering::Relaxed)
    }
}

/// What was heard before a request was sent.
pub(in crate::proxy) struct Listening {
    heard: Heard,
    before: u64,
}

impl Listening {
    /// The request has waited too long: where nothing at all has come meanwhile, the connection may lead nowhere.
    pub(in crate::proxy) fn give_up_if_silent(&self) {
        if self.heard.count() == self.before {
            self.heard.0.is_given_up.store(true, Ordering::Relaxed);
        }
    }
}

/// Asks whoever has said nothing for a while.
pub(super) struct KeepAlive {
    /// What had come when this was looked at last.
    before: u64,
    every: Duration,
    has_asked: bool,
}

impl KeepAlive {
    /// Asks after so long a silence.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            before: 0,
            every,
            has_asked: false,
        }
    }

    /// When to look again, since something has come so often; none: there is nobody.
    pub(super) fn look(&mut self, heard: u64, ping: impl FnOnce()) -> Option<Duration> {
        let before = std::mem::replace(&mut self.before, heard);
        if self.before != before {
            self.has_asked = false;
            return Some(self.every);
        }
        if self.has_asked {
            return None;
        }
        self.has_asked = true;
        ping();
        Some(PONG_WITHIN)
    }
}
