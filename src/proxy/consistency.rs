//! Read-your-writes as HTTP carries it: tokens in and out, and what answers say of positions.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use metrics::counter;

use super::context::Live;
use super::shared_cache::is_targeted;
use crate::chance;
use crate::clock;
use crate::config::plan::{Consistency, Domain, Plan, VersionForm};
use crate::control::Control;
use crate::ids::ServiceId;
use crate::positions::{
    Applied, Carriers, Keyring, Lifetimes, Mark, Minted, Now, Outcome, Position, Reason,
    RegionName, Reissue, Report, Reported, Said, Sessions, Source, Token, Vector, Visit, Words,
    mint, parse_position, parse_vector, reject,
};
use crate::registered::Registered;

static REJECTED_TOKENS: Registered<&str, 4> =
    Registered::new(|reason| counter!("meridian_token_rejected_total", "reason" => *reason));

static OVERSIZED_TOKENS: Registered<(), 1> =
    Registered::new(|()| counter!("meridian_token_oversized_total"));

/// By the region that wrote; those of more regions are looked up each time.
static LOST_ENTRIES: Registered<RegionName, 64> = Registered::new(
    |writer| counter!("meridian_lost_entries_total", "region" => writer.to_string()),
);

pub(super) const MERIDIAN_REQUIRE: HeaderName = HeaderName::from_static("meridian-require");
pub(super) const MERIDIAN_TOKEN: HeaderName = HeaderName::from_static("meridian-token");
static COMMITTED: HeaderName = HeaderName::from_static("meridian-committed");
static APPLIED: HeaderName = HeaderName::from_static("meridian-applied");
const MERIDIAN_CONSISTENCY: HeaderName = HeaderName::from_static("meridian-consistency");
const EXPOSE_HEADERS: HeaderName = HeaderName::from_static("access-control-expose-headers");

/// One service's domain as a request needs it.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    pub(super) consistency: &'a Consistency,
    pub(super) domain: &'a Domain,
    pub(super) applied: &'a Arc<Applied>,
    pub(super) keyring: &'a Keyring,
    pub(super) sessions: &'a Sessions,
    pub(super) plan: &'a Plan,
    pub(super) control: &'a Control,
    pub(super) secure: bool,
}

impl<'a> Store<'a> {
    /// Of a service, over plain http; none: its reads need not see its clients' writes.
    pub(super) fn of(
        live: &'a Live,
        control: &'a Control,
        sessions: &'a Sessions,
        service: ServiceId,
    ) -> Option<Self> {
        let plan = &live.snapshot.plan;
        let consistency = plan.services.of(service).consistency.as_ref()?;
        Some(Self {
            consistency,
            domain: plan.domains.of(consistency.domain),
            applied: live.snapshot.positions.of(consistency.domain),
            keyring: &live.keyring,
            sessions,
            plan,
            control,
            secure: false,
        })
    }
}

