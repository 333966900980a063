//! Regions replicate.

use std::rc::Rc;

use super::{Event, Run};
use crate::simulator::edge::At;

impl Run {
    pub(super) fn replicate(&mut self, to: At, from: usize) {
        if self.is_over() {
            return;
        }
        let next = self.random.between(60, 120 + self.lag_ms * 2);
        self.after(next, Event::Replicate { to, from });
        let is_cut = self.cut.contains(&(to.0.min(from), to.0.max(from)));
        let (here, there) = (&self.store.regions[to.0], &self.store.regions[from]);
        let is_itself = to.0 == from && to.1 == there.leader;
        let is_stuck = self
            .stuck
            .is_some_and(|(at, from_ms)| at == to && self.now_ms >= from_ms);
        if is_cut || is_itself || is_stuck || !here.is_up || !there.is_up {
            return;
        }
        let region = there.name.clone();
        let log = there.leader().log(&region);
        if Rc::ptr_eq(&log, &here.replicas[to.1].log(&region)) {
            return;
        }
        let copies = if self.random.chance(10) { 2 } else { 1 };
        for _ in 0..copies {
            let (region, log) = (region.clone(), log.clone());
            let arrives = self.random.between(1, self.lag_ms * 2);
            self.after(arrives, Event::Copies { to, region, log });
        }
    }

    pub(super) fn reaches(&self, edge: usize, region: usize) -> bool {
        let serves = self.store.regions[region].is_up && self.opening != Some(region);
        serves && !self.unreached.contains(&(edge, region))
    }
}
