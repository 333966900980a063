//! How what is known gets to the disk: beside the writer, one save at a time.
//!
//! A disk that hangs keeps nobody from being probed or steered. Whoever waits for a change to be saved hears, once the
//! save under way takes longer than [`PATIENCE`], that it is in force and not saved.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::handle::Changed;
use crate::control::drains::DrainRefused;
use crate::control::store::{Store, StoreError};
use crate::disk::{PATIENCE, overdue};

/// How a save ended: how long to wait before what is no operator's doing is written again.
type Saved = Result<Duration, StoreError>;

/// Who waits for a change to be in force, and saved.
pub(super) type Reply = oneshot::Sender<Result<Changed, DrainRefused>>;

/// The state file, and who waits for it.
pub(super) struct Saving {
    store: Option<Store>,
    running: Option<Running>,
    /// Who waits for the save under way.
    of_this: Vec<(Reply, Changed)>,
    /// Who waits for the one after it: they came when it had begun.
    of_next: Vec<(Reply, Changed)>,
    /// Why what is known was not saved when that was last tried.
    failure: Option<String>,
}

struct Running {
    store: Store,
    save: JoinHandle<Saved>,
    due: Instant,
    /// It was told that it is overdue.
    is_overdue: bool,
}

impl Saving {
    pub(super) fn to(store: Option<Store>) -> Self {
        Self {
            store,
            running: None,
            of_this: Vec::new(),
            of_next: Vec::new(),
            failure: None,
        }
    }

    /// Whether there is a file.
    pub(super) fn is_possible(&self) -> bool {
        self.store.is_some()
    }

    /// Whether a save may begin.
    pub(super) fn is_ready(&self) -> bool {
        self.store.is_some() && self.running.is_none()
    }

    /// Whether a save is under way of which there is [`Self::news`] soon.
    pub(super) fn is_under_way(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| !running.is_overdue)
    }

    /// Whether somebody waits for the next save.
    pub(super) fn is_awaited(&self) -> bool {
        !self.of_next.is_empty()
    }

    /// Begins to save, if that [`Self::is_ready`].
    pub(super) fn begin(&mut self, state: Value) {
        let Some(store) = self.store.clone().filter(|_| self.is_ready()) else {
            return;
        };
        self.running = Some(Running {
            store: store.clone(),
            save: tokio::task::spawn_blocking(move || store.save(&state)),
            due: Instant::now() + PATIENCE,
            is_overdue: false,
        });
        self.of_this = std::mem::take(&mut self.of_next);
    }

    /// How the save under way ended, or once that it is overdue and goes on; never, if there is none.
    pub(super) async fn news(&mut self) -> Saved {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let ended = if running.is_overdue {
            (&mut running.save).await
        } else {
            match timeout_at(running.due, &mut running.save).await {
                Ok(ended) => ended,
                Err(_) => {
                    running.is_overdue = true;
                    return Err(running.store.refused(overdue()));
                }
            }
        };
        let saved =
            ended.unwrap_or_else(|panicked| Err(running.store.refused(io::Error::other(panicked))));
        self.running = None;
        saved
    }

    /// Notes why what is known is not saved, or that it is, and answers whoever has waited for that.
    pub(super) fn note(&mut self, failure: Option<String>) {
        self.failure = failure;
        if self.running.is_some() {
            self.answer_all();
        } else {
            self.answer_this();
        }
    }

    /// Answers when the next save has ended; at once where nothing is saved, or a save hangs.
    pub(super) fn answer_after(&mut self, reply: Reply, changed: Changed) {
        self.of_next.push((reply, changed));
        let hangs = self.running.is_some() && !self.is_under_way();
        if self.store.is_none() || hangs {
            self.answer_all();
        }
    }

    /// Answers everybody by what is known now.
    pub(super) fn answer_all(&mut self) {
        self.of_this.append(&mut self.of_next);
        self.answer_this();
    }

    fn answer_this(&mut self) {
        for (reply, mut changed) in self.of_this.drain(..) {
            if self.store.is_some() {
                changed.unsaved.clone_from(&self.failure);
            }
            // A reply that nobody waits for any more is no loss.
            let _ = reply.send(Ok(changed));
        }
    }
}
