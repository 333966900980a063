//! What a drain would do, without doing it: whose traffic would move, where to, and what would be refused.
//!
//! Decides nothing: the same snapshot is asked twice, as it is and as it would be once the drain is over and
//! done with.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Value, json};

use super::minute::{ByRegion, Served};
use crate::config::plan::Access;
use crate::geo::PlaceId;
use crate::ids::{Id, RegionId, ServiceId};
use crate::steering::{Admin, Ask, Snapshot, Spread, Vantage, chances};

/// Whether the query of a drain asks for a dry run; an error for anything that it does not know, since who
/// asks for a look ahead must not get a drain.
pub(super) fn is_dry(uri: &Uri) -> Result<bool, String> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(query) = query.map_err(|error| error.to_string())?;
    query
        .iter()
        .try_fold(false, |_, (key, value)| match (&**key, &**value) {
            ("dry_run", "true") => Ok(true),
            ("dry_run", "false") => Ok(false),
            ("dry_run", _) => Err("`dry_run` must be true or false".to_owned()),
            (key, _) => Err(format!("unknown parameter `{key}`: expected dry_run")),
        })
}

/// Who goes from where to where: shares of the clients that count, by IPv4 and by IPv6 addresses.
#[derive(Debug, Default, PartialEq)]
struct Moves {
    /// All that the region has.
    has: [f64; 2],
    /// By where they would go; without a region: nowhere.
    to: BTreeMap<Option<RegionId>, [f64; 2]>,
    /// Where all clients would be, whoever has them now.
    all: BTreeMap<Option<RegionId>, [f64; 2]>,
}

