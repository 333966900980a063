//! What a drain would do, without doing it: whose traffic would move, where to, and what would be refused.
//!
//! Decides nothing: the same snapshot is asked twice, as it is and as it would be once the drain is over and
//! done with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::by_type::{Steering, Wanted};
use super::estimated::{Estimated, Parts};
use super::minute::{ByRegion, Served};
use crate::config::plan::{Access, Region, Writes};
use crate::geo::PlaceId;
use crate::ids::{Id, MemberName, RegionId, ServiceId};
use crate::proxy::{ByAccess, Sampled};
use crate::steering::{
    Admin, Ask, Chances, Draw, Percent, Require, Snapshot, Spread, Vantage, chances, chances_in,
    steer,
};

/// Who goes from where to where: shares of the clients that count, by IPv4 and by IPv6 addresses.
#[derive(Debug, Default, PartialEq)]
struct Moves {
    /// Those whom the region would lose.
    moved: [f64; 2],
    /// Those whom it would keep, drained as it is: no other is able to take them.
    stays: [f64; 2],
    /// By where they would go; without a region: nowhere.
    to: BTreeMap<Option<RegionId>, [f64; 2]>,
    /// Where all clients would be, whoever has them now.
    all: BTreeMap<Option<RegionId>, [f64; 2]>,
}

/// Keys of writes that are tried: of so many, each of three regions is home to its third within 3 points in a hundred (two
/// standard deviations).
const KEYS: u16 = 1_000;

/// The same where each is tried for every place.
const FEW_KEYS: u16 = 32;

/// The traffic of the last minute.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// How long that is.
    pub(super) span_ms: u64,
    pub(super) served: ByRegion,
    /// Requests that the region answered for each service, and how many each stands for.
    pub(super) sampled: BTreeMap<MemberName, ByAccess<Vec<(Sampled, f64)>>>,
}

/// When it is looked ahead, and what is compared.
#[derive(Clone, Copy)]
struct Outlook<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    /// The edge's steady clock.
    now_ms: u64,
}

impl Outlook<'_> {
    /// What carries no token asks for.
    fn require(&self) -> Require<'static> {
        Require {
            now_ms: self.now_ms,
            ..Require::default()
        }
    }
}

/// The answer to a dry run of a drain.
pub(super) fn foresee(
    (snapshot, now_ms): (&Snapshot, u64),
    region: RegionId,
    services: &[ServiceId],
    lately: &Lately,
) -> Value {
    let after = without(snapshot, region, services);
    let outlook = Outlook {
        before: snapshot,
        after: &after,
        now_ms,
    };
    let told: Vec<Value> = services
        .iter()
        .map(|service| of_service(outlook, region, *service, lately))
        .collect();
    let is_refused = told
        .iter()
        .any(|service| service.get("refused") == Some(&Value::Bool(true)));
    json!({
        "dry_run": true,
        "region": &*snapshot.plan.regions.of(region).name,
        "refused": is_refused,
        "measured_over_ms": lately.span_ms,
        "services": told,
    })
}

/// The snapshot once the region takes nobody for these services.
fn without(snapshot: &Snapshot, region: RegionId, services: &[ServiceId]) -> Snapshot {
    let mut after = Snapshot {
        generation: snapshot.generation,
        plan: snapshot.plan.clone(),
        clients: snapshot.clients.clone(),
        services: snapshot.services.clone(),
        edge: snapshot.edge.clone(),
        positions: snapshot.positions.clone(),
    };
    for id in services {
        let state = Arc::make_mut(after.services.of_mut(*id));
        let members = state.members.iter_mut();
        for member in members.filter(|member| member.region == region) {
            member.admin = Admin::Drained;
        }
    }
    after
}

fn of_service(outlook: Outlook<'_>, region: RegionId, id: ServiceId, lately: &Lately) -> Value {
    let before = outlook.before;
    let plan = &before.plan;
    let service = plan.services.of(id);
    let name = |region: RegionId| plan.regions.of(region).name.to_string();
    let names = |regions: &[RegionId]| -> Value { regions.iter().copied().map(name).collect() };
    let state = before.services.of(id);
    let left = state.left_without(region, |region| {
        before.is_read_from(id, region, outlook.now_ms)
    });
    let key = (service.name.clone(), plan.regions.of(region).name.clone());
    let served = lately.served.get(&key).copied().unwrap_or_default();
    let all = lately.served.iter().filter(|((of, _), _)| *of == key.0);
    let all = all.fold(Served::default(), |sum, (_, served)| Served {
        http_requests: sum.http_requests + served.http_requests,
        http_writes: sum.http_writes + served.http_writes,
        dns_answers: sum.dns_answers + served.dns_answers,
    });
    let dns = moves(outlook, region, id, (Vantage::Client, Access::Read));
    let answers = Estimated::default().and(served.dns_answers, &dns.of_traffic(region));
    let sampled = lately.sampled.get(&key);
    let going = |access: Access| {
        let sampled = sampled.map_or(&[][..], |sampled| sampled.of(access));
        match sampled {
            [] => moves(outlook, region, id, (Vantage::Edge, access)).of_traffic(region),
            sampled => of_sample(outlook, id, access, sampled),
        }
    };
    let reads = served.http_requests.saturating_sub(served.http_writes);
    let requests = [(reads, Access::Read), (served.http_writes, Access::Write)].into_iter();
    let requests = requests.filter(|(number, _)| *number > 0);
    let requests = requests.fold(Estimated::default(), |sum, (number, access)| {
        sum.and(number, &going(access))
    });
    json!({
        "service": &*service.name,
        "refused": left.is_too_few(service.min_regions),
        "min_regions": service.min_regions,
        "left": names(&left.regions),
        "unread": names(&left.unread),
        "clients": {
            "of": counted(before, id).1,
            "ipv4_percent": percent(dns.moved[0]),
            "ipv6_percent": percent(dns.moved[1]),
            "to": dns.told(&name, percent),
            "stays": { "ipv4_percent": percent(dns.stays[0]), "ipv6_percent": percent(dns.stays[1]) },
        },
        "dns": answers.told(region, &name, ("answers", all.dns_answers)),
        "http": requests.told(region, &name, ("requests", all.http_requests)),
    })
}

