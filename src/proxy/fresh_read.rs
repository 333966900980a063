//! Step 4 of the contract, carried out: reads that must see the client's own writes. The order of the
//! regions is steering's, what is next and how it is marked `positions::Course`'s; the waiting and the sending are ours.

use std::pin::pin;

use http::StatusCode;
use tokio::time::Instant;

use super::asker::Asker;
use super::body::Body;
use super::consistency::{Store, is_write};
use super::forward::{Forwarded, Missed, Outbound};
use super::health_paths::HealthPaths;
use super::lookout::Lookout;
use super::problem::Problem;
use crate::clock;
use crate::ids::RegionId;
use crate::positions::{
    Asked, Course, Judged, Leg, Mark, Next, Old, Others, Standing, Wait, ask_any_mark,
    pause_when_woken,
};
use crate::steering::Choice;

/// A region's answer from before the client's writes, and when it was asked for.
#[derive(Clone, Copy)]
struct Earlier {
    region: RegionId,
    old: Old,
    began: Instant,
}

/// What a region made of a read that must see the client's writes.
enum Read {
    /// An answer that shows them.
    Fresh(Box<Forwarded>),
    /// One that does not.
    Old(Old),
}

/// How a wait for a region ended.
enum Waited {
    /// With what that made of the read.
    Read(Result<Read, Missed>),
    /// Another region is known to have all.
    Found(RegionId),
}

impl Forwarded {
    fn marked(mut self: Box<Self>, mark: Mark) -> Box<Self> {
        self.mark = Some(mark);
        self
    }
}

impl<'b> Outbound<'b> {
    /// A read that came with a valid token is always marked. Most are answered as they should be by the first region
    /// that is asked. All else is boxed: what is rare must not make every request's future larger.
    pub(super) async fn forward_marked(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
    ) -> Result<Box<Forwarded>, Problem> {
        if self.visit.token().is_empty() {
            return Box::pin(self.forward_unasked(store, ranked)).await;
        }
        let (mut has_begun, mut asked) = (false, None);
        if let Some(leg) = self.first_ready(ranked) {
            has_begun = true;
            let (region, began) = (leg.region, Instant::now());
            let require = self.require(store);
            match self.try_region(region, require.as_ref()).await {
                Ok(forwarded) => match self.weigh(store, forwarded) {
                    Ok(forwarded) => return Ok(forwarded.marked(leg.mark())),
                    Err(old) => asked = Some(Earlier { region, old, began }),
                },
                Err(missed) => {
                    Box::pin(self.move_on(missed)).await?;
                }
            }
        }
        Box::pin(self.forward_fresh(store, ranked, has_begun, asked)).await
    }

    /// Where the course begins, if that is a region that had all that the client must see when it was chosen.
    fn first_ready(&self, ranked: &[Choice]) -> Option<Leg> {
        let token = self.visit.token();
        let mut hopeful = ranked
            .iter()
            .filter(|choice| !token.is_pinned_elsewhere(self.name_of(choice.region)));
        let first = hopeful.next().map(|choice| self.leg(*choice));
        first.filter(|leg| leg.standing == Standing::Dominates)
    }

    /// A read of a token that asks for nothing any more, unless an answer shows that it should.
    async fn forward_unasked(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
    ) -> Result<Box<Forwarded>, Problem> {
        let decision = self.decision.clone();
        let forwarded = self.forward_in_order(ranked, &decision.left_out).await?;
        match self.weigh(store, forwarded) {
            Ok(forwarded) => {
                let best = ranked.first().map(|choice| choice.region);
                let mark = ask_any_mark(best, forwarded.region);
                Ok(forwarded.marked(mark))
            }
            // Boxed: it is rare, and its future many times as large.
            Err(_) => Box::pin(self.forward_fresh(store, ranked, false, None)).await,
        }
    }

