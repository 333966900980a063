//! How everybody else speaks to the writer: each call is a command, and waits for its answer.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::saving::Reply;
use super::{Adoption, QUEUE};
use crate::clock;
use crate::config::plan::Plan;
use crate::control::drains::{Drain, DrainRefused, DrainRequest};
use crate::control::events::{Event, EventLog, Kind};
use crate::control::forced::ForcedState;
use crate::control::trouble::Troubles;
use crate::control::world::{TargetProbes, WorldStatus};
use crate::geo::ClientMap;

/// What a writer that is yet to start will read.
pub struct Inbox(pub(super) mpsc::Receiver<Command>);

/// The control task has ended: the edge is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the edge is shutting down")]
pub struct Closed;

/// A change that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The id of the event that tells of it: of two changes the later one has the larger.
    pub event: u64,
    /// Why it would not outlive a restart.
    pub unsaved: Option<String>,
    /// The drains of the region that are in force now.
    pub drains: Vec<Drain>,
    /// Its forced states.
    pub forced: Vec<ForcedState>,
}

/// A handle to the one writer.
#[derive(Clone, Debug)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    events: Arc<EventLog>,
    troubles: Arc<Troubles>,
}

impl Control {
    /// A handle to a writer that is yet to start, and what it will read.
    pub fn new() -> (Self, Inbox) {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let control = Self {
            commands,
            events: Arc::new(EventLog::new(clock::unix_ms())),
            troubles: Arc::default(),
        };
        (control, Inbox(inbox))
    }

    /// What happened.
    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    /// What there is to mend although all goes on.
    pub fn troubles(&self) -> &Arc<Troubles> {
        &self.troubles
    }

    /// Takes over a new Plan; returns its generation once it is published.
    pub async fn adopt(&self, adoption: Adoption) -> Result<u64, Closed> {
        self.ask(|reply| Command::Adopt(Box::new(adoption), reply))
            .await
    }

    /// Drains a region.
    pub async fn drain(
        &self,
        drain: DrainRequest,
        force: bool,
    ) -> Result<Result<Changed, DrainRefused>, Closed> {
        self.ask(|reply| Command::Change(Change::Drain(drain, force), reply))
            .await
    }

    /// Ends a drain.
    pub async fn undrain(
        &self,
        region: String,
        service: Option<String>,
    ) -> Result<Result<Changed, DrainRefused>, Closed> {
        self.ask(|reply| Command::Change(Change::Undrain(region, service), reply))
            .await
    }

    /// Has a region count as healthy or unhealthy.
    pub async fn force(
        &self,
        forced: ForcedState,
        anyway: bool,
    ) -> Result<Result<Changed, DrainRefused>, Closed> {
        self.ask(|reply| Command::Change(Change::Force(forced, anyway), reply))
            .await
    }

    /// Leaves a region to its probes again.
    pub async fn unforce(
        &self,
        region: String,
        service: Option<String>,
    ) -> Result<Result<Changed, DrainRefused>, Closed> {
        self.ask(|reply| Command::Change(Change::Unforce(region, service), reply))
            .await
    }

    /// All that is known, for the process that takes this one's place. From now on no drain is changed and
    /// nothing is saved.
    pub async fn bequeath(&self) -> Result<Value, Closed> {
        self.ask(Command::Bequeath).await
    }

    /// Nobody takes this process's place after all.
    pub async fn resume(&self) {
        // The writer has ended: so has the edge.
        let _ = self.commands.send(Command::Resume).await;
    }

    /// What the status page shows beyond the snapshot.
    pub async fn status(&self) -> Result<WorldStatus, Closed> {
        self.ask(Command::Status).await
    }

    /// When each region last answered a probe, in milliseconds since 1970.
    pub async fn answered_ms(&self) -> Result<HashMap<Arc<str>, u64>, Closed> {
        self.ask(Command::Answered).await
    }

    /// The last probes of a region's targets, of one service or of all.
    pub async fn probes(
        &self,
        region: String,
        service: Option<String>,
    ) -> Result<Vec<TargetProbes>, Closed> {
        self.ask(|reply| Command::Probes(region, service, reply))
            .await
    }

