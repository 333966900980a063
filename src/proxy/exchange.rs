//! One request to one origin and its answer, on a kept or a new connection.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::uri::{self, PathAndQuery};
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::activity::{Activity, Over};
use super::body::{Body, Source};
use super::connect::{self, Sender};
use super::expect::Wanted;
use super::http1::{Http1, RequestHead, Unanswered};
use super::http2::{self, Place, check_answer};
use super::interim::Interim;
use super::pool::{Endpoint, Lease, Pool};
use super::problem::Problem;
use super::websocket::{as_connect, as_switch, is_asked_for};
use crate::config::plan::OriginScheme;
use crate::units::show_duration;

/// Kept connections that may turn out closed, or end, before a new one is opened.
pub(super) const MOST_STALE: usize = 3;

/// What an exchange came to.
pub(super) enum Exchanged {
    /// The origin answered; the lease is held until the body has ended.
    Answered(Response<Source>, Lease),
    /// Nothing of the request was sent: here is its body back.
    Unsent(Problem, Body),
    /// The origin says that it has not looked at the request.
    Refused(Problem),
    /// The same, on a connection of others that it ends, or on which it takes fewer requests at once than could be known.
    Left(Problem),
    /// Something of it was sent, and no answer came.
    Lost(Problem),
    /// Something of it was sent, its connection was closed without a word, and the origin takes nothing any more; or it was found
    /// down.
    Gone(Problem),
}

/// The connection was closed after something was sent, and without a word. One that was kept may have been closed before.
struct Closed(Problem);

impl From<Closed> for Exchanged {
    fn from(Closed(problem): Closed) -> Self {
        Self::Lost(problem)
    }
}

/// A request but for its body.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) parts: &'a Parts,
    /// Its body once more, if it may be sent twice.
    pub(super) again: Option<&'a Body>,
    /// Whether another origin may be asked for what this one has lost.
    pub(super) may_pass: bool,
}

/// How long an origin may take to answer.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    /// From the last byte of the request to the head of the answer; zero: any time.
    pub(super) first_byte: Duration,
    /// The longest pause in the request itself, which is the client's; zero: any.
    pub(super) idle: Duration,
    /// How long the whole try may take, and when that is over; none: any time.
    pub(super) per_try: Option<(Duration, Instant)>,
    /// When a byte last passed.
    pub(super) activity: &'a Activity,
    /// Whether nobody should wait for it any longer.
    pub(super) is_in_vain: &'a (dyn Fn() -> bool + Sync),
    /// Where what it says before goes.
    pub(super) interim: Option<&'a Interim>,
}

/// What has taken too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Late {
    #[error("no answer within {}", show_duration(*.0))]
    Unanswered(Duration),
    #[error("it took no more of the request for {}", show_duration(*.0))]
    Untaken(Duration),
    #[error("its health checks fail, and it has not answered yet")]
    Down,
    #[error("the client sends no more of the request")]
    Stalled,
}

/// A client's pause is found out by its body; only after this much more is the origin to blame, which
/// takes no more of it.
const CLIENT_FIRST: Duration = Duration::from_secs(1);

/// How long an HTTP/2 origin's settings may take when a WebSocket waits for them.
const SETTINGS_WITHIN: Duration = Duration::from_secs(2);

impl Patience<'_> {
    /// Waits for an answer; why no longer, otherwise.
    async fn wait<T>(&self, sending: impl Future<Output = T>) -> Result<T, Late> {
        let limit = || self.limit();
        let quiet = self
            .activity
            .unless_quieter(limit, self.is_in_vain, sending);
        let quiet = pin!(quiet);
        let answered = match self.per_try {
            None => quiet.await,
            Some((per_try, until)) => match tokio::time::timeout_at(until, quiet).await {
                Ok(answered) => answered,
                Err(_) => return Err(Late::Unanswered(per_try)),
            },
        };
        answered.map_err(|over| match (over, self.activity.is_uploading()) {
            (Over::Vain, _) => Late::Down,
            (Over::Quiet, true)
                if self.activity.awaits_client() || self.activity.awaits_anybody() =>
            {
                Late::Stalled
            }
            (Over::Quiet, true) => Late::Untaken(self.limit()),
            (Over::Quiet, false) => Late::Unanswered(self.first_byte),
        })
    }

    /// Waits for something else that the try may take time for; none: there is none left.
    async fn within<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        match self.per_try {
            None => Some(waiting.await),
            Some((_, until)) => tokio::time::timeout_at(until, waiting).await.ok(),
        }
    }

    /// How long nothing may happen at this moment.
    fn limit(&self) -> Duration {
        if self.first_byte.is_zero() || !self.activity.is_uploading() {
            self.first_byte
        } else {
            self.first_byte.max(self.idle + CLIENT_FIRST)
        }
    }
}

