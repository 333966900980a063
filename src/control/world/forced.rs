//! Forced states: what operators say of health, whether the guards allow it, and when it ends.

use super::shown::Stale;
use super::{World, event};
use crate::clock;
use crate::control::drains::DrainRefused;
use crate::control::events::{Event, Kind};
use crate::control::forced::ForcedState;
use crate::steering::Forced;

impl World {
    /// Has a region count as healthy or unhealthy, if the guards of the services allow it or `anyway` is set.
    pub fn force(&mut self, forced: ForcedState, anyway: bool) -> Result<Event, DrainRefused> {
        let (region, services) = self.drain_scope(&forced.region, forced.service.as_deref())?;
        if forced.state == Forced::Down && !anyway {
            for service in services {
                self.guard(service, region, forced.since_ms)?;
            }
        }
        let why = forced
            .reason
            .as_ref()
            .map_or(String::new(), |why| format!(": {why}"));
        let until = forced.until_ms.map(clock::rfc3339);
        let until = until.map_or(String::new(), |until| format!(" until {until}"));
        let event = forced_event(
            &forced,
            forced.since_ms,
            &format!("is forced {}", forced.state.as_str()),
            &format!("{until}{why}"),
        );
        self.forced.put(forced);
        self.shown.stale = Stale::All;
        Ok(event)
    }

    /// Leaves a region to its probes again.
    pub fn unforce(
        &mut self,
        region: &str,
        service: Option<&str>,
        now_ms: u64,
    ) -> Result<Event, DrainRefused> {
        // It outlives a reload that takes its region away, and can be undone all the same.
        let Some(forced) = self.forced.take(region, service) else {
            self.drain_scope(region, service)?;
            let others = self
                .forced
                .iter()
                .filter(|forced| *forced.region == *region);
            return Err(DrainRefused::Nothing {
                region: region.to_owned(),
                what: "forced",
                service: service.map(str::to_owned),
                others: others.map(|forced| forced.service.clone()).collect(),
            });
        };
        self.shown.stale = Stale::All;
        Ok(self.forced_no_longer(&forced, now_ms, ""))
    }

    /// Restores a forced state.
    pub(in crate::control) fn remember_forced(&mut self, forced: ForcedState) {
        self.forced.put(forced);
        self.shown.stale = Stale::All;
    }

    /// Those in force.
    pub(in crate::control) fn forced(&self) -> impl Iterator<Item = &ForcedState> {
        self.forced.iter()
    }

    /// Ends those whose time is over.
    pub(super) fn expire_forced(&mut self, now_ms: u64) -> Vec<Event> {
        let over = self.forced.expire(now_ms);
        if !over.is_empty() {
            self.shown.stale = Stale::All;
        }
        let told =
            |forced: &ForcedState| self.forced_no_longer(forced, now_ms, ": its time is over");
        over.iter().map(told).collect()
    }

    /// The end of a forced state. What else is said of the region goes on.
    fn forced_no_longer(&self, forced: &ForcedState, now_ms: u64, why: &str) -> Event {
        let others = self.forced.iter();
        let others = others.filter(|other| other.region == forced.region);
        let others: Vec<String> = others
            .map(|other| match &other.service {
                Some(service) => format!("service {service}"),
                None => "all services".to_owned(),
            })
            .collect();
        if others.is_empty() {
            return forced_event(forced, now_ms, "is left to its probes again", why);
        }
        let others = others.join(" and ");
        let rest = format!("; it is still forced for {others}{why}");
        forced_event(forced, now_ms, "is no longer forced", &rest)
    }
}

fn forced_event(forced: &ForcedState, at_ms: u64, what: &str, why: &str) -> Event {
    let of = forced.service.as_ref();
    let of = of.map_or(String::new(), |service| format!(" for service {service}"));
    event(
        Kind::Forced,
        at_ms,
        Some(&forced.region),
        forced.service.as_ref(),
        format!("region {} {what}{of}{why}", forced.region),
    )
}
