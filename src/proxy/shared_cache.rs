//! Whether a cache that many clients share may keep an answer (RFC 9111 §3), and so may not see a cookie of
//! one of them. Pure.
//!
//! `Set-Cookie` does not keep caches from storing an answer (RFC 9111 §7.3), and whoever is answered from there gets
//! the cookie too.

use http::header::{AUTHORIZATION, CACHE_CONTROL, DATE, EXPIRES};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// How a cookie of one client goes with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookies {
    /// No shared cache keeps the answer: it may be set.
    Fit,
    /// Shared caches may keep it, though its origin does not ask for that: it may be set once the answer says
    /// `private`.
    FitIfPrivate,
    /// Its origin wants shared caches to keep it, or to renew with it what they have.
    Spoil,
}

/// What of a request decides whether shared caches may keep its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// RFC 9110 §9.2.3: the answer may be kept without being asked to.
    is_safe: bool,
    /// RFC 9111 §3.5: the answer may be kept only if it is allowed by name.
    is_authorized: bool,
}

impl Question {
    pub(super) fn new(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            is_safe: super::inbound::is_safe(method),
            is_authorized: headers.contains_key(AUTHORIZATION),
        }
    }

    /// How cookies go with this answer.
    pub(super) fn cookies(self, status: StatusCode, answer: &HeaderMap) -> Cookies {
        if status == StatusCode::NOT_MODIFIED {
            // RFC 9111 §3.2: its fields become those of the stored answer, whose own directives nobody here knows.
            return Cookies::Spoil;
        }
        let targeted = answer.keys().filter(|name| is_targeted(name.as_str()));
        let targeted = targeted.flat_map(|name| answer.get_all(name));
        let targeted: Vec<Asks> = targeted.map(|line| Asks::of([line])).collect();
        if targeted.iter().any(|asks| !asks.is_forbidden) {
            return Cookies::Spoil;
        }
        let asks = Asks::of(answer.get_all(CACHE_CONTROL));
        if asks.is_forbidden {
            return Cookies::Fit;
        }
        let is_wanted = asks.is_public || asks.is_fresh || (!asks.has_age && expires_later(answer));
        let may_be_kept = if self.is_authorized {
            asks.is_allowed
        } else {
            // RFC 9110 §9.3.3: answers to other methods are kept only if they say how long.
            self.is_safe || is_wanted || asks.has_age
        };
        match (may_be_kept, is_wanted) {
            (false, _) => Cookies::Fit,
            (true, false) => Cookies::FitIfPrivate,
            (true, true) => Cookies::Spoil,
        }
    }
}

/// RFC 9213 §2.1, and the older field of the same use: what these say, the caches that they mean put before
/// `Cache-Control`.
pub(super) fn is_targeted(name: &str) -> bool {
    name.ends_with("-cache-control") || name == "surrogate-control"
}

/// A time in the future, as far as can be told without asking a clock: RFC 9111 §5.3 has servers say `0` or `Date`
/// itself for what is not to be used again.
fn expires_later(answer: &HeaderMap) -> bool {
    let Some(expires) = answer.get(EXPIRES) else {
        return false;
    };
    let time = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    match (time(expires), answer.get(DATE).and_then(time)) {
        (Some(expires), Some(date)) => expires > date,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// What `Cache-Control` asks of shared caches.
#[derive(Clone, Copy, Debug, Default)]
struct Asks {
    /// `no-store` that every cache obeys, or `private` for the whole answer.
    is_forbidden: bool,
    /// `no-store`.
    is_not_to_be_stored: bool,
    /// `must-understand`.
    is_to_be_understood: bool,
    /// `public`.
    is_public: bool,
    /// `public`, `s-maxage` or `must-revalidate`: also an answer to credentials (RFC 9111 §3.5).
    is_allowed: bool,
    /// A time, longer than none, for which the answer may be used.
    is_fresh: bool,
    /// Such a time, which then counts for more than `Expires` (RFC 9111 §4.2.1).
    has_age: bool,
}

impl Asks {
    fn of<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut asks = Self::default();
        for line in lines {
            let text = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
            for directive in directives(&text) {
                asks.add(directive.trim());
            }
        }
        // RFC 9111 §5.2.2.3: who understands the status puts the latter before the former.
        asks.is_forbidden |= asks.is_not_to_be_stored && !asks.is_to_be_understood;
        asks
    }

    fn add(&mut self, directive: &str) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
            None => (directive, ""),
        };
        let lasts = value != "0";
        match name {
            // RFC 9111 §5.2.2.7: with names of fields it forbids no more than these.
            "private" if value.is_empty() => self.is_forbidden = true,
            "no-store" => self.is_not_to_be_stored = true,
            "must-understand" => self.is_to_be_understood = true,
            "public" => (self.is_public, self.is_allowed) = (true, true),
            "must-revalidate" => self.is_allowed = true,
            "max-age" | "s-maxage" => {
                self.has_age = true;
                self.is_fresh |= lasts;
                self.is_allowed |= name == "s-maxage";
            }
            _ => {}
        }
    }
}

