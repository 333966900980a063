//! What must hold after each step.

use super::carrying::LOOKED_AFTER_EVERY_MS;
use super::{Answer, LONGEST_WAY_MS, Request, Run};
use crate::ids::{Id, RegionId};
use crate::positions::{Judged, Mark, Position, RegionName, Standing, Token, Vector, Visit};
use crate::simulator::client::{Acknowledged, Given};
use crate::simulator::edge::At;
use crate::simulator::store::{Region, Write};
use crate::simulator::terms::NAMES;
use crate::steering::Decision;

impl Run {
    /// A token loses entries only by expiry, retirement, loss, or for want of room: each write of its client is asked
    /// for, or all have it, or the client is told that nobody has.
    pub(super) fn check_token(&self, request: &Request) {
        let client = &self.clients[request.client];
        let holds = |right: &&Acknowledged| client.holds(right, &self.store, self.now_ms);
        for right in request.rights.iter().filter(holds) {
            let write = right.write;
            let is_asked_for = match right.given {
                Given::Position => self.asks_for(&request.visit, write),
                // An edge that remembers what did not fit asks for that.
                Given::Pin => {
                    self.pins_to(&request.visit, write) || self.asks_for(&request.visit, write)
                }
            };
            assert!(
                is_asked_for || self.store.is_everywhere(write),
                "client {} does not ask for w{write} any more, and not all have it\n{self:?}",
                request.client,
            );
        }
    }

    /// Whether a request must see a write by its position, or its client is told that it is lost.
    fn asks_for(&self, visit: &Visit, write: Write) -> bool {
        let Some((region, position)) = self.store.place(write) else {
            return false;
        };
        let covers = |vector: &Vector| {
            let asked = vector.get(NAMES[region]);
            asked.is_some_and(|asked| is_up_to(asked, position))
        };
        let is_left_behind = self.store.is_past_a_fork(write);
        let takes_over =
            |epoch| epoch > position.epoch && self.store.began_with(region, epoch, write);
        let has = |vector: &Vector| {
            let asked = vector.get(NAMES[region]);
            covers(vector) || asked.is_some_and(|asked| takes_over(asked.epoch))
        };
        let is_to_be_told =
            visit.token().lost || has(&visit.lost()) || visit.superseded().iter().any(has);
        let is_told = is_left_behind && is_to_be_told;
        has(&visit.token().vector) || is_told
    }

    /// What does not fit becomes a pin; what is left is as it was.
    pub(super) fn check_left(&self, token: &Token, left: &Token) {
        let is_as_before =
            |(region, position): (&RegionName, _)| token.vector.get(region) == Some(position);
        let has_its_pin = match &token.pin {
            Some(pin) => left.pin.as_ref() == Some(pin),
            None => left.pin.is_some(),
        };
        let is_whole = (left.session, left.lost) == (token.session, token.lost);
        assert!(
            left.vector.iter().all(is_as_before) && has_its_pin && is_whole,
            "{left:?} is left of {token:?}\n{self:?}"
        );
    }

    /// Whether a request must go where a write went.
    fn pins_to(&self, visit: &Visit, write: Write) -> bool {
        let place = self.store.place(write).map(|(region, _)| NAMES[region]);
        let pin = visit.token().pin.as_ref();
        pin.is_some_and(|pin| Some(&*pin.region) == place)
    }

    /// Waiting ends: each region may be asked until `wait` is over, and once more, and hold what it is asked.
    pub(super) fn check_time(&self, id: u64, request: &Request) {
        let regions = u64::try_from(self.store.regions.len()).unwrap();
        let late_ms = |of: &Region| of.holds_ms + 2 * of.dawdles_ms;
        let held_ms: u64 = self.store.regions.iter().map(late_ms).sum();
        let ways_ms = (regions * 2 + 2) * (2 * LONGEST_WAY_MS + 20);
        let most = self.terms.wait_ms + ways_ms + held_ms + regions * LOOKED_AFTER_EVERY_MS;
        let took = self.now_ms - request.began_ms;
        assert!(
            took <= most,
            "#{id} took {took} ms, and {most} at most\n{self:?}"
        );
    }

