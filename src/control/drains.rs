//! What operators have taken out of service, why, and until when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::slope::Slope;
use crate::config::plan::Plan;
use crate::ids::{RegionId, ServiceId};
use crate::steering::{Admin, Percent};

/// A region taken out, for one service or for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The region.
    pub region: Arc<str>,
    /// The service; none: all.
    pub service: Option<Arc<str>>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Until when; none: until it is undone.
    pub until_ms: Option<u64>,
    /// How long it takes from its beginning until no new client is taken; 0: at once.
    pub over_ms: u64,
    /// Why.
    pub reason: Option<String>,
}

impl Drain {
    fn is_of(&self, region: &str, service: Option<&str>) -> bool {
        *self.region == *region && self.service.as_deref() == service
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }

    /// How much of it is done.
    fn slope(&self) -> Slope {
        Slope {
            from_ms: self.since_ms,
            length_ms: self.over_ms,
        }
    }

    /// The same for sessions, each of which ends so long after its client would no longer be taken anew.
    fn slope_of_sessions(&self, time: Duration) -> Slope {
        Slope {
            from_ms: after(self.since_ms, time),
            length_ms: self.over_ms,
        }
    }

    /// When it is more than before for new clients or for sessions of services with these times.
    fn turns(&self, session_times: &BTreeSet<Duration>) -> impl Iterator<Item = u64> {
        let sessions = session_times
            .iter()
            .map(|time| self.slope_of_sessions(*time));
        let gradual = (self.over_ms > 0).then(|| self.slope());
        let slopes = gradual.into_iter().chain(sessions);
        slopes.flat_map(Slope::turns)
    }

    /// What is left of a region: of new clients, and of sessions that last so long.
    pub(super) fn leaves(&self, time: Duration, now_ms: u64) -> (Percent, Percent) {
        let fresh = match self.over_ms {
            0 => Percent::NONE,
            _ => self.slope().done(now_ms).rest(),
        };
        (fresh, self.slope_of_sessions(time).done(now_ms).rest())
    }
}

/// What a drain would have left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainRefused {
    /// No such region.
    #[error("there is no region `{0}`")]
    UnknownRegion(String),
    /// No such service, or it does not use the region.
    #[error("there is no service `{0}` that uses this region")]
    UnknownService(String),
    /// `guards.min_regions` forbids it.
    #[error(
        "this would leave service `{service}` with {} healthy region(s), and guards.min_regions is {min_regions}",
        left.len()
    )]
    Guard {
        /// The service that would suffer.
        service: Arc<str>,
        /// Its guard.
        min_regions: u16,
        /// The healthy regions that would be left.
        left: Vec<Arc<str>>,
    },
    /// What is known has been handed to the process that takes this one's place.
    #[error("another process is taking over from this one: try again in a moment")]
    HandedOver,
    /// There is nothing to undo.
    #[error("region `{region}` is not {what}{}{}", for_whom(service.as_deref()), but(others))]
    Nothing {
        /// The region.
        region: String,
        /// `drained` or `forced`.
        what: &'static str,
        /// For which service; none: for all.
        service: Option<String>,
        /// For whom it is.
        others: Vec<Option<Arc<str>>>,
    },
}

fn for_whom(service: Option<&str>) -> String {
    service.map_or(String::new(), |service| format!(" for service `{service}`"))
}

fn but(others: &[Option<Arc<str>>]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let name = |service: &Option<Arc<str>>| match service {
        Some(service) => format!("service `{service}`"),
        None => "all services".to_owned(),
    };
    let names: Vec<String> = others.iter().map(name).collect();
    format!(": it is for {}, which is undone apart", names.join(" and "))
}

/// All drains in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drains {
    drains: Vec<Drain>,
}

