//! What an exchange comes to for its client's token: in the head of the answer, in its trailers, and while it
//! lasts.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, Response, Version};

use super::asked::Asked;
use super::body::{Heed, Source};
use super::consistency::{Store, is_write};
use super::context::Live;
use super::forward::Forwarded;
use super::handle::Exchange;
use crate::clock;
use crate::config::plan::Access;
use crate::control::Control;
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::positions::{Minted, Now, Reissue, SessionIds, Sessions, Visit};

/// A write that is under way, of each session whose token it carries, until this is dropped.
pub(super) struct UnderWay {
    sessions: Arc<Sessions>,
    carried: SessionIds,
}

impl UnderWay {
    fn begin(sessions: &Arc<Sessions>, carried: SessionIds) -> Self {
        for session in &carried {
            sessions.begin_write(*session, clock::steady_ms());
        }
        Self {
            sessions: sessions.clone(),
            carried,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for session in &self.carried {
            self.sessions.end_write(*session, clock::steady_ms());
        }
    }
}

/// Waits for an answer's trailers: positions of a streamed answer, which its head could not have.
pub(super) struct Trailers {
    live: Arc<Live>,
    control: Control,
    sessions: Arc<Sessions>,
    service: ServiceId,
    region: RegionId,
    origin: OriginId,
    asked_at_ms: u64,
    /// Who is given what they say; none: nobody carries a token.
    carried: SessionIds,
    /// Whether the head had no position yet.
    is_open: bool,
    /// Ends with the body, after the trailers.
    _under_way: Option<UnderWay>,
}

impl Heed for Trailers {
    fn heed(self: Box<Self>, trailers: &HeaderMap) {
        let Some(store) = Store::of(&self.live, &self.control, &self.sessions, self.service) else {
            return;
        };
        let name = &self.live.snapshot.plan.regions.of(self.region).name;
        let origin = self.live.routes.origin(self.origin);
        let times = (self.asked_at_ms, clock::steady_ms());
        let said = store.learn(name, origin, trailers, times);
        let own = said.applied.as_ref().and_then(|applied| applied.get(name));
        let minted = match (said.committed, own.filter(|_| self.is_open)) {
            (Some((writer, position)), _) => Minted::At(writer, position),
            (None, Some(own)) => Minted::At(name.clone(), own),
            (None, None) => Minted::Nothing,
        };
        for session in self.carried {
            store.wrote_late(session, minted.clone());
        }
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn store(&self, service: ServiceId) -> Option<Store<'a>> {
        let store = Store::of(
            self.live,
            &self.context.control,
            &self.context.sessions,
            service,
        )?;
        Some(Store {
            secure: self.is_secure(),
            ..store
        })
    }

    /// Notes that a write of its sessions is under way.
    pub(super) fn begin_write(&self, asked: &Asked<'_>) -> Option<UnderWay> {
        let is_noted = asked.access == Access::Write && !asked.sessions.is_empty();
        is_noted.then(|| UnderWay::begin(&self.context.sessions, asked.sessions.clone()))
    }

    /// Settles what becomes of the client's token, and how the answer is marked.
    pub(super) fn settle(&self, asked: &Asked<'_>, visit: &mut Visit, forwarded: &mut Forwarded) {
        let Some(store) = asked.store else { return };
        if asked.access == Access::Write || is_write(&forwarded.said) {
            let name = &self.live.snapshot.plan.regions.of(forwarded.region).name;
            let minted = Store::minted(name, forwarded.response.status(), &forwarded.said);
            forwarded.reissue = store.wrote(visit, minted);
        } else if let Some(served) = forwarded.mark {
            // What is remembered of a session may end a little late, and a pin too, but not early.
            let now = Now {
                steady_ms: forwarded.answered_at_ms,
                ..asked.now
            };
            let (mark, reissue) = store.served(visit, served, asked.carriers(), now);
            (forwarded.mark, forwarded.reissue) = (Some(mark), reissue);
        }
    }

    /// To be told of an answer's trailers, and to hold its write under way until then.
    pub(super) fn trailers(
        &self,
        asked: &Asked<'_>,
        forwarded: &Forwarded,
        under_way: Option<UnderWay>,
    ) -> Option<Box<Trailers>> {
        asked.store?;
        let response = &forwarded.response;
        let mut carried = asked.sessions.clone();
        if let Reissue::Token(token) = &forwarded.reissue
            && !carried.contains(&token.session)
        {
            carried.push(token.session);
        }
        let may_come = may_have_trailers(response, !carried.is_empty());
        if !may_come && under_way.is_none() {
            return None;
        }
        let is_accepted = response.status().as_u16() < 400;
        Some(Box::new(Trailers {
            live: self.live.clone(),
            control: self.context.control.clone(),
            sessions: self.context.sessions.clone(),
            service: asked.service_id,
            region: forwarded.region,
            origin: forwarded.origin,
            asked_at_ms: forwarded.asked_at_ms,
            carried,
            is_open: asked.access == Access::Write
                && is_accepted
                && forwarded.said.committed.is_none(),
            _under_way: under_way,
        }))
    }
}

/// Whether trailers may follow an answer. HTTP/1.1 has them only behind chunks (RFC 9112 §7.1.2), so not where a length
/// was told; of those that are not announced only what a client's token needs is waited for.
fn may_have_trailers(response: &Response<Source>, is_needed: bool) -> bool {
    let headers = response.headers();
    response.version() == Version::HTTP_2
        || !headers.contains_key(CONTENT_LENGTH) && (is_needed || headers.contains_key(TRAILER))
}
