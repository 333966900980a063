//! A read's place among those that wait for a region: woken by the report that shows its client's
//! writes, gone when it is dropped.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use super::applied::{Applied, State};
use super::vector::{Position, RegionName, Vector};
use super::waiters::{Need, Waiters};

/// Those who wait for one region, and whose turn it is to ask it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) waiters: Waiters<Arc<Notify>>,
    /// Those who wait for another one, and would go to this.
    pub(super) onlookers: Waiters<Arc<Notify>>,
    /// Whose turn it is to ask it on their behalf, and when that was done last.
    pub(super) onlookers_turn: Arc<Mutex<Option<Instant>>>,
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
    /// Waits until a report shows all that is required by now, or that no region has it any more; returns at
    /// once if one has already.
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
            waiting.waiters.arm(self.id, required, need);
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
        self.waiters.len() == 0 && self.onlookers.len() == 0
    }

    fn wake(freed: Vec<Arc<Notify>>) {
        for woken in freed {
            woken.notify_one();
        }
    }
}

impl State {
    /// Wakes those who need no more of a region than a write that it has acknowledged shows.
    pub(super) fn wake_by_acknowledgement(&mut self, region: &RegionName, position: Position) {
        if self.waiting.get(region).is_none_or(Waiting::is_idle) {
            return;
        }
        let mut acknowledged = Vector::default();
        acknowledged.set(region, position);
        let mut waiting = std::mem::take(&mut self.waiting);
        if let Some(here) = waiting.get_mut(region) {
            let lacks = |required: &Vector| self.region_lacks(region, required);
            Waiting::wake(here.waiters.freed(&acknowledged, lacks));
            Waiting::wake(here.onlookers.freed(&acknowledged, lacks));
        }
        self.waiting = waiting;
    }

    /// Wakes those who need no more since it has changed who there is.
    pub(super) fn wake_by_change(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for (region, there) in &mut waiting {
            let lacks = |required: &Vector| self.region_lacks(region, required);
            Waiting::wake(there.waiters.freed_by_change(lacks));
            Waiting::wake(there.onlookers.freed_by_change(lacks));
        }
        self.waiting = waiting;
    }

