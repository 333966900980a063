//! Whether the other side of a connection is still there: it has said something, or answers a PING (RFC 9113 §6.7).

use std::time::Duration;

/// Asks whoever has said nothing for a while.
pub(super) struct KeepAlive {
    /// What had come when this was looked at last.
    before: u64,
    every: Duration,
    within: Duration,
    has_asked: bool,
}

impl KeepAlive {
    /// Asks after so long a silence, and waits so long for the answer.
    pub(super) fn new(every: Duration, within: Duration) -> Self {
        Self {
            before: 0,
            every,
            within,
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
        Some(self.within)
    }
}