    /// Step 4 of the contract, carried out: the order is steering's, what is next is the course's to say.
    async fn forward_fresh(
        &mut self,
        store: &Store<'_>,
        ranked: &[Choice],
        has_begun: bool,
        mut asked: Option<Earlier>,
    ) -> Result<Box<Forwarded>, Problem> {
        // Who is asked is not waited for: what an origin took that never answered is no part of that.
        let is_missed = has_begun && asked.is_none();
        let began = self.began.filter(|_| !is_missed);
        let mut deadline = began.unwrap_or_else(Instant::now) + store.consistency.wait;
        let mut course = self.course(store, ranked);
        if has_begun && let Next::Ask(leg) = course.next(false, true) {
            match asked {
                Some(_) => course.is_behind_after_all(leg),
                None => course.is_missed(leg.region),
            }
        }
        loop {
            let (is_over, began) = (Instant::now() >= deadline, Instant::now());
            let next = course.next(is_over, self.body.is_some());
            let (leg, read) = match next {
                Next::Ask(leg) if leg.is_hopeless && !is_over => {
                    (leg, self.read_by(store, leg.region, deadline).await)
                }
                Next::Ask(leg) => (leg, self.read(store, leg.region).await),
                Next::Wait(leg) => {
                    let asked = asked.filter(|asked| asked.region == leg.region);
                    let waiting = self.wait_on(store, &mut course, leg, (asked, deadline));
                    match Box::pin(waiting).await {
                        Some(read) => (leg, read),
                        None => continue,
                    }
                }
                Next::Any => return self.forward_any(store, &course).await,
                Next::Kept => return self.forward_kept(),
                Next::Nothing => return Err(Problem::NotCaughtUp),
            };
            match read {
                Ok(Read::Fresh(forwarded)) => return Ok(forwarded.marked(course.mark(leg))),
                Ok(Read::Old(old)) => {
                    let region = leg.region;
                    asked = Some(Earlier { region, old, began });
                    course.is_behind_after_all(leg);
                }
                Err(missed) => {
                    course.is_missed(leg.region);
                    self.move_on(missed).await?;
                    if let Next::Ask(_) = next {
                        deadline += began.elapsed();
                    }
                }
            }
        }
    }

    fn course(&self, store: &Store<'_>, ranked: &[Choice]) -> Course {
        let legs = ranked.iter().map(|choice| self.leg(*choice)).collect();
        let reserve = self.decision.reserve.iter().map(|choice| self.leg(*choice));
        let course = Course::new(legs, store.consistency.when_unsatisfiable);
        course.with_reserve(reserve)
    }

    fn leg(&self, choice: Choice) -> Leg {
        let name = self.name_of(choice.region);
        let token = self.visit.token();
        let is_hopeless = token.is_pinned_elsewhere(name);
        let standing = match self.store {
            Some(store) if is_hopeless => {
                let now_ms = clock::steady_ms();
                store.applied.standing(name, &token.vector, now_ms)
            }
            Some(_) | None => choice.standing,
        };
        Leg {
            region: choice.region,
            rank: choice.rank,
            standing,
            is_hopeless,
        }
    }

    pub(super) fn name_of(&self, region: RegionId) -> &str {
        &self.live.snapshot.plan.regions.of(region).name
    }

    /// Any region's answer, for want of one that shows the client's writes.
    async fn forward_any(
        &mut self,
        store: &Store<'_>,
        course: &Course,
    ) -> Result<Box<Forwarded>, Problem> {
        let regions = &self.live.snapshot.plan.regions;
        let required = &self.visit.token().vector;
        let lacks = |region| store.applied.lacks(&regions.of(region).name, required);
        let legs = course.for_want_of_better(lacks).into_iter();
        let choices = legs.map(|leg| Choice {
            region: leg.region,
            rank: leg.rank,
            standing: leg.standing,
        });
        let choices: Vec<Choice> = choices.collect();
        let decision = self.decision.clone();
        let left_out = &decision.left_out;
        let forwarded = self.forward_in_order(&choices, left_out).await?;
        let judged = self.judge(store, &forwarded);
        let is_of = |choice: &Choice| choice.region == forwarded.region;
        // Whoever is not read from may have begun anew, or stand still, whatever it says of these writes.
        let mark = if forwarded.was_left_out || left_out.iter().any(is_of) {
            Mark::Stale
        } else {
            course.last_mark(forwarded.region, judged)
        };
        Ok(forwarded.marked(mark))
    }

    /// The answer that there is to a request that cannot be sent again.
    fn forward_kept(&mut self) -> Result<Box<Forwarded>, Problem> {
        let kept = self.last_resort.take().ok_or(Problem::NotCaughtUp)?;
        Ok(kept.marked(Mark::Stale))
    }

