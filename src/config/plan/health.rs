//! `health` of a service: how its targets are checked, and what counts of its traffic.

use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::units::Share;

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
