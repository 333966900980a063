//! Reads wait for a region to catch up, by the real places and turns of those who wait.
//!
//! How and when a region is asked is decided by `positions::asking`, as in the proxy. What is played is the carrying
//! out: timers, and the turn that is passed on.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Edge, Event, Request, Run};
use crate::ids::{Id, RegionId};
use crate::positions::{
    ASK_EVERY, ASK_SELDOM, Asking, Leg, Old, Others, Probed, Wait, pause_when_woken,
};
use crate::simulator::broken::Broken;
use crate::simulator::terms::NAMES;

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
    /// What its last answer told.
    last: Old,
    /// None: it is asking.
    freed: Option<Pending<()>>,
    /// Waits for the turn to ask for all.
    turn: Option<Pending<Box<dyn Send>>>,
    /// The turn.
    asks: Option<Box<dyn Send>>,
    leg: Leg,
    /// Where it goes instead: other regions, as soon as one is known to have what it needs.
    pub(super) elsewhere: Vec<RegionId>,
    /// Those to which it goes as well once its patience is over.
    when_overdue: Vec<RegionId>,
    since_ms: u64,
    patient_until_ms: u64,
    found: Option<Pending<RegionId>>,
}

impl Waiting {
    /// Whether it waits to be woken.
    pub(super) fn sleeps(&self) -> bool {
        self.freed.is_some()
    }

    /// Whether it would go elsewhere by now.
    pub(super) fn looks_elsewhere(&self) -> bool {
        self.found.is_some()
    }
}

impl Request {
    pub(super) fn waits_for(&self, region: usize) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.region == region)
    }
}

impl Run {
    /// Takes a place among those who wait for a region, if there is one.
    pub(super) fn takes_place(&mut self, id: u64, request: &mut Request, leg: Leg) -> bool {
        let region = leg.region.index();
        let applied = self.edges[request.edge].applied();
        let wait = applied.wait(&NAMES[region].into(), &request.visit.token().vector);
        let others = if request.is_whole {
            request
                .course
                .elsewhere(leg, request.distances.round_trip_ms())
        } else {
            Others::default()
        };
        let patience_ms = ms(others.patience);
        request.waiting = wait.map(|wait| Waiting {
            region,
            leg,
            elsewhere: others.at_once,
            when_overdue: others.when_overdue,
            since_ms: self.now_ms,
            patient_until_ms: self.now_ms + patience_ms,
            found: None,
            wait: Arc::new(wait),
            is_woken_in_vain: false,
            last: Old::UNASKED,
            freed: None,
            turn: None,
            asks: None,
        });
        let left_ms = request.deadline_ms - self.now_ms;
        self.after(left_ms, Event::TimesOut { request: id });
        if request.waiting.is_some() {
            self.after(0, Event::LooksElsewhere { request: id });
            self.after(patience_ms, Event::LooksElsewhere { request: id });
            let (request, since_ms) = (id, self.now_ms);
            self.after(0, Event::LooksOn { request, since_ms });
        }
        request.waiting.is_some()
    }

    /// A read that waits goes on to another region from now on, if that is known to have what it needs.
    pub(super) fn looks_elsewhere(&mut self, id: u64) {
        let now_ms = self.now_ms;
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let required = request.visit.token().vector.clone();
        let applied = self.edges[request.edge].applied();
        let Some(waiting) = request.waiting.as_mut() else {
            return;
        };
        if now_ms >= waiting.patient_until_ms {
            waiting.elsewhere.append(&mut waiting.when_overdue);
        }
        let names = waiting
            .elsewhere
            .iter()
            .map(|region| NAMES[region.index()].into());
        let elsewhere = applied.look_elsewhere(names, &required);
        waiting.found = Some(Box::pin(async move {
            let found = elsewhere.found(&required).await;
            let at = NAMES.iter().position(|name| *name == &**found);
            RegionId::at(at.unwrap())
        }));
        self.stir(id);
    }

