//! What networks show of those around them that nobody has measured: a figure for the /16 or /32, the
//! autonomous system and the country that they lie in, and for the wide blocks that registries have given to a part of the
//! world.
//!
//! Pure. Whoever has one address of IPv6 has very many, so networks do not vote one by one: all that one holder may have
//! has one vote, of IPv4 and of IPv6 apart, and the median of the votes counts. A vote weighs as much as there are blocks in it,
//! at most a quarter of all. So whoever lies moves nobody else while the holders that tell the truth weigh more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::measurement::{Measurement, Network, Networks, Row, Source};
use crate::earth::Country;
use crate::prefix::{IpVersion, Prefix};

/// A system has at most one in so many of the votes of a country or a wide block, if there are as many systems.
const LARGEST_SHARE: u64 = 4;

/// What makes a figure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enough {
    /// Samples of a network, or of all that have one vote together.
    pub samples: u32,
    /// Distinct addresses of a network, or of all that have one vote together; distinct votes.
    pub sources: usize,
    /// Which sources are switched off: what was last measured by one counts for nothing until it is on again.
    pub off: &'static [Source],
}

/// The AS and the country of an address.
pub type Above = (Option<u32>, Option<Country>);

/// What an operator's rows of prefixes show of what these lie in.
pub fn together(rows: &[Row], enough: Enough, above: impl Fn(IpAddr) -> Above) -> Vec<Row> {
    let mut votes = Votes::default();
    for row in rows {
        if let Network::Prefix(prefix) = row.network {
            votes.add(
                &row.region,
                Vote {
                    prefix,
                    above: above(prefix.address()),
                    measurement: row.measurement,
                    sources: None,
                },
            );
        }
    }
    let rows = votes.count(enough);
    let rows = rows.map(|((network, _, region), measurement)| Row {
        network,
        region,
        measurement,
    });
    rows.collect()
}

/// A network's figure, and what the network lies in.
#[derive(Clone, Copy)]
pub(super) struct Vote {
    pub(super) prefix: Prefix,
    pub(super) above: Above,
    pub(super) measurement: Measurement,
    /// How many have measured it; `None`: an operator says so, and that is enough.
    pub(super) sources: Option<usize>,
}

/// Whose votes count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Voter {
    /// All of a system.
    System(u32),
    /// All of a block.
    Block(Prefix),
}

impl Voter {
    /// All that one holder may have: the system, or where that is not known the block of what one registry gives to one holder.
    pub(super) fn holder(prefix: Prefix, (asn, _): Above) -> Self {
        asn.map_or_else(|| Self::block(prefix, HELD), Self::System)
    }

    /// The block of this length around, or the prefix itself if that is wider.
    pub(super) fn block(prefix: Prefix, lengths: Lengths) -> Self {
        let length = lengths.of(prefix.address()).min(prefix.length());
        Self::Block(Prefix::around(prefix.address(), length))
    }
}

/// How long the prefixes of blocks are.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    v4: u8,
    v6: u8,
}

impl Lengths {
    pub(super) fn of(self, address: IpAddr) -> u8 {
        match IpVersion::of(address) {
            IpVersion::V4 => self.v4,
            IpVersion::V6 => self.v6,
        }
    }
}

/// Blocks that are commonly given out as a whole, so that who is in one is often near each other.
pub(super) const COVERING: Lengths = Lengths { v4: 16, v6: 32 };

/// What one holder may have whole: registries give up to a /29 of IPv6 to whoever asks (RIPE-738 §5.1.2).
pub(super) const HELD: Lengths = Lengths { v4: 16, v6: 28 };

/// What has a vote in its /16 or /32. One customer of IPv6 may have many of the /48s by which samples are kept.
const WITHIN: Lengths = Lengths { v4: 24, v6: 40 };

/// Whose clients a figure is about, and which region.
pub(super) type Key = (Network, IpVersion, Arc<str>);

/// The votes of networks by what they lie in and by region.
#[derive(Default)]
pub(super) struct Votes(HashMap<Key, Vec<Vote>>);

impl Votes {
    /// A network's figure for a region.
    pub(super) fn add(&mut self, region: &Arc<str>, vote: Vote) {
        let (asn, country) = vote.above;
        let address = vote.prefix.address();
        let around = [asn.map(Network::Asn), country.map(Network::Country)];
        let [wide, widest] = wide_lengths(address);
        let blocks = [COVERING.of(address), wide, widest].into_iter();
        let blocks = blocks
            .filter(|length| vote.prefix.length() > *length)
            .map(|length| Network::Prefix(Prefix::around(address, length)));
        for network in around.into_iter().flatten().chain(blocks) {
            let key = (network, IpVersion::of(address), region.clone());
            self.0.entry(key).or_default().push(vote);
        }
    }

    /// What they come to, where there are enough.
    pub(super) fn count(self, enough: Enough) -> impl Iterator<Item = (Key, Measurement)> {
        self.0.into_iter().filter_map(move |(key, votes)| {
            let (network, version, _) = key;
            let figure = figure(network, version, &votes, enough)?;
            Some((key, figure))
        })
    }
}

