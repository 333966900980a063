//! What happened, in order: kept for a while, and told to whoever follows.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::terminal;

/// How many events are kept for those who come later.
const KEPT: usize = 1_024;

/// How many of them tell of refused calls: a flood of those must not push out what happened.
const KEPT_REFUSALS: usize = 128;

/// How many tell of what operators did: a program that drains and undoes without end must not push out what happened.
const KEPT_ACTS: usize = 512;

/// How many events a slow follower may fall behind before it misses some.
const FOLLOWER_QUEUE: usize = 256;

/// How many numbers are left out behind those of an earlier process: it may have told more than it has saved, and who has heard that
/// must not take what comes now for it.
const UNSAVED: u64 = 1 << 20;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A target or region changed its state.
    Health,
    /// A reload, or the failure of one.
    Reload,
    /// A drain, its end, or the refusal of one.
    Drain,
    /// An operator forced a region up or down, or no longer does.
    Forced,
    /// What somebody did by the admin API, or was refused.
    Audit,
    /// A region's positions ran backwards or fell behind.
    Position,
    /// The edge's own state cannot be kept over a restart, or can be again.
    State,
}

impl Kind {
    /// All there are.
    pub(in crate::control) const ALL: [Self; 7] = [
        Self::Health,
        Self::Reload,
        Self::Drain,
        Self::Forced,
        Self::Audit,
        Self::Position,
        Self::State,
    ];

    /// The one that the API calls so.
    pub(in crate::control) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// As the API calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Reload => "reload",
            Self::Drain => "drain",
            Self::Forced => "forced",
            Self::Audit => "audit",
            Self::Position => "position",
            Self::State => "state",
        }
    }
}

/// How loud the log is about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// It is as it should be, or somebody wanted it.
    Note,
    /// Somebody should look.
    Warning,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Greater than that of every event before, of earlier processes too: it begins with the time in milliseconds since 1970.
    pub id: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What it is about.
    pub kind: Kind,
    /// The region, if it is about one.
    pub region: Option<String>,
    /// The service, if it is about one.
    pub service: Option<String>,
    /// What happened and why, in a sentence.
    pub message: String,
    /// How loud the log is about it.
    pub gravity: Gravity,
    /// Whether it tells of a refused call, which whoever reaches the admin can cause.
    pub is_refusal: bool,
}

impl Event {
    /// A note of what concerns no region and no service alone.
    pub fn new(kind: Kind, at_ms: u64, message: String) -> Self {
        Self {
            id: 0,
            at_ms,
            kind,
            region: None,
            service: None,
            message,
            gravity: Gravity::Note,
            is_refusal: false,
        }
    }

    /// The same of a refused call.
    pub(in crate::control) fn refusal(self) -> Self {
        Self {
            is_refusal: true,
            ..self
        }
    }

    /// The same as a warning, if `is_bad`.
    pub(in crate::control) fn warning_if(self, is_bad: bool) -> Self {
        let gravity = if is_bad {
            Gravity::Warning
        } else {
            self.gravity
        };
        Self { gravity, ..self }
    }

    fn is_act(&self) -> bool {
        matches!(self.kind, Kind::Audit | Kind::Drain | Kind::Forced) && !self.is_refusal
    }

    /// Writes it to the process's log.
    fn log(&self) {
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    kind = self.kind.as_str(),
                    region = self.region,
                    service = self.service,
                    "{}",
                    self.message
                )
            };
        }
        match self.gravity {
            Gravity::Note => log!(info),
            Gravity::Warning => log!(warn),
        }
    }
}

/// The events of this process, and of those before as far as they are remembered.
#[derive(Debug)]
pub struct EventLog {
    /// The least number that the next one may have.
    first: AtomicU64,
    kept: Mutex<VecDeque<Event>>,
    followers: broadcast::Sender<Event>,
}

impl EventLog {
    /// Of a process that begins now, in milliseconds since 1970: what its events are numbered from.
    pub fn new(now_ms: u64) -> Self {
        Self {
            first: AtomicU64::new(now_ms),
            kept: Mutex::default(),
            followers: broadcast::Sender::new(FOLLOWER_QUEUE),
        }
    }

    /// Records an event and tells the followers; numbers it.
    pub fn record(&self, event: Event) {
        self.number(event);
    }

    /// The same; its id.
    pub(in crate::control) fn number(&self, mut event: Event) -> u64 {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.next_id(&kept);
        event.id = id;
        // It may quote what somebody sent, and is shown on terminals and to all who watch.
        if let Cow::Owned(message) = terminal::in_a_line(&event.message) {
            event.message = message;
        }
        event.log();
        make_room(&mut kept, &event);
        kept.push_back(event.clone());
        // Sent under the lock, so that a follower sees each event once: kept or sent, never both.
        // An error only says that nobody follows.
        let _ = self.followers.send(event);
        id
    }

    fn next_id(&self, kept: &VecDeque<Event>) -> u64 {
        let first = self.first.load(Ordering::Relaxed);
        let next = kept.back().map(|last| last.id.saturating_add(1));
        next.map_or(first, |next| next.max(first))
    }

