//! Regions tell edges of their positions beside answers: on health checks, by pushes and by long polls.

use super::{Event, Run};
use crate::positions::Vector;
use crate::simulator::edge::{At, Heard};
use crate::simulator::terms::NAMES;

/// How long a region holds a long poll, ms.
const HELD_FOR_MS: u64 = 2_000;

/// When an edge asks again that got no answer to a long poll, ms.
const ASKED_AGAIN_MS: u64 = 2_500;

/// A long poll.
#[derive(Clone, Debug)]
pub(super) struct Poll {
    pub(super) edge: usize,
    at: At,
    after: Vector,
    asked_at_ms: u64,
    life: u64,
}

impl Run {
    /// Something that an origin said reaches an edge; its process may be another one by now.
    pub(super) fn hears(&mut self, edge: usize, at: At, heard: &Heard) {
        let known = &self.edges[edge];
        let is_of_another_life = heard.asked_at_ms.is_some_and(|asked| !known.asked(asked));
        if known.knows(at) && !is_of_another_life {
            self.takes_in(edge, at, heard);
        }
    }

    /// An edge takes in what an origin said.
    pub(super) fn takes_in(&mut self, edge: usize, at: At, heard: &Heard) {
        self.edges[edge].hear(at, heard, self.now_ms);
        self.check_those_who_have_all(edge);
        self.tell(|| {
            let (said, said_at_ms) = (&heard.said, heard.said_at_ms);
            let number = heard.sequence.map(|sequence| sequence.to_string());
            let how = heard.asked_at_ms.map_or_else(
                || format!("unasked, number {number:?}"),
                |ms| format!("asked at {ms}"),
            );
            format!(
                "edge {edge} hears {}.{}: [{said}] of {said_at_ms}, {how}",
                NAMES[at.0], at.1
            )
        });
    }

    pub(super) fn probe(&mut self, edge: usize, at: At) {
        if self.is_over() || !self.edges[edge].knows(at) {
            return;
        }
        self.after(1_000, Event::Probe { edge, at });
        let is_healthy = self.reaches(edge, at.0);
        self.edges[edge].set_health(at.0, is_healthy);
        self.ask_health_path(edge, at);
    }

    /// Asks an origin's health path; whether it will say anything of positions.
    pub(super) fn ask_health_path(&mut self, edge: usize, at: At) -> bool {
        let is_asked = self.edges[edge].knows(at) && self.reaches(edge, at.0);
        let speaks = is_asked && self.store.regions[at.0].speech.probes;
        if speaks {
            let asked_at_ms = Some(self.now_ms);
            self.says(edge, at, asked_at_ms);
        }
        speaks
    }

    /// What an origin says now reaches an edge after a while.
    fn says(&mut self, edge: usize, at: At, asked_at_ms: Option<u64>) {
        let is_push = asked_at_ms.is_none();
        let heard = Heard {
            said: self.store.regions[at.0].applied(at.1),
            asked_at_ms,
            sequence: is_push.then(|| self.pushers.next(at.0)).flatten(),
            said_at_ms: self.now_ms,
        };
        let times = if self.random.chance(8) { 2 } else { 1 };
        for _ in 0..times {
            let mut way = self.way();
            if is_push && self.random.chance(20) {
                way = self.random.between(1, 5_000);
            }
            let heard = Box::new(heard.clone());
            self.after(way, Event::Hears { edge, at, heard });
        }
    }

    pub(super) fn push(&mut self, edge: usize, at: At) {
        let region = &self.store.regions[at.0];
        if self.is_over() || !region.speech.pushes || !self.edges[edge].knows(at) {
            return;
        }
        if self.reaches(edge, at.0) && !self.random.chance(10) {
            self.says(edge, at, None);
        }
        let next = self.random.between(100, 1_500);
        self.after(next, Event::Push { edge, at });
    }

    /// An edge sends its next long poll; `life` is the process of which it is one.
    pub(super) fn poll(&mut self, edge: usize, at: At, life: u64) {
        let speaks = self.edges[edge].knows(at) && self.store.regions[at.0].speech.polls;
        if self.is_over() || !speaks || !self.is_alive(edge, life) {
            return;
        }
        let known = &self.edges[edge];
        let origin = known.origin(at.0, at.1);
        let poll = Poll {
            edge,
            at,
            after: known.applied().origin(NAMES[at.0], &origin),
            asked_at_ms: self.now_ms,
            life,
        };
        let is_lost = !self.reaches(edge, at.0) || self.random.chance(5);
        known.applied().set_followed(NAMES[at.0], &origin, !is_lost);
        if is_lost {
            return self.after(ASKED_AGAIN_MS, Event::Polls { edge, at, life });
        }
        let way = self.way();
        self.after(way, Event::Polled(Box::new(poll.clone())));
        self.after(way + HELD_FOR_MS, Event::Lapses(Box::new(poll)));
    }

    /// Nobody polls any more whom no edge asks.
    pub(super) fn stop_polls(&mut self) {
        let store = &self.store;
        self.polls.retain(|poll| store.is_asked(poll.at));
    }

    fn is_alive(&self, edge: usize, life: u64) -> bool {
        self.edges[edge].began_ms() == life
    }

    /// Regions answer long polls as soon as there is news.
    pub(super) fn answer_polls(&mut self) {
        if !self.changes {
            return;
        }
        let regions = &self.store.regions;
        let has_news = |poll: &Poll| {
            let applied = regions[poll.at.0].applied(poll.at.1);
            !applied.iter().eq(poll.after.iter())
        };
        let mut at = 0;
        let mut due = Vec::new();
        while let Some(poll) = self.polls.get(at) {
            if has_news(poll) {
                due.push(self.polls.swap_remove(at));
            } else {
                at += 1;
            }
        }
        due.into_iter().for_each(|poll| self.answer_poll(&poll));
    }

    pub(super) fn lapses(&mut self, poll: &Poll) {
        let is_this = |held: &Poll| {
            (held.edge, held.at, held.asked_at_ms) == (poll.edge, poll.at, poll.asked_at_ms)
        };
        if let Some(held) = self.polls.iter().position(is_this) {
            let poll = self.polls.swap_remove(held);
            self.answer_poll(&poll);
        }
    }

    fn answer_poll(&mut self, poll: &Poll) {
        let &Poll { edge, at, life, .. } = poll;
        let is_lost = !self.reaches(edge, at.0) || self.random.chance(5);
        if is_lost {
            return self.after(ASKED_AGAIN_MS, Event::Polls { edge, at, life });
        }
        self.says(edge, at, Some(poll.asked_at_ms));
        self.after(160, Event::Polls { edge, at, life });
    }
}