/// What votes come to for whom they lie in.
fn figure(
    network: Network,
    version: IpVersion,
    votes: &[Vote],
    enough: Enough,
) -> Option<Measurement> {
    let heard = |lengths| heard(votes, |vote| Voter::block(vote.prefix, lengths), enough);
    let by_block = |lengths| tally(&heard(lengths), enough);
    let figure = match network {
        Network::Prefix(prefix) if !is_wide(prefix) => {
            let heard = heard(WITHIN);
            tally(&heard, enough).filter(|_| is_of_one(&heard))
        }
        // Small systems have no three blocks of IPv4. Of IPv6 the block that they have has a figure of its own.
        Network::Asn(_) => match version {
            IpVersion::V4 => by_block(COVERING).or_else(|| by_block(WITHIN)),
            IpVersion::V6 => by_block(COVERING),
        },
        Network::Prefix(_) | Network::Country(_) => {
            let holder = |vote: &Vote| Voter::holder(vote.prefix, vote.above);
            tally(&self::heard(votes, holder, enough), enough)
        }
    };
    figure.map(|(networks, measurement)| Measurement {
        networks: Some(Networks::Within(version, networks)),
        ..measurement
    })
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
fn is_of_one(heard: &Heard<'_>) -> bool {
    let mut above = heard.values().flatten().map(|vote| vote.above);
    let first = above.next();
    above.all(|other| Some(other) == first)
}

/// The networks of each who is heard.
type Heard<'a> = BTreeMap<Voter, Vec<&'a Vote>>;

/// Those who have enough to be heard.
fn heard(votes: &[Vote], voter: impl Fn(&Vote) -> Voter, enough: Enough) -> Heard<'_> {
    let mut of_each = Heard::new();
    for vote in votes {
        of_each.entry(voter(vote)).or_default().push(vote);
    }
    of_each.retain(|_, votes| is_heard(votes, enough));
    of_each
}

/// Of how many networks the median of the votes is, and that median; none, if the votes are too few.
fn tally(of_each: &Heard<'_>, enough: Enough) -> Option<(u32, Measurement)> {
    let networks = of_each.values().map(Vec::len).sum::<usize>();
    let ballots = of_each.values().filter_map(|votes| {
        let blocks: BTreeSet<Voter> = votes.iter().map(|v| Voter::block(v.prefix, HELD)).collect();
        let figures = votes.iter().map(|vote| (vote.measurement, 1)).collect();
        Some((median(figures)?, u64::try_from(blocks.len()).ok()?))
    });
    let figure = median_of(ballots.collect(), enough)?;
    Some((u32::try_from(networks).ok()?, figure))
}

/// Whether all that have one vote are enough: what an operator says is.
fn is_heard(votes: &[&Vote], enough: Enough) -> bool {
    let sources = votes.iter().map(|vote| vote.sources);
    let samples = votes.iter().filter_map(|vote| vote.measurement.samples);
    sources.sum::<Option<usize>>().is_none_or(|sources| {
        sources >= enough.sources && samples.fold(0, u32::saturating_add) >= enough.samples
    })
}

/// A figure that is voted for, and how much the vote weighs.
type Ballot = (Measurement, u64);

/// The median of votes, if there are enough and none weighs too much.
pub(super) fn median_of(mut ballots: Vec<Ballot>, enough: Enough) -> Option<Measurement> {
    let most = heaviest(ballots.iter().map(|(_, weight)| *weight));
    for (_, weight) in &mut ballots {
        *weight = most.min(*weight);
    }
    let is_quorate = ballots.len() >= enough.sources;
    // Samples that nobody has counted are an operator's affair.
    let figure = median(ballots).filter(|_| is_quorate)?;
    let is_few = figure
        .samples
        .is_some_and(|samples| samples < enough.samples);
    (!is_few).then_some(figure)
}

/// What a vote may weigh, so that none is more than its share of all; 1, if there are too few for that.
fn heaviest(weights: impl Iterator<Item = u64> + Clone) -> u64 {
    let mut most = weights.clone().max().unwrap_or(1);
    loop {
        let share = weights.clone().map(|weight| weight.min(most)).sum::<u64>() / LARGEST_SHARE;
        if share >= most {
            return most;
        }
        if share <= 1 {
            return 1;
        }
        most = share;
    }
}

/// The weighted median, of all their samples together and as fresh as the freshest.
fn median(mut ballots: Vec<Ballot>) -> Option<Measurement> {
    let samples = ballots.iter().map(|(vote, _)| vote.samples);
    let samples = samples.reduce(|all, one| Some(all?.saturating_add(one?)))?;
    let at_ms = ballots.iter().map(|(vote, _)| vote.at_ms).max()?;
    let trust = ballots.iter().map(|(vote, _)| vote.trust);
    let trust = trust.fold(0.0, f64::max);
    ballots.sort_by(|(a, _), (b, _)| a.ms.total_cmp(&b.ms));
    let all: u64 = ballots.iter().map(|(_, weight)| weight).sum();
    let mut left = all / 2;
    let median = ballots.into_iter().find(|(_, weight)| {
        let is_reached = left < *weight;
        left = left.saturating_sub(*weight);
        is_reached
    });
    Some(Measurement {
        samples,
        at_ms,
        trust,
        ..median?.0
    })
}

#[cfg(test)]
#[path = "together_tests.rs"]
mod tests;
