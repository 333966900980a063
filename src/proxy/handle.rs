//! A request from its head to the head of its answer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::accept::Face;
use super::access_log::{Journal, Line, Logged};
use super::activity::Activity;
use super::asked::Asked;
use super::beacon;
use super::body::{Arriving, Body, Source};
use super::connection::Connection;
use super::context::{Context, Live, Worker};
use super::expect::Wanted;
use super::forward::{Forwarded, Origins, Outbound};
use super::headers::upgrade_of;
use super::inbound;
use super::interim::Interim;
use super::max_forwards;
use super::onward::may_be_repeated;
use super::outcome::count_problem;
use super::pace::{Pace, Part};
use super::problem::{Problem, Shed};
use super::sample::Sampled;
use super::trace::{X_REQUEST_ID, request_id};
use super::websocket::{self, Handshake};
use crate::config::plan::Access;
use crate::ids::RegionId;
use crate::positions::{Mark, Minted, Visit};
use crate::steering::Decision;

/// How a request arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) connection: &'a Arc<Connection>,
    /// How long its head was arriving, where that can be told.
    pub(super) head: Option<Duration>,
    /// Why nothing is to be done for it.
    pub(super) shed: Option<Shed>,
    /// Where what is said before the answer goes, if it may go anywhere.
    pub(super) interim: Option<&'a Interim>,
}

/// Answers a request; never fails, because every failure has an answer of its own.
pub(super) async fn handle(
    context: &Context,
    worker: &Worker,
    arrival: Arrival<'_>,
    mut request: Request<Source>,
) -> Response<Logged> {
    let _counted = worker.request();
    let live = context.live.load_full();
    let began = Instant::now();
    let id = request_id(request.headers());
    let line = live.access_log.as_ref().map(|log| {
        let id = id.to_str().unwrap_or_default();
        log.begin(&arrival, &request, id)
    });
    let journal = line.as_ref().map(Line::journal);
    let wanted = Wanted::of(&mut request);
    let has_connection = request.version() < Version::HTTP_2;
    let exchange = Exchange {
        context,
        worker,
        live: &live,
        connection: arrival.connection,
        began,
        id: &id,
        journal,
        interim: arrival.interim,
    };
    let answered = match arrival.shed {
        Some(shed) => Err(Problem::Shedding(shed).into()),
        None => exchange.answer(request).await,
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(refused) => {
            journal.inspect(|journal| journal.refused(&refused.problem));
            let ends = has_connection && refused.problem.ends_connection();
            let mut response = refused.into_response(&live, &id);
            if ends {
                close_after(&mut response);
            }
            response
        }
    };
    // RFC 9110 §10.1.1: whether a body still comes that was not asked for, only the end of the connection tells.
    if wanted.is_some_and(|wanted| wanted.answered()) {
        close_after(&mut response);
    }
    // What is sent on is the edge's own message (RFC 9110 §6.2), whatever it was received as.
    let version = std::mem::replace(response.version_mut(), Version::HTTP_11);
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    live.routes.via.add(headers, version);
    if let Some(journal) = journal {
        journal.answered(response.status(), response.headers());
    }
    response.map(|body| Logged::new(body, line))
}

fn close_after(response: &mut Response<Body>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

/// A request that got no answer from an origin.
pub(super) struct Refused {
    problem: Problem,
    /// What must be set all the same: a write of unknown outcome pins its client.
    headers: HeaderMap,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            headers: HeaderMap::new(),
        }
    }
}

impl Refused {
    fn into_response(self, live: &Live, id: &HeaderValue) -> Response<Body> {
        count_problem(&self.problem);
        let id = id.to_str().unwrap_or_default();
        let plan = &live.snapshot.plan;
        let problem = self.problem.told(plan.listen.errors);
        let mut response = problem.response(&plan.node.name, id);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A request under way.
pub(super) struct Exchange<'a> {
    pub(super) context: &'a Context,
    pub(super) worker: &'a Worker,
    pub(super) live: &'a Arc<Live>,
    pub(super) connection: &'a Connection,
    pub(super) began: Instant,
    pub(super) id: &'a HeaderValue,
    pub(super) journal: Option<&'a Arc<Journal>>,
    interim: Option<&'a Interim>,
}

impl<'a> Exchange<'a> {
    pub(super) fn is_secure(&self) -> bool {
        self.connection.face == Face::Https
    }

