//! An edge carries a request to a region, and the answer back.

use http::Method;

use super::{Answer, Event, LONGEST_WAY_MS, Request, Run, Stage};
use crate::config::plan::Access;
use crate::ids::{Id, RegionId};
use crate::positions::{Leg, Next, Outcome, Position, Said, Vector};
use crate::proxy::onward::{Onward, Try, covers};
use crate::simulator::broken::Broken;
use crate::simulator::edge::{At, Heard};
use crate::simulator::store::Write;
use crate::simulator::terms::NAMES;

/// How often a region looks whether it can answer a read that it holds, ms.
pub(super) const LOOKED_AFTER_EVERY_MS: u64 = 20;

impl Request {
    /// What the course says; or the next region that any answer may come from.
    fn next(&mut self, now_ms: u64) -> Next {
        match &mut self.stage {
            Stage::Fresh => {
                let can_be_sent = self.is_whole || !self.is_sent;
                self.course.next(now_ms >= self.deadline_ms, can_be_sent)
            }
            Stage::Any(left) => left.next().map_or(Next::Nothing, Next::Ask),
        }
    }
}

impl Run {
    /// Asks the region whose turn it is.
    pub(super) fn ask(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else {
            return;
        };
        if let Some(leg) = request.leg.filter(|_| request.waiting.is_some()) {
            return self.send(id, request, leg);
        }
        loop {
            match request.next(self.now_ms) {
                Next::Ask(leg) => return self.send(id, request, leg),
                Next::Wait(leg) => {
                    if self.takes_place(id, &mut request, leg) {
                        return self.send(id, request, leg);
                    }
                }
                Next::Any => request.stage = self.any(&request),
                Next::Kept => return self.pass_on_kept(id, request),
                Next::Nothing => return self.fail(id, request),
            }
        }
    }

    /// Goes on, unless it has gone on already.
    pub(super) fn ask_again(&mut self, id: u64, attempt: u32) {
        let goes_on = |request: &Request| request.attempt == attempt;
        if self.requests.get(&id).is_some_and(goes_on) {
            self.ask(id);
        }
    }

    fn any(&self, request: &Request) -> Stage {
        let applied = self.edges[request.edge].applied();
        let required = &request.visit.token().vector;
        let lacks = |region: RegionId| applied.lacks(NAMES[region.index()], required);
        Stage::Any(request.course.for_want_of_better(lacks).into_iter())
    }

    fn send(&mut self, id: u64, mut request: Request, leg: Leg) {
        let region = leg.region.index();
        let at = (region, self.replica(&request, region));
        request.leg = Some(leg);
        request.is_sent = true;
        request.asked_at_ms = self.now_ms;
        let edge = &self.edges[request.edge];
        let required = &request.visit.token().vector;
        let (name, origin) = (NAMES[region], edge.origin(region, at.1));
        request.had_all = edge.applied().origin_has(name, &origin, required);
        request.was_unfit = !edge.applied().is_fit(name, edge.steady(self.now_ms));
        let said = edge.applied().origin(name, &origin);
        // Of what it was told this very moment, nobody knows whether it was before it asked.
        let is_settled = edge.heard_ms() < self.now_ms;
        let said_all = is_settled && edge.applied().shows(&said, required);
        request.said_all = said_all.then(|| edge.moments(at).changes());
        request.attempt += 1;
        if let Some(waiting) = &mut request.waiting {
            waiting.reads();
        }
        let way = self.way();
        let (attempt, write) = (request.attempt, request.write);
        self.after(
            way,
            Event::Arrives {
                request: id,
                attempt,
                at,
                write,
            },
        );
        self.requests.insert(id, request);
    }

    /// One that may have what is needed, as `forward` chooses it.
    pub(super) fn replica(&mut self, request: &Request, region: usize) -> usize {
        let of_region = &self.store.regions[region];
        if request.write.is_some() {
            return of_region.leader;
        }
        let count = of_region.replicas.len().min(request.replicas[region]);
        let first = self.random.below(count);
        let edge = &self.edges[request.edge];
        let (name, applied) = (NAMES[region], edge.applied());
        let required = &request.visit.token().vector;
        let now_ms = edge.steady(self.now_ms);
        let order = (0..count).map(|step| (first + step) % count);
        let worth = |replica: &usize| {
            let origin = edge.origin(region, *replica);
            let is_fit = !applied.has_unfit() || applied.origin_is_fit(name, &origin, now_ms);
            let has = applied.origin_has(name, &origin, required);
            let may_answer = applied.origin_may_answer(name, &origin, required);
            (!is_fit, !has, !may_answer)
        };
        let chosen = order.min_by_key(worth).unwrap_or(first);
        let is_unfit = |replica| edge.is_unfit((region, replica));
        let has_better = (0..count).any(|replica| !worth(&replica).0);
        assert!(
            !(is_unfit(chosen) && has_better),
            "{name}.{chosen} lacks what it should have, and another is read from\n{self:?}"
        );
        chosen
    }

