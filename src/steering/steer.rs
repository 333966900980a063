//! The four steps of a decision, in the contract's order: allowed, able, ranked, fresh enough.

use smallvec::SmallVec;

use super::ask::{Ask, Vantage};
use super::decision::{Choice, Decision, FailOpen, Reason, Refusal, Step, Verdict};
use super::draw::Draw;
use super::fresh::{Reserve, by_freshness, leave_out_unfit};
use super::rank::{Ranking, rank};
use super::share::Percent;
use super::snapshot::{Admin, Forced, MemberState, Snapshot};
use crate::config::plan::{Access, Failover, ResidencyBy, Service, WhenNoneHealthy, Writes};
use crate::geo::Place;
use crate::health::Health;
use crate::ids::RegionId;
use crate::positions::Standing;

/// Regions that may still be chosen.
pub(super) type Candidates = SmallVec<[MemberState; 8]>;

/// What the rules did so far.
pub(super) type Steps = SmallVec<[Step; 8]>;

/// Decides. `draw` is random for a new client and the client's own where it must be stable.
pub fn steer(snapshot: &Snapshot, ask: &Ask<'_>, draw: Draw) -> Decision {
    steer_among(snapshot, ask, draw, |_| true)
}

/// Decides among those regions of the service that have what only some have. Others do not count, however able.
pub fn steer_among(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    draw: Draw,
    has: impl Fn(RegionId) -> bool,
) -> Decision {
    let (service, state) = snapshot.service(ask.service);
    let place = snapshot.clients.place(ask.service, ask.place);
    let mut steps = Steps::new();
    let members = state.members.iter().filter(|member| has(member.region));
    let mut members: Candidates = members.copied().collect();

    allow(service, ask, place, &mut members, &mut steps);
    if members.is_empty() {
        return refused(Refusal::Residency, steps);
    }
    let (able, drained_able, verdict) = match enable(service, ask, &members, &mut steps) {
        Ok(able) => able,
        Err(refusal) => return refused(refusal, steps),
    };
    if let Some(refusal) = fenced(service, ask, &able, verdict, &mut steps) {
        return refused(refusal, steps);
    }
    let ranking = Ranking {
        snapshot,
        service,
        ask,
        place,
        draw,
    };
    let mut ranked = match verdict {
        Verdict::FailOpen(_) => rank_fail_open(&ranking, &able, &mut steps),
        Verdict::Steered | Verdict::Refused(_) => rank(&ranking, &able, &mut steps),
    };
    let left_out = if is_read_through_here(service, ask) {
        leave_out_unfit(&ranking, &mut ranked, &mut steps)
    } else {
        Reserve::new()
    };
    let reserve = if asks_for_freshness(service, ask) {
        by_freshness(&ranking, &mut ranked, &drained_able, &left_out, &mut steps)
    } else {
        Reserve::new()
    };
    Decision {
        ranked,
        reserve,
        left_out,
        verdict,
        steps,
    }
}

fn refused(refusal: Refusal, steps: Steps) -> Decision {
    Decision {
        ranked: SmallVec::new(),
        reserve: Reserve::new(),
        left_out: Reserve::new(),
        verdict: Verdict::Refused(refusal),
        steps,
    }
}

/// DNS does not know who reads.
fn is_read_through_here(service: &Service, ask: &Ask<'_>) -> bool {
    service.consistency.is_some() && ask.access == Access::Read && ask.vantage == Vantage::Edge
}

fn asks_for_freshness(service: &Service, ask: &Ask<'_>) -> bool {
    service.consistency.is_some()
        && ask.access == Access::Read
        && (ask.require.vector.is_some() || ask.require.pin.is_some())
}

/// Step 1: residency leaves only its list.
fn allow(
    service: &Service,
    ask: &Ask<'_>,
    place: &Place,
    members: &mut Candidates,
    steps: &mut Steps,
) {
    let lists = residency_lists(service, ask, place);
    members.retain(|member| {
        let kept = is_listed(&lists, member.region);
        if !kept {
            steps.push(drop_for(member.region, Reason::OutsideResidency));
        }
        kept
    });
}

/// Whether residency leaves a region to whoever asks; what has been opened there may go on only as long as it does.
pub fn is_allowed(snapshot: &Snapshot, ask: &Ask<'_>, region: RegionId) -> bool {
    let (service, _) = snapshot.service(ask.service);
    let place = snapshot.clients.place(ask.service, ask.place);
    is_listed(&residency_lists(service, ask, place), region)
}

fn is_listed(lists: &[&[RegionId]], region: RegionId) -> bool {
    lists.iter().all(|allowed| allowed.contains(&region))
}

/// The lists of the client's labels. Who has several, as where two proxies each added a field, is bound by all of them.
fn residency_lists<'a>(
    service: &'a Service,
    ask: &Ask<'_>,
    place: &'a Place,
) -> SmallVec<[&'a [RegionId]; 2]> {
    let Some(residency) = &service.residency else {
        return SmallVec::new();
    };
    let value = match residency.by {
        ResidencyBy::Header(_) => ask.residency,
        ResidencyBy::ClientCountry => place.country.as_ref().map(|country| country.as_str()),
    };
    let labels = value.into_iter().flat_map(|value| value.split(','));
    let lists = labels.filter_map(|label| residency.list_of(label.trim()));
    lists.collect()
}

