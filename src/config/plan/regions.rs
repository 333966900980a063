//! `regions`: what DNS answers and where the proxy connects.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;

use crate::earth::GeoPoint;
use crate::ids::{OriginId, RegionId};
use crate::proxy_protocol;

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

    /// Whether there is anything to probe of it.
    pub fn is_probed(&self) -> bool {
        self.publishes() || !self.origins.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

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
