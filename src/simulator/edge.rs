//! An edge: the real steering, the real knowledge of positions, the real tokens. Only the carrying of bytes is
//! played.

mod configured;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::broken::Broken;
use super::floor::Floor;
use super::moments::Moments;
use super::repeat::{Moment, Repeats};
use super::shown::Shown;
use super::terms::{NAMES, Terms};
use crate::clock;
use crate::config::plan::{Access, Key, Service, VersionForm, WhenUnsatisfiable};
use crate::control::{World, remember, restore};
use crate::health::Health;
use crate::ids::{DomainId, Id, ServiceId};
use crate::positions::{
    Applied, Keyring, Leg, Now, Pin, Pushed, RegionName, Report, Reported, Sequence, Sessions,
    Token, Vector, Visit, Words,
};
use crate::steering::{self, Admin, Ask, Choice, Decision, Draw, Forced, Require, Snapshot, steer};
use crate::units::Secret;

/// How long health paths that say nothing of positions are left alone, ms.
const SILENT_FOR_MS: u64 = 1_000;

/// Unix time when a run begins.
const EPOCH_SECS: u32 = 1_800_000_000;

/// A replica of a region.
pub(super) type At = (usize, usize);

/// What an edge hears of an origin.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) said: Vector,
    /// None: a push, for which nobody asked.
    pub(super) asked_at_ms: Option<u64>,
    /// The number of a push, if it has one.
    pub(super) sequence: Option<Sequence>,
    pub(super) said_at_ms: u64,
}

/// One edge.
pub(super) struct Edge {
    terms: Terms,
    world: World,
    pub(super) snapshot: Snapshot,
    pub(super) sessions: Sessions,
    keyring: Keyring,
    /// When its process began: its steady clock counts from then.
    began_ms: u64,
    /// When its process began again, if it had to: what all had since the state file was written is forgotten then.
    forgot_ms: u64,
    /// Origins that its process has heard of itself.
    heard_of: BTreeSet<At>,
    /// What its state file holds, and of when its knowledge was then.
    file: (serde_json::Value, BTreeMap<At, Moments>),
    /// When each origin said what is known of it.
    moments: BTreeMap<At, Moments>,
    /// Until when regions' health paths are not asked.
    silent_until_ms: BTreeMap<usize, u64>,
    /// How often a member's state was set.
    settings: u64,
    repeats: Repeats,
    floor: Floor,
    shown: Shown,
    /// Whether what it knows began before its process.
    is_restored: bool,
    origins: Vec<(At, Arc<str>)>,
    /// The names of all that there ever were, as positions know them.
    names: BTreeMap<At, Arc<str>>,
    /// When it was last told anything.
    heard_ms: u64,
}

/// A token as its client gets it.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) text: String,
    /// What is left of it, if there was no room for all.
    pub(super) left: Option<Box<Token>>,
}

/// When a pin of a token ends, in the time of a run.
pub(super) fn ends_ms(pin: &Pin) -> u64 {
    u64::from(pin.until.saturating_sub(EPOCH_SECS)) * 1000
}

/// Both keys are known to all from the start; which one signs is turned by a reload.
fn keyring(first: u8) -> Keyring {
    let key = |id: u8| Key {
        id,
        secret: Secret::new(format!("a secret of key {id} that is long enough")),
    };
    Keyring::new(&[key(first), key(3 - first)])
}

/// The domain's name.
const DOMAIN: &str = "api";

impl Edge {
    pub(super) fn new(terms: &Terms) -> Self {
        let (plan, clients) = terms.plan();
        let mut world = World::new(plan, clients);
        let (snapshot, _) = world.snapshot(0);
        let mut edge = Self {
            terms: terms.clone(),
            world,
            snapshot,
            sessions: Sessions::default(),
            keyring: keyring(1),
            began_ms: 0,
            forgot_ms: 0,
            heard_of: BTreeSet::new(),
            file: Default::default(),
            moments: BTreeMap::new(),
            silent_until_ms: BTreeMap::new(),
            settings: 0,
            repeats: Repeats::default(),
            floor: Floor::default(),
            shown: Shown::default(),
            is_restored: false,
            origins: Vec::new(),
            names: BTreeMap::new(),
            heard_ms: 0,
        };
        for at in 0..terms.replicas.len() {
            edge.set_health(at, true);
        }
        edge.note_origins();
        edge
    }

