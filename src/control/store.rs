//! What survives a restart: verdicts, ejections, drains, ramps, positions and events, in one file of `state_dir` (`control::sealed` has its form).
//!
//! Written whole to a new file that then takes the old one's name, so a crash leaves one or the
//! other. A file that cannot be read is set aside, never a reason not to start. What is to be remembered
//! besides gets a section of its own in [`remember`] and [`restore`], and is keyed by name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::drains::{Drain, Pace};
use super::ejected;
use super::forced::ForcedState;
use super::ramps::Ramp;
use super::sealed::{Unsealed, seal, unseal};
use super::slope::Slope;
use super::world::World;
use crate::clock::Now;
use crate::config::plan::VersionForm;
use crate::disk::{Claim, replace};
use crate::health::{Health, Verdict};
use crate::positions::{Entry, Position, RegionName, Vector, parse_position, parse_vector};
use crate::regular;
use crate::steering::Forced;

/// A state is written at most once in a second for so many bytes, so that a large one does not keep the disk busy.
const BYTES_PER_SECOND: usize = 1 << 18;

/// The longest that a change waits for that. What an operator does never waits.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What went wrong with the state file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or written.
    #[error("state_dir {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A state file that could not be read, and what became of it.
#[derive(Debug)]
pub(crate) struct SetAside {
    path: PathBuf,
    why: String,
    aside: io::Result<PathBuf>,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, why, aside } = self;
        write!(f, "state file {}: {why}; ", path.display())?;
        match aside {
            Ok(aside) => write!(f, "set aside as {}", aside.display()),
            Err(error) => write!(f, "it cannot be set aside: {error}"),
        }
    }
}

/// The state file of one `state_dir`.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    /// Whose folder it is, where that is known.
    claim: Option<Claim>,
}

impl Store {
    /// Makes the folder if need be, and checks that it can be written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self {
            path: folder.join("state.json"),
            claim: None,
        };
        let refused = |error| StoreError::Write {
            path: folder.to_owned(),
            error,
        };
        if folder.is_file() {
            let message = "it is a file, and a folder is expected";
            let error = io::Error::new(io::ErrorKind::NotADirectory, message);
            return Err(refused(error));
        }
        std::fs::create_dir_all(folder).map_err(refused)?;
        let probe = folder.join(".writable");
        std::fs::write(&probe, b"").map_err(refused)?;
        std::fs::remove_file(&probe).map_err(refused)?;
        Ok(store)
    }

    /// The same, in a folder that is one edge's.
    pub(crate) fn held_by(self, claim: Option<Claim>) -> Self {
        Self { claim, ..self }
    }

    /// Restores what the file remembers of a world, and gives all of it; nothing, if there is none, or if it is set aside.
    pub(super) fn restore(&self, world: &mut World, now: Now) -> Result<Value, SetAside> {
        let file = match regular::read(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Value::Null),
            Err(error) => return Err(self.set_aside(error.to_string())),
        };
        match unseal(&file) {
            Ok(Unsealed { state, is_earlier }) => {
                if is_earlier {
                    tracing::info!(file = %self.path.display(), "state file of an earlier version taken over");
                }
                restore(world, &state, now);
                Ok(state)
            }
            Err(why) => Err(self.set_aside(why.to_string())),
        }
    }

    /// That it cannot be written.
    pub(super) fn refused(&self, error: io::Error) -> StoreError {
        StoreError::Write {
            path: self.path.clone(),
            error,
        }
    }

    fn set_aside(&self, why: String) -> SetAside {
        let aside = self.path.with_extension("json.unreadable");
        let moved = std::fs::rename(&self.path, &aside);
        SetAside {
            path: self.path.clone(),
            why,
            aside: moved.map(|()| aside),
        }
    }

    /// Writes what is to be remembered; it is on the disk when this returns. How long to wait before what is no
    /// operator's doing is written again.
    pub fn save(&self, state: &Value) -> Result<Duration, StoreError> {
        let file = seal(state);
        let assured = self.claim.as_ref().map_or(Ok(()), Claim::assure);
        let saved = assured.and_then(|()| replace(&self.path, file.as_bytes()));
        saved.map_err(|error| self.refused(error))?;
        let seconds = u64::try_from(file.len() / BYTES_PER_SECOND).unwrap_or(u64::MAX);
        Ok(Duration::from_secs(seconds).min(LONGEST_WAIT))
    }
}

