//! The regions and origins that an edge is configured with, and reloads that change them.

use std::sync::Arc;

use super::{At, Edge, keyring};
use crate::ids::{Id, RegionId, ServiceId};
use crate::simulator::terms::{NAMES, Terms};

impl Edge {
    /// A reload that changes nothing but the order of the keys.
    pub(in crate::simulator) fn reload(&mut self, signing: u8) {
        let (plan, clients) = self.terms.plan();
        self.world.adopt(plan, clients);
        self.keyring = keyring(signing);
    }

    /// A reload that adds or removes an origin or a region, the last one.
    pub(in crate::simulator) fn reload_with(
        &mut self,
        change: impl FnOnce(&mut Terms),
        now_ms: u64,
    ) {
        let mut origins = self.origins.iter();
        if self.forgot_ms > 0 && !origins.all(|(at, _)| self.heard_of.contains(at)) {
            // Whoever has not heard of all since it forgot knows no better by now.
            self.forgot_ms = now_ms;
        }
        change(&mut self.terms);
        let (plan, clients) = self.terms.plan();
        self.world.adopt(plan, clients);
        let service = ServiceId::at(0);
        let before = self.snapshot.services.of(service).clone();
        (self.snapshot, _) = self.world.snapshot(0);
        for region in 0..self.terms.replicas.len() {
            match before.members.get(region) {
                Some(known) => *self.member(region) = *known,
                None => self.set_health(region, true),
            }
        }
        self.note_origins();
        self.shown.keep(self.names(), &self.terms.replicas);
        self.look_at_floor(now_ms);
    }

    pub(super) fn note_origins(&mut self) {
        let plan = &self.snapshot.plan;
        let replicas = self.terms.replicas.iter().enumerate();
        let ats = replicas.flat_map(|(region, of)| (0..*of).map(move |replica| (region, replica)));
        let name = |(region, replica): At| {
            let origin = plan.regions.of(RegionId::at(region)).origins[replica];
            plan.origins.of(origin).url.to_string().into()
        };
        self.origins = ats.map(|at| (at, name(at))).collect();
        self.names.extend(self.origins.iter().cloned());
    }

    /// Whether it is configured with a region.
    pub(in crate::simulator) fn knows_region(&self, region: usize) -> bool {
        region < self.terms.replicas.len()
    }

    /// Whether it is configured with an origin.
    pub(in crate::simulator) fn knows(&self, (region, replica): At) -> bool {
        let replicas = self.terms.replicas.get(region);
        replicas.is_some_and(|replicas| replica < *replicas)
    }

    /// How many origins it has of each region.
    pub(in crate::simulator) fn replicas(&self) -> &[usize] {
        &self.terms.replicas
    }

    /// The regions that it is configured with.
    pub(super) fn names(&self) -> &'static [&'static str] {
        &NAMES[..self.terms.replicas.len()]
    }

    /// The name of a region's origin, as positions know it.
    pub(in crate::simulator) fn origin(&self, region: usize, replica: usize) -> Arc<str> {
        self.names[&(region, replica)].clone()
    }
}
