//! The last probes of a target, for whoever asks what led to its state. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{LastProbe, World};

/// Probes of a target that are kept: at an interval of 5 s those of more than eight minutes, in some 8 KB.
const KEPT: usize = 100;

/// The last probes of a target, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    kept: VecDeque<LastProbe>,
    /// How many there have been, those that are not kept included.
    pub(super) count: u64,
}

impl History {
    pub(super) fn add(&mut self, probe: LastProbe) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(probe);
        self.count += 1;
    }

    /// The clock has been set by so much: they are as long ago as they were.
    pub(super) fn shift(&mut self, by_ms: i64) {
        for probe in &mut self.kept {
            probe.at_ms = probe.at_ms.saturating_add_signed(by_ms);
        }
    }

    fn last_answered_ms(&self) -> Option<u64> {
        let mut answered = self.kept.iter().rev().filter(|probe| probe.outcome.is_ok());
        answered.next().map(|probe| probe.at_ms)
    }
}

/// The last probes of one target.
#[derive(Clone, Debug)]
pub struct TargetProbes {
    /// The service that it is probed for.
    pub service: Arc<str>,
    /// What is probed.
    pub url: Arc<str>,
    /// Oldest first.
    pub probes: Vec<LastProbe>,
    /// How many there have been in all.
    pub count: u64,
}

impl World {
    /// When each region last answered a probe as it should, in milliseconds since 1970.
    pub fn answered_ms(&self) -> HashMap<Arc<str>, u64> {
        let mut all = HashMap::new();
        for watched in self.targets.iter() {
            if let Some(at_ms) = watched.history.last_answered_ms() {
                let region = &self.plan.regions.of(watched.target.region).name;
                let last_ms: &mut u64 = all.entry(region.clone()).or_default();
                *last_ms = at_ms.max(*last_ms);
            }
        }
        all
    }

    /// The last probes of a region's targets, of one service or of all.
    pub fn probes(&self, region: &str, service: Option<&str>) -> Vec<TargetProbes> {
        let plan = &self.plan;
        let is_of_region = |id| &*plan.regions.of(id).name == region;
        let name = |id| &plan.services.of(id).name;
        self.targets
            .iter()
            .filter(|watched| is_of_region(watched.target.region))
            .filter(|watched| service.is_none_or(|only| **name(watched.target.service) == *only))
            .map(|watched| TargetProbes {
                service: name(watched.target.service).clone(),
                url: watched.target.url.clone(),
                probes: watched.history.kept.iter().cloned().collect(),
                count: watched.history.count,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phases;

    #[test]
    fn the_last_hundred_probes_are_kept_in_their_order() {
        let mut history = History::default();
        for at_ms in 0..101 {
            let outcome = Ok(Phases::default());
            history.add(LastProbe { at_ms, outcome });
        }
        let times: Vec<u64> = history.kept.iter().map(|probe| probe.at_ms).collect();
        assert_eq!(times, (1..101).collect::<Vec<_>>());
    }
}
