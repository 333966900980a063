//! DNS: query → response. Authoritative, for the Plan's zones and the names that services answer.
//!
//! [`respond()`] is free of I/O, clocks and chance; UDP, TCP and TLS call the same function, so there
//! is one DNS behaviour. Knows not how a region is chosen: [`AnswerTable`] holds what `steer` said.
//! RFC 1034, 1035, 2181, 2308, 4034, 4035, 4592, 6672, 6891, 7766, 7828, 7830, 7858, 7871, 7873, 8482,
//! 8906, 8914, 9018, 9460, 9824.
//!
//! `codec` the wire · `table` what is answered · `dnssec` keys and signatures · `respond`, `lookup`, `steered`,
//! `plain` and `proof` how · `presign` ahead of queries · `cookie` and `rate_limit` to whom · `bind`, `udp`, `tcp` the transports ·
//! `count` and `overflow` the metrics · `samples` where clients are sent.

use std::sync::Arc;

use aws_lc_rs::rand;

mod bind;
mod codec;
mod cookie;
mod count;
mod dnssec;
mod lookup;
mod overflow;
mod plain;
mod presign;
mod proof;
mod rate_limit;
mod respond;
mod samples;
mod steered;
mod table;
mod tcp;
mod udp;

pub use bind::{DnsSockets, adopt, bind, bind_beside, bind_tcp, bind_tcp_beside};
pub use codec::code::Rcode;
pub use codec::query::DropReason;
pub use cookie::{Cookies, Standing};
pub use dnssec::{Key, KeyError, KeyFileError, Signs, Times, ZoneKeys, create_keys, load_keys};
pub use overflow::Queues;
pub use presign::{presign, presign_at_once};
pub use rate_limit::{Pace, RateLimiter};
pub use respond::{Arrival, Outcome, Transport, respond};
pub use samples::{Sample, Samples};
pub use table::{
    AnswerTable, Cause, Choice, Chosen, Lasting, Signing, SteeredType, TooManyRankings,
    answers_by_name, too_many_rankings,
};
pub use tcp::{serve_tcp, serve_tls};
pub use udp::serve_udp;

use crate::steering::Snapshot;

/// A snapshot and what DNS answers under it: published whole, by one store.
#[derive(Debug)]
pub struct Live {
    /// The Plan and the live facts.
    pub snapshot: Arc<Snapshot>,
    /// Compiled from it.
    pub answers: Arc<AnswerTable>,
    /// Of the Plan's keys.
    pub cookies: Arc<Cookies>,
    /// Where its clients are sent; the same as of every Live before.
    pub samples: Arc<Samples>,
}

impl Live {
    /// Compiles a snapshot, and what its Plan decides if `previous`, which was published last, does not have it.
    pub fn compile(snapshot: Arc<Snapshot>, signing: &Signing, previous: Option<&Self>) -> Self {
        let known = previous.map(|previous| previous.answers.lasting());
        let lasting = Lasting::of(&snapshot.plan, signing, known);
        Self::on(snapshot, lasting, previous)
    }

    /// Compiles a snapshot on what its Plan decides, without a signature; `previous` is what was published last.
    pub fn on(snapshot: Arc<Snapshot>, lasting: Arc<Lasting>, previous: Option<&Self>) -> Self {
        let answers = previous.map(|previous| &*previous.answers);
        let answers = Arc::new(AnswerTable::compile(snapshot.clone(), lasting, answers));
        let cookies = previous
            .filter(|previous| previous.snapshot.plan.keys == snapshot.plan.keys)
            .map_or_else(
                || Arc::new(Cookies::new(&snapshot.plan.keys)),
                |previous| Arc::clone(&previous.cookies),
            );
        Self {
            snapshot,
            answers,
            cookies,
            samples: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.samples)),
        }
    }
}

/// A key that nobody knows, of this process alone.
fn random_key<const BYTES: usize>() -> [u8; BYTES] {
    let mut key = [0; BYTES];
    // The system's generator fails only before it is seeded, at boot.
    let _ = rand::fill(&mut key);
    key
}

#[cfg(test)]
use crate as lib;

#[cfg(test)]
#[path = "../../tests/dns_support/plan.rs"]
#[expect(unreachable_pub, reason = "the integration tests include it too")]
pub(crate) mod testing;

#[cfg(test)]
mod scope_tests;
#[cfg(test)]
mod tests;
