//! The checks that run for the Plan in force.

use tokio_util::sync::CancellationToken;

use super::{Probers, Writer};
use crate::health::{Checker, Prober, Target, TargetKey, Verdict};

/// A check that runs.
pub(super) struct RunningCheck {
    target: Target,
    prober: Prober,
    stop: CancellationToken,
}

impl RunningCheck {
    fn is_for(&self, target: &Target, prober: &Prober) -> bool {
        self.target.is_asked_like(target) && self.prober.is_like(prober)
    }
}

impl Writer {
    /// Starts the checks of the Plan, keeps those that did not change, stops the others.
    pub(super) fn run_checks(&mut self, probers: &Probers) {
        let mut running = std::mem::take(&mut self.checks);
        let wanted: Vec<(TargetKey, Target, Verdict)> = self
            .world
            .checks()
            .map(|(key, target, verdict)| (key.clone(), target.clone(), verdict))
            .collect();
        for (key, target, known) in wanted {
            let prober = probers.of(target.service);
            let check = match running.remove(&key) {
                Some(check) if check.is_for(&target, prober) => check,
                Some(check) => {
                    check.stop.cancel();
                    self.start_check(&key, target, prober.clone(), known)
                }
                None => self.start_check(&key, target, prober.clone(), known),
            };
            self.checks.insert(key, check);
        }
        for check in running.into_values() {
            check.stop.cancel();
        }
    }

    fn start_check(
        &self,
        key: &TargetKey,
        target: Target,
        prober: Prober,
        known: Verdict,
    ) -> RunningCheck {
        let stop = self.stop.child_token();
        let checker = Checker {
            key: key.clone(),
            target: target.clone(),
            prober: prober.clone(),
            known,
            slots: self.slots.clone(),
        };
        self.tasks
            .spawn(checker.run(self.reports.clone(), stop.clone()));
        RunningCheck {
            target,
            prober,
            stop,
        }
    }
}
