//! Follows what origins have applied by long polls (`consistency.follow`): one task per origin and
//! domain, which outlives the reloads that do not concern it.
//!
//! What is heard goes straight to the domain's positions, where it wakes those who wait; the writer
//! is told of a region that ran backwards. An answer that was asked for before something else was
//! heard is late like any other report, and the next poll, which is sent at once, settles it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::task::{Control, Probers};
use super::world::World;
use crate::config::plan::{Plan, VersionForm};
use crate::health::{Calm, Failure, LongPoll, Polled, Prober, Target, of_origin};
use crate::ids::{DomainId, RegionId, ServiceId};
use crate::positions::{
    Applied, Reason, RegionName, Report, Reported, Source, parse_vector, reject,
};
use crate::{chance, clock};

/// The tasks that follow origins.
pub(super) struct Follows {
    control: Control,
    tasks: TaskTracker,
    stop: CancellationToken,
    running: HashMap<Key, (Followed, CancellationToken)>,
}

/// A domain, a region and an origin, through reloads.
type Key = (Arc<str>, RegionName, Arc<str>);

/// An origin that is followed for a domain.
#[derive(Clone)]
struct Followed {
    domain: Arc<str>,
    form: VersionForm,
    region: RegionName,
    target: Target,
    prober: Prober,
    path: Arc<str>,
    applied: Arc<Applied>,
}

impl Follows {
    pub(super) fn new(control: Control, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            control,
            tasks,
            stop,
            running: HashMap::new(),
        }
    }

    /// Follows what the Plan wants, goes on with what did not change, ends the rest.
    pub(super) fn run(&mut self, world: &World, probers: &Probers) {
        let mut before = std::mem::take(&mut self.running);
        for (key, followed) in wanted(world, probers) {
            let kept = before.remove(&key);
            let kept = kept.filter(|(known, stop)| {
                let goes_on = known.is_like(&followed);
                if !goes_on {
                    stop.cancel();
                }
                goes_on
            });
            let running = kept.unwrap_or_else(|| self.start(followed));
            self.running.insert(key, running);
        }
        for (_, stop) in before.into_values() {
            stop.cancel();
        }
    }

    fn start(&self, followed: Followed) -> (Followed, CancellationToken) {
        let stop = self.stop.child_token();
        let follower = Follower {
            poll: LongPoll::new(
                followed.prober.clone(),
                followed.target.clone(),
                followed.path.clone(),
            ),
            followed: followed.clone(),
            control: self.control.clone(),
            calm: Calm::default(),
        };
        self.tasks.spawn(follower.run(stop.clone()));
        (followed, stop)
    }
}

/// Every origin of a domain's services, once: as the first service with it wants it asked.
fn wanted(world: &World, probers: &Probers) -> HashMap<Key, Followed> {
    let plan = world.plan();
    let mut wanted = HashMap::new();
    for (service, known) in plan.services.iter() {
        let Some(consistency) = &known.consistency else {
            continue;
        };
        for member in &known.regions {
            for followed in of_member(
                world,
                (service, consistency.domain, member.region),
                probers.of(service),
            ) {
                let (region, url) = (followed.region.clone(), followed.target.url.clone());
                let key = (followed.domain.clone(), region, url);
                wanted.entry(key).or_insert(followed);
            }
        }
    }
    wanted
}

fn of_member(
    world: &World,
    (service, domain, region): (ServiceId, DomainId, RegionId),
    prober: &Prober,
) -> Vec<Followed> {
    let plan: &Plan = world.plan();
    let (domain, region) = (plan.domains.of(domain), plan.regions.of(region));
    let (Some(path), Some(applied)) = (&domain.follow, world.applied(&domain.name)) else {
        return Vec::new();
    };
    let origins = region.origins.iter();
    origins
        .map(|origin| Followed {
            domain: domain.name.clone(),
            form: domain.version,
            region: region.name.clone(),
            target: of_origin(plan, service, *origin),
            prober: prober.clone(),
            path: path.clone(),
            applied: applied.clone(),
        })
        .collect()
}

impl Followed {
    /// Ids may have moved with a reload; what is asked and how must be the same.
    fn is_like(&self, other: &Self) -> bool {
        self.form == other.form
            && self.path == other.path
            && self.target.is_asked_like(&other.target)
            && self.prober.is_like(&other.prober)
            && Arc::ptr_eq(&self.applied, &other.applied)
    }

    fn note(&self, is_told: bool) {
        self.applied
            .set_followed(&self.region, &self.target.url, is_told);
    }
}

/// Whether a region may be called so: what cannot be asked for in a URL could never be waited for.
fn is_name(writer: &str) -> bool {
    writer
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The task that follows one origin.
struct Follower {
    followed: Followed,
    poll: LongPoll,
    control: Control,
    calm: Calm,
}

impl Follower {
    async fn run(mut self, stop: CancellationToken) {
        let followed = self.followed.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
        followed.note(false);
    }

    async fn follow(&mut self) {
        loop {
            let polled = self.ask().await.unwrap_or_else(|failure| {
                self.explain(&failure);
                Polled::Failed
            });
            let pause = self.calm.after(polled, chance::uniform());
            self.followed.note(self.calm.is_told());
            self.count(polled);
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&mut self) -> Result<Polled, Failure> {
        let (began, asked_at_ms) = (Instant::now(), clock::steady_ms());
        let Followed {
            region,
            target,
            applied,
            form,
            ..
        } = &self.followed;
        let known = applied.origin(region, &target.url);
        let said = self.poll.ask(&known.show(*form)).await?;
        let said = said.ok_or_else(|| Failure::Http("no Meridian-Applied".to_owned()))?;
        let vector = parse_vector(&said, *form).map_err(|error| {
            reject(Source::Follow, region, Reason::from(&error), &error);
            Failure::Http(error.to_string())
        })?;
        if !vector.iter().all(|(writer, _)| is_name(writer)) {
            reject(Source::Follow, region, Reason::UnknownRegion, &vector);
            return Err(Failure::Http(format!("`{vector}` names no region")));
        }
        let reported = applied.report(Report {
            region,
            origin: &target.url,
            applied: &vector,
            asked_at_ms,
            now_ms: clock::steady_ms(),
        });
        if reported == Reported::Regressed {
            let message = format!("positions of {region} ran backwards, to {vector}");
            self.control.suspect(region.clone(), message);
        }
        if vector == known {
            Ok(Polled::Nothing(began.elapsed()))
        } else {
            Ok(Polled::News(began.elapsed()))
        }
    }

    /// Says once what is wrong, until it is right again.
    fn explain(&self, failure: &Failure) {
        let Followed { target, path, .. } = &self.followed;
        let (region, url) = (&self.followed.region, &target.url);
        if self.calm.is_told() {
            tracing::warn!(%region, "{url}{path} cannot be followed, and is asked again: {failure}");
        } else {
            tracing::debug!(%region, "{url}{path} cannot be followed: {failure}");
        }
    }

    fn count(&self, polled: Polled) {
        let result = match polled {
            Polled::News(_) => "news",
            Polled::Nothing(_) => "nothing",
            Polled::Failed => "failed",
        };
        let Followed { domain, region, .. } = &self.followed;
        metrics::counter!("meridian_follow_polls_total", "domain" => domain.to_string(), "region" => region.to_string(), "result" => result)
            .increment(1);
    }
}
