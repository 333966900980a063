//! What an answer comes to.

use super::{Answer, Received, Request, Run};
use crate::positions::{
    Asked, Judged, Mark, Minted, Outcome, RegionName, Reissue, Standing, Token, Visit, judge, mint,
};
use crate::simulator::broken::Broken;
use crate::simulator::client::{Acknowledged, Given};
use crate::simulator::edge::{At, NAMES};
use crate::simulator::store::Write;

impl Run {
    pub(super) fn written(
        &mut self,
        id: u64,
        mut request: Request,
        write: Write,
        at: At,
        answer: Option<Box<Answer>>,
    ) {
        let region = self.store.regions[at.0].name.clone();
        let said = answer
            .as_ref()
            .map(|answer| answer.said.clone())
            .unwrap_or_default();
        let outcome = answer
            .as_ref()
            .map_or(Outcome::Unknown, |answer| answer.outcome);
        let minted = mint(&region, outcome, &said);
        let given = match minted {
            Minted::At(..) => Given::Position,
            Minted::Pin(_) | Minted::Nothing => Given::Pin,
        };
        if given == Given::Pin {
            self.clients[request.client].begins_pinned_write(write);
        }
        let edge = &self.edges[request.edge];
        let now = edge.now(self.now_ms);
        let memory = (&edge.sessions, &**edge.applied());
        let lifetimes = self.terms.lifetimes();
        let visit = match self.broken {
            Some(Broken::ForgetsTokens) => &mut Visit::default(),
            _ => &mut request.visit,
        };
        let token = visit.wrote(minted, lifetimes, request.session, memory, now);
        self.end_write(&request);
        let jar =
            token.and_then(|token| self.edges[request.edge].seal(token, &region, self.now_ms));
        self.seen.writes += 1;
        self.tell(|| format!("#{id} w{write} is {outcome:?}"));
        let lasts_secs = match given {
            Given::Position => self.terms.ttl_secs.saturating_sub(1),
            Given::Pin => self.terms.pin_secs,
        };
        let acknowledged = (outcome == Outcome::Accepted).then_some(Acknowledged {
            write,
            given,
            until_ms: self.now_ms + u64::from(lasts_secs) * 1000,
        });
        // An answer that is lost on its way: the client knows of nothing, and has no cookie of it.
        let is_lost = self.random.chance(5);
        let received = Received {
            jar: jar.filter(|_| !is_lost).map(Some),
            acknowledged: acknowledged.filter(|_| !is_lost),
        };
        self.answer(&request, received);
    }

    pub(super) fn end_write(&self, request: &Request) {
        if request.write.is_some() && request.visit.valid {
            let sessions = &self.edges[request.edge].sessions;
            let now_ms = self.edges[request.edge].steady(self.now_ms);
            sessions.end_write(request.visit.token.session, now_ms);
        }
    }

    pub(super) fn read(&mut self, id: u64, mut request: Request, at: At, answer: &Answer) {
        let (_, standing, rank) = request.ranked[request.next];
        if !request.visit.valid {
            return self.pass_on(id, request, at, answer, None);
        }
        if request.settles {
            let mark = match self.broken {
                Some(Broken::HidesStale) => Mark::Fresh,
                _ => Mark::Stale,
            };
            return self.pass_on(id, request, at, answer, Some(mark));
        }
        let origin = self.edges[request.edge].origin(at.0, at.1);
        let asked = Asked {
            region: NAMES[at.0],
            origin: &origin,
            had_all: request.had_all,
        };
        let applied = self.edges[request.edge].applied();
        let judged = |visit: &Visit| {
            judge(
                applied,
                asked,
                &answer.said,
                &visit.token.vector,
                answer.is_conflict,
            )
        };
        let mut worth = match self.broken {
            Some(Broken::BelievesEveryAnswer) => Judged::Shows,
            _ => judged(&request.visit),
        };
        match worth {
            Judged::Shows => {}
            Judged::NotYet => request.visit.sift(applied),
            Judged::Behind => {
                request.visit.give_up_lost(applied);
                worth = judged(&request.visit);
            }
        }
        let may_wait = matches!(standing, Standing::Behind { .. });
        match worth {
            Judged::Shows => {
                let mark = match (may_wait, rank) {
                    (true, _) => Mark::Waited,
                    (false, 0) => Mark::Fresh,
                    (false, _) => Mark::Routed,
                };
                self.pass_on(id, request, at, answer, Some(mark));
            }
            Judged::NotYet | Judged::Behind => {
                let is_not_yet = worth == Judged::NotYet;
                if may_wait && self.now_ms < request.deadline_ms {
                    return self.wait(id, request, answer.said.applied.is_some(), is_not_yet);
                }
                request.next += 1;
                request.waiting = None;
                self.requests.insert(id, request);
                self.ask(id);
            }
        }
    }

    /// No region has what the client must see.
    pub(super) fn in_vain(&mut self, id: u64, mut request: Request) {
        request.waiting = None;
        let may_be_stale = request.write.is_none() && !request.settles && !self.terms.fails;
        if may_be_stale && request.visit.valid {
            request.settles = true;
            request.next = 0;
            request.ranked.sort_by_key(|(_, _, rank)| *rank);
            self.requests.insert(id, request);
            return self.ask(id);
        }
        self.end_write(&request);
        self.seen.failed += 1;
        self.tell(|| format!("#{id} fails"));
        self.check_time(id, &request);
        self.answer(&request, Received::default());
    }

    pub(super) fn pass_on(
        &mut self,
        id: u64,
        mut request: Request,
        at: At,
        answer: &Answer,
        served: Option<Mark>,
    ) {
        request.waiting = None;
        let edge = &self.edges[request.edge];
        let now = edge.now(self.now_ms);
        let told = served.map(|served| {
            let (sessions, applied) = (&edge.sessions, &**edge.applied());
            request.visit.served(served, sessions, applied, now)
        });
        let mark = told.as_ref().map(|(mark, _)| *mark);
        self.tell(|| format!("#{id} is read: {mark:?}"));
        self.check_time(id, &request);
        self.check_read(id, &request, (at, answer), mark);
        self.count_mark(mark);
        let region: RegionName = NAMES[0].into();
        let jar = match told.map(|(_, reissue)| reissue) {
            Some(_) if self.broken == Some(Broken::TakesTokensBack) => Some(None),
            None | Some(Reissue::Keep) => None,
            Some(Reissue::TakeBack) => {
                self.seen.taken_back += 1;
                Some(None)
            }
            Some(Reissue::Token(token)) => Some(self.sealed(&request, *token, &region)),
        };
        self.answer(
            &request,
            Received {
                jar,
                acknowledged: None,
            },
        );
    }

    pub(super) fn sealed(
        &self,
        request: &Request,
        token: Token,
        region: &RegionName,
    ) -> Option<String> {
        self.edges[request.edge].seal(token, region, self.now_ms)
    }

    pub(super) fn count_mark(&mut self, mark: Option<Mark>) {
        let counted = match mark {
            None => return,
            Some(Mark::Fresh) => &mut self.seen.fresh,
            Some(Mark::Waited) => &mut self.seen.waited,
            Some(Mark::Routed) => &mut self.seen.routed,
            Some(Mark::Stale) => &mut self.seen.stale,
            Some(Mark::Lost) => &mut self.seen.lost,
        };
        *counted += 1;
    }
}
