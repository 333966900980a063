//! What the writer does when it is asked.

use serde_json::Value;
use tokio::sync::oneshot;

use super::handle::{Change, Changed, Command};
use super::{Adoption, Writer, look_every};
use crate::clock;
use crate::control::bequest::bequeath;
use crate::control::drains::DrainRefused;
use crate::control::events::{Event, Kind};
use crate::control::told;

impl Writer {
    pub(super) fn obey(&mut self, command: Command) {
        // A reply that nobody waits for any more is no loss.
        match command {
            Command::Adopt(adoption, reply) => {
                let _ = reply.send(self.adopt(*adoption));
            }
            Command::Change(change, reply) => match self.change(change) {
                Ok(changed) => {
                    self.saving.answer_after(reply, changed);
                    self.unsaved = true;
                    self.save();
                }
                Err(refused) => {
                    let _ = reply.send(Err(refused));
                }
            },
            Command::Status(reply) => {
                let _ = reply.send(self.world.status());
            }
            Command::Answered(reply) => {
                let _ = reply.send(self.world.answered_ms());
            }
            Command::Probes(region, service, reply) => {
                let _ = reply.send(self.world.probes(&region, service.as_deref()));
            }
            Command::Suspect(region, message) => {
                let now_ms = self.unix_ms();
                let event = self.world.suspect(&region, message, now_ms);
                self.record([event]);
                self.publish();
            }
            Command::Republish => {
                self.published = None;
                self.publish();
            }
            Command::Relocate(plan, clients, reply) => {
                let _ = reply.send(self.world.relocate(&plan, clients));
                self.publish();
            }
            Command::Tell(event) => self.record([event]),
            Command::Bequeath(reply) => {
                self.is_bequeathed = true;
                if self.saving.is_under_way() {
                    self.heir = Some(reply);
                } else {
                    self.bequeath_to(reply);
                }
            }
            Command::Resume => {
                self.is_bequeathed = false;
                self.unsaved = true;
            }
        }
    }

    /// Hands on what is known; what somebody waits for to be saved, the other process saves.
    pub(super) fn bequeath_to(&mut self, heir: oneshot::Sender<Value>) {
        self.saving.answer_all();
        let now = self.now();
        let mut state = bequeath(&self.world, now);
        told::remember(&mut state, &self.events);
        let _ = heir.send(state);
    }

    fn adopt(&mut self, adoption: Adoption) -> u64 {
        self.look_every = look_every(&adoption.plan);
        self.world.adopt(adoption.plan, adoption.clients);
        self.traffic.retain(|key| self.world.owner(key).is_some());
        self.publish = adoption.publish;
        self.run_checks(&adoption.probers);
        self.follows.run(&self.world, &adoption.probers);
        self.publish();
        self.unsaved = true;
        let generation = self.world.generation();
        let message = format!(
            "configuration {generation} is in force: {}",
            adoption.summary
        );
        self.record([Event::new(Kind::Reload, clock::unix_ms(), message)]);
        generation
    }

    fn change(&mut self, change: Change) -> Result<Changed, DrainRefused> {
        if self.is_bequeathed {
            return Err(DrainRefused::HandedOver);
        }
        let now_ms = self.unix_ms();
        let world = &mut self.world;
        let (region, adds) = change.of();
        // Who was refused, and why, is told by the audit.
        let event = match change {
            Change::Drain(drain, force) => world.drain(drain, force),
            Change::Undrain(region, service) => world.undrain(&region, service.as_deref(), now_ms),
            Change::Force(forced, anyway) => world.force(forced, anyway),
            Change::Unforce(region, service) => world.unforce(&region, service.as_deref(), now_ms),
        }?;
        let event = self.events.number(event);
        self.publish();
        let drains = self.world.drains().iter();
        let drains = drains.filter(|drain| drain.region == region);
        let forced = self.world.forced();
        let forced = forced.filter(|forced| forced.region == region);
        Ok(Changed {
            event,
            // Without it nothing of before is there to come back.
            unsaved: (adds && !self.saving.is_possible())
                .then(|| "node.state_dir is not set".to_owned()),
            drains: drains.cloned().collect(),
            forced: forced.cloned().collect(),
        })
    }
}
