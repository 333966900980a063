//! Tries regions in the order of the Decision until one answers.
//!
//! What was never sent always moves on. What was sent moves on, to another region, only if it may be sent
//! again: a method that `retries.methods` covers, with a body that is held whole, within `retries.attempts` and
//! the budget.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
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
use crate::config::plan::{Access, Retries, RetryMethods, Service, WhenUnsatisfiable, Writes};
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::positions::Standing;
use crate::steering::{Choice, Decision, Verdict};

/// How often a waiting read asks whether the region has caught up (the contract).
const ASK_EVERY: Duration = Duration::from_millis(20);

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
enum Missed {
    /// Nothing was sent: the next origin may be tried.
    Next(Problem),
    /// Something was sent, and may be sent again to another region.
    Elsewhere(Problem),
    /// The request must not be sent again.
    Stop(Problem),
}

/// What a region made of a read that must see the client's writes.
enum Read {
    /// An answer that shows them.
    Fresh(Box<Forwarded>),
    /// 409, which says that the region understands `Meridian-Require`: ask again with the read itself.
    NotYet,
    /// An answer from before them.
    Behind,
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

    /// A read that came with a valid token is always marked.
    async fn forward_marked(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
    ) -> Result<Forwarded, Problem> {
        if !self.carried.token.is_empty() {
            return self.forward_fresh(store, ranked).await;
        }
        let forwarded = self.forward_in_order(ranked).await?;
        let best = ranked.first().map(|choice| choice.region);
        let mark = if best == Some(forwarded.region) {
            Mark::Fresh
        } else {
            Mark::Routed
        };
        Ok(Forwarded {
            mark: Some(mark),
            ..forwarded
        })
    }

    /// When every region was down before the first try, unreachable means that none is able.
    fn when_failing_open(&self, problem: Problem) -> Problem {
        match (self.decision.verdict, problem) {
            (Verdict::FailOpen(_), Problem::Unreachable(why)) => {
                Problem::NoRegion(format!("no region is able to answer; the last try: {why}"))
            }
            (_, problem) => problem,
        }
    }

    async fn forward_in_order(&mut self, ranked: &[Choice]) -> Result<Forwarded, Problem> {
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

    /// Step 4 of the contract, carried out: the order is steering's, the waiting is ours.
    async fn forward_fresh(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
    ) -> Result<Forwarded, Problem> {
        let deadline = Instant::now() + store.consistency.wait;
        for choice in ranked {
            if self.cannot_catch_up(choice.region) {
                continue;
            }
            let (mark, read) = match choice.standing {
                Standing::Dominates => (ready_mark(choice), self.read(store, choice.region).await),
                Standing::Behind { .. } => (
                    Mark::Waited,
                    self.wait_for(store, choice.region, deadline).await,
                ),
            };
            match read {
                Ok(Read::Fresh(forwarded)) => {
                    return Ok(Forwarded {
                        mark: Some(mark),
                        ..*forwarded
                    });
                }
                Ok(Read::NotYet | Read::Behind) if self.body.is_none() => break,
                Ok(Read::NotYet | Read::Behind) | Err(Missed::Next(_) | Missed::Elsewhere(_)) => {}
                Err(Missed::Stop(problem)) => return Err(problem),
            }
        }
        match store.consistency.when_unsatisfiable {
            WhenUnsatisfiable::Fail => Err(Problem::NotCaughtUp),
            WhenUnsatisfiable::Stale if self.body.is_none() => match self.last_resort.take() {
                Some(forwarded) => Ok(Forwarded {
                    mark: Some(Mark::Stale),
                    ..*forwarded
                }),
                None => Err(Problem::NotCaughtUp),
            },
            WhenUnsatisfiable::Stale => {
                let mut by_rank = ranked.to_vec();
                by_rank.sort_by_key(|choice| choice.rank);
                let forwarded = self.forward_in_order(&by_rank).await?;
                Ok(Forwarded {
                    mark: Some(Mark::Stale),
                    ..forwarded
                })
            }
        }
    }

    /// No waiting helps where the client's newest write went elsewhere and nobody knows how far.
    fn cannot_catch_up(&self, region: RegionId) -> bool {
        let name = &self.live.snapshot.plan.regions.of(region).name;
        self.carried
            .token
            .pin
            .as_ref()
            .is_some_and(|pin| pin.region != *name)
    }

    /// Reads from a region with `Meridian-Require`; only an answer that shows the client's writes counts.
    async fn read(&mut self, store: &Store<'_>, region: RegionId) -> Result<Read, Missed> {
        let vector = &self.carried.token.vector;
        let require = if vector.is_empty() {
            None
        } else {
            store.require(vector)
        };
        let forwarded = self.try_region(region, require).await?;
        let dominates = match &forwarded.said.applied {
            Some(applied) => applied.dominates(&self.carried.token.vector),
            // It says nothing of itself: what is known of it has to do.
            None => self.is_known_to_show_all(store, region),
        };
        match (forwarded.response.status(), dominates) {
            (StatusCode::CONFLICT, false) => Ok(Read::NotYet),
            (_, true) => Ok(Read::Fresh(Box::new(forwarded))),
            (_, false) => {
                if self.body.is_none() {
                    self.last_resort = Some(Box::new(forwarded));
                }
                Ok(Read::Behind)
            }
        }
    }

    fn is_known_to_show_all(&self, store: &Store<'_>, region: RegionId) -> bool {
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let required = &self.carried.token.vector;
        store.applied.standing(name, required, clock::steady_ms()) == Standing::Dominates
    }

    /// Asks a region again and again until it has caught up or the time is over.
    async fn wait_for(
        &mut self,
        store: &Store<'_>,
        region: RegionId,
        deadline: Instant,
    ) -> Result<Read, Missed> {
        let mut ask_itself = true;
        loop {
            if Instant::now() >= deadline {
                return Ok(Read::Behind);
            }
            if ask_itself || self.is_known_to_show_all(store, region) {
                // A region may hold the read until it has caught up, but no longer than the client would.
                let held = tokio::time::timeout_at(deadline, self.read(store, region)).await;
                let Ok(read) = held else {
                    self.body = self.kept.as_ref().and_then(Body::copy);
                    return Ok(Read::Behind);
                };
                match read? {
                    Read::Fresh(forwarded) => return Ok(Read::Fresh(forwarded)),
                    Read::NotYet | Read::Behind if self.body.is_none() => return Ok(Read::Behind),
                    Read::NotYet => {}
                    Read::Behind => ask_itself = false,
                }
            } else if !self.ask_health_path(store, region).await {
                ask_itself = true; // Its health check says nothing of positions.
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + ASK_EVERY)).await;
        }
    }

    /// Learns a region's positions from its health path; whether it said anything.
    async fn ask_health_path(&self, store: &Store<'_>, region: RegionId) -> bool {
        let routes = &self.live.routes;
        let Some((origin, target)) = routes.probes(self.service_id, region).next() else {
            return false;
        };
        let asked_at_ms = clock::steady_ms();
        let result = routes.prober(self.service_id).probe(target).await;
        let Some(applied) = result.applied.and_then(|text| store.parse_applied(&text)) else {
            return false;
        };
        let name = &self.live.snapshot.plan.regions.of(region).name;
        store.report(name, routes.origin(origin), &applied, asked_at_ms);
        true
    }

    /// Tries a region's origins, the able ones first.
    async fn try_region(
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

/// The mark of a region that had it all when it was chosen.
fn ready_mark(choice: &Choice) -> Mark {
    if choice.rank == 0 {
        Mark::Fresh
    } else {
        Mark::Routed
    }
}
