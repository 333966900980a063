//! How a reload is asked for, and what is shown of the last one.

use tokio::sync::{mpsc, oneshot};

use super::task::Closed;

/// What was wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The file; empty if it concerns none.
    pub file: String,
    /// Counted from 1; 0: no line.
    pub line: u32,
    /// Counted from 1; 0: no column.
    pub column: u32,
    /// What, and what would be right.
    pub message: String,
    /// The line of the file, with secrets blotted out; none where there is no line, or it is too long to show.
    pub source: Option<String>,
}

/// What is shown of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigStatus {
    /// When the one in force was loaded, in milliseconds since 1970.
    pub loaded_at_ms: u64,
    /// Counts reloads, from 1.
    pub generation: u64,
    /// Why the last attempt to load a newer one failed.
    pub error: Option<ConfigProblem>,
    /// What the last load changed, a line each; none: nothing, or it was the first.
    pub changes: Vec<String>,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation now in force.
    pub generation: u64,
    /// What changed, a line each.
    pub changes: Vec<String>,
}

/// The answer to a request for a reload.
pub type ReloadOutcome = Result<Reloaded, Vec<ConfigProblem>>;

/// Asks for reloads; they happen one after the other.
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: mpsc::Sender<oneshot::Sender<ReloadOutcome>>,
}

/// Receives the requests.
pub type ReloadRequests = mpsc::Receiver<oneshot::Sender<ReloadOutcome>>;

impl Reloader {
    /// A reloader and what it sends to.
    pub fn new() -> (Self, ReloadRequests) {
        let (requests, inbox) = mpsc::channel(8);
        (Self { requests }, inbox)
    }

    /// Loads the configuration anew and waits for what comes of it.
    pub async fn reload(&self) -> Result<ReloadOutcome, Closed> {
        let (reply, outcome) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| Closed)?;
        outcome.await.map_err(|_| Closed)
    }
}
