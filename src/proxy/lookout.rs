//! What a read that waits for a region sees of the others to which it would go.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::health_paths::HealthPaths;
use crate::ids::RegionId;
use crate::positions::{ASK_SELDOM, Applied, Elsewhere, Vector};

/// Regions of which one may turn out to have all.
pub(super) struct Lookout<'a> {
    others: Vec<HealthPaths<'a>>,
    elsewhere: Elsewhere,
    required: &'a Vector,
}

impl<'a> Lookout<'a> {
    /// For a read that must see `required`.
    pub(super) fn new(
        applied: &Arc<Applied>,
        others: Vec<HealthPaths<'a>>,
        required: &'a Vector,
    ) -> Self {
        let names = others.iter().map(|paths| paths.name().clone());
        Self {
            elsewhere: applied.look_elsewhere(names, required),
            required,
            others,
        }
    }

    /// Waits until one of them is known to have all; which. Meanwhile those that do not tell by themselves are asked.
    pub(super) async fn found(&self) -> RegionId {
        let found = tokio::select! {
            biased;
            found = self.elsewhere.found(self.required) => found,
            never = self.ask() => match never {},
        };
        match self.others.iter().find(|paths| paths.name() == found) {
            Some(paths) => paths.region,
            None => std::future::pending().await,
        }
    }

    /// Asks each for as long as it is waited for.
    async fn ask(&self) -> Infallible {
        join_all(self.others.iter().map(|paths| self.keep_asking(paths))).await;
        std::future::pending().await
    }

    /// Asks the health paths of a region now and then, on behalf of all the reads that wait for others and would go to it.
    async fn keep_asking(&self, paths: &HealthPaths<'a>) {
        let turn = self.elsewhere.turn(paths.name()).await;
        let (Some(lane), Some(mut asked)) = (paths.lane(), turn) else {
            return;
        };
        loop {
            if let Some(last) = *asked {
                tokio::time::sleep_until(last + ASK_SELDOM).await;
            }
            *asked = Some(Instant::now());
            if lane.is_silent() {
                continue;
            }
            let untold = paths
                .targets()
                .filter(|(origin, _)| !paths.is_followed(*origin));
            let spoke = join_all(untold.map(|(origin, target)| paths.learn(origin, target))).await;
            if !spoke.is_empty() && !spoke.contains(&true) {
                lane.note_silence();
            }
        }
    }
}
