//! Whether the other side of a connection is still there: it has said something, or answers a PING (RFC 9113 §6.7).

use std::time::Duration;

use tokio::time::Instant;

use crate::http2::Signs;

/// Asks whoever has said nothing for a while.
pub(super) struct KeepAlive {
    rhythm: Rhythm,
    /// What there was of it when this was looked at last.
    before: Signs,
    /// Whether an answer is waited for.
    has_asked: bool,
    /// When it was asked last, and the frames of heads and of content that had come by then.
    asked: Option<(Instant, u64)>,
}

/// How it asks.
#[derive(Clone, Copy)]
pub(super) struct Rhythm {
    /// After so long a silence.
    pub(super) every: Duration,
    /// How long the answer may take.
    pub(super) within: Duration,
    /// How long who has said no head and no content since it was asked is not asked again.
    pub(super) again_after: Duration,
}

impl KeepAlive {
    pub(super) fn new(rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            before: Signs::default(),
            has_asked: false,
            asked: None,
        }
    }

    /// When to look again, since there is this of it; none: there is nobody.
    pub(super) fn look(&mut self, signs: Signs, ping: impl FnOnce()) -> Option<Duration> {
        let before = std::mem::replace(&mut self.before, signs);
        let had_asked = std::mem::take(&mut self.has_asked);
        if signs.are_of_life_since(&before) {
            return Some(self.rhythm.every);
        }
        if had_asked {
            return None;
        }
        let now = Instant::now();
        let is_too_early = |(asked, spoken): (Instant, u64)| {
            signs.spoken == spoken && now < asked + self.rhythm.again_after
        };
        if self.asked.is_some_and(is_too_early) {
            return Some(self.rhythm.every);
        }
        (self.has_asked, self.asked) = (true, Some((now, signs.spoken)));
        ping();
        Some(self.rhythm.within)
    }

    /// When to look again, since nobody waits for anything at the moment.
    pub(super) fn rest(&mut self, signs: Signs) -> Duration {
        (self.before, self.has_asked) = (signs, false);
        self.rhythm.every
    }
}
