//! Tries regions in the order of the Decision until one answers.
//!
//! What was never sent always moves on. What was sent moves on, to another region, only if it may be sent
//! again: a method that `retries.methods` covers, with a body that is held whole, within `retries.attempts` and
//! the budget.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::access_log::{Journal, Tried};
use super::activity::Activity;
use super::body::{Body, Source};
use super::carried::Carried;
use super::connect::Wanted;
use super::connection::Connection;
use super::consistency::{MERIDIAN_REQUIRE, Store};
use super::context::{Counted, Live, Worker};
use super::exchange::{Exchanged, MOST_STALE, Outgoing, Patience, exchange};
use super::interim::Interim;
use super::onward::Try;
use super::pool::{Endpoint, Lease};
use super::problem::{Full, Problem};
use super::repeat::Repeat;
use super::retry::Trying;
use super::routes::Admitted;
use crate::clock;
use crate::config::plan::{Access, OriginScheme, Service, Writes};
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::positions::{Mark, Minted, Reissue, Said, Visit};
use crate::steering::{Decision, Verdict};

/// A request ready to be sent, to whichever region.
pub(super) struct Outbound<'a> {
    pub(super) live: &'a Live,
    pub(super) worker: &'a Worker,
    pub(super) connection: &'a Connection,
    pub(super) service_id: ServiceId,
    pub(super) host: &'a str,
    /// With an absolute URI, so that its authority is the one that the client asked for.
    pub(super) parts: Parts,
    /// Taken while it is being sent; gone once some of it was.
    pub(super) body: Option<Body>,
    pub(super) upgrades: bool,
    pub(super) decision: Arc<Decision>,
    pub(super) store: Option<Store<'a>>,
    /// What it must see.
    pub(super) visit: Visit,
    /// What it carries of the edge's own.
    pub(super) carried: Option<&'a Carried>,
    /// What reads that ask the same have come to.
    pub(super) repeat: Option<&'a Repeat>,
    pub(super) access: Access,
    pub(super) activity: Arc<Activity>,
    /// A copy of the body that is being sent, if it is held whole.
    pub(super) kept: Option<Body>,
    /// An answer from before the client's writes, to a request that cannot be sent again.
    pub(super) last_resort: Option<Box<Forwarded>>,
    /// What a read has written whose answer is from before the client's other writes.
    pub(super) written: Option<Minted>,
    /// An answer that `on_status` names, for when nobody answers better.
    pub(super) answered: Option<Box<Forwarded>>,
    /// Whether it has waited for a region to catch up.
    pub(super) has_waited: bool,
    /// The origin that is being asked.
    pub(super) trying: Option<Trying>,
    /// Those that were.
    pub(super) tried: Origins,
    /// When the first origin was tried.
    pub(super) began: Option<Instant>,
    /// When the whole request's time is over.
    pub(super) deadline: Option<Instant>,
    /// The first region to which something was sent of which nobody knows what became.
    pub(super) sent_to: Option<RegionId>,
    /// The first region of which no origin could be connected.
    pub(super) unreached: Option<RegionId>,
    pub(super) retries_left: u8,
    pub(super) journal: Option<&'a Arc<Journal>>,
    /// Where what origins say before they answer goes.
    pub(super) interim: Option<&'a Interim>,
    /// Whether it is to be sent on a new connection.
    pub(super) wants_new: bool,
    /// What this request's retries take of the budget.
    pub(super) retrying: Option<Counted<'a>>,
}

/// A few of a service's origins.
pub(super) type Origins = SmallVec<[OriginId; 2]>;

/// An answer on its way back; boxed, because it is handed on from hand to hand.
pub(super) struct Forwarded {
    pub(super) response: Response<Source>,
    pub(super) lease: Lease,
    pub(super) admitted: Admitted,
    pub(super) region: RegionId,
    pub(super) origin: OriginId,
    /// When the origin was asked, on the edge's steady clock.
    pub(super) asked_at_ms: u64,
    /// When the head of its answer had come.
    pub(super) answered_at_ms: u64,
    /// Whether it was known then to have all that the client must see.
    pub(super) had_all: bool,
    pub(super) said: Said,
    pub(super) mark: Option<Mark>,
    /// What becomes of the client's token.
    pub(super) reissue: Reissue,
    /// What other regions said when they were asked for a better answer.
    pub(super) tried_elsewhere: Option<String>,
    /// Whether whoever gave it is not read from, while others could be reached.
    pub(super) was_left_out: bool,
    /// Whether it is among its region's errors already.
    pub(super) is_counted: bool,
    /// Whether it is no reason for its client to leave the region that it is used to.
    pub(super) is_detour: bool,
    /// From sending to the head of the answer.
    pub(super) origin_time: Duration,
}

