//! One run: what its seed makes of it, step by step.

mod carrying;
mod checks;
mod clients;
mod ending;
mod regions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::client::{Acknowledged, Client};
use super::edge::{Edge, NAMES, Terms};
use super::fault::Fault;
use super::random::Random;
use super::store::{Log, Region, Replica, Speech, Store, Write};
use crate::positions::{Outcome, RegionName, Said, Standing, Vector, Visit};

/// How long clients act, and faults happen, ms.
const LASTS_MS: u64 = 30_000;

/// How often a waiting read asks (the contract).
const ASK_EVERY_MS: u64 = 20;

/// The longest way between anybody and anybody, ms.
pub(super) const LONGEST_WAY_MS: u64 = 150;

type At = (usize, usize);

/// What a replica answers.
#[derive(Clone, Debug)]
struct Answer {
    said: Said,
    outcome: Outcome,
    is_conflict: bool,
    /// What its readers see at this moment.
    replica: Replica,
}

enum Event {
    Act {
        client: usize,
        tab: usize,
    },
    /// A request reaches a region.
    Arrives {
        request: u64,
        at: At,
    },
    /// An answer, or that there is none, reaches the edge.
    Answers {
        request: u64,
        at: At,
        answer: Option<Box<Answer>>,
    },
    /// A waiting read asks again.
    Asks {
        request: u64,
    },
    /// An answer reaches its client.
    Received {
        client: usize,
        tab: usize,
        received: Received,
    },
    Probe {
        edge: usize,
        at: At,
    },
    Probed {
        edge: usize,
        at: At,
        asked_at_ms: u64,
        said: Option<Box<Vector>>,
    },
    Replicate {
        to: At,
        from: usize,
    },
    Copies {
        to: At,
        region: RegionName,
        log: Rc<Log>,
    },
    Fault,
    Mends(Fault),
}

/// What a client gets.
#[derive(Default)]
struct Received {
    jar: Option<Option<String>>,
    acknowledged: Option<Acknowledged>,
}

struct Request {
    client: usize,
    tab: usize,
    edge: usize,
    /// What it writes; none: it reads.
    write: Option<Write>,
    session: u64,
    visit: Visit,
    rights: Vec<Acknowledged>,
    ranked: Vec<(usize, Standing, u8)>,
    next: usize,
    began_ms: u64,
    asked_at_ms: u64,
    /// Whether it takes any answer by now.
    settles: bool,
    deadline_ms: u64,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, tab, edge, token) = (self.client, self.tab, self.edge, &self.visit.token);
        let what = self
            .write
            .map_or("reads".into(), |write| format!("writes w{write}"));
        let names: Vec<_> = self.ranked.iter().map(|(at, _, _)| NAMES[*at]).collect();
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
    requests: BTreeMap<u64, Request>,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    writes: Write,
    applications: BTreeMap<Write, u32>,
    pub(super) trace: Vec<String>,
    /// Whether its steps are told when it fails, which takes most of the time.
    is_traced: bool,
    pub(super) seen: Seen,
}

/// What happened in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) writes: u64,
    pub(super) fresh: u64,
    pub(super) waited: u64,
    pub(super) routed: u64,
    pub(super) stale: u64,
    pub(super) lost: u64,
    pub(super) failed: u64,
    pub(super) taken_back: u64,
    pub(super) faults: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.writes, other.writes),
            (&mut self.fresh, other.fresh),
            (&mut self.waited, other.waited),
            (&mut self.routed, other.routed),
            (&mut self.stale, other.stale),
            (&mut self.lost, other.lost),
            (&mut self.failed, other.failed),
            (&mut self.taken_back, other.taken_back),
            (&mut self.faults, other.faults),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.terms)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Run {
    pub(super) fn new(seed: u64, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let terms = Terms {
            replicas: (0..random.between(2, 4))
                .map(|_| random.pick(&[1, 1, 2]))
                .collect(),
            wait_ms: random.pick(&[0, 100, 500]),
            ttl_secs: random.pick(&[20, 300]),
            pin_secs: random.pick(&[2, 5]),
            fails: random.chance(50),
        };
        let edges: Vec<_> = (0..2).map(|_| Edge::new(&terms)).collect();
        let mut run = Self {
            seed,
            now_ms: 0,
            store: Store::default(),
            edges,
            clients: Vec::new(),
            cut: BTreeSet::new(),
            unreached: BTreeSet::new(),
            lag_ms: random.pick(&[5, 50, 400, 3000]),
            requests: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            writes: 0,
            applications: BTreeMap::new(),
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
            let speech = self.random.pick(&[
                Speech::Exact,
                Speech::Exact,
                Speech::Observed,
                Speech::Silent,
            ]);
            let replicas = if speech == Speech::Silent {
                1
            } else {
                replicas
            };
            self.store.regions.push(Region {
                name: NAMES[at].into(),
                replicas: vec![Replica::default(); replicas],
                leader: 0,
                is_up: true,
                speech,
                refuses: self.random.chance(60),
                tells_forks: self.random.chance(60),
                backup: None,
            });
        }
        for _ in 0..self.random.between(2, 4) {
            let roams = self.random.chance(40);
            let tabs = if roams {
                1
            } else {
                self.random.pick(&[1, 2, 3])
            };
            let edge = (!roams).then(|| self.random.below(2));
            self.clients.push(Client::new(tabs, edge));
        }
    }

    /// Whether every client goes to any edge, so that none depends on what one remembers.
    pub(super) fn all_roam(&self) -> bool {
        self.clients.iter().all(|client| client.edge.is_none())
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
            for edge in 0..self.edges.len() {
                self.after(1, Event::Probe { edge, at });
            }
            for from in 0..self.store.regions.len() {
                self.after(1, Event::Replicate { to: at, from });
            }
        }
        let first = self.random.between(500, 5_000);
        self.after(first, Event::Fault);
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
        match event {
            Event::Act { client, tab } => self.act(client, tab),
            Event::Arrives { request, at } => self.arrives(request, at),
            Event::Answers {
                request,
                at,
                answer,
            } => self.answers(request, at, answer),
            Event::Asks { request } => self.ask(request),
            Event::Received {
                client,
                tab,
                received,
            } => self.received(client, tab, received),
            Event::Probe { edge, at } => self.probe(edge, at),
            Event::Probed {
                edge,
                at,
                asked_at_ms,
                said,
            } => self.probed(edge, at, asked_at_ms, said),
            Event::Replicate { to, from } => self.replicate(to, from),
            Event::Copies { to, region, log } => {
                self.store.regions[to.0].replicas[to.1].take(&region, &log);
            }
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
        let next = self.random.between(200, 6_000);
        self.after(next, Event::Fault);
    }

    fn mend(&mut self, fault: Fault) {
        self.tell(|| format!("mended: {fault:?}"));
        fault.mend(self);
    }
}
