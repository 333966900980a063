//! How likely each region is to be first, over all draws: what steering does to many clients, exactly.
//!
//! Pure. Draws are a race of exponential arrivals (`draw::arrival`), so the first of those that race is each in
//! proportion to its weight, and who is first without one of them does not depend on how that one fared.

use smallvec::SmallVec;

use super::ask::Ask;
use super::decision::{Decision, Reason, Rule, Verdict};
use super::draw::Draw;
use super::snapshot::Snapshot;
use super::steer::steer;
use crate::ids::RegionId;

/// Regions that may be first, with their probabilities, which come to 1, the likeliest first; empty if nobody is asked for.
pub type Chances = SmallVec<[(RegionId, f64); 8]>;

/// The probabilities of being first for an [`Ask`] that requires nothing of its regions.
pub fn chances(snapshot: &Snapshot, ask: &Ask<'_>) -> Chances {
    chances_in(snapshot, ask, &steer(snapshot, ask, Draw(0))).unwrap_or_default()
}

/// The probabilities of being first, over all draws that could have decided as this one did. `None`: what a client must
/// see has moved those that were drawn.
pub fn chances_in(snapshot: &Snapshot, ask: &Ask<'_>, decision: &Decision) -> Option<Chances> {
    let Some(first) = decision.ranked.first().map(|choice| choice.region) else {
        return Some(Chances::new());
    };
    let did = |is: fn(Reason) -> bool| decision.steps.iter().any(|step| is(step.reason));
    let is_required = ask.require.vector.is_some() || ask.require.pin.is_some();
    let was_drawn = did(|reason| matches!(reason, Reason::Weight { .. }));
    if is_required && was_drawn && did(|reason| reason.rule() == Rule::Fresh) {
        return None;
    }
    let Some(weight) = drawn(decision, first) else {
        return Some(Chances::from_iter([(first, 1.0)]));
    };
    let is_with_first = |region| beside(snapshot, ask, decision, first, region);
    let racing: SmallVec<[(RegionId, u32); 8]> = decision
        .ranked
        .iter()
        .filter(|choice| is_with_first(choice.region))
        .filter_map(|choice| Some((choice.region, drawn(decision, choice.region)?)))
        .filter(|(_, weight)| *weight > 0)
        .collect();
    let all: f64 = racing.iter().map(|(_, weight)| f64::from(*weight)).sum();
    // Those of weight 0 race only if nobody else does, and go as listed.
    if weight == 0 {
        return Some(Chances::from_iter([(first, 1.0)]));
    }
    let share = |(region, weight): (RegionId, u32)| (region, f64::from(weight) / all);
    let mut chances: Chances = racing.into_iter().map(share).collect();
    chances.sort_by(|(a, a_share), (b, b_share)| b_share.total_cmp(a_share).then(a.cmp(b)));
    Some(chances)
}

/// The weight by which a region was placed, if a draw placed it.
fn drawn(decision: &Decision, region: RegionId) -> Option<u32> {
    let placed = decision
        .steps
        .iter()
        .rev()
        .find(|step| step.region == region)?;
    if let Reason::Weight { weight } = placed.reason {
        Some(weight)
    } else {
        None
    }
}

/// Whether two regions race with each other: when failing open the drained only race behind the others.
fn beside(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    decision: &Decision,
    first: RegionId,
    other: RegionId,
) -> bool {
    let Verdict::FailOpen(_) = decision.verdict else {
        return true;
    };
    let (_, state) = snapshot.service(ask.service);
    let takes = |region| {
        let member = state.members.iter().find(|member| member.region == region);
        member.map(|member| member.admin.takes_traffic())
    };
    takes(first) == takes(other)
}
