//! The course of a read that must see its client's writes: which region is asked next and how, what its answer
//! is worth, and how what is passed on is marked.
//!
//! Pure: the proxy carries it out, and so does the simulator. Regions come in the order that steering gave them.

use std::collections::VecDeque;

use super::applied::{Applied, Standing};
use super::judge::{Asked, Judged, judge};
use super::mint::Said;
use super::visit::{Mark, Visit};
use crate::config::plan::WhenUnsatisfiable;
use crate::ids::RegionId;

/// One region that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Which.
    pub region: RegionId,
    /// Where it stood before freshness was asked for; 0 is the best.
    pub rank: u8,
    /// How it stands towards what the client must see.
    pub standing: Standing,
    /// Whether no waiting helps: the client's newest write went elsewhere, and nobody knows how far.
    pub is_hopeless: bool,
}

impl Leg {
    /// How an answer of it that shows all is marked.
    pub fn mark(self) -> Mark {
        match (self.standing, self.rank) {
            (Standing::Behind { .. }, _) => Mark::Waited,
            (Standing::Dominates, 0) => Mark::Fresh,
            (Standing::Dominates, _) => Mark::Routed,
        }
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this region once: it is known to have all.
    Ask(Leg),
    /// Ask this one until it has caught up, or the time is over.
    Wait(Leg),
    /// Nobody has it all in time: take any region's answer, in the order of [`Course::for_want_of_better`].
    Any,
    /// The same, but the request cannot be sent again: pass on the answer that there is.
    Kept,
    /// Pass nothing on.
    Nothing,
}

/// How far a read has come.
#[derive(Clone, Debug)]
pub struct Course {
    legs: Vec<Leg>,
    next: usize,
    /// Those that were taken to have all, and turned out not to: they are waited for.
    behind_after_all: VecDeque<Leg>,
    /// Those that gave no answer.
    missed: Vec<RegionId>,
    when_unsatisfiable: WhenUnsatisfiable,
}

impl Course {
    /// Through these regions, the first first.
    pub fn new(legs: Vec<Leg>, when_unsatisfiable: WhenUnsatisfiable) -> Self {
        Self {
            legs,
            next: 0,
            behind_after_all: VecDeque::new(),
            missed: Vec::new(),
            when_unsatisfiable,
        }
    }

    /// What is next. `is_over`: all waiting together has taken as long as it may. `can_be_sent`: the request is there to
    /// be sent (again).
    pub fn next(&mut self, is_over: bool, can_be_sent: bool) -> Next {
        while can_be_sent && let Some(leg) = self.take() {
            match leg.standing {
                _ if leg.is_hopeless => {}
                Standing::Dominates => return Next::Ask(leg),
                Standing::Behind { .. } if is_over => {}
                Standing::Behind { .. } => return Next::Wait(leg),
            }
        }
        match (self.when_unsatisfiable, can_be_sent) {
            (WhenUnsatisfiable::Fail, _) => Next::Nothing,
            (WhenUnsatisfiable::Stale, true) => Next::Any,
            (WhenUnsatisfiable::Stale, false) => Next::Kept,
        }
    }

    /// The next region: those that turned out to be behind come after all that have it or will at a time that is known, and
    /// before those of which nobody knows.
    fn take(&mut self) -> Option<Leg> {
        let left = self.legs.get(self.next..).unwrap_or_default();
        let is_anybody_s_guess = |leg: &Leg| leg.standing == Standing::Behind { expected: None };
        if left.iter().all(is_anybody_s_guess)
            && let Some(leg) = self.behind_after_all.pop_front()
        {
            return Some(leg);
        }
        let next = left.first().copied();
        self.next += 1;
        next
    }

    /// No answer came from a region.
    pub fn is_missed(&mut self, region: RegionId) {
        self.missed.push(region);
    }

