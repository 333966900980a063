//! `affinity` of a service: what keeps a client on its region.

use std::time::Duration;

/// What keeps a client on its region.
#[derive(Clone, Debug, PartialEq)]
pub struct Affinity {
    /// What tells clients apart.
    pub by: AffinityBy,
    /// How long a cookie holds.
    pub ttl: Duration,
    /// How long clients stay on a drained region, counted from the drain.
    pub drain: Duration,
}

/// What tells clients apart.
#[derive(Clone, Debug, PartialEq)]
pub enum AffinityBy {
    /// A sealed cookie.
    Cookie,
    /// A request header's value.
    Header(http::HeaderName),
    /// The client's address.
    ClientIp,
}
