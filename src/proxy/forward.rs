//! Tries regions in the order of the Decision until one answers.
//!
//! What was never sent always moves on. What was sent moves on, to another region, only if it may be sent
//! again: a method that `retries.methods` covers, with a body that is held whole, within `retries.attempts` and
//! the budget.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::activity::Activity;
use super::body::Body;
use super::connect::Wanted;
use super::consistency::{Carried, MERIDIAN_REQUIRE, Mark, Said, Store};
use super::context::{Counted, Live, Worker};
use super::exchange::{Exchanged, Patience, exchange};
use super::pool::{Endpoint, Lease};
use super::problem::Problem;
use super::routes::Admitted;
use crate::clock;
use crate::config::plan::{Access, Retries, RetryMethods, Service, Writes};
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::steering::{Choice, Decision, Verdict};

/// Origins of one region that are tried before the next region.
const MOST_ORIGINS: usize = 3;

/// A request ready to be sent, to whichever region.
pub(super) struct Outbound<'a> {
    pub(super) live: &'a Live,
    pub(super) worker: &'a Worker,
    pub(super) service_id: ServiceId,
    pub(super) host: &'a str,
    /// With an absolute URI, so that its authority is the one that the client asked for.
    pub(super) parts: Parts,
    /// Taken while it is being sent; gone once some of it was.
    pub(super) body: Option<Body>,
    pub(super) upgrades: bool,
    pub(super) decision: Decision,
    pub(super) store: Option<Store<'a>>,
    pub(super) carried: Carried,
    pub(super) access: Access,
    pub(super) activity: Arc<Activity>,
    /// A copy of the body that is being sent, if it is held whole.
    pub(super) kept: Option<Body>,
    /// An answer from before the client's writes, to a request that cannot be sent again.
    pub(super) last_resort: Option<Box<Forwarded>>,
    /// The last region to which something was sent.
    pub(super) sent_to: Option<RegionId>,
    pub(super) retries_left: u8,
    /// What this request's retries take of the budget.
    pub(super) retrying: Option<Counted<'a>>,
}

/// An answer on its way back.
pub(super) struct Forwarded {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) admitted: Admitted,
    pub(super) region: RegionId,
    pub(super) said: Said,
    pub(super) mark: Option<Mark>,
    /// From sending to the head of the answer.
    pub(super) origin_time: Duration,
}

/// A try that came to nothing.
pub(super) enum Missed {
    /// Nothing was sent: the next origin may be tried.
    Next(Problem),
    /// Something was sent, and may be sent again to another region.
    Elsewhere(Problem),
    /// The request must not be sent again.
    Stop(Problem),
}