    async fn answer(&self, request: Request<Source>) -> Result<Response<Body>, Refused> {
        let (mut parts, incoming) = request.into_parts();
        let wanted = parts.extensions.get::<Wanted>().cloned();
        let has_body = !incoming.is_end_stream();
        let incoming = Arriving::request(incoming, self.journal).behind(wanted);
        let websocket = websocket::take(&mut parts, has_body)?;
        let (mut asked, visit) = self.read_head(&parts)?;
        if let Some(redirect) = self.redirect(&parts, &asked)? {
            return Ok(redirect);
        }
        if let Some(answer) = max_forwards::count(&mut parts, &self.live.snapshot.plan.node.name) {
            return Ok(answer);
        }
        let beacon = self.live.snapshot.plan.latency.beacon.as_ref();
        if let Some(answer) = beacon::answer(beacon, &parts, asked.client, &self.context.measured) {
            return Ok(answer);
        }
        let under_way = self.begin_write(&asked);
        let decision = self.decide(&mut asked, &visit, &parts);
        let protocol = websocket.as_ref().map(|asked| asked.protocol.clone());
        self.prepare(&mut parts, &asked, protocol)?;
        let reading = self.body(&asked, &parts.method, incoming);
        let whole = asked.service.timeouts.request;
        let activity = &*asked.pace.activity;
        let until = (whole, self.began, activity);
        let body = within(until, pin!(reading)).await;
        self.journal.inspect(|journal| journal.ready());
        let body = body?;
        let mut outbound = self.outbound(&asked, (parts, body), decision, visit);
        outbound.upgrades = websocket.is_some();
        let forwarded = {
            let forwarding = pin!(outbound.forward());
            within(until, forwarding).await
        };
        if let Err(problem) = &forwarded {
            outbound.ran_out_of_time(problem);
        }
        let switched = forwarded.and_then(|forwarded| {
            check_switch(&forwarded, websocket.as_ref())?;
            Ok(forwarded)
        });
        match switched {
            Ok(mut forwarded) => {
                forwarded.is_detour = outbound.is_detour(asked.known.region, forwarded.region);
                self.settle(&asked, &mut outbound.visit, &mut forwarded);
                self.note_served(&asked, &outbound.decision, &forwarded);
                self.sample(&asked, &outbound.parts, forwarded.region);
                let wanted = outbound.parts.extensions.get::<Wanted>();
                let wanted = wanted.map(Wanted::until_over);
                Ok(self.pass_on(&asked, forwarded, websocket, (wanted, under_way)))
            }
            Err(problem) => Err(self.refuse(&asked, &mut outbound, problem)),
        }
    }

