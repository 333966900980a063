//! A client's connection from its first byte: a PROXY header is read from those who are believed, and what
//! came with it is read again by whoever comes next.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::ahead::Ahead;
use super::inbound::is_trusted;
use crate::config::plan::{Listen, ProxyHeader};
use crate::proxy_protocol::{Beginning, Ends, LONGEST_HEADER, Said, read};
use crate::registered::Registered;

static HEADERS: Registered<&str, 8> = Registered::new(
    |result| metrics::counter!("meridian_proxy_headers_total", "result" => *result),
);

/// Why a connection is closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// A header that is none.
    Malformed,
    /// None, where one is required.
    Missing,
    /// It did not arrive in time.
    Late,
    /// The peer ended, or the network did.
    Closed,
}

impl Refused {
    fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Missing => "missing",
            Self::Late => "late",
            Self::Closed => "closed",
        }
    }
}

/// Reads a PROXY header, if the peer is one that may send one; `None`: the connection is to be closed. The
/// ends are the client's, or else the connection's own, `peer` and `local`.
pub(super) async fn preread<S: AsyncRead + Unpin>(
    stream: S,
    own: Ends,
    listen: &Listen,
) -> Option<(Ahead<S>, Ends)> {
    let is_believed = listen.proxy_header != ProxyHeader::Off
        && is_trusted(own.source.ip().to_canonical(), &listen.trusted_proxies);
    let mut preread = Ahead {
        stream,
        ahead: BytesMut::new(),
    };
    if !is_believed {
        return Some((preread, own));
    }
    let header = preread.header(listen.proxy_header);
    let limit = listen.timeouts.handshake;
    let header = tokio::time::timeout(limit, header).await;
    match header.unwrap_or(Err(Refused::Late)) {
        Ok(None) => Some((preread, own)),
        Ok(Some(Said::Own)) => {
            count("own");
            Some((preread, own))
        }
        Ok(Some(Said::Passed(ends))) => {
            count("passed");
            Some((preread, ends))
        }
        Err(refused) => {
            // Who connects and says nothing, as load balancers do to see whether a port is open, does no wrong.
            if refused != Refused::Closed {
                count(refused.label());
            }
            tracing::debug!(peer = %own.source, why = refused.label(), "closed at its PROXY header");
            None
        }
    }
}

fn count(result: &'static str) {
    HEADERS.increment(&result);
}

impl<S: AsyncRead + Unpin> Ahead<S> {
    /// What the header says; none: there is none, and there need not be one.
    async fn header(&mut self, wanted: ProxyHeader) -> Result<Option<Said>, Refused> {
        loop {
            match read(&self.ahead) {
                Ok(Beginning::Header(said, length)) => {
                    self.ahead.advance(length);
                    return Ok(Some(said));
                }
                Ok(Beginning::None) if wanted == ProxyHeader::Required => {
                    return Err(Refused::Missing);
                }
                Ok(Beginning::None) => return Ok(None),
                Ok(Beginning::Unfinished) => self.read_more().await?,
                Err(_) => return Err(Refused::Malformed),
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), Refused> {
        self.ahead.reserve(LONGEST_HEADER);
        match self.stream.read_buf(&mut self.ahead).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Refused::Closed),
        }
    }
}
