//! `listen`: where clients come in, and what they may take.

use std::net::SocketAddr;
use std::time::Duration;

use crate::prefix::Prefix;

/// What the edge listens on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// DNS over UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// DNS over TLS.
    pub dns_tls: Vec<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub https: Vec<SocketAddr>,
    /// Where clients find https, in the same order: once it is bound, the port that the system chose where 0 was asked for.
    pub https_ports: Vec<u16>,
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
    /// What clients are told of origins that fail.
    pub errors: ErrorDetail,
}

/// How much of an error is told to who is not to know the origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorDetail {
    /// Which origin failed, and why.
    Full,
    /// That one did.
    Brief,
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
    /// Bytes of memory that the process holds before it sheds requests; none: a share of what the system has for it; 0: any number.
    pub memory: Option<u64>,
}
