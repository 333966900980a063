//! Step 3: the order of the able. Writes by `writes.to`; else affinity, overrides, policy.

use smallvec::SmallVec;

use super::ask::{Ask, Vantage};
use super::decision::{Choice, Reason};
use super::draw::{Draw, arrival, score, stable_hash};
use super::snapshot::{MemberState, Snapshot};
use super::steer::{Candidates, Steps, choice, drop_for, keep_for};
use crate::config::plan::{Access, Failover, Policy, Service, Writes};
use crate::geo::Place;
use crate::ids::RegionId;

/// All that ranking reads.
pub(super) struct Ranking<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) service: &'a Service,
    pub(super) ask: &'a Ask<'a>,
    pub(super) place: &'a Place,
    pub(super) draw: Draw,
}

/// A region with the reason for its place.
type Placed = SmallVec<[(RegionId, Reason); 8]>;

/// Orders the able, best first.
pub(super) fn rank(
    ranking: &Ranking<'_>,
    able: &Candidates,
    steps: &mut Steps,
) -> SmallVec<[Choice; 8]> {
    let placed = match (ranking.ask.access, &ranking.service.writes) {
        (Access::Write, Writes::Primary { region, failover }) => {
            by_primary(ranking, able, *region, *failover, steps)
        }
        (Access::Write, Writes::Home { homes, .. }) => match ranking.ask.write_key {
            Some(key) => by_home(able, key, explicit_home(homes, key)),
            None => by_preference(ranking, able),
        },
        (Access::Write | Access::Read, _) => by_preference(ranking, able),
    };
    (0..=u8::MAX)
        .zip(placed)
        .map(|(place, (region, reason))| {
            steps.push(keep_for(region, reason));
            choice(region, place)
        })
        .collect()
}

fn explicit_home(homes: &[(std::sync::Arc<str>, RegionId)], key: &str) -> Option<RegionId> {
    homes
        .iter()
        .find(|(name, _)| **name == *key)
        .map(|(_, region)| *region)
}

/// The primary, and after it the others as the service lists them, if they may.
fn by_primary(
    ranking: &Ranking<'_>,
    able: &Candidates,
    primary: RegionId,
    failover: Failover,
    steps: &mut Steps,
) -> Placed {
    let (first, rest): (Candidates, Candidates) = able
        .iter()
        .copied()
        .partition(|member| member.region == primary);
    let mut placed: Placed = first
        .iter()
        .map(|member| (member.region, Reason::Primary))
        .collect();
    match failover {
        Failover::Order => {
            let listed = ranking.service.regions.iter().map(|member| member.region);
            placed.extend(
                listed
                    .filter(|region| rest.iter().any(|member| member.region == *region))
                    .map(|region| (region, Reason::PrimaryFailover)),
            );
        }
        Failover::None => steps.extend(
            rest.iter()
                .map(|member| drop_for(member.region, Reason::NotPrimary)),
        ),
    }
    placed
}

/// The key's home and its successors: adding a region moves only its share of the keys.
fn by_home(able: &Candidates, key: &str, explicit: Option<RegionId>) -> Placed {
    let draw = Draw(stable_hash(key));
    let mut members: SmallVec<[&MemberState; 8]> = able.iter().collect();
    members.sort_by_key(|member| {
        (
            explicit != Some(member.region),
            std::cmp::Reverse(score(draw, member.seed)),
        )
    });
    (1..=u8::MAX)
        .zip(members)
        .map(|(place, member)| (member.region, Reason::Home { place }))
        .collect()
}

/// The affinity's region, then the override's in their order, then the policy's.
fn by_preference(ranking: &Ranking<'_>, able: &Candidates) -> Placed {
    let mut placed = by_policy(ranking, able);
    let preferred = ranking
        .place
        .matched_override
        .and_then(|index| Some((index, ranking.service.overrides.get(usize::from(index))?)));
    if let Some((index, preferred)) = preferred {
        for region in preferred.prefer.iter().rev() {
            move_to_front(&mut placed, *region, Reason::Override { index });
        }
    }
    if let Some(region) = ranking.ask.affinity {
        move_to_front(&mut placed, region, Reason::Affinity);
    }
    placed
}

fn move_to_front(placed: &mut Placed, region: RegionId, reason: Reason) {
    if let Some(at) = placed.iter().position(|(placed, _)| *placed == region) {
        placed.remove(at);
        placed.insert(0, (region, reason));
    }
}

fn by_policy(ranking: &Ranking<'_>, able: &Candidates) -> Placed {
    match ranking.service.policy {
        Policy::Priority => as_listed(able),
        Policy::Weighted => by_weight(able, ranking.draw),
        Policy::Geo => by_distance(ranking, able),
        Policy::Latency => match ranking.ask.vantage {
            Vantage::Client => by_client_round_trip(ranking, able),
            Vantage::Edge => by_edge_round_trip(ranking, able),
        },
    }
}

fn as_listed(able: &Candidates) -> Placed {
    (1..=u8::MAX)
        .zip(able)
        .map(|(place, member)| (member.region, Reason::Listed { place }))
        .collect()
}

fn by_weight(able: &Candidates, draw: Draw) -> Placed {
    let mut arrivals: SmallVec<[(f64, &MemberState); 8]> = able
        .iter()
        .map(|member| (arrival(draw, member.seed, member.weight), member))
        .collect();
    arrivals.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    arrivals
        .into_iter()
        .map(|(_, member)| {
            (
                member.region,
                Reason::Weight {
                    weight: member.weight,
                },
            )
        })
        .collect()
}

fn by_distance(ranking: &Ranking<'_>, able: &Candidates) -> Placed {
    if let Some(nearest) = &ranking.place.nearest {
        in_order(able, nearest, |place| Reason::Distance { place })
    } else if let Some(nearest) = &ranking.snapshot.edge.by_distance {
        in_order(able, nearest, |place| Reason::EdgeDistance { place })
    } else {
        as_listed(able)
    }
}

/// DNS: the client will connect by itself. An unknown client ranks as if it stood at this edge, if
/// anybody knows where that is.
fn by_client_round_trip(ranking: &Ranking<'_>, able: &Candidates) -> Placed {
    if let Some(nearest) = &ranking.place.nearest {
        in_order(able, nearest, |place| Reason::ClientRoundTrip { place })
    } else if ranking.snapshot.edge.by_distance.is_some() {
        by_edge_round_trip(ranking, able)
    } else {
        as_listed(able)
    }
}

fn by_edge_round_trip(ranking: &Ranking<'_>, able: &Candidates) -> Placed {
    let edge = &ranking.snapshot.edge;
    let Some(nearest) = &edge.by_round_trip else {
        return as_listed(able);
    };
    let mut placed = in_order(able, nearest, |place| Reason::Listed { place });
    for (region, reason) in &mut placed {
        *reason = Reason::RoundTrip {
            estimate: *edge.round_trips.of(*region),
        };
    }
    placed
}

/// The able in the order of `order`; those it does not hold come last, as listed.
fn in_order(able: &Candidates, order: &[RegionId], reason: impl Fn(u8) -> Reason) -> Placed {
    let mut members: SmallVec<[&MemberState; 8]> = able.iter().collect();
    members.sort_by_key(|member| {
        order
            .iter()
            .position(|region| *region == member.region)
            .unwrap_or(usize::MAX)
    });
    (1..=u8::MAX)
        .zip(members)
        .map(|(place, member)| (member.region, reason(place)))
        .collect()
}