impl Drains {
    /// Those in force, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Drain> {
        self.drains.iter()
    }

    /// Adds a drain, or replaces the one of the same region and service. A drain that goes on keeps
    /// its beginning, and is never slower for being asked for again: nobody who has left comes back, and sessions are not
    /// given more time.
    pub fn put(&mut self, mut drain: Drain) {
        let old = self.take(&drain.region, drain.service.as_deref());
        if let Some(old) = old.filter(|old| !old.is_over(drain.since_ms)) {
            drain.since_ms = old.since_ms;
            drain.over_ms = drain.over_ms.min(old.over_ms);
        }
        self.drains.push(drain);
    }

    /// The one of a region and a service.
    pub fn of(&self, region: &str, service: Option<&str>) -> Option<&Drain> {
        let mut drains = self.drains.iter();
        drains.find(|drain| drain.is_of(region, service))
    }

    /// Ends a drain.
    pub fn take(&mut self, region: &str, service: Option<&str>) -> Option<Drain> {
        let at = self
            .drains
            .iter()
            .position(|drain| drain.is_of(region, service))?;
        Some(self.drains.remove(at))
    }

    /// Ends the drains whose time is over, and returns them.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Drain> {
        self.drains
            .extract_if(.., |drain| drain.is_over(now_ms))
            .collect()
    }

    /// When after `since_ms` a member of a service stands differently next, if ever: a drain ends, or
    /// sessions do. A drain that is over is due until [`Drains::expire`] clears it away.
    /// `session_times` are those of services' affinity.
    pub fn next_change_ms(&self, session_times: &BTreeSet<Duration>, since_ms: u64) -> Option<u64> {
        self.drains
            .iter()
            .flat_map(|drain| {
                let turns = drain.turns(session_times);
                turns.filter(|at| *at > since_ms).chain(drain.until_ms)
            })
            .min()
    }

    /// Whether a member of a service may stand differently at two moments for no other reason than time.
    pub fn turn_between(
        &self,
        session_times: &BTreeSet<Duration>,
        one_ms: u64,
        other_ms: u64,
    ) -> bool {
        // The clock may have been set back.
        let (first, last) = (one_ms.min(other_ms), one_ms.max(other_ms));
        self.drains.iter().any(|drain| {
            let ends = drain.turns(session_times).chain(drain.until_ms);
            let mut turns = ends.chain([drain.since_ms]);
            turns.any(|at| first < at && at <= last)
        })
    }

    /// How a region of a service stands.
    pub fn admin(&self, plan: &Plan, service: ServiceId, region: RegionId, now_ms: u64) -> Admin {
        let (region, service) = (&plan.regions.of(region).name, plan.services.of(service));
        let drains = self
            .drains
            .iter()
            .filter(|drain| drain.region == *region && !drain.is_over(now_ms))
            .filter(|drain| {
                drain
                    .service
                    .as_ref()
                    .is_none_or(|name| *name == service.name)
            });
        let grace = service
            .affinity
            .as_ref()
            .map_or(Duration::ZERO, |affinity| affinity.drain);
        let left = drains.map(|drain| drain.leaves(grace, now_ms));
        let least = left.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)));
        match least {
            None => Admin::Enabled,
            Some((Percent::NONE, Percent::NONE)) => Admin::Drained,
            Some((Percent::NONE, Percent::ALL)) => Admin::Draining,
            Some((fresh, sessions)) => Admin::Leaving { fresh, sessions },
        }
    }
}

fn after(at_ms: u64, pause: Duration) -> u64 {
    at_ms.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(region: &str, service: Option<&str>, since_ms: u64, until_ms: Option<u64>) -> Drain {
        Drain {
            region: region.into(),
            service: service.map(Into::into),
            since_ms,
            until_ms,
            over_ms: 0,
            reason: None,
        }
    }

    #[test]
    fn asking_again_does_not_begin_again() {
        let mut drains = Drains::default();
        drains.put(drain("eu", None, 10, None));
        drains.put(drain("eu", None, 90, Some(100)));
        assert_eq!(
            drains.iter().cloned().collect::<Vec<_>>(),
            [drain("eu", None, 10, Some(100))]
        );
    }

    #[test]
    fn a_drain_ends_when_its_time_is_over_and_not_before() {
        let mut drains = Drains::default();
        drains.put(drain("eu", None, 10, Some(100)));
        assert_eq!(drains.expire(99), []);
        assert_eq!(drains.expire(100).len(), 1);
        assert_eq!(drains.iter().count(), 0);
    }

    #[test]
    fn a_service_s_drain_is_not_the_region_s() {
        let mut drains = Drains::default();
        drains.put(drain("eu", Some("api"), 10, None));
        assert_eq!(drains.take("eu", None), None);
        assert!(drains.take("eu", Some("api")).is_some());
    }
}