/// The members of a list, blanks around them included: a comma within quotes separates none (RFC 9110 §5.6.4).
fn directives(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split(move |c| {
        let is_literal = std::mem::take(&mut is_escaped);
        match c {
            '\\' if is_quoted && !is_literal => is_escaped = true,
            '"' if !is_literal => is_quoted = !is_quoted,
            _ => {}
        }
        c == ',' && !is_quoted
    })
}

/// Keeps an answer out of shared caches. `private` comes first: behind what its origin says it might be within a quotation that does
/// not end.
pub(super) fn keep_private(answer: &mut HeaderMap) {
    let lines = answer.get_all(CACHE_CONTROL).iter();
    let said = lines.map(HeaderValue::as_bytes);
    let said: Vec<&[u8]> = [&b"private"[..]].into_iter().chain(said).collect();
    if let Ok(value) = HeaderValue::from_bytes(&said.join(&b", "[..])) {
        answer.insert(CACHE_CONTROL, value);
    }
}

/// Keeps an answer out of the shared caches that its origin wants to keep it. Caches of one client may keep it as
/// long as it says.
pub(super) fn make_private(answer: &mut HeaderMap) {
    let targeted = answer.keys().filter(|name| is_targeted(name.as_str()));
    for name in targeted.cloned().collect::<Vec<_>>() {
        answer.remove(name);
    }
    let lines = answer.get_all(CACHE_CONTROL).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    let directives = lines
        .iter()
        .flat_map(|line| directives(line))
        .map(str::trim)
        .filter(|directive| !directive.is_empty() && !is_for_shared(directive));
    let said: Vec<&str> = ["private"].into_iter().chain(directives).collect();
    if let Ok(value) = HeaderValue::from_bytes(said.join(", ").as_bytes()) {
        answer.insert(CACHE_CONTROL, value);
    }
}

