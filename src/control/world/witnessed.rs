//! What traffic shows, folded into the world: origins that are ejected, spared and let back in.

use std::sync::Arc;

use super::watched::Watched;
use super::{Folded, World, event};
use crate::config::plan::{Member, Plan};
use crate::control::events::{Event, Kind};
use crate::health::{
    Cause, Lately, OriginStanding, Passive, RegionStanding, Report, Seen, Spared, TargetKey,
    may_eject,
};
use crate::ids::ServiceId;
use crate::steering::{Admin, Forced};

/// What was seen of each target, and when.
pub struct Witnessed<'a> {
    /// By target; those of whom there is nothing are left out.
    pub seen: &'a [(TargetKey, Seen)],
    /// Milliseconds since 1970, for events.
    pub now_ms: u64,
    /// The edge's steady clock, for everything else.
    pub steady_ms: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Judged {
    /// What there is to tell.
    pub folded: Folded,
    /// Targets whose rows of failures begin anew: they were ejected or let back in.
    pub forgiven: Vec<TargetKey>,
}

impl World {
    /// Folds what traffic shows. `draw` gives numbers that are uniform from 0 to 1.
    pub fn witness(&mut self, witnessed: &Witnessed<'_>, draw: &mut dyn FnMut() -> f64) -> Judged {
        let mut judged = Judged::default();
        self.witnessed_ms = witnessed.steady_ms;
        self.readmit(witnessed, &mut judged);
        for (key, seen) in witnessed.seen {
            let Some(watched) = self.targets.get_mut(key) else {
                continue;
            };
            watched.load.observe(seen, witnessed.steady_ms);
            if let Some(passive) = &mut watched.passive {
                passive.observe(seen, witnessed.steady_ms);
            }
        }
        for (key, seen) in witnessed.seen {
            let judge = |passive: &mut Passive| passive.judge(seen.word, witnessed.steady_ms);
            if let Some(cause) = self.passive_mut(key).and_then(judge) {
                self.conclude(key, cause, witnessed, draw(), &mut judged);
            }
        }
        judged
    }

    fn passive_mut(&mut self, key: &TargetKey) -> Option<&mut Passive> {
        self.targets.get_mut(key)?.passive.as_mut()
    }

    /// Lets those back in whose time is over.
    fn readmit(&mut self, witnessed: &Witnessed<'_>, judged: &mut Judged) {
        for watched in self.targets.iter_mut() {
            let readmit = |passive: &mut Passive| passive.readmit(witnessed.steady_ms);
            if watched.passive.as_mut().and_then(readmit).is_none() {
                continue;
            }
            self.shown.stale.add(watched.target.service);
            judged.forgiven.push(watched.key.clone());
            let what = "is let back in: its ejection is over";
            judged.tell(told(&self.plan, watched, what, witnessed.now_ms));
        }
    }

    /// A probe that connects where requests do may end an ejection.
    pub(super) fn take_probe(
        &mut self,
        report: &Report,
        now_ms: u64,
        (began_ms, ended_ms): (u64, u64),
    ) -> Option<Event> {
        let plan = self.plan.clone();
        let watched = self.targets.get_mut(&report.key)?;
        let origin = &plan.origins.of(watched.target.origin?).url;
        if watched.target.port != origin.port {
            return None;
        }
        let needed = plan
            .services
            .of(watched.target.service)
            .health
            .success_threshold;
        let passed = report.result.outcome.is_ok();
        let passive = watched.passive.as_mut()?;
        passive.probed(passed, (began_ms, ended_ms), needed)?;
        let what = "is let back in: its probes connect";
        Some(told(&plan, watched, what, now_ms))
    }

