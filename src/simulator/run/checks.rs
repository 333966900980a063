//! What must hold after each step.

use super::{ASK_EVERY_MS, LONGEST_WAY_MS, Request, Run};
use crate::positions::Mark;
use crate::simulator::store::Replica;

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
        let most = self.terms.wait_ms + (regions * 2 + 2) * (2 * LONGEST_WAY_MS + ASK_EVERY_MS);
        let took = self.now_ms - request.began_ms;
        assert!(
            took <= most,
            "#{id} took {took} ms, and {most} at most\n{self:?}"
        );
    }

    /// With a mark that says so, a read has all that its client has a right to; and `lost` is said only of
    /// what its region has left behind.
    pub(super) fn check_read(
        &mut self,
        id: u64,
        request: &Request,
        replica: &Replica,
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
            let is_due = client.holds(right, &self.store, self.now_ms);
            let write = right.write;
            assert!(
                replica.sees(write) || !is_due,
                "#{id} is {mark:?} without w{write}\n{self:?}"
            );
        }
    }
}
