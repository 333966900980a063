//! When a region that writes was first seen how far: what replication lag is measured against.
//!
//! Pure. A bounded number of marks reaches back as far as anybody may lag: of what is long ago fewer
//! are kept, so that an age read from them is short by a small share of itself.

use super::vector::Position;

/// Marks remembered per region: enough for a tenth of an age from milliseconds to hours.
const MOST_MARKS: usize = 256;

/// A position, and when it was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) at_ms: u64,
}

/// Marks of one region, oldest first; positions rise.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// Adds what is further than everything before.
    pub(super) fn add(&mut self, position: Position, at_ms: u64) {
        if self.0.last().is_some_and(|last| last.position >= position) {
            return;
        }
        if self.0.len() == MOST_MARKS {
            self.leave_one_out(at_ms);
        }
        self.0.push(Mark { position, at_ms });
    }

    /// Leaves out the mark between whose neighbors there is the smallest share of their age.
    fn leave_one_out(&mut self, now_ms: u64) {
        let between = self.0.windows(3).map(|three| match three {
            [before, _, after] => {
                let gap = after.at_ms.saturating_sub(before.at_ms);
                let age = now_ms.saturating_sub(before.at_ms).max(1);
                gap.saturating_mul(1_000_000) / age
            }
            _ => u64::MAX,
        });
        let least = between.enumerate().min_by_key(|(_, share)| *share);
        if let Some((before, _)) = least {
            self.0.remove(before + 1);
        }
    }

    /// How far the region was seen.
    pub(super) fn newest(&self) -> Option<Position> {
        self.0.last().map(|mark| mark.position)
    }

    /// The last mark that is no further than `position`.
    pub(super) fn last_up_to(&self, position: Position) -> Option<Mark> {
        let after = self.0.partition_point(|mark| mark.position <= position);
        self.0.get(after.checked_sub(1)?).copied()
    }

    /// The first mark that is at least at `position`.
    pub(super) fn first_from(&self, position: Position) -> Option<Mark> {
        let at = self.0.partition_point(|mark| mark.position < position);
        self.0.get(at).copied()
    }

    /// The first mark that is further than `position`.
    pub(super) fn first_past(&self, position: Position) -> Option<Mark> {
        let at = self.0.partition_point(|mark| mark.position <= position);
        self.0.get(at).copied()
    }

    /// Forgets what is further than `position`.
    pub(super) fn forget_past(&mut self, position: Position) {
        self.0.retain(|mark| mark.position <= position);
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
    fn what_was_written_a_thousand_writes_ago_is_still_known() {
        let mut marks = Marks::default();
        for seq in 1..=1_000 {
            marks.add(at(seq), seq * 10);
        }
        let age_ms = |seq| 10_000 - marks.first_past(at(seq)).unwrap().at_ms;
        assert_eq!(age_ms(0), 9_990, "the oldest stays");
        for seq in 1..1_000 {
            let truth = 10_000 - (seq + 1) * 10;
            let short = truth - age_ms(seq);
            assert!(short * 10 <= truth, "{truth} ms, and {short} less is known");
        }
    }

    #[test]
    fn what_ran_backwards_is_marked_anew() {
        let mut marks = Marks::default();
        marks.add(at(9), 10);
        marks.forget_past(at(5));
        marks.add(at(7), 20);
        assert_eq!(marks.newest(), Some(at(7)));
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
            prop_assert!(marks.0.is_sorted_by(|one, next| one.position < next.position));
        }
    }
}
