//! `writes` of a service: where they go.

use std::sync::Arc;

use crate::ids::RegionId;

/// Where writes go.
#[derive(Clone, Debug, PartialEq)]
pub enum Writes {
    /// Where reads go.
    Nearest,
    /// To one region.
    Primary {
        /// Which.
        region: RegionId,
        /// What happens when it is not able.
        failover: Failover,
    },
    /// To the key's home.
    Home {
        /// Where the key is.
        key: RequestKey,
        /// Explicit homes; every other key by rendezvous hashing.
        homes: Vec<(Arc<str>, RegionId)>,
    },
}

/// What happens to writes when the primary is not able.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// They go to the next of `regions`.
    Order,
    /// 503.
    None,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestKey {
    /// A header's value.
    Header(http::HeaderName),
    /// A cookie's value.
    Cookie(Arc<str>),
    /// A query parameter's value.
    Query(Arc<str>),
    /// A segment of the path, counted from 0.
    Path(usize),
}
