//! Answers one message for a transport: draws, counts, and keeps a panic to the query that met it.
//!
//! Handles are registered once for each socket, so that nothing is formatted per query, and a batch is
//! counted before anything that others share is written. The recorder must be installed before sockets
//! are served.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use metrics::{Counter, counter};
use smallvec::SmallVec;

use super::Live;
use super::codec::code::Rcode;
use super::codec::name::WireName;
use super::codec::query::{DropReason, Message, read};
use super::cookie::{Secrets, Standing};
use super::rate_limit::Pace;
use super::respond::{Arrival, Outcome, Transport, client, respond_to};
use super::samples::Sample;
use super::table::{Ahead, Chosen};
use crate::chance;
use crate::ids::ServiceId;
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
    incomplete: Counter,
    behind: Counter,
    handshake: Counter,
    refused_connections: [Counter; Refused::ALL.len()],
    ended_connections: [Counter; End::ALL.len()],
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its client has as many as it may.
    Client,
    /// The listener has as many as it may.
    Listener,
    /// The system did not give it: it has no more descriptors, or the client was gone.
    Accept,
}

impl Refused {
    const ALL: [Self; 3] = [Self::Client, Self::Listener, Self::Accept];

    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Listener => "listener",
            Self::Accept => "accept",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its client closed it between messages.
    Client,
    /// Its client has asked nothing for as long as it may.
    Idle,
    /// The rest of a message did not come.
    Incomplete,
    /// Its client did not take its answers.
    Unread,
    /// Its client has asked nothing for longer than all others, and there was no room for one more.
    Displaced,
    /// A message came that is not answered.
    Message,
    /// The listener ends.
    Stopping,
}

impl End {
    const ALL: [Self; 7] = [
        Self::Client,
        Self::Idle,
        Self::Incomplete,
        Self::Unread,
        Self::Displaced,
        Self::Message,
        Self::Stopping,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Idle => "idle",
            Self::Incomplete => "incomplete",
            Self::Unread => "unread",
            Self::Displaced => "displaced",
            Self::Message => "message",
            Self::Stopping => "stopping",
        }
    }
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
            incomplete: dropped("incomplete"),
            behind: dropped("behind"),
            handshake: dropped("handshake"),
            refused_connections: Refused::ALL.map(|reason| {
                counter!(
                    "meridian_dns_refused_connections_total",
                    "transport" => label,
                    "reason" => reason.as_str(),
                )
            }),
            ended_connections: End::ALL.map(|reason| {
                counter!(
                    "meridian_dns_ended_connections_total",
                    "transport" => label,
                    "reason" => reason.as_str(),
                )
            }),
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

    /// Reads messages into their places. The place of one whose reading panics stays as it is.
    pub(super) fn read<'q, 'p>(tally: &mut Tally, unread: impl Iterator<Item = Unread<'q, 'p>>)
    where
        'q: 'p,
    {
        let panicked = each(unread, |Unread { bytes, name, place }| {
            tally.queries += 1;
            *place = Some(read(bytes, name));
        });
        tally.panicked += panicked;
    }

    /// Does what answers messages with each of them.
    pub(super) fn answer_each<T>(
        tally: &mut Tally,
        messages: impl Iterator<Item = T>,
        mut answer: impl FnMut(&mut Tally, T),
    ) {
        // What a panic may leave half written is a response, which the next message overwrites.
        let panicked = each(messages, |message| answer(tally, message));
        tally.panicked += panicked;
    }

    /// Answers a message into `out`; `false` if there is nothing to send. What it amounts to is in
    /// `tally` alone until that is told.
    pub(super) fn answer<'l>(
        tally: &mut Tally,
        live: (&'l Live, &Secrets),
        message: &mut Message<'_>,
        arrival: Arrival,
        ahead: Ahead<'l>,
        limit: impl FnOnce() -> Pace,
        out: &mut Vec<u8>,
    ) -> bool {
        match respond_to(live, message, arrival, ahead, limit, out) {
            Outcome::Answered {
                rcode,
                steered,
                cookie,
                pace,
            } => {
                count(&Rcode::ALL, &mut tally.responses, &rcode);
                if let Some(standing) = cookie {
                    count(&Standing::ALL, &mut tally.cookies, &standing);
                }
                if pace == Pace::Reminder {
                    tally.slipped += 1;
                }
                if let Some(steered) = steered {
                    tally.count_steered(steered);
                    tally.sample(message, arrival.peer, steered);
                }
                true
            }
            Outcome::Dropped(reason) => {
                count(&DropReason::ALL, &mut tally.dropped, &reason);
                false
            }
        }
    }

    /// Adds what came together to what everybody sees. `live` is what it was answered from.
    pub(super) fn tell(&self, tally: Tally, live: &Live) {
        let add = |counter: &Counter, number: u64| {
            if number > 0 {
                counter.increment(number);
            }
        };
        add(&self.queries, tally.queries);
        add(&self.slipped, tally.slipped);
        add(&self.panicked, tally.panicked);
        let responses = self.responses.iter().zip(tally.responses);
        let dropped = self.dropped.iter().zip(tally.dropped);
        let cookies = self.cookies.iter().zip(tally.cookies);
        for (counter, number) in responses.chain(dropped).chain(cookies) {
            add(counter, number);
        }
        let mut answers = 0;
        for ((service, chosen), number) in tally.steered {
            live.answers.count(service, chosen, number);
            answers += number;
        }
        if let Some((client, chosen)) = tally.sample {
            live.samples.note(Sample {
                client,
                region: live.snapshot.plan.regions.of(chosen.region).name.clone(),
                answers,
            });
        }
    }

    /// Responses that the network or their client did not take.
    pub(super) fn unsent(&self, responses: u64) {
        self.unsent.increment(responses);
    }

    /// A message whose rest did not come.
    pub(super) fn incomplete(&self) {
        self.incomplete.increment(1);
    }

    /// A connection that did not come to TLS.
    pub(super) fn failed_handshake(&self) {
        self.handshake.increment(1);
    }

    /// Messages that came behind one that ended their connection, or behind answers that were not taken.
    pub(super) fn behind(&self, messages: u64) {
        self.behind.increment(messages);
    }

    /// A connection that was not taken.
    pub(super) fn refused_connection(&self, refused: Refused) {
        increment(&Refused::ALL, &self.refused_connections, refused);
    }

    /// A connection that has ended.
    pub(super) fn ended(&self, end: End) {
        increment(&End::ALL, &self.ended_connections, end);
    }
}

