//! The Plan: what the configuration means, with every default resolved and every name an id.
//!
//! Immutable, and made only by the compiler of this room. What an operator may leave out has its
//! default here already; an `Option` below means that the feature is off.

mod access_log;
mod admin;
mod affinity;
mod consistency;
mod dns;
mod geo;
mod health;
mod latency;
mod listen;
mod named;
mod node;
mod regions;
mod residency;
mod services;
mod source;
mod stand_in;
mod steering;
mod tls;
mod token_digest;
mod traffic;
mod writes;
mod zones;

pub use access_log::{AccessLog, LogTarget, LoggedQuery};
pub use admin::{AdminAccess, AdminTls, AdminToken, Role};
pub use affinity::{Affinity, AffinityBy};
pub use consistency::{
    Access, Consistency, Domain, Intent, MOST_VECTOR_ENTRIES, VersionForm, WhenUnsatisfiable,
};
pub use dns::{RateLimit, ServiceDns};
pub use geo::Geo;
pub use health::{HealthCheck, PassiveHealth, ProbeProtocol};
pub use latency::{Beacon, Latency};
pub use listen::{ClientLimits, ClientTimeouts, ErrorDetail, HttpMode, Listen, ProxyHeader};
pub use named::NotSteered;
pub use node::{Key, Node};
pub use regions::{Origin, OriginScheme, OriginUrl, Region};
pub use residency::{Residency, ResidencyBy};
pub use services::{HostPattern, Member, Service};
pub use source::{FileRef, SourceAt};
pub use steering::{ClientMatch, Override, Policy, WhenNoneHealthy};
pub use tls::{Certificate, ClientTls, ClientVerify, OriginTls, Tls};
pub use token_digest::TokenDigest;
pub use traffic::{Limits, OriginTimeouts, Retries, RetryMethods};
pub use writes::{Failover, RequestKey, Writes};
pub use zones::{Dnssec, SigningAlgorithm, Zone, ZoneRecord};

use crate::ids::{DomainId, OriginId, RegionId, ServiceId, Table};

/// The whole configuration, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// This edge.
    pub node: Node,
    /// What it listens on.
    pub listen: Listen,
    /// Certificates, and trust towards origins.
    pub tls: Tls,
    /// Access to the admin API.
    pub admin: AdminAccess,
    /// A line for every request; none: no log.
    pub access_log: Option<AccessLog>,
    /// Response rate limiting.
    pub rate_limit: Option<RateLimit>,
    /// Where clients are.
    pub geo: Geo,
    /// What is measured of their round trips.
    pub latency: Latency,
    /// Keys that sign cookies and tokens; the first signs. Empty: one is drawn for the process.
    pub keys: Vec<Key>,
    /// The regions.
    pub regions: Table<RegionId, Region>,
    /// Every region's origins.
    pub origins: Table<OriginId, Origin>,
    /// The services.
    pub services: Table<ServiceId, Service>,
    /// Consistency domains: services on one data store.
    pub domains: Table<DomainId, Domain>,
    /// The zones that DNS is authoritative for.
    pub zones: Vec<Zone>,
}
