use proptest::prelude::*;

use super::*;
use crate::positions::fixtures::{push, report, vector};

const ADVANCED: Pushed = Pushed::Taken(Reported::Advanced);
const REGRESSED: Pushed = Pushed::Taken(Reported::Regressed);

/// Whether an answer that says nothing counts as showing this, if it was asked for now.
fn shows(applied: &Applied, text: &str, now_ms: u64) -> bool {
    applied.answers_for("eu", "a", &vector(text), now_ms)
}

#[test]
fn a_push_does_not_raise_what_an_answer_has_just_lowered() {
    for numbers in [["", "", "", ""], ["1:1", "1:2", "1:3", "1:4"]] {
        let applied = Applied::default();
        let [first, second, third, fourth] = numbers;
        assert_eq!(push(&applied, first, "us=9", 10), ADVANCED);
        report(&applied, "a", "us=5", 20, 30);
        assert_eq!(
            push(&applied, second, "us=9", 60_029),
            Pushed::Doubtful,
            "it may be of before"
        );
        assert_eq!(applied.region("eu"), vector("us=5"));
        assert_eq!(push(&applied, third, "us=4", 60_029), REGRESSED);
        assert_eq!(push(&applied, fourth, "us=9", 60_030), ADVANCED);
    }
}

#[test]
fn a_push_from_before_a_new_epoch_is_not_believed() {
    for number in ["", "1:1"] {
        let applied = Applied::default();
        report(&applied, "a", "eu=1:1@0:5", 1, 1);
        assert_eq!(push(&applied, number, "eu=9", 2), Pushed::Doubtful);
        assert_eq!(applied.region("eu"), vector("eu=1:1@0:5"));
    }
}

#[test]
fn of_numbered_pushes_one_from_before_a_loss_that_comes_late_does_not_hide_it() {
    let applied = Applied::default();
    push(&applied, "1:1", "eu=2", 1);
    // It was at 5, of which push 2 tells, and came back with 3.
    assert_eq!(push(&applied, "1:3", "eu=3", 10), ADVANCED);
    assert_eq!(push(&applied, "1:2", "eu=5", 20), Pushed::Late);
    assert!(!shows(&applied, "eu=5", 21));
    assert!(shows(&applied, "eu=3", 21));
}

#[test]
fn without_numbers_it_looks_like_growth() {
    let applied = Applied::default();
    push(&applied, "", "eu=2", 1);
    push(&applied, "", "eu=3", 10);
    assert_eq!(push(&applied, "", "eu=5", 20), ADVANCED);
    assert!(shows(&applied, "eu=5", 21), "nobody can tell");
}

#[test]
fn late_pushes_of_an_instance_that_has_ended_change_nothing() {
    let applied = Applied::default();
    push(&applied, "1:7", "eu=5", 1);
    assert_eq!(push(&applied, "2:1", "eu=6", 10), ADVANCED);
    assert_eq!(push(&applied, "1:8", "eu=9", 20), Pushed::Late);
    assert_eq!(push(&applied, "", "eu=9", 20), Pushed::Late);
    assert_eq!(applied.region("eu"), vector("eu=6"));
    assert_eq!(push(&applied, "2:1", "eu=6", 30), Pushed::Late, "again");
    assert_eq!(push(&applied, "2:2", "eu=9", 30), ADVANCED);
}

#[test]
fn once_numbered_a_push_that_says_less_is_not_held_against_the_next() {
    let applied = Applied::default();
    push(&applied, "1:1", "eu=7", 1);
    assert_eq!(push(&applied, "1:2", "eu=4", 10), REGRESSED);
    assert!(!shows(&applied, "eu=7", 11));
    push(&applied, "1:3", "eu=7", 20);
    assert!(shows(&applied, "eu=7", 21), "it was written anew");
}

