//! What a request carries of the edge's own: tokens, the affinity cookie, and beside them the cookies of others.
//! What was read of them stands for the next request that carries the same (`recognized.rs`).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::affinity::{Home, Session};
use super::consistency::{MERIDIAN_TOKEN, Store};
use super::inbound::cookie_pairs;
use super::repeat::Repeat;
use crate::ids::ServiceId;
use crate::positions::{Carriers, Token, Visit};

/// The most tokens that are merged from one request; more are ignored.
pub(super) const MOST_TOKENS: usize = 8;

/// The cookie that carries a token, without the prefix that it has over TLS (draft-ietf-httpbis-rfc6265bis §4.1.3.2).
const COOKIE_NAME: &[u8] = b"meridian_seen";

/// What a request carries.
#[derive(Default)]
pub(super) struct Carried {
    /// Genuine, and not expired when they were read.
    pub(super) tokens: SmallVec<[Arc<Token>; 1]>,
    pub(super) carriers: Carriers,
    /// What its affinity cookie says.
    pub(super) home: Option<Home>,
    /// The cookies that are not the edge's own, in one field: HTTP/2 may split Cookie, HTTP/1.1 may not (RFC 9113
    /// §8.2.3).
    cookies: Option<HeaderValue>,
    /// What a read must see, and how its region is told of it.
    require: OnceLock<(Arc<Token>, HeaderValue)>,
    /// What the last read came to.
    repeat: Mutex<Option<Arc<Repeat>>>,
}

/// Who reads what is carried.
pub(super) struct Reader<'a> {
    pub(super) service: ServiceId,
    pub(super) store: Option<Store<'a>>,
    pub(super) session: Session<'a>,
}

impl Carried {
    /// Puts the cookies that are not the edge's own in the place of all.
    pub(super) fn leave_others(&self, headers: &mut HeaderMap) {
        match &self.cookies {
            Some(cookies) => headers.insert(COOKIE, cookies.clone()),
            None => headers.remove(COOKIE),
        };
    }

    /// What its region is told that a read must see; most requests ask for the same again.
    pub(super) fn require(&self, visit: &Visit, store: &Store<'_>) -> Option<HeaderValue> {
        let token = visit.shared_token()?;
        if let Some((of, told)) = self.require.get()
            && (Arc::ptr_eq(of, token) || of.vector == token.vector)
        {
            return Some(told.clone());
        }
        let told = store.require(&token.vector)?;
        // Whoever was first stays.
        let _ = self.require.set((token.clone(), told.clone()));
        Some(told)
    }

    /// What the last read came to.
    pub(super) fn repeat(&self) -> Option<Arc<Repeat>> {
        let last = self.repeat.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Notes what a read came to.
    pub(super) fn note(&self, repeat: Arc<Repeat>) {
        let mut last = self.repeat.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(repeat);
    }

    /// Until when none of it expires, Unix seconds.
    pub(super) fn holds_until(&self) -> u32 {
        let tokens = self.tokens.iter().map(|token| token.expires);
        let home = self.home.iter().map(|home| home.expires);
        tokens.chain(home).min().unwrap_or(u32::MAX)
    }
}

impl Reader<'_> {
    /// Reads what is the edge's own; and whether none of it was refused.
    pub(super) fn read(&self, headers: &HeaderMap) -> (Carried, bool) {
        let mut carried = Carried::default();
        let mut others: SmallVec<[&[u8]; 8]> = SmallVec::new();
        let mut texts: SmallVec<[&str; 2]> = SmallVec::new();
        let mut is_whole = true;
        let lines = headers.get_all(COOKIE).iter();
        for pair in lines.flat_map(|line| cookie_pairs(line.as_bytes())) {
            let (name, value) = name_and_value(pair);
            if !is_own(name) {
                others.push(pair);
            } else if let Some(value) = value {
                is_whole &= self.read_cookie(name, value, &mut carried, &mut texts);
            }
        }
        if let Some(store) = &self.store {
            carried.carriers.header = headers.contains_key(MERIDIAN_TOKEN);
            texts.extend(header_tokens(headers));
            texts.truncate(MOST_TOKENS);
            let now = self.session.now;
            let tokens = texts.iter().filter_map(|text| store.open(text, now));
            carried.tokens = tokens.map(Arc::new).collect();
        }
        is_whole &= carried.tokens.len() == texts.len();
        let cookies = HeaderValue::from_bytes(&others.join(&b"; "[..])).ok();
        carried.cookies = cookies.filter(|cookies| !cookies.is_empty());
        (carried, is_whole)
    }