/// Where requests like these would go. Their sessions and tokens led them to the region that is drained, if anything did, and
/// lead there no more.
fn of_sample(
    outlook: Outlook<'_>,
    id: ServiceId,
    access: Access,
    sampled: &[(Sampled, f64)],
) -> Parts {
    let mut parts = Parts::new();
    for (request, stands_for) in sampled {
        let (place, _) = outlook.after.clients.locate(id, request.client);
        let ask = Ask {
            spread: request.spread,
            residency: request.residency.as_deref(),
            write_key: request.write_key.as_deref(),
            require: outlook.require(),
            ..Ask::http(id, place, access)
        };
        let chances = chances(outlook.after, &ask);
        let nowhere = chances.is_empty().then_some((None, 1.0));
        let somewhere = chances.into_iter().map(|(to, chance)| (Some(to), chance));
        for (to, chance) in somewhere.chain(nowhere) {
            *parts.entry(to).or_default() += chance * stands_for;
        }
    }
    parts
}

/// The places that count, and in words what they are of. Of whom nobody knows where they are counts only where
/// that does not matter to the service, or is known of nobody.
fn counted(snapshot: &Snapshot, id: ServiceId) -> (Vec<PlaceId>, &'static str) {
    let places = snapshot.clients.places(id);
    let known = |at: &usize| places.get(*at).is_some_and(|place| place.nearest.is_some());
    let located: Vec<PlaceId> = (0..places.len()).filter(known).map(PlaceId::at).collect();
    if located.is_empty() {
        let all = (0..places.len().max(1)).map(PlaceId::at).collect();
        return (all, "all addresses");
    }
    (located, "addresses whose place is known")
}

fn moves(
    outlook: Outlook<'_>,
    region: RegionId,
    id: ServiceId,
    (vantage, access): (Vantage, Access),
) -> Moves {
    let Outlook { before, after, .. } = outlook;
    let service = before.plan.services.of(id);
    let goes_home = access == Access::Write && matches!(service.writes, Writes::Home { .. });
    // Where a client is says nothing of its key's home.
    let goes_by_key_alone = goes_home && service.residency.is_none();
    let keys = match (goes_home, goes_by_key_alone) {
        (false, _) => vec![None],
        (true, true) => keys(KEYS),
        (true, false) => keys(FEW_KEYS),
    };
    let of_key = 1.0 / f64::from(u32::try_from(keys.len()).unwrap_or(1));
    let (mut places, _) = counted(before, id);
    if goes_by_key_alone {
        places.truncate(1);
    }
    let shares: Vec<[f64; 2]> = places
        .iter()
        .map(|place| before.clients.share(id, *place))
        .collect();
    let all = shares
        .iter()
        .fold([0.0; 2], |sum, share| add(sum, *share, 1.0));
    let spreads = spreads(before, id);
    let asked_for = match vantage {
        Vantage::Client => asked_for(before, id),
        Vantage::Edge => None,
    };
    let mut moves = Moves::default();
    for (place, share) in places.iter().zip(&shares) {
        let part = |family: usize| match (share.get(family), all.get(family)) {
            (Some(share), Some(all)) if *all > 0.0 => share / all,
            // Nothing is known of addresses: one place stands for all of them.
            _ => 1.0,
        };
        let (v4, v6) = (part(0), part(1));
        let of_each = spreads
            .iter()
            .flat_map(|spread| keys.iter().map(move |key| (spread, key)));
        for ((spread, of_clients), key) in of_each {
            let ask = Ask {
                vantage,
                spread: *spread,
                write_key: key.as_deref(),
                require: outlook.require(),
                ..Ask::http(id, *place, access)
            };
            let mut take = |part, chances: &dyn Fn(&Snapshot) -> Chances| {
                let [before, after] = [before, after].map(chances);
                let weight = of_clients * of_key;
                moves.take(before, after, region, part, weight);
            };
            match asked_for {
                None => take([v4, v6], &|snapshot| chances(snapshot, &ask)),
                Some([of_v4, of_v6]) => {
                    take([v4, 0.0], &|snapshot| in_dns(snapshot, &ask, of_v4));
                    take([0.0, v6], &|snapshot| in_dns(snapshot, &ask, of_v6));
                }
            }
        }
    }
    moves
}

