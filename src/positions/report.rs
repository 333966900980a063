//! How what regions say of their positions comes in.
//!
//! A report that was asked for before what is known had arrived is late: it may wake who waits, and it may
//! tell of forks, which stay true; what it says of positions is not believed. One that was asked for
//! afterwards and says less means that the region ran backwards, and is believed at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::applied::{Applied, Seen, State};
use super::ended::is_strange;
use super::marks::Marks;
use super::vector::{Entry, Position, RegionName, Vector};
use crate::config::plan::MOST_VECTOR_ENTRIES;

/// How long pushes do not raise what is known of an origin that ran backwards; longer than any push is
/// under way, and as long as its region shows as degraded.
pub(super) const DOUBTED_FOR_MS: u64 = 60_000;

/// How long a position is remembered that was committed and that nobody shows; longer than a region's own readers are behind.
const CLAIMED_FOR_MS: u64 = 5_000;

/// One report of what an origin has applied.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The region that speaks.
    pub region: &'a RegionName,
    /// Its origin.
    pub origin: &'a str,
    /// What its readers see.
    pub applied: &'a Vector,
    /// When the report was asked for.
    pub asked_at_ms: u64,
    /// When it arrived.
    pub now_ms: u64,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Nothing new, or late.
    Known,
    /// The origin sees more than before.
    Advanced,
    /// The origin sees less than it did: it ran backwards.
    Regressed,
}

/// Whether this edge asked for a report, and so knows the earliest that it may be of; or knows at least that it is of after
/// the last push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Asked,
    InTurn,
    Unasked,
}

impl Seen {
    /// Compares what an origin says of its region's own log with what it acknowledged before it was asked. A push, for
    /// which nobody asked, may be of before that; while it may be of after that too, the origin counts as denying it.
    fn weigh_denial(&mut self, own: Option<Position>, asked_at_ms: Option<u64>) {
        let (Some(own), Some((position, at_ms))) = (own, self.acknowledged) else {
            return;
        };
        if !is_denial(own, position) {
            self.denies = false;
        } else if asked_at_ms.is_none_or(|asked_at_ms| asked_at_ms > at_ms) {
            self.denies = true;
        }
    }

    /// Takes in what a believed report says beside positions: whether the origin went back or began an epoch.
    fn note_course(&mut self, region: &str, before: &Vector, trust: Trust) -> bool {
        let (now, at_ms) = (self.applied.clone(), self.at_ms);
        let less = is_less(&now, before);
        self.ran_backwards |= less;
        let epoch = |vector: &Vector| vector.get(region).map(|own| own.epoch);
        let has_begun = epoch(before).is_some_and(|before| epoch(&now) != Some(before));
        if less || has_begun {
            self.reborn_at_ms = Some(at_ms);
        }
        match (trust, self.pushed_back.take()) {
            // It was asked after the pushes that said less had come.
            (Trust::Asked, pushed_back) => {
                let at_ms = less
                    .then_some(at_ms)
                    .or(pushed_back.map(|(_, at_ms)| at_ms));
                self.lowered_at_ms = at_ms.or(self.lowered_at_ms);
            }
            (Trust::Unasked, pushed_back) if less => {
                let least = pushed_back.map_or_else(|| Vector::clone(&now), |(least, _)| least);
                self.pushed_back = Some((least.least(&now), at_ms));
            }
            // Whatever push comes next was sent later than this one, which therefore does not speak against it.
            (Trust::Unasked | Trust::InTurn, pushed_back) => {
                let lasts = |(_, since_ms): &(Vector, u64)| at_ms < since_ms + DOUBTED_FOR_MS;
                self.pushed_back = pushed_back.filter(lasts);
            }
        }
        less
    }

    /// It has said again, asked at this time and not too late, what it said last; whether that says anything new. A
    /// denial does, and whoever was not asked since an epoch was named may prove by it that something is lost.
    pub(super) fn note_asked(
        &mut self,
        region: &str,
        (asked_at_ms, now_ms): (u64, u64),
        named_ms: u64,
    ) -> bool {
        let (denied, was_asked_before) = (self.denies, self.asked_at_ms <= named_ms);
        (self.at_ms, self.asked_at_ms) = (now_ms, asked_at_ms);
        self.turns.is_last_word = false;
        self.weigh_denial(self.applied.get(region), Some(asked_at_ms));
        was_asked_before || self.denies != denied
    }

