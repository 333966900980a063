//! The client map: address → place, for each class of services that rank clients alike.
//!
//! Compiled once per reload from the database, `geo.networks` and the services' overrides. A place
//! is all the clients that a service ranks alike, so that the prefix found for a client is the
//! widest true scope of RFC 7871. What is measured of clients decides their order where it says more
//! than distance; the figures themselves stay out of places, so that networks of one order are one.

use std::collections::HashMap;
use std::iter;
use std::net::IpAddr;

use super::asn::AsnDatabase;
use super::database::{Database, Location, LocationId};
use super::measured::{ClientEstimate, FiguresId, Found, Measured, modelled};
use super::prefix_map::{PrefixMap, Seek, V4Map};
use super::ranges::{Address, Family, Ranges, zip};
use super::unplaced::Unplaced;
use crate::config::plan::{ClientMatch, Override, Plan, Policy, ResidencyBy, Service};
use crate::earth::Country;
use crate::ids::{Id, RegionId, ServiceId, Table};
use crate::latency::{Row, rank};
use crate::prefix::{IpVersion, Prefix};

/// The places of a class that measurements may make: DNS has an answer ready for each.
const MOST_PLACES: usize = 4_096;

/// Orders of regions that a service has of its clients. What there are more places for than these is what must not be lost: countries
/// and overrides.
const MOST_ORDERS: usize = 60_000;

/// A place of one class of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(u16);

impl PlaceId {
    /// Clients of whom nothing is known that matters.
    pub const NOWHERE: Self = Self(0);
}

impl Id for PlaceId {
    fn at(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(0))
    }

    fn index(self) -> usize {
        self.0.into()
    }
}

/// Clients that a service ranks alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The service's regions, nearest first; `None`: nobody knows where these clients are, or
    /// their distance does not matter to the service.
    pub nearest: Option<Box<[RegionId]>>,
    /// Their country, if an override or residency of the service names it.
    pub country: Option<Country>,
    /// Which of the service's overrides is theirs.
    pub matched_override: Option<u16>,
}

/// The client maps of all services.
#[derive(Debug, Default)]
pub struct ClientMap {
    classes: Vec<Class>,
    of_service: Table<ServiceId, usize>,
    networks: Option<Ranges<Option<RegionId>>>,
    measured: Option<Measured>,
}

/// Services that rank clients alike.
#[derive(Debug)]
struct Class {
    /// The first is [`PlaceId::NOWHERE`].
    places: Vec<Place>,
    prefixes: PrefixMap<PlaceId>,
    /// The shares of IPv4 and of IPv6 addresses that are of no place because nobody knows theirs.
    unplaced: [f64; 2],
    /// Whether there would have been more places than there may be.
    is_full: bool,
}

impl ClientMap {
    /// Compiles the maps of a Plan from geography alone.
    pub fn compile(plan: &Plan, database: &Database) -> Self {
        Self::measured(plan, database, None, &[])
    }

    /// Compiles the maps of a Plan from geography and what is measured. Of two rows about the same the
    /// first counts.
    pub fn measured(
        plan: &Plan,
        database: &Database,
        asns: Option<&AsnDatabase>,
        rows: &[Row],
    ) -> Self {
        let measured = Measured::new(plan, asns, rows);
        let networks: Vec<(Prefix, Option<RegionId>)> = plan
            .geo
            .networks
            .iter()
            .map(|(prefix, region)| (*prefix, Some(*region)))
            .collect();
        let networks = Ranges::longest_prefix(&networks, None);
        let mut keys: Vec<ClassKey<'_>> = Vec::new();
        let of_service = Table::like(&plan.services, |id| {
            let key = ClassKey::of(plan.services.of(id));
            keys.iter()
                .position(|known| *known == key)
                .unwrap_or_else(|| {
                    keys.push(key);
                    keys.len() - 1
                })
        });
        let classes = keys
            .iter()
            .map(|key| Compiler::new(plan, database, key, measured.as_ref()).compile(&networks))
            .collect();
        Self {
            classes,
            of_service,
            networks: Some(networks),
            measured,
        }
    }

