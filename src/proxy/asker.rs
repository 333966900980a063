//! Asking a region whether it has caught up, on behalf of all the reads that wait for it.
//!
//! One of them has the turn: it asks the region's health paths, one probe at a time of each origin, and
//! what they say reaches all who wait. If the health paths say nothing, it asks with its own read,
//! whose answer tells the others. Whoever has the turn and leaves passes it on.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::health_paths::HealthPaths;
use crate::health::Target;
use crate::ids::OriginId;
use crate::positions::{ASK_EVERY, ASK_SELDOM, Asking, Old, Probed, Turn, Wait};

/// One waiting read, on its turn.
pub(super) struct Asker<'a> {
    pub(super) paths: HealthPaths<'a>,
    /// What its own last answer told.
    pub(super) last: Old,
    /// When it asked for that.
    pub(super) began: Instant,
}

/// Why the health paths are not asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// They say nothing of positions.
    Silent,
    /// It is time to ask with the read itself.
    OwnRead,
}

impl Asker<'_> {
    /// Returns when this read is to ask the region itself; with the turn, unless there is nothing to
    /// share: nobody learns from another's answer.
    pub(super) async fn ask(&self, wait: &Wait) -> Option<OwnedMutexGuard<Turn>> {
        let lane = self.paths.lane()?;
        if self.last.asking(lane.is_silent()) == Asking::Alone {
            tokio::time::sleep_until(self.began + ASK_EVERY).await;
            return None;
        }
        let mut turn = wait.turn().await;
        let before = turn.read_at.map_or(self.began, |read| read.max(self.began));
        // Whoever had the turn before may have learned that they are silent.
        let probes = self.last.asking(lane.is_silent()) == Asking::Probes;
        if probes && self.ask_health_paths(before).await == Ended::Silent {
            lane.note_silence();
        }
        tokio::time::sleep_until(before + ASK_EVERY).await;
        turn.read_at = Some(Instant::now());
        Some(turn)
    }

    /// Asks every origin again and again. `before` is when the region was last asked with a read.
    async fn ask_health_paths(&self, before: Instant) -> Ended {
        let targets = self.paths.targets();
        let mut asking: FuturesUnordered<_> = targets
            .map(|(origin, target)| self.ask_health_path(origin, target, before))
            .collect();
        while let Some(ended) = asking.next().await {
            if ended == Ended::OwnRead {
                return ended;
            }
        }
        Ended::Silent
    }

    async fn ask_health_path(&self, origin: OriginId, target: &Target, before: Instant) -> Ended {
        loop {
            let began = Instant::now();
            let spoke = tokio::select! {
                biased;
                spoke = self.paths.learn(origin, target) => spoke,
                () = self.own_read_is_due(before.max(began)) => return Ended::OwnRead,
            };
            let is_followed = self.paths.is_followed(origin);
            match self.last.probed(spoke, before.elapsed(), is_followed) {
                Probed::Silent => return Ended::Silent,
                Probed::OwnRead => return Ended::OwnRead,
                Probed::Again(pause) => tokio::time::sleep_until(began + pause).await,
            }
        }
    }

    /// A health path that hangs holds up nobody: the read itself asks meanwhile, if its answers tell more than nothing.
    async fn own_read_is_due(&self, since: Instant) {
        if self.last.is_not_yet || self.last.tells {
            tokio::time::sleep_until(since + ASK_SELDOM + self.way()).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// What a probe takes on its way: to connect, for TLS, for the request, and once more for what is not as usual.
    fn way(&self) -> Duration {
        let round_trips = &self.paths.live.snapshot.edge.round_trips;
        let ms = round_trips.of(self.paths.region).ms().unwrap_or(0.0);
        Duration::try_from_secs_f64(4.0 * ms / 1_000.0).unwrap_or_default()
    }
}