    /// Whether what it says was asked for before it said what is known.
    pub(super) fn is_late(&self, asked_at_ms: u64) -> bool {
        asked_at_ms < self.at_ms
    }

    /// The same of an answer that says this. Within a millisecond nobody knows which was first: less than what is known is of before.
    /// Whoever ran backwards says so again.
    fn is_overtaken(&self, asked_at_ms: u64, applied: &Vector) -> bool {
        asked_at_ms == self.at_ms && is_less(applied, &self.applied)
    }
}

impl Applied {
    /// Takes in what an origin says of itself.
    pub fn report(&self, report: Report<'_>) -> Reported {
        self.hear(&mut self.change(), report, Trust::Asked)
    }

    pub(super) fn hear(&self, state: &mut State, report: Report<'_>, trust: Trust) -> Reported {
        if state.is_removed(report.region, report.origin) {
            self.heed(state, report);
            return Reported::Known;
        }
        if let Some(own) = report.applied.entry(report.region) {
            state.learn_epoch(report.region, own, report.now_ms);
        }
        let reported = state.take(report, trust);
        self.heed(state, report);
        reported
    }

    /// Does what every report calls for, news or not.
    pub(super) fn heed(&self, state: &mut State, report: Report<'_>) {
        state.wake(report.region, report.applied);
        if let Some(has_unfit) = state.review(report.now_ms)
            && self.has_unfit.swap(has_unfit, Ordering::Relaxed) != has_unfit
        {
            self.note_change();
        }
    }

    /// Notes that `region` has written up to `position`, which it acknowledged just now. One that a reload has removed meanwhile
    /// has no log any more that anybody could lack.
    pub fn committed(&self, region: &RegionName, position: Position, now_ms: u64) {
        let mut state = self.change();
        if is_strange(state.configured.as_ref(), region) {
            return;
        }
        if let Some(marks) = state.marks_of(region, position) {
            marks.claim(position, now_ms);
        }
    }

    /// Notes that an origin acknowledged a write at this position of its own region's log just now. One that has
    /// never said what it has cannot deny it. A log does not go back: what is far behind an acknowledgement of long before shows that
    /// this one was false.
    pub fn acknowledged(&self, region: &RegionName, origin: &str, position: Position, now_ms: u64) {
        let mut state = self.change();
        let origins = state.regions.get_mut(region);
        let Some(seen) = origins.and_then(|origins| origins.get_mut(origin)) else {
            return;
        };
        let stands = |(known, at_ms): &(Position, u64)| {
            *known > position && now_ms < at_ms.saturating_add(CLAIMED_FOR_MS)
        };
        if !seen.acknowledged.as_ref().is_some_and(stands) {
            seen.acknowledged = Some((position, now_ms));
            state.wake_by_acknowledgement(region, position);
        }
    }
}

impl State {
    /// What a region says of its own log's epoch, and where that began.
    fn learn_epoch(&mut self, region: &RegionName, own: Entry, now_ms: u64) {
        self.forks.learn(region, own);
        let epoch = own.position.epoch;
        let known = self.newest.get(region);
        if known.is_none_or(|(newest, _)| *newest < epoch) {
            self.newest.insert(region.clone(), (epoch, now_ms));
            self.named_ms = self.named_ms.max(now_ms);
        }
    }

    fn take(&mut self, report: Report<'_>, trust: Trust) -> Reported {
        let Report {
            region,
            applied,
            now_ms,
            ..
        } = report;
        let origins = self.regions.entry(region.clone()).or_default();
        // Most are known, and their names need not be copied.
        let is_first = !origins.contains_key(report.origin);
        if is_first {
            origins.insert(report.origin.into(), Seen::since(now_ms));
            self.newcomers
                .retain(|(of, new)| of != region || **new != *report.origin);
            // Whether it may be read from is not to wait for the next look.
            self.reviewed_ms = None;
        }
        let Some(seen) = origins.get_mut(report.origin) else {
            return Reported::Known;
        };
        // What comes next of numbered pushes was sent later, whichever reached this edge first.
        let follows = trust == Trust::InTurn && seen.turns.is_last_word;
        let is_late = seen.is_late(report.asked_at_ms)
            || trust == Trust::Asked && seen.is_overtaken(report.asked_at_ms, applied);
        if !follows && is_late {
            return Reported::Known;
        }
        seen.at_ms = now_ms;
        seen.turns.is_last_word = trust == Trust::InTurn;
        let asked_at_ms = (trust == Trust::Asked).then_some(report.asked_at_ms);
        seen.weigh_denial(applied.get(region), asked_at_ms);
        seen.asked_at_ms = asked_at_ms.unwrap_or(seen.asked_at_ms);
        let is_same = *seen.applied == *applied;
        let mut before = std::mem::replace(&mut seen.applied, Arc::new(applied.clone()));
        let is_strange = |writer: &RegionName| is_strange(self.configured.as_ref(), writer);
        if before.iter().any(|(writer, _)| is_strange(writer)) {
            Arc::make_mut(&mut before).retain(|writer, _| !is_strange(writer));
        }
        let less = seen.note_course(region, &before, trust);
        if is_same {
            self.mark_own(region, applied, now_ms);
            return Reported::Known;
        }
        seen.words = None;
        if less {
            self.forget_marks_past_what_is_left(region);
        }
        self.mark_own(region, applied, now_ms);
        // When it came to see what it says first is not known.
        if !is_first {
            self.sample_lag(region, &before, applied, now_ms);
        }
        if less {
            Reported::Regressed
        } else {
            Reported::Advanced
        }
    }

