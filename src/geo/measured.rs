//! Measured round trips by client: the most specific network that has a figure for a region decides.
//!
//! Pure. A prefix comes before its AS, that before the country, and where nobody has measured, the model
//! stands in, no nearer than regions are to each other allows; for clients of no known place, what wide blocks around them show does. Measured and modelled times are compared on one footing: what a network's own line adds
//! shows in every region that was measured, so it is added to what is modelled beside them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::asn::AsnDatabase;
use super::built_in::country_points;
use super::database::Location;
use super::ranges::Ranges;
use crate::config::plan::Plan;
use crate::earth::{Country, GeoPoint};
use crate::ids::{RegionId, Table};
use crate::latency::{
    MODEL_BASE_MS, Measurement, Network, Networks, Row, is_wide, least_together_ms, modelled_ms,
};
use crate::prefix::{IpVersion, Prefix};

/// The most that a network's own line is taken to add, ms. What is beyond that is a detour to the one
/// region, and not to the others.
const MOST_SHARED_MS: f64 = 30.0;

/// A figure, and whose clients it is of.
type Known = (Network, Measurement);

/// The figures of one network by region.
#[derive(Debug, Default)]
struct Figures(Vec<(RegionId, Network, Measurement)>);

impl Figures {
    fn of(&self, region: RegionId) -> Option<Known> {
        let found = self.0.iter().find(|(known, ..)| *known == region)?;
        Some((found.1, found.2))
    }
}

/// The place of a network's figures among all.
pub(super) type FiguresId = u32;

/// Which figures are an address's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Found {
    /// Its own.
    pub(super) own: Option<FiguresId>,
    /// Its AS's.
    pub(super) of_asn: Option<FiguresId>,
    /// Those of a wide block around it.
    pub(super) wide: Option<FiguresId>,
    /// Those of its country depend on it.
    pub(super) version: IpVersion,
}

/// Which figures are every address's.
pub(super) type FiguresOf = Ranges<Option<FiguresId>>;

/// How far a region is from clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClientEstimate {
    /// Measured, ms. Where the figure has aged, the model has a part in `ms`.
    Measured {
        /// What is ranked by.
        ms: f64,
        /// Whose clients were measured.
        network: Network,
        /// The figure.
        measurement: Measurement,
    },
    /// From the distance, ms.
    Modelled(f64),
    /// Neither was possible.
    Unknown,
}

impl ClientEstimate {
    /// In ms, if anything is known.
    pub fn ms(self) -> Option<f64> {
        match self {
            Self::Measured { ms, .. } | Self::Modelled(ms) => Some(ms),
            Self::Unknown => None,
        }
    }

    /// Whether anybody has measured.
    pub fn is_measured(self) -> bool {
        matches!(self, Self::Measured { .. })
    }
}

/// All that is measured, by client.
#[derive(Debug)]
pub(super) struct Measured {
    prefixes: FiguresOf,
    asns: FiguresOf,
    wide: FiguresOf,
    countries: HashMap<(Country, IpVersion), Figures>,
    /// The country's own point: where the database knows no better.
    points: HashMap<Country, GeoPoint>,
    figures: Vec<Figures>,
    /// What the way from a region to another adds by the model, ms.
    apart: BetweenRegions,
    /// What the round trips of one client to both take together at least, ms.
    light: BetweenRegions,
}

/// Of each two regions; none: one of them has no place.
type BetweenRegions = Table<RegionId, Table<RegionId, Option<f64>>>;

impl Measured {
    /// Sorts rows by network; those of regions that the Plan has not are left out. None: no row is left.
    pub(super) fn new(plan: &Plan, asns: Option<&AsnDatabase>, rows: &[Row]) -> Option<Self> {
        let mut sorted = Sorted::default();
        for row in rows {
            if let Some(region) = plan.region(&row.region) {
                sorted.add(row, region);
            }
        }
        if sorted.is_empty() {
            return None;
        }
        let mut figures = Vec::new();
        let mut keep = |kept: Figures| {
            figures.push(kept);
            FiguresId::try_from(figures.len() - 1).ok()
        };
        let mut ranges = |nested: &Nested| {
            let prefixes = nested.prefixes.keys();
            let ids = prefixes.map(|prefix| (*prefix, keep(nested.inherited(*prefix))));
            Ranges::longest_prefix(&ids.collect::<Vec<_>>(), None)
        };
        let (prefixes, wide) = (ranges(&sorted.prefixes), ranges(&sorted.wide));
        let of_asn: HashMap<(u32, IpVersion), Option<FiguresId>> = std::mem::take(&mut sorted.asns)
            .into_iter()
            .map(|(key, own)| (key, keep(own)))
            .collect();
        let none = Ranges::longest_prefix(&[], None);
        let asns = asns.map_or(none, |asns| {
            let id = |asn: Option<u32>, version| of_asn.get(&(asn?, version)).copied().flatten();
            let Ranges { v4, v6 } = asns.ranges();
            Ranges {
                v4: v4.map(|asn| id(asn, IpVersion::V4)),
                v6: v6.map(|asn| id(asn, IpVersion::V6)),
            }
        });
        Some(Self {
            prefixes,
            asns,
            wide,
            countries: sorted.countries,
            points: country_points(),
            figures,
            apart: between(plan, |a, b| modelled_ms(a.distance_km(b)) - MODEL_BASE_MS),
            light: between(plan, least_together_ms),
        })
    }

