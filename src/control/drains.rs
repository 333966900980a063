//! What operators have taken out of service, why, and until when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::slope::Slope;
use crate::config::plan::Plan;
use crate::ids::{RegionId, ServiceId};
use crate::steering::{Admin, Percent};
use crate::units::show_duration;

/// Paces of one drain that are told apart: no operator hurries it more often while sessions of the first are left.
const MOST_PACES: usize = 16;

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
    /// How slow it was before it was hurried, the first first. Sessions go by the pace of their time.
    pub paces: Vec<Pace>,
    /// Who asked for it, as the audit log calls them; none: that is not known.
    pub by: Option<Arc<str>>,
    /// Why.
    pub reason: Option<String>,
}

/// How slow a drain was, until it was hurried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long it was to take from its beginning.
    pub over_ms: u64,
    /// When it was hurried, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A drain that an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainRequest {
    /// The region.
    pub region: Arc<str>,
    /// The service; none: all.
    pub service: Option<Arc<str>>,
    /// When it is asked for, in milliseconds since 1970: its beginning, unless it has begun.
    pub since_ms: u64,
    /// Until when; none: until it is undone.
    pub until_ms: Option<u64>,
    /// How long it is to take from its beginning; 0: at once; none: as long as the one that goes on, else at once.
    pub over_ms: Option<u64>,
    /// Who asked for it, as the audit log calls them; none: that is not known.
    pub by: Option<Arc<str>>,
    /// Why.
    pub reason: Option<String>,
}

impl Drain {
    /// What is asked for while `old`, if any, goes on. It keeps its beginning, and is never slower for being asked for again:
    /// nobody who has left comes back, and sessions are not given more time.
    fn asked(request: DrainRequest, old: Option<Self>) -> Self {
        let new = Self {
            region: request.region,
            service: request.service,
            since_ms: request.since_ms,
            until_ms: request.until_ms,
            over_ms: request.over_ms.unwrap_or(0),
            paces: Vec::new(),
            by: request.by,
            reason: request.reason,
        };
        let Some(old) = old else {
            return new;
        };
        let over_ms = request.over_ms.unwrap_or(old.over_ms).min(old.over_ms);
        let mut paces = old.paces;
        if over_ms < old.over_ms {
            paces.push(Pace {
                over_ms: old.over_ms,
                until_ms: request.since_ms,
            });
            if paces.len() > MOST_PACES {
                // Whose time was that of the second goes by the first, which is slower: nobody is sent away sooner.
                let second = paces.remove(1);
                if let Some(first) = paces.first_mut() {
                    first.until_ms = second.until_ms;
                }
            }
        }
        Self {
            since_ms: old.since_ms,
            over_ms,
            paces,
            ..new
        }
    }

    /// Has it begin so much later, or earlier, with all its steps. Its end stays as it was told.
    fn shift(&mut self, by_ms: i64) {
        let paces = self.paces.iter_mut().map(|pace| &mut pace.until_ms);
        for at_ms in paces.chain([&mut self.since_ms]) {
            *at_ms = at_ms.saturating_add_signed(by_ms);
        }
    }

    fn is_of(&self, region: &str, service: Option<&str>) -> bool {
        *self.region == *region && self.service.as_deref() == service
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }

    /// Whether its end comes while it still takes new clients.
    fn ends_before_it_is_through(&self) -> bool {
        let through_ms = self.since_ms.saturating_add(self.over_ms);
        self.until_ms.is_some_and(|until_ms| until_ms < through_ms)
    }

    /// The slope that new clients go by at a time.
    fn slope_at(&self, at_ms: u64) -> Slope {
        let mut paces = self.paces.iter();
        let pace = paces.find(|pace| at_ms < pace.until_ms);
        self.slope(pace.map_or(self.over_ms, |pace| pace.over_ms))
    }

    fn slope(&self, length_ms: u64) -> Slope {
        Slope {
            from_ms: self.since_ms,
            length_ms,
        }
    }

    /// When it is more than before for new clients.
    fn steps(&self) -> impl Iterator<Item = u64> {
        let lengths = self.paces.iter().map(|pace| pace.over_ms);
        let slopes = lengths
            .chain([self.over_ms])
            .map(|length| self.slope(length));
        let steps = slopes.flat_map(move |slope| {
            let steps = slope.turns();
            steps.filter(move |at| self.slope_at(*at) == slope)
        });
        steps.chain(self.paces.iter().map(|pace| pace.until_ms))
    }

