//! Server cookies (RFC 7873, RFC 9018): who has shown that its address is its own.
//!
//! A cookie is a SipHash-2-4 of the client's cookie and address under a secret that changes every
//! day. The secrets of a day come from the configuration's keys, so that every edge of an anycast
//! fleet knows the others' cookies. They are derived once for each day and held here; time enters
//! as a parameter. What a cookie looks like on the wire is `codec::cookie`'s.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::hmac;
use siphasher::sip::SipHasher24;

use super::codec::cookie::{CLIENT_BYTES, Cookie, SERVER_BYTES, ServerCookie};
use super::random_key;
use crate::config::plan::Key;

/// How long a secret makes cookies: a UTC day. RFC 9018 §5 wants them changed from time to time, and
/// a cookie lives for an hour only.
const PERIOD_SECS: u32 = 86_400;

/// RFC 9018 §4.3: how old a cookie may be.
const OLDEST_SECS: u32 = 3600;

/// RFC 9018 §4.3: how far in the future it may have been made, by an edge whose clock is ahead.
const MOST_AHEAD_SECS: u32 = 300;

/// RFC 9018 §4.3: how old a cookie is when its client is given a new one.
const RENEW_SECS: u32 = 1800;

/// RFC 9018 §4.1.
const VERSION: u8 = 1;

/// Keeps these secrets apart from everything else that is derived from the same keys.
const LABEL: &[u8] = b"meridian dns cookie secret, version 1";

/// The key of a process that was given none.
static RANDOM: LazyLock<[u8; 32]> = LazyLock::new(random_key);

/// What a query's COOKIE option shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// A client cookie alone.
    New,
    /// A server cookie that this fleet gave to this client lately.
    Valid,
    /// Any other server cookie: it counts as a client cookie alone.
    Invalid,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::New, Self::Valid, Self::Invalid];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        }
    }
}

/// The cookies of a configuration.
pub struct Cookies {
    keys: Vec<hmac::Key>,
    secrets: ArcSwap<Secrets>,
}

impl Cookies {
    /// The first key makes cookies, all verify; without any, a random one of this process does.
    pub(super) fn new(keys: &[Key]) -> Self {
        let key = |secret: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut keys: Vec<hmac::Key> = keys
            .iter()
            .map(|given| key(given.secret.expose().as_bytes()))
            .collect();
        if keys.is_empty() {
            keys.push(key(RANDOM.as_slice()));
        }
        let secrets = ArcSwap::from_pointee(Secrets::derive(&keys, 0));
        Self { keys, secrets }
    }

    /// The secrets of a time. Whoever comes first in a new period derives them for all; two that come
    /// together derive the same. Once for a batch: what it returns costs more than a look at it.
    pub(super) fn at(&self, now: u32) -> Guard<Arc<Secrets>> {
        let period = now / PERIOD_SECS;
        let held = self.secrets.load();
        if held.period == period {
            return held;
        }
        let derived = Arc::new(Secrets::derive(&self.keys, period));
        self.secrets.store(Arc::clone(&derived));
        Guard::from_inner(derived)
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cookies({} keys)", self.keys.len())
    }
}

/// Whether a valid cookie is still good for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Young,
    /// Over half its time is gone, or a key or a period that no longer makes cookies has made it.
    Old,
}

/// The secrets of a period and of its neighbors, for cookies made before midnight and by clocks that
/// are ahead of it. In each the first secret makes, all verify.
pub(super) struct Secrets {
    period: u32,
    before: Vec<Secret>,
    current: Vec<Secret>,
    after: Vec<Secret>,
}

impl Secrets {
    fn derive(keys: &[hmac::Key], period: u32) -> Self {
        let of = |period| keys.iter().map(|key| Secret::derive(key, period)).collect();
        Self {
            period,
            before: of(period.wrapping_sub(1)),
            current: of(period),
            after: of(period.wrapping_add(1)),
        }
    }

    /// What a client's cookie shows, and the cookie that it gets.
    pub(super) fn judge(&self, cookie: Cookie, peer: IpAddr, now: u32) -> (Standing, Cookie) {
        let (standing, kept) = match cookie.server {
            ServerCookie::Absent => (Standing::New, None),
            ServerCookie::Foreign => (Standing::Invalid, None),
            ServerCookie::Whole(server) => match self.verify(&cookie.client, &server, peer, now) {
                None => (Standing::Invalid, None),
                Some(Age::Old) => (Standing::Valid, None),
                Some(Age::Young) => (Standing::Valid, Some(server)),
            },
        };
        let server = kept.unwrap_or_else(|| self.make(&cookie.client, peer, now));
        let given = Cookie {
            client: cookie.client,
            server: ServerCookie::Whole(server),
        };
        (standing, given)
    }

