//! What an answer comes to.

use super::{Answer, Received, Request, Run, Stage};
use crate::positions::{
    Asked, Carriers, Judged, Mark, Minted, Old, Outcome, RegionName, Reissue, Token, Visit,
    ask_any_mark, mint,
};
use crate::simulator::broken::Broken;
use crate::simulator::client::{Acknowledged, Given};
use crate::simulator::edge::{At, Sealed};
use crate::simulator::store::Write;
use crate::simulator::terms::NAMES;

impl Run {
    pub(super) fn written(
        &mut self,
        id: u64,
        mut request: Request,
        write: Write,
        at: At,
        answer: Option<&Answer>,
    ) {
        let region = self.store.regions[at.0].name.clone();
        let said = answer.map(|answer| answer.said.clone()).unwrap_or_default();
        let outcome = answer.map_or(Outcome::Unknown, |answer| answer.outcome);
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
        let jar = token.map(|token| self.sealed(&request, &token, &region));
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
            sessions.end_write(request.visit.token().session, now_ms);
        }
    }

    pub(super) fn read(&mut self, id: u64, mut request: Request, at: At, answer: &Answer) {
        if !request.visit.valid {
            return self.pass_on(id, request, at, answer, None);
        }
        let Some(leg) = request.leg else { return };
        let was_empty = request.visit.token().is_empty();
        let judged = self.weigh(&mut request, at, answer);
        if was_empty && judged == Judged::Shows {
            let mark = ask_any_mark(request.course.best(), leg.region);
            return self.pass_on(id, request, at, answer, Some(mark));
        }
        if was_empty {
            request.stage = Stage::Fresh;
        }
        match (&request.stage, judged) {
            (Stage::Any(_), _) => {
                let mark = match self.broken {
                    Some(Broken::HidesStale) => Mark::Fresh,
                    _ => request.course.last_mark(leg.region, judged),
                };
                self.pass_on(id, request, at, answer, Some(mark));
            }
            (Stage::Fresh, Judged::Shows) => {
                let mark = request.course.mark(leg);
                self.pass_on(id, request, at, answer, Some(mark));
            }
            (Stage::Fresh, Judged::NotYet | Judged::Behind) => {
                let old = Old {
                    is_not_yet: judged == Judged::NotYet,
                    tells: answer.said.applied.is_some(),
                };
                if !old.is_not_yet && !request.is_whole {
                    request.kept = Some((at, Box::new(answer.clone())));
                }
                let has_time = self.now_ms < request.deadline_ms;
                if request.waiting.is_some() && request.is_whole && has_time {
                    return self.wait(id, request, old);
                }
                if request.waiting.take().is_none() {
                    request.course.is_behind_after_all(leg);
                }
                self.requests.insert(id, request);
                self.ask(id);
            }
        }
    }

    fn weigh(&self, request: &mut Request, at: At, answer: &Answer) -> Judged {
        if self.broken == Some(Broken::BelievesEveryAnswer) {
            return Judged::Shows;
        }
        let edge = &self.edges[request.edge];
        let origin = edge.origin(at.0, at.1);
        let asked = Asked {
            region: NAMES[at.0],
            origin: &origin,
            asked_at_ms: edge.steady(request.asked_at_ms),
            had_all: request.had_all,
            was_left_out: request.left_out.contains(&at.0),
        };
        let visit = &mut request.visit;
        let judged = visit.weigh(edge.applied(), asked, &answer.said, answer.is_conflict);
        self.check_silent(request, at, answer, judged);
        judged
    }

    /// The answer that there is to a request that cannot be sent again.
    pub(super) fn pass_on_kept(&mut self, id: u64, mut request: Request) {
        match request.kept.take() {
            Some((at, answer)) => self.pass_on(id, request, at, &answer, Some(Mark::Stale)),
            None => self.fail(id, request),
        }
    }

    /// The client gets an error.
    pub(super) fn fail(&mut self, id: u64, mut request: Request) {
        request.waiting = None;
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
            let jar = Carriers {
                cookie: true,
                header: false,
            };
            request.visit.served(served, jar, (sessions, applied), now)
        });
        let mark = told.as_ref().map(|(mark, _)| *mark);
        self.tell(|| format!("#{id} is read: {mark:?}"));
        self.check_time(id, &request);
        self.check_read(id, &request, (at, answer), mark);
        self.count_mark(mark);
        let region: RegionName = NAMES[at.0].into();
        let jar = match told.map(|(_, reissue)| reissue) {
            Some(_) if self.broken == Some(Broken::TakesTokensBack) => Some(None),
            Some(Reissue::Keep)
                if self.broken == Some(Broken::TakesBackAgain)
                    && request.visit.token().is_empty() =>
            {
                Some(None)
            }
            None | Some(Reissue::Keep) => None,
            Some(Reissue::TakeBack) => {
                self.seen.taken_back += 1;
                Some(None)
            }
            Some(Reissue::Token(token)) => Some(Some(self.sealed(&request, &token, &region))),
        };
        self.answer(
            &request,
            Received {
                jar,
                acknowledged: None,
            },
        );
    }

    fn sealed(&mut self, request: &Request, token: &Token, region: &RegionName) -> Sealed {
        let sealed = self.edges[request.edge].seal(token, region, self.now_ms);
        if let Some(left) = &sealed.left {
            self.seen.waived += 1;
            self.tell(|| {
                format!(
                    "of [{}] is left [{}] {:?}",
                    token.vector, left.vector, left.pin
                )
            });
            self.check_left(token, left);
        }
        sealed
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