    /// Remembers how far a region has applied its own log.
    pub(super) fn mark_own(&mut self, region: &RegionName, applied: &Vector, now_ms: u64) {
        let own = applied.get(region).unwrap_or_default();
        self.cut_claims(region, own, now_ms);
        if let Some(marks) = self.marks_of(region, own) {
            marks.show(own, now_ms);
        }
        self.note_silence_on_its_own_log(region, now_ms);
    }

    /// A region that has shown its log and says nothing of it any more, by none of its origins and for so long, has nothing of it:
    /// it was wiped. One answer without it shows nothing.
    fn note_silence_on_its_own_log(&mut self, region: &RegionName, now_ms: u64) {
        let mut origins = self
            .regions
            .get(region)
            .into_iter()
            .flat_map(BTreeMap::values);
        let is_shown = origins.any(|seen| seen.applied.get(region).is_some());
        let Some(marks) = self.marks.get_mut(region) else {
            return;
        };
        if marks.is_silent_for(!is_shown, now_ms) >= CLAIMED_FOR_MS {
            marks.cut(Position::default());
        }
        if marks.newest().is_none() {
            self.marks.remove(region);
        }
    }

    /// What was said to be committed, is shown by nobody for so long, and not by its writer either, which was asked since, does
    /// not keep what is written after it from being marked.
    fn cut_claims(&mut self, writer: &RegionName, own: Position, now_ms: u64) {
        let seen = self.regions.values().flat_map(BTreeMap::values);
        let shown = seen.filter_map(|seen| seen.applied.get(writer)).max();
        let asked_at_ms = self.log_asked_for_ms(writer).unwrap_or(0);
        if let Some(marks) = self.marks.get_mut(writer) {
            let shown = shown.unwrap_or(own).max(own);
            let since_ms = now_ms.saturating_sub(CLAIMED_FOR_MS).min(asked_at_ms);
            marks.cut_claims(shown, since_ms);
            if marks.newest().is_none() {
                self.marks.remove(writer);
            }
        }
    }

    /// What a region that ran backwards had written is not written any more.
    fn forget_marks_past_what_is_left(&mut self, region: &RegionName) {
        let origins = self.regions.get(region).into_iter();
        let seen = origins.flat_map(BTreeMap::values);
        let left = seen.filter_map(|seen| seen.applied.get(region)).max();
        if let (Some(marks), Some(left)) = (self.marks.get_mut(region), left) {
            marks.cut(left);
        }
    }

    /// What is remembered of a writer's log, where there is room. 0 is nothing written, in whichever epoch: a region that takes no writes
    /// is nobody's lag.
    fn marks_of(&mut self, writer: &RegionName, position: Position) -> Option<&mut Marks> {
        let has_room = self.marks.len() < MOST_VECTOR_ENTRIES || self.marks.contains_key(writer);
        let is_written = position.seq > 0;
        (has_room && is_written).then(|| self.marks.entry(writer.clone()).or_default())
    }
}

/// Whether an origin that says this of its region's own log lacks what it acknowledged there.
pub(super) fn is_denial(own: Position, acknowledged: Position) -> bool {
    own.epoch == acknowledged.epoch && own.seq < acknowledged.seq
}

/// Whether `now` lacks anything that was there before.
pub(super) fn is_less(now: &Vector, before: &Vector) -> bool {
    before
        .iter()
        .any(|(writer, position)| now.get(writer).is_none_or(|now| now < position))
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
