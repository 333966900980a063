//! What the type of a DNS question makes of a decision, step by step, as `dns::table` has it.

use std::net::IpAddr;

use super::question::{Question, QuestionError};
use crate::dns::answers_by_name;
use crate::ids::RegionId;
use crate::steering::{Ask, Decision, Draw, Reason, Snapshot, Step, Verdict, steer_among};

/// What an address has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    V4,
    V6,
    Any,
}

impl Wanted {
    /// By the type of a question; of none: A.
    fn of(question: &Question) -> Result<Self, QuestionError> {
        let asked = question.record_type.as_deref().unwrap_or("A");
        match &*asked.to_ascii_uppercase() {
            "A" => Ok(Self::V4),
            "AAAA" => Ok(Self::V6),
            "HTTPS" => Ok(Self::Any),
            other => Err(QuestionError::Type(other.to_owned())),
        }
    }

    pub(super) fn is_met_by(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Any => true,
        }
    }
}

/// DNS passes over a region that has no address of the type.
pub(super) fn pass_over_without_address(
    steering: Steering<'_>,
    decision: Decision,
    question: &Question,
) -> Result<Decision, QuestionError> {
    Ok(steering.with_address(decision, Wanted::of(question)?))
}

/// What DNS decides by.
#[derive(Clone, Copy)]
pub(super) struct Steering<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) ask: &'a Ask<'a>,
    pub(super) draw: Draw,
}

impl Steering<'_> {
    /// A decision, or where none of its regions has an address of the type, that among those which have.
    pub(super) fn with_address(self, decision: Decision, wanted: Wanted) -> Decision {
        let regions = &self.snapshot.plan.regions;
        let decision = self.among(decision, |region| regions.of(region).publishes());
        let ranked = decision.ranked.iter().map(|choice| choice.region);
        let by_alias = answers_by_name(&self.snapshot.plan, ranked);
        let has = |region: RegionId| {
            let region = regions.of(region);
            let by_name = by_alias && region.alias.is_some();
            by_name || region.addresses.iter().any(|one| wanted.is_met_by(one))
        };
        let mut decision = self.among(decision, has);
        let mut is_led_to = false;
        // HTTPS records lead to regions given by name, behind one that has addresses.
        let mut is_offered = |region: RegionId| {
            let is_first = has(region);
            let by_name = is_led_to && regions.of(region).alias.is_some();
            is_led_to |= is_first && wanted == Wanted::Any;
            is_first || by_name
        };
        for choice in std::mem::take(&mut decision.ranked) {
            if is_offered(choice.region) {
                decision.ranked.push(choice);
            } else {
                decision.steps.push(lacks_address(choice.region));
            }
        }
        decision
    }

    /// A decision, or where none of its regions has what is asked for, that among those which have, behind the steps of
    /// the first.
    fn among(self, mut decision: Decision, has: impl Fn(RegionId) -> bool) -> Decision {
        let (_, state) = self.snapshot.service(self.ask.service);
        let is_found = decision.ranked.iter().any(|choice| has(choice.region));
        if is_found || !state.members.iter().any(|member| has(member.region)) {
            return decision;
        }
        let among = steer_among(self.snapshot, self.ask, self.draw, has);
        if matches!(among.verdict, Verdict::Refused(_)) {
            return decision;
        }
        let lacking = decision.ranked.iter().map(|choice| choice.region);
        decision.steps.extend(lacking.map(lacks_address));
        decision.steps.extend(among.steps);
        Decision {
            steps: decision.steps,
            ..among
        }
    }
}

fn lacks_address(region: RegionId) -> Step {
    Step {
        region,
        kept: false,
        reason: Reason::NoSuchAddress,
    }
}