    /// A cookie of the edge's own; whether it counts, as far as can be told. Of several that tell a home, one that was
    /// set for a wider path may stand first.
    fn read_cookie<'t>(
        &self,
        name: &[u8],
        value: &'t [u8],
        carried: &mut Carried,
        texts: &mut SmallVec<[&'t str; 2]>,
    ) -> bool {
        let Ok(value) = std::str::from_utf8(value) else {
            return false;
        };
        let seen = self.store.as_ref().map(Store::cookie_name);
        if seen.is_some_and(|seen| seen.as_bytes() == name) {
            carried.carriers.cookie = true;
            texts.push(value);
        } else if carried.home.is_none() && self.session.is_cookie_name(name) {
            carried.home = self.session.home(value);
            return carried.home.is_some();
        }
        true
    }
}

/// The cookies of these lines that are not the edge's own and go on to an origin, in one. For fuzzing.
pub fn what_cookies_go_on(lines: &[&[u8]]) -> Vec<u8> {
    let pairs = lines.iter().flat_map(|line| cookie_pairs(line));
    let others = pairs.filter(|pair| !is_own(name_and_value(pair).0));
    others.collect::<Vec<_>>().join(&b"; "[..])
}

/// Which field brings a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenCarrier {
    /// `Cookie`.
    Cookie,
    /// `Meridian-Token`.
    Header,
}

/// What a request carries as tokens, by whichever of the two names of the cookie, as far as they are read.
pub(crate) fn tokens_in(headers: &HeaderMap) -> Vec<(TokenCarrier, &str)> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| cookie_pairs(line.as_bytes()));
    let seen = pairs.filter_map(|pair| {
        let (name, value) = name_and_value(pair);
        let value = value.filter(|_| is_token(name))?;
        Some((TokenCarrier::Cookie, std::str::from_utf8(value).ok()?))
    });
    let in_header = header_tokens(headers).map(|text| (TokenCarrier::Header, text));
    seen.chain(in_header).take(MOST_TOKENS).collect()
}

/// Every token in headers, of which there may be several, each a list.
fn header_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(MERIDIAN_TOKEN).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn name_and_value(pair: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = memchr::memchr(b'=', pair);
    let split = at.and_then(|at| pair.split_at_checked(at));
    split.map_or((pair, None), |(name, value)| (name, value.get(1..)))
}

/// Removes an origin's cookies of the token's names from its answer: they would take the place of the client's token.
pub(super) fn remove_set_tokens(headers: &mut HeaderMap) {
    let sets_token = |line: &HeaderValue| {
        let (name, _) = name_and_value(line.as_bytes());
        is_token(name.trim_ascii())
    };
    if !headers.get_all(SET_COOKIE).iter().any(sets_token) {
        return;
    }
    let lines = headers.get_all(SET_COOKIE).iter();
    let others: Vec<HeaderValue> = lines.filter(|line| !sets_token(line)).cloned().collect();
    headers.remove(SET_COOKIE);
    for line in others {
        headers.append(SET_COOKIE, line);
    }
}

fn is_own(name: &[u8]) -> bool {
    bare(name).starts_with(b"meridian_region_") || is_token(name)
}

fn is_token(name: &[u8]) -> bool {
    bare(name) == COOKIE_NAME
}

/// A cookie's name without what it promises of its attributes.
fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"__Host-").unwrap_or(name)
}
