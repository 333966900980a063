use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::Id;

const BEHIND: Standing = Standing::Behind { expected: None };

fn leg(region: usize, rank: u8, standing: Standing, is_hopeless: bool) -> Leg {
    Leg {
        region: RegionId::at(region),
        rank,
        standing,
        is_hopeless,
    }
}

fn any_leg() -> impl Strategy<Value = Leg> {
    let expected = Some(Duration::from_millis(20));
    let standing = prop_oneof![
        Just(Standing::Dominates),
        Just(BEHIND),
        Just(Standing::Behind { expected })
    ];
    (0..6_usize, 0..6_u8, standing, any::<bool>())
        .prop_map(|(region, rank, standing, is_hopeless)| leg(region, rank, standing, is_hopeless))
}

/// Each region is a leg at most once.
fn any_legs() -> impl Strategy<Value = Vec<Leg>> {
    prop::collection::vec(any_leg(), 0..6).prop_map(|mut legs| {
        let mut regions = BTreeSet::new();
        legs.retain(|leg| regions.insert(leg.region));
        legs
    })
}

fn any_when() -> impl Strategy<Value = WhenUnsatisfiable> {
    prop_oneof![
        Just(WhenUnsatisfiable::Stale),
        Just(WhenUnsatisfiable::Fail)
    ]
}

#[test]
fn marks_say_who_answered_and_whether_the_client_waited() {
    assert_eq!(leg(0, 0, Standing::Dominates, false).mark(), Mark::Fresh);
    assert_eq!(leg(0, 1, Standing::Dominates, false).mark(), Mark::Routed);
    assert_eq!(leg(0, 0, BEHIND, false).mark(), Mark::Waited);
    assert_eq!(leg(0, 1, BEHIND, false).mark(), Mark::Waited);
}

#[test]
fn an_answer_taken_for_want_of_a_better_one_is_stale_unless_it_shows_what_is_needed() {
    let legs = vec![
        leg(1, 1, BEHIND, false),
        leg(0, 0, BEHIND, false),
        leg(2, 2, BEHIND, true),
    ];
    let course = Course::new(legs, WhenUnsatisfiable::Stale);
    let mark = |region, judged| course.last_mark(RegionId::at(region), judged);
    assert_eq!(mark(0, Judged::Shows), Mark::Fresh);
    assert_eq!(mark(1, Judged::Shows), Mark::Routed);
    assert_eq!(
        mark(2, Judged::Shows),
        Mark::Stale,
        "the pin leads elsewhere"
    );
    assert_eq!(mark(0, Judged::Behind), Mark::Stale);
    assert_eq!(mark(0, Judged::NotYet), Mark::Stale);
}

#[test]
fn for_want_of_better_the_region_that_lacks_least_is_asked_and_of_equal_ones_the_nearest() {
    let legs = [3, 1, 0, 2].map(|place: u8| leg(place.into(), place, BEHIND, true));
    let course = Course::new(legs.to_vec(), WhenUnsatisfiable::Stale);
    let order = |lacks: [usize; 4]| {
        let legs = course.for_want_of_better(|region| lacks[region.index()]);
        legs.iter().map(|leg| leg.rank).collect::<Vec<_>>()
    };
    assert_eq!(order([1, 1, 1, 1]), [0, 1, 2, 3]);
    assert_eq!(order([2, 1, 2, 0]), [3, 1, 0, 2]);
    assert_eq!(course.best(), Some(RegionId::at(0)));
}

