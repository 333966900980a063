//! The course of a read that must see its client's writes: which region is asked next and how, what its answer
//! is worth, and how what is passed on is marked.
//!
//! Pure: the proxy carries it out, and so does the simulator. Regions come in the order that steering gave them.

use std::collections::VecDeque;
use std::time::Duration;

use super::applied::{Applied, Standing};
use super::asking::ASK_EVERY;
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
    /// Whether no waiting helps: the client's newest write went elsewhere, and nobody knows how far. Its standing is that
    /// towards the client's other writes.
    pub is_hopeless: bool,
}

impl Leg {
    /// How an answer of it that shows all is marked, unless another was waited for before.
    pub fn mark(self) -> Mark {
        match (self.standing, self.rank) {
            _ if self.is_hopeless => Mark::Stale,
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

/// Where a read goes on to from a region that it waits for, as soon as one of these is known to have all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Those that answer by the time at which that region was expected to have all, or nothing was expected of it.
    pub at_once: Vec<RegionId>,
    /// Those for which it is worth waiting for, unless it turns out to be later than was expected.
    pub when_overdue: Vec<RegionId>,
    /// How long it is waited for before these: twice as long as was expected.
    pub patience: Duration,
}

/// How far a read has come.
#[derive(Clone, Debug)]
pub struct Course {
    legs: Vec<Leg>,
    /// Those that have not come up yet.
    left: VecDeque<Leg>,
    /// Those that come up when all others have come to nothing; no longer among these once they were found.
    reserve: VecDeque<Leg>,
    /// Which they are.
    reserved: Vec<RegionId>,
    /// Those that may show all but what the pin stands for, the soonest first. They come up when nobody can show that; each is
    /// asked before any is waited for, since the client gets no better than `stale` in the end.
    but_for_the_pin: VecDeque<Leg>,
    /// Whether they have come up.
    goes_without_the_pin: bool,
    /// One that turned out to have all while another was waited for.
    found: Option<Leg>,
    /// Those that were this before: none is it twice, so that what one says wrongly costs one try.
    found_before: Vec<RegionId>,
    /// Whether it has waited for any.
    has_waited: bool,
    /// Those that were taken to have all, and turned out not to, or were left for one that had: they are waited for.
    behind_after_all: VecDeque<Leg>,
    /// Those that gave no answer.
    missed: Vec<RegionId>,
    when_unsatisfiable: WhenUnsatisfiable,
}

impl Course {
    /// Through these regions, the first first.
    pub fn new(legs: Vec<Leg>, when_unsatisfiable: WhenUnsatisfiable) -> Self {
        let (mut hopeless, left): (Vec<Leg>, Vec<Leg>) =
            legs.iter().partition(|leg| leg.is_hopeless);
        hopeless.sort_by_key(|leg| (expected(leg.standing), leg.rank));
        Self {
            left: left.into(),
            reserve: VecDeque::new(),
            reserved: Vec::new(),
            but_for_the_pin: hopeless.into(),
            goes_without_the_pin: false,
            legs,
            found: None,
            found_before: Vec::new(),
            has_waited: false,
            behind_after_all: VecDeque::new(),
            missed: Vec::new(),
            when_unsatisfiable,
        }
    }

    /// With these in reserve, which nobody else is sent to: they are asked when no other has all, and waited for when no other is left.
    #[must_use]
    pub fn with_reserve(mut self, reserve: impl Iterator<Item = Leg>) -> Self {
        self.reserve = reserve.filter(|leg| !leg.is_hopeless).collect();
        self.reserved = self.reserve.iter().map(|leg| leg.region).collect();
        self.legs.extend(&self.reserve);
        self
    }

    /// What is next. `is_over`: all waiting together has taken as long as it may. `can_be_sent`: the request is there to
    /// be sent (again).
    pub fn next(&mut self, is_over: bool, can_be_sent: bool) -> Next {
        if can_be_sent {
            if !self.goes_without_the_pin
                && let Some(next) = self.next_of_left(is_over)
            {
                return next;
            }
            if self.when_unsatisfiable == WhenUnsatisfiable::Stale {
                self.goes_without_the_pin = true;
                if let Some(next) = self.next_but_for_the_pin(is_over) {
                    return next;
                }
            }
        }
        match (self.when_unsatisfiable, can_be_sent) {
            (WhenUnsatisfiable::Fail, _) => Next::Nothing,
            (WhenUnsatisfiable::Stale, true) => Next::Any,
            (WhenUnsatisfiable::Stale, false) => Next::Kept,
        }
    }

    fn next_but_for_the_pin(&mut self, is_over: bool) -> Option<Next> {
        while let Some(leg) = self.but_for_the_pin.pop_front() {
            // It is asked as if it had all: it may hold the read for as long as there is time.
            if leg.standing == Standing::Dominates || !is_over {
                let standing = Standing::Dominates;
                return Some(Next::Ask(Leg { standing, ..leg }));
            }
        }
        self.next_of_left(is_over)
    }

    fn next_of_left(&mut self, is_over: bool) -> Option<Next> {
        while let Some(leg) = self.take() {
            match leg.standing {
                Standing::Dominates => return Some(Next::Ask(leg)),
                Standing::Behind { .. } if is_over => {}
                Standing::Behind { .. } => return Some(Next::Wait(leg)),
            }
        }
        None
    }

    /// The next region: those that turned out to be behind come after all that have it or will at a time that is known, and
    /// before those of which nobody knows.
    fn take(&mut self) -> Option<Leg> {
        if let Some(found) = self.found.take() {
            return Some(found);
        }
        let is_anybody_s_guess = |leg: &Leg| leg.standing == Standing::Behind { expected: None };
        if self.left.iter().all(is_anybody_s_guess)
            && let Some(leg) = self.behind_after_all.pop_front()
        {
            return Some(leg);
        }
        self.left.pop_front().or_else(|| self.reserve.pop_front())
    }

    /// It waits for a region that has not got all, or holds it.
    pub fn waits(&mut self) {
        self.has_waited = true;
    }

    /// Where a read goes on to from a region that it waits for. `round_trip_ms`: how far a region is. Steering has weighed
    /// the regions that had all already, and preferred this one.
    pub fn elsewhere(&self, from: Leg, round_trip_ms: impl Fn(RegionId) -> f64) -> Others {
        let is_weighed = |leg: &Leg| leg.standing == Standing::Dominates && self.left.contains(leg);
        let is_open = |leg: &&Leg| {
            leg.region != from.region
                && leg.is_hopeless == from.is_hopeless
                && !self.missed.contains(&leg.region)
                && !self.found_before.contains(&leg.region)
        };
        let open = self.legs.iter().filter(is_open);
        let Standing::Behind {
            expected: Some(expected),
        } = from.standing
        else {
            return Others {
                at_once: open
                    .filter(|leg| !is_weighed(leg))
                    .map(|leg| leg.region)
                    .collect(),
                ..Others::default()
            };
        };
        let expected = expected.max(ASK_EVERY);
        let here_ms = round_trip_ms(from.region) + expected.as_secs_f64() * 1_000.0;
        let is_sooner = |leg: &&Leg| !is_weighed(leg) && round_trip_ms(leg.region) < here_ms;
        let (at_once, when_overdue): (Vec<&Leg>, Vec<&Leg>) = open.partition(is_sooner);
        let regions = |legs: Vec<&Leg>| legs.into_iter().map(|leg| leg.region).collect();
        Others {
            at_once: regions(at_once),
            when_overdue: regions(when_overdue),
            patience: expected.saturating_mul(2),
        }
    }

    /// Another region is known to have all, and the one that was waited for is not: that is waited for again if this comes to
    /// nothing.
    pub fn is_found(&mut self, region: RegionId, from: Leg) {
        self.left.retain(|leg| leg.region != region);
        self.behind_after_all.retain(|leg| leg.region != region);
        self.reserve.retain(|leg| leg.region != region);
        let found = self.legs.iter().find(|leg| leg.region == region);
        let standing = Standing::Dominates;
        self.found = found.map(|leg| Leg { standing, ..*leg });
        self.found_before.push(region);
        let standing = Standing::Behind { expected: None };
        self.behind_after_all.push_front(Leg { standing, ..from });
    }

    /// How an answer of a region that shows all is marked.
    pub fn mark(&self, leg: Leg) -> Mark {
        if self.has_waited && !leg.is_hopeless {
            Mark::Waited
        } else {
            leg.mark()
        }
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
        let ranked = self.legs.iter();
        let ranked = ranked.filter(|leg| !self.reserved.contains(&leg.region));
        let best = ranked.min_by_key(|leg| leg.rank);
        best.map(|leg| leg.region)
    }

    /// All its regions, in the order in which they are asked when nobody has all: those that lack the fewest of the
    /// client's writes first, by their ranks among themselves, and last those that gave no answer before. So a write whose
    /// region is gone, or a pin to it, does not hide the client's other writes.
    pub fn for_want_of_better(&self, lacks: impl Fn(RegionId) -> usize) -> Vec<Leg> {
        let mut legs = self.legs.clone();
        legs.retain(|leg| !self.reserved.contains(&leg.region));
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
        if self.has_waited {
            return Mark::Waited;
        }
        ask_any_mark(self.best(), region)
    }
}

/// How long a region may still take: none, so long, or nobody knows.
fn expected(standing: Standing) -> Duration {
    match standing {
        Standing::Dominates => Duration::ZERO,
        Standing::Behind { expected } => expected.unwrap_or(Duration::MAX),
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
        let is_removed = || applied.is_removed(asked.region, asked.origin);
        match &said.applied {
            Some(seen) => self.ask_for_retired(|retired| applied.shows(seen, retired)),
            None if is_removed() => self.ask_for_retired(|_| false),
            None => {}
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
                if !is_removed() {
                    self.sift(applied);
                }
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
#[path = "course_tests.rs"]
mod tests;
