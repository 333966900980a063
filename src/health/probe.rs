//! One probe: connect, shake hands, ask, and judge the answer; each phase timed.
//!
//! Uses hyper and rustls directly, because the phases are the point and a health check must not
//! obey proxy variables. The body is read up to [`BODY_BYTES`] and only if a match needs it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::target::{Target, TargetProtocol};
use crate::config::plan::HealthCheck;

/// How much of the body a match looks at (the contract).
pub(super) const BODY_BYTES: usize = 5_120;

/// How long each phase took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// To a TCP connection.
    pub connect: Duration,
    /// Then to a TLS session; zero without TLS.
    pub tls: Duration,
    /// Then from the request to the response head; zero for tcp.
    pub first_byte: Duration,
}

impl Phases {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.connect + self.tls + self.first_byte
    }

    /// One round trip with the origin's own time: the request's, or for tcp the connection's.
    pub fn round_trip(&self) -> Duration {
        if self.first_byte.is_zero() {
            self.connect
        } else {
            self.first_byte
        }
    }
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Name resolution, or no route, refused, reset.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The handshake or the certificate.
    #[error("TLS: {0}")]
    Tls(String),
    /// No answer that HTTP knows.
    #[error("no HTTP answer: {0}")]
    Http(String),
    /// The wrong status.
    #[error("status {0} is not expected")]
    Status(u16),
    /// The right status, the wrong text.
    #[error("the expected text is not in the first 5120 bytes")]
    Body,
    /// Too slow.
    #[error("no answer within {}", crate::units::show_duration(*.0))]
    Timeout(Duration),
}

/// What one probe found.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// When it was sent.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
    /// Phase by phase, or why not.
    pub outcome: Result<Phases, Failure>,
    /// What the answer says its readers see, passed or not.
    pub applied: Option<String>,
}

/// Makes probes of one service's targets.
#[derive(Clone)]
pub struct Prober {
    /// TLS as `health.verify_tls` and `tls.origins` want it.
    pub tls: Arc<rustls::ClientConfig>,
    /// What is asked and expected.
    pub check: Arc<HealthCheck>,
    /// The name to verify, where it is not the check's host.
    pub server_name: Option<Arc<str>>,
}

impl Prober {
    /// Probes once.
    pub async fn probe(&self, target: &Target) -> ProbeResult {
        let began = Instant::now();
        let mut answer = Answer::default();
        let outcome = match timeout(self.check.timeout, self.ask(target, &mut answer)).await {
            Ok(Ok(())) => Ok(answer.phases),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout(self.check.timeout)),
        };
        ProbeResult {
            began,
            ended: Instant::now(),
            outcome,
            applied: answer.applied,
        }
    }

    async fn ask(&self, target: &Target, answer: &mut Answer) -> Result<(), Failure> {
        let started = Instant::now();
        let mut tcp = TcpStream::connect((&*target.host, target.port))
            .await
            .map_err(|error| Failure::Connect(error.to_string()))?;
        // Without it a probe's small writes may wait for an acknowledgement; failing to set it costs only time.
        let _ = tcp.set_nodelay(true);
        answer.phases.connect = started.elapsed();
        if let Some(version) = target.proxy_protocol {
            tcp.write_all(&version.announce_own())
                .await
                .map_err(|error| Failure::Connect(error.to_string()))?;
        }
        match target.protocol {
            TargetProtocol::Tcp => Ok(()),
            TargetProtocol::Http => {
                self.exchange(TokioIo::new(tcp), HttpVersion::One, target, answer)
                    .await
            }
            TargetProtocol::H2c => {
                self.exchange(TokioIo::new(tcp), HttpVersion::Two, target, answer)
                    .await
            }
            TargetProtocol::Https => {
                let started = Instant::now();
                let tls = self.shake_hands(tcp).await?;
                answer.phases.tls = started.elapsed();
                let version = match tls.get_ref().1.alpn_protocol() {
                    Some(b"h2") => HttpVersion::Two,
                    Some(_) | None => HttpVersion::One,
                };
                self.exchange(TokioIo::new(tls), version, target, answer)
                    .await
            }
        }
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let name = self.server_name.as_ref().unwrap_or(&self.check.host);
        let name = ServerName::try_from(name.to_string())
            .map_err(|_| Failure::Tls(format!("`{name}` is no server name")))?;
        TlsConnector::from(self.tls.clone())
            .connect(name, tcp)
            .await
            .map_err(|error| Failure::Tls(error.to_string()))
    }

    async fn exchange<S>(
        &self,
        io: TokioIo<S>,
        version: HttpVersion,
        target: &Target,
        answer: &mut Answer,
    ) -> Result<(), Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let started = Instant::now();
        let request = self.request(version, target)?;
        let response = send(io, version, request).await?;
        answer.phases.first_byte = started.elapsed();
        answer.applied = response
            .headers()
            .get("meridian-applied")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        self.judge(response).await
    }

    fn request(
        &self,
        version: HttpVersion,
        target: &Target,
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let check = &self.check;
        let builder = Request::builder()
            .method(check.method.clone())
            .header(
                header::USER_AGENT,
                concat!("meridian/", env!("CARGO_PKG_VERSION"), " health-check"),
            )
            .header(header::ACCEPT, "*/*");
        let builder = match version {
            HttpVersion::One => builder.uri(&*check.path).header(header::HOST, &*check.host),
            HttpVersion::Two => {
                let scheme = if target.protocol == TargetProtocol::Https {
                    "https"
                } else {
                    "http"
                };
                let uri = Uri::builder()
                    .scheme(scheme)
                    .authority(&*check.host)
                    .path_and_query(&*check.path)
                    .build()
                    .map_err(|error| Failure::Http(error.to_string()))?;
                builder.uri(uri).version(http::Version::HTTP_2)
            }
        };
        builder
            .body(Empty::new())
            .map_err(|error| Failure::Http(error.to_string()))
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<(), Failure> {
        let status: StatusCode = response.status();
        let expected = |range: &std::ops::RangeInclusive<u16>| range.contains(&status.as_u16());
        if !self.check.statuses.iter().any(expected) {
            return Err(Failure::Status(status.as_u16()));
        }
        let Some(text) = &self.check.body else {
            return Ok(());
        };
        let beginning = beginning_of(response.into_body()).await?;
        let found = beginning
            .windows(text.len().max(1))
            .any(|window| window == text.as_bytes());
        if found || text.is_empty() {
            Ok(())
        } else {
            Err(Failure::Body)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HttpVersion {
    One,
    Two,
}

/// What was learned before the probe succeeded, failed or ran out of time.
#[derive(Default)]
struct Answer {
    phases: Phases,
    applied: Option<String>,
}

async fn send<S>(
    io: TokioIo<S>,
    version: HttpVersion,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| Failure::Http(error.to_string());
    match version {
        HttpVersion::One => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(failed)?;
            // Ends when the response has been read or dropped: the sender lives no longer.
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(failed)
        }
        HttpVersion::Two => {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(failed)?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(failed)
        }
    }
}

async fn beginning_of(mut body: Incoming) -> Result<Vec<u8>, Failure> {
    let mut beginning = Vec::new();
    while beginning.len() < BODY_BYTES {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| Failure::Http(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            beginning.extend_from_slice(data);
        }
    }
    beginning.truncate(BODY_BYTES);
    Ok(beginning)
}
