//! What remains of a decision where none of its regions could be reached: whoever asked has found out before health did that nobody
//! is able.

use super::decision::{Decision, FailOpen, Reason, Verdict};
use super::snapshot::Snapshot;
use super::steer::{choice, keep_for};
use crate::config::plan::{Access, WhenNoneHealthy, Writes};
use crate::ids::{RegionId, ServiceId};

/// The regions that their health alone has left out, those that their probes find well first, as when nobody is able. None: there
/// are none, the service does not fail open, or its writes must not go to two regions.
pub fn reopen(
    snapshot: &Snapshot,
    service: ServiceId,
    access: Access,
    decision: &Decision,
) -> Option<Decision> {
    let of = snapshot.plan.services.of(service);
    let may_move = access == Access::Read || of.writes == Writes::Nearest;
    let fails_open = of.when_none_healthy == WhenNoneHealthy::All;
    if decision.verdict != Verdict::Steered || !may_move || !fails_open {
        return None;
    }
    let takes_traffic = |region: RegionId| {
        let member = snapshot.member(service, region);
        member.is_some_and(|member| member.admin.takes_traffic())
    };
    let left_out = |reason: Reason| {
        let steps = decision.steps.iter();
        let steps = steps.filter(move |step| !step.kept && step.reason == reason);
        steps.map(|step| step.region)
    };
    let back = left_out(Reason::Ejected).chain(left_out(Reason::Unhealthy));
    let back = back.filter(|region| takes_traffic(*region));
    let mut reopened = Decision {
        ranked: (0..=u8::MAX)
            .zip(back)
            .map(|(place, region)| choice(region, place))
            .collect(),
        verdict: Verdict::FailOpen(FailOpen::Unhealthy),
        ..decision.clone()
    };
    let steps = reopened.ranked.iter();
    let steps = steps.map(|choice| keep_for(choice.region, Reason::BackUnhealthy));
    reopened.steps.extend(steps);
    (!reopened.ranked.is_empty()).then_some(reopened)
}