    /// Whether an origin that says nothing of positions with its answers has lost a write and the edge cannot have
    /// heard of that, or has restarted since.
    fn is_lost_unheard(&self, edge: usize, at: At, answer: &Answer, right: &Acknowledged) -> bool {
        let lost_at_ms = answer.replica.lost_at_ms(right.write);
        // A pin says where to read, and not what must be there.
        if right.given == Given::Pin && lost_at_ms.is_some() {
            return true;
        }
        let moments = self.edges[edge].moments(at);
        let is_unheard = |at: At| !self.edges[edge].moments(at).is_known();
        let replicas = 0..self.store.regions[at.0].replicas.len();
        let is_unknown =
            replicas.len() > 1 && replicas.clone().all(|other| is_unheard((at.0, other)));
        let began_ms = self.edges[edge].began_ms();
        let is_in_order = self.pushers.are_in_order(at.0);
        let is_hidden = |lost_at_ms| {
            if is_in_order {
                moments.know_nothing_since(lost_at_ms)
            } else {
                moments.hide(lost_at_ms)
            }
        };
        let is_unheard = |lost_at_ms| is_hidden(lost_at_ms) || lost_at_ms <= began_ms;
        answer.said.applied.is_none() && (is_unknown || lost_at_ms.is_some_and(is_unheard))
    }

    /// Whether a replica was added before an edge forgot what all had: it may lack that, as far as that edge can know.
    fn is_new_to_who_forgot(&self, edge: usize, at: At) -> bool {
        let added_ms = self.store.newcomers.added_ms(at);
        let forgot_ms = self.edges[edge].forgot_ms();
        added_ms.is_some_and(|added_ms| forgot_ms >= added_ms)
    }

    /// Whether a replica was added, and a region that is removed wrote it: nobody asks a new one for that once it was taken out of tokens.
    fn is_of_before_it(&self, at: At, write: Write) -> bool {
        let is_new = self.store.newcomers.added_ms(at).is_some();
        let place = self.store.place(write);
        is_new && place.is_some_and(|(region, _)| self.store.is_closed(region))
    }

    /// Whether a replica was added, and is read from although its edge knows that it should not be: nobody else is left, as
    /// `check_fit` sees to.
    fn is_new_and_the_last(&self, request: &Request, at: At) -> bool {
        let known = &self.edges[request.edge];
        let now_ms = known.steady(self.now_ms);
        let is_new = self.store.newcomers.added_ms(at).is_some();
        is_new && (request.was_unfit || !known.applied().is_fit(NAMES[at.0], now_ms))
    }

    /// No region is read from that lacks what all once had, or for too long what others show, unless no other is left; a drained
    /// one is none.
    pub(super) fn check_fit(&mut self, edge: usize, decision: &Decision) {
        let known = &self.edges[edge];
        let regions = decision.ranked.iter().map(|choice| choice.region.index());
        let (below, others): (Vec<_>, Vec<_>) = regions.partition(|region| {
            let there = self.store.regions[*region].replicas.len();
            let mut replicas = 0..there.min(known.replicas()[*region]);
            replicas.all(|replica| known.is_unfit((*region, replica)))
        });
        let now_ms = known.steady(self.now_ms);
        let is_fit = |region: &usize| {
            !known.is_drained(*region) && known.applied().is_fit(NAMES[*region], now_ms)
        };
        // Those that only a token leads to are left out for all others.
        let below: Vec<usize> = below
            .into_iter()
            .filter(|region| !decision.was_left_out(RegionId::at(*region)))
            .collect();
        self.seen.unfit += u64::from(!below.is_empty());
        assert!(
            below.is_empty() || !others.iter().any(is_fit),
            "edge {edge} reads from {below:?}, which lack what they should have\n{self:?}"
        );
    }

    /// Whoever shows all that anybody ever showed may be read from.
    pub(super) fn check_those_who_have_all(&self, edge: usize) {
        let known = &self.edges[edge];
        let now_ms = known.steady(self.now_ms);
        for (region, replica) in known.who_has_all(self.now_ms) {
            let origin = known.origin(region, replica);
            let name = NAMES[region];
            assert!(
                known.applied().origin_is_fit(name, &origin, now_ms),
                "edge {edge} does not read from {name}.{replica}, which shows all\n{self:?}"
            );
        }
    }