    fn conclude(
        &mut self,
        key: &TargetKey,
        cause: Cause,
        witnessed: &Witnessed<'_>,
        draw: f64,
        judged: &mut Judged,
    ) {
        let verdict = self.may_eject(key, cause, witnessed.now_ms);
        let Some(watched) = self.targets.get_mut(key) else {
            return;
        };
        let Some(passive) = &mut watched.passive else {
            return;
        };
        let what = match verdict {
            Ok(()) => {
                let ejection = passive.eject(cause, witnessed.steady_ms, draw);
                watched.ejected_at_ms = witnessed.now_ms;
                self.shown.stale.add(watched.target.service);
                judged.forgiven.push(key.clone());
                count_ejection(&self.plan, watched, cause);
                format!("is {ejection}")
            }
            Err(spared) => {
                passive.spare(witnessed.steady_ms);
                count_spared(&self.plan, watched, spared);
                format!("is not ejected, although {cause}: {spared}")
            }
        };
        judged.tell(told(&self.plan, watched, &what, witnessed.now_ms));
        judged.folded.stirred |= verdict.is_ok();
    }

    /// Whether the service can do without a target.
    fn may_eject(&self, key: &TargetKey, cause: Cause, now_ms: u64) -> Result<(), Spared> {
        let Some(asking) = self.targets.get(key) else {
            return Ok(());
        };
        let regions = self.standings(asking.target.service, now_ms);
        let service = self.plan.services.of(asking.target.service);
        let region = |member: &Member| member.region == asking.target.region;
        let region = service.regions.iter().position(region);
        let here = self.targets.of_service(asking.target.service);
        let mut here = here.filter(|watched| watched.target.region == asking.target.region);
        let origin = here.position(|watched| watched.key == *key);
        match (region, origin) {
            (Some(region), Some(origin)) => may_eject(&regions, (region, origin), cause),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// How the regions of a service stand, in its order.
    fn standings(&self, id: ServiceId, now_ms: u64) -> Vec<RegionStanding> {
        let service = self.plan.services.of(id);
        let forced = |member: &Member| {
            let region = &self.plan.regions.of(member.region).name;
            let forced = self.forced.of(region, &service.name, now_ms);
            forced.map(Forced::health)
        };
        let standing = |member: &Member| {
            let targets = self.targets.of_service(id);
            let here = targets.filter(|watched| watched.target.region == member.region);
            RegionStanding {
                origins: here.map(Watched::standing).collect(),
                min_healthy: service.health.min_healthy,
                enabled: self.drains.admin(&self.plan, id, member.region, now_ms) == Admin::Enabled,
                forced: forced(member),
            }
        };
        service.regions.iter().map(standing).collect()
    }
}

impl Judged {
    fn tell(&mut self, event: Event) {
        self.folded.events.push(event);
        self.folded.stirred = true;
    }
}

impl Watched {
    fn standing(&self) -> OriginStanding {
        OriginStanding {
            probed: self.probed(),
            ejected: self.is_ejected(),
            lately: self.passive.as_ref().map_or(Lately::Quiet, Passive::lately),
        }
    }
}

fn told(plan: &Plan, watched: &Watched, what: &str, now_ms: u64) -> Event {
    let (service, region) = names(plan, watched);
    let message = format!("{} of {region} {what}", watched.target.url);
    event(Kind::Health, now_ms, Some(region), Some(service), message)
}

fn names<'a>(plan: &'a Plan, watched: &Watched) -> (&'a Arc<str>, &'a Arc<str>) {
    let service = &plan.services.of(watched.target.service).name;
    (service, &plan.regions.of(watched.target.region).name)
}

fn count_ejection(plan: &Plan, watched: &Watched, cause: Cause) {
    let (service, region) = names(plan, watched);
    metrics::counter!("meridian_ejections_total", "service" => service.to_string(), "region" => region.to_string(), "cause" => cause.as_str())
        .increment(1);
}

fn count_spared(plan: &Plan, watched: &Watched, spared: Spared) {
    let (service, region) = names(plan, watched);
    metrics::counter!("meridian_ejections_spared_total", "service" => service.to_string(), "region" => region.to_string(), "rule" => spared.as_str())
        .increment(1);
}