/// What there is to remember of a world.
pub(crate) fn remember(world: &World, now: Now) -> Value {
    let verdicts: serde_json::Map<String, Value> = world
        .checks()
        .filter(|(_, _, verdict)| *verdict != Verdict::Unknown)
        .map(|(key, _, verdict)| (key.to_string(), json!(verdict.as_str())))
        .collect();
    let drains: Vec<Value> = world
        .drains()
        .iter()
        .map(|drain| {
            json!({
                "region": &*drain.region,
                "service": drain.service.as_deref(),
                "since_ms": drain.since_ms,
                "until_ms": drain.until_ms,
                "over_ms": drain.over_ms,
                "paces": drain.paces.iter().map(|pace| json!({ "over_ms": pace.over_ms, "until_ms": pace.until_ms })).collect::<Vec<_>>(),
                "by": drain.by.as_deref(),
                "reason": drain.reason,
            })
        })
        .collect();
    json!({ "saved_at_ms": now.unix_ms, "verdicts": verdicts, "healths": remember_healths(world), "drains": drains, "forced": remember_forced(world),
        "ramps": remember_ramps(world), "ejections": ejected::remember(world, now), "positions": remember_positions(world), "forks": remember_forks(world), "floors": remember_floors(world),
        "pushes": remember_pushes(world, now) })
}

/// Where epochs began: older ones than the positions tell.
fn remember_forks(world: &World) -> Vec<Value> {
    let domains = world.plan().domains.values();
    domains
        .filter_map(|domain| Some((domain, world.applied(&domain.name)?.forks())))
        .flat_map(|(domain, forks)| {
            let entry = |(region, epoch, began): (&RegionName, u64, Position)| {
                json!({ "domain": &*domain.name, "region": &**region, "epoch": epoch,
                    "began": began.show(VersionForm::Integer) })
            };
            forks.iter().map(entry).collect::<Vec<_>>()
        })
        .collect()
}

fn remember_forced(world: &World) -> Vec<Value> {
    let all = world.forced().map(|forced| {
        json!({ "region": &*forced.region, "service": forced.service.as_deref(), "state": forced.state.as_str(),
            "since_ms": forced.since_ms, "until_ms": forced.until_ms, "by": forced.by.as_deref(), "reason": forced.reason })
    });
    all.collect()
}

/// Since when regions are as they are: how long one has been out decides how it comes back.
fn remember_healths(world: &World) -> Vec<Value> {
    let mut all: Vec<_> = world.healths().collect();
    all.sort_by_key(|(of, _, _)| *of);
    let all = all.into_iter().map(|((service, region), health, since_ms)| {
        json!({ "service": &**service, "region": &**region, "health": health.word(), "since_ms": since_ms })
    });
    all.collect()
}

fn restore_health(world: &mut World, health: &Value) -> Option<()> {
    let field = |name: &str| health[name].as_str();
    let of = (field("service")?, field("region")?);
    let known = Health::of_word(field("health")?)?;
    world.remember_health(of, known, health["since_ms"].as_u64()?);
    Some(())
}

fn remember_ramps(world: &World) -> Vec<Value> {
    let all = world.ramps().into_iter();
    let all = all.map(|((service, region), ramp)| {
        let Ramp {
            slope,
            begun_ms,
            halted_ms,
        } = ramp;
        json!({ "service": &**service, "region": &**region, "from_ms": slope.from_ms, "length_ms": slope.length_ms,
            "begun_ms": begun_ms, "halted_ms": halted_ms })
    });
    all.collect()
}