/// RFC 9111 §5.2.2: what is said to shared caches alone.
fn is_for_shared(directive: &str) -> bool {
    let (name, _) = directive.split_once('=').unwrap_or((directive, ""));
    let for_shared = ["public", "s-maxage", "proxy-revalidate"];
    for_shared
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(question: Question, answer: &[(&'static str, &str)], expected: Cookies) {
        let mut headers = HeaderMap::new();
        for (name, value) in answer {
            headers.append(*name, value.parse().unwrap());
        }
        let found = question.cookies(StatusCode::OK, &headers);
        assert_eq!(found, expected, "{answer:?}");
    }

    const READ: Question = Question {
        is_safe: true,
        is_authorized: false,
    };
    const WRITE: Question = Question {
        is_safe: false,
        is_authorized: false,
    };
    const WITH_CREDENTIALS: Question = Question {
        is_safe: true,
        is_authorized: true,
    };

    #[test]
    fn what_its_origin_wants_shared_is_spoiled_by_a_cookie() {
        for said in [
            "public",
            "Public, no-cache",
            "max-age=60",
            "s-maxage=60",
            "s-maxage=60, max-age=0",
            "max-age=\"60\"",
            "public, private=\"set-cookie\"",
        ] {
            check(READ, &[("cache-control", said)], Cookies::Spoil);
        }
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("expires", "Sun, 06 Nov 1994 08:49:38 GMT");
        check(READ, &[date, later], Cookies::Spoil);
        check(WRITE, &[("cache-control", "max-age=60")], Cookies::Spoil);
    }

    #[test]
    fn what_no_shared_cache_keeps_takes_a_cookie_as_it_is() {
        for said in [
            "private",
            "PRIVATE, max-age=60",
            "no-store",
            "public, no-store",
        ] {
            check(READ, &[("cache-control", said)], Cookies::Fit);
        }
        check(WRITE, &[], Cookies::Fit);
        let in_two = [
            ("cache-control", "max-age=60"),
            ("cache-control", "private"),
        ];
        check(READ, &in_two, Cookies::Fit);
    }

    #[test]
    fn what_only_some_caches_may_not_keep_takes_no_cookie() {
        for said in [
            "no-store, must-understand, max-age=60",
            "must-understand, public, no-store",
            "max-age=60, ext=\"a, no-store, b\"",
            "max-age=60, ext=\"a\\\", private, b\"",
        ] {
            check(READ, &[("cache-control", said)], Cookies::Spoil);
        }
        let by_default = "no-store, must-understand";
        check(
            READ,
            &[("cache-control", by_default)],
            Cookies::FitIfPrivate,
        );
        check(
            READ,
            &[("cache-control", "max-age=60, ext=\"a\", private")],
            Cookies::Fit,
        );
    }

    #[test]
    fn what_may_be_kept_by_default_takes_a_cookie_once_it_is_private() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(READ, &[], Cookies::FitIfPrivate);
        for said in [
            "no-cache",
            "max-age=0",
            "private=\"set-cookie\"",
            "must-revalidate",
        ] {
            check(READ, &[("cache-control", said)], Cookies::FitIfPrivate);
        }
        for said in ["0", "-1", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            check(READ, &[date, ("expires", said)], Cookies::FitIfPrivate);
        }
        check(
            WRITE,
            &[("cache-control", "max-age=0")],
            Cookies::FitIfPrivate,
        );
    }

    #[test]
    fn an_answer_to_credentials_is_shared_only_by_name() {
        for (said, expected) in [
            ("max-age=60", Cookies::Fit),
            ("no-cache", Cookies::Fit),
            ("max-age=60, public", Cookies::Spoil),
            ("s-maxage=60", Cookies::Spoil),
            ("max-age=60, must-revalidate", Cookies::Spoil),
            ("must-revalidate", Cookies::FitIfPrivate),
        ] {
            check(WITH_CREDENTIALS, &[("cache-control", said)], expected);
        }
    }

    #[test]
    fn what_a_cdn_is_told_apart_counts_more_than_what_all_are_told() {
        let private = ("cache-control", "private");
        let shared = ("cdn-cache-control", "max-age=60");
        check(READ, &[private, shared], Cookies::Spoil);
        check(
            READ,
            &[private, ("surrogate-control", "max-age=60")],
            Cookies::Spoil,
        );
        let both = [private, ("cdn-cache-control", "no-store")];
        check(READ, &both, Cookies::Fit);
    }

    #[test]
    fn a_304_renews_what_a_cache_has_and_takes_no_cookie() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, "private".parse().unwrap());
        let found = READ.cookies(StatusCode::NOT_MODIFIED, &headers);
        assert_eq!(found, Cookies::Spoil);
    }

    #[test]
    fn what_its_origin_wants_shared_can_be_made_private() {
        for (given, expected) in [
            ("Public, max-age=60", "private, max-age=60"),
            ("s-maxage = 9, must-revalidate", "private, must-revalidate"),
            ("public,, proxy-revalidate", "private"),
            ("public, no-cache, by=\"é\"", "private, no-cache, by=\"é\""),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(CACHE_CONTROL, given.parse().unwrap());
            headers.append("cdn-cache-control", "max-age=60".parse().unwrap());
            headers.append("surrogate-control", "max-age=60".parse().unwrap());
            make_private(&mut headers);
            let found = READ.cookies(StatusCode::OK, &headers);
            assert_eq!(found, Cookies::Fit, "{given}");
            let said: Vec<_> = headers.values().collect();
            let expected = HeaderValue::from_bytes(expected.as_bytes()).unwrap();
            assert_eq!(said, [&expected], "{given}");
        }
    }

    #[test]
    fn private_is_said_beside_what_the_origin_says() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, "no-cache".parse().unwrap());
        let odd = HeaderValue::from_bytes(b"max-age=0, by=\xff").unwrap();
        headers.append(CACHE_CONTROL, odd);
        keep_private(&mut headers);
        let said: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
        let expected = b"private, no-cache, max-age=0, by=\xff";
        assert_eq!(said, [&HeaderValue::from_bytes(expected).unwrap()]);
    }
}
