//! One request's turn with its client's token: what a read must see, and what its answer gives back.
//!
//! A read must see what its client carries and what its session was issued lately, without what every region
//! has or none has any more. A write's answer adds to that and takes nothing away. A read's answer gives the
//! client what is left, if that differs from what it carries: more after an answer was lost, less once
//! entries are retired or lost, nothing at all in the end.

mod remembered;

use std::sync::{Arc, LazyLock};

use smallvec::{SmallVec, smallvec};

use super::applied::Applied;
use super::mint::Minted;
use super::session::{Glance, Sessions};
use super::taken_back::Carriers;
use super::token::{Pin, Token};
use super::vector::{Position, RegionName, Vector};

/// The time, by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Unix seconds: what tokens and pins expire by.
    pub unix_secs: u32,
    /// The edge's steady clock.
    pub steady_ms: u64,
}

/// How long what is issued lasts, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of a token.
    pub ttl: u32,
    /// Of a pin.
    pub pin: u32,
}

/// How a read with a token was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// By the best-ranked region, without waiting.
    Fresh,
    /// After a wait.
    Waited,
    /// By another region, without waiting.
    Routed,
    /// Without what the client had written.
    Stale,
    /// Rightly, but for writes that no region has any more, or that the one that answered has left behind with an epoch.
    Lost,
}

impl Mark {
    /// As the header and the metric call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Waited => "waited",
            Self::Routed => "routed",
            Self::Stale => "stale",
            Self::Lost => "lost",
        }
    }
}

/// What an answer does to the token that its client carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reissue {
    /// Nothing.
    Keep,
    /// Replaces it.
    Token(Box<Token>),
    /// Takes it back: it asks for nothing any more.
    TakeBack,
}

/// Sessions whose tokens a request carries.
pub type SessionIds = SmallVec<[u64; 1]>;

/// What a request carries and must see.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// The very one that the client carries until it has to differ from that.
    token: Option<Arc<Token>>,
    /// Whether the client carries any valid token.
    pub valid: bool,
    brought: Option<Brought>,
}

/// What a visit without a token asks for.
static NOTHING: LazyLock<Token> = LazyLock::new(Token::default);

/// What a client brings along.
#[derive(Clone, Debug, Default)]
struct Brought {
    /// Its valid tokens, merged, as it carries them.
    carried: Arc<Token>,
    /// Entries that nobody has any more, of which it was not told; apart, because most have none.
    lost: Option<Box<Vector>>,
    /// Entries that every region was known to have.
    retired: Option<Box<Vector>>,
    /// What every region had once, and whoever answers has left behind.
    left_behind: Option<Box<Vector>>,
    /// What this edge remembers of earlier epochs than its client's token has: whether those go on from there is known once an
    /// answer has come.
    superseded: Vec<Vector>,
    /// Of each session whose token it carries, the first one's first.
    glances: SmallVec<[(u64, Glance); 1]>,
}

impl Brought {
    /// Whether its client still has a token of these sessions: if not, what it has by now may be another session's, and must stay.
    fn may_replace(&self, sessions: &Sessions, from: Carriers, now: Now) -> bool {
        let mut glances = self.glances.iter();
        glances.all(|(session, glance)| {
            let took_secs = now.steady_ms.saturating_sub(glance.at_ms()).div_ceil(1_000);
            let took_secs = u32::try_from(took_secs).unwrap_or(u32::MAX);
            // A token that has run out meanwhile is gone by itself.
            let is_over = self.carried.expires <= now.unix_secs.saturating_add(took_secs);
            !is_over && !sessions.is_around_take_back(*session, from, *glance, now.steady_ms)
        })
    }

    /// Whether an answer may take something away from what its client carries.
    fn may_shrink(&self, sessions: &Sessions) -> bool {
        let mut glances = self.glances.iter();
        glances.all(|(session, glance)| sessions.may_shrink(*session, *glance))
    }
}

impl Visit {
    /// The turn of a request that carries these valid tokens.
    pub fn begin(
        tokens: impl IntoIterator<Item = impl Into<Arc<Token>>>,
        sessions: &Sessions,
        applied: &Applied,
        now: Now,
    ) -> Self {
        let mut visit = Self::default();
        for token in tokens {
            let token: Arc<Token> = token.into();
            let recalled = sessions.recall(token.session, now.steady_ms);
            let mut wanted = token.clone();
            if let Some(told) = &recalled.told {
                Arc::make_mut(&mut wanted).set_back(told, applied);
            }
            if let Some(brought) = &mut visit.brought {
                Arc::make_mut(&mut brought.carried).merge(&token);
                brought.glances.push((token.session, recalled.glance));
                visit.take(&wanted, applied);
            } else {
                (visit.valid, visit.token) = (true, Some(wanted));
                visit.brought = Some(Brought {
                    glances: smallvec![(token.session, recalled.glance)],
                    carried: token,
                    lost: None,
                    retired: None,
                    left_behind: None,
                    superseded: Vec::new(),
                });
            }
            if let Some(issued) = recalled.issued {
                visit.take_issued(&issued, applied);
            }
        }
        visit.drop_spent_pin(now);
        visit
    }

