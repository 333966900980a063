//! How a region is asked whether it has caught up, while reads wait for it. Pure: times are given, durations returned.

use std::time::Duration;

/// How often a region is asked while somebody waits for it (the contract).
pub const ASK_EVERY: Duration = Duration::from_millis(20);

/// The same where a long poll is out, or where a read itself is to ask beside the health path: a safety
/// net for regions that say less there than they know.
pub const ASK_SELDOM: Duration = Duration::from_millis(100);

/// What an answer that does not show the client's writes tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    /// 409, which says that the region understands `Meridian-Require`: the read itself may ask again.
    pub is_not_yet: bool,
    /// Whether it says what the region has applied, so that all who wait learn from it.
    pub tells: bool,
}

/// How a read goes on that was answered too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// By itself, [`ASK_EVERY`] after it asked last: nobody learns from another's answer.
    Alone,
    /// It waits for the turn, and then asks with the read for all.
    Reads,
    /// It waits for the turn, and then asks the health paths for all, before the read itself.
    Probes,
}

/// What is next once an origin's health path has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It says nothing of positions: no use in asking it.
    Silent,
    /// It is time to ask with the read itself.
    OwnRead,
    /// Ask it again, so long after it was asked.
    Again(Duration),
}

impl Old {
    /// There was no answer in time.
    pub const UNASKED: Self = Self {
        is_not_yet: true,
        tells: false,
    };

    /// `are_silent`: its health paths said nothing of positions a moment ago.
    pub fn asking(self, are_silent: bool) -> Asking {
        match (are_silent, self.tells) {
            (true, false) => Asking::Alone,
            (true, true) => Asking::Reads,
            (false, _) => Asking::Probes,
        }
    }

    /// After a health path was asked. `since_read`: how long ago the region was asked with a read.
    pub fn probed(self, spoke: bool, since_read: Duration, is_followed: bool) -> Probed {
        if !spoke {
            Probed::Silent
        } else if self.is_not_yet && since_read >= ASK_SELDOM {
            Probed::OwnRead
        } else if is_followed {
            Probed::Again(ASK_SELDOM)
        } else {
            Probed::Again(ASK_EVERY)
        }
    }
}

/// How long a read that was woken pauses before it asks: one whose last waking was in vain must not ask more often
/// than others. `since_asked`: how long ago it asked last.
pub fn pause_when_woken(was_in_vain: bool, since_asked: Duration) -> Duration {
    if was_in_vain {
        ASK_EVERY.saturating_sub(since_asked)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_YET: Old = Old {
        is_not_yet: true,
        tells: true,
    };
    const TOO_OLD: Old = Old {
        is_not_yet: false,
        tells: true,
    };

    #[test]
    fn who_learns_nothing_from_others_asks_alone_and_all_others_take_turns() {
        let mute = Old {
            tells: false,
            ..TOO_OLD
        };
        assert_eq!(mute.asking(true), Asking::Alone);
        assert_eq!(mute.asking(false), Asking::Probes);
        assert_eq!(TOO_OLD.asking(true), Asking::Reads);
        assert_eq!(TOO_OLD.asking(false), Asking::Probes);
    }

    #[test]
    fn a_health_path_is_asked_every_20_ms_and_every_100_where_a_long_poll_is_out() {
        assert_eq!(
            TOO_OLD.probed(true, Duration::MAX, false),
            Probed::Again(ASK_EVERY)
        );
        assert_eq!(
            TOO_OLD.probed(true, Duration::MAX, true),
            Probed::Again(ASK_SELDOM)
        );
        assert_eq!(TOO_OLD.probed(false, Duration::ZERO, false), Probed::Silent);
    }

    #[test]
    fn a_read_that_was_told_not_yet_asks_itself_every_100_ms() {
        let before = ASK_SELDOM - Duration::from_nanos(1);
        assert_eq!(
            NOT_YET.probed(true, before, false),
            Probed::Again(ASK_EVERY)
        );
        assert_eq!(NOT_YET.probed(true, ASK_SELDOM, true), Probed::OwnRead);
    }

    #[test]
    fn a_read_that_is_woken_asks_at_once_and_after_a_waking_in_vain_no_sooner_than_20_ms() {
        let half = ASK_EVERY / 2;
        assert_eq!(pause_when_woken(false, half), Duration::ZERO);
        assert_eq!(pause_when_woken(true, half), half);
        assert_eq!(pause_when_woken(true, ASK_EVERY * 3), Duration::ZERO);
    }
}