    /// The process ends and another one begins: what sessions were issued is gone, and what was known too, but
    /// for what the state file holds.
    pub(super) fn restart(&mut self, keeps_file: bool, now_ms: u64) {
        let (file, moments) = std::mem::take(&mut self.file);
        *self = Self::new(&self.terms);
        (self.began_ms, self.forgot_ms) = (now_ms, now_ms);
        if keeps_file {
            let now = self.store_now(now_ms);
            restore(&mut self.world, &file, now);
            self.moments = moments;
            self.is_restored = true;
        }
    }

    /// How many bytes its tokens may have.
    pub(super) fn set_room(&mut self, room: usize) {
        self.terms.room = room;
    }

    /// Writes the state file.
    pub(super) fn save(&mut self, now_ms: u64) {
        let state = remember(&self.world, self.store_now(now_ms));
        self.file = (state, self.moments.clone());
    }

    fn store_now(&self, now_ms: u64) -> clock::Now {
        clock::Now {
            unix_ms: u64::from(EPOCH_SECS) * 1000 + now_ms,
            steady_ms: self.steady(now_ms),
        }
    }

    /// The edge's own steady clock.
    pub(super) fn steady(&self, now_ms: u64) -> u64 {
        now_ms - self.began_ms
    }

    pub(super) fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// When a process of its last began without all that was known before.
    pub(super) fn forgot_ms(&self) -> u64 {
        self.forgot_ms
    }

    /// Whether this process asked for something then, and not one before it.
    pub(super) fn asked(&self, asked_at_ms: u64) -> bool {
        asked_at_ms > self.began_ms
    }

    pub(super) fn applied(&self) -> &Arc<Applied> {
        self.snapshot.positions.of(DomainId::at(0))
    }

    pub(super) fn now(&self, now_ms: u64) -> Now {
        Now {
            unix_secs: EPOCH_SECS + u32::try_from(now_ms / 1000).unwrap(),
            steady_ms: self.steady(now_ms),
        }
    }