    /// Which figures are every address's own, which its AS's, and which those of a wide block around it.
    pub(super) fn ranges(&self) -> [&FiguresOf; 3] {
        [&self.prefixes, &self.asns, &self.wide]
    }

    /// Which figures are an address's.
    pub(super) fn find(&self, client: IpAddr) -> Found {
        let id = |ranges: &FiguresOf| ranges.get(client).flatten();
        Found {
            own: id(&self.prefixes),
            of_asn: id(&self.asns),
            wide: id(&self.wide),
            version: IpVersion::of(client),
        }
    }

    /// How far regions are from clients of these figures and this location.
    pub(super) fn estimates(
        &self,
        plan: &Plan,
        regions: &[RegionId],
        location: &Location,
        found: Found,
    ) -> Vec<ClientEstimate> {
        let measured = regions
            .iter()
            .map(|region| self.measured(*region, location, found));
        let measured = self.without_what_light_forbids(regions, measured.collect());
        let models = regions
            .iter()
            .map(|region| model(plan, *region, location.point));
        let known: Vec<(Option<Known>, Option<f64>)> = measured.into_iter().zip(models).collect();
        let excess = known.iter().filter_map(|(measured, model)| {
            let (_, measurement) = (*measured)?;
            Some(measurement.ms - (*model)?)
        });
        let shared = excess.min_by(f64::total_cmp).unwrap_or(0.0);
        let shared = shared.clamp(-MODEL_BASE_MS, MOST_SHARED_MS);
        let estimates = known.into_iter().map(|(measured, model)| {
            let model = model.map(|ms| (ms + shared).max(0.0));
            match (measured, model) {
                (Some((network, measurement)), model) => ClientEstimate::Measured {
                    ms: weighed(measurement, model),
                    network,
                    measurement,
                },
                (None, Some(ms)) => ClientEstimate::Modelled(ms),
                (None, None) => ClientEstimate::Unknown,
            }
        });
        let mut estimates: Vec<ClientEstimate> = estimates.collect();
        self.keep_apart(regions, &mut estimates);
        estimates
    }

    /// Leaves out what is shown of a client's surroundings and light does not allow beside what is known of it more closely.
    fn without_what_light_forbids(
        &self,
        regions: &[RegionId],
        measured: Vec<Option<Known>>,
    ) -> Vec<Option<Known>> {
        let each = || regions.iter().zip(&measured);
        let known = || each().filter_map(|(region, known)| Some((*region, (*known)?)));
        let mut closenesses = known().map(|(_, known)| closeness(known));
        let first = closenesses.next();
        if closenesses.all(|other| Some(other) == first) {
            return measured;
        }
        let is_possible = |there: RegionId, figure: Known| {
            let mut closer = known().filter(|(_, known)| closeness(*known) < closeness(figure));
            closer.all(|(region, (_, measurement))| {
                let least_ms = *self.light.of(region).of(there);
                least_ms.is_none_or(|least_ms| measurement.ms + figure.1.ms >= least_ms)
            })
        };
        let left = each().map(|(region, known)| known.filter(|known| is_possible(*region, *known)));
        left.collect()
    }

    /// What is measured to one region says how far the client is from the others at least, wherever a database has it.
    fn keep_apart(&self, regions: &[RegionId], estimates: &mut [ClientEstimate]) {
        let measured = regions.iter().zip(&*estimates);
        let measured: Vec<(RegionId, f64)> = measured
            .filter(|(_, estimate)| estimate.is_measured())
            .filter_map(|(region, estimate)| Some((*region, estimate.ms()?)))
            .collect();
        for (there, estimate) in regions.iter().zip(estimates) {
            if let ClientEstimate::Modelled(ms) = estimate {
                let least = measured.iter().filter_map(|(region, measured_ms)| {
                    Some((*self.apart.of(*region).of(*there))? - measured_ms)
                });
                *ms = least.fold(*ms, f64::max);
            }
        }
    }

    fn measured(&self, region: RegionId, location: &Location, found: Found) -> Option<Known> {
        let figures = |id: Option<FiguresId>| self.figures.get(usize::try_from(id?).ok()?);
        let of = |id| figures(id).and_then(|figures| figures.of(region));
        of(found.own)
            .or_else(|| of(found.of_asn))
            .or_else(|| self.of_country(region, location, found.version))
            .or_else(|| of(found.wide.filter(|_| location.point.is_none())))
    }