    /// How far a service's regions are from a client, in the service's order; none: the service does not
    /// go by round trips, or the operator has said where the client is.
    pub fn estimates(
        &self,
        plan: &Plan,
        service: ServiceId,
        location: &Location,
        client: IpAddr,
    ) -> Option<Vec<(RegionId, ClientEstimate)>> {
        let key = ClassKey::of(plan.services.get(service)?);
        if !key.by_round_trip || self.networks.as_ref()?.get(client).flatten().is_some() {
            return None;
        }
        let estimates = match &self.measured {
            Some(measured) => {
                let found = measured.find(client);
                measured.estimates(plan, &key.regions, location, found)
            }
            None => modelled(plan, &key.regions, location),
        };
        Some(key.regions.into_iter().zip(estimates).collect())
    }

    /// Whether some networks are left to geography, or to no order at all, because there would be too many places.
    pub fn is_full(&self) -> bool {
        self.classes.iter().any(|class| class.is_full)
    }

    /// Where a client is for a service, and the length of the widest prefix around it whose clients
    /// are all of that place.
    pub fn locate(&self, service: ServiceId, client: IpAddr) -> (PlaceId, u8) {
        self.class(service)
            .and_then(|class| class.prefixes.get(client))
            .unwrap_or((PlaceId::NOWHERE, 0))
    }

    /// As [`ClientMap::locate`], in steps for a batch of clients to wait for memory together: this is the first.
    #[inline]
    pub fn seek(&self, service: ServiceId, client: IpAddr) -> Option<Seek<'_, PlaceId>> {
        Some(self.class(service)?.prefixes.seek(client))
    }

    /// What is known of a place.
    pub fn place(&self, service: ServiceId, place: PlaceId) -> &Place {
        static NOWHERE: Place = Place {
            nearest: None,
            country: None,
            matched_override: None,
        };
        self.places(service).get(place.index()).unwrap_or(&NOWHERE)
    }

    /// Every place of a service, in the order of their ids.
    pub fn places(&self, service: ServiceId) -> &[Place] {
        self.class(service).map_or(&[], |class| &class.places)
    }

    /// The shares of all IPv4 and of all IPv6 addresses that are of a place.
    pub fn share(&self, service: ServiceId, place: PlaceId) -> [f64; 2] {
        self.class(service)
            .map_or([0.0; 2], |class| class.prefixes.share(place))
    }

    /// The shares of all IPv4 and of all IPv6 addresses that are of [`PlaceId::NOWHERE`] because nobody knows where they are.
    pub fn unplaced(&self, service: ServiceId) -> [f64; 2] {
        self.class(service).map_or([1.0; 2], |class| class.unplaced)
    }

    /// How many prefixes all maps hold together.
    pub fn prefixes(&self) -> usize {
        self.classes.iter().map(|class| class.prefixes.len()).sum()
    }

    /// Which of the classes a service is of: services of one class have the same places, and the same
    /// overrides.
    pub fn class_of(&self, service: ServiceId) -> Option<usize> {
        self.of_service.get(service).copied()
    }

    fn class(&self, service: ServiceId) -> Option<&Class> {
        self.classes.get(self.class_of(service)?)
    }
}

/// All of a service that decides how it ranks clients: equal keys, one class.
#[derive(Clone, Debug, PartialEq)]
struct ClassKey<'a> {
    /// Empty when distance does not matter.
    regions: Vec<RegionId>,
    /// Whether what is measured decides before distance.
    by_round_trip: bool,
    overrides: &'a [Override],
    /// Countries that residency names.
    resident: Vec<Country>,
}

