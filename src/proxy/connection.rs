//! The connection that requests come on, and what belongs to it alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderValue;

use super::accept::Face;
use super::pool::Pool;
use super::recognized::Recognized;
use crate::proxy_protocol::Ends;

/// A client's connection.
pub(super) struct Connection {
    pub(super) face: Face,
    /// Who connected: a proxy, where one stands before the edge.
    pub(super) peer: SocketAddr,
    /// Who is at the other end of it all, as far as connections tell.
    pub(super) ends: Ends,
    /// The client's address, as origins are told of it.
    pub(super) source_value: HeaderValue,
    pub(super) tls: Option<Tls>,
    /// Connections to origins that are told of these ends: they serve nobody else, and end with this one.
    pool: OnceLock<Arc<Pool>>,
    pub(super) recognized: Recognized,
    /// What its client did wrong, for which the edge ends it.
    wrong: OnceLock<String>,
}

/// What was agreed on in a TLS handshake.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) version: Option<String>,
    pub(super) cipher: Option<String>,
    pub(super) sni: Option<String>,
    pub(super) alpn: Option<String>,
    pub(super) is_resumed: bool,
    pub(super) handshake: Duration,
    /// The client's certificate, which was verified, as origins are told of it.
    pub(super) client_cert: Option<HeaderValue>,
}

impl Connection {
    pub(super) fn new(face: Face, peer: SocketAddr, ends: Ends, tls: Option<Tls>) -> Arc<Self> {
        let source = HeaderValue::try_from(ends.source.ip().to_canonical().to_string());
        Arc::new(Self {
            face,
            source_value: source.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            peer,
            ends,
            tls,
            pool: OnceLock::new(),
            recognized: Recognized::default(),
            wrong: OnceLock::new(),
        })
    }

    /// The client's address, before what `X-Forwarded-For` says.
    pub(super) fn source(&self) -> IpAddr {
        self.ends.source.ip().to_canonical()
    }

    /// Notes what its client did wrong, for which the edge ends it.
    pub(super) fn break_off(&self, wrong: String) {
        let _ = self.wrong.set(wrong); // The first is why.
    }

    /// What its client did wrong, if the edge ends it for that.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.wrong.get().map(String::as_str)
    }

    /// Connections to origins that are this client's alone; `shared` are its worker's.
    pub(super) fn pool(&self, shared: &Pool) -> &Arc<Pool> {
        self.pool.get_or_init(|| Arc::new(shared.of_client()))
    }
}
