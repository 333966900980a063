//! One run: what its seed makes of it, step by step, and what must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::client::{Acknowledged, Client, Given};
use super::edge::{Edge, NAMES, Terms};
use super::fault::Fault;
use super::random::Random;
use super::store::{Region, Replica, Speech, Store, Write};
use crate::config::plan::Access;
use crate::ids::Id;
use crate::positions::{
    Judged, Mark, Minted, Outcome, RegionName, Reissue, Said, Standing, Token, Visit, judge, mint,
};

/// How long clients act, and faults happen, ms.
const LASTS_MS: u64 = 60_000;

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
        said: Option<Box<crate::positions::Vector>>,
    },
    Replicate {
        to: At,
        from: usize,
    },
    Copies {
        to: At,
        region: RegionName,
        log: std::rc::Rc<super::store::Log>,
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

/// Replication and probes.
impl Run {
    fn replicate(&mut self, to: At, from: usize) {
        if self.is_over() {
            return;
        }
        let next = self.random.between(20, 40 + self.lag_ms * 2);
        self.after(next, Event::Replicate { to, from });
        let is_cut = self.cut.contains(&(to.0.min(from), to.0.max(from)));
        let (here, there) = (&self.store.regions[to.0], &self.store.regions[from]);
        let is_itself = to.0 == from && to.1 == there.leader;
        if is_cut || is_itself || !here.is_up || !there.is_up {
            return;
        }
        let region = there.name.clone();
        let log = there.leader().log(&region);
        let copies = if self.random.chance(10) { 2 } else { 1 };
        for _ in 0..copies {
            let (region, log) = (region.clone(), log.clone());
            let arrives = self.random.between(1, self.lag_ms * 2);
            self.after(arrives, Event::Copies { to, region, log });
        }
    }

    fn reaches(&self, edge: usize, region: usize) -> bool {
        self.store.regions[region].is_up && !self.unreached.contains(&(edge, region))
    }

    fn probe(&mut self, edge: usize, at: At) {
        if self.is_over() {
            return;
        }
        self.after(1_000, Event::Probe { edge, at });
        let said = self.reaches(edge, at.0).then(|| {
            let region = &self.store.regions[at.0];
            let speaks = region.speech != Speech::Silent;
            speaks.then(|| Box::new(region.replicas[at.1].applied()))
        });
        self.edges[edge].set_health(at.0, said.is_some());
        let asked_at_ms = self.now_ms;
        // Half of the way back at least: what was said may be old when it is heard.
        let way = self.way();
        let said = said.flatten();
        self.after(
            way,
            Event::Probed {
                edge,
                at,
                asked_at_ms,
                said,
            },
        );
    }

    fn probed(
        &mut self,
        edge: usize,
        at: At,
        asked_at_ms: u64,
        said: Option<Box<crate::positions::Vector>>,
    ) {
        if let Some(said) = said {
            self.edges[edge].report(at, &said, (asked_at_ms, self.now_ms));
        }
    }
}

/// Clients.
impl Run {
    fn act(&mut self, client: usize, tab: usize) {
        if self.is_over() {
            return;
        }
        let next = self.random.between(20, 1_500);
        self.after(next, Event::Act { client, tab });
        let now_ms = self.now_ms;
        let known = &mut self.clients[client];
        let takes_turns = known.jar.is_none() && !known.busy.is_empty();
        if known.busy.contains(&tab) || takes_turns {
            return;
        }
        known.busy.insert(tab);
        let edge = known.edge.unwrap_or_else(|| self.random.below(2));
        let is_write = self.random.chance(30);
        let access = if is_write {
            Access::Write
        } else {
            Access::Read
        };
        let jar = self.clients[client].jar.clone();
        let visit = self.edges[edge].visit(jar.as_deref(), access, now_ms);
        let draw = self.random.draw();
        let decision = self.edges[edge].decide(&visit, access, now_ms, draw);
        let ranked = decision.ranked.iter();
        let ranked = ranked.map(|choice| (choice.region.index(), choice.standing, choice.rank));
        let write = is_write.then(|| {
            self.writes += 1;
            self.writes
        });
        let request = Request {
            client,
            tab,
            edge,
            write,
            session: if visit.valid {
                visit.token.session
            } else {
                self.random.draw()
            },
            rights: self.clients[client].rights(now_ms),
            ranked: ranked.collect(),
            visit,
            next: 0,
            began_ms: now_ms,
            asked_at_ms: now_ms,
            settles: false,
            deadline_ms: now_ms + self.terms.wait_ms,
        };
        self.count += 1;
        let id = self.count;
        self.tell(|| {
            let what = write.map_or("reads".into(), |write| format!("writes w{write}"));
            let token = &request.visit.token;
            let names: Vec<_> = request.ranked.iter().map(|(at, _, _)| NAMES[*at]).collect();
            let (vector, pin, lost) = (&token.vector, &token.pin, token.lost);
            format!("#{id} client {client}.{tab} {what} at edge {edge} with [{vector}] {pin:?} lost={lost}: {names:?}")
        });
        self.check_token(&request);
        if is_write && request.visit.valid {
            self.edges[edge]
                .sessions
                .begin_write(request.session, now_ms);
        }
        self.requests.insert(id, request);
        self.ask(id);
    }

    /// A token loses entries only by expiry, retirement or loss.
    fn check_token(&self, request: &Request) {
        if request.visit.valid {
            return;
        }
        let client = &self.clients[request.client];
        for right in &request.rights {
            let is_everywhere = self
                .store
                .regions
                .iter()
                .flat_map(|region| &region.replicas)
                .all(|replica| replica.sees(right.write));
            assert!(
                is_everywhere || !client.holds(right, &self.store, self.now_ms),
                "client {} has no token any more, and not all have w{}\n{self:?}",
                request.client,
                right.write
            );
        }
    }

    fn received(&mut self, client: usize, tab: usize, received: Received) {
        let known = &mut self.clients[client];
        known.busy.remove(&tab);
        if let Some(jar) = received.jar {
            known.jar = jar;
        }
        if let Some(acknowledged) = received.acknowledged {
            known.acknowledge(acknowledged);
        }
    }

    /// Answers reach a client in the order in which the edges gave them.
    fn answer(&mut self, request: &Request, received: Received) {
        let way = self.way();
        let known = &mut self.clients[request.client];
        known.last_answer_ms = known.last_answer_ms.max(self.now_ms + way);
        let after = known.last_answer_ms - self.now_ms;
        let (client, tab) = (request.client, request.tab);
        self.after(
            after,
            Event::Received {
                client,
                tab,
                received,
            },
        );
    }
}

/// An edge carries a request to a region, and the answer back.
impl Run {
    /// Asks the region whose turn it is.
    fn ask(&mut self, id: u64) {
        let Some(mut request) = self.requests.remove(&id) else {
            return;
        };
        while let Some((region, _, _)) = request.ranked.get(request.next).copied() {
            let pin = request.visit.token.pin.as_ref();
            let is_elsewhere = pin.is_some_and(|pin| *pin.region != *NAMES[region]);
            let must_see =
                request.write.is_none() && !request.settles && !request.visit.token.is_empty();
            if must_see && is_elsewhere {
                request.next += 1;
                continue;
            }
            let at = (region, self.replica(&request, region));
            request.asked_at_ms = self.now_ms;
            let way = self.way();
            self.after(way, Event::Arrives { request: id, at });
            self.requests.insert(id, request);
            return;
        }
        self.in_vain(id, request);
    }

    /// One that may have what is needed, as `forward` chooses it.
    fn replica(&mut self, request: &Request, region: usize) -> usize {
        let of_region = &self.store.regions[region];
        if request.write.is_some() {
            return of_region.leader;
        }
        let count = of_region.replicas.len();
        let first = self.random.below(count);
        let edge = &self.edges[request.edge];
        let may_answer = |replica: &usize| {
            let origin = edge.origin(region, *replica);
            let required = &request.visit.token.vector;
            edge.applied()
                .origin_may_answer(NAMES[region], &origin, required)
        };
        let order = (0..count).map(|step| (first + step) % count);
        order.clone().find(may_answer).unwrap_or(first)
    }

    fn arrives(&mut self, id: u64, at: At) {
        let request = &self.requests[&id];
        let (write, edge) = (request.write, request.edge);
        let required = request.visit.token.vector.clone();
        let settles = request.settles;
        let answer = self.reaches(edge, at.0).then(|| match write {
            Some(write) => self.take_write(write, at),
            None => Some(self.take_read(at, (!settles).then_some(&required))),
        });
        let way = self.way();
        let unsent = answer.is_none();
        if unsent {
            self.tell(|| format!("#{id} finds {} down", NAMES[at.0]));
            self.requests.get_mut(&id).unwrap().next += 1;
            self.after(way, Event::Asks { request: id });
            return;
        }
        let answer = answer.flatten().map(Box::new);
        self.after(
            way,
            Event::Answers {
                request: id,
                at,
                answer,
            },
        );
    }

    /// What is written, and what is said of it; none: the region fails before it answers.
    fn take_write(&mut self, write: Write, at: At) -> Option<Answer> {
        let times = self.applications.entry(write).or_default();
        *times += 1;
        let times = *times;
        assert_eq!(times, 1, "w{write} is written twice\n{self:?}");
        let position = self.store.write(at.0, write);
        self.tell(|| {
            format!(
                "w{write} is at {}={}:{}",
                NAMES[at.0], position.epoch, position.seq
            )
        });
        if self.random.chance(3) {
            return None;
        }
        let region = &self.store.regions[at.0];
        let replica = region.leader().clone();
        Some(Answer {
            said: Said {
                committed: (region.speech == Speech::Exact)
                    .then(|| (region.name.clone(), position)),
                applied: (region.speech != Speech::Silent).then(|| replica.applied()),
            },
            outcome: Outcome::Accepted,
            is_conflict: false,
            replica,
        })
    }

    fn take_read(&self, at: At, required: Option<&crate::positions::Vector>) -> Answer {
        let region = &self.store.regions[at.0];
        let replica = &region.replicas[at.1];
        let speaks = region.speech != Speech::Silent;
        let satisfies = required.is_none_or(|required| replica.satisfies(required));
        Answer {
            said: Said {
                committed: None,
                applied: speaks.then(|| replica.applied()),
            },
            outcome: Outcome::Accepted,
            is_conflict: speaks && region.refuses && !satisfies,
            replica: replica.clone(),
        }
    }

    fn answers(&mut self, id: u64, at: At, answer: Option<Box<Answer>>) {
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        if let Some(answer) = &answer {
            self.learn(&request, at, answer);
        }
        self.tell(|| {
            let said = answer
                .as_ref()
                .map(|answer| format!("{:?}", answer.said.applied));
            format!("#{id} is answered by {}.{}: {said:?}", NAMES[at.0], at.1)
        });
        match (request.write, answer) {
            (Some(write), answer) => self.written(id, request, write, at, answer),
            (None, Some(answer)) => self.read(id, request, at, &answer),
            (None, None) => {}
        }
    }

    fn learn(&mut self, request: &Request, at: At, answer: &Answer) {
        let edge = &self.edges[request.edge];
        if let Some((writer, position)) = &answer.said.committed {
            edge.applied().committed(writer, *position, self.now_ms);
        }
        if let Some(applied) = &answer.said.applied {
            edge.report(at, applied, (request.asked_at_ms, self.now_ms));
        }
    }
}

/// What an answer comes to.
impl Run {
    fn written(
        &mut self,
        id: u64,
        mut request: Request,
        write: Write,
        at: At,
        answer: Option<Box<Answer>>,
    ) {
        let region = self.store.regions[at.0].name.clone();
        let said = answer
            .as_ref()
            .map(|answer| answer.said.clone())
            .unwrap_or_default();
        let outcome = answer
            .as_ref()
            .map_or(Outcome::Unknown, |answer| answer.outcome);
        let minted = mint(&region, outcome, &said);
        let given = match minted {
            Minted::At(..) => Given::Position,
            Minted::Pin(_) | Minted::Nothing => Given::Pin,
        };
        if given == Given::Pin {
            self.clients[request.client].begins_pinned_write();
        }
        let now = Edge::now(self.now_ms);
        let edge = &self.edges[request.edge];
        let memory = (&edge.sessions, &**edge.applied());
        let lifetimes = self.terms.lifetimes();
        let token = request
            .visit
            .wrote(minted, lifetimes, request.session, memory, now);
        self.end_write(&request);
        let jar =
            token.and_then(|token| self.edges[request.edge].seal(token, &region, self.now_ms));
        self.seen.writes += 1;
        self.tell(|| format!("#{id} w{write} is {outcome:?}"));
        let lasts_secs = match given {
            Given::Position => self.terms.ttl_secs.saturating_sub(1),
            Given::Pin => self.terms.pin_secs,
        };
        let acknowledged = (outcome == Outcome::Accepted).then_some(Acknowledged {
            write,
            given,
            until_ms: self.now_ms + u64::from(lasts_secs) * 1000,
        });
        // An answer that is lost on its way: the client knows of nothing, and has no cookie of it.
        let is_lost = self.random.chance(5);
        let received = Received {
            jar: jar.filter(|_| !is_lost).map(Some),
            acknowledged: acknowledged.filter(|_| !is_lost),
        };
        self.answer(&request, received);
    }

    fn end_write(&self, request: &Request) {
        if request.write.is_some() && request.visit.valid {
            let sessions = &self.edges[request.edge].sessions;
            sessions.end_write(request.visit.token.session, self.now_ms);
        }
    }

    fn read(&mut self, id: u64, mut request: Request, at: At, answer: &Answer) {
        let (_, standing, rank) = request.ranked[request.next];
        if !request.visit.valid {
            return self.pass_on(id, request, answer, None);
        }
        if request.settles {
            return self.pass_on(id, request, answer, Some(Mark::Stale));
        }
        let origin = self.edges[request.edge].origin(at.0, at.1);
        let from = (NAMES[at.0], &*origin);
        let applied = self.edges[request.edge].applied();
        let judged = |visit: &Visit| {
            judge(
                applied,
                from,
                &answer.said,
                &visit.token.vector,
                answer.is_conflict,
            )
        };
        let mut worth = judged(&request.visit);
        match worth {
            Judged::Shows => {}
            Judged::NotYet => request.visit.sift(applied),
            Judged::Behind => {
                request.visit.give_up_lost(applied);
                worth = judged(&request.visit);
            }
        }
        let may_wait = matches!(standing, Standing::Behind { .. });
        match worth {
            Judged::Shows => {
                let mark = match (may_wait, rank) {
                    (true, _) => Mark::Waited,
                    (false, 0) => Mark::Fresh,
                    (false, _) => Mark::Routed,
                };
                self.pass_on(id, request, answer, Some(mark));
            }
            Judged::NotYet | Judged::Behind => {
                let again = may_wait && self.now_ms + ASK_EVERY_MS <= request.deadline_ms;
                request.next += usize::from(!again);
                self.requests.insert(id, request);
                self.after(ASK_EVERY_MS, Event::Asks { request: id });
            }
        }
    }

    /// No region has what the client must see.
    fn in_vain(&mut self, id: u64, mut request: Request) {
        let may_be_stale = request.write.is_none() && !request.settles && !self.terms.fails;
        if may_be_stale && request.visit.valid {
            request.settles = true;
            request.next = 0;
            request.ranked.sort_by_key(|(_, _, rank)| *rank);
            self.requests.insert(id, request);
            return self.ask(id);
        }
        self.end_write(&request);
        self.seen.failed += 1;
        self.tell(|| format!("#{id} fails"));
        self.check_time(id, &request);
        self.answer(&request, Received::default());
    }

    fn pass_on(&mut self, id: u64, mut request: Request, answer: &Answer, served: Option<Mark>) {
        let now = Edge::now(self.now_ms);
        let edge = &self.edges[request.edge];
        let told = served.map(|served| {
            let (sessions, applied) = (&edge.sessions, &**edge.applied());
            request.visit.served(served, sessions, applied, now)
        });
        let mark = told.as_ref().map(|(mark, _)| *mark);
        self.tell(|| format!("#{id} is read: {mark:?}"));
        self.check_time(id, &request);
        self.check_read(id, &request, &answer.replica, mark);
        self.count_mark(mark);
        let region: RegionName = NAMES[0].into();
        let jar = match told.map(|(_, reissue)| reissue) {
            None | Some(Reissue::Keep) => None,
            Some(Reissue::TakeBack) => {
                self.seen.taken_back += 1;
                Some(None)
            }
            Some(Reissue::Token(token)) => Some(self.sealed(&request, *token, &region)),
        };
        self.answer(
            &request,
            Received {
                jar,
                acknowledged: None,
            },
        );
    }

    fn sealed(&self, request: &Request, token: Token, region: &RegionName) -> Option<String> {
        self.edges[request.edge].seal(token, region, self.now_ms)
    }

    fn count_mark(&mut self, mark: Option<Mark>) {
        let counted = match mark {
            None => return,
            Some(Mark::Fresh) => &mut self.seen.fresh,
            Some(Mark::Waited) => &mut self.seen.waited,
            Some(Mark::Routed) => &mut self.seen.routed,
            Some(Mark::Stale) => &mut self.seen.stale,
            Some(Mark::Lost) => &mut self.seen.lost,
        };
        *counted += 1;
    }

    /// Waiting ends: each region may be asked until `wait` is over, and once more.
    fn check_time(&self, id: u64, request: &Request) {
        let regions = u64::try_from(self.terms.replicas.len()).unwrap();
        let most = self.terms.wait_ms + (regions * 2 + 2) * (2 * LONGEST_WAY_MS + ASK_EVERY_MS);
        let took = self.now_ms - request.began_ms;
        assert!(
            took <= most,
            "#{id} took {took} ms, and {most} at most\n{self:?}"
        );
    }

    /// With a mark that says so, a read has all that its client has a right to; and `lost` is said only of
    /// what its region has left behind.
    fn check_read(&mut self, id: u64, request: &Request, replica: &Replica, mark: Option<Mark>) {
        if self.terms.fails {
            assert_ne!(mark, Some(Mark::Stale), "#{id} must not be stale\n{self:?}");
        }
        if mark == Some(Mark::Stale) {
            return;
        }
        if mark == Some(Mark::Lost) {
            let is_past_a_fork = |write| self.store.is_past_a_fork(write);
            self.clients[request.client].is_told_of_a_loss(is_past_a_fork);
        }
        let client = &self.clients[request.client];
        for right in &request.rights {
            let is_due = client.holds(right, &self.store, self.now_ms);
            let write = right.write;
            assert!(
                replica.sees(write) || !is_due,
                "#{id} is {mark:?} without w{write}\n{self:?}"
            );
        }
    }
}