#[test]
fn a_numbered_push_tells_of_an_older_epoch_if_the_last_word_was_a_push_too() {
    let applied = Applied::default();
    push(&applied, "1:1", "eu=1:4,us=3:9", 1);
    let restored = "eu=2:1@1:2,us=2:5";
    assert_eq!(push(&applied, "1:2", restored, 10), REGRESSED);
    assert_eq!(applied.region("eu"), vector(restored));
    report(&applied, "a", "eu=2:1@1:2,us=3:9", 20, 21);
    assert_eq!(push(&applied, "1:3", restored, 30), Pushed::Doubtful);
    assert!(!shows(&applied, "us=3:9", 31), "it may be of after");
    report(&applied, "a", "eu=2:1@1:2,us=3:9", 40, 41);
    assert!(shows(&applied, "us=3:9", 42));
}

#[test]
fn an_answer_that_repeats_the_last_push_ends_its_being_the_last_word() {
    let applied = Applied::default();
    push(&applied, "1:1", "us=3:9", 1);
    report(&applied, "a", "us=3:9", 10, 11);
    assert_eq!(push(&applied, "1:2", "us=2:5", 20), Pushed::Doubtful);
}

#[test]
fn an_instance_whose_clock_went_back_is_not_taken_in_and_what_it_lacks_counts() {
    let applied = Applied::default();
    push(&applied, "9:1", "eu=5,us=5", 1);
    assert_eq!(push(&applied, "8:1", "eu=4,us=6", 10), Pushed::Late);
    assert_eq!(applied.region("eu"), vector("eu=5,us=5"));
    assert!(!shows(&applied, "eu=5", 11), "it may have been lost");
    assert!(shows(&applied, "eu=4,us=5", 11));
    assert_eq!(push(&applied, "8:2", "eu=5,us=6", 60_001), ADVANCED);
    assert_eq!(push(&applied, "8:3", "eu=5,us=7", 60_002), ADVANCED);
}

#[test]
fn an_instance_whose_clock_went_back_may_deny_what_was_acknowledged() {
    let applied = Applied::default();
    push(&applied, "9:1", "eu=5", 1);
    let position = crate::positions::Position { epoch: 0, seq: 6 };
    applied.acknowledged(&"eu".into(), "a", position, 5);
    assert!(shows(&applied, "eu=6", 6));
    push(&applied, "8:1", "eu=5", 10);
    assert!(!shows(&applied, "eu=6", 11));
}

#[test]
fn the_next_in_turn_counts_though_it_had_reached_this_edge_first() {
    let applied = Applied::default();
    push(&applied, "7:0", "eu=1", 1);
    let eu = "eu".into();
    let report = |asked_at_ms, now_ms, text| Report {
        region: &eu,
        origin: "a",
        applied: text,
        asked_at_ms,
        now_ms,
    };
    let (one, two) = (vector("eu=2"), vector("eu=3"));
    let numbered = |text: &str| Some(text.parse().unwrap());
    applied.push(report(101, 102, &one), numbered("7:1"));
    assert_eq!(
        applied.push(report(100, 103, &two), numbered("7:2")),
        ADVANCED
    );
    assert_eq!(applied.region("eu"), two);
}

#[test]
fn a_restart_remembers_the_last_number_for_a_minute() {
    let applied = Applied::default();
    report(&applied, "a", "eu=5", 0, 0);
    applied.remember_sequence("eu", "a", "4:7".parse().unwrap());
    assert_eq!(push(&applied, "4:6", "eu=9", 59_999), Pushed::Late);
    let kept = applied.sequences(59_999);
    assert_eq!(kept, [("eu".into(), "a".into(), "4:7".parse().unwrap())]);
    assert_eq!(applied.sequences(60_000), [], "it does not count any more");
    assert_eq!(push(&applied, "4:8", "eu=6", 59_999), ADVANCED);
}

/// What a store says at each push: it grows, loses writes, comes back in another epoch, and gets more or less of
/// another region's log.
fn any_vector() -> impl Strategy<Value = String> {
    (0u64..3, 0u64..8, 0u64..2, 0u64..8)
        .prop_map(|(epoch, seq, of_other, other)| format!("eu={epoch}:{seq},us={of_other}:{other}"))
}

