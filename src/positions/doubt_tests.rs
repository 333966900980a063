use proptest::prelude::*;

use super::*;
use crate::positions::Standing;
use crate::positions::fixtures::{self, report, vector};

/// A push that has no number.
fn push(applied: &Applied, text: &str, now_ms: u64) {
    fixtures::push(applied, "", text, now_ms);
}

fn acknowledge(applied: &Applied, seq: u64, now_ms: u64) {
    applied.acknowledged(&"eu".into(), "a", Position { epoch: 0, seq }, now_ms);
}

/// Whether an answer that says nothing counts as showing this, if it was asked for now.
fn shows(applied: &Applied, text: &str, now_ms: u64) -> bool {
    applied.answers_for("eu", "a", &vector(text), now_ms)
}

#[test]
fn a_write_that_its_only_origin_says_by_push_it_lacks_is_not_taken_for_seen() {
    let applied = Applied::default();
    push(&applied, "eu=1", 1);
    acknowledge(&applied, 2, 10);
    assert!(shows(&applied, "eu=2", 11), "nobody has said otherwise");
    push(&applied, "eu=1", 20);
    assert!(!shows(&applied, "eu=2", 21), "it may have lost it");
    push(&applied, "eu=2", 30);
    assert!(shows(&applied, "eu=2", 31), "the other push was an old one");
}

#[test]
fn a_write_that_another_edge_acknowledged_is_not_taken_for_seen_where_the_last_word_lacks_it() {
    let applied = Applied::default();
    assert!(shows(&applied, "eu=2", 1), "it never said anything");
    report(&applied, "a", "eu=1", 10, 11);
    assert!(!shows(&applied, "eu=2", 12));
    assert!(shows(&applied, "eu=1", 12));
    report(&applied, "a", "eu=2", 20, 21);
    assert!(shows(&applied, "eu=2", 22));
}

#[test]
fn a_region_in_doubt_is_waited_for_and_one_whose_answers_speak_is_asked() {
    let (applied, five) = (Applied::default(), vector("eu=5"));
    report(&applied, "a", "eu=1", 1, 2);
    let standing = || applied.standing("eu", &five, 3);
    assert_eq!(
        standing(),
        Standing::Dominates,
        "it says itself what it has"
    );
    shows(&applied, "eu=5", 3);
    assert_eq!(standing(), Standing::Behind { expected: None });
    report(&applied, "a", "eu=4", 4, 5);
    assert_eq!(standing(), Standing::Behind { expected: None });
    applied.note_word("eu", "a");
    assert_eq!(standing(), Standing::Dominates);
}

#[test]
fn an_answer_that_was_under_way_when_its_store_began_an_epoch_is_not_taken_for_fresh() {
    let applied = Applied::default();
    report(&applied, "a", "eu=20,us=2", 1, 2);
    report(&applied, "a", "eu=1:2@0:19,us=2", 20, 30);
    assert!(!shows(&applied, "us=2", 10), "it may be of between");
    assert!(!shows(&applied, "us=2", 30));
    assert!(shows(&applied, "us=2", 31));
}

#[test]
fn an_answer_that_was_under_way_when_its_store_ran_backwards_is_not_taken_for_fresh() {
    let applied = Applied::default();
    report(&applied, "a", "eu=20,us=2", 1, 2);
    report(&applied, "a", "eu=19,us=2", 20, 30);
    assert!(!shows(&applied, "us=2", 10));
    assert!(shows(&applied, "us=2", 31));
}

#[test]
fn a_push_that_comes_late_does_not_hide_what_a_push_has_shown_to_be_lost() {
    let applied = Applied::default();
    push(&applied, "eu=7,us=3", 1);
    push(&applied, "eu=4,us=3", 10);
    push(&applied, "eu=7,us=3", 20);
    assert!(!shows(&applied, "eu=7", 21), "it may be of before");
    assert!(shows(&applied, "eu=4,us=3", 21));
    push(&applied, "eu=7,us=3", 60_009);
    assert!(!shows(&applied, "eu=7", 60_010));
    push(&applied, "eu=7,us=3", 60_010);
    assert!(shows(&applied, "eu=7", 60_011));
}

#[test]
fn once_asked_an_origin_that_pushes_showed_to_have_gone_back_is_believed_and_its_pushes_are_not() {
    let applied = Applied::default();
    push(&applied, "eu=7", 1);
    push(&applied, "eu=4", 10);
    report(&applied, "a", "eu=5", 20, 21);
    assert!(shows(&applied, "eu=5", 22));
    push(&applied, "eu=7", 30);
    assert!(!shows(&applied, "eu=7", 31), "it may be of before");
}

/// What happens to the only origin of a region.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { here: bool },
    Crash { loses: u64 },
    Asked,
    Pushes,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|here| Step::Write { here }),
        1 => (1u64..4).prop_map(|loses| Step::Crash { loses }),
        2 => Just(Step::Asked),
        2 => Just(Step::Pushes),
    ]
}

proptest! {
    /// Without a new epoch, and with answers that say nothing.
    #[test]
    fn once_its_region_was_heard_of_a_lost_write_is_never_taken_for_seen(
        steps in prop::collection::vec(any_step(), 1..40)
    ) {
        let applied = Applied::default();
        report(&applied, "a", "eu=0", 1, 2);
        let (mut seq, mut furthest, mut is_heard) = (0, 0, true);
        for (now_ms, step) in (10..).step_by(10).zip(steps) {
            match step {
                Step::Write { here } => {
                    seq += 1;
                    if here {
                        acknowledge(&applied, seq, now_ms);
                    }
                }
                Step::Crash { loses } => (seq, is_heard) = (seq.saturating_sub(loses), false),
                Step::Asked => {
                    report(&applied, "a", &format!("eu={seq}"), now_ms, now_ms + 1);
                    is_heard = true;
                }
                Step::Pushes => {
                    push(&applied, &format!("eu={seq}"), now_ms);
                    is_heard = true;
                }
            }
            furthest = seq.max(furthest);
            for lost in seq + 1..=furthest {
                let is_shown = shows(&applied, &format!("eu={lost}"), now_ms + 2);
                prop_assert!(!is_heard || !is_shown, "eu={} of a store at eu={}", lost, seq);
            }
        }
    }
}
