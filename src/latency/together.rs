//! What networks show of those around them that nobody has measured: a figure for the /16 or /32, the
//! autonomous system and the country that they lie in, and for the wide blocks that registries have given to a part of the
//! world.
//!
//! Pure. The median, one vote each network, so that whoever lies moves nobody else while the others are more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::measurement::{Measurement, Network, Networks, Row};
use crate::earth::Country;
use crate::prefix::Prefix;

/// What makes a figure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enough {
    /// Samples of a network, or of all that are taken together.
    pub samples: u32,
    /// Distinct addresses of a network; distinct networks of what they lie in.
    pub sources: usize,
}

/// The AS and the country of an address.
pub type Above = (Option<u32>, Option<Country>);

/// What an operator's rows of prefixes show of what these lie in.
pub fn together(rows: &[Row], enough: Enough, above: impl Fn(IpAddr) -> Above) -> Vec<Row> {
    let mut votes = Votes::default();
    for row in rows {
        if let Network::Prefix(prefix) = row.network {
            let above = above(prefix.address());
            votes.add(prefix, above, &row.region, row.measurement);
        }
    }
    let rows = votes.count(enough);
    let rows = rows.map(|((network, region), measurement)| Row {
        network,
        region,
        measurement,
    });
    rows.collect()
}

/// The votes of networks by what they lie in and by region.
#[derive(Default)]
pub(super) struct Votes(HashMap<(Network, Arc<str>), Vec<Vote>>);

/// A network's figure, and what the network lies in.
type Vote = (Above, Measurement);

impl Votes {
    /// A network's figure for a region.
    pub(super) fn add(
        &mut self,
        prefix: Prefix,
        above: Above,
        region: &Arc<str>,
        vote: Measurement,
    ) {
        let (asn, country) = above;
        let around = [
            covering(prefix).map(Network::Prefix),
            asn.map(Network::Asn),
            country.map(Network::Country),
        ];
        let wide = wide_lengths(prefix.address())
            .into_iter()
            .filter(|length| prefix.length() > *length)
            .map(|length| Network::Prefix(Prefix::around(prefix.address(), length)));
        for network in around.into_iter().flatten().chain(wide) {
            let key = (network, region.clone());
            self.0.entry(key).or_default().push((above, vote));
        }
    }

    /// What they come to, where there are enough.
    pub(super) fn count(
        self,
        enough: Enough,
    ) -> impl Iterator<Item = ((Network, Arc<str>), Measurement)> {
        self.0.into_iter().filter_map(move |(key, votes)| {
            let figure = match key.0 {
                Network::Prefix(prefix) if !is_wide(prefix) && !is_of_one(&votes) => None,
                Network::Prefix(_) | Network::Asn(_) | Network::Country(_) => {
                    median(votes.into_iter().map(|(_, vote)| vote).collect(), enough)
                }
            };
            Some((key, figure?))
        })
    }
}

/// The block that is commonly given out as a whole, so that who is in it is often near each other.
fn covering(prefix: Prefix) -> Option<Prefix> {
    let address = prefix.address();
    let length = if address.is_ipv4() { 16 } else { 32 };
    (prefix.length() > length).then(|| Prefix::around(address, length))
}

/// Lengths of wide blocks: registries are given IPv4 by the /8 and IPv6 by the /12, and give them on in their part of the
/// world.
fn wide_lengths(address: IpAddr) -> [u8; 2] {
    match address {
        IpAddr::V4(_) => [12, 8],
        IpAddr::V6(_) => [24, 12],
    }
}

/// Whether a block is so wide that it shows no more than a part of the world.
pub fn is_wide(prefix: Prefix) -> bool {
    wide_lengths(prefix.address()).contains(&prefix.length())
}

/// Whether a block is of one AS and country as far as it is measured: of a block that was given out in pieces,
/// some pieces say nothing of the others.
fn is_of_one(votes: &[Vote]) -> bool {
    votes.windows(2).all(|pair| match pair {
        [(one, _), (other, _)] => one == other,
        _ => true,
    })
}

