//! One run: what its seed makes of it, step by step.

mod carrying;
mod checks;
mod clients;
mod crashes;
mod ending;
mod event;
mod growing;
mod opening;
mod regions;
mod seen;
mod telling;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, vec};

use super::broken::Broken;
use super::client::{Acknowledged, Client};
use super::edge::{At, Edge, Sealed};
use super::fault::Fault;
use super::pusher::Pushers;
use super::random::Random;
use super::speech::Speech;
use super::store::{Region, Replica, Store, Write};
use super::terms::{NAMES, Terms};
use crate::ids::Id;
use crate::positions::{Course, Leg, Outcome, Said, Visit};
use crate::steering;
use event::Event;
pub(super) use seen::Seen;
use telling::Poll;
use waiting::{Rung, Waiting};

/// How long clients act, and faults happen, ms.
const LASTS_MS: u64 = 20_000;

/// Edges, which share only their keys.
const EDGES: usize = 3;

/// The longest way between anybody and anybody, ms.
pub(super) const LONGEST_WAY_MS: u64 = 150;

/// What a replica answers.
#[derive(Clone, Debug)]
struct Answer {
    said: Said,
    outcome: Outcome,
    is_conflict: bool,
    said_at_ms: u64,
    /// What its readers see at this moment.
    replica: Replica,
}

/// What a client gets.
#[derive(Default)]
struct Received {
    /// What becomes of its token; the inner none: it is taken back.
    jar: Option<Option<Sealed>>,
    acknowledged: Option<Acknowledged>,
}

/// How far a request has come.
enum Stage {
    /// It needs an answer that shows its client's writes.
    Fresh,
    /// It takes any region's answer, and may yet ask these.
    Any(vec::IntoIter<Leg>),
}

struct Request {
    client: usize,
    tab: usize,
    edge: usize,
    /// What it writes; none: it reads.
    write: Option<Write>,
    /// How many origins of each region it may choose from.
    replicas: Vec<usize>,
    /// How far regions were.
    distances: steering::Edge,
    session: u64,
    visit: Visit,
    rights: Vec<Acknowledged>,
    course: Course,
    stage: Stage,
    /// The region that is being asked.
    leg: Option<Leg>,
    /// How often it may be sent again that was sent.
    retries_left: u8,
    /// Whether it can be sent again: a body that was not kept cannot.
    is_whole: bool,
    /// Whether something of it was sent.
    is_sent: bool,
    /// An answer from before the client's writes, to a request that cannot be sent again.
    kept: Option<(At, Box<Answer>)>,
    began_ms: u64,
    asked_at_ms: u64,
    /// Whether the origin was known to have all when it was asked.
    had_all: bool,
    /// Whether it was asked for want of any that was fit to be read from.
    was_unfit: bool,
    /// How often its word had changed by then, if by its own word it had all.
    said_all: Option<u64>,
    /// Regions that were unfit to be read from, ranked or not.
    left_out: Vec<usize>,
    /// Counts what it sent.
    attempt: u32,
    deadline_ms: u64,
    waiting: Option<Waiting>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, tab, edge, token) = (self.client, self.tab, self.edge, &self.visit.token());
        let what = self
            .write
            .map_or("reads".into(), |write| format!("writes w{write}"));
        let legs = self.course.for_want_of_better(|_| 0);
        let names: Vec<_> = legs.iter().map(|leg| NAMES[leg.region.index()]).collect();
        let (vector, pin, lost) = (&token.vector, &token.pin, token.lost);
        write!(
            f,
            "client {client}.{tab} {what} at edge {edge} with [{vector}] {pin:?} lost={lost}: {names:?}"
        )
    }
}

