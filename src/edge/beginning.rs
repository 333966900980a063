//! What an edge starts with: loaded, bound, and taken over from the edge before. Nothing of it runs yet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::before::{Before, Start};
use super::listeners::{Bound, Listeners};
use super::materials::{Materials, load_materials};
use super::run::StartError;
use super::source::Source;
use super::watch::Look;
use super::wiring::Wiring;
use super::zone_keys::MissingKeys;
use crate::clock;
use crate::config::plan::Plan;
use crate::config::{Loaded, Problem};
use crate::control::{Control, Memory, Store};
use crate::disk::{Claim, ENDS_WITHIN};
use crate::latency;
use crate::proxy::Context;

/// All that can be refused before anything runs.
pub(super) struct Beginning {
    pub(super) source: Source,
    /// What was loaded, as it was then, if it is watched.
    pub(super) look: Option<Look>,
    pub(super) plan: Arc<Plan>,
    pub(super) materials: Materials,
    pub(super) before: Before,
    /// The hold on `state_dir`.
    pub(super) claim: Option<Claim>,
    pub(super) listeners: Listeners,
    pub(super) bound: Bound,
    /// Where what is measured is kept.
    pub(super) measured: Option<latency::Store>,
    /// What the process before had sampled.
    pub(super) sampled: Option<String>,
    pub(super) memory: Memory,
    /// Clients' regions, as the edge before knew them.
    sticky: Option<Value>,
    /// What clients' sessions were issued.
    sessions: Option<Value>,
}

impl Beginning {
    pub(super) async fn prepare(
        mut source: Source,
        threads: usize,
        start: Start,
    ) -> Result<Self, StartError> {
        let began_ms = clock::unix_ms();
        let before = source.watched().map(|paths| Look::at(Arc::new(paths)));
        let (mut loaded, materials) = load(&source)?;
        let behind = || Look::behind_load(Arc::new(loaded.watched()), began_ms);
        let look = before.map(|before| behind().after(before));
        let state_dir = loaded.plan.node.state_dir.as_deref();
        let store = state_dir.map(Store::open).transpose()?;
        let mut before = Before::find(start, &loaded.plan).await?;
        let claim = match state_dir {
            Some(folder) if !before.is_there() => Claim::of_nobody(folder, patience(start)).await?,
            _ => None,
        };
        let listeners = Listeners::default();
        let bound = before.bind(&listeners, &loaded.plan, threads)?;
        listeners.note_ports(&mut loaded.plan.listen, &bound);
        let (bequest, passed) = before.ask().await?.unzip();
        let claim = match state_dir {
            Some(folder) if before.is_there() => Claim::of(folder, passed.flatten())?,
            _ => claim,
        };
        // The folder is this process's from here on.
        let store = store.map(|store| store.held_by(claim.clone()));
        let measured = state_dir.map(|folder| latency::Store::of(folder, claim.clone()));
        materials.known_keys.remember(claim.as_ref());
        if let Some(bequest) = &bequest {
            source.inherit(bequest, &mut loaded.plan);
        }
        let of_bequest = |key: &str| {
            let bequest = bequest.as_ref()?;
            Some(bequest.get(key).cloned().unwrap_or_default())
        };
        Ok(Self {
            plan: Arc::new(loaded.plan),
            sticky: of_bequest("sticky"),
            sessions: of_bequest("sessions"),
            sampled: of_bequest("latency").and_then(|told| Some(told.as_str()?.to_owned())),
            memory: Memory {
                store,
                bequest: of_bequest("world"),
            },
            source,
            look,
            materials,
            before,
            claim,
            listeners,
            bound,
            measured,
        })
    }
    /// Wires what its first Plan needs.
    pub(super) fn wire(&self, control: &Control, tasks: &TaskTracker) -> (Wiring, Arc<Context>) {
        let (plan, materials) = (&self.plan, &self.materials);
        let mut wiring = Wiring::first(plan, materials);
        let context = wiring.context(plan, materials, control.clone(), tasks.clone());
        if let Some(sticky) = &self.sticky {
            context.inherit_sticky(sticky);
        }
        if let Some(sessions) = &self.sessions {
            context.inherit_sessions(sessions);
        }
        (wiring, context)
    }
}

/// How long whoever holds `state_dir` may take to let go of it: who wants another's place waits for one that is about to end.
fn patience(start: Start) -> Duration {
    match start {
        Start::Fresh => Duration::ZERO,
        Start::Upgrade => ENDS_WITHIN,
    }
}

fn load(source: &Source) -> Result<(Loaded, Materials), StartError> {
    let loaded = source.load().map_err(StartError::Config)?;
    let materials = load_materials(&loaded, None, MissingKeys::Create)
        .map_err(|problems| StartError::Config(loaded.problems(problems)))?;
    for warning in loaded.warnings.iter().chain(&materials.warnings) {
        tracing::warn!("{}", loaded.problems(vec![Problem::clone(warning)]));
    }
    Ok((loaded, materials))
}