impl<'a> ClassKey<'a> {
    fn of(service: &'a Service) -> Self {
        let by_distance = match service.policy {
            Policy::Latency | Policy::Geo => true,
            Policy::Weighted | Policy::Priority => false,
        };
        let regions = service.regions.iter().map(|member| member.region);
        let residency = service
            .residency
            .as_ref()
            .filter(|r| r.by == ResidencyBy::ClientCountry);
        let labels = residency.into_iter().flat_map(|residency| &residency.allow);
        Self {
            regions: regions.filter(|_| by_distance).collect(),
            by_round_trip: service.policy == Policy::Latency,
            overrides: &service.overrides,
            resident: labels.filter_map(|(label, _)| label.parse().ok()).collect(),
        }
    }

    /// Whether any client's place matters.
    fn tells_clients_apart(&self) -> bool {
        !self.regions.is_empty() || !self.overrides.is_empty() || !self.resident.is_empty()
    }
}

/// What the map is told of an address: where the database has it, the region of `geo.networks`, the
/// override, and what is measured.
type Seen = (LocationId, Option<RegionId>, Option<u16>, Option<Found>);

/// The same, as it is paired.
type Told = (((LocationId, Option<RegionId>), Option<u16>), Found);

/// Which figures are every address's of a family.
fn found<A: Address>(
    [own, of_asn, wide]: [&Family<A, Option<FiguresId>>; 3],
    version: IpVersion,
) -> impl Iterator<Item = (A, Found)> {
    let narrow = zip(own.iter(), of_asn.iter());
    zip(narrow, wide.iter()).map(move |(start, ((own, of_asn), wide))| {
        let found = Found {
            own,
            of_asn,
            wide,
            version,
        };
        (start, found)
    })
}

/// What the map is told of every address of a family.
fn told<A: Address>(
    locations: &Family<A, LocationId>,
    networks: &Family<A, Option<RegionId>>,
    overridden: &Family<A, Option<u16>>,
    found: impl Iterator<Item = (A, Found)>,
) -> impl Iterator<Item = (A, Told)> {
    let placed = zip(locations.iter(), networks.iter());
    zip(zip(placed, overridden.iter()), found)
}

struct Compiler<'a> {
    plan: &'a Plan,
    database: &'a Database,
    key: &'a ClassKey<'a>,
    measured: Option<&'a Measured>,
    places: Vec<Place>,
    ids: HashMap<Place, PlaceId>,
    is_full: bool,
}

impl<'a> Compiler<'a> {
    fn new(
        plan: &'a Plan,
        database: &'a Database,
        key: &'a ClassKey<'a>,
        measured: Option<&'a Measured>,
    ) -> Self {
        let nowhere = Place::default();
        Self {
            plan,
            database,
            key,
            measured: measured.filter(|_| key.by_round_trip),
            is_full: false,
            places: vec![nowhere.clone()],
            ids: HashMap::from([(nowhere, PlaceId::NOWHERE)]),
        }
    }

    fn compile(mut self, networks: &Ranges<Option<RegionId>>) -> Class {
        let (prefixes, unplaced) = if self.key.tells_clients_apart() {
            self.told_apart(networks)
        } else {
            let v4 = V4Map::new(iter::once((0, PlaceId::NOWHERE)));
            let v6 = iter::once((0, PlaceId::NOWHERE));
            (PrefixMap::new(v4, v6), [1.0; 2])
        };
        Class {
            prefixes,
            unplaced,
            places: self.places,
            is_full: self.is_full,
        }
    }

