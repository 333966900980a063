//! What a network's own round trips say of regions that it has not measured: those of networks that are like it.
//!
//! Pure. Two networks are alike if their round trips to the regions that both have measured differ by one amount
//! alone, which is what their lines add. Then they are near each other as far as the network goes, whatever a map
//! says (binning by landmarks: Ratnasamy and others, INFOCOM 2002). One network is one vote, as in `together`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::measurement::{Measurement, Network, Networks, Row};
use super::together::{Enough, median};
use super::{LEAST_GAIN_MS, LEAST_GAIN_SHARE};
use crate::earth::Country;
use crate::prefix::Prefix;

/// Regions that two networks must both have measured: one amount explains any two figures nearly as well.
const LEAST_SHARED: usize = 3;

/// Those of a country that each of its networks is compared with: the ones with the most figures.
const MOST_COMPARED: usize = 512;

/// Of those that are alike, the ones that are asked of a region.
const MOST_ASKED: usize = 8;

/// A network's figures by region, in the regions' order.
type Profile = BTreeMap<Arc<str>, Measurement>;

/// Figures of networks for regions that neither they nor the networks around them have measured.
pub fn alike(
    rows: &[Row],
    enough: Enough,
    country: impl Fn(IpAddr) -> Option<Country>,
) -> Vec<Row> {
    let profiles = profiles(rows);
    let regions: BTreeSet<&Arc<str>> = profiles.values().flat_map(Profile::keys).collect();
    let mut compatriots: HashMap<Country, Vec<(Prefix, &Profile)>> = HashMap::new();
    for (prefix, profile) in &profiles {
        if let Some(country) = country(prefix.address()) {
            compatriots
                .entry(country)
                .or_default()
                .push((*prefix, profile));
        }
    }
    let mut rows = Vec::new();
    for networks in compatriots.values_mut() {
        // The sort is stable, so that the same figures always choose the same.
        networks.sort_by_key(|(_, profile)| std::cmp::Reverse(profile.len()));
        let compared = networks.get(..MOST_COMPARED).unwrap_or(networks);
        for (prefix, profile) in networks.iter().filter(|(_, p)| p.len() < regions.len()) {
            let missing = regions.iter().filter(|r| !profile.contains_key(**r));
            let near = nearest((*prefix, profile), compared);
            rows.extend(missing.filter_map(|region| {
                Some(Row {
                    network: Network::Prefix(*prefix),
                    region: (*region).clone(),
                    measurement: asked(&near, region, enough)?,
                })
            }));
        }
    }
    rows
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
type Near<'a> = (&'a Profile, f64);

/// Those that are like a network, the likest first.
fn nearest<'a>(
    (prefix, own): (Prefix, &Profile),
    compared: &[(Prefix, &'a Profile)],
) -> Vec<Near<'a>> {
    if own.len() < LEAST_SHARED {
        return Vec::new();
    }
    let mut near: Vec<(f64, Near<'a>)> = compared
        .iter()
        .filter(|(other, _)| *other != prefix)
        .filter_map(|(_, other)| {
            let (line, off) = difference(own, other)?;
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

/// What the likest of those that have measured a region come to.
fn asked(near: &[Near<'_>], region: &Arc<str>, enough: Enough) -> Option<Measurement> {
    let votes = near.iter().filter_map(|(profile, line)| {
        let figure = profile.get(region)?;
        let ms = figure.ms + line;
        (ms > 0.0).then_some(Measurement { ms, ..*figure })
    });
    let votes: Vec<Measurement> = votes.take(MOST_ASKED).collect();
    let number = u32::try_from(votes.len()).ok()?;
    let figure = median(votes, enough)?;
    Some(Measurement {
        networks: Some(Networks::Alike(number)),
        ..figure
    })
}

#[cfg(test)]
#[path = "alike_tests.rs"]
mod tests;
