//! What an operator's files refute of what is sampled: figures that light does not allow beside theirs.
//!
//! Pure.

use std::collections::BTreeMap;

use super::measurement::{Network, Row};
use super::plausible::go_together;
use super::together::COVERING;
use crate::earth::GeoPoint;
use crate::prefix::Prefix;

/// A region's place, and how far it is, ms.
type Claim = (GeoPoint, f64);

/// What of a network's sampled figures no file says otherwise: of the network, or of a prefix around it that is narrower than a
/// /16 or /32. What is said of a wider one is not true of all that lies within. `place`: where a region is.
pub fn unrefuted<'r>(
    sampled: &'r [Row],
    imported: &[Row],
    place: impl Fn(&str) -> Option<GeoPoint>,
) -> Vec<&'r Row> {
    let claim = |row: &Row| Some((place(&row.region)?, row.measurement.ms));
    let mut told: BTreeMap<Prefix, Vec<Claim>> = BTreeMap::new();
    let mut networks: Vec<Prefix> = sampled.iter().filter_map(of_prefix).collect();
    if networks.is_empty() {
        return sampled.iter().collect();
    }
    networks.sort_unstable_by_key(|network| network.address());
    for row in imported {
        let around = of_prefix(row).filter(|around| is_narrow(*around));
        let Some((around, claim)) = around.zip(claim(row)) else {
            continue;
        };
        let first = networks.partition_point(|network| network.address() < around.address());
        let within = networks.iter().skip(first);
        for network in within.take_while(|network| around.contains(network.address())) {
            if network.length() >= around.length() {
                told.entry(*network).or_default().push(claim);
            }
        }
    }
    let is_refuted = |row: &Row| {
        let claims = of_prefix(row).and_then(|network| told.get(&network));
        let mut claims = claims.into_iter().flatten();
        claim(row).is_some_and(|own| claims.any(|claim| !go_together(own, *claim)))
    };
    sampled.iter().filter(|row| !is_refuted(row)).collect()
}

fn of_prefix(row: &Row) -> Option<Prefix> {
    match row.network {
        Network::Prefix(prefix) => Some(prefix),
        Network::Asn(_) | Network::Country(_) => None,
    }
}

fn is_narrow(prefix: Prefix) -> bool {
    prefix.length() > COVERING.of(prefix.address())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixtures::row;

    /// What is left of sampled figures to Tokyo beside files' to Virginia, which light reaches in 109 ms.
    fn left(sampled: &[(&str, f64)], imported: &[(&str, f64)]) -> Vec<String> {
        let rows = |rows: &[(&str, f64)], region| -> Vec<Row> {
            let rows = rows.iter();
            rows.map(|(network, ms)| row(network, region, *ms))
                .collect()
        };
        let place = |region: &str| match region {
            "tokyo" => GeoPoint::new(35.62, 139.78).ok(),
            "virginia" => GeoPoint::new(38.95, -77.45).ok(),
            _ => None,
        };
        let sampled = rows(sampled, "tokyo");
        let imported = rows(imported, "virginia");
        let left = unrefuted(&sampled, &imported, place);
        left.iter().map(|row| row.network.to_string()).collect()
    }

    #[test]
    fn a_figure_that_light_forbids_beside_a_file_s_does_not_count() {
        let sampled = [
            ("192.0.2.0/24", 30.0),
            ("198.51.100.0/24", 30.0),
            ("203.0.113.0/24", 160.0),
        ];
        let imported = [
            ("192.0.2.0/24", 45.0),
            ("198.51.101.0/24", 45.0),
            ("203.0.113.0/24", 45.0),
        ];
        let expected = ["198.51.100.0/24", "203.0.113.0/24"];
        assert_eq!(left(&sampled, &imported), expected);
    }

    #[test]
    fn a_file_speaks_for_what_lies_within_a_prefix_but_not_within_a_wide_one() {
        let sampled = [("192.0.2.0/24", 30.0), ("2001:db8:1::/48", 30.0)];
        let none: [&str; 0] = [];
        let narrow = [("192.0.0.0/17", 45.0), ("2001:db8::/33", 45.0)];
        assert_eq!(left(&sampled, &narrow), none);
        let wide = [("192.0.0.0/16", 45.0), ("2001:db8::/32", 45.0)];
        assert_eq!(left(&sampled, &wide).len(), 2);
        let less = [("192.0.2.0/25", 45.0), ("2001:db8:1:1::/64", 45.0)];
        assert_eq!(left(&sampled, &less).len(), 2);
        let of_others = [("AS64500", 45.0), ("JP", 45.0)];
        assert_eq!(left(&sampled, &of_others).len(), 2);
    }
}
