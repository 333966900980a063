//! `consistency` of a service: read-your-writes, and the domains of services on one data store.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::DomainId;

/// The most entries that a vector of positions may have: as many regions as may take writes in one domain.
pub const MOST_VECTOR_ENTRIES: usize = 16;

/// Services on one data store.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// As the operator calls it; by default the service's name.
    pub name: Arc<str>,
    /// How positions are written.
    pub version: VersionForm,
    /// The path of its origins that tells when they have applied more.
    pub follow: Option<Arc<str>>,
}

/// Read-your-writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Consistency {
    /// Whose positions.
    pub domain: DomainId,
    /// How long a read may wait.
    pub wait: Duration,
    /// What happens when nobody has caught up and the write's region is gone.
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// How long a writer stays on a region that reports no positions.
    pub pin: Duration,
    /// Of a token.
    pub ttl: Duration,
    /// Over this a region's replication is reported as behind.
    pub max_lag: Duration,
    /// The path of its origins that tells when they have applied more.
    pub follow: Option<Arc<str>>,
    /// Requests that read or write in spite of their method; the first match wins.
    pub intents: Vec<Intent>,
}

/// How positions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionForm {
    /// `SEQ` or `EPOCH:SEQ`.
    Integer,
    /// `16/B374D848`, with or without `TIMELINE:`.
    PgLsn,
}

/// What happens when nobody has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnsatisfiable {
    /// The nearest region answers, marked.
    Stale,
    /// 503.
    Fail,
}

/// Whether requests read or write, whatever their method says.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The start of the path, on a segment's boundary, in its normal form (`normal_path`).
    pub path: Arc<str>,
    /// None: every method.
    pub method: Option<http::Method>,
    /// What they do.
    pub is: Access,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Changes nothing.
    Read,
    /// May change something.
    Write,
}
