//! What a network's own round trips say of regions that it has not measured: those of networks that are like it.
//!
//! Pure. Two networks are alike if their round trips to the regions that both have measured differ by one amount
//! alone, which is what their lines add. Then they are near each other as far as the network goes, whatever a map
//! says (binning by landmarks: Ratnasamy and others, INFOCOM 2002). Whoever knows a network's round trips can make others
//! that look like it, so all that one holder may have has one vote, of IPv4 and of IPv6 apart, as in `together`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::measurement::{Measurement, Network, Networks, Row};
use super::together::{Above, Enough, HELD, Voter, median_of};
use super::{LEAST_GAIN_MS, LEAST_GAIN_SHARE};
use crate::earth::Country;
use crate::prefix::{IpVersion, Prefix};

/// Regions that two networks must both have measured: one amount explains any two figures nearly as well.
const LEAST_SHARED: usize = 3;

/// Those of a country that each of its networks is compared with: the ones with the most figures.
const MOST_COMPARED: usize = 512;

/// Of these, the ones of one holder's block.
const MOST_OF_BLOCK: usize = 16;

/// Of those that are alike, the ones that are asked of a region.
const MOST_ASKED: usize = 8;

/// Of these, the ones of one system, but for the network's own.
const MOST_OF_SYSTEM: usize = 2;

/// A network's figures by region, in the regions' order.
type Profile = BTreeMap<Arc<str>, Measurement>;

/// A network among others.
#[derive(Clone, Copy)]
struct Peer<'a> {
    prefix: Prefix,
    asn: Option<u32>,
    profile: &'a Profile,
}

/// Figures of networks for regions that neither they nor the networks around them have measured.
pub fn alike(rows: &[Row], enough: Enough, above: impl Fn(IpAddr) -> Above) -> Vec<Row> {
    let profiles = profiles(rows);
    let regions: BTreeSet<&Arc<str>> = profiles.values().flat_map(Profile::keys).collect();
    let mut compatriots: HashMap<(Country, IpVersion), Vec<Peer<'_>>> = HashMap::new();
    for (prefix, profile) in &profiles {
        let (asn, country) = above(prefix.address());
        if let Some(country) = country {
            let key = (country, IpVersion::of(prefix.address()));
            compatriots.entry(key).or_default().push(Peer {
                prefix: *prefix,
                asn,
                profile,
            });
        }
    }
    let mut rows = Vec::new();
    for networks in compatriots.values_mut() {
        // The sort is stable, so that the same figures always choose the same.
        networks.sort_by_key(|peer| std::cmp::Reverse(peer.profile.len()));
        let compared = compared(networks);
        for own in networks
            .iter()
            .filter(|own| own.profile.len() < regions.len())
        {
            let missing = regions.iter().filter(|r| !own.profile.contains_key(**r));
            let near = nearest(own, &compared);
            rows.extend(missing.filter_map(|region| {
                Some(Row {
                    network: Network::Prefix(own.prefix),
                    region: (*region).clone(),
                    measurement: asked(own, &near, region, enough)?,
                })
            }));
        }
    }
    rows
}

/// The first of a country that the others are compared with.
fn compared<'a>(networks: &[Peer<'a>]) -> Vec<Peer<'a>> {
    let mut of_block: BTreeMap<Voter, usize> = BTreeMap::new();
    let has_room = |peer: &&Peer<'_>| {
        let count = of_block.entry(Voter::block(peer.prefix, HELD)).or_default();
        *count += 1;
        *count <= MOST_OF_BLOCK
    };
    let compared = networks.iter().filter(has_room);
    compared.take(MOST_COMPARED).copied().collect()
}

/// What is measured of prefixes, of each also what is measured of those around it.
fn profiles(rows: &[Row]) -> BTreeMap<Prefix, Profile> {
    let mut own: BTreeMap<Prefix, Profile> = BTreeMap::new();
    for row in rows {
        if let (Network::Prefix(prefix), None) = (row.network, row.measurement.networks) {
            let profile = own.entry(prefix).or_default();
            profile.entry(row.region.clone()).or_insert(row.measurement);
        }
    }
    let lengths: BTreeSet<u8> = own.keys().map(|prefix| prefix.length()).collect();
    let whole = own.iter().map(|(prefix, profile)| {
        let mut whole = profile.clone();
        for length in lengths.range(..prefix.length()).rev() {
            let around = own.get(&Prefix::around(prefix.address(), *length));
            for (region, measurement) in around.into_iter().flatten() {
                whole.entry(region.clone()).or_insert(*measurement);
            }
        }
        (*prefix, whole)
    });
    whole.collect()
}

/// A network that is like another, and what the other's line adds, ms.
type Near<'a> = (Peer<'a>, f64);

/// Those that are like a network, the likest first.
fn nearest<'a>(own: &Peer<'_>, compared: &[Peer<'a>]) -> Vec<Near<'a>> {
    if own.profile.len() < LEAST_SHARED {
        return Vec::new();
    }
    let mut near: Vec<(f64, Near<'a>)> = compared
        .iter()
        .filter(|other| other.prefix != own.prefix)
        .filter_map(|other| {
            let (line, off) = difference(own.profile, other.profile)?;
            Some((off, (*other, line)))
        })
        .collect();
    near.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    near.into_iter().map(|(_, near)| near).collect()
}

/// By how much one network's round trips are longer, and how far they are from differing by that alone, ms; none,
/// if by a real difference, or if too few tell.
fn difference(own: &Profile, other: &Profile) -> Option<(f64, f64)> {
    let shared: Vec<(f64, f64)> = own
        .iter()
        .filter_map(|(region, figure)| Some((figure.ms, other.get(region)?.ms)))
        .collect();
    if shared.len() < LEAST_SHARED {
        return None;
    }
    let mut lines: Vec<f64> = shared.iter().map(|(own, other)| own - other).collect();
    lines.sort_by(f64::total_cmp);
    let line = *lines.get(lines.len() / 2)?;
    let mut most_off = 0.0_f64;
    for (own, other) in shared {
        let off = (own - other - line).abs();
        if off > LEAST_GAIN_MS.max(own * LEAST_GAIN_SHARE) {
            return None;
        }
        most_off = most_off.max(off);
    }
    Some((line, most_off))
}

/// What the likest of those that have measured a region come to, one of each block and few of each system.
fn asked(
    own: &Peer<'_>,
    near: &[Near<'_>],
    region: &Arc<str>,
    enough: Enough,
) -> Option<Measurement> {
    let mut blocks = BTreeSet::new();
    let mut of_system: HashMap<u32, usize> = HashMap::new();
    let votes = near.iter().filter_map(|(peer, line)| {
        let figure = peer.profile.get(region)?;
        let ms = figure.ms + line;
        if ms <= 0.0 || !blocks.insert(Voter::block(peer.prefix, HELD)) {
            return None;
        }
        if let Some(asn) = peer.asn.filter(|_| peer.asn != own.asn) {
            let count = of_system.entry(asn).or_default();
            *count += 1;
            if *count > MOST_OF_SYSTEM {
                return None;
            }
        }
        Some((Measurement { ms, ..*figure }, 1))
    });
    let votes: Vec<(Measurement, u64)> = votes.take(MOST_ASKED).collect();
    let number = u32::try_from(votes.len()).ok()?;
    let figure = median_of(votes, enough)?;
    Some(Measurement {
        networks: Some(Networks::Alike(number)),
        ..figure
    })
}

#[cfg(test)]
#[path = "alike_tests.rs"]
mod tests;