/// Keys of writes, as many as tell how rendezvous hashing shares out those that nobody has counted.
fn keys(count: u16) -> Vec<Option<String>> {
    (0..count).map(|key| Some(key.to_string())).collect()
}

/// What clients of IPv4 and those of IPv6 ask DNS for: an address of their own family, if any region of the service has one.
/// `None`: none has any address.
fn asked_for(snapshot: &Snapshot, id: ServiceId) -> Option<[Wanted; 2]> {
    let members = snapshot.services.of(id).members.iter();
    let regions = members.map(|member| snapshot.plan.regions.of(member.region));
    let published: Vec<&Region> = regions.filter(|region| region.publishes()).collect();
    let if_there = |wanted: Wanted| {
        let mut addresses = published.iter().flat_map(|region| &region.addresses);
        let is_there = addresses.any(|address| wanted.is_met_by(address));
        if is_there { wanted } else { Wanted::Any }
    };
    (!published.is_empty()).then(|| [Wanted::V4, Wanted::V6].map(if_there))
}

/// To whom DNS sends who asks for such an address.
fn in_dns(snapshot: &Snapshot, ask: &Ask<'_>, wanted: Wanted) -> Chances {
    let draw = Draw(0);
    let decision = steer(snapshot, ask, draw);
    let steering = Steering {
        snapshot,
        ask,
        draw,
    };
    let decision = steering.with_address(decision, wanted);
    chances_in(snapshot, ask, &decision).unwrap_or_default()
}

/// Who is told apart while regions leave or come back little by little, and the share of clients that each is: those
/// between two shares go alike.
fn spreads(snapshot: &Snapshot, id: ServiceId) -> Vec<(Spread, f64)> {
    let members = snapshot.services.of(id).members.iter();
    let shares = members.filter_map(|member| match member.admin {
        Admin::Returning(share) | Admin::Leaving { fresh: share, .. } => Some(share),
        Admin::Enabled | Admin::Draining | Admin::Drained => None,
    });
    let bounds: BTreeSet<Percent> = shares.chain([Percent::NONE, Percent::ALL]).collect();
    let from = bounds.iter().zip(bounds.iter().skip(1));
    from.filter_map(|(from, to)| {
        let share = f64::from(to.get() - from.get()) / 100.0;
        Some((Spread::at(*from)?, share))
    })
    .collect()
}

fn add([a, b]: [f64; 2], [more_a, more_b]: [f64; 2], weight: f64) -> [f64; 2] {
    [a + more_a * weight, b + more_b * weight]
}

/// With one decimal.
fn percent(share: f64) -> f64 {
    (share * 1_000.0).round() / 10.0
}

impl Moves {
    /// Takes in clients who are told apart no further. Whoever has the region first goes to whom draws give it
    /// without the region: that a region won a draw says nothing of the order of the others.
    fn take(
        &mut self,
        before: Chances,
        next: Chances,
        region: RegionId,
        part: [f64; 2],
        of_clients: f64,
    ) {
        let mut has = before.into_iter();
        let has = has.find(|(first, _)| *first == region);
        let has = has.map_or(0.0, |(_, chance)| chance * of_clients);
        let nowhere = next.is_empty().then_some((None, 1.0));
        let next = next.into_iter().map(|(to, chance)| (Some(to), chance));
        for (to, chance) in next.chain(nowhere) {
            let all = self.all.entry(to).or_default();
            *all = add(*all, part, chance * of_clients);
            if to == Some(region) {
                self.stays = add(self.stays, part, chance * has);
            } else if has > 0.0 {
                self.moved = add(self.moved, part, chance * has);
                let to = self.to.entry(to).or_default();
                *to = add(*to, part, chance * has);
            }
        }
    }

    /// Where clients would go.
    fn told(&self, name: &impl Fn(RegionId) -> String, show: impl Fn(f64) -> f64) -> Vec<Value> {
        let each = self.to.iter().map(|(to, [v4, v6])| {
            json!({ "region": to.map(name), "ipv4_percent": show(*v4), "ipv6_percent": show(*v6) })
        });
        each.collect()
    }

    /// Where what a region has would go if it were spread as IPv4 clients are: an estimate, where nobody tells from where
    /// it came. If the rules alone send nobody there, it was there for a session or a token, and goes where everybody goes.
    fn of_traffic(&self, region: RegionId) -> Parts {
        let of_v4 = |to: &BTreeMap<Option<RegionId>, [f64; 2]>| -> Parts {
            to.iter().map(|(to, [v4, _])| (*to, *v4)).collect()
        };
        let mut to = of_v4(&self.to);
        let [stays, _] = self.stays;
        to.insert(Some(region), stays);
        if to.values().any(|v4| *v4 > 0.0) {
            to
        } else {
            of_v4(&self.all)
        }
    }
}

#[cfg(test)]
#[path = "foresee_tests.rs"]
mod tests;
