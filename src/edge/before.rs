//! Whose place a new edge takes: that of the running one, or nobody's.

use std::os::fd::OwnedFd;

use serde_json::Value;

use super::door::Door;
use super::handover::Predecessor;
use super::inherited::Inherited;
use super::listeners::{Bound, Listeners};
use super::run::StartError;
use crate::config::plan::Plan;
use crate::disk::Claim;

/// Whose place an edge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody's.
    Fresh,
    /// That of the edge that runs, if one does.
    Upgrade,
}

/// What there was before this process.
pub(super) struct Before {
    predecessor: Option<Predecessor>,
    inherited: Inherited,
}

impl Before {
    pub(super) async fn find(start: Start, plan: &Plan) -> Result<Self, StartError> {
        let refused = |error: std::io::Error| StartError::Predecessor(error.to_string());
        if start == Start::Upgrade {
            let path = plan.node.upgrade_socket.as_deref().ok_or_else(|| {
                let needs = "it needs node.state_dir or node.upgrade_socket";
                StartError::Predecessor(needs.to_owned())
            })?;
            if let Some((predecessor, inherited)) =
                Predecessor::find(path).await.map_err(refused)?
            {
                return Ok(Self {
                    predecessor: Some(predecessor),
                    inherited,
                });
            }
            tracing::info!(
                socket = %path.display(),
                "nobody to take over from: a fresh start; whoever was started with another node.state_dir or node.upgrade_socket listens elsewhere"
            );
        }
        let passed = Inherited::from_environment();
        let inherited = passed.map_err(|error| StartError::Listen(error.to_string()))?;
        Ok(Self {
            predecessor: None,
            inherited,
        })
    }

    /// Whether there is somebody whose place is taken.
    pub(super) fn is_there(&self) -> bool {
        self.predecessor.is_some()
    }

    pub(super) fn bind(
        &mut self,
        listeners: &Listeners,
        plan: &Plan,
        threads: usize,
    ) -> Result<Bound, StartError> {
        let bound = listeners.bind(&plan.listen, &mut self.inherited, threads);
        bound.map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            StartError::Listen(lines.join("\n"))
        })
    }

    /// What the one before knows, and its hold on its `state_dir`.
    pub(super) async fn ask(&mut self) -> Result<Option<(Value, Option<OwnedFd>)>, StartError> {
        let Some(predecessor) = &mut self.predecessor else {
            return Ok(None);
        };
        let state = predecessor.state().await;
        let refused = |error: std::io::Error| StartError::Predecessor(error.to_string());
        state.map(Some).map_err(refused)
    }

    /// Ends the one before, now that this one serves, and opens the door for the next.
    pub(super) async fn relieve(
        self,
        plan: &Plan,
        claim: Option<Claim>,
    ) -> Result<Option<Door>, StartError> {
        // The one before accepts what waits in a socket that this one has no use for.
        drop(self.inherited);
        if let Some(predecessor) = self.predecessor {
            let relieved = predecessor.relieve().await;
            relieved.map_err(|error| StartError::Predecessor(error.to_string()))?;
        }
        let Some(path) = &plan.node.upgrade_socket else {
            return Ok(None);
        };
        let opened = Door::open(path, claim);
        Ok(opened
            .inspect_err(|error| {
                tracing::warn!(socket = %path.display(), %error, "no other process can take over");
            })
            .ok())
    }
}
