//! Whether an answer to a read shows its client all that it must see.

use super::applied::Applied;
use super::mint::Said;
use super::vector::Vector;

/// What an answer to a read is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It shows all.
    Shows,
    /// A 409 that does not: the region understands `Meridian-Require`, and has not caught up.
    NotYet,
    /// It is from before the client's writes, or may be.
    Behind,
}

/// The origin that an answer is from.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its region.
    pub region: &'a str,
    /// Which of that region's origins.
    pub origin: &'a str,
    /// When it was asked.
    pub asked_at_ms: u64,
    /// Whether it was known to have all then.
    pub had_all: bool,
    /// Whether its region was unfit to be read from, and is for nothing but what only it has.
    pub was_left_out: bool,
}

/// Judges an answer by its own word; if it says nothing, by what is known of the origin that gave it, and was
/// when that was asked: an answer may be from before the origin got what it has told meanwhile. A 409 that says nothing
/// means "not yet" wherever a position was asked for.
pub(super) fn judge(
    applied: &Applied,
    asked: Asked<'_>,
    said: &Said,
    required: &Vector,
    is_conflict: bool,
) -> Judged {
    let Asked {
        region,
        origin,
        asked_at_ms,
        had_all,
        was_left_out: _,
    } = asked;
    let has_all = || {
        let is_known = required.is_empty() || !applied.is_removed(region, origin);
        applied.answers_for(region, origin, required, asked_at_ms) && had_all && is_known
    };
    let shows = match &said.applied {
        Some(seen) => {
            applied.note_word(region, origin);
            applied.shows(seen, required)
        }
        None => has_all() && (!is_conflict || required.is_empty()),
    };
    match (shows, is_conflict) {
        (true, _) => Judged::Shows,
        (false, true) => Judged::NotYet,
        (false, false) => Judged::Behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::positions::fixtures::vector;
    use crate::positions::{Position, Report};

    fn asked(origin: &str) -> Asked<'_> {
        Asked {
            region: "eu",
            origin,
            asked_at_ms: 1_000,
            had_all: true,
            was_left_out: false,
        }
    }

    #[test]
    fn an_only_origin_that_denies_what_it_acknowledged_does_not_count_as_having_it() {
        let applied = Applied::default();
        let (eu, five) = ("eu".into(), vector("eu=5"));
        let says = |text: &str, asked_at_ms| {
            applied.report(Report {
                region: &eu,
                origin: "a",
                applied: &vector(text),
                asked_at_ms,
                now_ms: asked_at_ms + 1,
            });
        };
        let has = || applied.origin_has("eu", "a", &five);
        says("eu=4", 1);
        applied.acknowledged(&eu, "a", Position { epoch: 0, seq: 5 }, 10);
        assert!(has(), "it committed that itself");
        says("eu=4", 10);
        assert!(has(), "it may have been asked before");
        says("eu=4", 11);
        assert!(!has(), "it was asked afterwards");
        says("eu=5", 12);
        assert!(has());
    }

    #[test]
    fn an_acknowledgement_far_beyond_the_log_is_held_against_it_until_one_of_later_shows_that_it_was_false()
     {
        let applied = Applied::default();
        let eu = "eu".into();
        let writes = |seq, now_ms| {
            applied.acknowledged(&eu, "a", Position { epoch: 0, seq }, now_ms);
        };
        let says = |text: &str, asked_at_ms| {
            applied.report(Report {
                region: &eu,
                origin: "a",
                applied: &vector(text),
                asked_at_ms,
                now_ms: asked_at_ms + 1,
            });
        };
        let denied = |now_ms| applied.lags(now_ms)[0].denied.map(|denied| denied.ago);
        says("eu=4", 0);
        writes(999_999, 10);
        for second in 1..5 {
            writes(4 + second, second * 1_000);
            says(&format!("eu={}", 4 + second), second * 1_000 + 1);
            let ago = std::time::Duration::from_millis(second * 1_000);
            assert_eq!(denied(second * 1_000 + 10), Some(ago));
        }
        writes(10, 5_010);
        says("eu=9", 5_011);
        assert!(
            !applied.origin_has("eu", "a", &vector("eu=10")),
            "it is behind by one"
        );
        says("eu=10", 6_000);
        assert_eq!(denied(6_001), None);
        writes(11, 6_500);
        assert!(applied.origin_has("eu", "a", &vector("eu=11")));
    }

    #[test]
    fn what_an_origin_tells_while_it_answers_says_nothing_of_that_answer() {
        let applied = Applied::default();
        let before = Asked {
            had_all: applied.origin_has("eu", "a", &vector("us=5")),
            ..asked("a")
        };
        applied.report(Report {
            region: &"eu".into(),
            origin: "a",
            applied: &vector("us=5"),
            asked_at_ms: 1,
            now_ms: 2,
        });
        let judged = |asked| judge(&applied, asked, &Said::default(), &vector("us=5"), false);
        assert_eq!(judged(before), Judged::Behind);
        assert_eq!(judged(asked("a")), Judged::Shows);
    }

    #[test]
    fn a_replica_that_was_asked_before_it_said_what_it_has_did_not_have_it_for_its_region_s_sake() {
        let applied = Applied::default();
        let regions = [("eu".into(), vec!["a".into(), "b".into()])];
        let members = crate::positions::Membership {
            regions: regions.into(),
            ttl: std::time::Duration::from_secs(300),
        };
        applied.adopt(members, None);
        let required = vector("eu=5");
        let judged_when_asked_at = |asked_at_ms| {
            let asked = Asked {
                asked_at_ms,
                had_all: applied.origin_has("eu", "b", &required),
                ..asked("b")
            };
            applied.report(Report {
                region: &"eu".into(),
                origin: "b",
                applied: &required,
                asked_at_ms: 1_001,
                now_ms: 1_002,
            });
            judge(&applied, asked, &Said::default(), &required, false)
        };
        assert_eq!(judged_when_asked_at(1_000), Judged::Behind);
        assert_eq!(judged_when_asked_at(1_002), Judged::Shows);
    }

    #[track_caller]
    fn check(says: Option<&str>, required: &str, is_conflict: bool, expected: Judged) {
        let applied = Applied::default();
        for (origin, known) in [("a", "us=5"), ("b", "us=3")] {
            applied.report(Report {
                region: &"eu".into(),
                origin,
                applied: &vector(known),
                asked_at_ms: 0,
                now_ms: 0,
            });
        }
        let said = Said {
            committed: None,
            applied: says.map(vector).map(Into::into),
        };
        let judged = judge(&applied, asked("b"), &said, &vector(required), is_conflict);
        assert_eq!(judged, expected);
    }

    #[test]
    fn an_answer_is_judged_by_its_own_word() {
        check(Some("us=5"), "us=5", false, Judged::Shows);
        check(Some("us=4"), "us=5", false, Judged::Behind);
        check(Some("us=9"), "us=5,eu=1", false, Judged::Behind);
        check(Some("us=1:1@0:5"), "us=5", false, Judged::Shows);
        check(Some("us=1:1@0:4"), "us=5", false, Judged::Behind);
        check(Some("us=1:1"), "us=5", false, Judged::Behind);
    }

    #[test]
    fn one_that_says_nothing_is_judged_by_its_own_origin_and_not_by_another() {
        check(None, "us=3", false, Judged::Shows);
        check(None, "us=5", false, Judged::Behind);
        check(None, "eu=9", false, Judged::Shows);
    }

    #[test]
    fn a_409_means_not_yet_unless_it_shows_all() {
        check(Some("us=4"), "us=5", true, Judged::NotYet);
        check(Some("us=5"), "us=5", true, Judged::Shows);
        check(None, "us=5", true, Judged::NotYet);
        check(None, "us=3", true, Judged::NotYet);
        check(None, "", true, Judged::Shows);
    }

    fn is_shown_by(origin: &str, reports: &[(&str, &str)], required: &str) -> bool {
        let applied = Applied::default();
        for (now_ms, (origin, known)) in (1..).zip(reports) {
            applied.report(Report {
                region: &"eu".into(),
                origin,
                applied: &vector(known),
                asked_at_ms: now_ms,
                now_ms,
            });
        }
        let said = Said::default();
        judge(&applied, asked(origin), &said, &vector(required), false) == Judged::Shows
    }

    #[test]
    fn a_replica_that_answers_silently_is_held_to_what_it_said_of_its_region_s_own_log() {
        let replicas = [("a", "eu=9"), ("b", "eu=3")];
        assert!(is_shown_by("a", &replicas, "eu=9"));
        assert!(!is_shown_by("b", &replicas, "eu=9"));
        assert!(is_shown_by("a", &[], "eu=9"), "nothing speaks against it");
        assert!(is_shown_by("a", &[("a", "us=3")], "eu=9"), "nor does this");
    }

    #[test]
    fn an_only_origin_that_ran_backwards_no_longer_counts_as_having_what_it_committed() {
        let back = [("a", "eu=9"), ("a", "eu=5")];
        assert!(!is_shown_by("a", &back, "eu=9"));
        assert!(is_shown_by("a", &back, "eu=5"));
    }
}
