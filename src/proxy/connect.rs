//! Connections to origins: TCP, TLS, and the HTTP version that comes of it.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bulk::Bulk;
use super::http1::Http1;
use super::http2::{Http2, Place};
use super::pool::Endpoint;
use super::problem::Problem;
use super::sockets::{prepare, watch_over};
use crate::config::plan::{OriginScheme, OriginUrl};

/// What a request is sent on.
pub(super) enum Sender {
    /// One exchange at a time.
    Http1(Http1),
    /// Many at once.
    Http2(Place),
}

/// Which HTTP versions will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever the origin prefers.
    Any,
    /// The same, on a connection that nobody has used.
    New,
    /// HTTP/1.1: an upgrade.
    Http1,
}

/// Connects, within the endpoint's time.
pub(super) async fn connect(endpoint: &Endpoint<'_>, wanted: Wanted) -> Result<Sender, Problem> {
    within(endpoint, establish(endpoint, wanted)).await
}

/// Waits for a connection no longer than the endpoint's time.
pub(super) async fn within<T>(
    endpoint: &Endpoint<'_>,
    connecting: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let limit = endpoint.limit();
    tokio::time::timeout(limit, connecting)
        .await
        .unwrap_or_else(|_| {
            Err(unreachable(
                endpoint.url,
                &format!(
                    "no connection within {}",
                    crate::units::show_duration(limit)
                ),
            ))
        })
}

fn unreachable(url: &OriginUrl, why: &str) -> Problem {
    Problem::Unreachable(format!("{url}: {why}"))
}

/// Whose fault it is that there is no connection.
fn not_connected(url: &OriginUrl, error: &io::Error) -> Problem {
    if is_local(error) {
        Problem::Isolated(format!("{url}: {error}"))
    } else {
        unreachable(url, &error.to_string())
    }
}

/// This edge cannot bind, route, resolve a name or open another socket: that says nothing of the origin.
fn is_local(error: &io::Error) -> bool {
    let Some(code) = error.raw_os_error() else {
        return true; // The resolver has no code.
    };
    matches!(
        Errno::from_raw(code),
        Errno::EADDRNOTAVAIL
            | Errno::EADDRINUSE
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EACCES
            | Errno::EPERM
            | Errno::EAFNOSUPPORT
    )
}

async fn establish(endpoint: &Endpoint<'_>, wanted: Wanted) -> Result<Sender, Problem> {
    let url = endpoint.url;
    match url.scheme {
        OriginScheme::Http => Ok(Sender::Http1(Http1::new(reach(endpoint).await?))),
        OriginScheme::H2c => http2(url, reach(endpoint).await?),
        OriginScheme::Https => {
            let stream = secure(endpoint, wanted).await?;
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => http2(url, stream),
                Some(_) | None => Ok(Sender::Http1(Http1::new(stream))),
            }
        }
    }
}

/// A new connection, without TLS.
async fn reach(endpoint: &Endpoint<'_>) -> Result<TcpStream, Problem> {
    let (url, began) = (endpoint.url, Instant::now());
    let mut tcp = TcpStream::connect((&*url.host, url.port))
        .await
        .map_err(|error| not_connected(url, &error))?;
    prepare(&tcp);
    watch_over(&tcp);
    if let Some(tried) = endpoint.tried {
        tried.connected(began.elapsed(), Duration::ZERO);
    }
    if let Some(header) = endpoint.proxy_header {
        tcp.write_all(header)
            .await
            .map_err(|error| unreachable(url, &error.to_string()))?;
    }
    Ok(tcp)
}

/// A new connection with TLS.
async fn secure(
    endpoint: &Endpoint<'_>,
    wanted: Wanted,
) -> Result<TlsStream<Bulk<TcpStream>>, Problem> {
    let config = match wanted {
        Wanted::Any | Wanted::New => &endpoint.tls.any,
        Wanted::Http1 => &endpoint.tls.http1,
    };
    let name = server_name(endpoint)?;
    let tcp = reach(endpoint).await?;
    let began = Instant::now();
    let stream = TlsConnector::from(config.clone())
        .connect(name, Bulk::new(tcp))
        .await
        .map_err(|error| insecure(endpoint, wanted, &error))?;
    if let Some(tried) = endpoint.tried {
        tried.connected(Duration::ZERO, began.elapsed());
    }
    Ok(stream)
}

/// What the origin's certificate is asked for.
fn server_name(endpoint: &Endpoint<'_>) -> Result<ServerName<'static>, Problem> {
    let name = endpoint.tls.server_name.as_deref();
    let name = name.unwrap_or(endpoint.host).trim_matches(['[', ']']);
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let url = endpoint.url;
        Problem::Unserved(format!("{url}: no certificate can have the name `{name}`"))
    })
}

/// Why there is no TLS.
fn insecure(endpoint: &Endpoint<'_>, wanted: Wanted, error: &io::Error) -> Problem {
    let why = format!("{}: TLS: {error}", endpoint.url);
    let is_picked = endpoint.tls.server_name.is_none() && endpoint.is_picked();
    let said = error.get_ref().and_then(|error| error.downcast_ref());
    if said.is_some_and(|said| is_of_the_question(said, is_picked, wanted)) {
        Problem::Unserved(why)
    } else {
        Problem::Unreachable(why)
    }
}

/// Whether a failure may be that of what was asked for: a name of the client's choice, or HTTP/1.1 of who has only HTTP/2.
fn is_of_the_question(failure: &rustls::Error, is_picked: bool, wanted: Wanted) -> bool {
    let is_of_name = matches!(
        failure,
        rustls::Error::AlertReceived(_)
            | rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )
    );
    let no_protocol = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    is_picked && is_of_name || wanted == Wanted::Http1 && *failure == no_protocol
}

fn http2<S>(url: &OriginUrl, stream: S) -> Result<Sender, Problem>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = Http2::open(stream).place();
    place
        .map(Sender::Http2)
        .ok_or_else(|| unreachable(url, "it takes no request on a new connection"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_edge_cannot_do_is_told_apart_from_what_an_origin_does_not() {
        let local = [
            Errno::EADDRNOTAVAIL,
            Errno::ENETUNREACH,
            Errno::EMFILE,
            Errno::EPERM,
        ];
        let remote = [
            Errno::ECONNREFUSED,
            Errno::ECONNRESET,
            Errno::ETIMEDOUT,
            Errno::EHOSTUNREACH,
        ];
        let is_local = |errno: &Errno| is_local(&io::Error::from(*errno));
        assert!(local.iter().all(is_local));
        assert!(!remote.iter().any(is_local));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_not_the_origin_s_fault() {
        let error = TcpStream::connect("nowhere.invalid:80").await.unwrap_err();
        assert!(is_local(&error), "{error:?}");
    }
}