/// A try that came to nothing.
pub(super) enum Missed {
    /// Nothing was sent: the next origin may be tried.
    Next(Problem),
    /// The origin ends the connection and has not looked at it: it may be asked on another.
    Anew(Problem),
    /// The origin has not looked at it: another region may be asked.
    Elsewhere(Problem),
    /// Something was sent, and may be sent again to another region, within attempts and budget.
    Again(Problem),
    /// Something was sent to an origin that takes nothing any more: the next one may be asked, within attempts.
    Past(Problem),
    /// The request must not be sent again.
    Stop(Problem),
}

impl<'a> Outbound<'a> {
    pub(super) fn service(&self) -> &'a Service {
        self.live.snapshot.plan.services.of(self.service_id)
    }

    /// Forwards to the first region that answers as it should.
    pub(super) async fn forward(&mut self) -> Result<Box<Forwarded>, Problem> {
        if let Verdict::Refused(refusal) = self.decision.verdict {
            return Err(Problem::NoRegion(refusal.to_string()));
        }
        let decision = self.decision.clone();
        let ranked = &decision.ranked;
        let outcome = match self.store {
            Some(store) if self.visit.valid && self.access == Access::Read => {
                self.forward_marked(&store, ranked).await
            }
            Some(_) | None => self.forward_in_order(ranked, &decision.left_out).await,
        };
        outcome
            .or_else(|problem| self.or_kept_answer(problem))
            .map_err(|problem| self.when_failing_open(problem))
    }

    /// When every region was down before the first try, unreachable means that none is able.
    fn when_failing_open(&self, problem: Problem) -> Problem {
        match (self.decision.verdict, problem) {
            (Verdict::FailOpen(_), Problem::Unreachable(why) | Problem::Isolated(why)) => {
                Problem::NoRegion(format!("no region is able to answer; the last try: {why}"))
            }
            (_, problem) => problem,
        }
    }

    /// Tries a region's origins, the able ones first.
    pub(super) async fn try_region(
        &mut self,
        region: RegionId,
        require: Option<&http::HeaderValue>,
    ) -> Result<Box<Forwarded>, Missed> {
        let origins = self.origins(region);
        self.try_origins(region, origins, require).await
    }

    pub(super) async fn try_origins(
        &mut self,
        region: RegionId,
        origins: Vec<OriginId>,
        require: Option<&http::HeaderValue>,
    ) -> Result<Box<Forwarded>, Missed> {
        let mut last = Missed::Next(Problem::Unreachable("the region has no origins".into()));
        for origin in origins {
            let goes_on = match last {
                Missed::Next(_) => true,
                Missed::Past(_) => self.take_attempt(),
                Missed::Anew(_) | Missed::Elsewhere(_) | Missed::Again(_) | Missed::Stop(_) => {
                    false
                }
            };
            if !goes_on {
                break;
            }
            match self.try_connections(region, origin, require).await {
                Ok(forwarded) => return Ok(forwarded),
                Err(missed) => last = missed,
            }
        }
        if let Missed::Next(Problem::Unreachable(_)) | Missed::Past(Problem::Unreachable(_)) = last
        {
            self.unreached.get_or_insert(region);
        }
        Err(last)
    }

    /// What reads that ask the same have come to, if nothing has changed since. What is noted there while something
    /// does change is never looked at again.
    pub(super) fn repeat(&self, store: &Store<'_>) -> Option<&'a Repeat> {
        let repeat = self.repeat.filter(|_| self.visit.is_as_carried());
        repeat.filter(|repeat| repeat.stands_still(store.applied))
    }

    /// Tries an origin, and again while it ends the connections that were kept to it: it renews them, and that is no
    /// reason to leave its region.
    async fn try_connections(
        &mut self,
        region: RegionId,
        origin: OriginId,
        require: Option<&http::HeaderValue>,
    ) -> Result<Box<Forwarded>, Missed> {
        for _ in 0..MOST_STALE {
            match self.try_origin(region, origin, require).await {
                Err(Missed::Anew(_)) => {}
                done => return done,
            }
        }
        // Others that are kept may be about to end as well.
        self.wants_new = true;
        let done = self.try_origin(region, origin, require).await;
        self.wants_new = false;
        done
    }

    async fn try_origin(
        &mut self,
        region: RegionId,
        origin: OriginId,
        require: Option<&http::HeaderValue>,
    ) -> Result<Box<Forwarded>, Missed> {
        let admitted = self.admit(region)?;
        let Some(body) = self.body.take() else {
            return Err(Missed::Stop(Problem::BrokenOrigin(
                "the body is spent".into(),
            )));
        };
        let copy = body.copy();
        self.kept = body.copy();
        match require {
            Some(require) => self.parts.headers.insert(MERIDIAN_REQUIRE, require.clone()),
            None => self.parts.headers.remove(MERIDIAN_REQUIRE),
        };
        let (body, back) = self.replayed(origin, body);
        let trying = Trying::new(region, origin);
        let asked_at_ms = clock::steady_ms_at(trying.began.into_std());
        self.began.get_or_insert(trying.began);
        let had_all = self.is_known_to_have_all(region, origin);
        // Before it is known: whoever gives up waiting must take it for sent.
        let sent_before = self.sent_to;
        self.sent_to.get_or_insert(region);
        match self.exchange(trying, body, copy.as_ref()).await {
            Exchanged::Answered(response, lease) => {
                self.body = copy; // Of a read that has to be asked again.
                let answered = Instant::now();
                let answered_at_ms = clock::steady_ms_at(answered.into_std());
                let times = (asked_at_ms, answered_at_ms);
                self.take_answer(Box::new(Forwarded {
                    said: self.learn(region, origin, &response, times),
                    response,
                    lease,
                    admitted,
                    region,
                    origin,
                    asked_at_ms,
                    answered_at_ms,
                    had_all,
                    mark: None,
                    reissue: Reissue::Keep,
                    tried_elsewhere: None,
                    was_left_out: false,
                    is_counted: false,
                    is_detour: false,
                    origin_time: answered.saturating_duration_since(trying.began),
                }))
            }
            Exchanged::Unsent(problem, body) => {
                self.body = Some(body);
                self.sent_to = sent_before;
                let onward = Try::Unsent.onward(self.is_covered(), true);
                Err(Missed::by(onward, problem))
            }
            Exchanged::Refused(problem) => {
                self.sent_to = sent_before;
                Err(self.after_refusal(Try::Refused, problem, copy, back).await)
            }
            Exchanged::Left(problem) => {
                self.sent_to = sent_before;
                Err(self.after_refusal(Try::Left, problem, copy, back).await)
            }
            Exchanged::Lost(problem) => Err(self.after_loss(Try::Lost, problem, copy)),
            Exchanged::Gone(problem) => Err(self.after_loss(Try::Gone, problem, copy)),
        }
    }

    /// Begins the note of a try; none without an access log.
    fn note_try(&self, region: RegionId, origin: Option<OriginId>) -> Option<Tried> {
        let journal = self.journal?;
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let origin = origin.map(|origin| self.live.routes.origin(origin));
        Some(journal.begin_try(name, origin))
    }

    /// Counts the request towards `limits.in_flight_per_region`.
    fn admit(&self, region: RegionId) -> Result<Admitted, Missed> {
        let limit = self.service().limits.in_flight_per_region;
        let lane = self.live.routes.lane(self.service_id, region);
        let admitted = lane.and_then(|lane| lane.in_flight.admit(limit));
        admitted.ok_or_else(|| {
            let full = if self.is_at_home() || self.decision.ranked.len() == 1 {
                Full::Only
            } else {
                Full::Every
            };
            if let Some(tried) = self.note_try(region, None) {
                tried.failed(&Problem::Overloaded(full));
            }
            if self.is_at_home() {
                Missed::Stop(Problem::Overloaded(full))
            } else {
                Missed::Next(Problem::Overloaded(full))
            }
        })
    }

    /// Asks an origin, and counts what that shows of it.
    async fn exchange(&mut self, trying: Trying, body: Body, copy: Option<&Body>) -> Exchanged {
        self.trying = Some(trying);
        self.tried.push(trying.origin);
        let tried = self.note_try(trying.region, Some(trying.origin));
        let per_try = self.per_try(copy);
        let mut exchanged = self
            .send(trying.origin, body, copy, per_try, tried.as_ref())
            .await;
        tried.inspect(|tried| tried.came_to(&exchanged));
        self.trying = None;
        let lane = self.live.routes.lane(self.service_id, trying.region);
        if let Some(witness) = lane.and_then(|lane| lane.witness(trying.origin)) {
            witness.note(&mut exchanged);
        }
        let is_failure = match &exchanged {
            Exchanged::Unsent(problem, _) | Exchanged::Lost(problem) | Exchanged::Gone(problem) => {
                problem.fault() != "client"
            }
            Exchanged::Answered(..) | Exchanged::Refused(_) | Exchanged::Left(_) => false,
        };
        if let Some(lane) = lane.filter(|_| is_failure) {
            lane.count_failure();
        }
        exchanged
    }

    /// Whether conflicting writes of one key meet in one region, so that none may go elsewhere only
    /// because that one is busy.
    fn is_at_home(&self) -> bool {
        self.access == Access::Write && matches!(self.service().writes, Writes::Home { .. })
    }

    async fn send(
        &self,
        origin_id: OriginId,
        body: Body,
        copy: Option<&Body>,
        per_try: Option<Duration>,
        tried: Option<&Tried>,
    ) -> Exchanged {
        let (service, plan) = (self.service(), &self.live.snapshot.plan);
        let connect = service.timeouts.connect;
        let origin = plan.origins.of(origin_id);
        let header = plan.regions.of(origin.region).proxy_protocol;
        let header = header.map(|version| version.announce(self.connection.ends));
        let pool = if header.is_some() {
            self.connection.pool(&self.worker.pool)
        } else {
            &self.worker.pool
        };
        let may_pass = copy.is_some() && self.is_covered() && self.retries_left > 0;
        let is_in_vain = || {
            let asked = self.trying.filter(|_| may_pass);
            let asked_ms = asked.map(|trying| clock::steady_ms_at(trying.began.into_std()));
            asked_ms.is_some_and(|asked_ms| self.is_left_behind(origin_id, asked_ms))
        };
        let endpoint = Endpoint {
            url: &origin.url,
            host: self.host,
            hosts: &service.hosts,
            tls: &self.live.routes.tls,
            proxy_header: header.as_deref(),
            tried,
            connect_timeout: match per_try {
                Some(per_try) if connect.is_zero() => per_try,
                Some(per_try) => per_try.min(connect),
                None => connect,
            },
        };
        // A WebSocket shares an HTTP/2 connection (RFC 8441), and takes one of HTTP/1.1 for itself.
        let wanted = if self.upgrades && origin.url.scheme != OriginScheme::H2c {
            Wanted::Http1
        } else if self.wants_new {
            Wanted::New
        } else {
            Wanted::Any
        };
        let patience = Patience {
            first_byte: service.timeouts.first_byte,
            idle: service.timeouts.idle,
            per_try: per_try.map(|per_try| (per_try, Instant::now() + per_try)),
            activity: &self.activity,
            is_in_vain: &is_in_vain,
            interim: self.interim,
        };
        let request = Outgoing {
            parts: &self.parts,
            again: copy.filter(|_| self.may_be_repeated()),
            may_pass,
        };
        exchange(pool, &endpoint, wanted, request, body, patience).await
    }

    fn learn(
        &self,
        region: RegionId,
        origin: OriginId,
        response: &Response<Source>,
        times: (u64, u64),
    ) -> Said {
        let Some(store) = self.store else {
            return Said::default();
        };
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let origin = self.live.routes.origin(origin);
        store.learn(name, origin, response.headers(), times)
    }

    /// The name of the region to which something was sent.
    pub(super) fn sent_to_name(&self) -> Option<&'a Arc<str>> {
        self.sent_to
            .map(|region| &self.live.snapshot.plan.regions.of(region).name)
    }
}
