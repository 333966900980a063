//! Who may see and who may change something: bearers of tokens, or without any whoever is on this machine.
//!
//! `attempts` bounds guessing; what a caller is known as from here on is in `caller`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use aws_lc_rs::{constant_time, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;

use super::attempts::Attempts;
use super::audit;
use super::caller::{Caller, Who};
use super::state::AdminState;
use super::writes::error;
use crate::clock;
use crate::config::plan::{AdminAccess, AdminToken, Role};
use crate::control::Strangers;

/// Who is let in, and how.
#[derive(Default)]
pub struct Access {
    tls: ArcSwapOption<ServerConfig>,
    attempts: Mutex<Attempts>,
    strangers: Mutex<Strangers>,
}

impl Access {
    /// Encrypted as given, or in clear.
    pub fn new(tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            tls: ArcSwapOption::new(tls),
            attempts: Mutex::default(),
            strangers: Mutex::default(),
        }
    }

    /// From now on new connections are encrypted as given, or in clear.
    pub fn encrypt_with(&self, tls: Option<Arc<ServerConfig>>) {
        self.tls.store(tls);
    }

    /// Whether a refusal is told, and how many were not before it.
    pub(super) fn admit_stranger(&self, now_ms: u64) -> Option<u64> {
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        strangers.admit(now_ms)
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.load_full()
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

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Denied {
    status: StatusCode,
    why: &'static str,
    /// After how many seconds trying again makes sense.
    retry_after_secs: Option<u64>,
}

const fn denied(status: StatusCode, why: &'static str) -> Denied {
    Denied {
        status,
        why,
        retry_after_secs: None,
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = error(self.status, self.why).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names how to do better.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
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
    let who = {
        let snapshot = state.snapshot();
        let attempts = state.access.attempts.lock();
        let mut attempts = attempts.unwrap_or_else(PoisonError::into_inner);
        asked.judge(&snapshot.plan.admin, &mut attempts, clock::steady_ms())
    };
    let may_see = asked.need != Need::Nothing || asked.is_open(&state.snapshot().plan.admin);
    match who {
        Ok(who) => {
            let caller = Caller { who, from, may_see };
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            // Without the query: it may hold a client's token.
            let what = format!("{} {}", request.method(), request.uri().path());
            let outcome = (denied.status, denied.why);
            audit::tell_of_refusal(&state, from, what, outcome).await;
            denied.into_response()
        }
    }
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
            return Err(denied(
                StatusCode::FORBIDDEN,
                "this token may see and not change: its role is read",
            ));
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
        find(&admin.tokens, given).ok_or_else(|| {
            attempts.failed(self.from, now_ms);
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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    // RFC 9110 §11.1: the scheme is case-insensitive.
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The token of this text. Digests of all are compared in constant time, so that neither content, length nor
/// which of them it was leaks.
fn find<'a>(tokens: &'a [AdminToken], given: &str) -> Option<&'a AdminToken> {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    let given = digest(given);
    let is_given = |token: &AdminToken| {
        let expected = digest(token.secret.expose());
        constant_time::verify_slices_are_equal(given.as_ref(), expected.as_ref()).is_ok()
    };
    tokens.iter().fold(
        None,
        |found, token| {
            if is_given(token) { Some(token) } else { found }
        },
    )
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<axum::http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

/// Browsers say where a request comes from; one from elsewhere must not ride on what this browser may do here.
/// What a page can send without asking first (a form) is never JSON.
fn refuse_other_pages(headers: &HeaderMap) -> Result<(), Denied> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (origin, site) = (headers.get("origin"), headers.get("sec-fetch-site"));
    let is_from_here = match (origin, text("origin"), text("host")) {
        (None, _, _) => true,
        (Some(_), Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        (Some(_), _, _) => false,
    };
    let is_same_site =
        site.is_none() || matches!(text("sec-fetch-site"), Some("same-origin" | "none"));
    if !is_from_here || !is_same_site {
        return Err(denied(
            StatusCode::FORBIDDEN,
            "a page of another origin may not change anything here",
        ));
    }
    let is_browser = origin.is_some() || site.is_some();
    let is_json = text("content-type").is_none_or(|given| {
        let essence = given.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    });
    if is_browser && !is_json {
        return Err(denied(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a page must send `Content-Type: application/json`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Secret;

    const LOCAL: &str = "127.0.0.1:9090";
    const OPEN: &str = "0.0.0.0:9090";

    fn token(name: &str, role: Role) -> AdminToken {
        AdminToken {
            name: name.into(),
            secret: Secret::new(format!("token-of-{name}")),
            role,
        }
    }

    fn access(tokens: &[(&str, Role)]) -> AdminAccess {
        AdminAccess {
            tokens: tokens
                .iter()
                .map(|(name, role)| token(name, *role))
                .collect(),
            tls: None,
        }
    }

    /// What becomes of a request: the status it is turned away with, or who it is of.
    #[track_caller]
    fn check(
        (need, fields): (Need, &[(&'static str, &str)]),
        admin: &AdminAccess,
        address: &str,
        expected: Result<&str, u16>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let asked = Asked {
            need,
            headers: &headers,
            from: IpAddr::from([203, 0, 113, 1]),
            listens_on: ListensOn(address.parse().unwrap()),
        };
        let judged = asked.judge(admin, &mut Attempts::default(), 0);
        let told = judged
            .map(|who| who.to_string())
            .map_err(|denied| denied.status.as_u16());
        assert_eq!(
            told.as_deref().map_err(|status| *status),
            expected,
            "{fields:?}"
        );
    }

    fn bears(name: &str) -> String {
        format!("Bearer token-of-{name}")
    }

    #[test]
    fn without_a_token_only_this_machine_may_change_anything() {
        let nobody = access(&[]);
        check((Need::Operate, &[]), &nobody, LOCAL, Ok("(this machine)"));
        check((Need::Operate, &[]), &nobody, OPEN, Err(403));
        check((Need::Read, &[]), &nobody, OPEN, Ok("(anybody)"));
    }

    #[test]
    fn with_a_token_only_its_bearer_may() {
        let admin = access(&[("admin", Role::Operate)]);
        for address in [LOCAL, OPEN] {
            let right = [("authorization", &*bears("admin"))];
            check((Need::Operate, &right), &admin, address, Ok("admin"));
            let wrong = [("authorization", "Bearer wrong")];
            check((Need::Operate, &wrong), &admin, address, Err(401));
            check((Need::Operate, &[]), &admin, address, Err(401));
            check((Need::Read, &[]), &admin, address, Ok("(anybody)"));
        }
    }

    #[test]
    fn a_reader_sees_and_does_not_change_and_from_then_on_others_do_not_see() {
        let admin = access(&[("bob", Role::Read), ("alice", Role::Operate)]);
        for address in [LOCAL, OPEN] {
            let (bob, alice) = (bears("bob"), bears("alice"));
            let (bob, alice) = ([("authorization", &*bob)], [("authorization", &*alice)]);
            check((Need::Read, &bob), &admin, address, Ok("bob"));
            check((Need::Operate, &bob), &admin, address, Err(403));
            check((Need::Read, &alice), &admin, address, Ok("alice"));
            check((Need::Operate, &alice), &admin, address, Ok("alice"));
            check((Need::Read, &[]), &admin, address, Err(401));
            check((Need::Nothing, &[]), &admin, address, Ok("(anybody)"));
        }
    }

    #[test]
    fn a_page_from_elsewhere_may_not_use_this_machine_s_trust() {
        let nobody = access(&[]);
        let host = ("host", LOCAL);
        for (field, expected) in [
            (("origin", "http://127.0.0.1:9090"), Ok("(this machine)")),
            (("origin", "https://evil.example"), Err(403)),
            (("origin", "http://127.0.0.1:8080"), Err(403)),
            (("origin", "null"), Err(403)),
            (("sec-fetch-site", "same-origin"), Ok("(this machine)")),
            (("sec-fetch-site", "same-site"), Err(403)),
            (("sec-fetch-site", "cross-site"), Err(403)),
        ] {
            check((Need::Operate, &[host, field]), &nobody, LOCAL, expected);
        }
        let form = ("content-type", "text/plain");
        let page = ("sec-fetch-site", "same-origin");
        check(
            (Need::Operate, &[host, page, form]),
            &nobody,
            LOCAL,
            Err(415),
        );
        let json = ("content-type", "application/json; charset=utf-8");
        let fields = [host, page, json];
        check(
            (Need::Operate, &fields),
            &nobody,
            LOCAL,
            Ok("(this machine)"),
        );
        // curl says this of what it is given with -d, and is no page.
        let curl = [host, ("content-type", "application/x-www-form-urlencoded")];
        check((Need::Operate, &curl), &nobody, LOCAL, Ok("(this machine)"));
    }

    #[test]
    fn a_name_that_points_to_this_machine_sees_and_changes_nothing() {
        let (nobody, admin) = (access(&[]), access(&[("admin", Role::Operate)]));
        for (host, may) in [
            ("evil.example:9090", false),
            ("localhost:9090", true),
            ("[::1]:9090", true),
        ] {
            let fields = [("host", host)];
            let seen = if may { Ok("(anybody)") } else { Err(403) };
            let changed = if may { Ok("(this machine)") } else { Err(403) };
            check((Need::Read, &fields), &nobody, LOCAL, seen);
            check((Need::Operate, &fields), &nobody, LOCAL, changed);
        }
        // Whoever bears a token is no page that a name was bent for.
        let told = bears("admin");
        let fields = [("host", "edge.internal"), ("authorization", &*told)];
        check((Need::Read, &fields), &admin, LOCAL, Ok("admin"));
        check(
            (Need::Read, &[("host", "edge.internal")]),
            &admin,
            LOCAL,
            Err(401),
        );
        check(
            (Need::Read, &[("host", "edge.internal")]),
            &admin,
            OPEN,
            Ok("(anybody)"),
        );
    }

    #[test]
    fn whoever_guesses_is_soon_not_heard_even_with_the_right_token() {
        let admin = access(&[("admin", Role::Operate)]);
        let mut attempts = Attempts::default();
        let mut guess = |token: &str, now_ms: u64| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            let asked = Asked {
                need: Need::Operate,
                headers: &headers,
                from: IpAddr::from([203, 0, 113, 1]),
                listens_on: ListensOn(OPEN.parse().unwrap()),
            };
            let judged = asked.judge(&admin, &mut attempts, now_ms);
            judged.map_or_else(|denied| denied.status.as_u16(), |_| 200)
        };
        let first = (0..100).position(|_| guess("wrong", 0) == 429);
        assert_eq!(first, Some(20));
        assert_eq!(guess("token-of-admin", 0), 429);
        assert_eq!(guess("token-of-admin", 3_000), 200);
    }
}
