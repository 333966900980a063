//! Ramps: a region that comes back to a service is given its clients little by little.

use std::sync::Arc;
use std::time::Duration;

use super::shown::Stale;
use super::{World, members, whole_ms};
use crate::control::drains::Drain;
use crate::control::ramps::{Key, length};
use crate::control::slope::Slope;
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
            let kept_ms = match share {
                Percent::NONE => kept_ms(ramp_ms, now_ms.saturating_sub(drain.since_ms)),
                share => ramp_ms / 100 * u64::from(share.get()),
            };
            let key = (service.name.clone(), drain.region.clone());
            self.ramps.begin(key, ramp_ms, kept_ms, now_ms);
        }
    }

    /// Begins the ramps of regions that a state shows able and that were not; whether there are any.
    pub(super) fn ramp_the_recovered(
        &mut self,
        id: ServiceId,
        state: &ServiceState,
        now_ms: u64,
    ) -> bool {
        let service = self.plan.services.of(id);
        let mut began = false;
        for member in &state.members {
            let region = &self.plan.regions.of(member.region).name;
            let key = (service.name.clone(), region.clone());
            let before = self.health.get(&key);
            match before {
                Some((Health::Unhealthy | Health::Ejected, since_ms))
                    if member.health.is_able() =>
                {
                    let ramp_ms = whole_ms(self.ramp(id));
                    let out_ms = now_ms.saturating_sub(*since_ms);
                    self.ramps
                        .begin(key, ramp_ms, kept_ms(ramp_ms, out_ms), now_ms);
                    began |= ramp_ms > 0;
                }
                _ if !member.health.is_able() => self.ramps.end(&key),
                _ => {}
            }
        }
        began
    }

    /// The ramps under way.
    pub(in crate::control) fn ramps(&self) -> Vec<(&Key, Slope)> {
        self.ramps.all()
    }

    /// Takes over a ramp, if the region still is one of the service's.
    pub(in crate::control) fn remember_ramp(&mut self, service: &str, region: &str, slope: Slope) {
        let key = (service.into(), region.into());
        if members(&self.plan).any(|member| member == key) {
            self.ramps.put(key, slope);
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
        match (admin, self.ramps.share(&key, now_ms)) {
            (Admin::Enabled, Some(share)) => Admin::Returning(share),
            (admin, _) => admin,
        }
    }
}

/// Whoever was out for less than a ramp has lost only a part of its clients.
fn kept_ms(ramp_ms: u64, out_ms: u64) -> u64 {
    ramp_ms - ramp_ms.min(out_ms)
}