    /// The map, and the shares of addresses whose place nobody knows.
    fn told_apart(
        &mut self,
        networks: &Ranges<Option<RegionId>>,
    ) -> (PrefixMap<PlaceId>, [f64; 2]) {
        let overridden = self.first_network_override();
        let mut known: HashMap<Seen, (PlaceId, bool)> = HashMap::new();
        let (database, measured) = (self.database.ranges(), self.measured);
        let nothing = Ranges::longest_prefix(&[], None);
        let figures = measured.map_or([&nothing; 3], Measured::ranges);
        let mut place = |(((location, at), network), found): Told| {
            let seen = (location, at, network, measured.map(|_| found));
            *known.entry(seen).or_insert_with(|| {
                let place = self.place(seen);
                (place, place == PlaceId::NOWHERE && self.is_unplaced(seen))
            })
        };
        let [mut unplaced_v4, mut unplaced_v6] = [Unplaced::default(), Unplaced::default()];
        let found_v4 = found(figures.map(|figures| &figures.v4), IpVersion::V4);
        let v4 = told(&database.v4, &networks.v4, &overridden.v4, found_v4);
        let v4 = V4Map::new(v4.map(|(start, told)| {
            let (place, is_unplaced) = place(told);
            unplaced_v4.begins(start, is_unplaced);
            (start, place)
        }));
        let found_v6 = found(figures.map(|figures| &figures.v6), IpVersion::V6);
        let v6 = told(&database.v6, &networks.v6, &overridden.v6, found_v6);
        let v6 = v6.map(|(start, told)| {
            let (place, is_unplaced) = place(told);
            unplaced_v6.begins(start, is_unplaced);
            (start, place)
        });
        let prefixes = PrefixMap::new(v4, v6);
        (prefixes, [unplaced_v4.share(), unplaced_v6.share()])
    }

    /// Whether nothing tells where an address is: neither the database nor an operator.
    fn is_unplaced(&self, (location, at, network, _): Seen) -> bool {
        let location = self.database.location(location);
        let is_located = location.point.is_some() || location.country.is_some();
        !is_located && at.is_none() && network.is_none()
    }

    /// The first override whose network an address lies in, whichever is the longest.
    fn first_network_override(&self) -> Ranges<Option<u16>> {
        let networks: Vec<(Prefix, u16)> = (0..u16::MAX)
            .zip(self.key.overrides)
            .filter_map(|(index, entry)| match entry.clients {
                ClientMatch::Network(prefix) => Some((prefix, index)),
                ClientMatch::Country(_) => None,
            })
            .collect();
        let first_around = |prefix: Prefix| {
            let around = networks.iter().filter(|(other, _)| {
                other.length() <= prefix.length() && other.contains(prefix.address())
            });
            around.map(|(_, index)| *index).min()
        };
        let firsts: Vec<(Prefix, Option<u16>)> = networks
            .iter()
            .map(|(prefix, _)| (*prefix, first_around(*prefix)))
            .collect();
        Ranges::longest_prefix(&firsts, None)
    }

    fn place(&mut self, (location, at, network, found): Seen) -> PlaceId {
        let location = self.database.location(location);
        let by_country = self.country_override(location.country);
        let by_distance = self.nearest(&location, at);
        let by_round_trip = found
            .filter(|_| at.is_none())
            .and_then(|found| self.quickest(&location, found, by_distance.as_deref()));
        let distance_alone = by_round_trip.is_some().then(|| by_distance.clone());
        let place = Place {
            nearest: by_round_trip.or(by_distance),
            country: location
                .country
                .filter(|country| self.key.resident.contains(country)),
            matched_override: [network, by_country].into_iter().flatten().min(),
        };
        self.id_of(place, distance_alone)
    }

    /// The id of a place; where there are too many orders already, of the same with a plainer one.
    fn id_of(
        &mut self,
        mut place: Place,
        distance_alone: Option<Option<Box<[RegionId]>>>,
    ) -> PlaceId {
        if let Some(id) = self.ids.get(&place) {
            return *id;
        }
        if let Some(by_distance) = distance_alone
            && self.places.len() >= MOST_PLACES
        {
            self.is_full = true;
            place.nearest = by_distance;
            if let Some(id) = self.ids.get(&place) {
                return *id;
            }
        }
        if self.places.len() >= MOST_ORDERS && place.nearest.take().is_some() {
            self.is_full = true;
            if let Some(id) = self.ids.get(&place) {
                return *id;
            }
        }
        let id = PlaceId::at(self.places.len());
        self.places.push(place.clone());
        self.ids.insert(place, id);
        id
    }

