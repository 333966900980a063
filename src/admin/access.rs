//! Who may see and who may change something: bearers of tokens, or without any whoever is on this machine.
//!
//! `attempts` bounds guessing, `pages` refuses what browsers bring from elsewhere; what a caller is known as from here
//! on is in `caller`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use rustls::ServerConfig;

use super::attempts::Attempts;
use super::audit;
use super::caller::{Caller, Who};
use super::denied::{Denied, denied};
use super::pace::Pace;
use super::pages::{names_this_machine, refuse_doubtful_host, refuse_other_pages};
use super::positions;
use super::refusals::Refusals;
use super::state::AdminState;
use crate::clock;
use crate::config::plan::{AdminAccess, AdminToken, Role, TokenDigest};
use crate::prefix::Prefix;

/// Who is let in, and how.
pub struct Access {
    tls: ArcSwapOption<ServerConfig>,
    attempts: Mutex<Attempts>,
    requests: Mutex<Pace<Prefix>>,
    changes: Mutex<Pace<Who>>,
    refusals: Mutex<Refusals>,
}

impl Access {
    /// Encrypted as given, or in clear.
    pub fn new(tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            tls: ArcSwapOption::new(tls),
            attempts: Mutex::default(),
            requests: Mutex::new(Pace::of_requests()),
            changes: Mutex::new(Pace::of_changes()),
            refusals: Mutex::default(),
        }
    }

    /// From now on new connections are encrypted as given, or in clear.
    pub fn encrypt_with(&self, tls: Option<Arc<ServerConfig>>) {
        self.tls.store(tls);
    }

    /// Whether a refusal is told, and how many of the same caller were not before it.
    pub(super) fn admit_refusal(&self, who: &Who, now_ms: u64) -> Option<u64> {
        let refusals = self.refusals.lock();
        let mut refusals = refusals.unwrap_or_else(PoisonError::into_inner);
        refusals.admit(who, now_ms)
    }

    /// Turns away who asks for too much.
    fn pace(&self, client: IpAddr, now_ms: u64) -> Result<(), Denied> {
        let mut pace = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = pace.admit_client(client, now_ms);
        let why = "too many requests came from this network: it may make 500 a second";
        admitted.map_err(|too_early_ms| too_many(why, too_early_ms))
    }

    /// Turns away who may change something, and does so too often.
    fn changes_of(&self, who: Who, now_ms: u64) -> Result<Who, Denied> {
        let mut pace = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let why = "too many changes came from this caller: it may make two a second";
        match pace.admit(who.clone(), now_ms) {
            Ok(()) => Ok(who),
            Err(too_early_ms) => Err(Denied {
                known: Some(who),
                ..too_many(why, too_early_ms)
            }),
        }
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.load_full()
    }
}

fn too_many(why: &'static str, too_early_ms: u64) -> Denied {
    Denied {
        retry_after_secs: Some(too_early_ms.div_ceil(1_000)),
        ..denied(StatusCode::TOO_MANY_REQUESTS, why)
    }
}

/// Where the admin listens; decides whether changes without a token are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListensOn(pub(super) SocketAddr);

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What a request needs the right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing: the page without what it shows, and whether the process runs.
    Nothing,
    /// To see.
    Read,
    /// To change.
    Operate,
}

impl Need {
    fn of(method: &Method, path: &str) -> Self {
        if !matches!(*method, Method::GET | Method::HEAD) {
            Self::Operate
        } else if path.starts_with("/api/") || path == "/metrics" {
            Self::Read
        } else {
            Self::Nothing
        }
    }
}

/// Whether what is asked for counts. Pushes do not: a region makes as many as its store commits, and they cost little.
fn is_paced(need: Need, path: &str) -> bool {
    need != Need::Nothing && !path.starts_with(positions::PATH)
}

/// Lets pass whoever has the right to, and says who that is to what comes next.
pub(super) async fn guard(
    State((state, listens_on)): State<(Arc<AdminState>, ListensOn)>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = request
        .extensions()
        .get()
        .map_or(listens_on.0.ip(), |Peer(ip)| *ip);
    let asked = Asked {
        need: Need::of(request.method(), request.uri().path()),
        headers: request.headers(),
        from,
        listens_on,
    };
    let leaves_a_body = leaves_a_body(&request);
    if let Err(denied) = refuse_doubtful_host(request.version(), request.uri(), request.headers()) {
        return denied.answer(leaves_a_body);
    }
    let now_ms = clock::steady_ms();
    let who = {
        let snapshot = state.snapshot();
        let attempts = state.access.attempts.lock();
        let mut attempts = attempts.unwrap_or_else(PoisonError::into_inner);
        asked.judge(&snapshot.plan.admin, &mut attempts, now_ms)
    };
    let is_paced = is_paced(asked.need, request.uri().path());
    if is_paced && let Err(denied) = state.access.pace(from, now_ms) {
        // Who only sees is no news, and would push out that of strangers.
        if asked.need == Need::Operate {
            let who = who.unwrap_or_else(|denied| denied.who());
            let call = named(&request);
            audit::tell_of_refusal(&state, (who, from), call, &denied).await;
        }
        return denied.answer(leaves_a_body);
    }
    let may_see = asked.need != Need::Nothing || asked.is_open(&state.snapshot().plan.admin);
    let who = if asked.need == Need::Operate && is_paced {
        who.and_then(|who| state.access.changes_of(who, now_ms))
    } else {
        who
    };
    match who {
        Ok(who) => {
            let caller = Caller { who, from, may_see };
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            let (who, call) = (denied.who(), named(&request));
            audit::tell_of_refusal(&state, (who, from), call, &denied).await;
            denied.answer(leaves_a_body)
        }
    }
}