    /// What networks of a country show together says nothing of a client whose place is known better; what
    /// the operator says of the country does.
    fn of_country(
        &self,
        region: RegionId,
        location: &Location,
        version: IpVersion,
    ) -> Option<Known> {
        let country = location.country?;
        let found = self.countries.get(&(country, version))?.of(region)?;
        let is_coarse = location.point == self.points.get(&country).copied();
        (is_coarse || found.1.networks.is_none()).then_some(found)
    }
}

/// How closely a figure is of a client: less is closer. What its network measured comes before what others show of it.
fn closeness((network, measurement): Known) -> (u8, u8) {
    match (network, measurement.networks) {
        (Network::Prefix(prefix), None) => (0, u8::MAX - prefix.length()),
        (Network::Prefix(_), Some(Networks::Alike(_))) => (1, 0),
        (Network::Prefix(prefix), Some(Networks::Within(..))) if !is_wide(prefix) => (2, 0),
        (Network::Asn(_), _) => (3, 0),
        (Network::Country(_), _) => (4, 0),
        (Network::Prefix(_), Some(Networks::Within(..))) => (5, 0),
    }
}

/// How far regions are from clients of a location by distance alone.
pub(super) fn modelled(
    plan: &Plan,
    regions: &[RegionId],
    location: &Location,
) -> Vec<ClientEstimate> {
    let modelled = regions.iter().map(|region| {
        let ms = model(plan, *region, location.point);
        ms.map_or(ClientEstimate::Unknown, ClientEstimate::Modelled)
    });
    modelled.collect()
}

fn between(plan: &Plan, ms: impl Fn(GeoPoint, GeoPoint) -> f64) -> BetweenRegions {
    let place = |region| plan.regions.of(region).location;
    Table::like(&plan.regions, |a| {
        Table::like(&plan.regions, |b| Some(ms(place(a)?, place(b)?)))
    })
}

fn model(plan: &Plan, region: RegionId, here: Option<GeoPoint>) -> Option<f64> {
    let there = plan.regions.of(region).location?;
    Some(modelled_ms(here?.distance_km(there)))
}

/// What is measured, and as it ages the model more and more.
fn weighed(measurement: Measurement, model: Option<f64>) -> f64 {
    let Measurement { ms, trust, .. } = measurement;
    model.map_or(ms, |model| trust * ms + (1.0 - trust) * model)
}

/// Rows by network, each region once.
#[derive(Default)]
struct Sorted {
    prefixes: Nested,
    /// What others show of wide blocks. What is said of such a block itself is as any prefix's.
    wide: Nested,
    asns: BTreeMap<(u32, IpVersion), Figures>,
    countries: HashMap<(Country, IpVersion), Figures>,
}

/// Figures of prefixes that may lie in one another.
#[derive(Default)]
struct Nested {
    prefixes: BTreeMap<Prefix, Figures>,
    lengths: BTreeSet<u8>,
}

impl Sorted {
    /// The first row of a network and region counts: what is imported comes before what is sampled.
    fn add(&mut self, row: &Row, region: RegionId) {
        let shown_of = match row.measurement.networks {
            Some(Networks::Within(version, _)) => Some(version),
            Some(Networks::Alike(_)) | None => None,
        };
        // What an operator says of a system or country is of all its clients.
        let versions = IpVersion::ALL.into_iter();
        let versions = versions.filter(|version| shown_of.is_none_or(|shown| shown == *version));
        let put = |figures: &mut Figures| {
            if figures.of(region).is_none() {
                figures.0.push((region, row.network, row.measurement));
            }
        };
        match row.network {
            Network::Prefix(prefix) if is_wide(prefix) && shown_of.is_some() => {
                put(self.wide.entry(prefix));
            }
            Network::Prefix(prefix) => put(self.prefixes.entry(prefix)),
            Network::Asn(asn) => {
                versions.for_each(|version| put(self.asns.entry((asn, version)).or_default()));
            }
            Network::Country(country) => versions.for_each(|version| {
                put(self.countries.entry((country, version)).or_default());
            }),
        }
    }

    fn is_empty(&self) -> bool {
        let [prefixes, wide] =
            [&self.prefixes, &self.wide].map(|nested| nested.prefixes.is_empty());
        prefixes && wide && self.asns.is_empty() && self.countries.is_empty()
    }
}

impl Nested {
    fn entry(&mut self, prefix: Prefix) -> &mut Figures {
        self.lengths.insert(prefix.length());
        self.prefixes.entry(prefix).or_default()
    }

    /// A prefix's own figures, and those of the prefixes around it for regions that it has none of.
    fn inherited(&self, prefix: Prefix) -> Figures {
        let mut all = Figures::default();
        let lengths = self.lengths.range(..=prefix.length()).rev();
        let around = lengths.map(|length| Prefix::around(prefix.address(), *length));
        for figures in around.filter_map(|around| self.prefixes.get(&around)) {
            for figure in &figures.0 {
                if all.of(figure.0).is_none() {
                    all.0.push(*figure);
                }
            }
        }
        all
    }
}
