//! A request from its head to the head of its answer.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::accept::Face;
use super::access_log::{Journal, Line, Logged};
use super::activity::Activity;
use super::affinity::{Known, Session};
use super::body::{Arriving, Body, Source};
use super::carried::{Carried, Carriers, Reader};
use super::connection::Connection;
use super::consistency::Store;
use super::context::{Context, Live, Worker};
use super::expect::Wanted;
use super::forward::{Forwarded, Outbound};
use super::headers::{X_REQUEST_ID, is_grpc, request_id, upgrade_of};
use super::interim::Interim;
use super::onward::covers;
use super::outcome::count_problem;
use super::pace::Pace;
use super::problem::{Problem, Shed};
use super::repeat::Repeat;
use super::shared_cache::Question;
use super::websocket::{self, Handshake};
use super::{beacon, http2, inbound};
use crate::clock;
use crate::config::plan::{Access, ResidencyBy, Service, Writes};
use crate::ids::ServiceId;
use crate::positions::{Mark, Minted, Now, Visit};
use crate::steering::{Ask, Decision, Require, Vantage, steer};

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
        log.begin(arrival.connection, arrival.head, &request, id)
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
        let mut response = self.problem.response(&live.snapshot.plan.node.name, id);
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

/// Who asks for what, as far as the head of the request tells.
pub(super) struct Asked<'a> {
    pub(super) service_id: ServiceId,
    pub(super) service: &'a Service,
    pub(super) host: String,
    pub(super) client: IpAddr,
    pub(super) trusted: bool,
    pub(super) access: Access,
    pub(super) store: Option<Store<'a>>,
    /// What it carries of the edge's own; none: nothing.
    pub(super) carried: Option<Arc<Carried>>,
    /// What the last read came to that asked the same, if nothing has changed since.
    pub(super) repeat: Option<Arc<Repeat>>,
    /// How often what is known of positions had changed before it was looked at.
    pub(super) changes: u64,
    /// The session of its tokens.
    pub(super) session: Option<u64>,
    pub(super) known: Known,
    /// What of the request tells whether shared caches may keep its answer.
    pub(super) question: Question,
    pub(super) pace: Pace,
    /// The least bytes of its body in a second; 0: any.
    body_rate: u64,
    /// When its head was read.
    pub(super) now: Now,
}

