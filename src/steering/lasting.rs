//! Whether a decision is worth remembering: the same question would be answered alike for some time.
//!
//! A decision follows from the snapshot, the question, the draw, and from what is known of positions, which changes
//! while a snapshot lasts.

use super::ask::Ask;
use super::decision::{Choice, Decision};
use super::snapshot::Snapshot;
use crate::config::plan::{Access, Policy};
use crate::positions::Standing;

impl Decision {
    /// Whether this snapshot answers the same question alike, whatever the draw and the time, until
    /// [`Applied::changes`](crate::positions::Applied::changes) moves on. Only for reads.
    pub fn lasts(&self, snapshot: &Snapshot, ask: &Ask<'_>) -> bool {
        let (service, _) = snapshot.service(ask.service);
        // Drained regions, which have to be fit by then, join only where none of the others has all.
        let first = self.ranked.first();
        let is_led = first.is_some_and(|first| first.rank == 0 && is_ready(first));
        // Who is unfit, and how long another may take, is a matter of time.
        let consistency = service.consistency.as_ref();
        let applied = consistency.map(|known| snapshot.positions.of(known.domain));
        ask.access == Access::Read
            && service.policy != Policy::Weighted
            && is_led
            && !self.ranked.iter().any(is_expected)
            && !applied.is_some_and(|applied| applied.has_unfit())
    }
}

fn is_ready(choice: &Choice) -> bool {
    choice.standing == Standing::Dominates
}

fn is_expected(choice: &Choice) -> bool {
    matches!(choice.standing, Standing::Behind { expected: Some(_) })
}
