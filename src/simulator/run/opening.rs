//! A reload adds a region: at all edges at once, or at one after the other. Then it serves nobody before all edges have it and
//! it has what was written until then, as whoever runs it is told to see to.

use std::rc::Rc;

use super::{EDGES, Event, Run};
use crate::simulator::broken::Broken;
use crate::simulator::speech::Speech;
use crate::simulator::store::{Region, Write};
use crate::simulator::terms::{NAMES, Terms};

/// Openings at one edge after the other, of a hundred.
const ROLLED_OUT_PERCENT: u64 = 60;

/// How often whoever runs a new region looks whether it may serve, ms.
const LOOKED_AT_EVERY_MS: u64 = 100;

impl Run {
    /// The new region has nothing, and says with health checks what it has.
    pub(super) fn open(&mut self) {
        let opened = self.store.regions.len();
        let speech = Speech {
            commits: self.growth.chance(70),
            answers: true,
            probes: true,
            ..Speech::default()
        };
        let replicas = self.growth.pick(&[1, 1, 2]);
        let region = Region::new(NAMES[opened].into(), replicas, speech, &mut self.growth);
        let others = self.ats();
        self.store.add(region, self.now_ms);
        self.seen.opened += 1;
        self.tell(|| format!("region {opened} opens with {replicas} replicas"));
        if self.rollout.chance(ROLLED_OUT_PERCENT) {
            self.roll_out(replicas);
        } else {
            for edge in &mut self.edges {
                edge.reload_with(|terms| terms.replicas.push(replicas), self.now_ms);
            }
            let after_ms = self.delay_ms();
            for replica in 0..replicas {
                self.meet((opened, replica), after_ms);
            }
        }
        let after_ms = self.delay_ms();
        for to in others {
            let from = opened;
            self.after(after_ms, Event::Replicate { to, from });
        }
    }

    fn roll_out(&mut self, replicas: usize) {
        self.seen.rolled_out += 1;
        let opened = self.store.regions.len() - 1;
        if self.broken != Some(Broken::ServesTooSoon) {
            self.opening = Some(opened);
        }
        let mut after_ms = 0;
        for edge in 0..EDGES {
            after_ms += self.rollout.between(1, 2_000);
            self.after(after_ms, Event::Adds { edge, replicas });
        }
        for replica in 0..replicas {
            self.hear_of_others((opened, replica), 1);
        }
    }

    /// The next edge has it. Once the last one has, it may serve when it has what all others have by then.
    pub(super) fn adds(&mut self, edge: usize, replicas: usize) {
        let opened = self.store.regions.len() - 1;
        let add = |terms: &mut Terms| {
            terms.replicas.push(replicas);
            // Whoever reads goes there, if it may be read from.
            terms.nearest = Some(opened);
        };
        self.edges[edge].reload_with(add, self.now_ms);
        self.tell(|| format!("edge {edge} has region {opened} from now on"));
        for replica in 0..replicas {
            self.begin_at_edge(edge, (opened, replica), 1);
        }
        if self.edges.iter().all(|edge| edge.knows_region(opened)) {
            let lacking = Rc::new(self.store.all_everywhere());
            self.after(LOOKED_AT_EVERY_MS, Event::MayServe { lacking });
        }
    }

    /// Whoever runs the new region looks whether it has what it was lacking.
    pub(super) fn may_serve(&mut self, lacking: Rc<Vec<Write>>) {
        let Some(opened) = self.opening.filter(|_| !self.is_over()) else {
            return;
        };
        let replicas = &self.store.regions[opened].replicas;
        let has_all = |write: &Write| replicas.iter().all(|replica| replica.sees(*write));
        if lacking.iter().all(has_all) {
            self.opening = None;
            self.tell(|| format!("region {opened} serves from now on"));
        } else {
            self.after(LOOKED_AT_EVERY_MS, Event::MayServe { lacking });
        }
    }
}
