//! The Plan: what the configuration means, with every default resolved and every name an id.
//!
//! Immutable, and made only by the compiler of this room. What an operator may leave out has its
//! default here already; an `Option` below means that the feature is off.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RData};
use http::HeaderName;

mod admin;

pub use admin::{AdminAccess, AdminTls, AdminToken, Role};

use crate::earth::{Country, GeoPoint};
use crate::ids::{DomainId, OriginId, RegionId, ServiceId, Table};
use crate::prefix::Prefix;
use crate::proxy_protocol;
use crate::units::{Secret, Share, Ttl};

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

/// How many CNAMEs are followed, as in answers.
const LONGEST_CHAIN: usize = 8;

impl Plan {
    /// Puts servers in the place of every region's origins: plain HTTP, with health checks to match.
    /// A region without such a server keeps none.
    pub fn stand_in(&mut self, server_of: impl Fn(&str) -> Option<SocketAddr>) {
        self.origins = Table::default();
        for id in self.regions.ids().collect::<Vec<_>>() {
            let server = server_of(&self.regions.of(id).name);
            let origin = server.map(|address| Origin {
                region: id,
                url: OriginUrl {
                    scheme: OriginScheme::Http,
                    host: address.ip().to_string().into(),
                    port: address.port(),
                },
            });
            let region = self.regions.of_mut(id);
            region.origins = origin
                .map(|origin| self.origins.push(origin))
                .into_iter()
                .collect();
            region.proxy_protocol = None;
        }
        for id in self.domains.ids().collect::<Vec<_>>() {
            let follow = &mut self.domains.of_mut(id).follow;
            *follow = follow.take().map(|_| "/follow".into());
        }
        for id in self.services.ids().collect::<Vec<_>>() {
            let health = &mut self.services.of_mut(id).health;
            health.protocol = None;
            health.port = None;
            health.path = "/health".into();
            health.method = http::Method::GET;
            health.statuses = vec![200..=399];
            health.body = None;
            health.min_healthy = 1;
        }
    }

    /// The region of this name.
    pub fn region(&self, name: &str) -> Option<RegionId> {
        self.regions
            .iter()
            .find(|(_, region)| &*region.name == name)
            .map(|(id, _)| id)
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<ServiceId> {
        self.services
            .iter()
            .find(|(_, service)| &*service.name == name)
            .map(|(id, _)| id)
    }

    /// The service that a name of the zones is steered by: one of its own, the end of its CNAMEs, or a
    /// wildcard's (RFC 4592 §3.3.1, without the names that stand between).
    pub fn service_for_name(&self, name: &str) -> Option<ServiceId> {
        let mut name = Name::from_ascii(name).ok()?.to_lowercase();
        name.set_fqdn(true);
        let steered = |wanted: &Name| {
            let mut names = self.zones.iter().flat_map(|zone| &zone.steered);
            let found = names.find(|(owner, _)| owner == wanted);
            found.map(|(_, service)| *service)
        };
        let alias = |owner: &Name| {
            let mut records = self.zones.iter().flat_map(|zone| &zone.records);
            records.find_map(|record| {
                let RData::CNAME(target) = &record.data else {
                    return None;
                };
                (record.owner == *owner).then(|| target.0.to_lowercase())
            })
        };
        for _ in 0..LONGEST_CHAIN {
            if let Some(service) = steered(&name) {
                return Some(service);
            }
            match alias(&name) {
                Some(target) => name = target,
                None => break,
            }
        }
        let above = std::iter::successors(Some(name), |name| {
            (!name.is_root()).then(|| name.base_name())
        });
        let mut wildcards = above
            .skip(1)
            .filter_map(|name| name.prepend_label("*").ok());
        wildcards.find_map(|wildcard| steered(&wildcard))
    }

    /// The service that answers for a host name: an exact host first, then the longest wildcard.
    /// A wildcard stands for one or more labels (RFC 4592 §2.1).
    pub fn service_for_host(&self, host: &str) -> Option<ServiceId> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let hosts = || {
            self.services
                .iter()
                .flat_map(|(id, service)| service.hosts.iter().map(move |h| (id, h)))
        };
        hosts()
            .find(|(_, pattern)| matches!(pattern, HostPattern::Exact(name) if **name == host))
            .or_else(|| {
                hosts()
                    .filter(|(_, pattern)| pattern.is_wildcard() && pattern.matches(&host))
                    .max_by_key(|(_, pattern)| pattern.name().len())
            })
            .map(|(id, _)| id)
    }
}