    /// Wakes those whom a report of `region` frees: those who wait for it, and those who wait anywhere for
    /// something of an epoch that its writer has left, since any report may tell what became of that.
    pub(super) fn wake(&mut self, region: &RegionName, applied: &Vector) {
        if self.waiting.values().all(Waiting::is_idle) {
            return;
        }
        // Put aside, so that what is known can be asked while it is gone through.
        let mut waiting = std::mem::take(&mut self.waiting);
        if let Some(here) = waiting.get_mut(region) {
            let lacks = |required: &Vector| self.lacks(region, applied, required);
            Waiting::wake(here.waiters.freed(applied, lacks));
            let lacks = |required: &Vector| self.region_lacks(region, required);
            Waiting::wake(here.onlookers.freed(applied, lacks));
            if !self.has_replicas(region) && !self.denies(region) {
                // Of its own log it counts as having all, whatever it said before.
                Waiting::wake(here.waiters.freed_of(region, lacks));
                Waiting::wake(here.onlookers.freed_of(region, lacks));
            }
        }
        for (region, there) in &mut waiting {
            let lacks = |required: &Vector| -> Option<Need> { self.region_lacks(region, required) };
            for (writer, (epoch, _)) in &self.newest {
                Waiting::wake(there.waiters.freed_by_epoch(writer, *epoch, lacks));
                Waiting::wake(there.onlookers.freed_by_epoch(writer, *epoch, lacks));
            }
        }
        self.waiting = waiting;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    use crate::positions::fixtures::vector;
    use crate::positions::{Membership, Report};

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
    async fn between_the_report_and_the_waking_there_is_no_timer() {
        let applied = Arc::new(Applied::default());
        let required = vector("us=5");
        let waits: Vec<_> = (0..100)
            .map(|_| applied.wait(&"eu".into(), &required).unwrap())
            .collect();
        let freed = waits.iter().map(|wait| wait.freed(&required));
        let freed = futures_util::future::join_all(freed);
        let began = tokio::time::Instant::now();
        let ((), ()) = tokio::join!(async { drop(freed.await) }, async {
            tokio::task::yield_now().await;
            report(&applied, "us=5", 0, 1);
        });
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_false_acknowledgement_is_woken_once_that_is_known() {
        let applied = Arc::new(Applied::default());
        let eu = "eu".into();
        let acknowledges = |seq, now_ms| {
            let position = Position { epoch: 0, seq };
            applied.acknowledged(&eu, "a", position, now_ms);
        };
        report(&applied, "eu=4", 0, 1);
        acknowledges(1_000, 10);
        report(&applied, "eu=4", 11, 12);
        let required = vector("eu=1000");
        let wait = applied.wait(&eu, &required).unwrap();
        assert!(!is_freed(&wait, "eu=1000").await);
        let began = tokio::time::Instant::now();
        let ((), ()) = tokio::join!(wait.freed(&required), async {
            tokio::task::yield_now().await;
            acknowledges(5, 6_000);
            report(&applied, "eu=5", 6_001, 6_002);
        });
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_one_of_two_origins_is_woken_when_the_other_is_removed() {
        let applied = Arc::new(Applied::default());
        let with = |origins: &[&str]| {
            let origins = origins.iter().map(|origin| (*origin).into()).collect();
            let members = Membership {
                regions: [("eu".into(), origins)].into(),
                ttl: Duration::from_secs(300),
            };
            applied.adopt(members, None);
        };
        with(&["a", "b"]);
        report(&applied, "eu=4", 0, 1);
        let required = vector("eu=5");
        let wait = applied.wait(&"eu".into(), &required).unwrap();
        assert!(!is_freed(&wait, "eu=5").await);
        let began = tokio::time::Instant::now();
        let ((), ()) = tokio::join!(wait.freed(&required), async {
            tokio::task::yield_now().await;
            with(&["a"]);
        });
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_in_doubt_whether_a_silent_region_lost_its_writes_is_woken_by_a_later_acknowledgement()
     {
        let applied = domain();
        report(&applied, "eu=21", 0, 1);
        assert!(applied.answers_for("eu", "a", &vector("eu=21"), 2));
        let required = vector("eu=30");
        let wait = applied.wait(&"eu".into(), &required).unwrap();
        let elsewhere = applied.look_elsewhere(["eu".into()], &required);
        assert!(!is_freed(&wait, "eu=30").await);
        let acknowledge = async {
            tokio::task::yield_now().await;
            applied.acknowledged(&"eu".into(), "a", Position { epoch: 0, seq: 32 }, 3);
        };
        let woken = async {
            tokio::join!(
                wait.freed(&required),
                elsewhere.found(&required),
                acknowledge
            )
        };
        let woken = tokio::time::timeout(Duration::from_millis(1), woken).await;
        assert_eq!(&**woken.unwrap().1, "eu");
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

    fn domain() -> Arc<Applied> {
        let applied = Arc::new(Applied::default());
        let regions = ["eu", "us"].map(|region| (region.into(), vec!["a".into()]));
        let members = Membership {
            regions: regions.into(),
            ttl: Duration::from_secs(300),
        };
        applied.adopt(members, None);
        applied
    }

    fn says(applied: &Applied, region: &str, text: &str, now_ms: u64) {
        applied.report(Report {
            region: &region.into(),
            origin: "a",
            applied: &vector(text),
            asked_at_ms: now_ms,
            now_ms,
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_woken_by_another_epoch_only_if_that_includes_its_writes() {
        let applied = domain();
        let (kept, past) = (vector("us=3:975"), vector("us=3:976"));
        let kept = applied.wait(&"eu".into(), &kept).unwrap();
        let past = applied.wait(&"eu".into(), &past).unwrap();
        assert!(!is_freed(&kept, "us=3:975").await && !is_freed(&past, "us=3:976").await);
        says(&applied, "eu", "us=4:1@3:975", 1);
        assert!(is_freed(&kept, "us=3:975").await);
        assert!(!is_freed(&past, "us=3:976").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_woken_when_the_writer_tells_that_the_new_epoch_includes_its_writes() {
        let applied = domain();
        says(&applied, "eu", "us=4:1", 1);
        let wait = applied.wait(&"eu".into(), &vector("us=3:975")).unwrap();
        assert!(!is_freed(&wait, "us=3:975").await);
        says(&applied, "us", "us=4:1@3:975", 2);
        assert!(is_freed(&wait, "us=3:975").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_woken_when_what_it_waits_for_turns_out_to_be_lost() {
        let applied = domain();
        says(&applied, "eu", "us=3:970", 1);
        let wait = applied.wait(&"eu".into(), &vector("us=3:980")).unwrap();
        says(&applied, "us", "us=4:1@3:975", 10);
        assert!(!is_freed(&wait, "us=3:980").await, "eu may have it yet");
        says(&applied, "eu", "us=3:970", 11);
        assert!(
            !is_freed(&wait, "us=3:980").await,
            "what was before the fork is not there"
        );
        says(&applied, "eu", "us=3:975", 12);
        assert!(is_freed(&wait, "us=3:980").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_woken_when_its_region_has_after_all_what_seemed_to_be_lost() {
        let applied = domain();
        says(&applied, "us", "us=1:0", 10);
        says(&applied, "eu", "us=1", 11);
        let wait = applied.wait(&"eu".into(), &vector("us=6")).unwrap();
        assert!(!is_freed(&wait, "us=6").await, "lost, and no new epoch yet");
        says(&applied, "eu", "us=6", 12);
        assert!(is_freed(&wait, "us=6").await);
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
