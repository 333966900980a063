//! How an edge lets another process take its place.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::door::Door;
use super::handover::Successor;
use super::reload::Reloading;
use crate::disk::Claim;

/// How long a process that takes over may still take once this one has to end.
const LAST_STEPS: Duration = Duration::from_secs(5);

impl Reloading {
    /// Lets another process take this one's place, or goes on as before; whether it has. Once this one has to `end`, the
    /// other has [`LAST_STEPS`] left.
    pub(super) async fn hand_over_or_resume(
        &mut self,
        successor: Successor,
        end: impl Future<Output = ()>,
    ) -> bool {
        let too_late = async {
            end.await;
            tokio::time::sleep(LAST_STEPS).await;
        };
        let handed = tokio::select! {
            handed = self.hand_over(successor) => handed,
            () = too_late => Err(io::ErrorKind::TimedOut.into()),
        };
        match handed {
            Ok(()) => {
                self.succeeded.cancel();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "another process did not take over");
                self.serving.admin.control.resume().await;
                false
            }
        }
    }

    /// Waits for what ends this process, and lets another one take its place meanwhile.
    pub(super) async fn hand_over_beside<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = std::pin::pin!(end);
        loop {
            let successor = tokio::select! {
                biased;
                end = &mut end => return end,
                successor = knocked(&mut self.door) => successor,
            };
            let mut ended = None;
            let ends = async { ended = Some((&mut end).await) };
            self.hand_over_or_resume(successor, ends).await;
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Lets another process take this one's place: from then on nothing is accepted here. After an error all is
    /// as it was, once control resumes.
    async fn hand_over(&mut self, mut successor: Successor) -> io::Result<()> {
        tracing::info!("another process asks to take over");
        let (list, sockets) = self.listeners.duplicates()?;
        successor.give_sockets(list, sockets).await?;
        let world = self.serving.admin.control.bequeath().await;
        let state = json!({
            "key": self.source.bequeath(),
            "sticky": self.serving.proxy.bequeath_sticky(),
            "sessions": self.serving.proxy.bequeath_sessions(),
            "latency": self.sampled.bequeath().await,
            "world": world.map_err(io::Error::other)?,
        });
        let hold = self.claim.as_ref().map(Claim::duplicate).transpose()?;
        successor.give_state(&state, hold.flatten()).await?;
        self.listeners.close();
        // Its path and the folder are the successor's now: should that end, the next one need not wait for this process.
        self.door = None;
        self.claim.iter().for_each(Claim::release);
        successor.part().await;
        tracing::info!("another process took over");
        Ok(())
    }
}

pub(super) async fn knocked(door: &mut Option<Door>) -> Successor {
    match door {
        Some(door) => door.knocked().await,
        None => std::future::pending().await,
    }
}