/// This edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Shown in NSID, Via, logs and the dashboard.
    pub name: Arc<str>,
    /// Where it stands.
    pub location: Option<GeoPoint>,
    /// The region that it stands in: its clients' round trips are round trips to that region.
    pub region: Option<Arc<str>>,
    /// Where health, drains and positions outlive a restart.
    pub state_dir: Option<PathBuf>,
    /// How long listeners stay open after SIGTERM, while `/readyz` says 503 already.
    pub drain_delay: Duration,
    /// How long in-flight requests get after that.
    pub drain_timeout: Duration,
    /// Where a new process asks to take over; absent: it cannot.
    pub upgrade_socket: Option<PathBuf>,
}

/// What the edge listens on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// DNS over UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// DNS over TLS.
    pub dns_tls: Vec<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// What plain HTTP does.
    pub http_mode: HttpMode,
    /// Dashboard, API and metrics.
    pub admin: Option<SocketAddr>,
    /// How long clients may take.
    pub timeouts: ClientTimeouts,
    /// What clients may take at once.
    pub limits: ClientLimits,
    /// Networks whose `X-Forwarded-*` and PROXY headers are believed.
    pub trusted_proxies: Vec<Prefix>,
    /// Whether they send PROXY headers.
    pub proxy_header: ProxyHeader,
}

/// Whether trusted proxies begin their connections with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// They do not: none is read.
    Off,
    /// One that is there is read.
    Optional,
    /// A connection of theirs without one is closed.
    Required,
}

/// What plain HTTP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMode {
    /// Sends every client to https.
    Redirect,
    /// Serves as https does.
    Serve,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a whole request head.
    pub headers: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// What clients may take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections; none: as many as the system's limit of open files allows; 0: any number.
    pub connections: Option<u32>,
    /// Connections of one network; 0: any number.
    pub connections_per_client: u32,
    /// Requests in flight; none: as many as the system's limit of open files allows; 0: any number.
    pub requests: Option<u32>,
    /// How late a worker may be, on and on, before it sheds requests; zero: it never does.
    pub delay: Duration,
}

/// A place in a configuration file, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAt {
    /// The file.
    pub file: Arc<std::path::Path>,
    /// Its line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

/// A file that the configuration names, resolved against the file that names it.
#[derive(Clone, Debug)]
pub struct FileRef {
    /// Where it is.
    pub path: PathBuf,
    /// Where it is named.
    pub at: SourceAt,
}

impl PartialEq for FileRef {
    /// The place of the mention does not matter: moving a line changes nothing.
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

/// Certificates, and trust towards origins.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Chosen by SNI; empty: a self-signed one for the configured hosts.
    pub certificates: Vec<Certificate>,
    /// Who clients of https listeners must be; none: anybody.
    pub clients: Option<ClientTls>,
    /// Towards https origins and probes.
    pub origins: OriginTls,
}

impl Tls {
    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.own_files().chain(self.origin_files())
    }

    /// Of those, what https listeners are made of.
    pub fn own_files(&self) -> impl Iterator<Item = &FileRef> {
        let certificates = self.certificates.iter().flat_map(|c| [&c.cert, &c.key]);
        let clients = self.clients.iter();
        certificates
            .chain(clients.flat_map(|clients| std::iter::once(&clients.ca).chain(&clients.crl)))
    }

    /// And what is needed towards origins.
    pub fn origin_files(&self) -> impl Iterator<Item = &FileRef> {
        let identity = self.origins.identity.iter();
        let identity = identity.flat_map(|identity| [&identity.cert, &identity.key]);
        self.origins.ca.iter().chain(identity)
    }
}

/// A certificate chain with its key, PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: FileRef,
    /// The private key.
    pub key: FileRef,
}

/// Which certificates of clients are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTls {
    /// The roots that they must lead to.
    pub ca: FileRef,
    /// What those have revoked; empty: nothing is looked up.
    pub crl: Vec<FileRef>,
    /// Whether a client must have one.
    pub verify: ClientVerify,
}

/// Whether a client must have a certificate. One that it shows is verified in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientVerify {
    /// Without one there is no connection.
    Required,
    /// Origins are told whether there is one.
    Optional,
}