    /// Goes on behind what earlier processes told, before anybody follows.
    pub(in crate::control) fn resume(&self, told: Vec<Event>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let began = std::mem::take(&mut *kept);
        kept.extend(told);
        let behind = kept.back().map(|last| last.id.saturating_add(UNSAVED));
        self.first.fetch_max(behind.unwrap_or(0), Ordering::Relaxed);
        for mut event in began {
            event.id = self.next_id(&kept);
            kept.push_back(event);
        }
        let too_many = kept.len().saturating_sub(KEPT);
        kept.drain(..too_many);
    }

    /// The number of the last event; 0: none.
    pub(in crate::control) fn last_id(&self) -> u64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.back().map_or(0, |last| last.id)
    }

    /// The events after `since` that are still kept, and those to come.
    pub fn follow(&self, since: u64) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // An id is ahead of all where the clock was set back: whoever has it has seen none of these.
        let last = kept.back().map_or(0, |last| last.id);
        let since = if since > last { 0 } else { since };
        let past = kept
            .iter()
            .filter(|event| event.id > since)
            .cloned()
            .collect();
        (past, self.followers.subscribe())
    }
}

/// Makes room for one more event: among those of its sort, if these have their share, else by the oldest.
fn make_room(kept: &mut VecDeque<Event>, event: &Event) {
    let (is_alike, most): (fn(&Event) -> bool, usize) = if event.is_refusal {
        (|event| event.is_refusal, KEPT_REFUSALS)
    } else if event.is_act() {
        (Event::is_act, KEPT_ACTS)
    } else {
        (|_| true, KEPT)
    };
    let mut alike = kept.iter().enumerate().filter(|(_, event)| is_alike(event));
    let oldest = alike.next().map(|(at, _)| at);
    if alike.count() + 1 >= most
        && let Some(at) = oldest
    {
        kept.remove(at);
    } else if kept.len() == KEPT {
        kept.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        Event::new(Kind::Reload, 0, message.to_owned())
    }

    #[test]
    fn a_follower_sees_what_came_after_and_what_comes_next() {
        let log = EventLog::new(1);
        log.record(event("one"));
        log.record(event("two"));
        let (past, mut next) = log.follow(1);
        assert_eq!(past.iter().map(|e| e.id).collect::<Vec<_>>(), [2]);
        log.record(event("three"));
        assert_eq!(next.try_recv().unwrap().id, 3);
        assert!(next.try_recv().is_err());
    }

    #[test]
    fn an_event_is_one_line_whatever_it_quotes() {
        let log = EventLog::new(1);
        log.record(event("`a\n\u{1b}[8m\u{202e}b` is unknown"));
        let (past, _) = log.follow(0);
        assert_eq!(past[0].message, "`a\\u000a\\u001b[8m\\u202eb` is unknown");
    }

    #[test]
    fn whoever_was_there_before_a_restart_hears_all_that_came_after_it() {
        let before = EventLog::new(1_000);
        (0..10).for_each(|_| before.record(event("before")));
        let (past, _) = before.follow(0);
        let seen = past.last().unwrap().id;
        let after = EventLog::new(2_000);
        (0..20).for_each(|_| after.record(event("after")));
        assert_eq!(after.follow(seen).0.len(), 20);
        let set_back = EventLog::new(500);
        set_back.record(event("after"));
        assert_eq!(set_back.follow(seen).0.len(), 1);
    }

    #[test]
    fn the_oldest_event_goes_when_the_log_is_full() {
        let log = EventLog::new(1);
        for _ in 0..=KEPT {
            log.record(event("again"));
        }
        let (past, _) = log.follow(0);
        assert_eq!((past.len(), past[0].id), (KEPT, 2));
    }

    #[test]
    fn a_flood_of_refusals_pushes_out_refusals_alone() {
        let log = EventLog::new(1);
        (0..10).for_each(|_| log.record(event("done")));
        let refused = || event("refused").refusal();
        (0..2 * KEPT).for_each(|_| log.record(refused()));
        let kept = || {
            let (past, _) = log.follow(0);
            let refused = past.iter().filter(|event| event.is_refusal).count();
            (past.len() - refused, refused)
        };
        assert_eq!(kept(), (10, KEPT_REFUSALS));
        (0..KEPT - 20).for_each(|_| log.record(event("done")));
        log.record(refused());
        assert_eq!(kept(), (KEPT - 20, 20), "the oldest go, whatever they are");
    }

    #[test]
    fn a_flood_of_acts_pushes_out_acts_alone() {
        let log = EventLog::new(1);
        (0..10).for_each(|_| log.record(event("happened")));
        for kind in [Kind::Drain, Kind::Audit].repeat(KEPT) {
            log.record(Event::new(kind, 0, "done".to_owned()));
        }
        (0..KEPT).for_each(|_| log.record(event("refused").refusal()));
        let (past, _) = log.follow(0);
        let kept = |message: &str| past.iter().filter(|event| event.message == message).count();
        let all = (kept("happened"), kept("done"), kept("refused"));
        assert_eq!(all, (10, KEPT_ACTS, KEPT_REFUSALS));
    }

    #[test]
    fn a_follower_may_be_256_events_behind_and_no_more() {
        let log = EventLog::new(1);
        let (_, mut next) = log.follow(0);
        let (_, mut slower) = log.follow(0);
        (0..256).for_each(|_| log.record(event("x")));
        assert_eq!(next.try_recv().unwrap().id, 1);
        log.record(event("one more"));
        assert_eq!(next.try_recv().unwrap().id, 2);
        assert!(matches!(
            slower.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(1))
        ));
    }
}
