//! When a region's log was first seen at a position: what replication lag is measured by.
//!
//! A bounded number of marks reaches back as far as anybody may be behind, because old ones are merged: the
//! older, the coarser. A merged mark says that its position was written earlier than it was, so lag is
//! overstated and never understated. Times are milliseconds of the edge's steady clock.

use std::collections::VecDeque;

use super::vector::Position;

/// Marks remembered per region: enough for a tenth of an age from milliseconds to hours.
const MOST_MARKS: usize = 256;

/// Marks that are merged into their neighbors when there is room for no more.
const MERGED_AT_ONCE: usize = 32;

/// What is remembered of one region's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// What the region shows of it.
    shown: Row,
    /// Since when it says nothing of it any more.
    silent_since_ms: Option<u64>,
    /// What it acknowledged and does not show yet. It may never: what is shown below it is marked all the same.
    claimed: Row,
}

impl Marks {
    /// The region shows that its log has reached a position. What it had acknowledged up to there was true, and so was what
    /// comes before that in the log.
    pub(super) fn show(&mut self, position: Position, now_ms: u64) {
        for claim in self.claimed.take_up_to(position) {
            self.shown.be_no_later_than(claim.at_ms);
            self.shown.add(claim.position, claim.at_ms);
        }
        self.shown.add(position, now_ms);
    }

    /// The region acknowledged a write at a position.
    pub(super) fn claim(&mut self, position: Position, now_ms: u64) {
        if self.shown.newest().is_none_or(|shown| shown < position) {
            self.claimed.add(position, now_ms);
        }
    }

    /// For how long the region has said nothing of the log that it has shown; 0 if it does.
    pub(super) fn is_silent_for(&mut self, is_silent: bool, now_ms: u64) -> u64 {
        if !is_silent || self.shown.newest().is_none() {
            self.silent_since_ms = None;
            return 0;
        }
        let since_ms = *self.silent_since_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since_ms)
    }

    /// Whether it is about to be taken for wiped.
    pub(super) fn has_fallen_silent(&self) -> bool {
        self.silent_since_ms.is_some()
    }

    /// The log has turned out to reach no further than this.
    pub(super) fn cut(&mut self, position: Position) {
        self.shown.cut(position);
        self.claimed.cut(position);
    }

    /// What has been beyond `shown` since before `since_ms` was a claim: the log has not reached it.
    pub(super) fn cut_claims(&mut self, shown: Position, since_ms: u64) {
        let is_open = |mark: &Mark| mark.position <= shown || mark.at_ms >= since_ms;
        self.claimed.0.retain(is_open);
    }

    /// How far the log was seen.
    pub(super) fn newest(&self) -> Option<Position> {
        self.shown.newest().max(self.claimed.newest())
    }

    /// When the first was shown of what is missing behind `have`; none: nothing is missing.
    pub(super) fn first_missing_ms(&self, have: Position) -> Option<u64> {
        self.shown.first_ms(|mark| mark.position > have)
    }

    /// The same of what was acknowledged and is not shown.
    pub(super) fn first_claimed_ms(&self, have: Position) -> Option<u64> {
        self.claimed.first_ms(|mark| mark.position > have)
    }

    /// When `position` was written.
    pub(super) fn written_ms(&self, position: Position) -> Option<u64> {
        let of = |row: &Row| row.first_ms(|mark| mark.position >= position);
        let both = of(&self.shown).into_iter().chain(of(&self.claimed));
        both.min()
    }

    /// When the newest write was made that whoever had `before` has just come to see with `now`.
    pub(super) fn crossed_ms(&self, before: Option<Position>, now: Position) -> Option<u64> {
        let rows = [&self.shown, &self.claimed].into_iter();
        let newest = rows.filter_map(|row| row.newest_up_to(now));
        let newest = newest.max_by_key(|mark| mark.position)?;
        let is_new = before.is_none_or(|had| had < newest.position);
        is_new.then_some(newest.at_ms)
    }
}