    /// Reads from a region with `Meridian-Require`; only an answer that shows the client's writes counts.
    async fn read(&mut self, store: &Store<'_>, region: RegionId) -> Result<Read, Missed> {
        let require = self.require(store);
        let forwarded = self.try_region(region, require.as_ref()).await?;
        Ok(match self.weigh(store, forwarded) {
            Ok(forwarded) => Read::Fresh(forwarded),
            Err(old) => Read::Old(old),
        })
    }

    /// What the region must see, as it is told.
    fn require(&self, store: &Store<'_>) -> Option<http::HeaderValue> {
        let is_empty = self.visit.token().vector.is_empty();
        let carried = self.carried.filter(|_| !is_empty)?;
        carried.require(&self.visit, store)
    }

    /// The answer, if it shows what its client must see.
    fn weigh(
        &mut self,
        store: &Store<'_>,
        forwarded: Box<Forwarded>,
    ) -> Result<Box<Forwarded>, Old> {
        let judged = self.judge(store, &forwarded);
        if judged == Judged::Shows {
            return Ok(forwarded);
        }
        let has_written = is_write(&forwarded.said);
        if has_written {
            self.note_written(&forwarded);
        }
        let old = Old {
            is_not_yet: judged == Judged::NotYet,
            tells: forwarded.said.applied.is_some(),
        };
        if has_written || (!old.is_not_yet && self.body.is_none()) {
            self.last_resort = Some(forwarded);
        }
        Err(old)
    }

    /// What has written is not sent again, and its position is for its client, whatever that is answered.
    fn note_written(&mut self, forwarded: &Forwarded) {
        let region = &self.live.snapshot.plan.regions.of(forwarded.region).name;
        let status = forwarded.response.status();
        self.written = Some(Store::minted(region, status, &forwarded.said));
        (self.body, self.kept) = (None, None);
        self.sent_to = Some(forwarded.region);
    }

    /// What an answer is worth. Most say what the last one said.
    pub(super) fn judge(&mut self, store: &Store<'_>, forwarded: &Forwarded) -> Judged {
        let seen = forwarded.said.applied.as_ref();
        let repeat = self.repeat(store).zip(seen);
        if repeat.is_some_and(|(repeat, seen)| repeat.is_shown_by(seen)) {
            return Judged::Shows;
        }
        let judged = self.judge_anew(store, forwarded);
        if judged == Judged::Shows
            && let Some((repeat, seen)) = self.repeat(store).zip(seen)
        {
            repeat.note_shown(seen);
        }
        judged
    }

    fn judge_anew(&mut self, store: &Store<'_>, forwarded: &Forwarded) -> Judged {
        let region = &self.live.snapshot.plan.regions.of(forwarded.region).name;
        let origin: &str = self.live.routes.origin(forwarded.origin);
        let asked = Asked {
            region,
            origin,
            asked_at_ms: forwarded.asked_at_ms,
            had_all: forwarded.had_all,
            was_left_out: self.decision.was_left_out(forwarded.region),
        };
        let is_conflict = forwarded.response.status() == StatusCode::CONFLICT;
        self.visit
            .weigh(store.applied, asked, &forwarded.said, is_conflict)
    }

    /// A place among those who wait for a region. None, as if the time were over: too many do.
    fn take_place(&self, store: &Store<'_>, region: RegionId) -> Option<Wait> {
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let place = store.applied.wait(name, &self.visit.token().vector);
        if place.is_none()
            && let Some(lane) = self.live.routes.lane(self.service_id, region)
        {
            lane.waits.refused(&store.domain.name, name);
        }
        place
    }

    /// Waits for a region, if there is a place; none: the course goes on elsewhere.
    async fn wait_on(
        &mut self,
        store: &Store<'_>,
        course: &mut Course,
        leg: Leg,
        (asked, deadline): (Option<Earlier>, Instant),
    ) -> Option<Result<Read, Missed>> {
        let wait = self.take_place(store, leg.region)?;
        let round_trip_ms = self.live.snapshot.edge.round_trip_ms();
        let others = course.elsewhere(leg, round_trip_ms);
        let waiting = self.wait_or_find(store, leg, (&wait, asked, deadline), others);
        let waited = waiting.await;
        if self.has_waited {
            course.waits();
        }
        match waited {
            Waited::Read(read) => Some(read),
            Waited::Found(found) => {
                course.is_found(found, leg);
                None
            }
        }
    }