impl<'a> Outbound<'a> {
    fn service(&self) -> &'a Service {
        self.live.snapshot.plan.services.of(self.service_id)
    }

    /// Forwards to the first region that answers as it should.
    pub(super) async fn forward(&mut self) -> Result<Forwarded, Problem> {
        if let Verdict::Refused(refusal) = self.decision.verdict {
            return Err(Problem::NoRegion(refusal.to_string()));
        }
        let ranked = self.decision.ranked.clone();
        let outcome = match self.store {
            Some(store) if self.carried.valid && self.access == Access::Read => {
                self.forward_marked(&store, &ranked).await
            }
            Some(_) | None => self.forward_in_order(&ranked).await,
        };
        outcome.map_err(|problem| self.when_failing_open(problem))
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

    pub(super) async fn forward_in_order(
        &mut self,
        ranked: &[Choice],
    ) -> Result<Forwarded, Problem> {
        let mut last = Problem::NoRegion("no region is able to answer".into());
        for choice in ranked {
            match self.try_region(choice.region, None).await {
                Ok(forwarded) => return Ok(forwarded),
                Err(Missed::Stop(problem)) => return Err(problem),
                Err(Missed::Next(problem) | Missed::Elsewhere(problem)) => last = problem,
            }
        }
        Err(last)
    }

    /// Tries a region's origins, the able ones first.
    pub(super) async fn try_region(
        &mut self,
        region: RegionId,
        require: Option<http::HeaderValue>,
    ) -> Result<Forwarded, Missed> {
        let mut last = Missed::Next(Problem::Unreachable("the region has no origins".into()));
        for origin in self.origins(region) {
            match self.try_origin(region, origin, require.clone()).await {
                Err(Missed::Next(problem)) => last = Missed::Next(problem),
                done => return done,
            }
        }
        Err(last)
    }

    /// A region's origins in the order to try them: spread over clients, the able ones if any is,
    /// and of those first the ones that may have what the client must see.
    fn origins(&self, region: RegionId) -> Vec<OriginId> {
        let snapshot = &self.live.snapshot;
        let state = snapshot.services.of(self.service_id);
        let able: Vec<OriginId> = state
            .able_origins
            .iter()
            .filter(|(of, _)| *of == region)
            .map(|(_, origin)| *origin)
            .collect();
        let all = &snapshot.plan.regions.of(region).origins;
        let mut origins = if able.is_empty() { all.clone() } else { able };
        if origins.len() > 1 {
            let spread = fastrand::usize(..origins.len());
            origins.rotate_left(spread);
            if let Some(store) = self.store {
                let (name, required) = (
                    &snapshot.plan.regions.of(region).name,
                    &self.carried.token.vector,
                );
                origins.sort_by_key(|origin| {
                    !store.applied.origin_may_answer(
                        name,
                        self.live.routes.origin(*origin),
                        required,
                    )
                });
            }
        }
        origins.truncate(MOST_ORIGINS);
        origins
    }

    async fn try_origin(
        &mut self,
        region: RegionId,
        origin: OriginId,
        require: Option<http::HeaderValue>,
    ) -> Result<Forwarded, Missed> {
        let service = self.service();
        let lane = self.live.routes.lane(self.service_id, region);
        let admitted =
            lane.and_then(|lane| lane.in_flight.admit(service.limits.in_flight_per_region));
        let Some(admitted) = admitted else {
            return Err(if self.is_at_home() {
                Missed::Stop(Problem::Overloaded)
            } else {
                Missed::Next(Problem::Overloaded)
            });
        };
        let Some(body) = self.body.take() else {
            return Err(Missed::Stop(Problem::BrokenOrigin(
                "the body is spent".into(),
            )));
        };
        let copy = body.copy();
        self.kept = body.copy();
        match require {
            Some(require) => self.parts.headers.insert(MERIDIAN_REQUIRE, require),
            None => self.parts.headers.remove(MERIDIAN_REQUIRE),
        };
        let (asked_at_ms, began) = (clock::steady_ms(), Instant::now());
        // Before it is known: whoever gives up waiting must take it for sent.
        let sent_before = self.sent_to.replace(region);
        let exchanged = self.send(origin, body).await;
        if let Some(witness) = lane.and_then(|lane| lane.witness(origin)) {
            witness.note(&exchanged);
        }
        match exchanged {
            Exchanged::Answered(response, lease) => {
                self.body = copy; // Of a read that has to be asked again.
                let said = self.learn(region, origin, &response, asked_at_ms);
                let origin_time = began.elapsed();
                Ok(Forwarded {
                    response,
                    lease,
                    admitted,
                    region,
                    said,
                    mark: None,
                    origin_time,
                })
            }
            Exchanged::Unsent(problem, body) => {
                self.body = Some(body);
                self.sent_to = sent_before;
                Err(Missed::Next(problem))
            }
            Exchanged::Refused(problem) => {
                self.sent_to = sent_before;
                self.body = copy;
                Err(match self.body {
                    Some(_) => Missed::Elsewhere(problem),
                    None => Missed::Stop(problem),
                })
            }
            Exchanged::Lost(problem) => Err(self.after_loss(problem, copy)),
        }
    }

    /// Whether conflicting writes of one key meet in one region, so that none may go elsewhere only
    /// because that one is busy.
    fn is_at_home(&self) -> bool {
        self.access == Access::Write && matches!(self.service().writes, Writes::Home { .. })
    }

    async fn send(&self, origin: OriginId, body: Body) -> Exchanged {
        let service = self.service();
        let endpoint = Endpoint {
            url: &self.live.snapshot.plan.origins.of(origin).url,
            host: self.host,
            tls: &self.live.routes.tls,
            connect_timeout: service.timeouts.connect,
        };
        let wanted = if self.upgrades {
            Wanted::Http1
        } else {
            Wanted::Any
        };
        let patience = Patience {
            first_byte: service.timeouts.first_byte,
            idle: service.timeouts.idle,
            activity: &self.activity,
        };
        exchange(
            &self.worker.pool,
            &endpoint,
            wanted,
            &self.parts,
            body,
            patience,
        )
        .await
    }

    fn learn(
        &self,
        region: RegionId,
        origin: OriginId,
        response: &Response<Incoming>,
        asked_at_ms: u64,
    ) -> Said {
        let Some(store) = self.store else {
            return Said::default();
        };
        let name = &self.live.snapshot.plan.regions.of(region).name;
        store.learn(
            name,
            self.live.routes.origin(origin),
            response.headers(),
            asked_at_ms,
        )
    }

    /// Whether a request of which something was sent may go to the next region.
    fn after_loss(&mut self, problem: Problem, copy: Option<Body>) -> Missed {
        let retries = self.service().retries;
        let is_covered = covers(&retries, &self.parts.method, self.access);
        if copy.is_none() || !is_covered || self.retries_left == 0 {
            return Missed::Stop(problem);
        }
        if self.retrying.is_none() {
            self.retrying = self.worker.retry(retries.budget.ratio());
        }
        if self.retrying.is_none() {
            return Missed::Stop(problem);
        }
        self.retries_left -= 1;
        self.body = copy;
        metrics::counter!("meridian_http_retries_total").increment(1);
        Missed::Elsewhere(problem)
    }

    /// The name of the region to which something was sent.
    pub(super) fn sent_to_name(&self) -> Option<&'a Arc<str>> {
        self.sent_to
            .map(|region| &self.live.snapshot.plan.regions.of(region).name)
    }
}

/// Whether such a request may be sent again after something of it was sent. What `intents` calls a
/// read is safe, and what they call a write is not, whatever its method.
pub(super) fn covers(retries: &Retries, method: &Method, access: Access) -> bool {
    match retries.methods {
        RetryMethods::None => false,
        RetryMethods::Safe => access == Access::Read,
        // RFC 9110 §9.2.2.
        RetryMethods::Idempotent => {
            access == Access::Read || matches!(*method, Method::PUT | Method::DELETE)
        }
    }
}