/// Marks, oldest first: both positions and times rise.
#[derive(Clone, Debug, Default)]
struct Row(VecDeque<Mark>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: Position,
    at_ms: u64,
}

impl Row {
    fn add(&mut self, position: Position, now_ms: u64) {
        if self.0.back().is_some_and(|last| last.position >= position) {
            return;
        }
        if self.0.len() == MOST_MARKS {
            self.thin(now_ms);
        }
        self.0.push_back(Mark {
            position,
            at_ms: now_ms,
        });
    }

    /// Merges those neighbors whose distance is the smallest share of their age, none of them with two others at once. Many
    /// together: to look for one pair with each position was two thirds of what an answer costs that says another one.
    fn thin(&mut self, now_ms: u64) {
        let pairs = self.0.iter().zip(self.0.iter().skip(1)).enumerate();
        let share = |(earlier, later): (&Mark, &Mark)| {
            let (gap, age) = (
                later.at_ms.saturating_sub(earlier.at_ms),
                now_ms.saturating_sub(earlier.at_ms),
            );
            gap.saturating_mul(1 << 16) / age.saturating_add(1)
        };
        let mut shares: Vec<_> = pairs.map(|(at, pair)| (share(pair), at)).collect();
        shares.sort_unstable();
        let (mut is_merged, mut merged) = ([false; MOST_MARKS], 0);
        for (_, at) in shares {
            let around = is_merged.get_mut(at.saturating_sub(1)..=at + 1);
            let Some(around) = around.filter(|around| !around.contains(&true)) else {
                continue;
            };
            // The earlier one of the pair: of the first pair there is none before it.
            if let Some(earlier) = around.get_mut(usize::from(at > 0)) {
                *earlier = true;
                merged += 1;
            }
            if merged == MERGED_AT_ONCE {
                break;
            }
        }
        let mut since_ms = None;
        let marks = std::mem::take(&mut self.0).into_iter().zip(is_merged);
        self.0 = marks
            .filter_map(|(mark, is_merged)| {
                let at_ms = since_ms.take().unwrap_or(mark.at_ms);
                if is_merged {
                    since_ms = Some(at_ms);
                    return None;
                }
                Some(Mark { at_ms, ..mark })
            })
            .collect();
    }

    fn take_up_to(&mut self, position: Position) -> impl Iterator<Item = Mark> {
        let end = self.0.partition_point(|mark| mark.position <= position);
        self.0.drain(..end)
    }

    fn be_no_later_than(&mut self, at_ms: u64) {
        let later = self.0.iter_mut().rev();
        for mark in later.take_while(|mark| mark.at_ms > at_ms) {
            mark.at_ms = at_ms;
        }
    }

    fn cut(&mut self, position: Position) {
        self.0.retain(|mark| mark.position <= position);
    }

    fn newest(&self) -> Option<Position> {
        self.0.back().map(|mark| mark.position)
    }

    /// When the first was made of those from some position on.
    fn first_ms(&self, is_of: impl Fn(&Mark) -> bool) -> Option<u64> {
        let at = self.0.partition_point(|mark| !is_of(mark));
        self.0.get(at).map(|mark| mark.at_ms)
    }

