//! Reads wait for a region to catch up, by the real places and turns of those who wait.
//!
//! What is played is what `proxy::fresh_read` and `proxy::asker` do around them: the asking of health paths and
//! with the read itself, and the time that is over.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::{ASK_EVERY_MS, Event, Request, Run};
use crate::positions::{Standing, Wait};
use crate::simulator::broken::Broken;
use crate::simulator::edge::NAMES;

/// How often a read itself is tried beside the health path, and the health path beside a long poll.
const ASK_SELDOM_MS: u64 = 100;

/// Those who were woken since it was last looked.
pub(super) type Rung = Arc<Mutex<Vec<u64>>>;

struct Bell {
    id: u64,
    rung: Rung,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.lock().unwrap().push(self.id);
    }
}

type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

/// A read's place among those who wait for a region.
pub(super) struct Waiting {
    pub(super) region: usize,
    wait: Arc<Wait>,
    is_woken_in_vain: bool,
    /// What its last answer told: whether it says what is applied, and whether it was "not yet".
    last: (bool, bool),
    /// None: it is asking.
    freed: Option<Pending<()>>,
    /// Waits for the turn to ask for all.
    turn: Option<Pending<Box<dyn Send>>>,
    /// The turn.
    asks: Option<Box<dyn Send>>,
}

impl Waiting {
    /// Whether it waits to be woken.
    pub(super) fn sleeps(&self) -> bool {
        self.freed.is_some()
    }
}

impl Request {
    pub(super) fn waits_for(&self, region: usize) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.region == region)
    }
}

impl Run {
    /// Whether a read may be sent to a region: one that is behind needs time, and a place for the read.
    pub(super) fn may_ask(&mut self, id: u64, request: &mut Request, region: usize) -> bool {
        let (_, standing, _) = request.ranked[request.next];
        if request.waits_for(region) {
            return true;
        }
        request.waiting = None;
        if standing == Standing::Dominates {
            return true;
        }
        if self.now_ms >= request.deadline_ms {
            return false;
        }
        let applied = self.edges[request.edge].applied();
        let wait = applied.wait(&NAMES[region].into(), &request.visit.token.vector);
        request.waiting = wait.map(|wait| Waiting {
            region,
            wait: Arc::new(wait),
            is_woken_in_vain: false,
            last: (false, false),
            freed: None,
            turn: None,
            asks: None,
        });
        let left_ms = request.deadline_ms - self.now_ms;
        self.after(left_ms, Event::TimesOut { request: id });
        request.waiting.is_some()
    }

    /// A read was answered too early, and waits.
    pub(super) fn wait(&mut self, id: u64, mut request: Request, tells: bool, is_not_yet: bool) {
        let required = request.visit.token.vector.clone();
        if let Some(waiting) = &mut request.waiting {
            waiting.last = (tells, is_not_yet);
            waiting.asks = None;
            let (freed, turn) = (waiting.wait.clone(), waiting.wait.clone());
            waiting.freed = Some(Box::pin(async move { freed.freed(&required).await }));
            let region = &self.store.regions[waiting.region];
            let shares = region.speech.probes || tells;
            waiting.turn = shares.then(|| -> Pending<Box<dyn Send>> {
                Box::pin(async move { Box::new(turn.turn().await) as Box<dyn Send> })
            });
            if !shares {
                let attempt = request.attempt;
                let request = id;
                self.after(ASK_EVERY_MS, Event::Asks { request, attempt });
            }
        }
        self.requests.insert(id, request);
        self.stir(id);
    }

    /// Goes on with a read that may have been woken, or have got the turn to ask.
    fn stir(&mut self, id: u64) {
        let bell = Arc::new(Bell {
            id,
            rung: self.rung.clone(),
        });
        let waker = Waker::from(bell);
        let mut context = Context::from_waker(&waker);
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let attempt = request.attempt;
        let Some(waiting) = &mut request.waiting else {
            return;
        };
        let is_freed = |freed: &mut Pending<()>| freed.as_mut().poll(&mut context).is_ready();
        let sleeps_on = self.broken == Some(Broken::SleepsOn);
        if waiting.freed.as_mut().is_some_and(is_freed) && !sleeps_on {
            waiting.reads();
            waiting.asks = None;
            let rests = std::mem::replace(&mut waiting.is_woken_in_vain, true);
            let until_ms = request.asked_at_ms + ASK_EVERY_MS;
            let rest_ms = if rests {
                until_ms.saturating_sub(self.now_ms)
            } else {
                0
            };
            self.seen.woken += 1;
            self.tell(|| format!("#{id} is woken"));
            let request = id;
            return self.after(rest_ms, Event::Asks { request, attempt });
        }
        let turn = waiting.turn.as_mut();
        if let Some(Poll::Ready(turn)) = turn.map(|turn| turn.as_mut().poll(&mut context)) {
            waiting.turn = None;
            waiting.asks = Some(turn);
            self.inquire(id, attempt);
        }
    }

    /// Asks every health path on behalf of all who wait, and with the read itself if they say nothing, or now and
    /// then after a 409.
    pub(super) fn inquire(&mut self, id: u64, attempt: u32) {
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let Some(waiting) = request.waiting.as_ref().filter(|of| of.asks.is_some()) else {
            return;
        };
        if request.attempt != attempt {
            return;
        }
        let (edge, region, (_, is_not_yet)) = (request.edge, waiting.region, waiting.last);
        let is_due = is_not_yet && self.now_ms >= request.asked_at_ms + ASK_SELDOM_MS;
        let replicas = self.store.regions[region].replicas.len();
        let mut speaks = false;
        for replica in 0..replicas {
            speaks |= self.ask_health_path(edge, (region, replica));
        }
        let known = &self.edges[edge];
        let origin = known.origin(region, 0);
        let is_followed = known.applied().is_followed(NAMES[region], &origin);
        let pause = if is_followed {
            ASK_SELDOM_MS
        } else {
            ASK_EVERY_MS
        };
        let request = id;
        if is_due || !speaks {
            self.after(ASK_EVERY_MS, Event::Asks { request, attempt });
        } else {
            self.after(pause, Event::Inquires { request, attempt });
        }
    }

    /// What was woken in this step goes on.
    pub(super) fn wake(&mut self) {
        loop {
            let rung = std::mem::take(&mut *self.rung.lock().unwrap());
            if rung.is_empty() {
                break;
            }
            rung.into_iter().for_each(|id| self.stir(id));
        }
        if std::mem::take(&mut self.hears) {
            self.check_waits();
        }
    }

    /// A read that waits for a region, or that it holds, goes on to the next.
    pub(super) fn times_out(&mut self, id: u64) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let never_ends = self.broken == Some(Broken::NeverTimesOut);
        if never_ends || request.waiting.take().is_none() {
            return;
        }
        request.next += 1;
        request.attempt += 1;
        self.seen.timed_out += 1;
        self.tell(|| format!("#{id} has waited for long enough"));
        self.ask(id);
    }
}

impl Waiting {
    /// It asks with the read itself, and keeps the turn if it has it.
    pub(super) fn reads(&mut self) {
        self.freed = None;
        self.turn = None;
    }
}
