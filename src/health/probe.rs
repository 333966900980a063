//! One probe: connect, shake hands, ask, and judge the answer; each phase timed.
//!
//! Uses hyper and rustls directly, because the phases are the point and a health check must not
//! obey proxy variables. The body is read up to [`BODY_BYTES`] and only if a match needs it.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::target::Target;
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
    /// This edge has no descriptor or memory left to connect with.
    #[error("this edge cannot open another connection: {0}")]
    Exhausted(String),
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
    /// Whether another one probes in the same way.
    pub fn is_like(&self, other: &Self) -> bool {
        self.check == other.check
            && self.server_name == other.server_name
            && Arc::ptr_eq(&self.tls, &other.tls)
    }

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
        let Some(mut line) = self.dial(target, &mut answer.phases).await? else {
            return Ok(());
        };
        let started = Instant::now();
        let check = &self.check;
        let request = line.request(&check.method, &check.host, &check.path, "health-check")?;
        let response = line.send(request).await?;
        answer.phases.first_byte = started.elapsed();
        answer.applied = said_applied(&response);
        self.judge(response).await
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
        let is_found = |beginning: &[u8]| {
            let mut windows = beginning.windows(text.len().max(1));
            text.is_empty() || windows.any(|window| window == text.as_bytes())
        };
        let beginning = beginning_of(response.into_body(), is_found).await?;
        if is_found(&beginning) {
            Ok(())
        } else {
            Err(Failure::Body)
        }
    }
}

/// What was learned before the probe succeeded, failed or ran out of time.
#[derive(Default)]
struct Answer {
    phases: Phases,
    applied: Option<String>,
}

/// What an answer says its readers see.
pub(super) fn said_applied(response: &Response<Incoming>) -> Option<String> {
    let value = response.headers().get("meridian-applied")?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The first bytes of a body, [`BODY_BYTES`] at most. It may go on for ever, so nobody waits for more than is enough.
pub(super) async fn beginning_of(
    mut body: Incoming,
    is_enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, Failure> {
    let mut beginning = Vec::new();
    while beginning.len() < BODY_BYTES && !is_enough(&beginning) {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| Failure::Http(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            beginning.extend_from_slice(data);
            beginning.truncate(BODY_BYTES);
        }
    }
    Ok(beginning)
}
