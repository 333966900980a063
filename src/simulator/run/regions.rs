//! Regions replicate, and edges probe them.

use super::{At, Event, Run};
use crate::positions::Vector;
use crate::simulator::store::Speech;

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
        if is_cut || is_itself || !here.is_up || !there.is_up {
            return;
        }
        let region = there.name.clone();
        let log = there.leader().log(&region);
        let copies = if self.random.chance(10) { 2 } else { 1 };
        for _ in 0..copies {
            let (region, log) = (region.clone(), log.clone());
            let arrives = self.random.between(1, self.lag_ms * 2);
            self.after(arrives, Event::Copies { to, region, log });
        }
    }

    pub(super) fn reaches(&self, edge: usize, region: usize) -> bool {
        self.store.regions[region].is_up && !self.unreached.contains(&(edge, region))
    }

    pub(super) fn probe(&mut self, edge: usize, at: At) {
        if self.is_over() {
            return;
        }
        self.after(1_000, Event::Probe { edge, at });
        let said = self.reaches(edge, at.0).then(|| {
            let region = &self.store.regions[at.0];
            let speaks = region.speech != Speech::Silent;
            speaks.then(|| Box::new(region.replicas[at.1].applied()))
        });
        self.edges[edge].set_health(at.0, said.is_some());
        let asked_at_ms = self.now_ms;
        // Half of the way back at least: what was said may be old when it is heard.
        let way = self.way();
        let said = said.flatten();
        self.after(
            way,
            Event::Probed {
                edge,
                at,
                asked_at_ms,
                said,
            },
        );
    }

    pub(super) fn probed(
        &mut self,
        edge: usize,
        at: At,
        asked_at_ms: u64,
        said: Option<Box<Vector>>,
    ) {
        if let Some(said) = said {
            self.edges[edge].report(at, &said, (asked_at_ms, self.now_ms));
        }
    }
}
