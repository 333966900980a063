//! When the writer tells of a new snapshot, of events, and when it saves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Writer;
use crate::clock;
use crate::control::events::{Event, Kind};
use crate::control::store::{SetAside, StoreError, remember};
use crate::control::told;
use crate::control::trouble::Trouble;
use crate::steering::{Edge, Snapshot};

/// A round trip is published anew when it moved by this many ms and this share.
const MOVED_MS: f64 = 2.0;
const MOVED_SHARE: f64 = 0.2;

/// Positions alone are saved this often: they change with every write, and saving waits for the disk.
const POSITIONS_EVERY: Duration = Duration::from_secs(10);

impl Writer {
    pub(super) fn record(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.events.record(event);
        }
    }

    /// Publishes a snapshot if it says anything new.
    pub(super) fn publish(&mut self) {
        let now_ms = self.unix_ms();
        let (snapshot, events) = self.world.snapshot(now_ms);
        self.record(events);
        if self
            .published
            .as_ref()
            .is_some_and(|last| says_the_same(last, &snapshot))
        {
            return;
        }
        let snapshot = Arc::new(snapshot);
        self.published = Some(snapshot.clone());
        self.retired.keep((self.publish)(snapshot));
    }

    /// Has what was told since the last save saved with the next.
    pub(super) fn note_told(&mut self) {
        self.unsaved |= self.saving.is_possible() && self.events.last_id() != self.told;
    }

    pub(super) fn save(&mut self) {
        if self.is_bequeathed || !self.saving.is_ready() || !self.unsaved {
            return;
        }
        let due = Instant::now() + POSITIONS_EVERY;
        self.positions_saved = (self.world.position_changes(), due);
        let state = self.remember();
        self.saving.begin(state);
        self.unsaved = false;
    }

    fn remember(&mut self) -> Value {
        let now = self.now();
        let mut state = remember(&self.world, now);
        self.told = self.events.last_id();
        told::remember(&mut state, &self.events);
        state
    }

    /// What comes of news of the save under way.
    pub(super) fn saved(&mut self, news: Result<Duration, StoreError>) {
        if let Ok(wait) = news {
            self.save_from = Instant::now() + wait;
        }
        self.unsaved |= news.is_err();
        self.tell_of_saving(news.err().map(|error| error.to_string()));
        if let Some(reply) = self.heir.take() {
            self.bequeath_to(reply);
        } else if self.saving.is_awaited() {
            self.save();
        }
    }

    /// Saves what is known at the end, after what is being saved now.
    pub(super) async fn save_at_the_end(&mut self) {
        self.unsaved = true;
        self.wait_for_save().await;
        self.save();
        self.wait_for_save().await;
    }

    async fn wait_for_save(&mut self) {
        if self.saving.is_under_way() {
            let news = self.saving.news().await;
            self.saved(news);
        }
    }

    /// Tells once that drains and the rest would not outlive the process, and once that they would again.
    fn tell_of_saving(&mut self, failure: Option<String>) {
        let is_failing = failure.is_some();
        let message = match &failure {
            Some(error) => format!(
                "drains, forced states and health would not outlive a restart: {error}; it is tried again every second"
            ),
            None => "drains, forced states and health are saved again".to_owned(),
        };
        self.saving.note(failure);
        let trouble = is_failing.then(|| message.clone());
        if self.troubles.note(Trouble::StateUnsaved, trouble) {
            let event = Event::new(Kind::State, clock::unix_ms(), message);
            self.record([event.warning_if(is_failing)]);
        }
    }

    /// Tells that what was kept by the process before could not be read.
    pub(super) fn tell_of_set_aside(&self, why: Option<SetAside>) {
        let Some(why) = why else { return };
        let message = format!("starting without drains, forced states and health of before: {why}");
        self.troubles
            .note(Trouble::StateSetAside, Some(message.clone()));
        let event = Event::new(Kind::State, clock::unix_ms(), message);
        self.record([event.warning_if(true)]);
    }
}

/// Whether publishing again would tell nobody anything.
pub(in crate::control) fn says_the_same(last: &Snapshot, new: &Snapshot) -> bool {
    last.generation == new.generation
        && Arc::ptr_eq(&last.clients, &new.clients)
        && last.services == new.services
        && near(&last.edge, &new.edge)
}

fn near(last: &Edge, new: &Edge) -> bool {
    let moved = |last: Option<f64>, new: Option<f64>| match (last, new) {
        (Some(last), Some(new)) => {
            let by = (last - new).abs();
            by > MOVED_MS && by > last * MOVED_SHARE
        }
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    };
    last.by_round_trip == new.by_round_trip
        && last.by_distance == new.by_distance
        && last
            .round_trips
            .values()
            .zip(new.round_trips.values())
            .all(|(last, new)| !moved(last.ms(), new.ms()))
}