impl Store<'_> {
    /// The cookie that carries a token.
    pub(super) fn cookie_name(&self) -> &'static str {
        if self.secure {
            "__Host-meridian_seen"
        } else {
            "meridian_seen"
        }
    }

    fn form(&self) -> VersionForm {
        self.domain.version
    }

    /// The turn of a request that carries these tokens.
    pub(super) fn visit(&self, tokens: &[Arc<Token>], now: Now) -> Visit {
        let tokens = tokens.iter().cloned();
        Visit::begin(tokens, self.sessions, self.applied, now)
    }

    /// Reads a token; what is not genuine counts as absent. `now` is in Unix seconds.
    pub(super) fn open(&self, text: &str, now: u32) -> Option<Token> {
        Token::open(text, self.keyring, &self.domain.name, now)
            .inspect_err(|error| {
                REJECTED_TOKENS.increment(&error.label());
            })
            .ok()
    }

    /// Takes in what an origin's answer says, and tells the control of a region that ran backwards.
    pub(super) fn learn(
        &self,
        region: &RegionName,
        origin: &str,
        headers: &HeaderMap,
        (asked_at_ms, now_ms): (u64, u64),
    ) -> Said {
        let (committed, applied) = positions_in(headers);
        let committed = committed
            .and_then(|text| self.parse_committed(region, &String::from_utf8_lossy(&text)));
        if let Some((writer, position)) = &committed {
            self.applied.committed(writer, *position, now_ms);
            if writer == region {
                self.applied.acknowledged(region, origin, *position, now_ms);
            }
        }
        let applied = applied.and_then(|text| {
            self.hear(Words {
                region,
                origin,
                form: self.form(),
                text: &text,
                asked_at_ms,
                now_ms,
            })
        });
        Said { committed, applied }
    }

    fn hear(&self, words: Words<'_>) -> Option<Arc<Vector>> {
        let parse = || {
            let text = String::from_utf8_lossy(words.text);
            self.parse_applied(Source::Answer, words.region, &text)
        };
        let (applied, reported) = self.applied.report_words(words, parse)?;
        self.tell_regress(words.region, &applied, reported);
        Some(applied)
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
        self.tell_regress(region, applied, self.applied.report(report));
    }

    fn tell_regress(&self, region: &RegionName, applied: &Vector, reported: Reported) {
        match reported {
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
        HeaderValue::try_from(vector.show(self.form())).ok()
    }

    /// What a write adds to its client's token.
    pub(super) fn minted(region: &RegionName, status: StatusCode, said: &Said) -> Minted {
        let outcome = if status.is_client_error() {
            Outcome::Refused
        } else if status.is_server_error() {
            Outcome::Unknown
        } else {
            Outcome::Accepted
        };
        mint(region, outcome, said)
    }

    pub(super) fn lifetimes(&self) -> Lifetimes {
        let pin = Duration::from_secs_f64(self.consistency.pin.as_secs_f64().ceil());
        let secs = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Lifetimes {
            ttl: secs(self.consistency.ttl),
            pin: secs(pin),
        }
    }

    /// The end of a write.
    pub(super) fn wrote(&self, visit: &mut Visit, minted: Minted) -> Reissue {
        let memory = (self.sessions, &**self.applied);
        visit
            .wrote(minted, self.lifetimes(), chance::draw(), memory, now())
            .map_or(Reissue::Keep, |token| Reissue::Token(Box::new(token)))
    }

    /// The end of a write whose position came behind its answer's body.
    pub(super) fn wrote_late(&self, session: u64, minted: Minted) {
        Visit::wrote_late(session, minted, self.lifetimes(), self.sessions, now());
    }

    /// The end of a read that came with a token, and whose answer came `now`.
    pub(super) fn served(
        &self,
        visit: &mut Visit,
        served: Mark,
        carriers: Carriers,
        now: Now,
    ) -> (Mark, Reissue) {
        let memory = (self.sessions, &**self.applied);
        let (mark, reissue) = visit.served(served, carriers, memory, now);
        if mark == Mark::Lost {
            self.tell_losses(&visit.lost());
        }
        (mark, reissue)
    }

    fn tell_losses(&self, lost: &Vector) {
        for (writer, position) in lost.iter() {
            LOST_ENTRIES.increment(writer);
            if self.applied.is_first_loss(writer, position.epoch) {
                let (domain, position) = (&self.domain.name, position.show(self.form()));
                let message = format!(
                    "writes of {writer} in domain {domain} are lost, {position} among them: it has left \
                     their epoch without them"
                );
                self.control.note_position(writer.clone(), message);
            }
        }
    }

    /// Puts a token on the carriers that the request used, both if none, or takes it back there. `region`
    /// answered: what does not fit becomes a pin to it.
    pub(super) fn issue(
        &self,
        carriers: Carriers,
        reissue: Reissue,
        region: &RegionName,
        headers: &mut HeaderMap,
    ) {
        let (sealed, max_age) = match reissue {
            Reissue::Keep => return,
            Reissue::TakeBack => (String::new(), 0),
            Reissue::Token(token) => {
                let max_age = token.lasts_secs(now().unix_secs);
                match self.seal(*token, region) {
                    Some(sealed) => (sealed, max_age),
                    None => return,
                }
            }
        };
        let neither = !carriers.cookie && !carriers.header;
        if (carriers.cookie || neither)
            && let Ok(value) = HeaderValue::from_str(&self.set_cookie(&sealed, max_age))
        {
            headers.append(SET_COOKIE, value);
        }
        if (carriers.header || neither)
            && let Ok(value) = HeaderValue::from_str(&sealed)
        {
            headers.insert(MERIDIAN_TOKEN, value);
            headers.append(EXPOSE_HEADERS, HeaderValue::from_static("Meridian-Token"));
        }
    }

    fn seal(&self, token: Token, region: &RegionName) -> Option<String> {
        let pin = self.lifetimes().pin_to(region.clone(), now());
        let (sealed, waived) = token.seal_or_waive(self.keyring, &self.domain.name, pin)?;
        if waived > 0 {
            OVERSIZED_TOKENS.increment(&());
        }
        Some(sealed)
    }

    fn set_cookie(&self, sealed: &str, max_age: u32) -> String {
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
        // Caches that know their own field prefer it (RFC 9213 §2.2).
        let targeted = headers.keys().filter(|name| is_targeted(name.as_str()));
        for name in targeted.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
        headers.remove(EXPIRES);
    }
}

