//! Step 4 of the contract, carried out: reads that must see the client's own writes. The order of the
//! regions is steering's; the waiting, the asking again and the marks are ours.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::body::Body;
use super::consistency::Store;
use super::forward::{Forwarded, Missed, Outbound};
use super::problem::Problem;
use crate::clock;
use crate::config::plan::WhenUnsatisfiable;
use crate::ids::RegionId;
use crate::positions::{Judged, Mark, Standing, Vector, judge};
use crate::steering::Choice;

/// How often a waiting read asks whether the region has caught up (the contract).
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What a region made of a read that must see the client's writes.
enum Read {
    /// An answer that shows them.
    Fresh(Box<Forwarded>),
    /// 409, which says that the region understands `Meridian-Require`: ask again with the read itself.
    NotYet,
    /// An answer from before them.
    Behind,
}

impl Outbound<'_> {
    /// A read that came with a valid token is always marked.
    pub(super) async fn forward_marked(
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
                    Box::pin(self.wait_for(store, choice.region, deadline)).await,
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
                Ok(Read::NotYet | Read::Behind) => {}
                Err(missed) => {
                    self.move_on(missed).await?;
                }
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
                    mark: Some(self.mark_of_last_try(store, &by_rank, &forwarded)),
                    ..forwarded
                })
            }
        }
    }

    /// An answer that was taken for want of a better one is stale, unless it shows all the same what is needed.
    fn mark_of_last_try(
        &mut self,
        store: &Store<'_>,
        by_rank: &[Choice],
        forwarded: &Forwarded,
    ) -> Mark {
        let is_right = !self.cannot_catch_up(forwarded.region)
            && self.judge(store, forwarded) == Judged::Shows;
        match by_rank.first() {
            Some(best) if is_right && best.region == forwarded.region => Mark::Fresh,
            Some(_) if is_right => Mark::Routed,
            Some(_) | None => Mark::Stale,
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
        match self.judge(store, &forwarded) {
            Judged::NotYet => Ok(Read::NotYet),
            Judged::Shows => Ok(Read::Fresh(Box::new(forwarded))),
            Judged::Behind => {
                if self.body.is_none() {
                    self.last_resort = Some(Box::new(forwarded));
                }
                Ok(Read::Behind)
            }
        }
    }

    /// What an answer is worth. One that seems too old may have told that what it lacks is lost.
    fn judge(&mut self, store: &Store<'_>, forwarded: &Forwarded) -> Judged {
        let region = &self.live.snapshot.plan.regions.of(forwarded.region).name;
        let origin: &str = self.live.routes.origin(forwarded.origin);
        let from = (&**region, origin);
        let is_conflict = forwarded.response.status() == StatusCode::CONFLICT;
        let judged =
            |required: &Vector| judge(store.applied, from, &forwarded.said, required, is_conflict);
        let first = judged(&self.carried.token.vector);
        match first {
            Judged::Shows => first,
            // It said so to the whole vector: what is left of that is for it to be asked again.
            Judged::NotYet => {
                self.carried.sift(store.applied);
                first
            }
            Judged::Behind => {
                self.carried.give_up_lost(store.applied);
                judged(&self.carried.token.vector)
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
                    self.trying = None;
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
}

/// The mark of a region that had it all when it was chosen.
fn ready_mark(choice: &Choice) -> Mark {
    if choice.rank == 0 {
        Mark::Fresh
    } else {
        Mark::Routed
    }
}
