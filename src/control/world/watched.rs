//! The targets of the Plan in force, and what is known of each.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::LastProbe;
use super::history::History;
use crate::config::plan::Plan;
use crate::health::{Load, Passive, Target, TargetKey, Verdict, targets};
use crate::ids::{ServiceId, Table};

/// What is known of a target.
#[derive(Clone, Debug)]
pub(super) struct TargetState {
    pub(super) verdict: Verdict,
    pub(super) since_ms: u64,
    pub(super) flip_in: Option<Duration>,
    pub(super) last: Option<LastProbe>,
}

/// A target with what is known of it; nothing before its first probe.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) key: TargetKey,
    pub(super) target: Target,
    pub(super) state: Option<TargetState>,
    /// Its last probes.
    pub(super) history: History,
    /// What its traffic shows; none: that counts for nothing.
    pub(super) passive: Option<Passive>,
    /// How many requests it has had lately.
    pub(super) load: Load,
    /// When it was last ejected, in milliseconds since 1970.
    pub(super) ejected_at_ms: u64,
}

impl Watched {
    /// A target of a Plan, with what was known of it before.
    fn of(plan: &Plan, key: TargetKey, target: Target, known: Option<Self>) -> Self {
        let known = known.unwrap_or_else(|| Self::new(key, target.clone()));
        let settings = &plan.services.of(target.service).health.passive;
        // Only the proxy's own requests show anything, and they go to origins.
        let settings = settings.filter(|_| target.origin.is_some());
        let passive = settings.map(|settings| {
            let before = known
                .passive
                .filter(|before| *before.settings() == settings);
            before.unwrap_or_else(|| Passive::new(settings))
        });
        Self {
            target,
            passive,
            ..known
        }
    }

    /// Nothing is known of it yet.
    fn new(key: TargetKey, target: Target) -> Self {
        Self {
            key,
            target,
            state: None,
            history: History::default(),
            passive: None,
            load: Load::default(),
            ejected_at_ms: 0,
        }
    }

    /// What probes and traffic say together: either may take it out.
    pub(super) fn verdict(&self) -> Verdict {
        if self.is_ejected() {
            Verdict::Unhealthy
        } else {
            self.probed()
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        let passive = self.passive.as_ref();
        passive.is_some_and(|passive| passive.ejection().is_some())
    }

    /// What its probes alone say.
    pub(super) fn probed(&self) -> Verdict {
        self.state
            .as_ref()
            .map_or(Verdict::Unknown, |state| state.verdict)
    }
}

/// The Plan's targets, found by name and by service.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// By service, and for each by region, as the Plan lists them.
    all: Vec<Watched>,
    place: HashMap<TargetKey, usize>,
    of_service: Table<ServiceId, Range<usize>>,
}

impl Targets {
    /// The targets of a Plan, with what is known of those that were there before.
    pub(super) fn of(plan: &Plan, before: Self) -> Self {
        let before = before.all.into_iter();
        let mut known: HashMap<TargetKey, Watched> = before
            .map(|watched| (watched.key.clone(), watched))
            .collect();
        let all: Vec<Watched> = targets(plan)
            .into_iter()
            .map(|target| {
                let key = target.key(plan);
                let known = known.remove(&key);
                Watched::of(plan, key, target, known)
            })
            .collect();
        let place = all
            .iter()
            .enumerate()
            .map(|(at, watched)| (watched.key.clone(), at))
            .collect();
        let of_service = Table::like(&plan.services, |service| {
            let first = all.partition_point(|watched| watched.target.service < service);
            first..all.partition_point(|watched| watched.target.service <= service)
        });
        Self {
            all,
            place,
            of_service,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Watched> {
        self.all.iter_mut()
    }

    pub(super) fn get(&self, key: &TargetKey) -> Option<&Watched> {
        self.all.get(*self.place.get(key)?)
    }

    pub(super) fn get_mut(&mut self, key: &TargetKey) -> Option<&mut Watched> {
        self.all.get_mut(*self.place.get(key)?)
    }

    /// A service's targets, those of a region together, in the order of the service's regions.
    pub(super) fn of_service(&self, service: ServiceId) -> impl Iterator<Item = &Watched> {
        let range = self.of_service.get(service).cloned().unwrap_or_default();
        self.all.get(range).into_iter().flatten()
    }
}
