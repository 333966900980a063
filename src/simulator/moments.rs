//! Of when an origin's words are that an edge believes: what the edge can know of a loss.

/// When an origin said what an edge believed, in the time of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    /// The newest that was believed, or was pushed and reached it.
    heard_ms: u64,
    /// The newest of all.
    newest_ms: u64,
    /// The last that was believed, if that was a push.
    pushed_ms: Option<u64>,
    /// The newest that said less than what was known.
    lowered_ms: u64,
    /// How often it was believed something new.
    changes: u64,
}

impl Moments {
    /// A push of then reaches it.
    pub(super) fn hear(&mut self, said_at_ms: u64) {
        self.heard_ms = said_at_ms.max(self.heard_ms);
    }

    /// It believes what an origin said then.
    pub(super) fn believe(&mut self, said_at_ms: u64, is_push: bool, is_less: bool) {
        self.hear(said_at_ms);
        self.changes += 1;
        self.newest_ms = said_at_ms.max(self.newest_ms);
        self.pushed_ms = is_push.then_some(said_at_ms);
        if is_less {
            self.lowered_ms = said_at_ms.max(self.lowered_ms);
        }
    }

    /// How often it was believed: what is known of an origin stands for as long as this does.
    pub(super) fn changes(self) -> u64 {
        self.changes
    }

    /// Whether it ever heard of it.
    pub(super) fn is_known(self) -> bool {
        self.newest_ms > 0
    }

    /// Whether it can know of nothing that was said since a loss.
    pub(super) fn know_nothing_since(self, lost_at_ms: u64) -> bool {
        self.heard_ms <= lost_at_ms
    }

    /// Whether nothing that it heard since a loss speaks of that: it heard nothing, or by a push no less than it knew,
    /// and then a push of before, which looks like growth.
    pub(super) fn hide(self, lost_at_ms: u64) -> bool {
        let is_of_before = |said_at_ms| said_at_ms < lost_at_ms;
        let looks_like_growth = self.pushed_ms.is_some_and(is_of_before);
        self.newest_ms <= lost_at_ms || looks_like_growth && is_of_before(self.lowered_ms)
    }
}
