//! What survives a restart: verdicts, drains and positions, in one JSON file of `state_dir`.
//!
//! Written whole to a new file that then takes the old one's name, so a crash leaves one or the
//! other. A file that cannot be read is set aside, never a reason not to start.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::drains::Drain;
use super::world::World;
use crate::config::plan::VersionForm;
use crate::health::Verdict;
use crate::positions::{Entry, Position, RegionName, parse_position, parse_vector};

/// The form of the file; another one is set aside.
const VERSION: u64 = 1;

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

/// The state file of one `state_dir`.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Makes the folder if need be, and checks that it can be written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self {
            path: folder.join("state.json"),
        };
        let refused = |error| StoreError::Write {
            path: folder.to_owned(),
            error,
        };
        std::fs::create_dir_all(folder).map_err(refused)?;
        let probe = folder.join(".writable");
        std::fs::write(&probe, b"").map_err(refused)?;
        std::fs::remove_file(&probe).map_err(refused)?;
        Ok(store)
    }

    /// Restores what the file remembers; nothing, if there is none.
    pub fn restore(&self, world: &mut World, now_ms: u64) {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.set_aside(&error.to_string()),
        };
        match serde_json::from_str::<Value>(&text) {
            Ok(state) if state.get("version").and_then(Value::as_u64) == Some(VERSION) => {
                restore(world, &state, now_ms)
            }
            Ok(_) => self.set_aside("it is of another version"),
            Err(error) => self.set_aside(&error.to_string()),
        }
    }

    fn set_aside(&self, why: &str) {
        let aside = self.path.with_extension("json.unreadable");
        tracing::warn!(file = %self.path.display(), why, "state file set aside; starting without it");
        if let Err(error) = std::fs::rename(&self.path, &aside) {
            tracing::warn!(file = %self.path.display(), %error, "state file cannot be set aside");
        }
    }

    /// Writes what is to be remembered.
    pub fn save(&self, state: &Value) -> Result<(), StoreError> {
        let new = self.path.with_extension("json.new");
        let write = || {
            std::fs::write(&new, state.to_string())?;
            std::fs::File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &self.path)
        };
        write().map_err(|error| StoreError::Write {
            path: self.path.clone(),
            error,
        })
    }
}

/// What there is to remember of a world.
pub(super) fn remember(world: &World) -> Value {
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
                "reason": drain.reason,
            })
        })
        .collect();
    json!({ "version": VERSION, "verdicts": verdicts, "drains": drains, "positions": remember_positions(world),
        "forks": remember_forks(world) })
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

fn remember_positions(world: &World) -> Vec<Value> {
    let domains = world.plan().domains.values();
    domains
        .filter_map(|domain| Some((domain, world.applied(&domain.name)?)))
        .flat_map(|(domain, applied)| {
            applied.all().into_iter().map(|(region, origin, vector)| {
                json!({ "domain": &*domain.name, "region": &*region, "origin": &*origin,
                    "applied": vector.show(VersionForm::Integer) })
            })
        })
        .collect()
}

pub(super) fn restore(world: &mut World, state: &Value, now_ms: u64) {
    for (key, verdict) in state["verdicts"].as_object().into_iter().flatten() {
        let verdict = match verdict.as_str() {
            Some("healthy") => Verdict::Healthy,
            Some("unhealthy") => Verdict::Unhealthy,
            Some(_) | None => continue,
        };
        world.remember_verdict(&key.as_str().into(), verdict, now_ms);
    }
    for drain in state["drains"].as_array().into_iter().flatten() {
        if let Some(drain) = drain_from(drain) {
            world.remember_drain(drain);
        }
    }
    for position in state["positions"].as_array().into_iter().flatten() {
        restore_position(world, position);
    }
    for fork in state["forks"].as_array().into_iter().flatten() {
        restore_fork(world, fork);
    }
}

fn drain_from(drain: &Value) -> Option<Drain> {
    Some(Drain {
        region: drain["region"].as_str()?.into(),
        service: drain["service"].as_str().map(Into::into),
        since_ms: drain["since_ms"].as_u64()?,
        until_ms: drain["until_ms"].as_u64(),
        reason: drain["reason"].as_str().map(str::to_owned),
    })
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

fn restore_position(world: &World, position: &Value) -> Option<()> {
    let field = |name: &str| position[name].as_str();
    let applied = parse_vector(field("applied")?, VersionForm::Integer).ok()?;
    world.remember_applied(
        field("domain")?,
        field("region")?,
        field("origin")?,
        &applied,
    );
    Some(())
}