    /// Those whose tokens it carries, the first one's first: a page and its script may have one each.
    pub fn sessions(&self) -> SessionIds {
        let glances = self.brought.iter().flat_map(|brought| &brought.glances);
        glances.map(|(session, _)| *session).collect()
    }

    /// What a read must see now. Of a write: what its client carries and was issued lately.
    pub fn token(&self) -> &Token {
        self.token.as_deref().unwrap_or(&NOTHING)
    }

    /// The same, to be kept.
    pub fn shared_token(&self) -> Option<&Arc<Token>> {
        self.token.as_ref()
    }

    fn token_mut(&mut self) -> &mut Token {
        Arc::make_mut(self.token.get_or_insert_default())
    }

    /// Whether it must see what its client carries, no more and no less.
    pub fn is_as_carried(&self) -> bool {
        match (&self.token, &self.brought) {
            (Some(token), Some(brought)) => {
                Arc::ptr_eq(token, &brought.carried) && brought.lost.is_none()
            }
            (Some(_), None) | (None, _) => false,
        }
    }

    fn drop_spent_pin(&mut self, now: Now) {
        let is_spent = |pin: &Pin| pin.until <= now.unix_secs;
        if self.token().pin.as_ref().is_some_and(is_spent) {
            self.token_mut().pin = None;
        }
    }

    /// Takes in what a token asks for. An entry that gives way to one of a newer epoch which does not include
    /// it is lost to this client.
    fn take(&mut self, other: &Token, applied: &Applied) {
        let own = self.token();
        if own.covers(other) {
            return;
        }
        let is_left = applied.leaves_behind(&other.vector, &own.vector)
            || applied.leaves_behind(&own.vector, &other.vector);
        let own = self.token_mut();
        own.merge(other);
        own.lost |= is_left;
    }

    /// Lets go of what every region has, or none has any more, as is known by now. Only for reads.
    pub fn sift(&mut self, applied: &Applied) {
        let Some(sifted) = applied.sift_out(&self.token().vector) else {
            return;
        };
        self.token_mut().vector = sifted.needed;
        self.note_lost(&sifted.lost);
        if let Some(brought) = &mut self.brought
            && !sifted.retired.is_empty()
        {
            brought
                .retired
                .get_or_insert_default()
                .merge(&sifted.retired);
        }
    }

    /// Asks again for what every region was known to have, if an answer says that its replica has not all of that, or is of one
    /// that was none of them.
    pub(super) fn ask_for_retired(&mut self, shows: impl Fn(&Vector) -> bool) {
        let retired = self.brought.as_mut().and_then(|brought| {
            let is_missing = |retired: &mut Box<Vector>| !shows(retired);
            brought.retired.take_if(is_missing)
        });
        if let Some(retired) = retired {
            self.token_mut().vector.merge(&retired);
        }
    }

    /// Lets go of what no region has any more. An answer that is there already may be from before a region got
    /// what by now all have, and so must still show that.
    pub fn give_up_lost(&mut self, applied: &Applied) {
        let lost = applied.sift(&self.token().vector).lost;
        if !lost.is_empty() {
            self.token_mut().set_back(&lost, applied);
            self.note_lost(&lost);
        }
    }

    /// Its client may have written what the origin of its answer has left behind with an epoch, and every region had once.
    pub(super) fn note_left_behind(&mut self, left: Option<Vector>) {
        if let Some(brought) = &mut self.brought {
            brought.left_behind = left.map(Box::new);
        }
    }

    fn note_lost(&mut self, lost: &Vector) {
        let Some(brought) = self.brought.as_mut().filter(|_| !lost.is_empty()) else {
            return;
        };
        let untold = brought.lost.get_or_insert_default();
        let is_earlier = |(writer, now): (&RegionName, Position)| {
            untold
                .get(writer)
                .is_some_and(|before| before.epoch < now.epoch)
        };
        // What a region has left behind in two epochs has one entry, which does not stand for the earlier loss.
        let gives_way = lost.iter().any(is_earlier);
        untold.merge(lost);
        if gives_way {
            self.token_mut().lost = true;
        }
    }

    /// Entries that nobody has any more, of which the client is told with this answer, if it is not stale.
    pub fn lost(&self) -> Vector {
        let lost = self
            .brought
            .as_ref()
            .and_then(|brought| brought.lost.as_deref());
        lost.cloned().unwrap_or_default()
    }