fn remember_positions(world: &World) -> Vec<Value> {
    let domains = world.plan().domains.values();
    domains
        .filter_map(|domain| Some((domain, world.applied(&domain.name)?)))
        .flat_map(|(domain, applied)| {
            applied.all().into_iter().map(|(region, origin, vector)| {
                json!({ "domain": &*domain.name, "region": &*region, "origin": &*origin,
                    "applied": of_regions(world, vector).show(VersionForm::Integer) })
            })
        })
        .collect()
}

/// What all origins once had: it was taken out of tokens.
fn remember_floors(world: &World) -> Vec<Value> {
    let domains = world.plan().domains.values();
    let applied = domains.filter_map(|domain| Some((domain, world.applied(&domain.name)?)));
    let floors = applied.map(|(domain, applied)| (domain, applied.floor()));
    let floors = floors.filter(|(_, floor)| !floor.is_empty());
    floors
        .map(|(domain, floor)| {
            json!({ "domain": &*domain.name, "had": floor.show(VersionForm::Integer) })
        })
        .collect()
}

/// Without the logs of regions that are configured no more: one that comes back may have another.
fn of_regions(world: &World, mut applied: Vector) -> Vector {
    applied.retain(|writer, _| world.plan().region(writer).is_some());
    applied
}

/// The last numbered push of each origin: late ones may still be under way when the edge begins again.
fn remember_pushes(world: &World, now: Now) -> Vec<Value> {
    let domains = world.plan().domains.values();
    domains
        .filter_map(|domain| Some((domain, world.applied(&domain.name)?)))
        .flat_map(|(domain, applied)| {
            applied
                .sequences(now.steady_ms)
                .into_iter()
                .map(|(region, origin, sequence)| {
                    json!({ "domain": &*domain.name, "region": &*region, "origin": &*origin,
                    "sequence": sequence.to_string() })
                })
        })
        .collect()
}

/// What a clock said that is behind now is not to come once more: what had begun by then has come as far as it had.
pub(crate) fn restore(world: &mut World, state: &Value, now: Now) {
    let saved_at_ms = state["saved_at_ms"].as_u64();
    let saved_at_ms = saved_at_ms.unwrap_or_else(|| latest_beginning_ms(state));
    let ahead_ms = saved_at_ms.saturating_sub(now.unix_ms);
    for drain in state["drains"].as_array().into_iter().flatten() {
        if let Some(drain) = drain_from(drain) {
            world.remember_drain(drain);
        }
    }
    for forced in state["forced"].as_array().into_iter().flatten() {
        if let Some(forced) = forced_from(forced) {
            world.remember_forced(forced);
        }
    }
    for health in state["healths"].as_array().into_iter().flatten() {
        restore_health(world, health);
    }
    for ramp in state["ramps"].as_array().into_iter().flatten() {
        restore_ramp(world, ramp);
    }
    let as_of = Now {
        unix_ms: now.unix_ms.max(saved_at_ms),
        ..now
    };
    for ejection in state["ejections"].as_array().into_iter().flatten() {
        let _ = ejected::restore(world, ejection, as_of);
    }
    world.shift(-i64::try_from(ahead_ms).unwrap_or(i64::MAX));
    for (key, verdict) in state["verdicts"].as_object().into_iter().flatten() {
        let verdict = match verdict.as_str() {
            Some("healthy") => Verdict::Healthy,
            Some("unhealthy") => Verdict::Unhealthy,
            Some(_) | None => continue,
        };
        world.remember_verdict(&key.as_str().into(), verdict, now.unix_ms);
    }
    for position in state["positions"].as_array().into_iter().flatten() {
        restore_position(world, position);
    }
    for floor in state["floors"].as_array().into_iter().flatten() {
        restore_floor(world, floor);
    }
    for push in state["pushes"].as_array().into_iter().flatten() {
        restore_push(world, push);
    }
    for fork in state["forks"].as_array().into_iter().flatten() {
        restore_fork(world, fork);
    }
}