    fn country_override(&self, country: Option<Country>) -> Option<u16> {
        let country = country?;
        (0..u16::MAX)
            .zip(self.key.overrides)
            .find_map(|(index, entry)| match &entry.clients {
                ClientMatch::Country(countries) => countries.contains(&country).then_some(index),
                ClientMatch::Network(_) => None,
            })
    }

    /// The regions by round trip, where anything is measured. Distance decides between those that are near
    /// enough to be equal; without it, one region's figure says nothing of the others.
    fn quickest(
        &self,
        location: &Location,
        found: Found,
        by_distance: Option<&[RegionId]>,
    ) -> Option<Box<[RegionId]>> {
        let regions = by_distance.unwrap_or(&self.key.regions);
        let estimates = self
            .measured?
            .estimates(self.plan, regions, location, found);
        let measured = estimates.iter().filter(|e| e.is_measured()).count();
        let least = if by_distance.is_some() { 1 } else { 2 };
        if measured < least {
            return None;
        }
        let mut order: Vec<_> = regions.iter().copied().zip(estimates).collect();
        rank(&mut order, |(_, estimate)| estimate.ms());
        Some(order.into_iter().map(|(region, _)| region).collect())
    }

    /// The regions by distance: a client of `geo.networks` stands at its region.
    fn nearest(&self, location: &Location, at: Option<RegionId>) -> Option<Box<[RegionId]>> {
        if self.key.regions.is_empty() {
            return None;
        }
        let point = at
            .and_then(|region| self.plan.regions.of(region).location)
            .or(location.point);
        if at.is_none() && point.is_none() {
            return None;
        }
        let km = |region: RegionId| match (point, self.plan.regions.of(region).location) {
            _ if at == Some(region) => -1.0,
            (Some(here), Some(there)) => here.distance_km(there),
            _ => f64::INFINITY,
        };
        let mut nearest = self.key.regions.clone();
        nearest.sort_by(|a, b| km(*a).total_cmp(&km(*b)));
        Some(nearest.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::load_text;

    #[test]
    fn a_client_of_whom_there_is_one_order_too_many_keeps_its_country_and_its_override() {
        let yaml = "regions: { eu: {} }\nservices: { www: { hosts: [www.example.com] } }\n";
        let plan = load_text("edge.yaml", yaml, &|_| None).unwrap().plan;
        let database = Database::built_in();
        let key = ClassKey {
            regions: Vec::new(),
            by_round_trip: false,
            overrides: &[],
            resident: Vec::new(),
        };
        let mut compiler = Compiler::new(&plan, &database, &key, None);
        let mut id_of = |order: usize| {
            let first = RegionId::at(order);
            let place = Place {
                nearest: Some(Box::from([first])),
                country: "DE".parse().ok(),
                matched_override: Some(7),
            };
            compiler.id_of(place, None)
        };
        let ids: HashSet<PlaceId> = (0..MOST_ORDERS + 10_000).map(&mut id_of).collect();
        assert_eq!(ids.len(), MOST_ORDERS);
        let (last, again) = (id_of(MOST_ORDERS + 10_000), id_of(MOST_ORDERS + 1));
        assert_eq!(last, again);
        assert!(compiler.is_full);
        let place = &compiler.places[last.index()];
        assert_eq!(place.nearest, None);
        assert_eq!(
            (place.country, place.matched_override),
            ("DE".parse().ok(), Some(7))
        );
    }

    #[test]
    fn a_service_has_65_535_places_and_more_are_nowhere() {
        assert_eq!(PlaceId::at(65_535).index(), 65_535);
        assert_eq!(PlaceId::at(65_536), PlaceId::NOWHERE);
    }
}
