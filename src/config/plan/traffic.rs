//! `timeouts`, `retries` and `limits` of a service: what its requests and origins may take.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::units::Share;

/// How long origins may take; zero: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginTimeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// To the response head.
    pub first_byte: Duration,
    /// Without a byte either way.
    pub idle: Duration,
    /// The whole request.
    pub request: Duration,
}

/// Extra tries in other regions.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// How many.
    pub attempts: u8,
    /// Share of requests, at least 10 at a time.
    pub budget: Share,
    /// Which requests, beyond those of which nothing was sent.
    pub methods: RetryMethods,
    /// Statuses of answers that another region may better.
    pub on_status: Vec<RangeInclusive<u16>>,
    /// How long a try may take; zero: as long as the time-outs allow.
    pub per_try: Duration,
    /// The longest pause before the first retry; zero: none.
    pub backoff: Duration,
    /// When a second region is asked beside the first; zero: never.
    pub hedge_after: Duration,
    /// The longest body, bytes, that is kept to be sent again.
    pub buffer: usize,
}

impl Retries {
    /// Whether another region may better an answer of this status.
    pub fn names(&self, status: u16) -> bool {
        self.on_status.iter().any(|range| range.contains(&status))
    }
}

/// Which requests may be sent again although something of them was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryMethods {
    /// None.
    None,
    /// GET, HEAD, OPTIONS, TRACE, QUERY.
    Safe,
    /// The safe ones, PUT and DELETE.
    Idempotent,
}

/// Bounds on requests; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub body: u64,
    /// Bytes of a head: names, values and 4 each.
    pub headers: u64,
    /// Requests in flight to one region.
    pub in_flight_per_region: u32,
    /// The least bytes of a request's body in a second.
    pub body_rate: u64,
}
