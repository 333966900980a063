//! `services`: hosts that are steered together, and their regions.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Affinity, Consistency, HealthCheck, Limits, OriginTimeouts, Override, Policy, Residency,
    Retries, ServiceDns, WhenNoneHealthy, Writes,
};
use crate::ids::RegionId;

/// Hosts that are steered together.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// As the operator calls it.
    pub name: Arc<str>,
    /// What it answers for.
    pub hosts: Vec<HostPattern>,
    /// Its regions in failover order, with their weights for this service.
    pub regions: Vec<Member>,
    /// How a region is chosen.
    pub policy: Policy,
    /// Before the policy; the first match wins.
    pub overrides: Vec<Override>,
    /// What happens when nobody is able.
    pub when_none_healthy: WhenNoneHealthy,
    /// How health is checked.
    pub health: HealthCheck,
    /// What keeps a client on its region.
    pub affinity: Option<Affinity>,
    /// Read-your-writes.
    pub consistency: Option<Consistency>,
    /// Where writes go.
    pub writes: Writes,
    /// What never leaves a set of regions.
    pub residency: Option<Residency>,
    /// Of origins.
    pub timeouts: OriginTimeouts,
    /// Extra tries in other regions.
    pub retries: Retries,
    /// Of requests.
    pub limits: Limits,
    /// What DNS answers.
    pub dns: ServiceDns,
    /// A drain that would leave fewer healthy regions is refused.
    pub min_regions: u16,
    /// How long a region that comes back takes to be given all of its clients; zero: at once; none: as its traffic asks.
    pub ramp: Option<Duration>,
}

/// A region of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// Which.
    pub region: RegionId,
    /// Its share under `weighted`; 0: only when no other region is able.
    pub weight: u32,
}

/// A host, lower case and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name.
    Exact(Arc<str>),
    /// Every name below this one.
    Wildcard(Arc<str>),
}

impl HostPattern {
    /// The name, without `*.`.
    pub fn name(&self) -> &str {
        match self {
            Self::Exact(name) | Self::Wildcard(name) => name,
        }
    }

    /// Whether it begins with `*.`.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// Whether a lower-case host is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(name) => host
                .strip_suffix(&**name)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_host_stands_for_names_below_it_only() {
        let wildcard = HostPattern::Wildcard("api.example.com".into());
        assert!(wildcard.matches("a.api.example.com"));
        assert!(wildcard.matches("a.b.api.example.com"));
        assert!(!wildcard.matches("api.example.com"));
        assert!(!wildcard.matches("xapi.example.com"));
        assert!(!wildcard.matches(".api.example.com"));
    }
}
