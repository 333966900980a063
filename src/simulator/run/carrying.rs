//! An edge carries a request to a region, and the answer back.

use super::{Answer, Event, Request, Run};
use crate::positions::{Outcome, Said, Vector};
use crate::simulator::broken::Broken;
use crate::simulator::edge::{At, Heard, NAMES};
use crate::simulator::store::Write;

impl Run {
    /// Asks the region whose turn it is.
    pub(super) fn ask(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else {
            return;
        };
        while let Some((region, _, _)) = request.ranked.get(request.next).copied() {
            let pin = request.visit.token.pin.as_ref();
            let is_elsewhere = pin.is_some_and(|pin| *pin.region != *NAMES[region]);
            let must_see =
                request.write.is_none() && !request.settles && !request.visit.token.is_empty();
            if must_see && is_elsewhere {
                request.next += 1;
                continue;
            }
            if must_see && !self.may_ask(id, &mut request, region) {
                request.next += 1;
                continue;
            }
            self.send(id, request, region);
            return;
        }
        self.in_vain(id, request);
    }

    /// Goes on, unless it has gone on already.
    pub(super) fn ask_again(&mut self, id: u64, attempt: u32) {
        let goes_on = |request: &Request| request.attempt == attempt;
        if self.requests.get(&id).is_some_and(goes_on) {
            self.ask(id);
        }
    }

    fn send(&mut self, id: u64, mut request: Request, region: usize) {
        let at = (region, self.replica(&request, region));
        request.asked_at_ms = self.now_ms;
        let edge = &self.edges[request.edge];
        let required = &request.visit.token.vector;
        let (name, origin) = (NAMES[region], edge.origin(region, at.1));
        request.had_all = edge.applied().origin_has(name, &origin, required);
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
        let count = of_region.replicas.len();
        let first = self.random.below(count);
        let edge = &self.edges[request.edge];
        let (name, applied) = (NAMES[region], edge.applied());
        let required = &request.visit.token.vector;
        let now_ms = edge.steady(self.now_ms);
        let order = (0..count).map(|step| (first + step) % count);
        let worth = |replica: &usize| {
            let origin = edge.origin(region, *replica);
            let is_fit = !applied.has_unfit() || applied.origin_is_fit(name, &origin, now_ms);
            let has = applied.origin_has(name, &origin, required);
            let may_answer = applied.origin_may_answer(name, &origin, required);
            (!is_fit, !has, !may_answer)
        };
        order.min_by_key(worth).unwrap_or(first)
    }

    pub(super) fn arrives(&mut self, (id, attempt): (u64, u32), at: At, write: Option<Write>) {
        let is_due = |request: &&Request| request.attempt == attempt;
        let Some(request) = self.requests.get(&id).filter(is_due) else {
            // Who asked has gone, and what was sent is on its way all the same.
            let _ = write.map(|write| self.take_write(write, at));
            return;
        };
        let edge = request.edge;
        let required = request.visit.token.vector.clone();
        let settles = request.settles;
        let answer = self.reaches(edge, at.0).then(|| match write {
            Some(write) => self.take_write(write, at),
            None => Some(self.take_read(at, (!settles).then_some(&required))),
        });
        let way = self.way();
        let unsent = answer.is_none();
        if unsent {
            self.tell(|| format!("#{id} finds {} down", NAMES[at.0]));
            let request = self.requests.get_mut(&id).unwrap();
            request.next += 1;
            request.waiting = None;
            self.after(
                way,
                Event::Asks {
                    request: id,
                    attempt,
                },
            );
            return;
        }
        let answer = answer.flatten().map(Box::new);
        self.after(
            way,
            Event::Answers {
                request: id,
                attempt,
                at,
                answer,
            },
        );
    }

    /// What is written, and what is said of it; none: the region fails before it answers.
    pub(super) fn take_write(&mut self, write: Write, at: At) -> Option<Answer> {
        let times = self.applications.entry(write).or_default();
        *times += 1;
        let times = *times;
        assert_eq!(times, 1, "w{write} is written twice\n{self:?}");
        let position = self.store.write(at.0, write);
        self.tell(|| {
            format!(
                "w{write} is at {}={}:{}",
                NAMES[at.0], position.epoch, position.seq
            )
        });
        if self.random.chance(3) {
            return None;
        }
        let region = &self.store.regions[at.0];
        let (replica, applied) = (region.leader().clone(), region.applied(region.leader));
        Some(Answer {
            said: Said {
                committed: region
                    .speech
                    .commits
                    .then(|| (region.name.clone(), position)),
                applied: region.speech.answers.then_some(applied),
            },
            outcome: Outcome::Accepted,
            is_conflict: false,
            said_at_ms: self.now_ms,
            replica,
        })
    }

    pub(super) fn take_read(&self, at: At, required: Option<&Vector>) -> Answer {
        let region = &self.store.regions[at.0];
        let replica = &region.replicas[at.1];
        let speaks = region.speech.answers;
        let satisfies = required.is_none_or(|required| replica.satisfies(required));
        Answer {
            said: Said {
                committed: None,
                applied: speaks.then(|| region.applied(at.1)),
            },
            outcome: Outcome::Accepted,
            is_conflict: !region.speech.is_silent() && region.refuses && !satisfies,
            said_at_ms: self.now_ms,
            replica: replica.clone(),
        }
    }

    pub(super) fn answers(
        &mut self,
        (id, attempt): (u64, u32),
        at: At,
        answer: Option<Box<Answer>>,
    ) {
        let is_due = |request: &Request| request.attempt == attempt;
        if !self.requests.get(&id).is_some_and(is_due) {
            return;
        }
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        if let Some(answer) = &answer {
            self.learn(&request, at, answer);
        }
        self.tell(|| {
            let said = answer
                .as_ref()
                .map(|answer| format!("{:?}", answer.said.applied));
            format!("#{id} is answered by {}.{}: {said:?}", NAMES[at.0], at.1)
        });
        match (request.write, answer) {
            (Some(_), None) if self.broken == Some(Broken::SendsWritesAgain) => {
                self.send(id, request, at.0);
            }
            (Some(write), answer) => self.written(id, request, write, at, answer),
            (None, Some(answer)) => self.read(id, request, at, &answer),
            (None, None) => {}
        }
    }

    pub(super) fn learn(&mut self, request: &Request, at: At, answer: &Answer) {
        let edge = &self.edges[request.edge];
        if let Some((writer, position)) = &answer.said.committed {
            let now_ms = edge.steady(self.now_ms);
            edge.applied().committed(writer, *position, now_ms);
        }
        if let Some(applied) = &answer.said.applied {
            let heard = Heard {
                said: applied.clone(),
                asked_at_ms: Some(request.asked_at_ms),
                said_at_ms: answer.said_at_ms,
            };
            self.hears(request.edge, at, &heard);
        }
    }
}