    pub(super) fn arrives(&mut self, (id, attempt): (u64, u32), at: At, write: Option<Write>) {
        let is_due = |request: &&Request| request.attempt == attempt;
        let Some(request) = self.requests.get(&id).filter(is_due) else {
            // Who asked has gone, and what was sent is on its way all the same.
            let _ = write.map(|write| self.take_write(write, at));
            return;
        };
        // Another leads by now: this one could only say what that one has, as if it were its own.
        let is_deposed = write.is_some() && self.store.regions[at.0].leader != at.1;
        let (edge, is_whole) = (request.edge, request.is_whole);
        let way = self.way();
        let tried = if !self.reaches(edge, at.0) {
            Some(Try::Unsent)
        } else if is_deposed || is_whole && self.random.chance(2) {
            Some(Try::Refused)
        } else {
            None
        };
        if let Some(tried) = tried {
            let event = Event::Misses {
                request: id,
                attempt,
                tried,
            };
            return self.after(way, event);
        }
        let answer = match write {
            Some(write) => self.take_write(write, at),
            None if self.is_held(id, at) => {
                self.seen.held += 1;
                let until_ms = self.now_ms + self.store.regions[at.0].holds_ms;
                return self.holds((id, attempt), at, until_ms);
            }
            None => (!self.random.chance(2)).then(|| self.take_read(at, self.required(id))),
        };
        let later_ms = if write.is_none() {
            self.dawdling_ms(at)
        } else {
            0
        };
        self.gives((id, attempt), at, answer, way + later_ms);
    }

    /// What a region is told that the client of a read must see.
    fn required(&self, id: u64) -> Option<&Vector> {
        let request = self.requests.get(&id)?;
        matches!(request.stage, Stage::Fresh).then(|| &request.visit.token().vector)
    }

    /// Whether a region holds a read for as long as it lacks what that must see.
    fn is_held(&self, id: u64, at: At) -> bool {
        let region = &self.store.regions[at.0];
        let holds = region.holds_ms > 0 && !region.speech.is_silent();
        let lacks = |required| !region.replicas[at.1].satisfies(required);
        holds && self.required(id).is_some_and(lacks)
    }

    /// A region goes on holding a read, or answers it, unless nobody waits for that any more.
    pub(super) fn holds(&mut self, (id, attempt): (u64, u32), at: At, until_ms: u64) {
        let is_due = |request: &Request| request.attempt == attempt;
        if !self.requests.get(&id).is_some_and(is_due) {
            return;
        }
        let is_up = self.store.regions[at.0].is_up;
        if is_up && self.now_ms < until_ms && self.is_held(id, at) {
            let event = Event::Holds {
                request: id,
                attempt,
                at,
                until_ms,
            };
            return self.after(LOOKED_AFTER_EVERY_MS, event);
        }
        let answer = is_up.then(|| self.take_read(at, self.required(id)));
        let way = self.rare.between(1, LONGEST_WAY_MS) + self.dawdling_ms(at);
        self.gives((id, attempt), at, answer, way);
    }

    /// How much later than it was read an answer comes: what it shows may be old by then.
    fn dawdling_ms(&mut self, at: At) -> u64 {
        let most_ms = self.store.regions[at.0].dawdles_ms;
        if most_ms == 0 || self.rare.chance(60) {
            return 0;
        }
        self.rare.between(1, most_ms)
    }

    /// An answer, or none, is on its way back.
    fn gives(&mut self, (request, attempt): (u64, u32), at: At, answer: Option<Answer>, way: u64) {
        let event = match answer {
            Some(answer) => Event::Answers {
                request,
                attempt,
                at,
                answer: Box::new(answer),
            },
            None => Event::Misses {
                request,
                attempt,
                tried: Try::Lost,
            },
        };
        self.after(way, event);
    }