    /// Notes that a region's positions ran backwards. Lost if the writer is overwhelmed: the next
    /// probe tells again.
    pub fn suspect(&self, region: Arc<str>, message: String) {
        let _ = self.commands.try_send(Command::Suspect(region, message));
    }

    /// Tells of what befell a region's positions. Lost if the writer is overwhelmed.
    pub fn note_position(&self, region: Arc<str>, message: String) {
        let event = Event {
            region: Some(region.to_string()),
            ..Event::new(Kind::Position, clock::unix_ms(), message)
        };
        let _ = self.commands.try_send(Command::Tell(event));
    }

    /// Publishes again although nothing was reported: what is compiled from snapshots is due.
    pub async fn republish(&self) {
        // Nobody is left to publish once the writer has ended.
        let _ = self.commands.send(Command::Republish).await;
    }

    /// Puts clients where measurements have moved them; whether they were placed for the Plan in force.
    pub async fn relocate(&self, plan: Arc<Plan>, clients: Arc<ClientMap>) -> Result<bool, Closed> {
        self.ask(|reply| Command::Relocate(plan, clients, reply))
            .await
    }

    /// Records an event of somebody else's.
    pub async fn tell(&self, kind: Kind, message: String) {
        let event = Event::new(kind, clock::unix_ms(), message);
        // Nobody is left to tell once the writer has ended.
        let _ = self.commands.send(Command::Tell(event)).await;
    }

    /// Records that a call was refused.
    pub async fn tell_of_refusal(&self, message: String) {
        let event = Event::new(Kind::Audit, clock::unix_ms(), message).refusal();
        // Nobody is left to tell once the writer has ended.
        let _ = self.commands.send(Command::Tell(event)).await;
    }

    /// Records a warning of somebody else's.
    pub async fn warn(&self, kind: Kind, message: String) {
        let event = Event::new(kind, clock::unix_ms(), message).warning_if(true);
        // Nobody is left to tell once the writer has ended.
        let _ = self.commands.send(Command::Tell(event)).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

/// What the writer is asked for.
pub(super) enum Command {
    Adopt(Box<Adoption>, oneshot::Sender<u64>),
    Change(Change, Reply),
    Status(oneshot::Sender<WorldStatus>),
    Answered(oneshot::Sender<HashMap<Arc<str>, u64>>),
    Probes(String, Option<String>, oneshot::Sender<Vec<TargetProbes>>),
    Suspect(Arc<str>, String),
    Republish,
    Relocate(Arc<Plan>, Arc<ClientMap>, oneshot::Sender<bool>),
    Tell(Event),
    Bequeath(oneshot::Sender<Value>),
    Resume,
}

/// What an operator may change, and whether against a guard.
pub(super) enum Change {
    Drain(DrainRequest, bool),
    Undrain(String, Option<String>),
    Force(ForcedState, bool),
    Unforce(String, Option<String>),
}

impl Change {
    /// The region, and whether there is then something more that is kept over a restart.
    pub(super) fn of(&self) -> (Arc<str>, bool) {
        match self {
            Self::Drain(drain, _) => (drain.region.clone(), true),
            Self::Force(forced, _) => (forced.region.clone(), true),
            Self::Undrain(region, _) | Self::Unforce(region, _) => (region.as_str().into(), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn so_many_commands_wait_for_the_writer_then_notes_are_lost_and_callers_wait() {
        let (control, Inbox(mut inbox)) = Control::new();
        let mut caller = Box::pin(control.status());
        for number in 0..=QUEUE {
            control.suspect("a".into(), number.to_string());
        }
        assert_eq!(inbox.len(), 1_024);
        assert!(poll!(&mut caller).is_pending());
        assert_eq!(inbox.len(), 1_024);
        inbox.recv().await.unwrap();
        assert!(poll!(&mut caller).is_pending());
        assert_eq!(inbox.len(), 1_024, "the caller has its place now");
        let mut told = Vec::new();
        inbox.recv_many(&mut told, QUEUE).await;
        assert!(matches!(told.last(), Some(Command::Status(_))));
    }
}