    /// When it is more than before for new clients or for sessions of services with these times.
    fn turns(&self, session_times: &BTreeSet<Duration>) -> impl Iterator<Item = u64> {
        let at_once = (self.over_ms > 0).then_some(Duration::ZERO);
        let times = session_times.iter().copied().chain(at_once);
        times.flat_map(|time| self.steps().map(move |at_ms| after(at_ms, time)))
    }

    /// What is left of a region: of new clients, and of sessions that last so long. Each of these ends so long after its
    /// client would no longer have been taken anew.
    pub(super) fn leaves(&self, time: Duration, now_ms: u64) -> (Percent, Percent) {
        let done = |at_ms: u64| self.slope_at(at_ms).done(at_ms);
        let fresh = match self.over_ms {
            0 => Percent::NONE,
            // By the pace in force, whatever the clock says of when it was hurried.
            _ => self.slope(self.over_ms).done(now_ms).rest(),
        };
        let sessions = now_ms
            .checked_sub(whole_ms(time))
            .map_or(Percent::NONE, done);
        (fresh, sessions.rest())
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
        "this would leave service `{service}` with {} healthy region(s), and guards.min_regions is {min_regions}{}",
        left.len(),
        not_counting(unread)
    )]
    Guard {
        /// The service that would suffer.
        service: Arc<str>,
        /// Its guard.
        min_regions: u16,
        /// The healthy regions that would be left.
        left: Vec<Arc<str>>,
        /// Those that are healthy too, and that no read goes to.
        unread: Vec<Arc<str>>,
    },
    /// The pace that is in force is slower than it would last.
    #[error(
        "it would end before it is through: it goes on over {}, say `over` to hurry it",
        show_duration(Duration::from_millis(*over_ms))
    )]
    EndsBefore {
        /// The pace.
        over_ms: u64,
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

fn not_counting(unread: &[Arc<str>]) -> String {
    match unread {
        [] => String::new(),
        some => format!(
            "; not counted: {}, from which nothing is read now",
            some.join(", ")
        ),
    }
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

impl FromIterator<Drain> for Drains {
    fn from_iter<I: IntoIterator<Item = Drain>>(drains: I) -> Self {
        let drains = drains.into_iter().collect();
        Self { drains }
    }
}

impl Drains {
    /// Those in force, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Drain> {
        self.drains.iter()
    }

    /// What a drain would be that is asked for now: one of the same region and service goes on. None is taken that
    /// ends before it is through, by a pace that its request does not name.
    pub fn asked(&self, request: DrainRequest) -> Result<Drain, DrainRefused> {
        let old = self.of(&request.region, request.service.as_deref());
        let old = old.filter(|old| !old.is_over(request.since_ms)).cloned();
        let keeps_pace = request.over_ms.is_none();
        let drain = Drain::asked(request, old);
        if keeps_pace && drain.ends_before_it_is_through() {
            let over_ms = drain.over_ms;
            return Err(DrainRefused::EndsBefore { over_ms });
        }
        Ok(drain)
    }

    /// Adds a drain, in the place of that of the same region and service.
    pub fn put(&mut self, drain: Drain) {
        self.take(&drain.region, drain.service.as_deref());
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

    /// The clock has been set by so much: what began by the old one has come as far by the new one.
    pub(super) fn shift(&mut self, by_ms: i64) {
        self.drains.iter_mut().for_each(|drain| drain.shift(by_ms));
    }

    /// Ends the drains whose time is over, and returns them.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Drain> {
        self.drains
            .extract_if(.., |drain| drain.is_over(now_ms))
            .collect()
    }

    /// When after `since_ms` a drain is more than before for new clients or for sessions.
    pub fn next_turn_ms(&self, session_times: &BTreeSet<Duration>, since_ms: u64) -> Option<u64> {
        let turns = self
            .drains
            .iter()
            .flat_map(|drain| drain.turns(session_times));
        turns.filter(|at| *at > since_ms).min()
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
    at_ms.saturating_add(whole_ms(pause))
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "drains_tests.rs"]
mod tests;