    /// The regions to which a read would go that waits since then are asked now and then, unless they tell by themselves.
    pub(super) fn looks_on(&mut self, request: u64, since_ms: u64) {
        let Some(known) = self.requests.get(&request) else {
            return;
        };
        let Some(waiting) = known.waiting.as_ref().filter(|of| of.since_ms == since_ms) else {
            return;
        };
        let edge = known.edge;
        for region in waiting.elsewhere.clone() {
            let region = region.index();
            for replica in 0..self.store.regions[region].replicas.len() {
                let (known, at) = (&self.edges[edge], (region, replica));
                let tells = |known: &Edge| {
                    let origin = known.origin(region, replica);
                    known.applied().is_followed(NAMES[region], &origin)
                };
                if known.knows(at) && !tells(known) {
                    self.ask_health_path(edge, at);
                }
            }
        }
        self.after(ms(ASK_SELDOM), Event::LooksOn { request, since_ms });
    }

    /// Another region is known to have what a read needs that waits for this one.
    fn goes_elsewhere(&mut self, id: u64, found: RegionId) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let Some(waiting) = request.waiting.take() else {
            return;
        };
        request.course.waits();
        request.course.is_found(found, waiting.leg);
        request.attempt += 1;
        request.visit.sift(self.edges[request.edge].applied());
        self.seen.found += 1;
        self.tell(|| format!("#{id} goes on to {}", NAMES[found.index()]));
        self.ask(id);
    }

    /// A read was answered too early, and waits.
    pub(super) fn wait(&mut self, id: u64, mut request: Request, old: Old) {
        let required = request.visit.token().vector.clone();
        if let Some(waiting) = &mut request.waiting {
            request.course.waits();
            waiting.last = old;
            waiting.asks = None;
            let (freed, turn) = (waiting.wait.clone(), waiting.wait.clone());
            waiting.freed = Some(Box::pin(async move { freed.freed(&required).await }));
            let are_silent = self.edges[request.edge].is_silent(waiting.region, self.now_ms);
            let shares = old.asking(are_silent) != Asking::Alone;
            waiting.turn = shares.then(|| -> Pending<Box<dyn Send>> {
                Box::pin(async move { Box::new(turn.turn().await) as Box<dyn Send> })
            });
            if !shares {
                self.read_again(id, request.attempt, request.asked_at_ms);
            }
        }
        self.requests.insert(id, request);
        self.stir(id);
    }

    /// Asks with the read itself, so long after it asked last.
    fn read_again(&mut self, request: u64, attempt: u32, asked_at_ms: u64) {
        let due_ms = asked_at_ms + ms(ASK_EVERY);
        let after = due_ms.saturating_sub(self.now_ms);
        self.after(after, Event::Asks { request, attempt });
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
        let sleeps_on = self.broken == Some(Broken::SleepsOn);
        let found = waiting
            .found
            .as_mut()
            .filter(|_| self.broken != Some(Broken::StaysBehind));
        if let Some(Poll::Ready(found)) = found.map(|found| found.as_mut().poll(&mut context)) {
            return self.goes_elsewhere(id, found);
        }
        let is_freed = |freed: &mut Pending<()>| freed.as_mut().poll(&mut context).is_ready();
        if waiting.freed.as_mut().is_some_and(is_freed) && !sleeps_on {
            waiting.reads();
            waiting.asks = None;
            let was_in_vain = std::mem::replace(&mut waiting.is_woken_in_vain, true);
            let since_asked = Duration::from_millis(self.now_ms - request.asked_at_ms);
            let rest_ms = ms(pause_when_woken(was_in_vain, since_asked));
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
        let (edge, region, last) = (request.edge, waiting.region, waiting.last);
        let asked_at_ms = request.asked_at_ms;
        if last.asking(self.edges[edge].is_silent(region, self.now_ms)) != Asking::Probes {
            return self.read_again(id, attempt, asked_at_ms);
        }
        let replicas = self.store.regions[region].replicas.len();
        let mut speaks = false;
        for replica in 0..replicas {
            speaks |= self.ask_health_path(edge, (region, replica));
        }
        let known = &self.edges[edge];
        let origin = known.origin(region, 0);
        let is_followed = known.applied().is_followed(NAMES[region], &origin);
        let since_read = Duration::from_millis(self.now_ms - asked_at_ms);
        match last.probed(speaks, since_read, is_followed) {
            Probed::Silent => {
                self.edges[edge].note_silence(region, self.now_ms);
                self.read_again(id, attempt, asked_at_ms);
            }
            Probed::OwnRead => self.read_again(id, attempt, asked_at_ms),
            Probed::Again(pause) => {
                let request = id;
                self.after(ms(pause), Event::Inquires { request, attempt });
            }
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
        self.check_waits();
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
        request.course.waits();
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

fn ms(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}
