//! What traffic shows, counted where it passes: with no lock, nothing that cores share unless something fails, and
//! nothing allocated for a request.
//!
//! `control` looks several times a window, and at once when it is called because something may have to happen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::passive::{Seen, Word};
use super::target::TargetKey;
use crate::per_core::Count;

/// One origin's count. What every request adds to is its core's own; what is shared is written to by those that fail.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    good: Count,
    /// How many good ones had been looked at.
    looked_at: AtomicU64,
    failed: AtomicU32,
    in_a_row: AtomicU32,
    /// Whether there was an answer in the row of failures.
    answered: AtomicBool,
    /// Milliseconds that it asked for; 0: it did not.
    retry_after_ms: AtomicU64,
    drain_ms: AtomicU64,
    /// Since when its probes find it unhealthy, milliseconds on the steady clock; 0: they do not.
    down_since_ms: AtomicU64,
}

impl Tally {
    /// It answered.
    pub fn good(&self) {
        self.good.add(1);
        // Read first: the line is written to for good reason only.
        if self.in_a_row.load(Ordering::Relaxed) > 0 {
            self.end_row();
        }
    }

    fn end_row(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
    }

    /// It answered badly, or not in time; how many times in a row it failed by now.
    pub fn answered_badly(&self) -> u32 {
        self.answered.store(true, Ordering::Relaxed);
        self.failed()
    }

    /// Its connection failed; how many times in a row it failed by now.
    pub fn failed(&self) -> u32 {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.in_a_row
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    /// Since when its probes find it unhealthy, milliseconds on the steady clock, if they do.
    pub fn down_since_ms(&self) -> Option<u64> {
        let since = self.down_since_ms.load(Ordering::Relaxed);
        (since > 0).then_some(since)
    }

    fn probed(&self, is_down: bool, now_ms: u64) {
        let since = match (is_down, self.down_since_ms()) {
            (false, _) => 0,
            (true, Some(since)) => since,
            (true, None) => now_ms.max(1),
        };
        self.down_since_ms.store(since, Ordering::Relaxed);
    }

    /// It asked for a pause; whether that is news.
    pub fn said(&self, word: Word) -> bool {
        let (asked, length) = match word {
            Word::RetryAfter(length) => (&self.retry_after_ms, length),
            Word::Drain(length) => (&self.drain_ms, length),
        };
        let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        asked.fetch_max(ms, Ordering::Relaxed) == 0
    }

    /// What came since the last time.
    fn look(&self) -> Seen {
        let take = |asked: &AtomicU64| match asked.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(Duration::from_millis(asked.swap(0, Ordering::Relaxed))),
        };
        let good = self.good.total();
        let before = self.looked_at.swap(good, Ordering::Relaxed);
        let drain = take(&self.drain_ms).map(Word::Drain);
        let retry_after = take(&self.retry_after_ms).map(Word::RetryAfter);
        Seen {
            good: u32::try_from(good.wrapping_sub(before)).unwrap_or(u32::MAX),
            failed: self.failed.swap(0, Ordering::Relaxed),
            in_a_row: self.in_a_row.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            word: drain.or(retry_after),
        }
    }
}

/// The counts of every origin of every service, which outlive reloads.
#[derive(Debug, Default)]
pub struct Traffic {
    tallies: Mutex<HashMap<TargetKey, Arc<Tally>>>,
    bell: Notify,
}

impl Traffic {
    /// The count of a target.
    pub fn tally(&self, key: TargetKey) -> Arc<Tally> {
        self.tallies().entry(key).or_default().clone()
    }

    /// Has somebody look at once.
    pub fn call(&self) {
        self.bell.notify_one();
    }

    /// Waits for a call.
    pub async fn called(&self) {
        self.bell.notified().await;
    }

    /// What came since the last time, of those of whom there is something.
    pub fn look(&self) -> Vec<(TargetKey, Seen)> {
        let tallies = self.tallies();
        let seen = tallies.iter().map(|(key, tally)| (key, tally.look()));
        seen.filter(|(_, seen)| seen.good > 0 || seen.failed > 0 || seen.word.is_some())
            .map(|(key, seen)| (key.clone(), seen))
            .collect()
    }

    /// Takes in what a target's probes find.
    pub fn probed(&self, key: &TargetKey, is_down: bool, now_ms: u64) {
        if let Some(tally) = self.tallies().get(key) {
            tally.probed(is_down, now_ms);
        }
    }

    /// Begins a target's row of failures anew.
    pub fn forgive(&self, key: &TargetKey) {
        if let Some(tally) = self.tallies().get(key) {
            tally.end_row();
        }
    }

    /// Forgets the targets that are gone.
    pub fn retain(&self, keep: impl Fn(&TargetKey) -> bool) {
        self.tallies().retain(|key, _| keep(key));
    }

    fn tallies(&self) -> std::sync::MutexGuard<'_, HashMap<TargetKey, Arc<Tally>>> {
        // Each critical section leaves the map whole, even if it were to panic.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(good: u32, failed: u32, in_a_row: u32) -> Seen {
        Seen {
            good,
            failed,
            in_a_row,
            answered: false,
            word: None,
        }
    }

    #[test]
    fn a_good_answer_ends_a_row_of_failures_and_a_look_does_not() {
        let tally = Tally::default();
        assert_eq!([tally.failed(), tally.failed()], [1, 2]);
        assert_eq!(tally.look(), seen(0, 2, 2));
        assert_eq!(tally.failed(), 3);
        tally.good();
        assert_eq!(tally.failed(), 1);
        assert_eq!(tally.look(), seen(1, 2, 1));
    }

    #[test]
    fn an_origin_is_down_since_the_first_probe_that_found_it_so() {
        let tally = Tally::default();
        let down_since = [(true, 5), (true, 6), (false, 7), (true, 8)].map(|(is_down, now_ms)| {
            tally.probed(is_down, now_ms);
            tally.down_since_ms()
        });
        assert_eq!(down_since, [Some(5), Some(5), None, Some(8)]);
    }

    #[test]
    fn an_answer_marks_its_row_and_no_other() {
        let tally = Tally::default();
        tally.failed();
        assert!(!tally.look().answered);
        assert_eq!(tally.answered_badly(), 2);
        assert!(tally.look().answered);
        tally.good();
        tally.failed();
        assert!(!tally.look().answered);
    }

    #[test]
    fn the_longest_word_counts_once_and_a_drain_before_a_pause() {
        let tally = Tally::default();
        let secs = Duration::from_secs;
        assert!(tally.said(Word::RetryAfter(secs(9))));
        assert!(tally.said(Word::Drain(secs(5))));
        assert!(!tally.said(Word::Drain(secs(3))), "it is no news");
        assert_eq!(tally.look().word, Some(Word::Drain(secs(5))));
        assert_eq!(tally.look().word, None);
    }

    #[test]
    fn whoever_is_quiet_is_not_told_of_and_whoever_is_gone_is_forgotten() {
        let traffic = Traffic::default();
        let (api, _shop) = (traffic.tally("api".into()), traffic.tally("shop".into()));
        api.failed();
        assert_eq!(traffic.look(), [("api".into(), seen(0, 1, 1))]);
        assert_eq!(traffic.look(), []);
        traffic.forgive(&"api".into());
        api.failed();
        assert_eq!(traffic.look(), [("api".into(), seen(0, 1, 1))]);
        traffic.retain(|key| **key != *"api");
        api.failed();
        assert_eq!(traffic.look(), []);
    }
}
