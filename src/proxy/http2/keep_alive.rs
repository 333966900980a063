//! Whether the other side of a connection is still there: it has said something, or answers a PING (RFC 9113 §6.7).

use std::time::Duration;

use crate::http2::Connection;

/// Asks whoever has said nothing for a while.
pub(super) struct KeepAlive {
    rhythm: Rhythm,
    /// What had come when this was looked at last.
    before: Seen,
    has_asked: bool,
}

/// How it asks.
#[derive(Clone, Copy)]
pub(super) struct Rhythm {
    /// After so long a silence.
    pub(super) every: Duration,
    /// How long the answer may take.
    pub(super) within: Duration,
    /// How long who has answered, and said nothing else, is not asked again.
    pub(super) again_after: Duration,
}

/// What has come of the other side.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How often anything has, or how much it took.
    pub(super) life: u64,
    /// Frames of heads and of content.
    pub(super) spoken: u64,
}

impl Seen {
    pub(super) fn of<S>(connection: &Connection<S>) -> Self {
        Self {
            life: connection.signs_of_life(),
            spoken: connection.spoken(),
        }
    }
}

impl KeepAlive {
    pub(super) fn new(rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            before: Seen::default(),
            has_asked: false,
        }
    }

    /// When to look again, since this has come; none: there is nobody.
    pub(super) fn look(&mut self, seen: Seen, ping: impl FnOnce()) -> Option<Duration> {
        let before = std::mem::replace(&mut self.before, seen);
        let had_asked = std::mem::take(&mut self.has_asked);
        if seen.life != before.life {
            let has_only_answered = had_asked && seen.spoken == before.spoken;
            return Some(if has_only_answered {
                self.rhythm.again_after
            } else {
                self.rhythm.every
            });
        }
        if had_asked {
            return None;
        }
        self.has_asked = true;
        ping();
        Some(self.rhythm.within)
    }

    /// When to look again, since nobody waits for anything at the moment.
    pub(super) fn rest(&mut self, seen: Seen) -> Duration {
        (self.before, self.has_asked) = (seen, false);
        self.rhythm.every
    }
}
