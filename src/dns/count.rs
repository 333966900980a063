//! Answers one message for a transport: draws, counts, and keeps a panic to the query that met it.
//!
//! Handles are registered once for each socket, so that nothing is formatted per query. The
//! recorder must be installed before sockets are served.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use metrics::{Counter, counter};

use super::Live;
use super::codec::code::Rcode;
use super::codec::query::DropReason;
use super::cookie::Standing;
use super::rate_limit::Pace;
use super::respond::{Arrival, Outcome, Transport, respond};
use crate::chance;
use crate::steering::Draw;

/// The counters of one transport.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    transport: Transport,
    queries: Counter,
    responses: [Counter; Rcode::ALL.len()],
    dropped: [Counter; DropReason::ALL.len()],
    cookies: [Counter; Standing::ALL.len()],
    slipped: Counter,
    panicked: Counter,
    unsent: Counter,
    refused_connections: Counter,
}

impl Counters {
    /// Registers the handles.
    pub(super) fn of(transport: Transport) -> Self {
        let label = transport.as_str();
        let dropped = |reason: &'static str| counter!("meridian_dns_dropped_total", "transport" => label, "reason" => reason);
        Self {
            transport,
            queries: counter!("meridian_dns_queries_total", "transport" => label),
            responses: Rcode::ALL.map(|rcode| {
                counter!(
                    "meridian_dns_responses_total",
                    "transport" => label,
                    "rcode" => rcode.as_str(),
                )
            }),
            dropped: DropReason::ALL.map(|reason| dropped(reason.as_str())),
            cookies: Standing::ALL.map(|standing| {
                counter!(
                    "meridian_dns_cookies_total",
                    "transport" => label,
                    "standing" => standing.as_str(),
                )
            }),
            slipped: counter!("meridian_dns_slipped_total", "transport" => label),
            panicked: dropped("panic"),
            unsent: dropped("unsent"),
            refused_connections: counter!(
                "meridian_dns_refused_connections_total",
                "transport" => label,
            ),
        }
    }

    /// A message that comes now, with a draw of its own.
    pub(super) fn arrival(&self, peer: IpAddr, unix_secs: u32) -> Arrival {
        Arrival {
            peer,
            transport: self.transport,
            draw: Draw(chance::draw()),
            unix_secs,
        }
    }

    /// Answers a message into `out`; `false` if there is nothing to send.
    pub(super) fn answer(
        &self,
        live: &Live,
        message: &[u8],
        arrival: Arrival,
        limit: impl FnOnce() -> Pace,
        out: &mut Vec<u8>,
    ) -> bool {
        self.queries.increment(1);
        // What a panic may leave half written is `out`, which the next message overwrites.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            respond(live, message, arrival, limit, out)
        }));
        match outcome {
            Ok(Outcome::Answered {
                rcode,
                steered,
                cookie,
                pace,
            }) => {
                count(&Rcode::ALL, &self.responses, &rcode);
                if let Some(standing) = cookie {
                    count(&Standing::ALL, &self.cookies, &standing);
                }
                if pace == Pace::Reminder {
                    self.slipped.increment(1);
                }
                if let Some((service, chosen)) = steered {
                    live.answers.count(service, chosen);
                }
                true
            }
            Ok(Outcome::Dropped(reason)) => {
                count(&DropReason::ALL, &self.dropped, &reason);
                false
            }
            Err(_) => {
                self.panicked.increment(1);
                false
            }
        }
    }

    /// A response that the network did not take.
    pub(super) fn unsent(&self) {
        self.unsent.increment(1);
    }

    /// A connection over one of the bounds.
    pub(super) fn refused_connection(&self) {
        self.refused_connections.increment(1);
    }
}

/// Counts at the place where `key` stands.
fn count<K: PartialEq, const N: usize>(keys: &[K; N], counters: &[Counter; N], key: &K) {
    let places = keys.iter().zip(counters);
    for (_, counter) in places.filter(|(candidate, _)| *candidate == key) {
        counter.increment(1);
    }
}