/// The median of networks, one vote each, as fresh as the freshest; none, if they are too few.
pub(super) fn median(mut votes: Vec<Measurement>, enough: Enough) -> Option<Measurement> {
    // Samples that nobody has counted are an operator's affair.
    let samples = votes.iter().map(|vote| vote.samples);
    let samples = samples.reduce(|all, one| Some(all?.saturating_add(one?)))?;
    let is_few = samples.is_some_and(|samples| samples < enough.samples);
    if votes.len() < enough.sources || is_few {
        return None;
    }
    votes.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let median = *votes.get(votes.len() / 2)?;
    let at_ms = votes.iter().map(|vote| vote.at_ms).max()?;
    let trust = votes.iter().map(|vote| vote.trust).fold(0.0, f64::max);
    Some(Measurement {
        samples,
        at_ms,
        trust,
        networks: u32::try_from(votes.len()).ok().map(Networks::Within),
        ..median
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::measurement::Source;
    use super::*;

    const ENOUGH: Enough = Enough {
        samples: 6,
        sources: 3,
    };

    fn row(network: &str, ms: f64, samples: Option<u32>) -> Row {
        Row {
            network: network.parse().unwrap(),
            region: "r".into(),
            measurement: Measurement {
                ms,
                samples,
                at_ms: 0,
                source: Source::Import,
                trust: 1.0,
                networks: None,
            },
        }
    }

    /// Whatever begins with 10.1 is of AS 1, all else of AS 2; all is Dutch.
    fn above(address: IpAddr) -> Above {
        let is_one = address.to_string().starts_with("10.1.");
        (Some(if is_one { 1 } else { 2 }), "NL".parse().ok())
    }

    #[track_caller]
    fn check(rows: &[Row], expected: &[(&str, f64)]) {
        let mut found: Vec<(String, f64)> = together(rows, ENOUGH, above)
            .into_iter()
            .filter(|row| !matches!(row.network, Network::Prefix(prefix) if is_wide(prefix)))
            .map(|row| (row.network.to_string(), row.measurement.ms))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, ms)| ((*n).to_owned(), *ms))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn three_networks_show_what_their_neighbors_and_their_as_and_country_are_like() {
        let rows = [
            row("10.1.1.0/24", 20.0, None),
            row("10.1.2.0/24", 900.0, None),
            row("10.1.3.0/25", 22.0, None),
        ];
        check(&rows, &[("10.1.0.0/16", 22.0), ("AS1", 22.0), ("NL", 22.0)]);
        check(&rows[1..], &[]);
    }

    #[test]
    fn samples_count_where_they_are_counted() {
        let rows = |each| [1, 2, 3].map(|n| row(&format!("10.1.{n}.0/24"), 20.0, Some(each)));
        check(&rows(1), &[]);
        check(
            &rows(2),
            &[("10.1.0.0/16", 20.0), ("AS1", 20.0), ("NL", 20.0)],
        );
    }

    #[test]
    fn a_block_of_several_systems_shows_nothing_of_its_other_pieces() {
        let pieces = |address: IpAddr| {
            let is_first = address.to_string() == "10.1.1.0";
            (Some(u32::from(is_first)), None)
        };
        let rows = [1, 2, 3, 4].map(|n| row(&format!("10.1.{n}.0/24"), 20.0, None));
        let found = together(&rows, ENOUGH, pieces);
        let found: Vec<String> = found.iter().map(|row| row.network.to_string()).collect();
        assert_eq!(
            found
                .iter()
                .filter(|network| network.starts_with("AS"))
                .count(),
            1
        );
        assert!(!found.contains(&"10.1.0.0/16".to_owned()), "{found:?}");
    }

    #[test]
    fn wide_blocks_are_shown_by_all_that_is_measured_in_them_whosever_it_is() {
        let rows = [
            ("10.1.1.0/24", 20.0),
            ("10.2.1.0/24", 30.0),
            ("10.99.1.0/24", 40.0),
        ]
        .map(|(network, ms)| row(network, ms, None));
        let found = together(&rows, ENOUGH, |address| {
            (Some(u32::from(address.to_string() == "10.1.1.0")), None)
        });
        let found: Vec<(String, f64)> = found
            .into_iter()
            .map(|row| (row.network.to_string(), row.measurement.ms))
            .collect();
        assert_eq!(found, [("10.0.0.0/8".to_owned(), 30.0)]);
    }

    #[test]
    fn a_network_as_wide_as_a_block_says_nothing_of_itself() {
        let rows = [
            row("10.1.0.0/16", 20.0, None),
            row("10.0.0.0/8", 20.0, None),
        ];
        check(&rows, &[]);
    }

    proptest! {
        /// While most tell the truth nobody is moved out of its range.
        #[test]
        fn fewer_liars_than_honest_networks_move_nobody(
            honest in prop::collection::vec(10.0..20.0, 2..20),
            lies in prop::collection::vec(0.1..2_000.0, 1..20),
        ) {
            let liars = honest.len() - 1;
            let all: Vec<f64> = honest.iter().copied().chain(lies.into_iter().take(liars)).collect();
            let rows: Vec<Row> = (0..).zip(&all).map(|(n, ms): (u8, _)| row(&format!("10.1.{n}.0/24"), *ms, None)).collect();
            for row in together(&rows, ENOUGH, above) {
                prop_assert!((10.0..20.0).contains(&row.measurement.ms));
            }
        }
    }
}