    fn newest_up_to(&self, position: Position) -> Option<&Mark> {
        let after = self.0.partition_point(|mark| mark.position <= position);
        self.0.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 0, seq }
    }

    #[test]
    fn ten_minutes_of_a_thousand_writes_a_second_fit_and_none_is_made_younger() {
        let mut marks = Marks::default();
        for ms in 1..=600_000 {
            marks.show(at(ms), ms);
        }
        assert!((MOST_MARKS - MERGED_AT_ONCE..=MOST_MARKS).contains(&marks.shown.0.len()));
        for behind_ms in [10, 1_000, 60_000, 300_000] {
            let have = 600_000 - behind_ms;
            let lag = 600_000 - marks.first_missing_ms(at(have)).unwrap();
            assert!(lag >= behind_ms - 1, "{lag} of {behind_ms}");
            assert!(
                lag <= behind_ms + behind_ms / 10 + 1,
                "{lag} of {behind_ms}"
            );
        }
        assert_eq!(marks.first_missing_ms(at(600_000)), None);
    }

    #[test]
    fn what_was_written_a_thousand_writes_ago_is_still_known() {
        let mut marks = Marks::default();
        for seq in 1..=1_000 {
            marks.show(at(seq), seq * 10);
        }
        for seq in 0..1_000 {
            let lag = 10_000 - marks.first_missing_ms(at(seq)).unwrap();
            let truth = 10_000 - (seq + 1) * 10;
            assert!(lag >= truth, "{lag} of {truth}");
            assert!(lag - truth <= truth / 10 + 1, "{lag} of {truth}");
        }
    }

    #[test]
    fn what_is_shown_below_a_claim_is_marked_and_a_claim_that_comes_true_counts_from_when_it_was_made()
     {
        let mut marks = Marks::default();
        marks.show(at(1), 0);
        marks.claim(at(4), 10);
        marks.claim(at(1_000), 20);
        marks.show(at(2), 30);
        assert_eq!(marks.first_missing_ms(at(1)), Some(30));
        marks.show(at(4), 40);
        assert_eq!(marks.first_missing_ms(at(1)), Some(10));
        marks.show(at(5), 50);
        assert_eq!(marks.first_missing_ms(at(4)), Some(50));
        assert_eq!(marks.first_claimed_ms(at(5)), Some(20));
        marks.cut_claims(at(5), 21);
        assert_eq!(
            (marks.newest(), marks.first_claimed_ms(at(5))),
            (Some(at(5)), None)
        );
    }

    #[test]
    fn what_a_log_has_lost_is_no_longer_missing_anywhere() {
        let mut marks = Marks::default();
        marks.show(at(5), 10);
        marks.show(at(9), 20);
        marks.cut(at(5));
        assert_eq!(marks.first_missing_ms(at(5)), None);
        marks.show(at(6), 30);
        assert_eq!(marks.first_missing_ms(at(5)), Some(30));
    }

    proptest! {
        #[test]
        fn marks_are_bounded_rise_and_always_have_the_newest(
            writes in prop::collection::vec((0u64..10_000, 0u64..10_000), 1..400)
        ) {
            let mut marks = Marks::default();
            let mut now_ms = 0;
            for (seq, later_ms) in &writes {
                now_ms += later_ms;
                marks.show(at(*seq), now_ms);
                prop_assert!(marks.shown.0.len() <= MOST_MARKS);
            }
            let newest = writes.iter().map(|(seq, _)| at(*seq)).max();
            prop_assert_eq!(marks.newest(), newest);
            let neighbors = || marks.shown.0.iter().zip(marks.shown.0.iter().skip(1));
            prop_assert!(neighbors().all(|(one, next)| one.position < next.position));
            prop_assert!(neighbors().all(|(one, next)| one.at_ms <= next.at_ms));
        }

        #[test]
        fn lag_is_never_understated(gaps in prop::collection::vec((1u64..5, 0u64..5_000, any::<bool>()), 1..300), have in 0u64..600) {
            let mut marks = Marks::default();
            let (mut seq, mut now_ms, mut first) = (0, 0, None);
            for (step, gap, is_shown) in gaps {
                (seq, now_ms) = (seq + step, now_ms + gap);
                if is_shown {
                    marks.show(at(seq), now_ms);
                } else {
                    marks.claim(at(seq), now_ms);
                }
                if seq > have {
                    first.get_or_insert(now_ms);
                }
            }
            let told = [marks.first_missing_ms(at(have)), marks.first_claimed_ms(at(have))];
            match (told.into_iter().flatten().min(), first) {
                (Some(told), Some(true_ms)) => prop_assert!(told <= true_ms),
                (told, true_ms) => prop_assert_eq!(told, true_ms),
            }
        }
    }
}
