use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::positions::fixtures::{report, vector};

#[test]
fn a_late_report_neither_lowers_nor_raises_nor_accuses() {
    let applied = Applied::default();
    report(&applied, "a", "us=6", 10, 20);
    assert_eq!(report(&applied, "a", "us=5", 15, 30), Reported::Known);
    assert_eq!(report(&applied, "a", "us=7", 15, 40), Reported::Known);
    assert_eq!(applied.region("eu"), vector("us=6"));
}

#[test]
fn an_answer_that_was_overtaken_within_a_millisecond_is_late() {
    let applied = Applied::default();
    report(&applied, "a", "us=6", 20, 20);
    assert_eq!(report(&applied, "a", "us=5", 20, 25), Reported::Known);
    assert_eq!(applied.region("eu"), vector("us=6"));
    assert_eq!(report(&applied, "a", "us=7", 20, 26), Reported::Advanced);
    assert_eq!(report(&applied, "a", "us=5", 27, 27), Reported::Regressed);
}

#[test]
fn a_region_that_runs_backwards_is_lowered_at_once() {
    let applied = Applied::default();
    report(&applied, "a", "us=6", 10, 20);
    assert_eq!(report(&applied, "a", "us=5", 25, 30), Reported::Regressed);
    assert_eq!(applied.region("eu"), vector("us=5"));
}

#[test]
fn marks_of_what_ran_backwards_are_nobody_s_lag() {
    let applied = Applied::default();
    report(&applied, "a", "eu=9", 0, 0);
    report(&applied, "a", "eu=5", 1, 1);
    let us = "us".into();
    applied.report(Report {
        region: &us,
        origin: "b",
        applied: &vector("eu=5"),
        asked_at_ms: 2,
        now_ms: 2,
    });
    assert_eq!(applied.lag("us", 9_000), Some(Duration::ZERO));
}

#[test]
fn a_log_that_nobody_has_written_in_is_nobody_s_lag_whatever_its_epoch() {
    for (written, lag) in [
        ("eu=1:0", None),
        ("eu=1:1", Some(Duration::from_millis(8_999))),
    ] {
        let applied = Applied::default();
        report(&applied, "a", written, 0, 1);
        let us = "us".into();
        applied.report(Report {
            region: &us,
            origin: "b",
            applied: &vector("us=1:7"),
            asked_at_ms: 2,
            now_ms: 2,
        });
        let behind = applied.lag("us", 9_000).filter(|lag| !lag.is_zero());
        assert_eq!(behind, lag, "{written}");
    }
}

#[test]
fn a_late_report_tells_of_forks_and_leaves_no_mark() {
    let applied = Applied::default();
    report(&applied, "a", "eu=2:1", 10, 20);
    report(&applied, "a", "eu=2:7@1:5", 15, 30);
    assert_eq!(applied.region("eu"), vector("eu=2:1"));
    assert!(applied.shows(&vector("eu=2:1"), &vector("eu=1:5")));
    let us = "us".into();
    applied.report(Report {
        region: &us,
        origin: "b",
        applied: &vector("eu=2:1"),
        asked_at_ms: 31,
        now_ms: 31,
    });
    assert_eq!(applied.lag("us", 9_000), Some(Duration::ZERO));
}

/// What an origin has at a time, and the reports of it that arrive in any order, some twice.
fn any_history() -> impl Strategy<Value = (Vec<u64>, Vec<(usize, usize, usize)>)> {
    let history = prop::collection::vec(0u64..20, 40);
    let reports = prop::collection::vec((0usize..40, 0usize..10, 0usize..10), 1..40);
    (history, reports)
}

proptest! {
    /// Reports are asked for, then read, then arrive; the store may run backwards at any time.
    #[test]
    fn late_repeated_and_reordered_reports_leave_what_the_last_moment_known_had(
        (history, reports) in any_history()
    ) {
        let applied = Applied::default();
        let mut arrivals: Vec<_> = reports
            .iter()
            .map(|(asked, held, under_way)| (asked + held + under_way, *asked, asked + held))
            .collect();
        arrivals.sort_unstable();
        let mut newest_read = 0;
        for (arrived, asked, read) in arrivals {
            let text = format!("us={}", history[read.min(39)]);
            let at = |moment: usize| u64::try_from(moment).unwrap() * 2;
            let before = applied.region("eu");
            // A moment's answers arrive after its questions were asked.
            report(&applied, "a", &text, at(asked), at(arrived) + 1);
            if applied.region("eu") != before {
                prop_assert!(read >= newest_read, "of an earlier moment than what was known");
                newest_read = read;
            }
        }
    }
}
