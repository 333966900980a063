//! Step 4: reads that must see the client's own writes go where that takes the least time.

use std::time::Duration;

use smallvec::SmallVec;

use super::decision::{Choice, Reason};
use super::rank::Ranking;
use super::snapshot::whole_ms;
use super::steer::{Candidates, Steps, choice, drop_for, keep_for};
use crate::ids::RegionId;
use crate::latency;
use crate::positions::{Applied, Standing};

/// A region that is behind costs at least this: who asks too soon asks again after 20 ms.
const LEAST_LAG: Duration = Duration::from_millis(20);

/// Regions that were left out.
pub(super) type LeftOut = SmallVec<[RegionId; 8]>;

/// Leaves out regions that nobody may read from, unless that would leave none: an edge that has lost sight of
/// positions must not be an outage. Costs a branch while all are fit.
pub(super) fn leave_out_unfit(
    ranking: &Ranking<'_>,
    ranked: &mut SmallVec<[Choice; 8]>,
    steps: &mut Steps,
) -> LeftOut {
    let mut left_out = LeftOut::new();
    let Some(applied) = applied(ranking).filter(|applied| applied.has_unfit()) else {
        return left_out;
    };
    let is_unfit = |region: RegionId| !is_fit(ranking, applied, region);
    if ranked.iter().all(|choice| is_unfit(choice.region)) {
        return left_out;
    }
    ranked.retain(|choice| {
        let leaves = is_unfit(choice.region);
        if leaves {
            steps.push(drop_for(choice.region, Reason::Unfit));
            left_out.push(choice.region);
        }
        !leaves
    });
    for (place, choice) in (0..=u8::MAX).zip(ranked.iter_mut()) {
        choice.rank = place;
    }
    left_out
}

fn applied<'a>(ranking: &Ranking<'a>) -> Option<&'a Applied> {
    let consistency = ranking.service.consistency.as_ref()?;
    Some(ranking.snapshot.positions.of(consistency.domain))
}

fn is_fit(ranking: &Ranking<'_>, applied: &Applied, region: RegionId) -> bool {
    let name = &ranking.snapshot.plan.regions.of(region).name;
    applied.is_fit(name, ranking.ask.require.now_ms)
}

/// Reorders by the expected time to a right answer: round trip plus remaining lag. Times that differ by
/// no real gain are ties, and go by rank.
///
/// A drained region joins only when no able one has what the client must see, and so does one that was left out for
/// nothing but an epoch that it has begun; residency has left both without foreign regions already.
pub(super) fn by_freshness(
    ranking: &Ranking<'_>,
    ranked: &mut SmallVec<[Choice; 8]>,
    drained: &Candidates,
    left_out: &LeftOut,
    steps: &mut Steps,
) {
    for candidate in ranked.iter_mut() {
        candidate.standing = standing(ranking, candidate.region);
    }
    if ranked
        .iter()
        .all(|candidate| candidate.standing != Standing::Dominates)
    {
        let after = u8::try_from(ranked.len()).unwrap_or(u8::MAX);
        let fit = drained.iter().map(|member| member.region).filter(|region| {
            applied(ranking).is_none_or(|applied| is_fit(ranking, applied, *region))
        });
        let is_in_new_epoch = |region: &RegionId| {
            applied(ranking).is_some_and(|applied| {
                let name = &ranking.snapshot.plan.regions.of(*region).name;
                applied.is_in_new_epoch(name, ranking.ask.require.now_ms)
            })
        };
        let in_new_epoch = left_out.iter().copied().filter(is_in_new_epoch);
        let rescuers = fit
            .chain(in_new_epoch)
            .filter(|region| standing(ranking, *region) == Standing::Dominates);
        ranked.extend(rescuers.map(|region| choice(region, after)));
    }
    let farthest_ms = farthest_ms(ranking);
    latency::rank(ranked, |candidate| {
        Some(expected_ms(ranking, candidate, farthest_ms))
    });
    steps.extend(
        ranked
            .iter()
            .map(|candidate| keep_for(candidate.region, reason(ranking, candidate))),
    );
}

fn standing(ranking: &Ranking<'_>, region: RegionId) -> Standing {
    let require = &ranking.ask.require;
    if let Some(pin) = require.pin
        && pin != region
    {
        return Standing::Behind { expected: None };
    }
    let (Some(vector), Some(applied)) = (require.vector, applied(ranking)) else {
        return Standing::Dominates;
    };
    let name = &ranking.snapshot.plan.regions.of(region).name;
    applied.standing(name, vector, require.now_ms)
}

fn reason(ranking: &Ranking<'_>, candidate: &Choice) -> Reason {
    match candidate.standing {
        Standing::Dominates if ranking.ask.require.pin == Some(candidate.region) => Reason::Pinned,
        Standing::Dominates => Reason::Dominates,
        Standing::Behind { expected } => Reason::Behind {
            expected_ms: expected.map(whole_ms),
        },
    }
}

/// The longest round trip known, in ms: what an unknown one counts as, so that nobody passes for
/// the nearest because nobody knows where it is.
fn farthest_ms(ranking: &Ranking<'_>) -> f64 {
    let round_trips = ranking.snapshot.edge.round_trips.values();
    round_trips
        .filter_map(|round_trip| round_trip.ms())
        .fold(0.0, f64::max)
}

/// Round trip plus remaining lag in ms. A read waits no longer than `wait`, so more lag than that,
/// or nobody knows how much, counts as `wait`; where it may not wait at all, it never comes first.
fn expected_ms(ranking: &Ranking<'_>, candidate: &Choice, farthest_ms: f64) -> f64 {
    let wait = ranking
        .service
        .consistency
        .as_ref()
        .map_or(Duration::ZERO, |c| c.wait);
    let lag = match candidate.standing {
        Standing::Dominates => Duration::ZERO,
        Standing::Behind { .. } if wait.is_zero() => Duration::MAX,
        Standing::Behind { expected } => {
            expected.map_or(wait, |expected| expected.max(LEAST_LAG).min(wait))
        }
    };
    let round_trip = ranking
        .snapshot
        .edge
        .round_trips
        .of(candidate.region)
        .ms()
        .unwrap_or(farthest_ms);
    round_trip + lag.as_secs_f64() * 1000.0
}
