//! The last probes of a target, for whoever asks what led to its state. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{LastProbe, World};

/// Probes of a target that are kept: at an interval of 5 s those of more than eight minutes, in some 8 KB.
const KEPT: usize = 100;

/// The last probes of a target, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<LastProbe>);

impl History {
    pub(super) fn add(&mut self, probe: LastProbe) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(probe);
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
}

impl World {
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
                probes: watched.history.0.iter().cloned().collect(),
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
        let times: Vec<u64> = history.0.iter().map(|probe| probe.at_ms).collect();
        assert_eq!(times, (1..101).collect::<Vec<_>>());
    }
}