/// Sends and waits for the head of the answer.
pub(super) async fn exchange(
    pool: &Arc<Pool>,
    endpoint: &Endpoint<'_>,
    wanted: connect::Wanted,
    request: Outgoing<'_>,
    mut body: Body,
    patience: Patience<'_>,
) -> Exchanged {
    let mut stale = 0;
    loop {
        let leased = if stale < MOST_STALE {
            pool.lease(endpoint, wanted).await
        } else {
            Box::pin(pool.fresh(endpoint, wanted)).await
        };
        let (sender, lease) = match leased {
            Ok(leased) => leased,
            Err(problem) => return Exchanged::Unsent(problem, body),
        };
        let was_kept = lease.reused;
        let shared = matches!(sender, Sender::Http2(_)).then(Instant::now);
        let parts = request.parts;
        match send(sender, lease, endpoint, parts, body, patience).await {
            // Closed while it was kept: the next one, or a new one.
            Ok(Exchanged::Unsent(Problem::Unreachable(_), unsent)) if was_kept => {
                (body, stale) = (unsent, stale + 1);
            }
            Err(closed) => {
                let again = request.again.filter(|_| was_kept).and_then(Body::copy);
                // Another HTTP/2 connection may have been made since, for others.
                let shared = shared.filter(|_| wanted == connect::Wanted::Any);
                let anew = Anew {
                    pool,
                    endpoint,
                    wanted,
                    shared,
                };
                // Boxed: it is rare, and no part of every request's future.
                let after = after_close(closed, anew, request, again, patience);
                return Box::pin(after).await;
            }
            Ok(sent) => return sent,
        }
    }
}

/// How another connection is made when one was closed.
#[derive(Clone, Copy)]
struct Anew<'a> {
    pool: &'a Arc<Pool>,
    endpoint: &'a Endpoint<'a>,
    wanted: connect::Wanted,
    /// One of those may do that were made for others since then; none: they are not shared.
    shared: Option<Instant>,
}

impl Anew<'_> {
    async fn lease(self) -> Result<(Sender, Lease), Problem> {
        match self.shared {
            Some(since) => self.pool.lease_since(self.endpoint, since).await,
            None => self.pool.fresh(self.endpoint, self.wanted).await,
        }
    }

    /// Past all that there are by now.
    fn past_all(self) -> Self {
        Self {
            shared: self.shared.map(|_| Instant::now()),
            ..self
        }
    }
}

/// Sends once more what a kept connection was closed on, if there is a copy of it; and finds out whether the origin is gone, if
/// another may then be asked.
async fn after_close(
    mut closed: Closed,
    mut anew: Anew<'_>,
    request: Outgoing<'_>,
    again: Option<Body>,
    patience: Patience<'_>,
) -> Exchanged {
    if let Some(body) = again {
        let leased = match anew.lease().await {
            Ok(leased) => leased,
            Err(problem) => return gone_by(problem),
        };
        anew = anew.past_all();
        match once_more(leased, anew.endpoint, request.parts, body, patience).await {
            Ok(sent) => return sent,
            Err(again) => closed = again,
        }
    }
    if !request.may_pass {
        return closed.into();
    }
    match patience.within(anew.lease()).await {
        Some(Err(problem)) => gone_by(problem),
        Some(Ok(_)) | None => closed.into(),
    }
}

/// What has become of what was sent on a connection that was closed, if no other can be made.
fn gone_by(problem: Problem) -> Exchanged {
    if matches!(problem, Problem::Unreachable(_)) {
        Exchanged::Gone(problem)
    } else {
        Exchanged::Lost(problem)
    }
}

