//! Drains: whether the guards allow one, and when it ends.

use std::sync::Arc;
use std::time::Duration;

use super::shown::Stale;
use super::{World, event};
use crate::clock;
use crate::config::plan::Plan;
use crate::control::drains::{Drain, DrainRefused, DrainRequest};
use crate::control::events::{Event, Kind};
use crate::ids::{RegionId, ServiceId};
use crate::steering::is_fit;
use crate::units::show_duration;

impl World {
    /// Drains a region, if the guards of the services allow it or `force` is set.
    pub fn drain(&mut self, request: DrainRequest, force: bool) -> Result<Event, DrainRefused> {
        let (region, services) = self.drain_scope(&request.region, request.service.as_deref())?;
        let at_ms = request.since_ms;
        if !force {
            for service in &services {
                self.guard(*service, region, at_ms)?;
            }
        }
        let drain = self.drains.asked(request)?;
        self.halt_ramps(&drain.region, &services, at_ms);
        let (message, of) = (is_drained(&drain), drain.service.as_ref());
        let event = event(Kind::Drain, at_ms, Some(&drain.region), of, message);
        self.drains.put(drain);
        self.shown.stale = Stale::All;
        Ok(event)
    }

    pub(super) fn drain_scope(
        &self,
        region: &str,
        service: Option<&str>,
    ) -> Result<(RegionId, Vec<ServiceId>), DrainRefused> {
        let plan = &self.plan;
        let id = plan
            .region(region)
            .ok_or_else(|| DrainRefused::UnknownRegion(region.to_owned()))?;
        let services: Vec<ServiceId> = plan
            .services
            .iter()
            .filter(|(_, s)| s.regions.iter().any(|member| member.region == id))
            .filter(|(_, s)| service.is_none_or(|name| *s.name == *name))
            .map(|(id, _)| id)
            .collect();
        match service {
            Some(name) if services.is_empty() => Err(DrainRefused::UnknownService(name.to_owned())),
            Some(_) | None => Ok((id, services)),
        }
    }

    pub(super) fn guard(
        &self,
        service: ServiceId,
        drained: RegionId,
        now_ms: u64,
    ) -> Result<(), DrainRefused> {
        let Service { name, min_regions } = Service::of(&self.plan, service);
        let state = self.state(service, now_ms);
        let left = state.left_without(drained, |region| self.is_read_from(service, region));
        if !left.is_too_few(min_regions) {
            return Ok(());
        }
        let names = |regions: Vec<RegionId>| {
            let names = regions
                .into_iter()
                .map(|region| &self.plan.regions.of(region).name);
            names.cloned().collect()
        };
        Err(DrainRefused::Guard {
            service: name,
            min_regions,
            left: names(left.regions),
            unread: names(left.unread),
        })
    }

    /// Whether reads may go to a region: what it has was looked at when traffic was.
    fn is_read_from(&self, service: ServiceId, region: RegionId) -> bool {
        let consistency = self.plan.services.of(service).consistency.as_ref();
        let domain = consistency.map(|known| &self.plan.domains.of(known.domain).name);
        let applied = domain.and_then(|domain| self.positions.get(domain));
        let able = self.able_origins(service);
        let witnessed_ms = self.witnessed_ms;
        applied.is_none_or(|applied| is_fit(&self.plan, applied, (region, &able), witnessed_ms))
    }

    /// Ends a drain.
    pub fn undrain(
        &mut self,
        region: &str,
        service: Option<&str>,
        now_ms: u64,
    ) -> Result<Event, DrainRefused> {
        // A drain outlives a reload that takes its region away, and can be undone all the same.
        let Some(drain) = self.drains.take(region, service) else {
            self.drain_scope(region, service)?;
            let others = self.drains.iter().filter(|drain| *drain.region == *region);
            return Err(DrainRefused::Nothing {
                region: region.to_owned(),
                what: "drained",
                service: service.map(str::to_owned),
                others: others.map(|drain| drain.service.clone()).collect(),
            });
        };
        self.shown.stale = Stale::All;
        self.ramp_after(&drain, now_ms);
        Ok(self.drain_over(&drain, now_ms, "undone"))
    }

    /// Ends the drains whose time is over.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Event> {
        self.settled_ms = now_ms;
        let cleared = self
            .suspects
            .extract_if(|_, until| *until <= now_ms)
            .count();
        let over = self.drains.expire(now_ms);
        for drain in &over {
            self.ramp_after(drain, now_ms);
        }
        if self.ramps.turn_between(self.shown.at_ms, now_ms) {
            self.shown.stale = Stale::All;
        }
        self.ramps.retain(now_ms, |_| true);
        let forced = self.expire_forced(now_ms);
        if cleared > 0 || !over.is_empty() {
            self.shown.stale = Stale::All;
        }
        over.iter()
            .map(|drain| self.drain_over(drain, now_ms, "over"))
            .chain(forced)
            .collect()
    }

    fn drain_over(&self, drain: &Drain, now_ms: u64, how: &str) -> Event {
        let message = format!(
            "the drain of region {}{} is {how}",
            drain.region,
            of_service(drain)
        );
        event(
            Kind::Drain,
            now_ms,
            Some(&drain.region),
            drain.service.as_ref(),
            message,
        )
    }

    /// When time alone changes something next, in milliseconds since 1970. What has passed since the last
    /// [`expire`](Self::expire) is still to come.
    pub fn next_change_ms(&self) -> Option<u64> {
        let drains = self
            .drains
            .next_change_ms(&self.session_times, self.settled_ms);
        let suspects = self.suspects.values().copied();
        let ramps = self.ramps.next_change_ms(self.settled_ms);
        let forced = self.forced.next_change_ms();
        suspects.chain(drains).chain(ramps).chain(forced).min()
    }
}

/// A drain in words.
fn is_drained(drain: &Drain) -> String {
    let until = drain.until_ms.map(clock::rfc3339);
    let until = until.map_or(String::new(), |until| format!(" until {until}"));
    let over = match drain.over_ms {
        0 => String::new(),
        ms => format!(" over {}", show_duration(Duration::from_millis(ms))),
    };
    let why = drain.reason.as_ref();
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    let (region, of) = (&drain.region, of_service(drain));
    format!("region {region} is drained{of}{over}{until}{why}")
}

fn of_service(drain: &Drain) -> String {
    let service = drain.service.as_ref();
    service.map_or(String::new(), |service| format!(" for service {service}"))
}

/// What a guard needs of a service.
struct Service {
    name: Arc<str>,
    min_regions: u16,
}

impl Service {
    fn of(plan: &Plan, id: ServiceId) -> Self {
        let service = plan.services.of(id);
        Self {
            name: service.name.clone(),
            min_regions: service.min_regions,
        }
    }
}
