//! What has come together is answered together: read, fetched from memory, and then answered one by one. No system calls.

use super::address::Family;
use super::sending::Responses;
use super::{QUERY_STRIDE, Received};
use crate::dns::Live;
use crate::dns::codec::name::WireName;
use crate::dns::codec::query::{Content, Message};
use crate::dns::cookie::Secrets;
use crate::dns::count::{Counters, Tally, Unread};
use crate::dns::rate_limit::{Pace, Rate, RateLimiter};
use crate::dns::respond::client;
use crate::dns::table::{Ahead, GROUP, Wanted};

/// What the datagrams of one system call are answered with.
pub(super) struct Batch<'a> {
    pub(super) live: &'a Live,
    pub(super) secrets: &'a Secrets,
    /// Seconds since 1970.
    pub(super) now: u32,
    pub(super) rate: Option<(Rate<'a>, u64)>,
    pub(super) limiter: &'a RateLimiter,
    pub(super) counters: &'a Counters,
    pub(super) is_wildcard: bool,
}

impl<'a> Batch<'a> {
    /// Answers a group of datagrams. `names` are places for what they ask for.
    pub(super) fn answer<S: Family>(
        &self,
        tally: &mut Tally,
        received: &[Received<S>],
        queries: &[[u8; QUERY_STRIDE]],
        names: &mut [WireName; GROUP],
        responses: &mut Responses<S>,
    ) {
        let mut messages: [Option<Message<'_>>; GROUP] = [const { None }; GROUP];
        let places = messages.iter_mut().zip(names);
        let unread =
            places
                .zip(queries.iter().zip(received))
                .map(|((place, name), (query, received))| {
                    let bytes = query.get(..received.length).unwrap_or(query);
                    Unread { bytes, name, place }
                });
        Counters::read(tally, unread);
        let mut aheads = [Ahead::default(); GROUP];
        self.warm(&messages, received, &mut aheads);
        let messages = messages.iter_mut().zip(aheads).zip(received);
        Counters::answer_each(tally, messages, |tally, ((message, ahead), received)| {
            if let (Some(message), Some(out)) = (message, responses.place())
                && self.answer_one(tally, message, ahead, received, out)
            {
                responses.keep(*received);
            }
        });
    }

    /// Fetches what the queries among the messages will need; other messages need nothing.
    fn warm<S: Family>(
        &self,
        messages: &[Option<Message<'_>>],
        received: &[Received<S>],
        aheads: &mut [Ahead<'a>; GROUP],
    ) {
        let mut wanted = [Wanted::NOTHING; GROUP];
        for (wanted, (message, received)) in wanted.iter_mut().zip(messages.iter().zip(received)) {
            if let Some(Message::Heard(head, Content::Query(query))) = message
                && let Some(from) = &received.from
            {
                let (peer, _) = from.peer();
                *wanted = Wanted {
                    name: query.name,
                    client: client(head, peer),
                };
            }
        }
        let wanted = wanted.get(..received.len()).unwrap_or(&wanted);
        let Live {
            answers, snapshot, ..
        } = self.live;
        answers.warm(snapshot, wanted, aheads);
    }

    /// Whether there is a response to send.
    fn answer_one<S: Family>(
        &self,
        tally: &mut Tally,
        message: &mut Message<'_>,
        ahead: Ahead<'a>,
        received: &Received<S>,
        out: &mut Vec<u8>,
    ) -> bool {
        let from = received.from.as_ref().map(S::peer);
        // Nobody can be answered at port 0, nor from an address that is not known.
        let to_somebody = from.filter(|(_, port)| *port != 0);
        let is_from_us = received.to.is_some() || !self.is_wildcard;
        let Some((peer, _)) = to_somebody.filter(|_| is_from_us) else {
            tally.count_unanswerable();
            return false;
        };
        let limit = || match &self.rate {
            Some((rate, now_us)) => self.limiter.pace(rate, peer, *now_us),
            None => Pace::Whole,
        };
        let with = (self.live, self.secrets);
        let arrival = self.counters.arrival(peer, self.now);
        Counters::answer(tally, with, message, arrival, ahead, limit, out)
    }
}
