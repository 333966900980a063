//! Read-your-writes as HTTP carries it: tokens in and out, and what answers say of positions.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use metrics::counter;

use super::inbound::cookies;
use crate::chance;
use crate::clock;
use crate::config::plan::{Consistency, Domain, Plan, VersionForm};
use crate::control::Control;
use crate::positions::{
    Applied, Keyring, Pin, Position, Reason, RegionName, Report, Reported, Source, Token, Vector,
    parse_position, parse_vector, reject,
};

pub(super) const MERIDIAN_REQUIRE: HeaderName = HeaderName::from_static("meridian-require");
const MERIDIAN_TOKEN: HeaderName = HeaderName::from_static("meridian-token");
const MERIDIAN_CONSISTENCY: HeaderName = HeaderName::from_static("meridian-consistency");
const MERIDIAN_COMMITTED: HeaderName = HeaderName::from_static("meridian-committed");
const MERIDIAN_APPLIED: HeaderName = HeaderName::from_static("meridian-applied");
const EXPOSE_HEADERS: HeaderName = HeaderName::from_static("access-control-expose-headers");

/// The most tokens that are merged from one request; more are ignored.
const MOST_TOKENS: usize = 8;

/// How a read with a token was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// By the best-ranked region, without waiting.
    Fresh,
    /// After a wait.
    Waited,
    /// By another region, without waiting.
    Routed,
    /// Without what the client had written.
    Stale,
}

impl Mark {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Waited => "waited",
            Self::Routed => "routed",
            Self::Stale => "stale",
        }
    }
}

/// One service's domain as a request needs it.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    pub(super) consistency: &'a Consistency,
    pub(super) domain: &'a Domain,
    pub(super) applied: &'a Arc<Applied>,
    pub(super) keyring: &'a Keyring,
    pub(super) plan: &'a Plan,
    pub(super) control: &'a Control,
    pub(super) secure: bool,
}

/// What a client carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// All its valid tokens, merged.
    pub(super) token: Token,
    /// Whether any was valid.
    pub(super) valid: bool,
    in_cookie: bool,
    in_header: bool,
}

/// What an answer says of positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Where this response's write is.
    committed: Option<(RegionName, Position)>,
    /// What the answering replica's readers see.
    pub(super) applied: Option<Vector>,
}