/// All lines of a field, if there are any.
type Lines<'a> = Option<Cow<'a, [u8]>>;

/// What fields say was committed and is applied.
fn positions_in(fields: &HeaderMap) -> (Lines<'_>, Lines<'_>) {
    let (mut committed, mut applied) = (None, None);
    for (name, value) in fields {
        if *name == COMMITTED {
            add_line(&mut committed, value.as_bytes());
        } else if *name == APPLIED {
            add_line(&mut applied, value.as_bytes());
        }
    }
    (committed, applied)
}

/// Several lines of one field are one list (RFC 9110 §5.3).
fn add_line<'a>(lines: &mut Lines<'a>, line: &'a [u8]) {
    *lines = Some(match lines.take() {
        None => Cow::Borrowed(line),
        Some(before) => Cow::Owned([&before, &b", "[..], line].concat()),
    });
}

/// Whether an answer is one to a write whatever the request's method says.
pub(super) fn is_write(said: &Said) -> bool {
    said.committed.is_some()
}

fn now() -> Now {
    Now {
        unix_secs: clock::unix_secs(),
        steady_ms: clock::steady_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_stale_answer_keeps_no_field_that_caches_go_by() {
        let kept = |served: Mark| {
            let mut headers = fields(&[
                ("cache-control", "max-age=60"),
                ("cdn-cache-control", "max-age=600"),
                ("example-cache-control", "max-age=600"),
                ("surrogate-control", "max-age=600"),
                ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ]);
            mark(&mut headers, served);
            (
                headers[CACHE_CONTROL].to_str().unwrap().to_owned(),
                headers.len(),
            )
        };
        assert_eq!(kept(Mark::Stale), ("no-store".to_owned(), 2));
        assert_eq!(kept(Mark::Fresh), ("max-age=60".to_owned(), 6));
    }

    #[test]
    fn several_lines_of_one_field_are_one_list() {
        let headers = fields(&[
            ("meridian-applied", "us=1"),
            ("meridian-committed", "5"),
            ("meridian-applied", "eu=2"),
            ("meridian-committed", "6"),
        ]);
        let (committed, applied) = positions_in(&headers);
        assert_eq!(committed.as_deref(), Some(&b"5, 6"[..]));
        assert_eq!(applied.as_deref(), Some(&b"us=1, eu=2"[..]));
    }
}