    /// A region that was asked as one that has all has answered from before: a replica of it that keeps behind, mostly.
    pub fn is_behind_after_all(&mut self, leg: Leg) {
        if leg.standing == Standing::Dominates {
            let standing = Standing::Behind { expected: None };
            self.behind_after_all.push_back(Leg { standing, ..leg });
        }
    }

    /// The region that stood first before freshness was asked for.
    pub fn best(&self) -> Option<RegionId> {
        let best = self.legs.iter().min_by_key(|leg| leg.rank);
        best.map(|leg| leg.region)
    }

    /// All its regions, in the order in which they are asked when nobody has all: those that lack the fewest of the
    /// client's writes first, by their ranks among themselves, and last those that gave no answer before. So a write whose
    /// region is gone, or a pin to it, does not hide the client's other writes.
    pub fn for_want_of_better(&self, lacks: impl Fn(RegionId) -> usize) -> Vec<Leg> {
        let mut legs = self.legs.clone();
        let is_missed = |leg: &Leg| self.missed.contains(&leg.region);
        legs.sort_by_cached_key(|leg| (is_missed(leg), lacks(leg.region), leg.rank));
        legs
    }

    /// How an answer that was taken for want of a better one is marked: stale, unless it shows all the same what is
    /// needed.
    pub fn last_mark(&self, region: RegionId, judged: Judged) -> Mark {
        let is_hopeless = |leg: &Leg| leg.region == region && leg.is_hopeless;
        if judged != Judged::Shows || self.legs.iter().any(is_hopeless) {
            return Mark::Stale;
        }
        ask_any_mark(self.best(), region)
    }
}

/// The mark of a read that any region may answer: its client must see nothing, or the answer shows it.
pub fn ask_any_mark(best: Option<RegionId>, region: RegionId) -> Mark {
    if best == Some(region) {
        Mark::Fresh
    } else {
        Mark::Routed
    }
}

impl Visit {
    /// What an answer is worth. One that seems too old may have told that what it lacks is lost.
    pub fn weigh(
        &mut self,
        applied: &Applied,
        asked: Asked<'_>,
        said: &Said,
        is_conflict: bool,
    ) -> Judged {
        if let Some(seen) = &said.applied {
            self.ask_for_retired(applied, seen);
        }
        let judged = |visit: &Self| judge(applied, asked, said, &visit.token().vector, is_conflict);
        let first = judged(self);
        match first {
            Judged::Shows => {
                let left = || applied.left_behind(asked.region, asked.origin, asked.asked_at_ms);
                self.note_left_behind(asked.was_left_out.then(left).flatten());
                first
            }
            // It said so to the whole vector: what is left of that is for it to be asked again.
            Judged::NotYet => {
                self.sift(applied);
                first
            }
            Judged::Behind => {
                self.give_up_lost(applied);
                judged(self)
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let standing = prop_oneof![Just(Standing::Dominates), Just(BEHIND)];
        (0..6_usize, 0..6_u8, standing, any::<bool>()).prop_map(
            |(region, rank, standing, is_hopeless)| leg(region, rank, standing, is_hopeless),
        )
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

    proptest! {
        #[test]
        fn each_region_is_asked_once_and_waited_for_once_at_most_and_the_course_ends(
            legs in prop::collection::vec(any_leg(), 0..6), when in any_when(),
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
            prop_assert!(asked.iter().all(|(leg, waits_too_long)| !leg.is_hopeless && !waits_too_long));
            let mut left = legs.iter();
            prop_assert!(asked.iter().all(|(leg, _)| left.any(|one| one == leg)), "in the order given");
        }

        #[test]
        fn what_cannot_be_sent_again_is_sent_to_nobody(legs in prop::collection::vec(any_leg(), 0..6), when in any_when()) {
            let expected = if when == WhenUnsatisfiable::Fail { Next::Nothing } else { Next::Kept };
            prop_assert_eq!(Course::new(legs, when).next(false, false), expected);
        }
    }
}
