//! What checks and answers say, folded into the world.

use std::sync::Arc;

use super::lagging::max_lag;
use super::shown::Stale;
use super::watched::TargetState;
use super::{Folded, LastProbe, SUSPECT_MS, World, event};
use crate::config::plan::Consistency;
use crate::control::events::{Event, Kind};
use crate::health::{Report, Target, Verdict};
use crate::positions::{self, Reason, Reported, Source, parse_vector, reject};

impl World {
    /// Folds what a check says. `steady_ms` is when the probe was sent and when it ended on the
    /// edge's steady clock.
    pub fn report(&mut self, report: Report, now_ms: u64, steady_ms: (u64, u64)) -> Folded {
        let Some(watched) = self.targets.get(&report.key) else {
            return Folded::default(); // A reload has just taken it away.
        };
        let is_news = watched
            .state
            .as_ref()
            .is_none_or(|state| state.verdict != report.verdict || state.flip_in != report.flip_in);
        let target = watched.target.clone();
        let region = self.plan.regions.of(target.region).name.clone();
        if let Ok(phases) = &report.result.outcome {
            self.ranking
                .sample(&region, phases.round_trip().as_secs_f64() * 1000.0);
        }
        let mut folded = Folded::default();
        if let Some(applied) = &report.result.applied {
            folded
                .events
                .extend(self.take_applied(&target, &region, applied, now_ms, steady_ms));
        }
        if let Some(event) = self.take_probe(&report, now_ms, steady_ms) {
            folded.events.push(event);
            folded.forgiven = true;
        }
        folded.stirred = is_news || !folded.events.is_empty();
        if is_news || folded.forgiven {
            self.shown.stale.add(target.service);
        }
        folded
            .events
            .extend(self.take_verdict(&target, &region, report, now_ms));
        self.meet(&target, &region);
        folded
    }

    fn take_verdict(
        &mut self,
        target: &Target,
        region: &Arc<str>,
        report: Report,
        now_ms: u64,
    ) -> Option<Event> {
        let watched = self.targets.get_mut(&report.key)?;
        let known = watched.probed();
        let since_ms = match &watched.state {
            Some(state) if state.verdict == report.verdict => state.since_ms,
            Some(_) | None => now_ms,
        };
        let why = match &report.result.outcome {
            Ok(phases) => format!("answered in {} ms", phases.total().as_millis()),
            Err(failure) => failure.to_string(),
        };
        let probe = LastProbe {
            at_ms: now_ms,
            outcome: report.result.outcome,
        };
        watched.history.add(probe.clone());
        watched.state = Some(TargetState {
            verdict: report.verdict,
            since_ms,
            flip_in: report.flip_in,
            last: Some(probe),
        });
        (known != report.verdict).then(|| {
            let service = &self.plan.services.of(target.service).name;
            let message = format!(
                "{} of {region} is {}: {why}",
                target.url,
                report.verdict.as_str()
            );
            event(Kind::Health, now_ms, Some(region), Some(service), message)
                .warning_if(report.verdict == Verdict::Unhealthy)
        })
    }

    /// An origin is not new to its domain any more once each of its checks there has had a result, and one an answer: the
    /// first may be of a check that would say nothing of positions whatever the origin has.
    fn meet(&self, target: &Target, region: &Arc<str>) {
        let domain_of = |target: &Target| {
            let consistency = self.plan.services.of(target.service).consistency.as_ref();
            consistency.map(|consistency| consistency.domain)
        };
        let (Some(domain), Some(origin)) = (domain_of(target), target.origin) else {
            return;
        };
        let url = self.plan.origins.of(origin).url.to_string();
        let applied = self.positions.get(&self.plan.domains.of(domain).name);
        let Some(applied) = applied.filter(|applied| applied.is_new(region, &url)) else {
            return;
        };
        let is_of_origin = |other: &Target| {
            (other.region, other.origin) == (target.region, target.origin)
                && domain_of(other) == Some(domain)
        };
        let results: Vec<Option<&LastProbe>> = self
            .targets
            .iter()
            .filter(|watched| is_of_origin(&watched.target))
            .map(|watched| watched.state.as_ref()?.last.as_ref())
            .collect();
        let has_answered = results.iter().flatten().any(|probe| probe.is_answered());
        if has_answered && results.iter().all(Option::is_some) {
            applied.has_answered(region, &url);
        }
    }

    fn take_applied(
        &mut self,
        target: &Target,
        region: &Arc<str>,
        applied: &str,
        now_ms: u64,
        steady_ms: (u64, u64),
    ) -> Vec<Event> {
        let plan = self.plan.clone();
        let consistency = plan.services.of(target.service).consistency.as_ref();
        let (Some(consistency), Some(origin)) = (consistency, target.origin) else {
            return Vec::new();
        };
        let origin = plan.origins.of(origin).url.to_string();
        let regressed =
            self.report_applied(consistency, region, &origin, applied, now_ms, steady_ms);
        let lag = self.note_lag(consistency, region, now_ms, steady_ms.1);
        regressed.into_iter().chain(lag).collect()
    }

    fn note_lag(
        &mut self,
        consistency: &Consistency,
        region: &Arc<str>,
        now_ms: u64,
        steady_now_ms: u64,
    ) -> Option<Event> {
        let domain = &self.plan.domains.of(consistency.domain).name;
        let lag = self.positions.get(domain)?.lag(region, steady_now_ms)?;
        let most = max_lag(&self.plan, consistency.domain)?;
        let message = self.laggards.note(domain, region, lag, most)?;
        Some(event(Kind::Position, now_ms, Some(region), None, message))
    }

    fn report_applied(
        &mut self,
        consistency: &Consistency,
        region: &Arc<str>,
        origin: &str,
        applied: &str,
        now_ms: u64,
        (asked_at_ms, steady_now_ms): (u64, u64),
    ) -> Option<Event> {
        let domain = self.plan.domains.of(consistency.domain);
        let applied = match parse_vector(applied, domain.version) {
            Ok(applied) => applied,
            Err(error) => {
                reject(Source::Check, region, Reason::from(&error), &error);
                return None;
            }
        };
        let report = positions::Report {
            region,
            origin,
            applied: &applied,
            asked_at_ms,
            now_ms: steady_now_ms,
        };
        match self.positions.get(&domain.name)?.report(report) {
            Reported::Known | Reported::Advanced => None,
            Reported::Regressed => {
                let message = format!("positions of {region} ran backwards, to {applied}");
                self.distrust(region, now_ms);
                Some(event(Kind::Position, now_ms, Some(region), None, message))
            }
        }
    }

    /// Notes that a proxied answer showed a region's positions running backwards.
    pub fn suspect(&mut self, region: &Arc<str>, message: String, now_ms: u64) -> Event {
        self.distrust(region, now_ms);
        event(Kind::Position, now_ms, Some(region), None, message)
    }

    fn distrust(&mut self, region: &Arc<str>, now_ms: u64) {
        let until_ms = now_ms + SUSPECT_MS;
        if self.suspects.insert(region.clone(), until_ms).is_none() {
            self.shown.stale = Stale::All;
        }
    }
}