impl Store<'_> {
    fn cookie_name(&self) -> &'static str {
        if self.secure {
            "__Host-meridian_seen"
        } else {
            "meridian_seen"
        }
    }

    fn form(&self) -> VersionForm {
        self.domain.version
    }

    /// Reads every token that the client carries; what is not genuine counts as absent.
    pub(super) fn read(&self, headers: &HeaderMap) -> Carried {
        let now = clock::unix_secs();
        let mut carried = Carried::default();
        let mut in_cookies = cookies(headers, self.cookie_name()).peekable();
        let in_headers = headers
            .get_all(MERIDIAN_TOKEN)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|text| !text.is_empty());
        carried.in_header = headers.contains_key(MERIDIAN_TOKEN);
        carried.in_cookie = in_cookies.peek().is_some();
        for text in in_cookies.chain(in_headers).take(MOST_TOKENS) {
            match Token::open(text, self.keyring, &self.domain.name, now) {
                Ok(token) if carried.valid => carried.token.merge(&token),
                Ok(token) => {
                    carried.token = token;
                    carried.valid = true;
                }
                Err(error) => {
                    counter!("meridian_token_rejected_total", "reason" => error.label())
                        .increment(1);
                }
            }
        }
        if carried
            .token
            .pin
            .as_ref()
            .is_some_and(|pin| pin.until <= now)
        {
            carried.token.pin = None;
        }
        carried
    }

    /// Takes in what an origin's answer says, and tells the control of a region that ran backwards.
    pub(super) fn learn(
        &self,
        region: &RegionName,
        origin: &str,
        headers: &HeaderMap,
        asked_at_ms: u64,
    ) -> Said {
        let value = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
        let text = |name: &HeaderName| value(name).map(String::from_utf8_lossy);
        let committed =
            text(&MERIDIAN_COMMITTED).and_then(|text| self.parse_committed(region, &text));
        let applied = text(&MERIDIAN_APPLIED)
            .and_then(|text| self.parse_applied(Source::Answer, region, &text));
        let now_ms = clock::steady_ms();
        if let Some((writer, position)) = &committed {
            self.applied.committed(writer, *position, now_ms);
        }
        if let Some(applied) = &applied {
            self.report(region, origin, applied, asked_at_ms);
        }
        Said { committed, applied }
    }

    /// Takes in one report of a region.
    pub(super) fn report(
        &self,
        region: &RegionName,
        origin: &str,
        applied: &Vector,
        asked_at_ms: u64,
    ) {
        let report = Report {
            region,
            origin,
            applied,
            asked_at_ms,
            now_ms: clock::steady_ms(),
        };
        match self.applied.report(report) {
            Reported::Known | Reported::Advanced => {}
            Reported::Regressed => {
                let message = format!("positions of {region} ran backwards, to {applied}");
                self.control.suspect(region.clone(), message);
            }
        }
    }

    fn parse_committed(&self, region: &RegionName, text: &str) -> Option<(RegionName, Position)> {
        let (writer, position) = match text.split_once('=') {
            Some((writer, position)) => (writer.trim().into(), position.trim()),
            None => (region.clone(), text.trim()),
        };
        if self.plan.region(&writer).is_none() {
            reject(Source::Committed, region, Reason::UnknownRegion, &writer);
            return None;
        }
        match parse_position(position, self.form()) {
            Ok(position) => Some((writer, position)),
            Err(error) => {
                reject(Source::Committed, region, Reason::from(&error), &error);
                None
            }
        }
    }

    pub(super) fn parse_applied(&self, source: Source, region: &str, text: &str) -> Option<Vector> {
        match parse_vector(text, self.form()) {
            Ok(vector) => Some(vector),
            Err(error) => {
                reject(source, region, Reason::from(&error), &error);
                None
            }
        }
    }

    /// What the region must see, as it writes positions.
    pub(super) fn require(&self, vector: &Vector) -> Option<HeaderValue> {
        HeaderValue::from_str(&vector.show(self.form())).ok()
    }

    /// The token after an answer to a write: best what the region committed, else how far it has
    /// applied its own log, else a pin. `None`: nothing was written.
    pub(super) fn mint(
        &self,
        carried: &Carried,
        region: &RegionName,
        status: StatusCode,
        said: &Said,
    ) -> Option<Token> {
        let own_applied = || {
            said.applied
                .as_ref()?
                .get(region)
                .map(|position| (region.clone(), position))
        };
        let may_have_written = !status.is_client_error();
        let written = said
            .committed
            .clone()
            .or_else(|| own_applied().filter(|_| may_have_written && !status.is_server_error()));
        match written {
            Some((writer, position)) => {
                let mut token = self.renewed(carried);
                token.vector.raise(&writer, position);
                Some(token)
            }
            None if may_have_written => Some(self.pinned(carried, region)),
            None => None,
        }
    }

    /// Whether an answer is one to a write whatever the request's method says.
    pub(super) fn is_write(said: &Said) -> bool {
        said.committed.is_some()
    }

    /// The token after a write whose outcome nobody knows.
    pub(super) fn pinned(&self, carried: &Carried, region: &RegionName) -> Token {
        let mut token = self.renewed(carried);
        token.pin = Some(self.pin(region));
        token
    }

    /// A pin from now on. It ends on a whole second, never before its time is over.
    fn pin(&self, region: &RegionName) -> Pin {
        let lasts = self.consistency.pin.as_secs_f64().ceil();
        let lasts = u32::try_from(Duration::from_secs_f64(lasts).as_secs()).unwrap_or(u32::MAX);
        Pin {
            region: region.clone(),
            until: clock::unix_secs().saturating_add(lasts).saturating_add(1),
        }
    }

    fn renewed(&self, carried: &Carried) -> Token {
        let mut token = carried.token.clone();
        let ttl = u32::try_from(self.consistency.ttl.as_secs()).unwrap_or(u32::MAX);
        token.expires = clock::unix_secs().saturating_add(ttl);
        if !carried.valid {
            token.session = chance::draw();
        }
        token
    }

    /// Puts a token on the carriers that the request used, both if none. `region` took the write.
    pub(super) fn issue(
        &self,
        carried: &Carried,
        mut token: Token,
        region: &RegionName,
        headers: &mut HeaderMap,
    ) {
        let sealed = token.seal(self.keyring, &self.domain.name).or_else(|| {
            // What does not fit becomes a pin to the region of the newest write (the contract).
            counter!("meridian_token_oversized_total").increment(1);
            token.vector = Vector::default();
            token.pin.get_or_insert_with(|| self.pin(region));
            token.seal(self.keyring, &self.domain.name)
        });
        let Some(sealed) = sealed else { return };
        let neither = !carried.in_cookie && !carried.in_header;
        if (carried.in_cookie || neither)
            && let Ok(value) = HeaderValue::from_str(&self.set_cookie(&sealed))
        {
            headers.append(SET_COOKIE, value);
        }
        if (carried.in_header || neither)
            && let Ok(value) = HeaderValue::from_str(&sealed)
        {
            headers.insert(MERIDIAN_TOKEN, value);
            headers.append(EXPOSE_HEADERS, HeaderValue::from_static("Meridian-Token"));
        }
    }

    fn set_cookie(&self, sealed: &str) -> String {
        let max_age = self.consistency.ttl.as_secs();
        let secure = if self.secure { "; Secure" } else { "" };
        format!(
            "{}={sealed}; Path=/; Max-Age={max_age}{secure}; HttpOnly; SameSite=Lax",
            self.cookie_name()
        )
    }
}

/// Says how a read with a token was served; a stale answer must not be kept.
pub(super) fn mark(headers: &mut HeaderMap, mark: Mark) {
    headers.insert(
        MERIDIAN_CONSISTENCY,
        HeaderValue::from_static(mark.as_str()),
    );
    if mark == Mark::Stale {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
