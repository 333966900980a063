//! A connection to a target, made as the target wants it, and requests over it, one after the other.

use bytes::Bytes;
use http::{Method, Request, Response, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::errno::Errno;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::probe::{Failure, Phases, Prober};
use super::target::{Target, TargetProtocol};

/// An open connection that speaks HTTP.
pub(super) struct Line {
    sender: Sender,
    scheme: &'static str,
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

enum Version {
    One,
    Two,
}

impl Prober {
    /// Connects, and notes how long each phase took; `None`: the target speaks no HTTP.
    pub(super) async fn dial(
        &self,
        target: &Target,
        phases: &mut Phases,
    ) -> Result<Option<Line>, Failure> {
        let started = Instant::now();
        let tcp = connect(target).await?;
        phases.connect = started.elapsed();
        let line = match target.protocol {
            TargetProtocol::Tcp => return Ok(None),
            TargetProtocol::Http => Line::open(tcp, Version::One, "http").await?,
            TargetProtocol::H2c => Line::open(tcp, Version::Two, "http").await?,
            TargetProtocol::Https => {
                let started = Instant::now();
                let tls = self.shake_hands(tcp).await?;
                phases.tls = started.elapsed();
                let version = match tls.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Version::Two,
                    Some(_) | None => Version::One,
                };
                Line::open(tls, version, "https").await?
            }
        };
        Ok(Some(line))
    }

    async fn shake_hands(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        let name = self.server_name.as_ref().unwrap_or(&self.check.host);
        let name = ServerName::try_from(name.to_string())
            .map_err(|_| Failure::Tls(format!("`{name}` is no server name")))?;
        TlsConnector::from(self.tls.clone())
            .connect(name, tcp)
            .await
            .map_err(|error| Failure::Tls(error.to_string()))
    }
}

/// Connects, and says first what the target wants to hear first.
async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let failed = |error: std::io::Error| {
        if is_exhaustion(&error) {
            Failure::Exhausted(error.to_string())
        } else {
            Failure::Connect(error.to_string())
        }
    };
    let mut tcp = TcpStream::connect((&*target.host, target.port))
        .await
        .map_err(failed)?;
    // Without it a probe's small writes may wait for an acknowledgement; failing to set it costs only time.
    let _ = tcp.set_nodelay(true);
    if let Some(version) = target.proxy_protocol {
        tcp.write_all(&version.announce_own())
            .await
            .map_err(failed)?;
    }
    Ok(tcp)
}

/// Whether there is no connection because this edge can open nothing more: that says nothing of the target.
fn is_exhaustion(error: &std::io::Error) -> bool {
    let Some(code) = error.raw_os_error() else {
        // The resolver has no code, and needs a socket too.
        return TcpSocket::new_v4().is_err_and(|error| is_exhaustion(&error));
    };
    matches!(
        Errno::from_raw(code),
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
    )
}

impl Line {
    async fn open<S>(io: S, version: Version, scheme: &'static str) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(io);
        let sender = match version {
            Version::One => {
                let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
                // Ends when the last answer has been read or dropped: the sender lives no longer.
                tokio::spawn(connection);
                Sender::One(sender)
            }
            Version::Two => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(failed)?;
                tokio::spawn(connection);
                Sender::Two(sender)
            }
        };
        Ok(Self { sender, scheme })
    }

    /// A request without a body, with its head as the version of HTTP has it.
    pub(super) fn request(
        &self,
        method: &Method,
        host: &str,
        target: &str,
        purpose: &str,
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let invalid = |error: http::Error| Failure::Http(error.to_string());
        let agent = format!("meridian/{} {purpose}", env!("CARGO_PKG_VERSION"));
        let builder = Request::builder()
            .method(method.clone())
            .header(header::USER_AGENT, agent)
            .header(header::ACCEPT, "*/*");
        let builder = match self.sender {
            Sender::One(_) => builder.uri(target).header(header::HOST, host),
            Sender::Two(_) => {
                let uri = Uri::builder().scheme(self.scheme).authority(host);
                let uri = uri.path_and_query(target).build().map_err(invalid)?;
                builder.uri(uri).version(http::Version::HTTP_2)
            }
        };
        builder.body(Empty::new()).map_err(invalid)
    }

    /// Sends a request once the one before is over.
    pub(super) async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await.map_err(failed)
            }
            Sender::Two(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await.map_err(failed)
            }
        }
    }
}

fn failed(error: hyper::Error) -> Failure {
    Failure::Http(error.to_string())
}
