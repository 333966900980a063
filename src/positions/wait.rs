//! A read's place among those that wait for a region: woken by the report that shows its client's
//! writes, gone when it is dropped.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use super::applied::{Applied, lacks};
use super::vector::{RegionName, Vector};
use super::waiters::Waiters;

/// Those who wait for one region, and whose turn it is to ask it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) waiters: Waiters<Arc<Notify>>,
    turn: Arc<Mutex<Turn>>,
}

/// What whoever has the turn to ask a region knows of those before.
#[derive(Debug, Default)]
pub struct Turn {
    /// When the region was last asked with a read itself.
    pub read_at: Option<Instant>,
}

/// A read that waits for a region.
#[derive(Debug)]
pub struct Wait {
    applied: Arc<Applied>,
    region: RegionName,
    id: u64,
    woken: Arc<Notify>,
    turn: Arc<Mutex<Turn>>,
}

impl Applied {
    /// Takes a place among those who wait for `region` to show all of `required`; `None`: too many
    /// wait for it already.
    pub fn wait(self: &Arc<Self>, region: &RegionName, required: &Vector) -> Option<Wait> {
        let woken = Arc::new(Notify::new());
        let mut state = self.state();
        let waiting = state.waiting.entry(region.clone()).or_default();
        let id = waiting.waiters.add(required.clone(), woken.clone())?;
        let turn = waiting.turn.clone();
        drop(state);
        Some(Wait {
            applied: self.clone(),
            region: region.clone(),
            id,
            woken,
            turn,
        })
    }

    /// How many wait for `region`.
    pub fn waiting(&self, region: &str) -> usize {
        let state = self.state();
        state
            .waiting
            .get(region)
            .map_or(0, |waiting| waiting.waiters.len())
    }
}

impl Wait {
    /// Waits until a report shows all that is required; returns at once if one has already.
    ///
    /// A late report wakes too, although it is not believed: whoever is woken asks the region.
    pub async fn freed(&self, required: &Vector) {
        if self.arm(required) {
            self.woken.notified().await;
        }
    }

    /// Whether there is anything to wait for.
    fn arm(&self, required: &Vector) -> bool {
        let mut state = self.applied.state();
        let Some(need) = state.region_lacks(&self.region, required) else {
            return false;
        };
        if let Some(waiting) = state.waiting.get_mut(&self.region) {
            waiting.waiters.arm(self.id, need);
        }
        true
    }

    /// Waits for the turn to ask the region on behalf of all who wait for it.
    pub async fn turn(&self) -> OwnedMutexGuard<Turn> {
        self.turn.clone().lock_owned().await
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = self.applied.state();
        if let Some(waiting) = state.waiting.get_mut(&self.region) {
            waiting.waiters.remove(self.id);
        }
    }
}

impl Waiting {
    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiters.len() == 0
    }

    /// Wakes those whom a report of `region` frees.
    pub(super) fn wake(&mut self, region: &str, applied: &Vector) {
        let freed = self
            .waiters
            .freed(applied, |required| lacks(region, applied, required));
        for woken in freed {
            woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::{Report, parse_vector};

    fn vector(text: &str) -> Vector {
        parse_vector(text, VersionForm::Integer).unwrap()
    }

    fn report(applied: &Applied, text: &str, asked_at_ms: u64, now_ms: u64) {
        applied.report(Report {
            region: &"eu".into(),
            origin: "a",
            applied: &vector(text),
            asked_at_ms,
            now_ms,
        });
    }

    async fn is_freed(wait: &Wait, required: &str) -> bool {
        let required = vector(required);
        let freed = wait.freed(&required);
        tokio::time::timeout(Duration::from_millis(1), freed)
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_woken_by_the_report_that_shows_its_writes() {
        let applied = Arc::new(Applied::default());
        let wait = applied.wait(&"eu".into(), &vector("us=5")).unwrap();
        report(&applied, "us=4", 0, 1);
        assert!(!is_freed(&wait, "us=5").await);
        report(&applied, "us=5", 1, 2);
        assert!(is_freed(&wait, "us=5").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_report_wakes_although_it_is_not_believed() {
        let applied = Arc::new(Applied::default());
        let wait = applied.wait(&"eu".into(), &vector("us=5")).unwrap();
        report(&applied, "us=4", 10, 11);
        assert!(!is_freed(&wait, "us=5").await);
        report(&applied, "us=5", 5, 12);
        assert!(is_freed(&wait, "us=5").await);
        assert_eq!(applied.region("eu"), vector("us=4"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_leaves_neither_a_place_nor_the_turn_taken() {
        let applied = Arc::new(Applied::default());
        let (region, required) = ("eu".into(), vector("us=5"));
        let first = applied.wait(&region, &required).unwrap();
        let second = applied.wait(&region, &required).unwrap();
        let turn = first.turn().await;
        let never = tokio::time::timeout(Duration::from_secs(1), second.turn()).await;
        assert!(never.is_err(), "one asks at a time");
        drop((turn, first));
        second.turn().await;
        assert_eq!(applied.waiting("eu"), 1);
    }
}
