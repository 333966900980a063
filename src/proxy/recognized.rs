//! What requests carried that was genuine, for those that carry the same: most clients send the same with every request.
//!
//! A connection remembers what was carried last on it, and a worker what was carried lately on any of its own: a gateway's
//! connections carry many clients, and a client has many connections. The same fields under the same configuration and
//! keys are compared, not read again.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use foldhash::fast::RandomState;
use http::HeaderMap;
use http::header::COOKIE;
use smallvec::SmallVec;

use super::carried::{Carried, Reader};
use super::consistency::MERIDIAN_TOKEN;
use crate::config::plan::Plan;
use crate::ids::ServiceId;

/// Bytes of fields that are remembered, and about as many again of what goes on to origins; longer ones are read with every
/// request.
const MOST_REMEMBERED: usize = 4_096;

/// How many different fields a worker remembers.
const MOST_LATELY: usize = 2_048;

/// Bytes of those fields: what a connection remembers, its end frees.
const MOST_REMEMBERED_LATELY: usize = 1_024;

/// What the last request of a connection carried that was genuine.
#[derive(Default)]
pub(super) struct Recognized(Mutex<Option<Arc<Known>>>);

/// What was read of some fields, all of which were genuine.
struct Known {
    /// The fields, each with its end.
    fields: Box<[u8]>,
    /// Under which configuration they were read.
    plan: Weak<Plan>,
    /// The number of the key ring that opened them.
    keyring: u64,
    service: ServiceId,
    host: Box<str>,
    /// Whether they came over TLS, where cookies have other names.
    secure: bool,
    carried: Arc<Carried>,
}

impl Recognized {
    /// What a request carries; none: nothing of the edge's own.
    pub(super) fn read(&self, headers: &HeaderMap, reader: &Reader<'_>) -> Option<Arc<Carried>> {
        let fields: Fields<'_> = fields_of(headers).collect();
        if fields.is_empty() {
            return None;
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.is(&fields, reader)) {
            return Some(last.carried.clone());
        }
        if !fields.iter().any(mentions_own) {
            return None;
        }
        let hash = lately::hash(&fields, reader.service);
        if let Some(known) = lately::find(hash, &fields, reader) {
            let known = last.insert(known);
            return Some(known.carried.clone());
        }
        let (carried, is_whole) = reader.read(headers);
        let carried = Arc::new(carried);
        if is_whole && length_of(&fields) <= MOST_REMEMBERED {
            let known = Arc::new(Known::of(&fields, reader, carried.clone()));
            lately::remember(hash, &known);
            *last = Some(known);
        }
        Some(carried)
    }
}

impl Known {
    fn of(fields: &Fields<'_>, reader: &Reader<'_>, carried: Arc<Carried>) -> Self {
        let mut text = Vec::with_capacity(length_of(fields) + fields.len());
        for (line, end) in fields {
            text.extend_from_slice(line);
            text.push(*end);
        }
        Self {
            fields: text.into(),
            plan: Arc::downgrade(reader.session.plan),
            keyring: reader.session.keyring.number(),
            service: reader.service,
            host: reader.session.host.into(),
            secure: reader.session.secure,
            carried,
        }
    }

    fn is(&self, fields: &Fields<'_>, reader: &Reader<'_>) -> bool {
        let session = &reader.session;
        std::ptr::eq(self.plan.as_ptr(), Arc::as_ptr(session.plan))
            && self.keyring == session.keyring.number()
            && self.service == reader.service
            && *self.host == *session.host
            && self.secure == session.secure
            && session.now < self.carried.holds_until()
            && self.has(fields)
    }

    /// In constant time but for lengths, as the check that it stands for: others' fields are among those remembered.
    fn has(&self, fields: &Fields<'_>) -> bool {
        let (mut rest, mut is_same) = (&*self.fields, true);
        for (line, end) in fields {
            let Some((known, behind)) = rest.split_at_checked(line.len()) else {
                return false;
            };
            is_same &= verify_slices_are_equal(known, line).is_ok();
            match behind.split_first() {
                Some((known, behind)) if known == end => rest = behind,
                Some(_) | None => return false,
            }
        }
        is_same && rest.is_empty()
    }
}

/// What a worker remembers.
mod lately {
    use super::*;

    /// Among how many places each has a choice; who was not asked for the longest gives way.
    const PLACES_OF_ONE: usize = 4;

    type Places = [Option<(u64, Arc<Known>)>; PLACES_OF_ONE];

    thread_local! {
        /// With a key of its own: the fields are the clients', and whoever could choose where theirs stand would displace others'.
        static HASHER: RandomState = RandomState::default();
        static LATELY: RefCell<Box<[Places]>> =
            RefCell::new(vec![Places::default(); MOST_LATELY / PLACES_OF_ONE].into());
    }

    /// What stands for fields of a service.
    pub(super) fn hash(fields: &Fields<'_>, service: ServiceId) -> u64 {
        let mut hasher = HASHER.with(RandomState::build_hasher);
        service.hash(&mut hasher);
        for (line, end) in fields {
            hasher.write(line);
            hasher.write_u8(*end);
        }
        hasher.finish()
    }

    /// Where what has this hash may be.
    fn places(lately: &mut [Places], hash: u64) -> Option<&mut Places> {
        let at = usize::try_from(hash).unwrap_or_default() % lately.len();
        lately.get_mut(at)
    }

    pub(super) fn find(hash: u64, fields: &Fields<'_>, reader: &Reader<'_>) -> Option<Arc<Known>> {
        LATELY.with_borrow_mut(|lately| {
            let places = places(lately, hash)?;
            let is_it = |place: &Option<(u64, Arc<Known>)>| {
                let known = place.as_ref().filter(|(of, _)| *of == hash);
                known.is_some_and(|(_, known)| known.is(fields, reader))
            };
            let at = places.iter().position(is_it)?;
            places.get_mut(..=at)?.rotate_right(1);
            let (_, known) = places.first()?.as_ref()?;
            Some(known.clone())
        })
    }

    pub(super) fn remember(hash: u64, known: &Arc<Known>) {
        if known.fields.len() > MOST_REMEMBERED_LATELY {
            return;
        }
        LATELY.with_borrow_mut(|lately| {
            if let Some(places) = places(lately, hash) {
                places.rotate_right(1);
                places[0] = Some((hash, known.clone()));
            }
        });
    }
}

/// Each with a byte that tells where it ends and which it is: none has a line break in it.
type Fields<'a> = SmallVec<[(&'a [u8], u8); 4]>;

const END_OF_COOKIES: u8 = b'\n';
const END_OF_TOKENS: u8 = b'\r';

fn length_of(fields: &Fields<'_>) -> usize {
    fields.iter().map(|(line, _)| line.len()).sum()
}

/// Whether a field has anything of the edge's own in it.
fn mentions_own((line, end): &(&[u8], u8)) -> bool {
    *end == END_OF_TOKENS || memchr::memmem::find(line, b"meridian_").is_some()
}

/// Every field that may carry something of the edge's own.
fn fields_of(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], u8)> {
    headers.iter().filter_map(|(name, line)| {
        let end = if *name == COOKIE {
            END_OF_COOKIES
        } else if *name == MERIDIAN_TOKEN {
            END_OF_TOKENS
        } else {
            return None;
        };
        Some((line.as_bytes(), end))
    })
}

#[cfg(test)]
#[path = "recognized_tests.rs"]
mod tests;
