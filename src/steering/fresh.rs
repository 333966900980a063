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

/// Regions that are asked when all others come to nothing.
pub(super) type Reserve = SmallVec<[Choice; 1]>;

/// Leaves out regions that nobody may read from, unless that would leave none: an edge that has lost sight of
/// positions must not be an outage. Costs a branch while all are fit.
pub(super) fn leave_out_unfit(
    ranking: &Ranking<'_>,
    ranked: &mut SmallVec<[Choice; 8]>,
    steps: &mut Steps,
) -> Reserve {
    let mut left_out = Reserve::new();
    if !applied(ranking).is_some_and(Applied::has_unfit) {
        return left_out;
    }
    let is_unfit = |region: RegionId| !is_read_from(ranking, region);
    if ranked.iter().all(|choice| is_unfit(choice.region)) {
        return left_out;
    }
    ranked.retain(|choice| {
        let leaves = is_unfit(choice.region);
        if leaves {
            steps.push(drop_for(choice.region, Reason::Unfit));
            left_out.push(*choice);
        }
        !leaves
    });
    let all = ranked.iter_mut().chain(&mut left_out);
    for (place, choice) in (0..=u8::MAX).zip(all) {
        choice.rank = place;
    }
    left_out
}

fn applied<'a>(ranking: &Ranking<'a>) -> Option<&'a Applied> {
    let consistency = ranking.service.consistency.as_ref()?;
    Some(ranking.snapshot.positions.of(consistency.domain))
}

fn is_read_from(ranking: &Ranking<'_>, region: RegionId) -> bool {
    let ask = ranking.ask;
    ranking
        .snapshot
        .is_read_from(ask.service, region, ask.require.now_ms)
}

/// Reorders by the expected time to a right answer: round trip plus remaining lag. Times that differ by
/// no real gain are ties, and go by rank.
///
/// A drained region joins only when no able one has what the client must see, and so does one that was left out for
/// nothing but an epoch that it has begun; residency has left both without foreign regions already. Until then they are in reserve: who
/// is taken to have all may have died with it, or an answer may show that it has not.
pub(super) fn by_freshness(
    ranking: &Ranking<'_>,
    ranked: &mut SmallVec<[Choice; 8]>,
    drained: &Candidates,
    left_out: &Reserve,
    steps: &mut Steps,
) -> Reserve {
    for candidate in ranked.iter_mut() {
        candidate.standing = standing(ranking, candidate.region);
    }
    let has_all = |choice: &Choice| choice.standing == Standing::Dominates;
    let mut reserve = reserve(ranking, ranked.len(), drained, left_out);
    if !ranked.iter().any(has_all) {
        ranked.extend(reserve.iter().filter(|choice| has_all(choice)).copied());
        reserve.retain(|choice| !has_all(choice));
    }
    let round_trip_ms = ranking.snapshot.edge.round_trip_ms();
    latency::rank(ranked, |candidate| {
        Some(round_trip_ms(candidate.region) + lag_ms(ranking, candidate))
    });
    steps.extend(
        ranked
            .iter()
            .map(|candidate| keep_for(candidate.region, reason(ranking, candidate))),
    );
    reserve
}

/// Those that are drained, and those that are unfit for nothing but an epoch that they have begun.
fn reserve(
    ranking: &Ranking<'_>,
    others: usize,
    drained: &Candidates,
    left_out: &Reserve,
) -> Reserve {
    let Some(applied) = applied(ranking).filter(|_| !drained.is_empty() || !left_out.is_empty())
    else {
        return Reserve::new();
    };
    let name = |region: RegionId| &ranking.snapshot.plan.regions.of(region).name;
    let now_ms = ranking.ask.require.now_ms;
    // As the others are looked at, so that a decision lasts until it is known that some region is unfit.
    let is_unfit = |region: RegionId| applied.has_unfit() && !is_read_from(ranking, region);
    let fit = drained.iter().map(|member| member.region);
    let fit = fit.filter(|region| !is_unfit(*region));
    let in_new_epoch = left_out.iter().map(|choice| choice.region);
    let in_new_epoch = in_new_epoch.filter(|region| applied.is_in_new_epoch(name(*region), now_ms));
    let after = u8::try_from(others).unwrap_or(u8::MAX);
    let all = fit.chain(in_new_epoch).map(|region| Choice {
        standing: match standing(ranking, region) {
            Standing::Dominates => Standing::Dominates,
            // They come last, however soon they may have it; so the decision lasts.
            Standing::Behind { .. } => Standing::Behind { expected: None },
        },
        ..choice(region, after)
    });
    all.collect()
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

/// The remaining lag in ms. A read waits no longer than `wait`, so more lag than that,
/// or nobody knows how much, counts as `wait`; where it may not wait at all, it never comes first.
fn lag_ms(ranking: &Ranking<'_>, candidate: &Choice) -> f64 {
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
    lag.as_secs_f64() * 1000.0
}