/// Whether an answer to a request would come before its body was read, on a connection that ends by that.
fn leaves_a_body(request: &Request) -> bool {
    request.version() < Version::HTTP_2 && !request.body().is_end_stream()
}

/// What a request is known as, without its query, which may hold a client's token; but that a drain was none is told.
fn named(request: &Request) -> String {
    let (method, uri) = (request.method(), request.uri());
    let dry_run = if audit::is_dry_run(method, uri) {
        "?dry_run=true"
    } else {
        ""
    };
    format!("{method} {}{dry_run}", uri.path())
}

/// All that decides whether a request may pass.
struct Asked<'a> {
    need: Need,
    headers: &'a HeaderMap,
    from: IpAddr,
    listens_on: ListensOn,
}

impl Asked<'_> {
    fn judge(
        &self,
        admin: &AdminAccess,
        attempts: &mut Attempts,
        now_ms: u64,
    ) -> Result<Who, Denied> {
        match self.need {
            Need::Nothing => return Ok(Who::Anybody),
            Need::Read if self.is_open(admin) => return Ok(Who::Anybody),
            Need::Read => {}
            Need::Operate => {
                refuse_other_pages(self.headers)?;
                if admin.tokens.is_empty() {
                    return self.on_this_machine();
                }
            }
        }
        if admin.tokens.is_empty() {
            return Err(WITHOUT_TOKEN_BY_NAME);
        }
        let token = self.bearer(admin, attempts, now_ms)?;
        if self.need == Need::Operate && token.role == Role::Read {
            return Err(Denied {
                known: Some(Who::Bearer(token.name.clone())),
                ..denied(
                    StatusCode::FORBIDDEN,
                    "this token may see and not change: its role is read",
                )
            });
        }
        Ok(Who::Bearer(token.name.clone()))
    }

    /// Whether it may see without a token.
    fn is_open(&self, admin: &AdminAccess) -> bool {
        admin.is_open_to_readers() && self.is_no_rebound_page()
    }

    /// Without tokens changes are trusted to whoever is on this machine.
    fn on_this_machine(&self) -> Result<Who, Denied> {
        if !self.listens_on.0.ip().is_loopback() {
            return Err(denied(
                StatusCode::FORBIDDEN,
                "without `admin.token` changes are refused, unless admin listens on loopback",
            ));
        }
        if !self.is_no_rebound_page() {
            return Err(WITHOUT_TOKEN_BY_NAME);
        }
        Ok(Who::ThisMachine)
    }

    /// A page of a name that its owner lets point to this machine (DNS rebinding) has that name as Host.
    fn is_no_rebound_page(&self) -> bool {
        !self.listens_on.0.ip().is_loopback() || names_this_machine(self.headers)
    }

    /// Whose token the request bears.
    fn bearer<'a>(
        &self,
        admin: &'a AdminAccess,
        attempts: &mut Attempts,
        now_ms: u64,
    ) -> Result<&'a AdminToken, Denied> {
        let Some(given) = bearer(self.headers) else {
            return Err(denied(
                StatusCode::UNAUTHORIZED,
                "a bearer token is needed: `Authorization: Bearer TOKEN`",
            ));
        };
        if let Some(wait_ms) = attempts.wait_ms(self.from, now_ms) {
            return Err(Denied {
                retry_after_secs: Some(wait_ms.div_ceil(1_000)),
                ..denied(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong tokens came from this network: try again later",
                )
            });
        }
        let given = TokenDigest::of(given);
        find(&admin.tokens, &given, TokenDigest::eq).ok_or_else(|| {
            attempts.failed(self.from, given, now_ms);
            denied(
                StatusCode::UNAUTHORIZED,
                "the bearer token is not the right one",
            )
        })
    }
}

const WITHOUT_TOKEN_BY_NAME: Denied = denied(
    StatusCode::FORBIDDEN,
    "without a token, requests to an admin on loopback need a Host that is an address or localhost",
);

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    // RFC 9110 §11.1: the scheme is case-insensitive.
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The token of this digest. Every digest is compared, whichever was the one, so that nothing leaks which it was.
fn find<'a>(
    tokens: &'a [AdminToken],
    given: &TokenDigest,
    is_same: impl Fn(&TokenDigest, &TokenDigest) -> bool,
) -> Option<&'a AdminToken> {
    tokens.iter().fold(None, |found, token| {
        if is_same(given, &token.digest) {
            Some(token)
        } else {
            found
        }
    })
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