/// Sends again what a kept connection has cost, on another one (RFC 9112 §9.3.1). It was sent before, so that nothing is
/// unsent any more.
async fn once_more(
    (sender, lease): (Sender, Lease),
    endpoint: &Endpoint<'_>,
    parts: &Parts,
    body: Body,
    patience: Patience<'_>,
) -> Result<Exchanged, Closed> {
    let sent = send(sender, lease, endpoint, parts, body, patience).await?;
    Ok(match sent {
        Exchanged::Unsent(problem, _) => Exchanged::Gone(problem),
        Exchanged::Refused(problem) | Exchanged::Left(problem) => Exchanged::Lost(problem),
        exchanged @ (Exchanged::Answered(..) | Exchanged::Lost(_) | Exchanged::Gone(_)) => {
            exchanged
        }
    })
}

async fn send(
    sender: Sender,
    lease: Lease,
    endpoint: &Endpoint<'_>,
    parts: &Parts,
    body: Body,
    patience: Patience<'_>,
) -> Result<Exchanged, Closed> {
    match sender {
        Sender::Http1(http1) => send_http1(http1, lease, endpoint, parts, body, patience).await,
        Sender::Http2(place) => {
            // Boxed: its future is larger, and no part of every request's.
            Box::pin(send_http2(place, lease, endpoint, parts, body, patience)).await
        }
    }
}

async fn send_http1(
    http1: Http1,
    lease: Lease,
    endpoint: &Endpoint<'_>,
    parts: &Parts,
    body: Body,
    patience: Patience<'_>,
) -> Result<Exchanged, Closed> {
    let slash = PathAndQuery::from_static("/");
    let head = RequestHead {
        method: &parts.method,
        path: parts.uri.path_and_query().unwrap_or(&slash),
        authority: authority(endpoint, parts),
        headers: &parts.headers,
    };
    patience.activity.touch();
    let asking = http1.ask(&head, body, |said| {
        hear(parts, patience.interim, said.status, &said.headers);
    });
    match patience.wait(asking).await {
        Ok(Ok(response)) => Ok(Exchanged::Answered(response.map(Source::Http1), lease)),
        Ok(Err(unanswered)) => unanswered_by(endpoint, unanswered),
        Err(late) => Ok(out_of_patience(endpoint, late)),
    }
}

/// Passes on what the origin says before it answers.
fn hear(parts: &Parts, interim: Option<&Interim>, status: StatusCode, headers: &HeaderMap) {
    if status == StatusCode::CONTINUE {
        let wanted = parts.extensions.get::<Wanted>();
        wanted.into_iter().for_each(Wanted::open);
    } else if let Some(interim) = interim {
        interim.say(status, headers);
    }
}

fn unanswered_by(endpoint: &Endpoint<'_>, why: Unanswered) -> Result<Exchanged, Closed> {
    let say = |error: &dyn Error| format!("{}: {error}", endpoint.url);
    Ok(match why {
        Unanswered::Unsent(error, body) => {
            Exchanged::Unsent(Problem::Unreachable(say(&error)), body)
        }
        Unanswered::Client(error) => Exchanged::Lost(Problem::from(&error)),
        Unanswered::Malformed(refusal) => Exchanged::Lost(Problem::MalformedAnswer(say(&refusal))),
        Unanswered::Broken(error) => Exchanged::Lost(Problem::BrokenOrigin(say(&error))),
        Unanswered::Closed(error) => return Err(Closed(Problem::BrokenOrigin(say(&error)))),
    })
}

fn out_of_patience(endpoint: &Endpoint<'_>, late: Late) -> Exchanged {
    let problem = Problem::OriginTimeout(format!("{}: {late}", endpoint.url));
    match late {
        Late::Stalled => Exchanged::Lost(Problem::Stalled),
        Late::Down => Exchanged::Gone(problem),
        Late::Unanswered(_) | Late::Untaken(_) => Exchanged::Lost(problem),
    }
}

