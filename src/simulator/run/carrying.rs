//! An edge carries a request to a region, and the answer back.

use super::{Answer, At, Event, Request, Run};
use crate::positions::{Outcome, Said, Vector};
use crate::simulator::edge::NAMES;
use crate::simulator::store::{Speech, Write};

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
            let at = (region, self.replica(&request, region));
            request.asked_at_ms = self.now_ms;
            let way = self.way();
            self.after(way, Event::Arrives { request: id, at });
            self.requests.insert(id, request);
            return;
        }
        self.in_vain(id, request);
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
        let may_answer = |replica: &usize| {
            let origin = edge.origin(region, *replica);
            let required = &request.visit.token.vector;
            edge.applied()
                .origin_may_answer(NAMES[region], &origin, required)
        };
        let order = (0..count).map(|step| (first + step) % count);
        order.clone().find(may_answer).unwrap_or(first)
    }

    pub(super) fn arrives(&mut self, id: u64, at: At) {
        let request = &self.requests[&id];
        let (write, edge) = (request.write, request.edge);
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
            self.requests.get_mut(&id).unwrap().next += 1;
            self.after(way, Event::Asks { request: id });
            return;
        }
        let answer = answer.flatten().map(Box::new);
        self.after(
            way,
            Event::Answers {
                request: id,
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
        let replica = region.leader().clone();
        Some(Answer {
            said: Said {
                committed: (region.speech == Speech::Exact)
                    .then(|| (region.name.clone(), position)),
                applied: (region.speech != Speech::Silent).then(|| replica.applied()),
            },
            outcome: Outcome::Accepted,
            is_conflict: false,
            replica,
        })
    }

    pub(super) fn take_read(&self, at: At, required: Option<&Vector>) -> Answer {
        let region = &self.store.regions[at.0];
        let replica = &region.replicas[at.1];
        let speaks = region.speech != Speech::Silent;
        let satisfies = required.is_none_or(|required| replica.satisfies(required));
        Answer {
            said: Said {
                committed: None,
                applied: speaks.then(|| replica.applied()),
            },
            outcome: Outcome::Accepted,
            is_conflict: speaks && region.refuses && !satisfies,
            replica: replica.clone(),
        }
    }

    pub(super) fn answers(&mut self, id: u64, at: At, answer: Option<Box<Answer>>) {
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
            (Some(write), answer) => self.written(id, request, write, at, answer),
            (None, Some(answer)) => self.read(id, request, at, &answer),
            (None, None) => {}
        }
    }

    pub(super) fn learn(&mut self, request: &Request, at: At, answer: &Answer) {
        let edge = &self.edges[request.edge];
        if let Some((writer, position)) = &answer.said.committed {
            edge.applied().committed(writer, *position, self.now_ms);
        }
        if let Some(applied) = &answer.said.applied {
            edge.report(at, applied, (request.asked_at_ms, self.now_ms));
        }
    }
}
