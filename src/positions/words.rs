//! Answers that say what their origin said last, in the same words: they are taken in without being read.

use std::sync::Arc;

use super::applied::{Applied, Seen, State};
use super::marks::Marks;
use super::report::{Report, Reported, Trust};
use super::vector::{RegionName, Vector};
use crate::config::plan::VersionForm;

/// What an answer says of what its origin has applied, as it stands there.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The region that speaks.
    pub region: &'a RegionName,
    /// Its origin.
    pub origin: &'a str,
    /// How positions are written.
    pub form: VersionForm,
    /// The vector, as it is written.
    pub text: &'a [u8],
    /// When the answer was asked for.
    pub asked_at_ms: u64,
    /// When it arrived.
    pub now_ms: u64,
}

impl Words<'_> {
    fn report<'a>(&'a self, applied: &'a Vector) -> Report<'a> {
        Report {
            region: self.region,
            origin: self.origin,
            applied,
            asked_at_ms: self.asked_at_ms,
            now_ms: self.now_ms,
        }
    }

    fn are_of(&self, seen: &Seen) -> bool {
        let known = seen.words.as_ref();
        known.is_some_and(|(form, text)| *form == self.form && **text == *self.text)
    }
}

impl Applied {
    /// Takes in what an answer says, as [`report`](Self::report) does; and what that is. `parse` is asked if the origin
    /// did not say the same last; `None`: it makes nothing of it.
    pub fn report_words(
        &self,
        words: Words<'_>,
        parse: impl FnOnce() -> Option<Vector>,
    ) -> Option<(Arc<Vector>, Reported)> {
        let mut state = self.state();
        let named_ms = state.named_ms;
        let seen = state.seen_mut(words.region, words.origin);
        if let Some(seen) = seen.filter(|seen| words.are_of(seen)) {
            let applied = seen.applied.clone();
            if !seen.is_late(words.asked_at_ms) {
                let times = (words.asked_at_ms, words.now_ms);
                if seen.note_asked(words.region, times, named_ms) {
                    self.note_change();
                }
                // Marks go back only with a change; the end of a claim can wait for one.
                let changes = Some(self.changes());
                let has_changed = std::mem::replace(&mut seen.marked_at, changes) != changes;
                let marks = state.marks.get(words.region);
                if has_changed || marks.is_some_and(Marks::has_fallen_silent) {
                    state.mark_own(words.region, &applied, words.now_ms);
                }
            }
            self.heed(&mut state, words.report(&applied));
            return Some((applied, Reported::Known));
        }
        drop(state);
        let applied = parse()?;
        let mut state = self.change();
        let reported = self.hear(&mut state, words.report(&applied), Trust::Asked);
        let known = state.note(words, &applied);
        Some((known.unwrap_or_else(|| Arc::new(applied)), reported))
    }
}

impl State {
    /// Notes in which words an origin said what it has applied, if that was believed; what is known of it then.
    fn note(&mut self, words: Words<'_>, applied: &Vector) -> Option<Arc<Vector>> {
        let seen = self.seen_mut(words.region, words.origin);
        let seen = seen.filter(|seen| *seen.applied == *applied)?;
        seen.words = Some((words.form, words.text.into()));
        Some(seen.applied.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::positions::fixtures::vector;
    use crate::positions::{Position, parse_vector};

    /// What an answer that was asked for at `asked_at_ms` and came 1 ms later reports, and whether it was read.
    #[track_caller]
    fn says(applied: &Applied, text: &str, asked_at_ms: u64) -> (Reported, bool) {
        let words = Words {
            region: &"eu".into(),
            origin: "a",
            form: VersionForm::Integer,
            text: text.as_bytes(),
            asked_at_ms,
            now_ms: asked_at_ms + 1,
        };
        let mut is_read = false;
        let said = applied.report_words(words, || {
            is_read = true;
            parse_vector(text, VersionForm::Integer).ok()
        });
        let (said, reported) = said.unwrap();
        assert_eq!(*said, vector(text));
        (reported, is_read)
    }

    #[test]
    fn what_an_origin_says_again_is_read_once() {
        let applied = Applied::default();
        assert_eq!(says(&applied, "us=5", 1), (Reported::Advanced, true));
        assert_eq!(says(&applied, "us=5", 3), (Reported::Known, false));
        assert_eq!(says(&applied, "us=6", 5), (Reported::Advanced, true));
        assert_eq!(says(&applied, "us=5", 7), (Reported::Regressed, true));
        assert_eq!(says(&applied, "us=5", 9), (Reported::Known, false));
        assert_eq!(applied.origin("eu", "a"), vector("us=5"));
    }

    #[test]
    fn words_stand_for_what_is_known_and_for_nothing_that_came_late_or_otherwise() {
        let applied = Applied::default();
        says(&applied, "us=5", 10);
        assert_eq!(says(&applied, "us=4", 3), (Reported::Known, true), "late");
        assert_eq!(says(&applied, "us=5", 12), (Reported::Known, false));
        applied.report(Report {
            region: &"eu".into(),
            origin: "a",
            applied: &vector("us=6"),
            asked_at_ms: 14,
            now_ms: 15,
        });
        assert_eq!(says(&applied, "us=5", 16), (Reported::Regressed, true));
        assert_eq!(applied.origin("eu", "a"), vector("us=5"));
    }

    /// Whether an answer changes what is asked of positions.
    #[track_caller]
    fn changes(applied: &Applied, text: &str, asked_at_ms: u64) -> bool {
        let before = applied.changes();
        says(applied, text, asked_at_ms);
        applied.changes() != before
    }

    #[test]
    fn what_is_said_again_changes_nothing_but_times() {
        let applied = Applied::default();
        assert!(changes(&applied, "us=5", 1));
        assert!(!changes(&applied, "us=5", 3));
        assert!(!changes(&applied, "us=5", 2), "late");
        assert!(changes(&applied, "us=6", 5));
        assert!(changes(&applied, "us=5", 7));
        assert!(!changes(&applied, "us=5", 9));
    }

    #[test]
    fn a_denial_is_a_change_even_in_the_same_words() {
        let applied = Applied::default();
        says(&applied, "eu=4", 1);
        assert!(
            changes(&applied, "eu=4", 3),
            "its epoch had just been named"
        );
        assert!(!changes(&applied, "eu=4", 5));
        applied.acknowledged(&"eu".into(), "a", Position { epoch: 0, seq: 5 }, 10);
        assert!(changes(&applied, "eu=4", 11));
        assert!(!changes(&applied, "eu=4", 13));
    }

    #[test]
    fn saying_so_again_after_an_epoch_was_named_is_a_change_because_it_may_prove_a_loss() {
        let applied = Applied::default();
        says(&applied, "us=3:970", 1);
        assert!(!changes(&applied, "us=3:970", 3));
        applied.report(Report {
            region: &"us".into(),
            origin: "a",
            applied: &vector("us=4:1@3:975"),
            asked_at_ms: 10,
            now_ms: 11,
        });
        assert!(changes(&applied, "us=3:970", 20));
        assert!(!changes(&applied, "us=3:970", 22));
    }

    #[test]
    fn the_same_words_in_another_form_are_read_anew() {
        let applied = Applied::default();
        let read = |form| {
            let words = Words {
                region: &"eu".into(),
                origin: "a",
                form,
                text: b"us=1/2",
                asked_at_ms: 1,
                now_ms: 1,
            };
            applied.report_words(words, || parse_vector("us=1/2", form).ok())
        };
        assert!(read(VersionForm::PgLsn).is_some());
        assert!(read(VersionForm::Integer).is_none());
    }
}
