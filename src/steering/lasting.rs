//! Whether a decision is worth remembering: the same question would be answered alike for some time.
//!
//! A decision follows from the snapshot, the question, the draw, and from what is known of positions, which changes
//! while a snapshot lasts.

use super::ask::Ask;
use super::decision::{Choice, Decision};
use super::snapshot::{Admin, MemberState, Snapshot};
use crate::config::plan::{Access, Policy, Residency, ResidencyBy};
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

    /// Whether it lasts for whoever asks this service from this place for a read: nothing that one request may carry and another
    /// not has a say, and nobody leaves or comes back little by little, which is a matter of who asks.
    pub fn is_of_place(&self, snapshot: &Snapshot, ask: &Ask<'_>) -> bool {
        let (service, state) = snapshot.service(ask.service);
        let by_label = |residency: &Residency| matches!(residency.by, ResidencyBy::Header(_));
        let is_whole = |member: &MemberState| match member.admin {
            Admin::Enabled | Admin::Draining | Admin::Drained => true,
            Admin::Leaving { .. } | Admin::Returning(_) => false,
        };
        ask.affinity.is_none()
            && service.consistency.is_none()
            && !service.residency.as_ref().is_some_and(by_label)
            && state.members.iter().all(is_whole)
            && self.lasts(snapshot, ask)
    }
}

fn is_ready(choice: &Choice) -> bool {
    choice.standing == Standing::Dominates
}

fn is_expected(choice: &Choice) -> bool {
    matches!(choice.standing, Standing::Behind { expected: Some(_) })
}