    /// As [`Outbound::wait_for`], unless one of the others is known to have all before. Counts how long it took.
    async fn wait_or_find(
        &mut self,
        store: &Store<'_>,
        leg: Leg,
        (wait, asked, deadline): (&Wait, Option<Earlier>, Instant),
        others: Others,
    ) -> Waited {
        let (began, plan) = (Instant::now(), &self.live.snapshot.plan);
        let is_held_whole = |body: &Body| body.copy().is_some();
        let can_be_left = self.body.as_ref().is_some_and(is_held_whole);
        let required = self.visit.token().vector.clone();
        let look = |regions: Vec<RegionId>| {
            let regions = regions.into_iter().filter(|_| can_be_left);
            let paths = regions.map(|region| self.health_paths(store, region));
            Lookout::new(store.applied, paths.collect(), &required)
        };
        let (at_once, when_overdue) = (look(others.at_once), look(others.when_overdue));
        let found_elsewhere = async {
            tokio::select! {
                found = at_once.found() => found,
                found = async {
                    tokio::time::sleep_until(began + others.patience).await;
                    when_overdue.found().await
                } => found,
            }
        };
        let waited = tokio::select! {
            biased;
            read = self.wait_for(store, leg.region, wait, asked, deadline) => Waited::Read(read),
            found = found_elsewhere => {
                self.give_up_read();
                self.visit.sift(store.applied);
                Waited::Found(found)
            }
        };
        if let Some(lane) = self.live.routes.lane(self.service_id, leg.region) {
            lane.waits
                .took(&plan.regions.of(leg.region).name, began.elapsed());
        }
        waited
    }

    fn health_paths<'s>(&self, store: &'s Store<'s>, region: RegionId) -> HealthPaths<'s>
    where
        'b: 's,
    {
        HealthPaths {
            live: self.live,
            store,
            service: self.service_id,
            region,
        }
    }

    /// Reads from a region whenever it may have caught up, until it has or the time is over. `asked`: it was just asked.
    async fn wait_for(
        &mut self,
        store: &Store<'_>,
        region: RegionId,
        wait: &Wait,
        mut asked: Option<Earlier>,
        deadline: Instant,
    ) -> Result<Read, Missed> {
        let mut turn = None;
        let mut is_woken_in_vain = false;
        loop {
            let Earlier { old, began, .. } = match asked.take() {
                Some(asked) => asked,
                None => {
                    let began = Instant::now();
                    match self.read_by(store, region, deadline).await? {
                        Read::Old(old) => Earlier { region, old, began },
                        fresh @ Read::Fresh(_) => return Ok(fresh),
                    }
                }
            };
            if self.body.is_none() || Instant::now() >= deadline {
                return Ok(Read::Old(old));
            }
            self.has_waited = true;
            drop(turn.take());
            let required = &self.visit.token().vector;
            let asker = Asker {
                paths: self.health_paths(store, region),
                last: old,
                began,
            };
            tokio::select! {
                () = wait.freed(required) => {
                    let pause = pause_when_woken(is_woken_in_vain, began.elapsed());
                    tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
                },
                asked = asker.ask(wait) => turn = asked,
                () = tokio::time::sleep_until(deadline) => return Ok(Read::Old(old)),
            }
            is_woken_in_vain = true;
            // Nothing is under way, so what all have or none has any more need not be asked for again.
            self.visit.sift(store.applied);
        }
    }

    /// A region may hold a read until it has caught up, but no longer than the client would wait, unless all its origins are
    /// known to have by then: its answer is the right one, whoever gives it, and takes what an answer takes.
    async fn read_by(
        &mut self,
        store: &Store<'_>,
        region: RegionId,
        deadline: Instant,
    ) -> Result<Read, Missed> {
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let required = self.visit.token().vector.clone();
        let held = {
            let mut reading = pin!(self.read(store, region));
            match tokio::time::timeout_at(deadline, reading.as_mut()).await {
                Ok(read) => Some(read),
                Err(_) => {
                    let all_have = store.applied.shows(&store.applied.region(name), &required);
                    if all_have { Some(reading.await) } else { None }
                }
            }
        };
        held.unwrap_or_else(|| {
            self.give_up_read();
            Ok(Read::Old(Old::UNASKED))
        })
    }

    /// Takes back what was being sent, if anything was: nobody waits for its answer any more.
    fn give_up_read(&mut self) {
        self.has_waited = true;
        if self.body.is_none() {
            self.body = self.kept.as_ref().and_then(Body::copy);
        }
        self.trying = None;
    }
}
