//! What must hold after each step.

use super::{Answer, LONGEST_WAY_MS, Request, Run};
use crate::positions::{Mark, Standing};
use crate::simulator::client::{Acknowledged, Given};
use crate::simulator::edge::{At, NAMES};

impl Run {
    /// A token loses entries only by expiry, retirement or loss.
    pub(super) fn check_token(&self, request: &Request) {
        if request.visit.valid {
            return;
        }
        let client = &self.clients[request.client];
        for right in &request.rights {
            let is_everywhere = self
                .store
                .regions
                .iter()
                .flat_map(|region| &region.replicas)
                .all(|replica| replica.sees(right.write));
            assert!(
                is_everywhere || !client.holds(right, &self.store, self.now_ms),
                "client {} has no token any more, and not all have w{}\n{self:?}",
                request.client,
                right.write
            );
        }
    }

    /// Waiting ends: each region may be asked until `wait` is over, and once more.
    pub(super) fn check_time(&self, id: u64, request: &Request) {
        let regions = u64::try_from(self.terms.replicas.len()).unwrap();
        let most = self.terms.wait_ms + (regions * 2 + 2) * (2 * LONGEST_WAY_MS + 20);
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
        let is_in_order = self.is_strict || self.pushers.are_in_order(at.0);
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

    /// No read waits longer than it may, and none for what its region is known to have.
    pub(super) fn check_waits(&self) {
        for (id, request) in &self.requests {
            let Some(waiting) = &request.waiting else {
                continue;
            };
            let is_over = self.now_ms > request.deadline_ms;
            assert!(!is_over, "#{id} waits for too long\n{self:?}");
            if !waiting.sleeps() {
                continue;
            }
            let edge = &self.edges[request.edge];
            let (vector, now_ms) = (&request.visit.token().vector, edge.steady(self.now_ms));
            let standing = edge
                .applied()
                .standing(NAMES[waiting.region], vector, now_ms);
            assert_ne!(
                standing,
                Standing::Dominates,
                "#{id} is not woken\n{self:?}"
            );
        }
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
            let is_past_a_fork = |write| self.store.is_past_a_fork(write);
            self.clients[request.client].is_told_of_a_loss(is_past_a_fork);
        }
        let client = &self.clients[request.client];
        for right in &request.rights {
            let write = right.write;
            let is_due = client.holds(right, &self.store, self.now_ms)
                && !self.is_lost_unheard(request.edge, at, answer, right);
            assert!(
                answer.replica.sees(write) || !is_due,
                "#{id} is {mark:?} without w{write}\n{self:?}"
            );
        }
    }
}