/// When a state of an earlier version was saved, at the earliest: such a one does not say.
fn latest_beginning_ms(state: &Value) -> u64 {
    let beginnings = [("drains", "since_ms"), ("ramps", "from_ms")].into_iter();
    let all = beginnings.flat_map(|(of, key)| {
        let entries = state[of].as_array().into_iter().flatten();
        entries.filter_map(move |entry| entry[key].as_u64())
    });
    all.max().unwrap_or(0)
}

fn drain_from(drain: &Value) -> Option<Drain> {
    Some(Drain {
        region: drain["region"].as_str()?.into(),
        service: drain["service"].as_str().map(Into::into),
        since_ms: drain["since_ms"].as_u64()?,
        until_ms: drain["until_ms"].as_u64(),
        over_ms: drain["over_ms"].as_u64().unwrap_or(0),
        paces: drain["paces"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(pace_from)
            .collect(),
        by: drain["by"].as_str().map(Into::into),
        reason: drain["reason"].as_str().map(str::to_owned),
    })
}

fn pace_from(pace: &Value) -> Option<Pace> {
    Some(Pace {
        over_ms: pace["over_ms"].as_u64()?,
        until_ms: pace["until_ms"].as_u64()?,
    })
}

fn restore_ramp(world: &mut World, ramp: &Value) -> Option<()> {
    let slope = Slope {
        from_ms: ramp["from_ms"].as_u64()?,
        length_ms: ramp["length_ms"].as_u64()?,
    };
    let remembered = Ramp {
        slope,
        begun_ms: ramp["begun_ms"].as_u64().unwrap_or(slope.from_ms),
        halted_ms: ramp["halted_ms"].as_u64(),
    };
    world.remember_ramp(
        ramp["service"].as_str()?,
        ramp["region"].as_str()?,
        remembered,
    );
    Some(())
}

fn restore_fork(world: &World, fork: &Value) -> Option<()> {
    let field = |name: &str| fork[name].as_str();
    let began = parse_position(field("began")?, VersionForm::Integer).ok()?;
    let epoch = fork["epoch"].as_u64()?;
    let entry = Entry {
        position: Position { epoch, seq: 0 },
        began: Some(began),
    };
    let applied = world.applied(field("domain")?)?;
    applied.remember_fork(&field("region")?.into(), entry);
    Some(())
}

fn forced_from(forced: &Value) -> Option<ForcedState> {
    Some(ForcedState {
        region: forced["region"].as_str()?.into(),
        service: forced["service"].as_str().map(Into::into),
        state: match forced["state"].as_str()? {
            "up" => Forced::Up,
            "down" => Forced::Down,
            _ => return None,
        },
        since_ms: forced["since_ms"].as_u64()?,
        until_ms: forced["until_ms"].as_u64(),
        by: forced["by"].as_str().map(Into::into),
        reason: forced["reason"].as_str().map(str::to_owned),
    })
}

fn restore_push(world: &World, push: &Value) -> Option<()> {
    let field = |name: &str| push[name].as_str();
    let sequence = field("sequence")?.parse().ok()?;
    let applied = world.applied(field("domain")?)?;
    applied.remember_sequence(field("region")?, field("origin")?, sequence);
    Some(())
}

fn restore_floor(world: &World, floor: &Value) -> Option<()> {
    let had = parse_vector(floor["had"].as_str()?, VersionForm::Integer).ok()?;
    let applied = world.applied(floor["domain"].as_str()?)?;
    applied.remember_floor(&had);
    Some(())
}

fn restore_position(world: &World, position: &Value) -> Option<()> {
    let field = |name: &str| position[name].as_str();
    let applied = parse_vector(field("applied")?, VersionForm::Integer).ok()?;
    world.remember_applied(
        field("domain")?,
        field("region")?,
        field("origin")?,
        &of_regions(world, applied),
    );
    Some(())
}
