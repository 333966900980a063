//! A read's places beside those that wait for other regions than its own: woken by the report that shows its client's
//! writes in one of them, gone when it is dropped.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use super::applied::Applied;
use super::vector::{RegionName, Vector};

/// Regions to which a read goes that waits for another one, as soon as they are known to have what it needs.
#[derive(Debug)]
pub struct Elsewhere {
    applied: Arc<Applied>,
    places: Vec<Place>,
    woken: Arc<Notify>,
}

/// One place.
#[derive(Debug)]
struct Place {
    region: RegionName,
    id: u64,
    turn: Arc<Mutex<Option<Instant>>>,
}

impl Applied {
    /// Takes a place beside those who wait for each of these regions. Where there are too many, it is told of nothing.
    pub fn look_elsewhere(
        self: &Arc<Self>,
        regions: impl IntoIterator<Item = RegionName>,
        required: &Vector,
    ) -> Elsewhere {
        let woken = Arc::new(Notify::new());
        let mut state = self.state();
        let places = regions.into_iter().filter_map(|region| {
            let waiting = state.waiting.entry(region.clone()).or_default();
            let id = waiting.onlookers.add(required.clone(), woken.clone())?;
            let turn = waiting.onlookers_turn.clone();
            Some(Place { region, id, turn })
        });
        let places = places.collect();
        drop(state);
        Elsewhere {
            applied: self.clone(),
            places,
            woken,
        }
    }
}

impl Elsewhere {
    /// Waits until one of the regions is known to have all of `required` that any region has; which.
    pub async fn found(&self, required: &Vector) -> &RegionName {
        loop {
            if let Some(found) = self.arm(required) {
                return found;
            }
            self.woken.notified().await;
        }
    }

    /// The first region that lacks nothing, else all are watched.
    fn arm(&self, required: &Vector) -> Option<&RegionName> {
        let mut state = self.applied.state();
        for Place { region, id, .. } in &self.places {
            let Some(need) = state.region_lacks(region, required) else {
                return Some(region);
            };
            if let Some(waiting) = state.waiting.get_mut(region) {
                waiting.onlookers.arm(*id, required, need);
            }
        }
        None
    }

    /// Waits for the turn to ask one of the regions on behalf of all that look whether it has what they need. What comes
    /// with it is when it was last asked so. None: there is no place beside it.
    pub async fn turn(&self, region: &str) -> Option<OwnedMutexGuard<Option<Instant>>> {
        let place = self.places.iter().find(|place| &*place.region == region)?;
        Some(place.turn.clone().lock_owned().await)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let mut state = self.applied.state();
        for Place { region, id, .. } in &self.places {
            if let Some(waiting) = state.waiting.get_mut(region) {
                waiting.onlookers.remove(*id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    use crate::positions::Report;
    use crate::positions::fixtures::vector;

    fn report(applied: &Applied, region: &str, text: &str, (asked_at_ms, now_ms): (u64, u64)) {
        applied.report(Report {
            region: &region.into(),
            origin: "a",
            applied: &vector(text),
            asked_at_ms,
            now_ms,
        });
    }

    async fn found(elsewhere: &Elsewhere, required: &str) -> Option<String> {
        let required = vector(required);
        let found = elsewhere.found(&required);
        let found = tokio::time::timeout(Duration::from_millis(1), found).await;
        found.ok().map(ToString::to_string)
    }

    fn look(applied: &Arc<Applied>, regions: &[&str]) -> Elsewhere {
        let regions = regions.iter().map(|region| (*region).into());
        applied.look_elsewhere(regions, &vector("us=5"))
    }

    #[tokio::test(start_paused = true)]
    async fn the_region_that_tells_that_it_has_it_is_found() {
        let applied = Arc::new(Applied::default());
        let elsewhere = look(&applied, &["ap", "eu"]);
        report(&applied, "eu", "us=4", (0, 1));
        assert_eq!(found(&elsewhere, "us=5").await, None);
        report(&applied, "us", "us=5", (1, 2));
        assert_eq!(
            found(&elsewhere, "us=5").await,
            None,
            "it was not asked for"
        );
        report(&applied, "eu", "us=5", (2, 3));
        assert_eq!(found(&elsewhere, "us=5").await.as_deref(), Some("eu"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_is_woken_by_the_report_and_by_no_timer() {
        let applied = Arc::new(Applied::default());
        let (elsewhere, required) = (look(&applied, &["eu"]), vector("us=5"));
        let began = tokio::time::Instant::now();
        let (found, ()) = tokio::join!(elsewhere.found(&required), async {
            tokio::task::yield_now().await;
            report(&applied, "eu", "us=5", (0, 1));
        });
        assert_eq!((&**found, began.elapsed()), ("eu", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_report_finds_nothing() {
        let applied = Arc::new(Applied::default());
        let elsewhere = look(&applied, &["eu"]);
        report(&applied, "eu", "us=4", (10, 11));
        report(&applied, "eu", "us=5", (5, 12));
        assert_eq!(found(&elsewhere, "us=5").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_on_takes_no_place_of_those_who_wait_and_leaves_none_behind() {
        let applied = Arc::new(Applied::default());
        let elsewhere = look(&applied, &["eu"]);
        assert_eq!(found(&elsewhere, "us=5").await, None);
        assert_eq!(applied.waiting("eu"), 0);
        let on = |applied: &Applied| applied.state().waiting.get("eu").unwrap().onlookers.len();
        assert_eq!(on(&applied), 1);
        drop(elsewhere);
        assert_eq!(on(&applied), 0);
    }
}