/// Step 2: healthy and not drained; when nobody is, those who come back. The second list holds
/// healthy drained regions: a read may still need what only they have.
fn enable(
    service: &Service,
    ask: &Ask<'_>,
    members: &Candidates,
    steps: &mut Steps,
) -> Result<(Candidates, Candidates, Verdict), Refusal> {
    let mut able = Candidates::new();
    let mut drained_able = Candidates::new();
    for member in members {
        let (kept, reason) = ability(service, ask, member);
        steps.push(Step {
            region: member.region,
            kept,
            reason,
        });
        if kept {
            able.push(*member);
        } else if member.health.is_able() {
            drained_able.push(*member);
        }
    }
    if able.is_empty() {
        (able, drained_able) = drained_able.into_iter().partition(|m| m.admin.takes_some());
        let back = able.iter();
        steps.extend(back.map(|member| keep_for(member.region, Reason::NobodyElse)));
    }
    if !able.is_empty() {
        return Ok((able, drained_able, Verdict::Steered));
    }
    if service.when_none_healthy == WhenNoneHealthy::None {
        return Err(Refusal::NoneHealthy);
    }
    Ok((
        members.clone(),
        Candidates::new(),
        fail_open(members, steps),
    ))
}

/// Everybody comes back.
fn fail_open(members: &Candidates, steps: &mut Steps) -> Verdict {
    for member in members {
        let reason = match member.admin {
            Admin::Enabled | Admin::Returning(_) => Reason::BackUnhealthy,
            Admin::Leaving { .. } | Admin::Draining | Admin::Drained => Reason::BackDrained,
        };
        steps.push(keep_for(member.region, reason));
    }
    if members.iter().any(|member| member.admin.takes_traffic()) {
        Verdict::FailOpen(FailOpen::Unhealthy)
    } else {
        Verdict::FailOpen(FailOpen::Drained)
    }
}

fn ability(service: &Service, ask: &Ask<'_>, member: &MemberState) -> (bool, Reason) {
    let (is_able, health) = health(member);
    if !is_able {
        return (false, health);
    }
    let is_shared = is_shared(service, ask);
    let is_used_to = is_shared && ask.affinity == Some(member.region);
    match member.admin {
        Admin::Enabled => (true, health),
        Admin::Returning(share) if is_shared && !is_used_to && !ask.spread.is_of(share) => {
            (false, Reason::Returning { share })
        }
        Admin::Returning(_) => (true, health),
        Admin::Leaving { sessions, .. } if is_used_to && ask.spread.is_of(sessions) => {
            (true, Reason::DrainedWithAffinity)
        }
        Admin::Leaving { fresh, .. } if is_shared && !ask.spread.is_of(fresh) => {
            (false, Reason::Leaving { share: fresh })
        }
        Admin::Leaving { fresh, .. } if fresh == Percent::NONE => (false, Reason::Drained),
        Admin::Leaving { .. } => (true, health),
        Admin::Draining if is_used_to => (true, Reason::DrainedWithAffinity),
        Admin::Draining | Admin::Drained => (false, Reason::Drained),
    }
}

fn health(member: &MemberState) -> (bool, Reason) {
    match (member.forced, member.health) {
        (Some(Forced::Up), _) => (true, Reason::ForcedUp),
        (Some(Forced::Down), _) => (false, Reason::ForcedDown),
        (None, Health::Unhealthy) => (false, Reason::Unhealthy),
        (None, Health::Ejected) => (false, Reason::Ejected),
        (None, Health::Healthy) => (true, Reason::Healthy),
        (None, Health::Degraded) => (true, Reason::Degraded),
        (None, Health::Unknown) => (true, Reason::Unchecked),
    }
}

/// Writes that must not go to two regions at once are not shared out: they move whole.
fn is_shared(service: &Service, ask: &Ask<'_>) -> bool {
    match (ask.access, &service.writes) {
        (Access::Read, _) | (Access::Write, Writes::Nearest) => true,
        (Access::Write, Writes::Primary { .. } | Writes::Home { .. }) => false,
    }
}

/// `failover: none` keeps writes from every region but an able primary.
fn fenced(
    service: &Service,
    ask: &Ask<'_>,
    able: &Candidates,
    verdict: Verdict,
    steps: &mut Steps,
) -> Option<Refusal> {
    let Writes::Primary {
        region,
        failover: Failover::None,
    } = service.writes
    else {
        return None;
    };
    let primary_is_able =
        verdict == Verdict::Steered && able.iter().any(|member| member.region == region);
    if ask.access == Access::Read || primary_is_able {
        return None;
    }
    for member in able {
        let reason = if member.region == region {
            ability(service, ask, member).1 // It came back, failing open: not for writes.
        } else {
            Reason::NotPrimary
        };
        steps.push(drop_for(member.region, reason));
    }
    Some(Refusal::Primary)
}

/// When failing open the unhealthy go first, and after them the drained.
fn rank_fail_open(
    ranking: &Ranking<'_>,
    members: &Candidates,
    steps: &mut Steps,
) -> SmallVec<[Choice; 8]> {
    let group = |drained: bool| -> Candidates {
        members
            .iter()
            .filter(|member| member.admin.takes_traffic() != drained)
            .copied()
            .collect()
    };
    let mut ranked = rank(ranking, &group(false), steps);
    let (ahead, told) = (ranked.len(), steps.len());
    ranked.extend(rank(ranking, &group(true), steps));
    for (place, choice) in (0..=u8::MAX).zip(ranked.iter_mut()) {
        choice.rank = place;
    }
    for step in steps.iter_mut().skip(told) {
        step.reason.stand_behind(ahead);
    }
    ranked
}

/// A region that a rule dropped.
pub(super) fn drop_for(region: RegionId, reason: Reason) -> Step {
    Step {
        region,
        kept: false,
        reason,
    }
}

/// A region that a rule placed.
pub(super) fn keep_for(region: RegionId, reason: Reason) -> Step {
    Step {
        region,
        kept: true,
        reason,
    }
}

/// A region in its place, before freshness is asked for.
pub(super) fn choice(region: RegionId, rank: u8) -> Choice {
    Choice {
        region,
        rank,
        standing: Standing::Dominates,
    }
}
