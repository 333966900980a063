use proptest::prelude::*;

use super::*;
use crate::units::Share;

fn settings() -> PassiveHealth {
    PassiveHealth {
        window: Duration::from_secs(10),
        min_requests: 20,
        success_rate: "80%".parse::<Share>().unwrap(),
        consecutive_failures: 7,
        ejection: Duration::from_secs(30),
        max_ejection: Duration::from_secs(300),
    }
}

fn seen(good: u32, failed: u32, in_a_row: u32) -> Seen {
    Seen {
        good,
        failed,
        in_a_row,
        answered: true,
        word: None,
    }
}

/// What it says of results at moments in ms.
#[track_caller]
fn check(results: &[(u64, Seen)], expected: Option<Cause>) {
    let mut passive = Passive::new(settings());
    let mut cause = None;
    for (now_ms, seen) in results {
        passive.observe(seen, *now_ms);
        cause = passive.judge(seen.word, *now_ms);
    }
    assert_eq!(cause, expected, "{results:?}");
}

#[test]
fn seven_failures_in_a_row_are_enough_and_six_are_not() {
    check(&[(0, seen(0, 6, 6))], None);
    check(&[(0, seen(0, 7, 7))], Some(Cause::InARow(7)));
    check(
        &[(0, seen(0, 6, 6)), (99_000, seen(0, 1, 7))],
        Some(Cause::InARow(7)),
    );
    check(&[(0, seen(0, 6, 6)), (1, seen(1, 5, 5))], None);
}

#[test]
fn a_rate_counts_from_twenty_requests_on_and_only_below_eighty_percent() {
    check(&[(0, seen(14, 5, 1))], None);
    check(&[(0, seen(16, 4, 1))], None);
    let below = Cause::SuccessRate { good: 15, of: 20 };
    check(&[(0, seen(15, 5, 1))], Some(below));
    check(&[(0, seen(10, 0, 0)), (9_999, seen(5, 5, 1))], Some(below));
    check(&[(0, seen(10, 0, 0)), (10_000, seen(5, 5, 1))], None);
}

#[test]
fn an_origin_s_own_word_counts_at_once_and_no_longer_than_the_bound() {
    let word = |secs| Cause::Word(Word::RetryAfter(Duration::from_secs(secs)));
    let mut passive = Passive::new(settings());
    for (asked, granted) in [(20, 20), (300, 300), (301, 300), (86_400, 300)] {
        let ejection = passive.eject(word(asked), 0, 1.0);
        assert_eq!(ejection.length, Duration::from_secs(granted));
        assert_eq!(passive.readmit(granted * 1_000 - 1), None);
        assert!(passive.readmit(granted * 1_000).is_some());
    }
    let failed = passive.eject(Cause::InARow(7), 300_000, 0.0);
    assert_eq!(
        failed.length,
        Duration::from_secs(30),
        "a word is no strike"
    );
}

#[test]
fn a_word_makes_an_ejection_longer_and_never_shorter() {
    let mut passive = Passive::new(settings());
    passive.eject(Cause::InARow(7), 0, 0.0);
    let drain = |secs| Seen {
        word: Some(Word::Drain(Duration::from_secs(secs))),
        ..Seen::default()
    };
    passive.observe(&drain(5), 1_000);
    assert_eq!(passive.readmit(29_999), None);
    passive.observe(&drain(60), 29_999);
    assert_eq!(passive.readmit(89_998), None);
    assert!(passive.readmit(89_999).is_some());
}

#[test]
fn every_ejection_is_twice_as_long_up_to_the_bound() {
    let mut passive = Passive::new(settings());
    let mut now_ms = 0;
    for secs in [30, 60, 120, 240, 300, 300] {
        let ejection = passive.eject(Cause::InARow(7), now_ms, 0.0);
        assert_eq!(ejection.length, Duration::from_secs(secs));
        now_ms += secs * 1_000;
        passive.readmit(now_ms).unwrap();
    }
}

#[test]
fn good_time_is_rewarded_by_shorter_ejections() {
    let mut passive = Passive::new(settings());
    let mut now_ms = 0;
    for (calm_secs, secs) in [
        (0, 30),
        (0, 60),
        (59, 120),
        (60, 120),
        (120, 60),
        (86_400, 30),
    ] {
        now_ms += calm_secs * 1_000;
        let ejection = passive.eject(Cause::InARow(7), now_ms, 0.0);
        assert_eq!(
            ejection.length,
            Duration::from_secs(secs),
            "after {calm_secs} s"
        );
        now_ms += secs * 1_000;
        passive.readmit(now_ms).unwrap();
    }
}

#[test]
fn jitter_shortens_by_up_to_a_tenth() {
    for (draw, ms) in [(0.0, 30_000), (0.5, 28_500), (1.0, 27_000)] {
        let ejection = Passive::new(settings()).eject(Cause::InARow(7), 0, draw);
        assert_eq!(ejection.length.as_millis(), ms);
    }
}

#[test]
fn whoever_is_back_begins_anew() {
    let mut passive = Passive::new(settings());
    passive.observe(&seen(0, 30, 30), 0);
    passive.eject(Cause::InARow(30), 0, 0.0);
    // Answers to requests that were sent before.
    passive.observe(&seen(0, 9, 39), 500);
    passive.readmit(30_000).unwrap();
    assert_eq!(passive.judge(None, 30_000), None);
    assert_eq!(passive.lately(), Lately::Quiet);
}