/// The answer to a dry run of a drain.
pub(super) fn foresee(
    snapshot: &Snapshot,
    region: RegionId,
    services: &[ServiceId],
    (span_ms, traffic): &(u64, ByRegion),
) -> Value {
    let after = without(snapshot, region, services);
    let told: Vec<Value> = services
        .iter()
        .map(|service| of_service(snapshot, &after, region, *service, traffic))
        .collect();
    let is_refused = told
        .iter()
        .any(|service| service.get("refused") == Some(&Value::Bool(true)));
    json!({
        "dry_run": true,
        "region": &*snapshot.plan.regions.of(region).name,
        "refused": is_refused,
        "measured_over_ms": span_ms,
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

fn of_service(
    before: &Snapshot,
    after: &Snapshot,
    region: RegionId,
    id: ServiceId,
    traffic: &ByRegion,
) -> Value {
    let plan = &before.plan;
    let service = plan.services.of(id);
    let name = |region: RegionId| plan.regions.of(region).name.to_string();
    let state = before.services.of(id);
    let left: Vec<String> = state.left_without(region).map(name).collect();
    let key = (service.name.clone(), plan.regions.of(region).name.clone());
    let served = traffic.get(&key).copied().unwrap_or_default();
    let all = traffic.iter().filter(|((of, _), _)| *of == key.0);
    let all = all.fold(Served::default(), |sum, (_, served)| Served {
        http_requests: sum.http_requests + served.http_requests,
        dns_answers: sum.dns_answers + served.dns_answers,
    });
    let (dns, http) = (
        moves((before, after), region, id, Vantage::Client),
        moves((before, after), region, id, Vantage::Edge),
    );
    json!({
        "service": &*service.name,
        "refused": state.needs(region, service.min_regions),
        "min_regions": service.min_regions,
        "left": left,
        "clients": {
            "of": counted(before, id).1,
            "ipv4_percent": percent(dns.has[0]),
            "ipv6_percent": percent(dns.has[1]),
            "to": dns.told(&name, percent),
        },
        "dns": { "answers": all.dns_answers, "move": served.dns_answers, "to": dns.shared(&name, served.dns_answers) },
        "http": { "requests": all.http_requests, "move": served.http_requests, "to": http.shared(&name, served.http_requests) },
    })
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
    (before, after): (&Snapshot, &Snapshot),
    region: RegionId,
    id: ServiceId,
    vantage: Vantage,
) -> Moves {
    let (places, _) = counted(before, id);
    let shares: Vec<[f64; 2]> = places
        .iter()
        .map(|place| before.clients.share(id, *place))
        .collect();
    let all = shares
        .iter()
        .fold([0.0; 2], |sum, share| add(sum, *share, 1.0));
    let spreads = spreads(before, id);
    let mut moves = Moves::default();
    for (place, share) in places.iter().zip(&shares) {
        let part = |family: usize| match (share.get(family), all.get(family)) {
            (Some(share), Some(all)) if *all > 0.0 => share / all,
            // Nothing is known of addresses: one place stands for all of them.
            _ => 1.0,
        };
        let part = [part(0), part(1)];
        for (spread, of_clients) in &spreads {
            let ask = Ask {
                vantage,
                spread: *spread,
                ..Ask::http(id, *place, Access::Read)
            };
            moves.take((before, after), &ask, region, part, *of_clients);
        }
    }
    moves
}

/// Who is told apart while regions leave or come back little by little, and the share of clients that each is.
fn spreads(snapshot: &Snapshot, id: ServiceId) -> Vec<(Spread, f64)> {
    match snapshot.services.of(id).is_shared_out() {
        true => Spread::all().map(|spread| (spread, 0.01)).collect(),
        false => vec![(Spread::default(), 1.0)],
    }
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
        (before, after): (&Snapshot, &Snapshot),
        ask: &Ask<'_>,
        region: RegionId,
        part: [f64; 2],
        of_clients: f64,
    ) {
        let has = chances(before, ask);
        let has = has.iter().find(|(first, _)| *first == region);
        let has = has.map_or(0.0, |(_, chance)| chance * of_clients);
        self.has = add(self.has, part, has);
        let next = chances(after, ask);
        let nowhere = next.is_empty().then_some((None, 1.0));
        let next = next
            .into_iter()
            .map(|(to, chance)| (Some(to).filter(|to| *to != region), chance));
        for (to, chance) in next.chain(nowhere) {
            let all = self.all.entry(to).or_default();
            *all = add(*all, part, chance * of_clients);
            if has > 0.0 {
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

    /// Where so many would go if they were spread as IPv4 clients are: an estimate, since nobody counts from
    /// where each of them came. Those whom the rules alone send elsewhere were there for a session, a token or a
    /// write, and go where everybody goes.
    fn shared(&self, name: &impl Fn(RegionId) -> String, number: u64) -> Vec<Value> {
        let to = if self.to.is_empty() {
            &self.all
        } else {
            &self.to
        };
        let all: f64 = to.values().map(|[v4, _]| v4).sum();
        let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let each = to.iter().filter(|_| all > 0.0 && number > 0.0);
        let each = each.map(|(to, [v4, _])| {
            json!({ "region": to.map(name), "estimate": (number * v4 / all).round() })
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::control::World;

    /// What leaves `region` of a service with these weights, in percent, and where to.
    fn leaving(weights: &str, region: &str) -> (f64, Vec<(String, f64)>) {
        let yaml = format!(
            "
regions: {{ a: {{ addresses: [192.0.2.1] }}, b: {{ addresses: [192.0.2.2] }}, c: {{ addresses: [192.0.2.3] }} }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: weighted, weights: {{ {weights} }} }}
"
        );
        let plan = Arc::new(load_text("edge.yaml", &yaml, &|_| None).unwrap().plan);
        let service = plan.service("www").unwrap();
        let region = plan.region(region).unwrap();
        let before = World::new(plan.clone(), Arc::default()).snapshot(0).0;
        let after = without(&before, region, &[service]);
        let moves = moves((&before, &after), region, service, Vantage::Client);
        let name = |to: &Option<RegionId>| plan.regions.of(to.unwrap()).name.to_string();
        let to = moves
            .to
            .iter()
            .map(|(to, [v4, _])| (name(to), percent(*v4)));
        (percent(moves.has[0]), to.collect())
    }

    #[track_caller]
    fn check(weights: &str, region: &str, has: f64, to: &[(&str, f64)]) {
        let to: Vec<_> = to.iter().map(|(to, of)| ((*to).to_owned(), *of)).collect();
        assert_eq!(leaving(weights, region), (has, to));
    }

    #[test]
    fn weights_are_told_exactly_and_not_by_trying_draws() {
        check("a: 83, b: 17, c: 0", "a", 83.0, &[("b", 83.0)]);
        check("a: 83, b: 17, c: 0", "b", 17.0, &[("a", 17.0)]);
        check(
            "a: 50, b: 30, c: 20",
            "a",
            50.0,
            &[("b", 30.0), ("c", 20.0)],
        );
        check("a: 50, b: 30, c: 20", "c", 20.0, &[("a", 12.5), ("b", 7.5)]);
        check("a: 999, b: 1, c: 0", "b", 0.1, &[("a", 0.1)]);
    }

    #[test]
    fn a_region_of_no_weight_has_nobody_and_takes_all_who_have_nobody_else() {
        check("a: 83, b: 17, c: 0", "c", 0.0, &[]);
        check("a: 1, b: 0, c: 0", "a", 100.0, &[("b", 100.0)]);
    }
}
