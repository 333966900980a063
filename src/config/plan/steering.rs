//! `steering` of a service: how a region is chosen.

use crate::earth::Country;
use crate::ids::RegionId;
use crate::prefix::Prefix;

/// How a region is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// By round trip.
    Latency,
    /// By great circle from the client.
    Geo,
    /// By draw.
    Weighted,
    /// As listed.
    Priority,
}

/// These clients prefer those regions, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Who.
    pub clients: ClientMatch,
    /// Where to.
    pub prefer: Vec<RegionId>,
}

/// Some of the clients.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMatch {
    /// Of these countries.
    Country(Vec<Country>),
    /// Of this network.
    Network(Prefix),
}

/// What happens when nobody is able.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenNoneHealthy {
    /// The unhealthy come back, after them the drained.
    All,
    /// SERVFAIL, 503.
    None,
}