#[test]
fn whoever_is_spared_is_left_alone_for_a_window() {
    let mut passive = Passive::new(settings());
    passive.observe(&seen(0, 7, 7), 0);
    passive.spare(0);
    passive.observe(&seen(0, 50, 57), 9_999);
    assert_eq!(passive.judge(None, 9_999), None);
    let word = Word::Drain(Duration::from_secs(60));
    assert_eq!(passive.judge(Some(word), 9_999), None);
    assert_eq!(passive.judge(Some(word), 10_000), Some(Cause::Word(word)));
    assert_eq!(passive.judge(None, 10_000), Some(Cause::InARow(57)));
}

#[test]
fn where_connections_failed_probes_that_connect_end_it() {
    let needed = NonZeroU8::new(2).unwrap();
    let ejected = |cause| {
        let mut passive = Passive::new(settings());
        passive.eject(cause, 1_000, 0.0);
        passive
    };
    let mut passive = ejected(Cause::Connections(7));
    for (passed, began_ms) in [(true, 999), (true, 1_000), (false, 1_500), (true, 2_000)] {
        assert_eq!(passive.probed(passed, (began_ms, began_ms), needed), None);
    }
    assert!(passive.probed(true, (2_500, 2_600), needed).is_some());
    assert_eq!(passive.ejection(), None);
    let again = passive.eject(Cause::Connections(7), 2_600, 0.0);
    assert_eq!(
        again.length,
        Duration::from_secs(60),
        "it counts all the same"
    );
    let rate = Cause::SuccessRate { good: 0, of: 20 };
    let word = Cause::Word(Word::Drain(Duration::from_secs(60)));
    for cause in [Cause::InARow(7), rate, word] {
        let mut passive = ejected(cause);
        for began_ms in [2_000, 3_000, 4_000] {
            assert_eq!(passive.probed(true, (began_ms, began_ms), needed), None);
        }
    }
}

#[test]
fn a_row_without_an_answer_is_one_of_connections() {
    let unanswered = Seen {
        answered: false,
        ..seen(0, 7, 7)
    };
    check(&[(0, unanswered)], Some(Cause::Connections(7)));
}

#[test]
fn a_rule_of_zero_is_off() {
    let none = PassiveHealth {
        consecutive_failures: 0,
        success_rate: Share::NONE,
        ..settings()
    };
    let mut passive = Passive::new(none);
    passive.observe(&seen(0, 1_000, 1_000), 0);
    assert_eq!(passive.judge(None, 0), None);
}

#[test]
fn lately_says_who_is_halfway_to_an_ejection() {
    let lately = |seen| {
        let mut passive = Passive::new(settings());
        passive.observe(&seen, 0);
        passive.lately()
    };
    assert_eq!(lately(seen(0, 0, 0)), Lately::Quiet);
    assert_eq!(lately(seen(9, 3, 3)), Lately::Fine);
    assert_eq!(lately(seen(9, 4, 4)), Lately::Failing);
    assert_eq!(lately(seen(15, 5, 0)), Lately::Failing);
}

/// Pauses in ms with what came after each.
fn history() -> impl Strategy<Value = Vec<(u64, u32, u32)>> {
    let pause = prop_oneof![Just(0_u64), 1_u64..400, 900_u64..1_100, 5_000_u64..30_000];
    prop::collection::vec((pause, 0_u32..9, 0_u32..9), 1..60)
}

proptest! {
    #[test]
    fn the_window_is_ten_exact_tenths(history in history(), window_ms in 100_u64..20_000) {
        let window = Duration::from_millis(window_ms);
        let mut passive = Passive::new(PassiveHealth { window, ..settings() });
        let tenth = |now_ms: u64| now_ms * 10 / window_ms;
        let (mut now_ms, mut all) = (0, Vec::new());
        for (pause, good, failed) in history {
            now_ms += pause;
            passive.observe(&seen(good, failed, 0), now_ms);
            all.push((tenth(now_ms), good, failed));
            let within = || all.iter().filter(|(at, ..)| at + 10 > tenth(now_ms));
            let good: u32 = within().map(|(_, good, _)| good).sum();
            let failed: u32 = within().map(|(.., failed)| failed).sum();
            prop_assert_eq!(passive.counted(), (good, good + failed));
        }
    }

    #[test]
    fn an_ejection_ends_and_is_within_its_bounds(
        pauses in prop::collection::vec((0_u64..2_000_000, 0.0_f64..=1.0), 1..30),
    ) {
        let mut passive = Passive::new(settings());
        let mut now_ms = 0;
        for (pause, draw) in pauses {
            now_ms += pause;
            let length = passive.eject(Cause::InARow(7), now_ms, draw).length;
            prop_assert!(Duration::from_secs(27) <= length && length <= Duration::from_secs(300));
            prop_assert!(passive.judge(None, now_ms).is_none());
            let end = now_ms + u64::try_from(length.as_millis()).unwrap();
            prop_assert!(passive.readmit(end - 1).is_none());
            prop_assert!(passive.readmit(end).is_some());
            now_ms = end;
        }
    }
}