/// Trust towards origins.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginTls {
    /// Roots to trust; none: the public ones.
    pub ca: Option<FileRef>,
    /// Whether certificates are verified.
    pub verify: bool,
    /// The name to ask for and verify; none: the request's host.
    pub server_name: Option<Arc<str>>,
    /// What the edge shows to origins and to what is probed, if they ask; none: nothing.
    pub identity: Option<Certificate>,
}

/// The access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogTarget,
    /// Of the requests that went well.
    pub sample: Share,
    /// What of a query is logged.
    pub query: LoggedQuery,
    /// Of requests, as they came.
    pub request_headers: Vec<HeaderName>,
    /// Of answers, as they leave.
    pub response_headers: Vec<HeaderName>,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error, among the edge's own log.
    Stderr,
    /// The end of a file, which is made if it is missing.
    File(FileRef),
}

/// What of a query is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedQuery {
    /// Without the values of parameters that bear secrets.
    Redacted,
    /// As it came.
    Full,
    /// Nothing.
    None,
}

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

/// Where clients are.
#[derive(Clone, Debug, PartialEq)]
pub struct Geo {
    /// A MaxMind-format file; none: the built-in table.
    pub database: Option<FileRef>,
    /// Clients of these networks are at that region. The longest match decides.
    pub networks: Vec<(Prefix, RegionId)>,
    /// Which autonomous system announces an address; none: nobody knows.
    pub asns: Option<FileRef>,
}

/// What is measured of clients' round trips. Regions are named, because what is measured outlives Plans.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// Files of what others have measured.
    pub imports: Vec<FileRef>,
    /// Whether the kernel's round trips of clients' connections count.
    pub connections: bool,
    /// What browsers are asked to measure; none: nothing.
    pub beacon: Option<Beacon>,
    /// How many samples a figure needs.
    pub min_samples: u32,
    /// How many distinct addresses a network's figure needs.
    pub quorum: u8,
}

impl Default for Latency {
    /// Nothing is measured.
    fn default() -> Self {
        Self {
            imports: Vec::new(),
            connections: false,
            beacon: None,
            min_samples: 10,
            quorum: 3,
        }
    }
}

impl Latency {
    /// Whether anything is sampled here.
    pub fn is_sampled(&self) -> bool {
        self.connections || self.beacon.is_some()
    }
}

/// What browsers are asked to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Beacon {
    /// Which share of page views measures.
    pub sample: Share,
    /// URLs that answer quickly, each in the region of its name.
    pub probes: Vec<(Arc<str>, String)>,
}

/// A key of the ring that signs affinity cookies and version tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Named in what it signs.
    pub id: u8,
    /// What it is derived from.
    pub secret: Secret,
}

/// A region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// As the operator calls it.
    pub name: Arc<str>,
    /// Where it stands; none: its distance to anybody is unknown.
    pub location: Option<GeoPoint>,
    /// A free label, for residency.
    pub jurisdiction: Option<Arc<str>>,
    /// What DNS answers.
    pub addresses: Vec<IpAddr>,
    /// What DNS answers instead, by CNAME: the name of a load balancer whose addresses are not the
    /// operator's to know. Lower case and absolute; there are no addresses then.
    pub alias: Option<Name>,
    /// Where the proxy connects.
    pub origins: Vec<OriginId>,
    /// The PROXY header that its origins want before anything else.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// Its share under `weighted`.
    pub weight: u32,
}

impl Region {
    /// Whether DNS has anything to answer for it.
    pub fn publishes(&self) -> bool {
        self.alias.is_some() || !self.addresses.is_empty()
    }
}

/// What the proxy connects to.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Where it belongs.
    pub region: RegionId,
    /// Its address.
    pub url: OriginUrl,
}

/// `scheme://host:port`; no path, no user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginUrl {
    /// How to speak to it.
    pub scheme: OriginScheme,
    /// A host name or an address, without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

/// How to speak to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginScheme {
    /// HTTP/1.1 in clear.
    Http,
    /// TLS, HTTP/2 or HTTP/1.1 by ALPN.
    Https,
    /// HTTP/2 in clear with prior knowledge.
    H2c,
}