    /// The end of a read that was served so: how it is marked, and what becomes of the token, which came in these carriers.
    pub fn served(
        &mut self,
        served: Mark,
        carriers: Carriers,
        (sessions, applied): (&Sessions, &Applied),
        now: Now,
    ) -> (Mark, Reissue) {
        let left = self
            .brought
            .as_mut()
            .and_then(|brought| brought.left_behind.take());
        if let Some(left) = left.filter(|_| served != Mark::Stale) {
            self.note_lost(&left);
        }
        self.take_what_was_issued_meanwhile(sessions, applied, now);
        let Some(brought) = &self.brought else {
            return (served, Reissue::Keep);
        };
        let (own, carried) = (self.token(), &*brought.carried);
        let none = Vector::default();
        let lost = brought.lost.as_deref().unwrap_or(&none);
        let is_as_carried = self.is_as_carried()
            || (&own.vector, &own.pin) == (&carried.vector, &carried.pin) && lost.is_empty();
        if is_as_carried && !own.lost && !carried.lost && !own.is_empty() {
            return (served, Reissue::Keep);
        }
        let may_shrink = brought.may_shrink(sessions);
        let tells = served != Mark::Stale && (own.lost || !lost.is_empty());
        let mark = if tells { Mark::Lost } else { served };
        let mut next = own.clone();
        if tells {
            let rest = applied.rest(lost);
            for session in self.sessions() {
                sessions.tell_lost(session, lost, &rest, now.steady_ms);
            }
        } else {
            next.bring_back(lost, &applied.rest(lost));
        }
        if !brought.may_replace(sessions, carriers, now) {
            return (mark, Reissue::Keep);
        }
        if !may_shrink {
            next.merge(carried);
        }
        next.lost &= !tells;
        let same = |other: &Token| {
            (&next.vector, &next.pin, next.lost) == (&other.vector, &other.pin, other.lost)
        };
        let reissue = match (same(carried), next.is_empty()) {
            (true, false) => Reissue::Keep,
            (_, true) => {
                for session in self.sessions() {
                    sessions.take_back(session, carriers, now.steady_ms);
                }
                Reissue::TakeBack
            }
            (false, false) => Reissue::Token(Box::new(next)),
        };
        (mark, reissue)
    }

    /// The end of a write: the token to issue, if anything was written. `session` is for a client that has none.
    pub fn wrote(
        &mut self,
        minted: Minted,
        lifetimes: Lifetimes,
        session: u64,
        (sessions, applied): (&Sessions, &Applied),
        now: Now,
    ) -> Option<Token> {
        let mut written = Token {
            expires: lifetimes.end_of_token(now),
            ..Token::default()
        };
        match minted {
            Minted::Nothing => return None,
            Minted::At(writer, position) => written.vector.set(&writer, position),
            Minted::Pin(region) => written.pin = Some(lifetimes.pin_to(region, now)),
        }
        if !self.valid {
            self.token_mut().session = session;
        }
        for session in self.sessions() {
            if let Some(issued) = sessions.recall(session, now.steady_ms).issued {
                self.take_issued(&issued, applied);
            }
        }
        let (_, left) = self.take_superseded(applied);
        if left.iter().any(|left| !left.is_empty()) {
            self.token_mut().lost = true;
        }
        written.supersede_pin(self.token().pin.as_ref());
        // A read's answer may turn out to be a write's, and that takes nothing away.
        if let Some(brought) = &self.brought {
            let carried = brought.carried.clone();
            self.token_mut().merge(&carried);
        }
        self.take(&written, applied);
        // A pin that is newly set is the newest, even if an older one lasts longer.
        let own = self.token_mut();
        own.pin = written.pin.or_else(|| own.pin.take());
        self.drop_spent_pin(now);
        for session in self.sessions() {
            sessions.issue(session, self.token(), now.steady_ms);
        }
        Some(self.token().clone())
    }

    /// A position of a write that came too late for its answer's head: the session has it from now on.
    pub fn wrote_late(
        session: u64,
        minted: Minted,
        lifetimes: Lifetimes,
        sessions: &Sessions,
        now: Now,
    ) {
        let Minted::At(writer, position) = minted else {
            return;
        };
        let mut token = Token {
            session,
            expires: lifetimes.end_of_token(now),
            ..Token::default()
        };
        token.vector.set(&writer, position);
        sessions.issue(session, &token, now.steady_ms);
    }
}

impl Lifetimes {
    /// When a token ends that is issued now, Unix seconds: of the second in which it is issued something has passed.
    fn end_of_token(self, now: Now) -> u32 {
        now.unix_secs.saturating_add(self.ttl).saturating_add(1)
    }

    /// A pin from now on. It ends on a whole second, never before its time is over.
    pub fn pin_to(self, region: super::vector::RegionName, now: Now) -> Pin {
        Pin {
            region,
            until: now.unix_secs.saturating_add(self.pin).saturating_add(1),
            turn: 0,
        }
    }
}

#[cfg(test)]
#[path = "visit_tests/mod.rs"]
mod tests;