    /// What is written, and what is said of it; none: the region fails before it answers.
    pub(super) fn take_write(&mut self, write: Write, at: At) -> Option<Answer> {
        let times = self.applications.entry(write).or_default();
        *times += 1;
        let times = *times;
        assert_eq!(times, 1, "w{write} is written twice\n{self:?}");
        let position = self.store.write(at.0, write, self.now_ms);
        self.tell(|| {
            format!(
                "w{write} is at {}={}:{}",
                NAMES[at.0], position.epoch, position.seq
            )
        });
        if self.random.chance(3) {
            return None;
        }
        let told = self.told(at.0, position);
        let region = &self.store.regions[at.0];
        let (replica, applied) = (region.leader().clone(), region.applied(region.leader));
        Some(Answer {
            said: Said {
                committed: region.speech.commits.then(|| (region.name.clone(), told)),
                applied: region.speech.answers.then(|| applied.into()),
            },
            outcome: Outcome::Accepted,
            is_conflict: false,
            said_at_ms: self.now_ms,
            replica,
        })
    }

    /// Where a region says that a write is: seldom far beyond its log.
    fn told(&mut self, region: usize, position: Position) -> Position {
        let is_due = |(of, from_ms): &mut (usize, u64)| *of == region && self.now_ms >= *from_ms;
        if self.claims.take_if(is_due).is_none() {
            return position;
        }
        Position {
            seq: position.seq + 1_000_000,
            ..position
        }
    }

    pub(super) fn take_read(&self, at: At, required: Option<&Vector>) -> Answer {
        let region = &self.store.regions[at.0];
        let replica = &region.replicas[at.1];
        let speaks = region.speech.answers;
        let satisfies = required.is_none_or(|required| replica.satisfies(required));
        Answer {
            said: Said {
                committed: None,
                applied: speaks.then(|| region.applied(at.1).into()),
            },
            outcome: Outcome::Accepted,
            is_conflict: !region.speech.is_silent() && region.refuses && !satisfies,
            said_at_ms: self.now_ms,
            replica: replica.clone(),
        }
    }

    pub(super) fn answers(&mut self, (id, attempt): (u64, u32), at: At, answer: &Answer) {
        let Some(request) = self.due(id, attempt) else {
            return;
        };
        self.learn(&request, at, answer);
        self.tell(|| {
            let said = &answer.said.applied;
            format!("#{id} is answered by {}.{}: {said:?}", NAMES[at.0], at.1)
        });
        match request.write {
            Some(write) => self.written(id, request, write, at, Some(answer)),
            None => self.read(id, request, at, answer),
        }
    }

    fn due(&mut self, id: u64, attempt: u32) -> Option<Request> {
        let is_due = |request: &Request| request.attempt == attempt;
        self.requests.get(&id).is_some_and(is_due).then_some(())?;
        self.requests.remove(&id)
    }

    /// A try came to nothing: by the proxy's own rules it goes on, or does not.
    pub(super) fn misses(&mut self, (id, attempt): (u64, u32), tried: Try) {
        let Some(mut request) = self.due(id, attempt) else {
            return;
        };
        self.tell(|| format!("#{id} is {tried:?}"));
        let Some(leg) = request.leg else { return };
        let service = self.edges[request.edge].service();
        let (method, access) = match request.write {
            Some(_) => (Method::POST, Access::Write),
            None => (Method::GET, Access::Read),
        };
        let is_covered =
            covers(service, &method, access) || self.broken == Some(Broken::SendsWritesAgain);
        let onward = tried.onward(is_covered, request.is_whole);
        request.waiting = None;
        request.is_sent &= tried != Try::Unsent;
        let goes_on = match onward {
            Onward::Next | Onward::Anew | Onward::Elsewhere => true,
            Onward::Again | Onward::Past => request.retries_left > 0,
            Onward::Stop => false,
        };
        if goes_on {
            let is_retry = matches!(onward, Onward::Again | Onward::Past);
            request.retries_left -= u8::from(is_retry);
            self.requests.insert(id, request);
            return self.ask(id);
        }
        match request.write {
            Some(write) => self.written(id, request, write, (leg.region.index(), 0), None),
            None => self.fail(id, request),
        }
    }

    pub(super) fn learn(&mut self, request: &Request, at: At, answer: &Answer) {
        let edge = &self.edges[request.edge];
        if let Some((writer, position)) = &answer.said.committed {
            let now_ms = edge.steady(self.now_ms);
            edge.applied().committed(writer, *position, now_ms);
            let origin = edge.origin(at.0, at.1);
            edge.applied()
                .acknowledged(writer, &origin, *position, now_ms);
        }
        if let Some(applied) = &answer.said.applied {
            let heard = Heard {
                said: Vector::clone(applied),
                asked_at_ms: Some(request.asked_at_ms),
                sequence: None,
                said_at_ms: answer.said_at_ms,
            };
            self.takes_in(request.edge, at, &heard);
        }
    }
}