async fn send_http2(
    place: Place,
    lease: Lease,
    endpoint: &Endpoint<'_>,
    parts: &Parts,
    body: Body,
    patience: Patience<'_>,
) -> Result<Exchanged, Closed> {
    let opens_websocket = is_asked_for(&parts.headers);
    if opens_websocket && let Err(problem) = announced(&place, endpoint).await {
        return Ok(Exchanged::Unsent(problem, body));
    }
    let request = match address(endpoint, parts, body) {
        Ok(request) => request,
        Err(problem) => return Ok(Exchanged::Lost(problem)),
    };
    patience.activity.touch();
    // Then more may be on their way together than its origin takes.
    let is_early = !place.is_announced();
    let listening = place.listen();
    let asking = place.ask(request, |said| {
        hear(parts, patience.interim, said.status(), said.headers());
    });
    match patience.wait(asking).await {
        Ok(Ok(mut response)) => match check_answer(&response) {
            Ok(()) => {
                if opens_websocket {
                    as_switch(&parts.headers, &mut response);
                }
                Ok(Exchanged::Answered(response.map(Source::Http2), lease))
            }
            Err(why) => Ok(Exchanged::Lost(malformed(endpoint, why))),
        },
        Ok(Err(http2::Unanswered::Broken(error)))
            if lease.reused && (error.is_left() || is_early && error.is_unprocessed()) =>
        {
            let why = format!("{}: {error}", endpoint.url);
            Ok(Exchanged::Left(Problem::Unreachable(why)))
        }
        Ok(Err(why)) => failed(endpoint, why),
        Err(late) => {
            listening.give_up_if_silent();
            Ok(out_of_patience(endpoint, late))
        }
    }
}

/// Waits until an HTTP/2 origin has said that it takes WebSockets: its settings come with its first bytes, which
/// a new connection has not read yet.
async fn announced(place: &Place, endpoint: &Endpoint<'_>) -> Result<(), Problem> {
    let mut announced = place.takes_websockets();
    let said = announced.wait_for(Option::is_some);
    // Or it has ended, or is silent.
    let _ = tokio::time::timeout(SETTINGS_WITHIN, said).await;
    match *announced.borrow() {
        Some(true) => Ok(()),
        Some(false) => Err(Problem::Unserved(format!(
            "{}: it does not announce WebSockets over HTTP/2 (RFC 8441)",
            endpoint.url
        ))),
        None => Err(Problem::Unreachable(format!(
            "{}: it does not say what it takes over HTTP/2",
            endpoint.url
        ))),
    }
}

fn failed(endpoint: &Endpoint<'_>, why: http2::Unanswered) -> Result<Exchanged, Closed> {
    let say = |error: &dyn Error| format!("{}: {error}", endpoint.url);
    Ok(match why {
        http2::Unanswered::Unsent(error, body) => {
            Exchanged::Unsent(Problem::Unreachable(say(&error)), body)
        }
        http2::Unanswered::Client(error) => Exchanged::Lost(Problem::from(&error)),
        http2::Unanswered::Broken(error) if error.is_unprocessed() => {
            Exchanged::Refused(Problem::Unreachable(say(&error)))
        }
        http2::Unanswered::Broken(error) if error.is_wrong() => {
            Exchanged::Lost(malformed(endpoint, &error.to_string()))
        }
        http2::Unanswered::Broken(error) => Exchanged::Lost(Problem::BrokenOrigin(say(&error))),
        http2::Unanswered::Closed(error) => {
            return Err(Closed(Problem::BrokenOrigin(say(&error))));
        }
        http2::Unanswered::Malformed(why) => Exchanged::Lost(malformed(endpoint, why)),
    })
}

fn malformed(endpoint: &Endpoint<'_>, why: &str) -> Problem {
    Problem::MalformedAnswer(format!("{}: {why}", endpoint.url))
}

/// The authority that the client asked for.
fn authority<'a>(endpoint: &Endpoint<'a>, parts: &'a Parts) -> &'a str {
    let asked = parts.uri.authority();
    asked.map_or(endpoint.host, uri::Authority::as_str)
}

/// The request as HTTP/2 wants it addressed.
fn address(endpoint: &Endpoint<'_>, parts: &Parts, body: Body) -> Result<Request<Body>, Problem> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = parts.headers.clone();
    request.headers_mut().remove(HOST);
    *request.version_mut() = Version::HTTP_2;
    let scheme = match endpoint.url.scheme {
        OriginScheme::Https => "https",
        OriginScheme::Http | OriginScheme::H2c => "http",
    };
    let path = parts.uri.path_and_query().cloned();
    *request.uri_mut() = Uri::builder()
        .scheme(scheme)
        .authority(authority(endpoint, parts))
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
        .map_err(|error| Problem::Malformed(error.to_string()))?;
    if is_asked_for(&parts.headers) {
        as_connect(&mut request);
    }
    Ok(request)
}
