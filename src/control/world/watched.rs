//! The targets of the Plan in force, and what is known of each.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::LastProbe;
use crate::config::plan::Plan;
use crate::health::{Target, TargetKey, Verdict, targets};
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
}

impl Watched {
    pub(super) fn verdict(&self) -> Verdict {
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
        let mut known: HashMap<TargetKey, TargetState> = before
            .all
            .into_iter()
            .filter_map(|watched| Some((watched.key, watched.state?)))
            .collect();
        let all: Vec<Watched> = targets(plan)
            .into_iter()
            .map(|target| {
                let key = target.key(plan);
                let state = known.remove(&key);
                Watched { key, target, state }
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
