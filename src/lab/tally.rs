//! How many of the last reads missed their reader's own write. Pure.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// How many reads are remembered.
const WINDOW: usize = 120;

/// How a read after a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It showed the write.
    Fresh,
    /// It did not, and nobody said so.
    Stale,
    /// It did not, and was marked as such.
    Marked,
    /// There was no write, or no answer.
    Failed,
}

/// The last reads of one kind of client.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(VecDeque<Outcome>);

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(outcome);
    }

    fn of(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|one| **one == outcome).count()
    }

    fn to_json(&self) -> Value {
        let (marked, failed) = (self.of(Outcome::Marked), self.of(Outcome::Failed));
        json!({
            "reads": self.0.len() - failed, "stale": self.of(Outcome::Stale) + marked,
            "marked": marked, "failed": failed,
        })
    }
}

/// Clients that go straight to the regions, and clients that go through the edge.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    pub(super) naive: Tally,
    pub(super) meridian: Tally,
}

impl Tallies {
    /// With what is out of the ordinary in the lab, a region and a sentence each.
    pub(super) fn to_json(&self, faults: &[(String, String)]) -> Value {
        let faults: Vec<_> = faults
            .iter()
            .map(|(region, fault)| json!({ "region": region, "fault": fault }))
            .collect();
        json!({ "faults": faults, "stale_reads": {
            "window": WINDOW, "naive": self.naive.to_json(), "meridian": self.meridian.to_json(),
        } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_last_reads_and_forgets_the_ones_before() {
        let mut tally = Tally::default();
        tally.add(Outcome::Stale);
        tally.add(Outcome::Marked);
        tally.add(Outcome::Failed);
        for _ in 3..WINDOW {
            tally.add(Outcome::Fresh);
        }
        let counted = json!({ "reads": WINDOW - 1, "stale": 2, "marked": 1, "failed": 1 });
        assert_eq!(tally.to_json(), counted);
        tally.add(Outcome::Fresh);
        let counted = json!({ "reads": WINDOW - 1, "stale": 1, "marked": 1, "failed": 1 });
        assert_eq!(tally.to_json(), counted);
    }
}