#[test]
fn for_want_of_better_a_region_that_gave_no_answer_is_asked_last() {
    let legs = [0, 1, 2].map(|place: u8| leg(place.into(), place, BEHIND, false));
    let mut course = Course::new(legs.to_vec(), WhenUnsatisfiable::Stale);
    course.is_missed(RegionId::at(0));
    let order = course.for_want_of_better(|region| region.index());
    let order: Vec<u8> = order.iter().map(|leg| leg.rank).collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn a_region_that_turns_out_to_be_behind_is_waited_for_after_all_that_are_expected_and_before_the_others()
 {
    let expected = Standing::Behind {
        expected: Some(Duration::from_millis(20)),
    };
    let [first, second] =
        [0, 2].map(|place: u8| leg(place.into(), place, Standing::Dominates, false));
    let (soon, sometime) = (leg(1, 1, expected, false), leg(3, 3, BEHIND, false));
    let mut course = Course::new(
        vec![first, soon, second, sometime],
        WhenUnsatisfiable::Stale,
    );
    let waited_for = |leg: Leg| Leg {
        standing: BEHIND,
        ..leg
    };
    assert_eq!(course.next(false, true), Next::Ask(first));
    course.is_behind_after_all(first);
    assert_eq!(course.next(false, true), Next::Wait(soon));
    assert_eq!(course.next(false, true), Next::Ask(second));
    course.is_behind_after_all(second);
    assert_eq!(course.next(false, true), Next::Wait(waited_for(first)));
    course.is_behind_after_all(waited_for(first));
    assert_eq!(waited_for(first).mark(), Mark::Waited);
    assert_eq!(course.next(false, true), Next::Wait(waited_for(second)));
    assert_eq!(course.next(false, true), Next::Wait(sometime));
    assert_eq!(course.next(false, true), Next::Any);
}

#[test]
fn where_the_pin_cannot_be_had_the_region_with_all_else_answers_and_is_waited_for_and_that_is_stale()
 {
    let pinned = leg(0, 0, BEHIND, false);
    let nearer = leg(1, 1, soon(20), true);
    let has_all_else = leg(2, 2, Standing::Dominates, true);
    let legs = vec![pinned, nearer, has_all_else];
    let mut course = Course::new(legs.clone(), WhenUnsatisfiable::Stale);
    assert_eq!(course.next(false, true), Next::Wait(pinned));
    course.is_missed(pinned.region);
    assert_eq!(course.next(false, true), Next::Ask(has_all_else));
    assert_eq!(course.mark(has_all_else), Mark::Stale);
    course.is_missed(has_all_else.region);
    let asked = Leg {
        standing: Standing::Dominates,
        ..nearer
    };
    assert_eq!(course.next(false, true), Next::Ask(asked));
    course.is_behind_after_all(asked);
    let nearer = Leg {
        standing: BEHIND,
        ..nearer
    };
    assert_eq!(course.next(false, true), Next::Wait(nearer));
    course.waits();
    assert_eq!(course.mark(nearer), Mark::Stale);
    assert_eq!(course.next(false, true), Next::Any);
    let mut course = Course::new(legs, WhenUnsatisfiable::Fail);
    assert_eq!(course.next(false, true), Next::Wait(pinned));
    assert_eq!(course.next(false, true), Next::Nothing);
}

fn soon(ms: u64) -> Standing {
    Standing::Behind {
        expected: Some(Duration::from_millis(ms)),
    }
}

/// The regions to which a read goes from this one at once, and later, where all are as near as each other.
fn elsewhere(course: &Course, from: Leg) -> [Vec<usize>; 2] {
    let others = course.elsewhere(from, |_| 10.0);
    [others.at_once, others.when_overdue]
        .map(|regions| regions.iter().map(|region| region.index()).collect())
}

#[test]
fn a_region_is_given_twice_the_time_that_was_expected_of_it_and_at_least_40_ms_before_those_that_had_all()
 {
    let patience = |standing| {
        let waited = leg(0, 0, standing, false);
        let course = Course::new(vec![waited], WhenUnsatisfiable::Stale);
        course.elsewhere(waited, |_| 10.0).patience
    };
    assert_eq!(patience(soon(1)), Duration::from_millis(40));
    assert_eq!(patience(soon(150)), Duration::from_millis(300));
    assert_eq!(patience(BEHIND), Duration::ZERO);
}

#[test]
fn a_read_that_waits_goes_at_once_to_whoever_answers_by_the_time_that_was_expected() {
    let (near, mid, far) = (
        leg(0, 0, soon(100), false),
        leg(1, 1, soon(150), false),
        leg(2, 2, BEHIND, false),
    );
    let course = Course::new(vec![near, mid, far], WhenUnsatisfiable::Stale);
    let round_trip_ms = |region: RegionId| [5.0, 104.0, 106.0][region.index()];
    let others = course.elsewhere(near, round_trip_ms);
    assert_eq!(others.at_once, [mid.region]);
    assert_eq!(others.when_overdue, [far.region]);
    let others = course.elsewhere(far, round_trip_ms);
    assert_eq!(
        others.at_once,
        [near.region, mid.region],
        "nothing was expected of it"
    );
}

#[test]
fn a_read_that_waits_goes_on_to_whom_it_may_and_only_once_to_each() {
    let near = leg(0, 0, BEHIND, false);
    let (gone, known) = (
        leg(1, 1, soon(1), false),
        leg(2, 2, Standing::Dominates, false),
    );
    let pinned_elsewhere = leg(3, 3, BEHIND, true);
    let legs = vec![gone, known, near, pinned_elsewhere];
    let mut course = Course::new(legs, WhenUnsatisfiable::Stale);
    assert_eq!(course.next(false, true), Next::Wait(gone));
    assert_eq!(course.mark(known), Mark::Routed, "it was answered at once");
    course.waits();
    assert_eq!(elsewhere(&course, gone), [vec![0], vec![2]]);
    assert_eq!(
        elsewhere(&course, near),
        [vec![1], vec![]],
        "known was weighed"
    );
    course.is_found(near.region, gone);
    let found = Leg {
        standing: Standing::Dominates,
        ..near
    };
    assert_eq!(course.next(false, true), Next::Ask(found));
    assert_eq!(course.mark(found), Mark::Waited);
    course.is_missed(near.region);
    assert_eq!(course.next(false, true), Next::Ask(known));
    course.is_behind_after_all(known);
    let again = Leg {
        standing: BEHIND,
        ..gone
    };
    assert_eq!(course.next(false, true), Next::Wait(again));
    assert_eq!(elsewhere(&course, again), [vec![2], vec![]]);
    course.is_found(known.region, again);
    assert_eq!(course.next(false, true), Next::Ask(known));
    course.is_behind_after_all(known);
    assert_eq!(course.next(false, true), Next::Wait(again));
    assert_eq!(elsewhere(&course, again), [[0; 0]; 2]);
}

/// A course through an able region that is taken to have all, one of which nobody knows, and a drained one.
fn before_a_drained_one(drained: Standing) -> Course {
    let legs = vec![
        leg(0, 0, Standing::Dominates, false),
        leg(1, 1, BEHIND, false),
    ];
    let reserve = [leg(2, 2, drained, false)];
    Course::new(legs, WhenUnsatisfiable::Fail).with_reserve(reserve.into_iter())
}

#[test]
fn a_region_in_reserve_is_asked_when_all_others_have_come_to_nothing() {
    let mut course = before_a_drained_one(Standing::Dominates);
    let asked = |next| match next {
        Next::Ask(leg) | Next::Wait(leg) => Some(leg.region.index()),
        Next::Any | Next::Kept | Next::Nothing => None,
    };
    assert_eq!(asked(course.next(false, true)), Some(0));
    course.is_missed(RegionId::at(0));
    let waiting = course.next(false, true);
    assert_eq!(asked(waiting), Some(1));
    let Next::Wait(waited) = waiting else {
        panic!("{waiting:?}");
    };
    assert_eq!(
        elsewhere(&course, waited),
        [vec![2], vec![]],
        "while another is waited for, at once"
    );
    let mut at_the_end = course.clone();
    assert_eq!(
        asked(at_the_end.next(true, true)),
        Some(2),
        "and when the time is over"
    );
    assert_eq!(at_the_end.next(true, true), Next::Nothing);
    course.is_found(RegionId::at(2), waited);
    let found = course.next(false, true);
    assert_eq!(asked(found), Some(2));
    let Next::Ask(found) = found else {
        panic!("{found:?}");
    };
    assert_eq!(course.mark(found), Mark::Routed);
    course.is_missed(RegionId::at(2));
    assert_eq!(asked(course.next(false, true)), Some(1));
    assert_eq!(
        course.next(false, true),
        Next::Nothing,
        "none is asked twice"
    );
}

#[test]
fn a_region_in_reserve_is_waited_for_last_and_answers_nobody_for_want_of_better() {
    let mut course = before_a_drained_one(BEHIND);
    let order: Vec<Next> = (0..4).map(|_| course.next(false, true)).collect();
    let waits = |region, rank| Next::Wait(leg(region, rank, BEHIND, false));
    let first = Next::Ask(leg(0, 0, Standing::Dominates, false));
    assert_eq!(order, [first, waits(1, 1), waits(2, 2), Next::Nothing]);
    let any = course.for_want_of_better(|_| 0);
    let any: Vec<usize> = any.iter().map(|leg| leg.region.index()).collect();
    assert_eq!((any, course.best()), (vec![0, 1], Some(RegionId::at(0))));
}

#[test]
fn when_the_time_is_over_only_who_has_all_but_what_the_pin_stands_for_is_asked_for_it() {
    let (behind, has_all) = (
        leg(0, 0, BEHIND, true),
        leg(1, 1, Standing::Dominates, true),
    );
    let mut course = Course::new(vec![behind, has_all], WhenUnsatisfiable::Stale);
    assert_eq!(course.next(true, true), Next::Ask(has_all));
    assert_eq!(course.next(true, true), Next::Any);
    let mut course = Course::new(vec![behind, has_all], WhenUnsatisfiable::Stale);
    let as_if = Leg {
        standing: Standing::Dominates,
        ..behind
    };
    assert_eq!(course.next(false, true), Next::Ask(has_all));
    assert_eq!(course.next(false, true), Next::Ask(as_if));
}

#[test]
fn what_is_shown_when_all_waiting_is_over_is_marked_waited() {
    let mut course = Course::new(vec![leg(0, 0, BEHIND, false)], WhenUnsatisfiable::Stale);
    course.waits();
    let mark = |judged| course.last_mark(RegionId::at(0), judged);
    assert_eq!(mark(Judged::Shows), Mark::Waited);
    assert_eq!(mark(Judged::Behind), Mark::Stale);
}

proptest! {
    #[test]
    fn each_region_is_asked_once_and_waited_for_once_at_most_and_the_course_ends(
        legs in any_legs(), when in any_when(),
        turns in prop::collection::vec(any::<(bool, bool)>(), 14)
    ) {
        let mut course = Course::new(legs.clone(), when);
        let (mut asked, mut behind_after_all) = (Vec::new(), Vec::new());
        let last = turns.into_iter().find_map(|(is_over, is_behind)| match course.next(is_over, true) {
            Next::Ask(leg) => {
                asked.push((leg, false));
                if is_behind {
                    course.is_behind_after_all(leg);
                    behind_after_all.push(Leg { standing: BEHIND, ..leg });
                }
                None
            }
            Next::Wait(leg) => {
                match behind_after_all.iter().position(|one| *one == leg) {
                    Some(at) => { behind_after_all.remove(at); }
                    None => asked.push((leg, is_over)),
                }
                None
            }
            last @ (Next::Any | Next::Kept | Next::Nothing) => Some(last),
        });
        let expected = if when == WhenUnsatisfiable::Fail { Next::Nothing } else { Next::Any };
        prop_assert_eq!(last, Some(expected));
        prop_assert!(asked.iter().all(|(_, waits_too_long)| !waits_too_long));
        let asked: Vec<Leg> = asked.into_iter().map(|(leg, _)| leg).collect();
        let hopeful = asked.iter().take_while(|leg| !leg.is_hopeless).count();
        let (hopeful, hopeless) = asked.split_at(hopeful);
        let mut left = legs.iter();
        let hopeless_legs = legs.iter().filter(|leg| leg.is_hopeless).count();
        prop_assert!(hopeless.len() <= hopeless_legs, "each once");
        prop_assert!(hopeful.iter().all(|leg| left.any(|one| one == leg)), "in the order given");
        prop_assert!(hopeless.iter().all(|leg| leg.is_hopeless), "at the end");
        prop_assert!(hopeless.is_empty() || when == WhenUnsatisfiable::Stale);
    }

    #[test]
    fn a_read_that_goes_elsewhere_while_it_waits_goes_to_each_region_once_and_comes_to_an_end(
        legs in any_legs(), when in any_when(),
        turns in prop::collection::vec(any::<(bool, prop::sample::Index)>(), 40)
    ) {
        let mut course = Course::new(legs, when);
        let mut found = BTreeSet::new();
        for (is_behind, which) in turns {
            match course.next(false, true) {
                Next::Ask(leg) => {
                    if is_behind {
                        course.is_behind_after_all(leg);
                    }
                }
                Next::Wait(leg) => {
                    course.waits();
                    let others = course.elsewhere(leg, |_| 10.0);
                    let others = [others.at_once, others.when_overdue].concat();
                    if !others.is_empty() {
                        let region = *which.get(&others);
                        prop_assert!(region != leg.region && found.insert(region));
                        course.is_found(region, leg);
                    }
                }
                Next::Any | Next::Kept | Next::Nothing => return Ok(()),
            }
        }
        prop_assert!(false, "40 turns were not enough");
    }

    #[test]
    fn what_cannot_be_sent_again_is_sent_to_nobody(legs in any_legs(), when in any_when()) {
        let expected = if when == WhenUnsatisfiable::Fail { Next::Nothing } else { Next::Kept };
        prop_assert_eq!(Course::new(legs, when).next(false, false), expected);
    }
}