/// A message that came, the place for the name that it asks for, and that for what it says.
pub(super) struct Unread<'q, 'p> {
    pub(super) bytes: &'q [u8],
    pub(super) name: &'q mut WireName,
    pub(super) place: &'p mut Option<Message<'q>>,
}

/// What some messages amounted to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    queries: u64,
    responses: [u64; Rcode::ALL.len()],
    dropped: [u64; DropReason::ALL.len()],
    cookies: [u64; Standing::ALL.len()],
    slipped: u64,
    panicked: u64,
    steered: SmallVec<[((ServiceId, Chosen), u64); 8]>,
    /// The first client that was steered, and whereto.
    sample: Option<(IpAddr, Chosen)>,
}

impl Tally {
    /// A message that is not answered, whatever it says.
    pub(super) fn count_unanswerable(&mut self) {
        let reason = DropReason::Unanswerable;
        count(&DropReason::ALL, &mut self.dropped, &reason);
    }

    fn sample(&mut self, message: &Message<'_>, peer: IpAddr, (_, chosen): (ServiceId, Chosen)) {
        if let (None, Message::Heard(head, _)) = (self.sample, message) {
            self.sample = Some((client(head, peer), chosen));
        }
    }

    fn count_steered(&mut self, steered: (ServiceId, Chosen)) {
        let known = self.steered.iter_mut().find(|(known, _)| *known == steered);
        match known {
            Some((_, number)) => *number += 1,
            None => self.steered.push((steered, 1)),
        }
    }
}

/// Does something with each of several messages, and keeps a panic to the one that met it. Returns how many did.
fn each<T>(messages: impl Iterator<Item = T>, work: impl FnMut(T)) -> u64 {
    let (mut messages, mut work, mut panicked) = (messages, work, 0);
    loop {
        // A panic leaves the iterator at the next message. (`for_each` would not.)
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for message in messages.by_ref() {
                work(message);
            }
        }));
        if outcome.is_ok() {
            return panicked;
        }
        panicked += 1;
    }
}

/// Counts one at the place where `key` stands.
fn increment<K: PartialEq, const N: usize>(keys: &[K; N], counters: &[Counter; N], key: K) {
    let mut places = keys.iter().zip(counters);
    if let Some((_, counter)) = places.find(|(candidate, _)| **candidate == key) {
        counter.increment(1);
    }
}

/// Counts at the place where `key` stands.
fn count<K: PartialEq, const N: usize>(keys: &[K; N], numbers: &mut [u64; N], key: &K) {
    let mut places = keys.iter().zip(numbers);
    if let Some((_, number)) = places.find(|(candidate, _)| *candidate == key) {
        *number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_message_of_a_batch() {
        let bytes = [0; 12];
        let (mut names, mut places) = ([WireName::EMPTY; 3], [None; 3]);
        let unread = places.iter_mut().zip(&mut names).enumerate();
        let unread = unread.map(|(number, (place, name))| {
            assert_ne!(number, 1, "as a message that nobody has thought of");
            let bytes = &bytes;
            Unread { bytes, name, place }
        });
        let mut tally = Tally::default();
        Counters::read(&mut tally, unread);
        assert_eq!(places.map(|place| place.is_some()), [true, false, true]);
        assert_eq!(tally.panicked, 1);
    }
}
