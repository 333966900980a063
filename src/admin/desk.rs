//! Answers those who ask for the status: each with one that was made after they asked, made once for all who wait.
//!
//! However many ask, it is made at most every [`APART`]. Who asks alone is answered at once.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use super::state::AdminState;
use super::status::status;
use crate::control::Closed;

/// Between two renderings: 20 a second, and who waits does not notice.
const APART: Duration = Duration::from_millis(50);

/// Who may wait at once; whoever comes then waits to wait.
const WAITING: usize = 4_096;

type Reply = oneshot::Sender<Result<Arc<Rendered>, Closed>>;

/// A status.
pub(super) struct Rendered {
    pub(super) value: Value,
    pub(super) json: Bytes,
}

/// Where to ask for the status.
#[derive(Clone)]
pub(super) struct Desk(mpsc::Sender<Reply>);

impl Desk {
    /// Opens it; it closes when nobody can ask any more.
    pub(super) fn open(state: Arc<AdminState>, tasks: &TaskTracker) -> Self {
        let (desk, asked) = Self::new();
        tasks.spawn(answer(state, asked));
        desk
    }

    fn new() -> (Self, mpsc::Receiver<Reply>) {
        let (desk, asked) = mpsc::channel(WAITING);
        (Self(desk), asked)
    }

    /// The status as it is now.
    pub(super) async fn status(&self) -> Result<Arc<Rendered>, Closed> {
        let (reply, rendered) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| Closed)?;
        rendered.await.map_err(|_| Closed)?
    }
}

async fn answer(state: Arc<AdminState>, mut asked: mpsc::Receiver<Reply>) {
    let renderings = metrics::counter!("meridian_admin_status_renderings_total");
    let mut waiting = Vec::new();
    let mut next = Instant::now();
    while asked.recv_many(&mut waiting, WAITING).await > 0 {
        tokio::time::sleep_until(next).await;
        while let Ok(reply) = asked.try_recv() {
            waiting.push(reply);
        }
        next = Instant::now() + APART;
        let rendered = render(&state).await;
        renderings.increment(1);
        for reply in waiting.drain(..) {
            // Whoever has gone needs none.
            let _ = reply.send(rendered.clone());
        }
    }
}

async fn render(state: &AdminState) -> Result<Arc<Rendered>, Closed> {
    let world = state.control.status().await?;
    let value = status(state, &world);
    let json = Bytes::from(value.to_string());
    Ok(Arc::new(Rendered { value, json }))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::poll;
    use tokio::task::unconstrained;

    use super::*;

    #[tokio::test]
    async fn so_many_wait_for_a_status_and_others_wait_to_wait() {
        let (desk, mut asked) = Desk::new();
        let mut askers: Vec<Pin<Box<_>>> = Vec::new();
        for _ in 0..=4_096 {
            let mut asker = Box::pin(unconstrained(desk.status()));
            assert!(poll!(&mut asker).is_pending());
            askers.push(asker);
        }
        assert_eq!(asked.len(), 4_096);
        let mut last = askers.pop().unwrap();
        asked.recv().await.unwrap();
        assert!(poll!(&mut last).is_pending());
        assert_eq!(asked.len(), 4_096, "there was room for the last one now");
    }
}
