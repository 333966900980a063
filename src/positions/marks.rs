//! When a region's log was first seen at a position: what replication lag is measured by.
//!
//! A bounded number of marks reaches back as far as anybody may be behind, because old ones are merged: the
//! older, the coarser. A merged mark says that its position was written earlier than it was, so lag is
//! overstated and never understated. Times are milliseconds of the edge's steady clock.

use std::collections::VecDeque;

use super::vector::Position;

/// Marks remembered per region: enough for a tenth of an age from milliseconds to hours.
const MOST_MARKS: usize = 256;

/// The writes of one region that are remembered, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: Position,
    at_ms: u64,
}

impl Marks {
    /// The log has reached a position.
    pub(super) fn add(&mut self, position: Position, now_ms: u64) {
        if self.0.back().is_some_and(|last| last.position >= position) {
            return;
        }
        if self.0.len() == MOST_MARKS {
            self.merge_two(now_ms);
        }
        self.0.push_back(Mark {
            position,
            at_ms: now_ms,
        });
    }

    /// Merges the two neighbors whose distance is the smallest share of their age.
    fn merge_two(&mut self, now_ms: u64) {
        let pairs = self.0.iter().zip(self.0.iter().skip(1)).enumerate();
        let share = |(earlier, later): (&Mark, &Mark)| {
            let (gap, age) = (
                later.at_ms.saturating_sub(earlier.at_ms),
                now_ms.saturating_sub(earlier.at_ms),
            );
            gap.saturating_mul(1 << 16) / age.saturating_add(1)
        };
        let least = pairs
            .map(|(at, pair)| (share(pair), at))
            .min()
            .map_or(0, |(_, at)| at);
        let Some(earlier) = self.0.remove(least) else {
            return;
        };
        if let Some(later) = self.0.get_mut(least) {
            later.at_ms = earlier.at_ms;
        }
    }

    /// The log has turned out to reach no further than this.
    pub(super) fn cut(&mut self, position: Position) {
        self.0.retain(|mark| mark.position <= position);
    }

    /// What has been beyond `shown` since before `since_ms` was a claim: the log has not reached it.
    pub(super) fn cut_claims(&mut self, shown: Position, since_ms: u64) {
        self.0
            .retain(|mark| mark.position <= shown || mark.at_ms >= since_ms);
    }

    /// How far the log was seen.
    pub(super) fn newest(&self) -> Option<Position> {
        self.0.back().map(|mark| mark.position)
    }

    /// When the first of what is missing behind `have` was written; none: nothing is missing.
    pub(super) fn first_missing_ms(&self, have: Position) -> Option<u64> {
        let at = self.0.partition_point(|mark| mark.position <= have);
        self.0.get(at).map(|mark| mark.at_ms)
    }

    /// When `position` was written.
    pub(super) fn written_ms(&self, position: Position) -> Option<u64> {
        let at = self.0.partition_point(|mark| mark.position < position);
        self.0.get(at).map(|mark| mark.at_ms)
    }

    /// When the newest write was made that whoever had `before` has just come to see with `now`.
    pub(super) fn crossed_ms(&self, before: Option<Position>, now: Position) -> Option<u64> {
        let after = self.0.partition_point(|mark| mark.position <= now);
        let newest = self.0.get(after.checked_sub(1)?)?;
        let is_new = before.is_none_or(|had| had < newest.position);
        is_new.then_some(newest.at_ms)
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
            marks.add(at(ms), ms);
        }
        assert_eq!(marks.0.len(), MOST_MARKS);
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
            marks.add(at(seq), seq * 10);
        }
        for seq in 0..1_000 {
            let lag = 10_000 - marks.first_missing_ms(at(seq)).unwrap();
            let truth = 10_000 - (seq + 1) * 10;
            assert!(lag >= truth, "{lag} of {truth}");
            assert!(lag - truth <= truth / 10 + 1, "{lag} of {truth}");
        }
    }

    #[test]
    fn what_a_log_has_lost_is_no_longer_missing_anywhere() {
        let mut marks = Marks::default();
        marks.add(at(5), 10);
        marks.add(at(9), 20);
        marks.cut(at(5));
        assert_eq!(marks.first_missing_ms(at(5)), None);
        marks.add(at(6), 30);
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
                marks.add(at(*seq), now_ms);
                prop_assert!(marks.0.len() <= MOST_MARKS);
            }
            let newest = writes.iter().map(|(seq, _)| at(*seq)).max();
            prop_assert_eq!(marks.newest(), newest);
            let neighbors = || marks.0.iter().zip(marks.0.iter().skip(1));
            prop_assert!(neighbors().all(|(one, next)| one.position < next.position));
            prop_assert!(neighbors().all(|(one, next)| one.at_ms <= next.at_ms));
        }

        #[test]
        fn lag_is_never_understated(gaps in prop::collection::vec((1u64..5, 0u64..5_000), 1..300), have in 0u64..600) {
            let mut marks = Marks::default();
            let (mut seq, mut now_ms, mut first) = (0, 0, None);
            for (step, gap) in gaps {
                (seq, now_ms) = (seq + step, now_ms + gap);
                marks.add(at(seq), now_ms);
                if seq > have {
                    first.get_or_insert(now_ms);
                }
            }
            match (marks.first_missing_ms(at(have)), first) {
                (Some(told), Some(true_ms)) => prop_assert!(told <= true_ms),
                (told, true_ms) => prop_assert_eq!(told, true_ms),
            }
        }
    }
}
