//! What has been measured: from which clients to which region, how long, by whom, and when.
//!
//! Pure. Regions are named, because measurements outlive reloads.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::earth::Country;
use crate::prefix::{IpVersion, Prefix};

/// The longest round trip that is believed: a geostationary satellite's, three times over.
pub const LONGEST_MS: f64 = 2_000.0;

/// Clients of a network, as measurements tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// Addresses.
    Prefix(Prefix),
    /// An autonomous system.
    Asn(u32),
    /// A country.
    Country(Country),
}

impl Network {
    /// The network that an address's samples are kept by: an IPv4 /24 or an IPv6 /48.
    pub fn around(address: IpAddr) -> Prefix {
        let address = address.to_canonical();
        Prefix::around(address, if address.is_ipv4() { 24 } else { 48 })
    }

    /// Whom an address's samples count as: an IPv4 address, or an IPv6 /56, all of which one customer may have
    /// (RFC 6177 §2).
    pub fn source(address: IpAddr) -> Prefix {
        let address = address.to_canonical();
        Prefix::around(address, if address.is_ipv4() { 32 } else { 56 })
    }
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a network: a prefix such as 203.0.113.0/24, an autonomous system such as AS64500, or a country such as JP is expected"
)]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let refused = || NotANetwork(text.to_owned());
        if let Ok(country) = text.parse() {
            return Ok(Self::Country(country));
        }
        match text.get(..2) {
            Some(mark) if mark.eq_ignore_ascii_case("AS") => {
                let number = text.get(2..).and_then(|number| number.parse().ok());
                number.map(Self::Asn).ok_or_else(refused)
            }
            _ => text.parse().map(Self::Prefix).map_err(|_| refused()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Asn(number) => write!(f, "AS{number}"),
            Self::Country(country) => country.fmt(f),
        }
    }
}

/// Who has measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file of the operator's.
    Import,
    /// The kernel, on connections of clients to this edge, which stands in the region.
    Connections,
    /// The kernel, on connections of clients near this edge; from here on the edge's own probes.
    Edge,
    /// Browsers, to the region itself.
    Beacon,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::Import, Self::Connections, Self::Edge, Self::Beacon];

    /// Whether a figure holds how far clients are from this edge.
    pub(super) fn is_of_way(self) -> bool {
        match self {
            Self::Connections | Self::Edge => true,
            Self::Import | Self::Beacon => false,
        }
    }

    /// As the API, the metrics and the state file call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Connections => "connections",
            Self::Edge => "edge",
            Self::Beacon => "beacon",
        }
    }
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// The round trip, ms.
    pub ms: f64,
    /// Of how many samples, if that is known.
    pub samples: Option<u32>,
    /// When the newest of them was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// By whom.
    pub source: Source,
    /// How much it counts against the model: 1 when fresh, less as it ages.
    pub trust: f64,
    /// Of which networks it is the median, if it is made of others'.
    pub networks: Option<Networks>,
}

/// Other networks whose median a figure is, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Networks {
    /// Those that lie within, which speak for clients of their own protocol.
    Within(IpVersion, u32),
    /// Those whose round trips to other regions are alike.
    Alike(u32),
}

impl Networks {
    /// How many.
    pub fn count(self) -> u32 {
        match self {
            Self::Within(_, count) | Self::Alike(count) => count,
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(_, count) => write!(f, "the median of {count} networks"),
            Self::Alike(count) => write!(f, "the median of {count} networks that are like it"),
        }
    }
}

/// A figure with what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// From which clients.
    pub network: Network,
    /// To which region.
    pub region: Arc<str>,
    /// How long.
    pub measurement: Measurement,
}

/// Whether it can be a round trip at all, ms.
pub fn is_round_trip(ms: f64) -> bool {
    ms > 0.0 && ms <= LONGEST_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for text in ["203.0.113.0/24", "2001:db8::/48", "AS64500", "JP"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("as1".parse(), Ok(Network::Asn(1)));
        for wrong in ["", "ASx", "Japan", "203.0.113.1/24", "AS99999999999", "é"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_addresses_of_a_56_are_one_source() {
        let source = |text: &str| Network::source(text.parse().unwrap()).to_string();
        assert_eq!(source("203.0.113.77"), "203.0.113.77/32");
        assert_eq!(source("::ffff:203.0.113.77"), "203.0.113.77/32");
        assert_eq!(source("2001:db8:1:2ff::3"), "2001:db8:1:200::/56");
    }

    #[test]
    fn samples_are_kept_by_the_24_or_the_48() {
        let around = |text: &str| Network::around(text.parse().unwrap()).to_string();
        assert_eq!(around("203.0.113.77"), "203.0.113.0/24");
        assert_eq!(around("::ffff:203.0.113.77"), "203.0.113.0/24");
        assert_eq!(around("2001:db8:1:2::3"), "2001:db8:1::/48");
    }
}
