//! Whom a region's drain would send where: by shares of the clients that count, place by place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::by_type::{Steering, Wanted};
use super::estimated::Parts;
use super::foresee::Outlook;
use crate::config::plan::{Access, ClientMatch, Override, Region, ResidencyBy, Service, Writes};
use crate::geo::PlaceId;
use crate::ids::{Id, RegionId, ServiceId};
use crate::steering::{
    Admin, Ask, Chances, Draw, Percent, Snapshot, Spread, Vantage, chances, chances_in, steer,
};

/// Who goes from where to where: shares of the clients that count, by IPv4 and by IPv6 addresses.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Moves {
    /// Those whom the region would lose.
    pub(super) moved: [f64; 2],
    /// Those whom it would keep, drained as it is: no other is able to take them.
    pub(super) stays: [f64; 2],
    /// By where they would go; without a region: nowhere.
    pub(super) to: BTreeMap<Option<RegionId>, [f64; 2]>,
    /// Where all clients would be, whoever has them now.
    all: BTreeMap<Option<RegionId>, [f64; 2]>,
}

/// Keys of writes that are tried: of so many, each of three regions is home to its third within 3 points in a hundred (two
/// standard deviations).
const KEYS: u16 = 1_000;

/// The same where each is tried for every place.
const FEW_KEYS: u16 = 32;

/// Of what clients are told, where it matters where they are.
const LOCATED: &str = "addresses whose place is known";

/// Whom to try: the places with their shares of IPv4 and of IPv6 addresses, each with every key.
struct Tried {
    places: Vec<(PlaceId, [f64; 2])>,
    keys: Vec<Option<String>>,
}

impl Tried {
    fn of(snapshot: &Snapshot, id: ServiceId, access: Access) -> Self {
        let service = snapshot.plan.services.of(id);
        let goes_home = access == Access::Write && matches!(service.writes, Writes::Home { .. });
        // Where a client is says nothing of its key's home.
        let goes_by_key_alone = goes_home && service.residency.is_none();
        let keys = match (goes_home, goes_by_key_alone) {
            (false, _) => vec![None],
            (true, true) => keys(KEYS),
            (true, false) => keys(FEW_KEYS),
        };
        let (mut counted, _) = counted(snapshot, id);
        if goes_by_key_alone {
            counted.truncate(1);
        }
        Self {
            places: of_all(&counted),
            keys,
        }
    }
}

/// The places with what they are of all that count, whose sum is 1 for IPv4 and for IPv6. Of a family of which none counts
/// nobody knows where anyone is.
fn of_all(counted: &[(PlaceId, [f64; 2])]) -> Vec<(PlaceId, [f64; 2])> {
    let sum = |sum, (_, share): &(_, [f64; 2])| add(sum, *share, 1.0);
    let [all_v4, all_v6] = counted.iter().fold([0.0; 2], sum);
    let part = |share: f64, all: f64| if all > 0.0 { share / all } else { 0.0 };
    let parts = counted.iter();
    let parts = parts.map(|(place, [v4, v6])| (*place, [part(*v4, all_v4), part(*v6, all_v6)]));
    let rest = |all: f64| if all > 0.0 { 0.0 } else { 1.0 };
    let nowhere = (PlaceId::NOWHERE, [rest(all_v4), rest(all_v6)]);
    parts
        .chain([nowhere])
        .filter(|(_, part)| *part != [0.0; 2])
        .collect()
}

pub(super) fn moves(
    outlook: Outlook<'_>,
    region: RegionId,
    id: ServiceId,
    (vantage, access): (Vantage, Access),
) -> Moves {
    let Outlook { before, after, .. } = outlook;
    let Tried { places, keys } = Tried::of(before, id, access);
    let of_key = 1.0 / f64::from(u32::try_from(keys.len()).unwrap_or(1));
    let spreads = spreads(before, id);
    let asked_for = match vantage {
        Vantage::Client => asked_for(before, id),
        Vantage::Edge => None,
    };
    let mut moves = Moves::default();
    for (place, [v4, v6]) in places {
        let of_each = spreads
            .iter()
            .flat_map(|spread| keys.iter().map(move |key| (spread, key)));
        for ((spread, of_clients), key) in of_each {
            let ask = Ask {
                vantage,
                spread: *spread,
                write_key: key.as_deref(),
                require: outlook.require(),
                ..Ask::http(id, place, access)
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

/// The places that count with their shares of addresses, and in words what they are of. Of whom nobody knows where they are
/// counts only where that does not matter to the service, or is known of nobody.
pub(super) fn counted(
    snapshot: &Snapshot,
    id: ServiceId,
) -> (Vec<(PlaceId, [f64; 2])>, &'static str) {
    let clients = &snapshot.clients;
    let places = clients.places(id);
    let with_share = |at: usize| (PlaceId::at(at), clients.share(id, PlaceId::at(at)));
    let is_known = |at: &usize| places.get(*at).is_some_and(|place| place.nearest.is_some());
    let located: Vec<_> = (0..places.len()).filter(is_known).map(with_share).collect();
    if !located.is_empty() {
        return (located, LOCATED);
    }
    let mut all: Vec<_> = (0..places.len().max(1)).map(with_share).collect();
    let unplaced = clients.unplaced(id);
    if !goes_by_country(snapshot.plan.services.of(id)) || unplaced == [1.0; 2] {
        return (all, "all addresses");
    }
    for (_, share) in all
        .iter_mut()
        .filter(|(place, _)| *place == PlaceId::NOWHERE)
    {
        *share = add(*share, unplaced, -1.0).map(|share| share.max(0.0));
    }
    (all, LOCATED)
}

/// Whether it matters to a service which country a client is in.
fn goes_by_country(service: &Service) -> bool {
    let is_country = |entry: &Override| matches!(entry.clients, ClientMatch::Country(_));
    let by = service.residency.as_ref().map(|residency| &residency.by);
    matches!(by, Some(ResidencyBy::ClientCountry)) || service.overrides.iter().any(is_country)
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
pub(super) fn spreads(snapshot: &Snapshot, id: ServiceId) -> Vec<(Spread, f64)> {
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
pub(super) fn percent(share: f64) -> f64 {
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
    pub(super) fn told(
        &self,
        name: &impl Fn(RegionId) -> String,
        show: impl Fn(f64) -> f64,
    ) -> Vec<Value> {
        let each = self.to.iter().map(|(to, [v4, v6])| {
            json!({ "region": to.map(name), "ipv4_percent": show(*v4), "ipv6_percent": show(*v6) })
        });
        each.collect()
    }

    /// Where what a region has would go if it were spread as IPv4 clients are: an estimate, where nobody tells from where
    /// it came. If the rules alone send nobody there, it was there for a session or a token, and goes where everybody goes.
    pub(super) fn of_traffic(&self, region: RegionId) -> Parts {
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