    fn of(&self, made: u32) -> &[Secret] {
        match (made / PERIOD_SECS).wrapping_sub(self.period) {
            0 => &self.current,
            1 => &self.after,
            u32::MAX => &self.before,
            _ => &[],
        }
    }

    fn make(&self, client: &[u8; CLIENT_BYTES], peer: IpAddr, now: u32) -> [u8; SERVER_BYTES] {
        let [a, b, c, d] = now.to_be_bytes();
        // RFC 9018 §4.2: the reserved bytes of a new cookie are zero.
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        let secret = self.current.first();
        let hash = secret.map_or([0; 8], |secret| secret.hash(client, head, peer));
        join(head, hash)
    }

    /// RFC 9018 §4.3, §4.4: of a known version, made within the hour, and its hash is ours.
    fn verify(
        &self,
        client: &[u8; CLIENT_BYTES],
        server: &[u8; SERVER_BYTES],
        peer: IpAddr,
        now: u32,
    ) -> Option<Age> {
        let (head, hash) = server.split_first_chunk::<8>()?;
        let hash = u64::from_le_bytes(*hash.first_chunk()?);
        let [version, _, _, _, a, b, c, d] = *head;
        let made = u32::from_be_bytes([a, b, c, d]);
        // RFC 1982 §3.2: the clock may have wrapped between the two times.
        let (age, ahead) = (now.wrapping_sub(made), made.wrapping_sub(now));
        if version != VERSION || (age > OLDEST_SECS && ahead > MOST_AHEAD_SECS) {
            return None;
        }
        // RFC 9018 §4.2: the reserved bytes count as they came.
        let by = self.of(made).iter().position(|secret| {
            // Words are compared whole, so that the time says nothing of where they differ.
            u64::from_le_bytes(secret.hash(client, *head, peer)) == hash
        })?;
        let is_as_made_now = by == 0 && made / PERIOD_SECS == self.period;
        let is_young = age <= RENEW_SECS || ahead <= MOST_AHEAD_SECS;
        Some(if is_as_made_now && is_young {
            Age::Young
        } else {
            Age::Old
        })
    }
}

fn join(head: [u8; 8], hash: [u8; 8]) -> [u8; SERVER_BYTES] {
    let mut server = [0; SERVER_BYTES];
    let (front, back) = server.split_at_mut(head.len());
    front.copy_from_slice(&head);
    back.copy_from_slice(&hash);
    server
}

/// A secret of RFC 9018 §4.
struct Secret(SipHasher24);

impl Secret {
    fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(secret))
    }

    fn derive(key: &hmac::Key, period: u32) -> Self {
        let mut context = hmac::Context::with_key(key);
        context.update(LABEL);
        context.update(&period.to_be_bytes());
        let tag = context.sign();
        // An HMAC-SHA-256 has 32 bytes.
        Self::new(tag.as_ref().first_chunk().unwrap_or(&[0; 16]))
    }

    /// RFC 9018 §4.4: of client cookie, version, reserved, timestamp and the client's address.
    fn hash(&self, client: &[u8; CLIENT_BYTES], head: [u8; 8], peer: IpAddr) -> [u8; 8] {
        let hash = match peer {
            IpAddr::V4(address) => self.hash_parts::<20>(client, &head, &address.octets()),
            IpAddr::V6(address) => self.hash_parts::<32>(client, &head, &address.octets()),
        };
        hash.to_le_bytes()
    }

    /// `N` bytes of the three parts together.
    #[inline]
    fn hash_parts<const N: usize>(&self, client: &[u8], head: &[u8], address: &[u8]) -> u64 {
        let mut input = [0; N];
        let mut rest = input.as_mut_slice();
        for part in [client, head, address] {
            let Some((place, behind)) = rest.split_at_mut_checked(part.len()) else {
                break;
            };
            place.copy_from_slice(part);
            rest = behind;
        }
        self.0.hash(&input)
    }
}

#[cfg(test)]
mod tests;