/// Pushes of up to three instances, in the order in which they are sent, and arrivals: which of them, some twice.
fn any_pushes() -> impl Strategy<Value = (Vec<(u64, String)>, Vec<usize>)> {
    let pushes = prop::collection::vec((0u64..3, any_vector()), 1..24);
    pushes.prop_flat_map(|mut pushes| {
        pushes.sort_by_key(|(instance, _)| *instance);
        let twice: Vec<usize> = (0..pushes.len()).chain(0..pushes.len()).collect();
        (Just(pushes), Just(twice).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn numbered_pushes_in_any_order_and_twice_leave_what_the_last_that_was_sent_says(
        (pushes, arrivals) in any_pushes()
    ) {
        let numbered = |at: usize| format!("{}:{at}", pushes[at].0);
        let (shuffled, in_order) = (Applied::default(), Applied::default());
        let mut last = 0;
        for (now_ms, at) in (1..).zip(arrivals) {
            push(&shuffled, &numbered(at), &pushes[at].1, now_ms);
            last = at.max(last);
            if now_ms == 1 {
                last = at;
            }
            prop_assert_eq!(shuffled.region("eu"), vector(&pushes[last].1));
        }
        for (now_ms, at) in (1..).zip(0..pushes.len()) {
            push(&in_order, &numbered(at), &pushes[at].1, now_ms);
        }
        prop_assert_eq!(shuffled.region("eu"), in_order.region("eu"));
        prop_assert_eq!(shuffled.sequences(60), in_order.sequences(60));
    }
}

/// What happens to a store whose answers say nothing and whose pushes may come late.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write,
    Crash {
        loses: u64,
    },
    /// What it says now comes after so many other steps.
    Pushes {
        late: usize,
    },
    /// Its pusher begins anew.
    Restarts,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Write),
        1 => (1u64..4).prop_map(|loses| Step::Crash { loses }),
        4 => (0usize..12).prop_map(|late| Step::Pushes { late }),
        1 => Just(Step::Restarts),
    ]
}

proptest! {
    /// Without a new epoch: the limit of pushes that have no number.
    #[test]
    fn once_a_numbered_push_of_after_a_loss_has_come_nothing_lost_is_taken_for_seen(
        steps in prop::collection::vec(any_step(), 1..60)
    ) {
        let applied = Applied::default();
        let (mut seq, mut instance, mut number) = (0u64, 1u64, 0u64);
        // When a write was lost last, by its number; and pushes under way: when they come, and when they were sent.
        let mut lost_at: Vec<Option<usize>> = Vec::new();
        let mut under_way: Vec<(usize, usize, String, String)> = Vec::new();
        let mut newest_heard = None;
        for (at, step) in steps.into_iter().enumerate() {
            let now_ms = u64::try_from(at).unwrap() + 1;
            match step {
                Step::Write => {
                    seq += 1;
                    let index = usize::try_from(seq).unwrap();
                    lost_at.resize(lost_at.len().max(index + 1), None);
                    lost_at[index] = None;
                }
                Step::Crash { loses } => {
                    let left = seq.saturating_sub(loses);
                    (left + 1..=seq).for_each(|gone| lost_at[usize::try_from(gone).unwrap()] = Some(at));
                    seq = left;
                }
                Step::Restarts => (instance, number) = (instance + 1, 0),
                Step::Pushes { late } => {
                    number += 1;
                    let sequence = format!("{instance}:{number}");
                    under_way.push((at + late, at, sequence, format!("eu={seq}")));
                }
            }
            let (arrive, later) = under_way.into_iter().partition(|(when, ..)| *when <= at);
            under_way = later;
            for (_, sent_at, sequence, text) in arrive as Vec<(usize, usize, String, String)> {
                push(&applied, &sequence, &text, now_ms);
                newest_heard = newest_heard.max(Some(sent_at));
            }
            for (lost, lost_at) in lost_at.iter().enumerate() {
                let is_heard_of = lost_at.is_some_and(|lost_at| newest_heard.is_some_and(|heard| heard > lost_at));
                let is_shown = is_heard_of && shows(&applied, &format!("eu={lost}"), now_ms);
                prop_assert!(!is_shown, "eu={} of a store at eu={}", lost, seq);
            }
        }
    }
}
