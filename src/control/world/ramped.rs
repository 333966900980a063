//! Ramps: a region that comes back to a service is given its clients little by little.

use std::sync::Arc;
use std::time::Duration;

use super::shown::Stale;
use super::{World, members, whole_ms};
use crate::control::drains::Drain;
use crate::control::ramps::{Key, Ramp, length};
use crate::health::Health;
use crate::ids::ServiceId;
use crate::steering::{Admin, Percent, ServiceState};

impl World {
    /// What an operator's drain leaves is a ramp in every service that it was of.
    pub(super) fn ramp_after(&mut self, drain: &Drain, now_ms: u64) {
        let plan = self.plan.clone();
        let Some(region) = plan.region(&drain.region) else {
            return;
        };
        let of = |name: &Arc<str>| drain.service.as_ref().is_none_or(|of| of == name);
        let services = plan
            .services
            .iter()
            .filter(|(_, service)| of(&service.name));
        for (id, service) in services.filter(|(_, s)| s.regions.iter().any(|m| m.region == region))
        {
            let ramp = self.ramp(id);
            let ramp_ms = whole_ms(ramp);
            let (share, _) = drain.leaves(ramp, now_ms);
            let key = (service.name.clone(), drain.region.clone());
            match share {
                Percent::NONE => self.ramps.begin(key, ramp_ms, drain.since_ms, now_ms),
                // Little by little: it has lost those who have left.
                share => {
                    let kept_ms = ramp_ms / 100 * u64::from(share.get());
                    self.ramps.begin_with(key, ramp_ms, kept_ms, now_ms);
                }
            }
        }
    }

    /// A region is out for these services again, as far as it was on its way back.
    pub(super) fn halt_ramps(&mut self, region: &Arc<str>, services: &[ServiceId], now_ms: u64) {
        let names = services.iter().map(|id| &self.plan.services.of(*id).name);
        for name in names {
            self.ramps.halt(&(name.clone(), region.clone()), now_ms);
        }
    }

    /// Begins the ramps of regions that a state shows able and that were not, and halts those of others that are not any more;
    /// whether there are any.
    pub(super) fn ramp_the_recovered(
        &mut self,
        id: ServiceId,
        state: &ServiceState,
        now_ms: u64,
    ) -> bool {
        let service = self.plan.services.of(id);
        let mut is_another = false;
        for member in &state.members {
            let region = &self.plan.regions.of(member.region).name;
            let key = (service.name.clone(), region.clone());
            let before = self.health.get(&key);
            match before {
                Some((Health::Unhealthy | Health::Ejected, since_ms))
                    if member.health.is_able() =>
                {
                    let ramp_ms = whole_ms(self.ramp(id));
                    self.ramps.begin(key, ramp_ms, *since_ms, now_ms);
                    is_another |= ramp_ms > 0;
                }
                _ if !member.health.is_able() => is_another |= self.ramps.halt(&key, now_ms),
                _ => {}
            }
        }
        is_another
    }

    /// The ramps under way.
    pub(in crate::control) fn ramps(&self) -> Vec<(&Key, Ramp)> {
        self.ramps.all()
    }

    /// Takes over a ramp, if the region still is one of the service's.
    pub(in crate::control) fn remember_ramp(&mut self, service: &str, region: &str, ramp: Ramp) {
        let key = (service.into(), region.into());
        if members(&self.plan).any(|member| member == key) {
            self.ramps.put(key, ramp);
            self.shown.stale = Stale::All;
        }
    }

    /// How long a region that comes back to a service now takes to be given all of its clients.
    fn ramp(&self, id: ServiceId) -> Duration {
        let targets = self.targets.of_service(id);
        let rates = targets.map(|watched| watched.load.per_second(self.witnessed_ms));
        length(self.plan.services.of(id).ramp, rates.sum())
    }

    /// What the operator says of a region, with its ramp if there is one.
    pub(super) fn with_ramp(
        &self,
        admin: Admin,
        service: &Arc<str>,
        region: &Arc<str>,
        now_ms: u64,
    ) -> Admin {
        let key = (service.clone(), region.clone());
        match admin {
            Admin::Enabled => {
                let share = self.ramps.share(&key, now_ms);
                share.map_or(admin, Admin::Returning)
            }
            // It is given no more meanwhile than it was on its way back.
            Admin::Leaving { fresh, sessions } => {
                let given = self.ramps.given(&key, now_ms);
                let fresh = given.map_or(fresh, |given| fresh.min(given));
                Admin::Leaving { fresh, sessions }
            }
            Admin::Returning(_) | Admin::Draining | Admin::Drained => admin,
        }
    }
}