/// A run.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) now_ms: u64,
    pub(super) random: Random,
    terms: Terms,
    pub(super) store: Store,
    pub(super) edges: Vec<Edge>,
    clients: Vec<Client>,
    /// Pairs of regions that do not hear each other.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// Regions that an edge does not reach.
    pub(super) unreached: BTreeSet<(usize, usize)>,
    pub(super) lag_ms: u64,
    /// A replica that takes over nothing from then on.
    stuck: Option<(At, u64)>,
    /// A region that from then on says once of a write that it is far beyond its log.
    claims: Option<(usize, u64)>,
    requests: BTreeMap<u64, Request>,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    writes: Write,
    applications: BTreeMap<Write, u32>,
    /// Long polls that regions hold.
    polls: Vec<Poll>,
    /// Chance apart, for what only some runs have.
    rare: Random,
    /// Chance apart, for whether a region grows: a run in which none does is the run that it was without.
    growth: Random,
    /// And for whether edges reload one after the other.
    rollout: Random,
    /// A new region that serves nobody yet.
    opening: Option<usize>,
    /// Whether what regions have, or who polls them, may have changed in this step.
    changes: bool,
    /// Reads that were woken.
    rung: Rung,
    /// What the edges do wrong on purpose.
    pub(super) broken: Option<Broken>,
    pub(super) pushers: Pushers,
    pub(super) trace: Vec<String>,
    /// Whether its steps are told when it fails, which takes most of the time.
    is_traced: bool,
    pub(super) seen: Seen,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.terms)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Run {
    /// A run with everything that there is.
    pub(super) fn new(seed: u64, is_traced: bool) -> Self {
        let mut run = Self::plain(seed, is_traced);
        let room = run.rare.pick(&[512, 512, 512, 66, 60]);
        run.terms.room = room;
        run.edges.iter_mut().for_each(|edge| edge.set_room(room));
        for region in &mut run.store.regions {
            region.holds_ms = run.rare.pick(&[0, 0, 60, 400]);
            region.dawdles_ms = run.rare.pick(&[0, 0, 0, 900]);
        }
        for client in &mut run.clients {
            if run.rare.chance(50) {
                client.overtakes();
            }
        }
        if run.rare.chance(15) {
            let region = run.rare.below(run.store.regions.len());
            let last = run.store.regions[region].replicas.len() - 1;
            run.stuck = Some(((region, last), run.rare.between(0, 2_000)));
        }
        if run.rare.chance(10) {
            let region = run.rare.below(run.store.regions.len());
            run.claims = Some((region, run.rare.between(0, 5_000)));
        }
        run.plan_growth();
        run
    }

    /// One in which tokens have room, no region holds reads or dawdles, and answers come in the order in which edges gave them.
    pub(super) fn plain(seed: u64, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let terms = Terms {
            room: 512,
            replicas: (0..random.between(2, 4))
                .map(|_| random.pick(&[1, 1, 2]))
                .collect(),
            wait_ms: random.pick(&[0, 100, 500]),
            ttl_secs: random.pick(&[12, 300]),
            pin_secs: random.pick(&[2, 5]),
            fails: random.chance(50),
            nearest: None,
        };
        let edges: Vec<_> = (0..EDGES).map(|_| Edge::new(&terms)).collect();
        let mut run = Self {
            seed,
            now_ms: 0,
            store: Store::default(),
            edges,
            clients: Vec::new(),
            cut: BTreeSet::new(),
            unreached: BTreeSet::new(),
            lag_ms: random.pick(&[5, 50, 400, 3000]),
            stuck: None,
            claims: None,
            requests: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            writes: 0,
            applications: BTreeMap::new(),
            polls: Vec::new(),
            rare: Random::new(seed.rotate_left(32) ^ seed),
            growth: Random::new(!seed.rotate_left(32)),
            rollout: Random::new(!seed.rotate_left(16)),
            opening: None,
            changes: false,
            rung: Rung::default(),
            broken: None,
            pushers: Pushers::new(seed),
            trace: Vec::new(),
            is_traced,
            seen: Seen::default(),
            random,
            terms,
        };
        run.people();
        run.begin();
        run
    }

    fn people(&mut self) {
        for (at, replicas) in self.terms.replicas.clone().into_iter().enumerate() {
            let speech = Speech::any(&mut self.random);
            let replicas = if speech.takes_one_replica() {
                1
            } else {
                replicas
            };
            let name = NAMES[at].into();
            let region = Region::new(name, replicas, speech, &mut self.random);
            self.store.regions.push(region);
        }
        for _ in 0..self.random.between(2, 4) {
            let roams = self.random.chance(40);
            let tabs = if roams {
                1
            } else {
                self.random.pick(&[1, 2, 3])
            };
            let edge = (!roams).then(|| self.random.below(EDGES));
            self.clients.push(Client::new(tabs, edge));
        }
    }

    pub(super) fn ats(&self) -> Vec<At> {
        let regions = self.store.regions.iter().enumerate();
        regions
            .flat_map(|(at, region)| (0..region.replicas.len()).map(move |replica| (at, replica)))
            .collect()
    }

    fn begin(&mut self) {
        for client in 0..self.clients.len() {
            for tab in 0..self.clients[client].tabs {
                let after = self.random.between(0, 500);
                self.after(after, Event::Act { client, tab });
            }
        }
        for at in self.ats() {
            self.begin_replica(at, 1);
        }
        for edge in 0..self.edges.len() {
            self.after(1_000, Event::Saves { edge });
        }
        let first = self.random.between(500, 5_000);
        self.after(first, Event::Fault);
    }

    /// After so many ms edges begin to hear of a replica, and it to hear of other regions.
    fn begin_replica(&mut self, at: At, after_ms: u64) {
        for edge in 0..self.edges.len() {
            self.begin_at_edge(edge, at, after_ms);
        }
        self.hear_of_others(at, after_ms);
    }

    fn begin_at_edge(&mut self, edge: usize, at: At, after_ms: u64) {
        let life = self.edges[edge].began_ms();
        self.after(after_ms, Event::Probe { edge, at });
        self.after(after_ms, Event::Push { edge, at });
        self.after(after_ms, Event::Polls { edge, at, life });
    }

    fn hear_of_others(&mut self, at: At, after_ms: u64) {
        for from in 0..self.store.regions.len() {
            self.after(after_ms, Event::Replicate { to: at, from });
        }
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now_ms + ms, self.count), event);
    }

    pub(super) fn way(&mut self) -> u64 {
        self.random.between(1, LONGEST_WAY_MS)
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let line = format!("{:>7} {}", self.now_ms, what());
            self.trace.push(line);
        }
    }

    /// Runs until nothing is under way any more.
    pub(super) fn play_out(&mut self) {
        while let Some(((at_ms, _), event)) = self.events.pop_first() {
            self.now_ms = at_ms;
            self.happen(event);
            self.answer_polls();
            self.wake();
        }
        assert!(
            self.requests.is_empty(),
            "requests without an end\n{self:?}"
        );
    }

    fn is_over(&self) -> bool {
        self.now_ms > LASTS_MS
    }

    fn happen(&mut self, event: Event) {
        self.changes = matches!(
            event,
            Event::Arrives { .. } | Event::Copies { .. } | Event::Polled(_) | Event::Fault
        );
        match event {
            Event::Act { client, tab } => self.act(client, tab),
            Event::Arrives {
                request,
                attempt,
                at,
                write,
            } => self.arrives((request, attempt), at, write),
            Event::Holds {
                request,
                attempt,
                at,
                until_ms,
            } => self.holds((request, attempt), at, until_ms),
            Event::Answers {
                request,
                attempt,
                at,
                answer,
            } => self.answers((request, attempt), at, &answer),
            Event::Misses {
                request,
                attempt,
                tried,
            } => self.misses((request, attempt), tried),
            Event::Asks { request, attempt } => self.ask_again(request, attempt),
            Event::Inquires { request, attempt } => self.inquire(request, attempt),
            Event::TimesOut { request } => self.times_out(request),
            Event::LooksElsewhere { request } => self.looks_elsewhere(request),
            Event::LooksOn { request, since_ms } => self.looks_on(request, since_ms),
            Event::Leaves { request } => self.leaves(request),
            Event::Received {
                client,
                tab,
                received,
            } => self.received(client, tab, received),
            Event::Probe { edge, at } => self.probe(edge, at),
            Event::Hears { edge, at, heard } => self.hears(edge, at, &heard),
            Event::Push { edge, at } => self.push(edge, at),
            Event::Polls { edge, at, life } => self.poll(edge, at, life),
            Event::Polled(poll) => self.polls.push(*poll),
            Event::Lapses(poll) => self.lapses(&poll),
            Event::Saves { edge } => self.save(edge),
            Event::Replicate { to, from } => self.replicate(to, from),
            Event::Copies { to, region, log } => {
                self.store.regions[to.0].replicas[to.1].take(&region, &log, self.now_ms);
            }
            Event::Grows { region } => self.grow(region),
            Event::Opens => self.open(),
            Event::Adds { edge, replicas } => self.adds(edge, replicas),
            Event::MayServe { lacking } => self.may_serve(lacking),
            Event::Shrinks { region } => self.shrink(region),
            Event::Closes => self.close(),
            Event::Fault => self.fault(),
            Event::Mends(fault) => self.mend(fault),
        }
    }

    fn fault(&mut self) {
        if self.is_over() {
            return;
        }
        if let Some((fault, lasts_ms)) = Fault::strike(self) {
            self.seen.faults += 1;
            self.after(lasts_ms, Event::Mends(fault));
        }
        let next = self.random.between(200, 4_000);
        self.after(next, Event::Fault);
    }

    fn mend(&mut self, fault: Fault) {
        self.tell(|| format!("mended: {fault:?}"));
        fault.mend(self);
    }
}