    pub(super) fn set_health(&mut self, region: usize, is_healthy: bool) {
        let health = if is_healthy {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        let member = self.member(region);
        if member.forced.is_none() {
            member.health = health;
        }
    }

    pub(super) fn set_forced(&mut self, region: usize, forced: Option<Forced>) {
        if !self.knows_region(region) {
            return;
        }
        let member = self.member(region);
        member.forced = forced;
        member.health = match forced {
            Some(Forced::Down) => Health::Unhealthy,
            Some(Forced::Up) | None => Health::Healthy,
        };
    }

    pub(super) fn set_drained(&mut self, region: usize, is_drained: bool) {
        let admin = if is_drained {
            Admin::Drained
        } else {
            Admin::Enabled
        };
        if self.knows_region(region) {
            self.member(region).admin = admin;
        }
    }

    pub(super) fn is_drained(&self, region: usize) -> bool {
        let state = self.snapshot.services.of(ServiceId::at(0));
        state.members[region].admin == Admin::Drained
    }

    fn member(&mut self, region: usize) -> &mut crate::steering::MemberState {
        self.settings += 1;
        let state = Arc::make_mut(self.snapshot.services.of_mut(ServiceId::at(0)));
        &mut state.members[region]
    }

    /// What an origin says of itself. It may answer although a reload has removed it, but is not asked for what it tells otherwise.
    pub(super) fn hear(&mut self, (region, replica): At, heard: &Heard, now_ms: u64) {
        let origin = self.origin(region, replica);
        let asked_at_ms = heard.asked_at_ms.unwrap_or(now_ms);
        let report = Report {
            region: &NAMES[region].into(),
            origin: &origin,
            applied: &heard.said,
            asked_at_ms: self.steady(asked_at_ms),
            now_ms: self.steady(now_ms),
        };
        let is_push = heard.asked_at_ms.is_none();
        let reported = if is_push {
            match self.applied().push(report, heard.sequence) {
                Pushed::Taken(reported) => Some(reported),
                Pushed::Late | Pushed::Doubtful => None,
            }
        } else {
            self.hear_words(report)
        };
        if !self.knows((region, replica)) {
            return;
        }
        let believed = self.applied().origin(NAMES[region], &origin);
        if reported.is_some() {
            self.heard_of.insert((region, replica));
            self.look_at_floor(now_ms);
            self.heard_ms = now_ms;
            let counts = self.believed((region, replica), &origin);
            self.shown
                .hear((region, replica), &counts, heard.asked_at_ms, now_ms);
        }
        let is_believed = believed == heard.said;
        let moments = self.moments.entry((region, replica)).or_default();
        if is_push {
            moments.hear(heard.said_at_ms);
        }
        if is_believed && reported.is_some() {
            let is_less = reported == Some(Reported::Regressed);
            moments.believe(heard.said_at_ms, is_push, is_less);
        }
    }

    fn look_at_floor(&mut self, now_ms: u64) {
        let origins = self.origins.iter();
        let said = |(at, origin): &(At, Arc<str>)| (*at, self.believed(*at, origin));
        let said = origins.map(said).collect();
        self.floor.hear(&said, now_ms);
    }

    /// What is believed of an origin. Logs of regions that are configured no more do not count.
    fn believed(&self, at: At, origin: &str) -> Vector {
        let mut believed = self.applied().origin(NAMES[at.0], origin);
        believed.retain(|writer, _| self.names().contains(&&**writer));
        believed
    }

    /// When it was last told anything.
    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Whether this edge must know that an origin lacks what all once had, so that nobody should read from it.
    pub(super) fn is_below_floor(&self, at: At) -> bool {
        self.floor.is_known_below(at, self.heard_ms)
    }

    /// The same of what others show and it has lacked for longer than a token lives.
    pub(super) fn is_late(&self, at: At) -> bool {
        let ttl_ms = u64::from(self.terms.ttl_secs) * 1000;
        self.shown.is_late(at, ttl_ms, self.heard_ms)
    }

    /// Either.
    pub(super) fn is_unfit(&self, at: At) -> bool {
        self.is_below_floor(at) || self.is_late(at)
    }

    /// Who must be read from, because it shows all that anybody does.
    pub(super) fn who_has_all(&self, now_ms: u64) -> Vec<At> {
        if self.is_restored {
            return Vec::new();
        }
        self.shown.who_has_all(now_ms)
    }

    /// What an origin was asked for, as it writes that.
    fn hear_words(&self, report: Report<'_>) -> Option<Reported> {
        let text = report.applied.to_string();
        let words = Words {
            region: report.region,
            origin: report.origin,
            form: VersionForm::Integer,
            text: text.as_bytes(),
            asked_at_ms: report.asked_at_ms,
            now_ms: report.now_ms,
        };
        let said = || Some(report.applied.clone());
        let heard = self.applied().report_words(words, said);
        heard.map(|(_, reported)| reported)
    }

    /// When an origin said what is believed of it.
    pub(super) fn moments(&self, at: At) -> Moments {
        self.moments.get(&at).copied().unwrap_or_default()
    }

    /// What a request carries.
    pub(super) fn visit(
        &self,
        token: Option<&str>,
        access: Access,
        now_ms: u64,
        broken: Option<Broken>,
    ) -> Visit {
        let now = self.now(now_ms);
        let open = |text| Token::open(text, &self.keyring, DOMAIN, now.unix_secs).ok();
        let mut tokens = token.and_then(open);
        if let Some(token) = tokens
            .as_mut()
            .filter(|_| broken == Some(Broken::ForgetsTheRemoved))
        {
            let is_configured = |writer: &RegionName, _| self.names().contains(&&**writer);
            token.vector.retain(is_configured);
        }
        let mut visit = Visit::begin(tokens, &self.sessions, self.applied(), now);
        if access == Access::Read {
            self.repeats
                .check_unsifted(&visit, self.applied(), self.moment());
            visit.sift(self.applied());
        }
        visit
    }

    fn moment(&self) -> Moment {
        (self.settings, self.applied().changes())
    }

    /// Where a request would be sent, and whether that was remembered.
    pub(super) fn decide(
        &self,
        visit: &Visit,
        access: Access,
        now_ms: u64,
        draw: u64,
    ) -> (Decision, bool) {
        let service = ServiceId::at(0);
        let address = "192.0.2.77".parse().unwrap();
        let (place, _) = self.snapshot.clients.locate(service, address);
        let pin = visit.token().pin.as_ref();
        let ask = Ask {
            require: Require {
                vector: (!visit.token().vector.is_empty()).then_some(&visit.token().vector),
                pin: pin.and_then(|pin| self.snapshot.plan.region(&pin.region)),
                now_ms: self.steady(now_ms),
            },
            ..Ask::http(service, place, access)
        };
        let decision = steer(&self.snapshot, &ask, Draw(draw));
        if access == Access::Write {
            return (decision, false);
        }
        let found = (&decision, decision.lasts(&self.snapshot, &ask));
        let repeats = &self.repeats;
        let is_repeated = repeats.check(visit, self.applied(), self.moment(), found);
        (decision, is_repeated)
    }

    pub(super) fn service(&self) -> &Service {
        self.snapshot.plan.services.of(ServiceId::at(0))
    }

    pub(super) fn when_unsatisfiable(&self) -> WhenUnsatisfiable {
        let consistency = self.service().consistency.as_ref();
        consistency.unwrap().when_unsatisfiable
    }

    /// How far regions are.
    pub(super) fn distances(&self) -> steering::Edge {
        self.snapshot.edge.clone()
    }

    /// Regions as steering ranked them, for a course through them.
    pub(super) fn legs(&self, visit: &Visit, choices: &[Choice], now_ms: u64) -> Vec<Leg> {
        let token = visit.token();
        let leg = |choice: &Choice| {
            let name = NAMES[choice.region.index()];
            let is_hopeless = token.is_pinned_elsewhere(name);
            Leg {
                region: choice.region,
                rank: choice.rank,
                standing: if is_hopeless {
                    self.applied()
                        .standing(name, &token.vector, self.steady(now_ms))
                } else {
                    choice.standing
                },
                is_hopeless,
            }
        };
        choices.iter().map(leg).collect()
    }

    /// Whether a region's health paths said nothing of positions a moment ago.
    pub(super) fn is_silent(&self, region: usize, now_ms: u64) -> bool {
        let until_ms = self.silent_until_ms.get(&region);
        until_ms.is_some_and(|until_ms| now_ms < *until_ms)
    }

    pub(super) fn note_silence(&mut self, region: usize, now_ms: u64) {
        self.silent_until_ms.insert(region, now_ms + SILENT_FOR_MS);
    }

    /// A token as the client gets it, and what is left in it.
    pub(super) fn seal(&self, token: &Token, region: &RegionName, now_ms: u64) -> Sealed {
        let pin: Pin = self
            .terms
            .lifetimes()
            .pin_to(region.clone(), self.now(now_ms));
        let (room, whole) = (self.terms.room, token.clone());
        let sealed = whole.seal_or_waive_within(room, &self.keyring, DOMAIN, pin);
        let (text, waived) = sealed.expect("there is room for a pin");
        let left = (waived > 0).then(|| {
            let opened = Token::open(&text, &self.keyring, DOMAIN, self.now(now_ms).unix_secs);
            Box::new(opened.expect("it was made here"))
        });
        Sealed { text, left }
    }
}
