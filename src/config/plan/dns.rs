//! `dns`, of the edge and of a service.

use crate::prefix::Prefix;
use crate::units::Ttl;

/// Response rate limiting over UDP, per /24 or /56.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Allowed each second.
    pub responses_per_second: u32,
    /// Every so-many-th response over the limit is sent truncated; 0: none is.
    pub slip: u32,
    /// Never limited.
    pub exempt: Vec<Prefix>,
}

/// What DNS answers for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceDns {
    /// In calm.
    pub ttl: Ttl,
    /// While a state may soon flip.
    pub ttl_min: Ttl,
    /// How many addresses.
    pub answers: u8,
}
