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

/// Judges an answer by its own word; if it says nothing, by what is known of the origin that gave it.
pub fn judge(
    applied: &Applied,
    (region, origin): (&str, &str),
    said: &Said,
    required: &Vector,
    is_conflict: bool,
) -> Judged {
    let shows = match &said.applied {
        Some(seen) => applied.shows(seen, required),
        None => applied.origin_has(region, origin, required),
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
    use crate::config::plan::VersionForm;
    use crate::positions::{Report, parse_vector};

    fn vector(text: &str) -> Vector {
        parse_vector(text, VersionForm::Integer).unwrap()
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
            applied: says.map(vector),
        };
        let judged = judge(&applied, ("eu", "b"), &said, &vector(required), is_conflict);
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
    }
}
