//! Clients ask, and get answers.

use super::{Event, Received, Request, Run, Stage};
use crate::config::plan::Access;
use crate::ids::Id;
use crate::positions::Course;
use crate::simulator::broken::Broken;

impl Run {
    pub(super) fn act(&mut self, client: usize, tab: usize) {
        if self.is_over() {
            return;
        }
        let next = self.random.between(20, 1_500);
        self.after(next, Event::Act { client, tab });
        let known = &mut self.clients[client];
        // Of writes that race where one carries no token nothing is promised.
        let takes_turns = known.jar.is_none() && !known.writing.is_empty();
        if known.busy.contains(&tab) || takes_turns {
            return;
        }
        known.busy.insert(tab);
        let request = self.request(client, tab);
        if request.write.is_some() {
            self.clients[client].writing.insert(tab);
        }
        self.count += 1;
        let id = self.count;
        self.tell(|| format!("#{id} {request}"));
        self.check_token(&request);
        self.check_places();
        if request.write.is_some() && request.visit.valid {
            let sessions = &self.edges[request.edge].sessions;
            let now_ms = self.edges[request.edge].steady(self.now_ms);
            sessions.begin_write(request.session, now_ms);
        }
        if self.random.chance(4) {
            let after = self.random.between(1, 800);
            self.after(after, Event::Leaves { request: id });
        }
        self.requests.insert(id, request);
        self.ask(id);
    }

    /// What a client asks for next, and where its edge would send it.
    pub(super) fn request(&mut self, client: usize, tab: usize) -> Request {
        let now_ms = self.now_ms;
        let edge = self.clients[client].edge;
        let edge = edge.unwrap_or_else(|| self.random.below(self.edges.len()));
        let is_write = self.random.chance(30);
        let access = if is_write {
            Access::Write
        } else {
            Access::Read
        };
        let jar = self.clients[client].jar.clone();
        let visit = self.edges[edge].visit(jar.as_deref(), access, now_ms, self.broken);
        let draw = self.random.draw();
        let (decision, is_repeated) = self.edges[edge].decide(&visit, access, now_ms, draw);
        self.seen.repeated += u64::from(is_repeated);
        if access == Access::Read {
            self.check_fit(edge, &decision);
        }
        let known = &self.edges[edge];
        let when_unsatisfiable = known.when_unsatisfiable();
        let behind = decision.reserve.iter().chain(&decision.left_out);
        let asked = decision.ranked.iter().chain(behind);
        let left_out = asked.map(|choice| choice.region);
        let left_out = left_out
            .filter(|region| decision.was_left_out(*region))
            .map(Id::index)
            .collect();
        let legs = |choices| known.legs(&visit, choices, now_ms);
        let course = Course::new(legs(&decision.ranked), when_unsatisfiable);
        let course = course.with_reserve(legs(&decision.reserve).into_iter());
        let must_see = !is_write && visit.valid && !visit.token().is_empty();
        let retries_left = known.service().retries.attempts;
        let write = is_write.then(|| {
            self.writes += 1;
            self.writes
        });
        Request {
            client,
            tab,
            edge,
            write,
            replicas: known.replicas().to_vec(),
            distances: known.distances(),
            session: if visit.valid {
                visit.token().session
            } else {
                self.random.draw()
            },
            rights: self.clients[client].rights(now_ms),
            stage: if must_see {
                Stage::Fresh
            } else {
                let mut order = course.for_want_of_better(|_| 0);
                order.extend(legs(&decision.left_out));
                Stage::Any(order.into_iter())
            },
            course,
            leg: None,
            retries_left,
            is_whole: is_write || !self.random.chance(5),
            is_sent: false,
            kept: None,
            visit,
            began_ms: now_ms,
            asked_at_ms: now_ms,
            had_all: false,
            was_unfit: false,
            said_all: None,
            left_out,
            attempt: 0,
            deadline_ms: now_ms + self.terms.wait_ms,
            waiting: None,
        }
    }

    pub(super) fn received(&mut self, client: usize, tab: usize, received: Received) {
        let known = &mut self.clients[client];
        known.busy.remove(&tab);
        known.writing.remove(&tab);
        if let Some(acknowledged) = received.acknowledged {
            known.acknowledge(acknowledged, self.now_ms);
        }
        if let Some(jar) = received.jar {
            if let Some(left) = jar.as_ref().and_then(|sealed| sealed.left.as_deref()) {
                known.is_left_with(left, &self.store);
            }
            known.jar = jar.map(|sealed| sealed.text);
        }
    }

    /// A client goes away, and waits for nothing any more.
    pub(super) fn leaves(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else {
            return;
        };
        self.tell(|| format!("#{id} is given up by its client"));
        self.seen.left += 1;
        if self.broken == Some(Broken::KeepsPlaces) {
            std::mem::forget(request.waiting.take());
        }
        self.end_write(&request);
        let known = &mut self.clients[request.client];
        known.busy.remove(&request.tab);
        known.writing.remove(&request.tab);
    }

    /// An answer is on its way to a client.
    pub(super) fn answer(&mut self, request: &Request, received: Received) {
        let way = self.way();
        let known = &mut self.clients[request.client];
        let comes_ms = known.arrival_ms(request.began_ms, self.now_ms, way);
        let after = comes_ms - self.now_ms;
        let (client, tab) = (request.client, request.tab);
        self.after(
            after,
            Event::Received {
                client,
                tab,
                received,
            },
        );
    }
}
