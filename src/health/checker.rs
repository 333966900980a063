//! The task that runs one check: probe, weigh, report, pause. One probe at a time, so that they
//! never pile up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Machine, Outcome, Thresholds, Verdict};
use super::probe::{Failure, ProbeResult, Prober};
use super::schedule::pause;
use super::target::{Target, TargetKey};
use crate::chance;

/// What a check says after every probe.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose.
    pub key: TargetKey,
    /// The verdict in force.
    pub verdict: Verdict,
    /// The soonest that it could change, while results dissent.
    pub flip_in: Option<Duration>,
    /// What the probe found.
    pub result: ProbeResult,
}

/// One running check.
pub struct Checker {
    /// Whose.
    pub key: TargetKey,
    /// What it probes.
    pub target: Target,
    /// How.
    pub prober: Prober,
    /// The verdict from before.
    pub known: Verdict,
    /// Bounds how many probes run at once.
    pub slots: Arc<Semaphore>,
}

impl Checker {
    /// Runs until the token is cancelled or nobody listens any more.
    pub async fn run(self, reports: mpsc::Sender<Report>, stop: CancellationToken) {
        let check = self.prober.check.clone();
        let thresholds = Thresholds {
            failure: check.failure_threshold,
            success: check.success_threshold,
        };
        let mut machine = Machine::new(self.known, thresholds);
        let run = async {
            loop {
                let began = Instant::now();
                let result = self.probe_in_turn().await;
                if let Some(outcome) = outcome(&result) {
                    machine.observe(outcome);
                }
                let recheck = check.recheck_interval.min(check.interval);
                let report = Report {
                    key: self.key.clone(),
                    verdict: machine.verdict(),
                    flip_in: machine
                        .left()
                        .map(|left| recheck.saturating_mul(left.into())),
                    result,
                };
                if reports.send(report).await.is_err() {
                    return;
                }
                let dissent = machine.left().is_some();
                let pause = pause(
                    check.interval,
                    check.recheck_interval,
                    dissent,
                    chance::uniform(),
                );
                tokio::time::sleep_until(began + pause).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = run => {}
        }
    }

    async fn probe_in_turn(&self) -> ProbeResult {
        // The semaphore is never closed, so waiting for a slot cannot fail.
        let _slot = self.slots.acquire().await;
        // Its future is as large as that of TLS, and most of the time nobody probes.
        Box::pin(self.prober.probe(&self.target)).await
    }
}

/// What a probe says of its target. None: nothing, since this edge could not ask.
fn outcome(result: &ProbeResult) -> Option<Outcome> {
    match result.outcome {
        Ok(_) => Some(Outcome::Pass),
        Err(Failure::Exhausted(_)) => None,
        Err(
            Failure::Connect(_)
            | Failure::Tls(_)
            | Failure::Http(_)
            | Failure::Status(_)
            | Failure::Body
            | Failure::Timeout(_),
        ) => Some(Outcome::Fail),
    }
}