impl Asked<'_> {
    /// Where it carries tokens.
    pub(super) fn carriers(&self) -> Carriers {
        let carried = self.carried.as_ref();
        carried.map_or_else(Carriers::default, |carried| carried.carriers)
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn is_secure(&self) -> bool {
        self.connection.face == Face::Https
    }

    async fn answer(&self, request: Request<Source>) -> Result<Response<Body>, Refused> {
        let (mut parts, incoming) = request.into_parts();
        let wanted = parts.extensions.get::<Wanted>().cloned();
        let incoming = Arriving::request(incoming, self.journal).behind(wanted);
        let websocket = websocket::take(&mut parts)?;
        let (mut asked, visit) = self.read_head(&parts)?;
        if let Some(redirect) = self.redirect(&parts, &asked)? {
            return Ok(redirect);
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
        let (whole, began) = (asked.service.timeouts.request, self.began);
        let body = within(whole, began, pin!(reading)).await?;
        self.journal.inspect(|journal| journal.ready());
        let mut outbound = Outbound {
            live: self.live,
            worker: self.worker,
            connection: self.connection,
            service_id: asked.service_id,
            host: &asked.host,
            parts,
            body: Some(body),
            upgrades: websocket.is_some(),
            decision,
            store: asked.store,
            visit,
            carried: asked.carried.as_deref(),
            repeat: asked.repeat.as_deref(),
            access: asked.access,
            activity: asked.pace.activity.clone(),
            kept: None,
            last_resort: None,
            answered: None,
            trying: None,
            began: None,
            sent_to: None,
            retries_left: asked.service.retries.attempts,
            journal: self.journal,
            interim: self.interim,
            retrying: None,
        };
        let forwarded = {
            let forwarding = pin!(outbound.forward());
            within(whole, began, forwarding).await
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
                self.settle(&asked, &mut outbound.visit, &mut forwarded);
                self.note_served(&asked, &outbound.decision, &forwarded);
                let wanted = outbound.parts.extensions.get::<Wanted>();
                let wanted = wanted.map(Wanted::until_over);
                Ok(self.pass_on(&asked, forwarded, websocket, (wanted, under_way)))
            }
            Err(problem) => Err(self.refuse(&asked, &mut outbound, problem)),
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
            deadline: None,
            rate: asked.body_rate,
            ..asked.pace.clone()
        };
        let upload = Box::new(asked.pace.activity.upload());
        let is_asked_again = asked.access == Access::Read && asked.session.is_some();
        let is_covered = covers(&asked.service.retries, method, asked.access);
        if is_asked_again || is_covered {
            incoming.want();
        }
        let body = Body::streamed(incoming, asked.service.limits.body, pace, Some(upload));
        if body.is_empty() || !(is_asked_again || is_covered) {
            return Ok(body);
        }
        body.kept(asked.service.retries.buffer)
            .await
            .map_err(|error| Problem::from(&error))
    }

    fn read_head(&self, parts: &Parts) -> Result<(Asked<'a>, Visit), Problem> {
        let live: &'a Live = self.live;
        let plan = &live.snapshot.plan;
        http2::check_request(parts)?;
        let host = inbound::host(parts)?;
        let service_id = self.service_for(&host)?;
        let service = plan.services.of(service_id);
        inbound::check_size(&parts.headers, &service.limits)?;
        let trusted_proxies = &plan.listen.trusted_proxies;
        let client = inbound::client(&parts.headers, self.connection.source(), trusted_proxies);
        let access = inbound::access(service, &parts.method, parts.uri.path());
        self.journal
            .inspect(|journal| journal.asked(client, &service.name, access));
        let store = self.store(service_id);
        let now = Now {
            unix_secs: clock::unix_secs(),
            steady_ms: clock::steady_ms_at(self.began.into_std()),
        };
        let session = self.session(service, &host, now.unix_secs);
        let reader = Reader {
            service: service_id,
            store,
            session,
        };
        let carried = self.connection.recognized.read(&parts.headers, &reader);
        let session = reader.session;
        let known = session.find(carried.as_deref(), &parts.headers, client);
        let begun = store.zip(carried.as_ref());
        let begun = begun.map(|(store, carried)| self.begin(&store, carried, client, access, now));
        let (visit, repeat, changes) = begun.unwrap_or_default();
        let asked = Asked {
            pace: self.pace(service),
            // Its messages come when there is something to say.
            body_rate: if is_grpc(&parts.headers) {
                0
            } else {
                service.limits.body_rate
            },
            question: Question::new(&parts.method, &parts.headers),
            service_id,
            service,
            trusted: inbound::is_trusted(self.connection.source(), trusted_proxies),
            access,
            host,
            client,
            store,
            session: visit.valid.then_some(visit.token().session),
            carried,
            repeat,
            changes,
            known,
            now,
        };
        Ok((asked, visit))
    }

    /// The service that answers for a host on this connection.
    fn service_for(&self, host: &str) -> Result<ServiceId, Problem> {
        let routes = &self.live.routes;
        let service = routes.service(host);
        let service = service.ok_or_else(|| Problem::UnknownHost(host.to_owned()))?;
        let tls = self.connection.tls.as_ref();
        let sni = tls.and_then(|tls| tls.sni.as_deref());
        if sni.is_some_and(|sni| routes.identities.is_misdirected(sni, host)) {
            return Err(Problem::Misdirected(host.to_owned()));
        }
        Ok(service)
    }

    fn pace(&self, service: &Service) -> Pace {
        let whole = service.timeouts.request;
        Pace {
            activity: Arc::new(Activity::new()),
            idle: service.timeouts.idle,
            deadline: (!whole.is_zero()).then(|| self.began + whole),
            rate: 0,
        }
    }

    pub(super) fn session<'s>(
        &'s self,
        service: &'s Service,
        host: &'s str,
        now: u32,
    ) -> Session<'s> {
        Session {
            service,
            plan: &self.live.snapshot.plan,
            keyring: &self.live.keyring,
            sticky: &self.context.sticky,
            host,
            secure: self.is_secure(),
            now,
        }
    }

    fn decide(&self, asked: &mut Asked<'_>, visit: &Visit, parts: &Parts) -> Arc<Decision> {
        let decision = match &asked.repeat {
            Some(repeat) => repeat.decision.clone(),
            None => self.decide_anew(asked, visit, parts),
        };
        self.journal.inspect(|journal| journal.decided(&decision));
        decision
    }

    fn decide_anew(&self, asked: &mut Asked<'_>, visit: &Visit, parts: &Parts) -> Arc<Decision> {
        let snapshot = &self.live.snapshot;
        let (place, _) = snapshot.clients.locate(asked.service_id, asked.client);
        let residency =
            asked
                .service
                .residency
                .as_ref()
                .and_then(|residency| match &residency.by {
                    ResidencyBy::Header(name) => inbound::header_value(&parts.headers, name),
                    ResidencyBy::ClientCountry => None,
                });
        let write_key = match &asked.service.writes {
            Writes::Home { key, .. } => inbound::key(key, parts),
            Writes::Nearest | Writes::Primary { .. } => None,
        };
        let token = visit.token();
        let ask = Ask {
            service: asked.service_id,
            place,
            spread: asked.known.spread(asked.client),
            vantage: Vantage::Edge,
            access: asked.access,
            affinity: asked.known.region,
            residency: residency.as_deref(),
            write_key: write_key.as_deref(),
            require: Require {
                vector: (!token.vector.is_empty()).then_some(&token.vector),
                pin: token
                    .pin
                    .as_ref()
                    .and_then(|pin| snapshot.plan.region(&pin.region)),
                now_ms: asked.now.steady_ms,
            },
        };
        let decision = Arc::new(steer(snapshot, &ask, asked.known.draw));
        if visit.is_as_carried() && decision.lasts(snapshot, &ask) {
            self.note_repeat(asked, &decision);
        }
        decision
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

    /// A write that was sent and not answered may have happened: its client is pinned there.
    fn refuse(&self, asked: &Asked<'_>, outbound: &mut Outbound<'_>, problem: Problem) -> Refused {
        let mut headers = HeaderMap::new();
        if let (Some(store), Access::Write, Some(region)) =
            (asked.store, asked.access, outbound.sent_to_name())
        {
            let pin = Minted::Pin(region.clone());
            let reissue = store.wrote(&mut outbound.visit, pin);
            store.issue(asked.carriers(), reissue, region, &mut headers);
        }
        Refused { problem, headers }
    }
}

/// Refuses an origin that leaves HTTP for what nobody asked for.
fn check_switch(forwarded: &Forwarded, websocket: Option<&Handshake>) -> Result<(), Problem> {
    let response = &forwarded.response;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
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
    limit: std::time::Duration,
    began: Instant,
    work: Pin<&mut impl Future<Output = Result<T, Problem>>>,
) -> Result<T, Problem> {
    if limit.is_zero() {
        return work.await;
    }
    let in_time = tokio::time::timeout_at(began + limit, work).await;
    in_time.unwrap_or_else(|_| {
        let limit = crate::units::show_duration(limit);
        Err(Problem::OriginTimeout(format!(
            "the request took longer than {limit}"
        )))
    })
}