    /// The request as it is sent, to whichever region.
    fn outbound<'b>(
        &'b self,
        asked: &'b Asked<'_>,
        (parts, body): (Parts, Body),
        decision: Arc<Decision>,
        visit: Visit,
    ) -> Outbound<'b> {
        Outbound {
            live: self.live,
            worker: self.worker,
            connection: self.connection,
            service_id: asked.service_id,
            host: &asked.host.name,
            parts,
            body: Some(body),
            upgrades: false,
            decision,
            store: asked.store,
            visit,
            carried: asked.carried.as_deref(),
            repeat: asked.repeat.as_deref(),
            access: asked.access,
            activity: asked.pace.activity.clone(),
            kept: None,
            last_resort: None,
            written: None,
            answered: None,
            has_waited: false,
            trying: None,
            tried: Origins::new(),
            began: None,
            deadline: asked.pace.deadline,
            sent_to: None,
            unreached: None,
            retries_left: asked.service.retries.attempts,
            journal: self.journal,
            interim: self.interim,
            wants_new: false,
            retrying: None,
        }
    }

    /// The body of a request; one that may have to be sent twice is read first, if it is short.
    async fn body(
        &self,
        asked: &Asked<'_>,
        method: &http::Method,
        mut incoming: Arriving,
    ) -> Result<Body, Problem> {
        // What a whole request may take is bounded around the exchange.
        let pace = Pace {
            part: asked.sends,
            deadline: None,
            rate: match asked.sends {
                Part::Messages => 0,
                Part::Request | Part::Answer => asked.service.limits.body_rate,
            },
            ..asked.pace.clone()
        };
        let upload = Box::new(asked.pace.activity.upload());
        let is_asked_again = asked.access == Access::Read && !asked.sessions.is_empty();
        let is_covered = may_be_repeated(&asked.service.retries, method, asked.access);
        let is_kept = is_asked_again || is_covered;
        let wanted = is_kept.then(|| incoming.want()).flatten();
        let body = Body::streamed(incoming, asked.service.limits.body, pace, Some(upload));
        if body.is_empty() || !is_kept {
            return Ok(body);
        }
        let kept = body.kept(asked.service.retries.buffer).await;
        let kept = kept.map_err(|error| Problem::from(&error))?;
        // The client was asked for it, and has begun to send it.
        if let Some(wanted) = wanted {
            wanted.open();
        }
        Ok(kept)
    }

    fn note_served(&self, asked: &Asked<'_>, decision: &Decision, forwarded: &Forwarded) {
        let Some(journal) = self.journal else { return };
        let region = forwarded.region;
        let affinity = match asked.known.region {
            _ if asked.service.affinity.is_none() => None,
            None => Some("new"),
            Some(known) if known == region => Some("kept"),
            Some(_) => Some("moved"),
        };
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let consistency = forwarded.mark.map(Mark::as_str);
        journal.served(decision, (region, name), consistency, affinity);
    }

    /// Takes it into the sample of what its region answers, perhaps.
    fn sample(&self, asked: &Asked<'_>, parts: &Parts, region: RegionId) {
        let Some(lane) = self.live.routes.lane(asked.service_id, region) else {
            return;
        };
        lane.sample(asked.access, asked.now.steady_ms, || Sampled {
            client: asked.client,
            spread: asked.known.spread(asked.client),
            residency: inbound::residency(asked.service, &parts.headers),
            write_key: inbound::write_key(asked.service, parts),
        });
    }

    /// A write that was sent and not answered may have happened: its client is pinned there. What a read has written that
    /// must not be passed on, its client's token has.
    fn refuse(&self, asked: &Asked<'_>, outbound: &mut Outbound<'_>, problem: Problem) -> Refused {
        let mut headers = HeaderMap::new();
        let sent_to = outbound.sent_to_name();
        let pin = || sent_to.map(|region| Minted::Pin(region.clone()));
        let written = match asked.access {
            Access::Write => pin(),
            Access::Read => outbound.written.take(),
        };
        if let (Some(store), Some(written), Some(region)) = (asked.store, written, sent_to) {
            let reissue = store.wrote(&mut outbound.visit, written);
            store.issue(asked.carriers(), reissue, region, &mut headers);
        }
        Refused { problem, headers }
    }
}

/// Refuses an origin that leaves HTTP for what nobody asked for.
fn check_switch(forwarded: &Forwarded, websocket: Option<&Handshake>) -> Result<(), Problem> {
    let response = &forwarded.response;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return websocket.map_or(Ok(()), |websocket| {
            websocket.check_refusal(response.status())
        });
    }
    let switched = upgrade_of(response.headers());
    match websocket.filter(|_| switched.is_some()) {
        Some(websocket) => websocket.check(response.headers()),
        None => {
            let why = "101 to a request that asked for no WebSocket";
            Err(Problem::BrokenOrigin(why.to_owned()))
        }
    }
}

/// Bounds a whole request, from its beginning; zero: not.
async fn within<T>(
    (limit, began, activity): (std::time::Duration, Instant, &Activity),
    work: Pin<&mut impl Future<Output = Result<T, Problem>>>,
) -> Result<T, Problem> {
    if limit.is_zero() {
        return work.await;
    }
    let in_time = tokio::time::timeout_at(began + limit, work).await;
    in_time.unwrap_or_else(|_| {
        if activity.awaits_client() {
            return Err(Problem::Stalled);
        }
        let limit = crate::units::show_duration(limit);
        Err(Problem::OriginTimeout(format!(
            "the request took longer than {limit}"
        )))
    })
}