impl std::fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            OriginScheme::Http => "http",
            OriginScheme::Https => "https",
            OriginScheme::H2c => "h2c",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

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
    /// How long a region that comes back takes to be given all of its clients; zero: at once.
    pub ramp: Duration,
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

/// How the health of a service's targets is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// None: the origin's; a service without origins: tcp.
    pub protocol: Option<ProbeProtocol>,
    /// None: the origin's; a service without origins: 443.
    pub port: Option<u16>,
    /// Host and SNI.
    pub host: Arc<str>,
    /// Begins with a slash.
    pub path: Arc<str>,
    /// Usually GET.
    pub method: http::Method,
    /// Statuses that pass.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Must stand in the first 5,120 bytes.
    pub body: Option<Arc<str>>,
    /// Between probes.
    pub interval: Duration,
    /// Between probes while results disagree with the state.
    pub recheck_interval: Duration,
    /// Of one probe.
    pub timeout: Duration,
    /// Consecutive failures to unhealthy.
    pub failure_threshold: NonZeroU8,
    /// Consecutive successes to healthy.
    pub success_threshold: NonZeroU8,
    /// Whether the certificate is verified.
    pub verify_tls: bool,
    /// Targets that must be healthy for the region to be.
    pub min_healthy: u16,
    /// What counts of real traffic; none: nothing does.
    pub passive: Option<PassiveHealth>,
}

/// What of real traffic takes an origin out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassiveHealth {
    /// Over which the success rate is taken, in ten parts.
    pub window: Duration,
    /// Fewer within the window give no rate.
    pub min_requests: u32,
    /// Below it an origin is ejected; 0: not for its rate.
    pub success_rate: Share,
    /// So many eject an origin; 0: none do.
    pub consecutive_failures: u32,
    /// The first ejection; the next ones are twice as long each.
    pub ejection: Duration,
    /// The longest, whatever the reason.
    pub max_ejection: Duration,
}

/// How a target is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeProtocol {
    /// An HTTP request in clear.
    Http,
    /// An HTTP request over TLS.
    Https,
    /// A connection.
    Tcp,
}

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
    /// The start of the path, on a segment's boundary.
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

/// What never leaves a set of regions.
#[derive(Clone, Debug, PartialEq)]
pub struct Residency {
    /// What decides.
    pub by: ResidencyBy,
    /// Label (a header's value or a country, upper case) → regions.
    pub allow: Vec<(Arc<str>, Vec<RegionId>)>,
}

/// What residency goes by.
#[derive(Clone, Debug, PartialEq)]
pub enum ResidencyBy {
    /// A request header's value.
    Header(http::HeaderName),
    /// The client's country.
    ClientCountry,
}

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

/// A zone: all that is not steered, as records.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The apex, lower case and absolute.
    pub origin: Name,
    /// Every record, SOA and NS included; owners are at or below the apex.
    pub records: Vec<ZoneRecord>,
    /// Names that services answer for, wildcards as `*`.
    pub steered: Vec<(Name, ServiceId)>,
    /// How it is signed; none: not at all.
    pub dnssec: Option<Dnssec>,
}

/// How a zone is signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Dnssec {
    /// Of keys that are made; those that are there keep theirs.
    pub algorithm: SigningAlgorithm,
    /// The folder of its keys, in BIND's format.
    pub keys: FileRef,
}

/// A DNSSEC algorithm (RFC 8624 §3.1 recommends these two for signing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningAlgorithm {
    /// RFC 6605.
    EcdsaP256Sha256,
    /// RFC 8080.
    Ed25519,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::EcdsaP256Sha256, Self::Ed25519];

    /// As DNSKEY, DS and RRSIG call it.
    pub fn number(self) -> u8 {
        match self {
            Self::EcdsaP256Sha256 => 13,
            Self::Ed25519 => 15,
        }
    }

    /// As IANA's registry calls it.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Self::Ed25519 => "ED25519",
        }
    }
}

/// A record of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneRecord {
    /// Lower case and absolute.
    pub owner: Name,
    /// Of its RRset.
    pub ttl: Ttl,
    /// The data.
    pub data: RData,
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

    #[test]
    fn an_ipv6_origin_shows_in_brackets() {
        let url = OriginUrl {
            scheme: OriginScheme::Https,
            host: "2001:db8::1".into(),
            port: 8443,
        };
        assert_eq!(url.to_string(), "https://[2001:db8::1]:8443");
    }
}