    /// Who waits takes a place, and nobody else does.
    pub(super) fn check_places(&self) {
        for (at, edge) in self.edges.iter().enumerate() {
            for (region, name) in NAMES.iter().enumerate().take(self.store.regions.len()) {
                let waits = |request: &&Request| request.edge == at && request.waits_for(region);
                let waiting = self.requests.values().filter(waits).count();
                let places = edge.applied().waiting(name);
                assert_eq!(places, waiting, "places for {name} at edge {at}\n{self:?}");
            }
        }
    }

    /// No read waits longer than it may, and none for what its region is known to have, or without patience another one.
    pub(super) fn check_waits(&self) {
        for (id, request) in &self.requests {
            let Some(waiting) = &request.waiting else {
                continue;
            };
            let is_over = self.now_ms > request.deadline_ms;
            assert!(!is_over, "#{id} waits for too long\n{self:?}");
            let edge = &self.edges[request.edge];
            let (vector, now_ms) = (&request.visit.token().vector, edge.steady(self.now_ms));
            // Of one that was removed meanwhile nothing is known any more: who waits for it does so to the end.
            let has_all = |region: usize| {
                let standing = edge.applied().standing(NAMES[region], vector, now_ms);
                edge.knows_region(region) && standing == Standing::Dominates
            };
            let is_woken = !waiting.sleeps() || !has_all(waiting.region);
            assert!(is_woken, "#{id} is not woken\n{self:?}");
            if waiting.looks_elsewhere() {
                let mut others = waiting.elsewhere.iter().map(|region| region.index());
                let has_other = others.any(has_all);
                assert!(!has_other, "#{id} does not go elsewhere\n{self:?}");
            }
        }
    }

    /// An answer that says nothing, of an origin that said before it was asked that it had all, and nothing else since, shows all.
    /// What pushes say may be in doubt, and of a region that was removed meanwhile nothing is known any more.
    pub(super) fn check_silent(&self, request: &Request, at: At, answer: &Answer, judged: Judged) {
        let is_silent = answer.said.applied.is_none() && !answer.is_conflict;
        let edge = &self.edges[request.edge];
        let changes = edge.moments(at).changes();
        let is_heard = edge.knows(at) && !self.store.regions[at.0].speech.pushes;
        let is_sure = is_heard && request.said_all == Some(changes);
        assert!(
            !is_silent || !is_sure || judged == Judged::Shows,
            "an answer of {}.{} is {judged:?}, although it had all\n{self:?}",
            NAMES[at.0],
            at.1
        );
    }

    /// With a mark that says so, a read has all that its client has a right to; and `lost` is said only of
    /// what its region has left behind.
    pub(super) fn check_read(
        &mut self,
        id: u64,
        request: &Request,
        (at, answer): (At, &Answer),
        mark: Option<Mark>,
    ) {
        if self.terms.fails {
            assert_ne!(mark, Some(Mark::Stale), "#{id} must not be stale\n{self:?}");
        }
        if mark == Some(Mark::Stale) {
            return;
        }
        if mark == Some(Mark::Lost) {
            let told = request.visit.lost();
            let mut told = told.iter();
            let is_there = told.find(|(writer, at)| self.store.goes_on_from(writer, *at));
            assert!(
                is_there.is_none(),
                "#{id} is told that {is_there:?} is lost\n{self:?}"
            );
            let is_past_a_fork = |write| self.store.is_past_a_fork(write);
            self.clients[request.client].is_told_of_a_loss(is_past_a_fork);
        }
        let client = &self.clients[request.client];
        for right in &request.rights {
            let write = right.write;
            let is_due = client.holds(right, &self.store, self.now_ms)
                && !self.is_lost_unheard(request.edge, at, answer, right)
                && !self.is_new_to_who_forgot(request.edge, at)
                && !self.is_new_and_the_last(request, at)
                && !self.is_of_before_it(at, write);
            assert!(
                answer.replica.sees(write) || !is_due,
                "#{id} is {mark:?} without w{write}\n{self:?}"
            );
        }
    }
}

/// Whether one who sees all up to `asked` sees `position` by the order within an epoch alone.
fn is_up_to(asked: Position, position: Position) -> bool {
    asked.epoch == position.epoch && asked.seq >= position.seq
}
