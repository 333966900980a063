//! Step 4 of the contract, carried out: reads that must see the client's own writes. The order of the
//! regions is steering's; the waiting, the asking again and the marks are ours.

use http::StatusCode;
use tokio::time::Instant;

use super::asker::{ASK_EVERY, Asker};
use super::body::Body;
use super::consistency::Store;
use super::forward::{Forwarded, Missed, Outbound};
use super::problem::Problem;
use crate::config::plan::WhenUnsatisfiable;
use crate::ids::RegionId;
use crate::positions::{Asked, Judged, Mark, Standing, Vector, judge};
use crate::steering::Choice;

/// What a region made of a read that must see the client's writes.
enum Read {
    /// An answer that shows them.
    Fresh(Box<Forwarded>),
    /// One that does not.
    Old(Old),
}

/// What an answer that does not show the client's writes tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old {
    /// 409, which says that the region understands `Meridian-Require`: the read itself may ask again.
    pub(super) is_not_yet: bool,
    /// Whether it says what the region has applied, so that all who wait learn from it.
    pub(super) tells: bool,
}

impl Old {
    /// There was no answer in time.
    const UNASKED: Self = Self {
        is_not_yet: true,
        tells: false,
    };
}

impl Outbound<'_> {
    /// A read that came with a valid token is always marked. Most are answered as they should be by the first region
    /// that is asked. All else is boxed: what is rare must not make every request's future larger.
    pub(super) async fn forward_marked(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
    ) -> Result<Forwarded, Problem> {
        if self.visit.token.is_empty() {
            return Box::pin(self.forward_unasked(ranked)).await;
        }
        let deadline = Instant::now() + store.consistency.wait;
        let Some(choice) = self.first_ready(ranked) else {
            return Box::pin(self.forward_fresh(store, ranked, deadline, None)).await;
        };
        let asked = self.try_region(choice.region, self.require(store)).await;
        let missed = match asked.map(|forwarded| self.weigh(store, forwarded)) {
            Ok(Ok(forwarded)) => {
                return Ok(Forwarded {
                    mark: Some(ready_mark(choice)),
                    ..forwarded
                });
            }
            Ok(Err(old)) => Ok(Read::Old(old)),
            Err(missed) => Err(missed),
        };
        Box::pin(self.forward_fresh(store, ranked, deadline, Some(missed))).await
    }

    /// The region that is asked first, if that had all that the client must see when it was chosen.
    fn first_ready<'c>(&self, ranked: &'c [Choice]) -> Option<&'c Choice> {
        let mut able = ranked
            .iter()
            .filter(|choice| !self.cannot_catch_up(choice.region));
        able.next()
            .filter(|choice| choice.standing == Standing::Dominates)
    }

    /// A read of a token that asks for nothing any more.
    async fn forward_unasked(&mut self, ranked: &[Choice]) -> Result<Forwarded, Problem> {
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

    /// Step 4 of the contract, carried out: the order is steering's, the waiting is ours. `first` is what the first
    /// region said, if it was asked already.
    async fn forward_fresh(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
        deadline: Instant,
        mut first: Option<Result<Read, Missed>>,
    ) -> Result<Forwarded, Problem> {
        for choice in ranked {
            if self.cannot_catch_up(choice.region) {
                continue;
            }
            let (mark, read) = match choice.standing {
                Standing::Dominates => {
                    let read = match first.take() {
                        Some(read) => read,
                        None => self.read(store, choice.region).await,
                    };
                    (ready_mark(choice), read)
                }
                Standing::Behind { .. } => (
                    Mark::Waited,
                    Box::pin(self.wait_timed(store, choice.region, deadline)).await,
                ),
            };
            match read {
                Ok(Read::Fresh(forwarded)) => {
                    return Ok(Forwarded {
                        mark: Some(mark),
                        ..*forwarded
                    });
                }
                Ok(Read::Old(_)) if self.body.is_none() => break,
                Ok(Read::Old(_)) => {}
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
        self.visit
            .token
            .pin
            .as_ref()
            .is_some_and(|pin| pin.region != *name)
    }

    /// Reads from a region with `Meridian-Require`; only an answer that shows the client's writes counts.
    async fn read(&mut self, store: &Store<'_>, region: RegionId) -> Result<Read, Missed> {
        let forwarded = self.try_region(region, self.require(store)).await?;
        Ok(match self.weigh(store, forwarded) {
            Ok(forwarded) => Read::Fresh(Box::new(forwarded)),
            Err(old) => Read::Old(old),
        })
    }

    /// What the region must see, as it is told.
    fn require(&self, store: &Store<'_>) -> Option<http::HeaderValue> {
        let vector = &self.visit.token.vector;
        let carried = self.carried.filter(|_| !vector.is_empty())?;
        carried.require(vector, store)
    }

    /// The answer, if it shows what its client must see.
    fn weigh(&mut self, store: &Store<'_>, forwarded: Forwarded) -> Result<Forwarded, Old> {
        let judged = self.judge(store, &forwarded);
        if judged == Judged::Shows {
            return Ok(forwarded);
        }
        let old = Old {
            is_not_yet: judged == Judged::NotYet,
            tells: forwarded.said.applied.is_some(),
        };
        if !old.is_not_yet && self.body.is_none() {
            self.last_resort = Some(Box::new(forwarded));
        }
        Err(old)
    }

    /// What an answer is worth. One that seems too old may have told that what it lacks is lost.
    fn judge(&mut self, store: &Store<'_>, forwarded: &Forwarded) -> Judged {
        let region = &self.live.snapshot.plan.regions.of(forwarded.region).name;
        let origin: &str = self.live.routes.origin(forwarded.origin);
        let asked = Asked {
            region,
            origin,
            had_all: forwarded.had_all,
        };
        let is_conflict = forwarded.response.status() == StatusCode::CONFLICT;
        let judged =
            |required: &Vector| judge(store.applied, asked, &forwarded.said, required, is_conflict);
        let first = judged(&self.visit.token.vector);
        match first {
            Judged::Shows => first,
            // It said so to the whole vector: what is left of that is for it to be asked again.
            Judged::NotYet => {
                self.visit.sift(store.applied);
                first
            }
            Judged::Behind => {
                self.visit.give_up_lost(store.applied);
                judged(&self.visit.token.vector)
            }
        }
    }

    /// As [`Outbound::wait_for`], and counts how long it took.
    async fn wait_timed(
        &mut self,
        store: &Store<'_>,
        region: RegionId,
        deadline: Instant,
    ) -> Result<Read, Missed> {
        let began = Instant::now();
        let read = self.wait_for(store, region, deadline).await;
        let name = self.live.snapshot.plan.regions.of(region).name.to_string();
        metrics::histogram!("meridian_read_wait_seconds", "region" => name)
            .record(began.elapsed().as_secs_f64());
        read
    }

    /// Reads from a region whenever it may have caught up, until it has or the time is over.
    async fn wait_for(
        &mut self,
        store: &Store<'_>,
        region: RegionId,
        deadline: Instant,
    ) -> Result<Read, Missed> {
        let name = &self.live.snapshot.plan.regions.of(region).name;
        if Instant::now() >= deadline {
            return Ok(Read::Old(Old::UNASKED));
        }
        let Some(wait) = store.applied.wait(name, &self.visit.token.vector) else {
            return Ok(self.give_up(store, name));
        };
        let mut turn = None;
        let mut is_woken_in_vain = false;
        loop {
            let began = Instant::now();
            let old = match self.read_by(store, region, deadline).await? {
                Read::Old(old) => old,
                fresh @ Read::Fresh(_) => return Ok(fresh),
            };
            if self.body.is_none() || Instant::now() >= deadline {
                return Ok(Read::Old(old));
            }
            drop(turn.take());
            let required = &self.visit.token.vector;
            let asker = Asker {
                outbound: self,
                store,
                region,
                last: old,
                began,
            };
            tokio::select! {
                () = wait.freed(required) => if is_woken_in_vain {
                    tokio::time::sleep_until(deadline.min(began + ASK_EVERY)).await;
                },
                asked = asker.ask(&wait) => turn = asked,
                () = tokio::time::sleep_until(deadline) => return Ok(Read::Old(old)),
            }
            is_woken_in_vain = true;
            // Nothing is under way, so what all have or none has any more need not be asked for again.
            self.visit.sift(store.applied);
        }
    }

    /// As if the time were over: too many wait for this region.
    fn give_up(&self, store: &Store<'_>, region: &str) -> Read {
        metrics::counter!("meridian_waits_refused_total", "domain" => store.domain.name.to_string(), "region" => region.to_owned())
            .increment(1);
        Read::Old(Old::UNASKED)
    }

    /// A region may hold a read until it has caught up, but no longer than the client would wait.
    async fn read_by(
        &mut self,
        store: &Store<'_>,
        region: RegionId,
        deadline: Instant,
    ) -> Result<Read, Missed> {
        let held = tokio::time::timeout_at(deadline, self.read(store, region)).await;
        held.unwrap_or_else(|_| {
            self.body = self.kept.as_ref().and_then(Body::copy);
            self.trying = None;
            Ok(Read::Old(Old::UNASKED))
        })
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
