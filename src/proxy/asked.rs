//! Who asks for what, as far as the head of a request tells.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;

use super::activity::Activity;
use super::affinity::{Known, Session};
use super::carried::{Carried, Reader};
use super::consistency::Store;
use super::context::Live;
use super::handle::Exchange;
use super::headers::is_grpc;
use super::host::Host;
use super::pace::{Pace, Part};
use super::problem::Problem;
use super::repeat::Repeat;
use super::shared_cache::Question;
use super::{http2, inbound};
use crate::clock;
use crate::config::plan::{Access, Service};
use crate::ids::ServiceId;
use crate::positions::{Carriers, Now, SessionIds, Visit};

/// What the head of a request says, and what is known of who sent it.
pub(super) struct Asked<'a> {
    pub(super) service_id: ServiceId,
    pub(super) service: &'a Service,
    pub(super) host: Arc<Host>,
    pub(super) client: IpAddr,
    pub(super) trusted: bool,
    pub(super) access: Access,
    pub(super) store: Option<Store<'a>>,
    /// What it carries of the edge's own; none: nothing.
    pub(super) carried: Option<Arc<Carried>>,
    /// What the last read came to that asked the same, if nothing has changed since.
    pub(super) repeat: Option<Arc<Repeat>>,
    /// How often what is known of positions had changed before it was looked at.
    pub(super) changes: u64,
    /// The sessions of its tokens.
    pub(super) sessions: SessionIds,
    pub(super) known: Known,
    /// What of the request tells whether shared caches may keep its answer.
    pub(super) question: Question,
    pub(super) pace: Pace,
    /// What its body is.
    pub(super) sends: Part,
    /// When its head was read.
    pub(super) now: Now,
}

impl Asked<'_> {
    /// Where it carries tokens.
    pub(super) fn carriers(&self) -> Carriers {
        let carried = self.carried.as_ref();
        carried.map_or_else(Carriers::default, |carried| carried.carriers)
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn read_head(&self, parts: &Parts) -> Result<(Asked<'a>, Visit), Problem> {
        let live: &'a Live = self.live;
        let plan = &live.snapshot.plan;
        http2::check_request(parts)?;
        if live.routes.via.is_looping(&parts.headers) {
            return Err(Problem::Looping);
        }
        let host = Host::of(parts)?;
        let service_id = self.service_for(&host.name)?;
        let service = plan.services.of(service_id);
        inbound::check_size(&parts.headers, &service.limits)?;
        let trusted_proxies = &plan.listen.trusted_proxies;
        let client = inbound::client(&parts.headers, self.connection.source(), trusted_proxies);
        let access = inbound::access(service, &parts.method, parts.uri.path());
        self.journal
            .inspect(|journal| journal.asked(client, &service.name, access));
        let store = self.store(service_id);
        let now = Now {
            unix_secs: clock::unix_secs(),
            steady_ms: clock::steady_ms_at(self.began.into_std()),
        };
        let session = self.session(service, &host.name, now.unix_secs);
        let reader = Reader {
            service: service_id,
            store,
            session,
        };
        let carried = self.connection.recognized.read(&parts.headers, &reader);
        let session = reader.session;
        let known = session.find(carried.as_deref(), &parts.headers, client);
        let begun = store.zip(carried.as_ref());
        let begun = begun.map(|(store, carried)| self.begin(&store, carried, client, access, now));
        let (visit, repeat, changes) = begun.unwrap_or_default();
        let asked = Asked {
            pace: self.pace(service),
            sends: if is_grpc(&parts.headers) {
                Part::Messages
            } else {
                Part::Request
            },
            question: Question::new(&parts.method, &parts.headers),
            service_id,
            service,
            trusted: inbound::is_trusted(self.connection.source(), trusted_proxies),
            access,
            host,
            client,
            store,
            sessions: visit.sessions(),
            carried,
            repeat,
            changes,
            known,
            now,
        };
        Ok((asked, visit))
    }

    /// The service that answers for a host on this connection.
    fn service_for(&self, host: &str) -> Result<ServiceId, Problem> {
        let routes = &self.live.routes;
        let service = routes.service(host);
        let service = service.ok_or_else(|| Problem::UnknownHost(host.to_owned()))?;
        let tls = self.connection.tls.as_ref();
        let sni = tls.and_then(|tls| tls.sni.as_deref());
        if sni.is_some_and(|sni| routes.identities.is_misdirected(sni, host)) {
            return Err(Problem::Misdirected(host.to_owned()));
        }
        Ok(service)
    }

    fn pace(&self, service: &Service) -> Pace {
        let whole = service.timeouts.request;
        Pace {
            activity: Arc::new(Activity::since(self.began)),
            part: Part::Answer,
            idle: service.timeouts.idle,
            deadline: (!whole.is_zero()).then(|| self.began + whole),
            rate: 0,
        }
    }

    pub(super) fn session<'s>(
        &'s self,
        service: &'s Service,
        host: &'s str,
        now: u32,
    ) -> Session<'s> {
        Session {
            service,
            plan: &self.live.snapshot.plan,
            keyring: &self.live.keyring,
            sticky: &self.context.sticky,
            host,
            secure: self.is_secure(),
            now,
        }
    }
}
