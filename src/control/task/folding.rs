//! What the writer makes of reports of probes, of traffic and of lags.

use tokio::time::Instant;

use super::Writer;
use crate::control::lag::publish_lags;
use crate::control::world::Witnessed;
use crate::health::{Report, Verdict};
use crate::{chance, clock};

impl Writer {
    /// Folds reports that wait together, and publishes once for all: when a region fails, the targets
    /// of all services report within moments.
    pub(super) fn fold_all(&mut self, reports: impl Iterator<Item = Report>) {
        let mut stirred = false;
        for report in reports {
            stirred |= self.fold(report);
        }
        if stirred {
            self.publish();
            self.unsaved = true;
        }
    }

    /// Whether the snapshot may have changed.
    fn fold(&mut self, report: Report) -> bool {
        let now = Instant::now();
        let steady_now = clock::steady_ms();
        let ago =
            |at: Instant| u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX);
        let steady_ms = (
            steady_now.saturating_sub(ago(report.result.began)),
            steady_now.saturating_sub(ago(report.result.ended)),
        );
        self.count(&report);
        let is_down = report.verdict == Verdict::Unhealthy;
        self.traffic.probed(&report.key, is_down, steady_now);
        let key = report.key.clone();
        let now_ms = self.unix_ms();
        let folded = self.world.report(report, now_ms, steady_ms);
        if folded.forgiven {
            self.traffic.forgive(&key);
        }
        self.record(folded.events);
        folded.stirred
    }

    fn count(&self, report: &Report) {
        let Some((service, region)) = self.world.owner(&report.key) else {
            return;
        };
        let result = if report.result.outcome.is_ok() {
            "pass"
        } else {
            "fail"
        };
        metrics::counter!("meridian_health_checks_total", "service" => service.to_string(), "region" => region.to_string(), "result" => result)
            .increment(1);
        let took = (report.result.ended - report.result.began).as_secs_f64();
        metrics::histogram!("meridian_health_check_seconds", "region" => region.to_string(), "result" => result)
            .record(took);
    }

    /// Looks at what traffic shows.
    pub(super) fn witness(&mut self) {
        let witnessed = Witnessed {
            seen: &self.traffic.look(),
            now_ms: self.unix_ms(),
            steady_ms: clock::steady_ms(),
        };
        let judged = self.world.witness(&witnessed, &mut chance::uniform);
        for key in &judged.forgiven {
            self.traffic.forgive(key);
        }
        self.record(judged.folded.events);
        if judged.folded.stirred {
            self.publish();
            self.unsaved = true;
        }
    }

    /// Answers and pushes tell of positions past the writer, and with every write.
    pub(super) fn look_at_positions(&mut self) {
        let (saved, due) = self.positions_saved;
        let has_changed = self.world.position_changes() != saved;
        // What is under way goes by how long ago it began, when the clock is not to be trusted after a crash.
        self.unsaved |= Instant::now() >= due && (has_changed || self.world.is_under_way());
    }

    pub(super) fn look_at_lags(&mut self) {
        let lags = self.world.lags(clock::steady_ms());
        publish_lags(&lags);
        let now_ms = self.unix_ms();
        let events = self.world.note_lags(&lags, now_ms);
        self.record(events);
    }
}
