//! One message in, at most one out: what every query gets before and after it is looked up.
//!
//! Cookies, limits, classes, meta types, sizes and truncation are settled here; names are `lookup`'s.

use std::cell::RefCell;
use std::net::IpAddr;

use super::Live;
use super::codec::code::{CLASS_CH, CLASS_IN, ExtendedError, Rcode, rtype};
use super::codec::edns::Keepalive;
use super::codec::name::WireName;
use super::codec::query::{Content, DropReason, Head, Message, Query, read};
use super::codec::reply::{Fixed, Owner, Reply, Section};
use super::codec::tsig;
use super::codec::{Compressor, OWN_UDP_SIZE};
use super::cookie::{Secrets, Standing};
use super::lookup::{Asker, look_up};
use super::plain::answer_plainly;
use super::rate_limit::Pace;
use super::table::{Ahead, Chosen};
use crate::ids::ServiceId;
use crate::steering::Draw;

/// What a client without EDNS can receive over UDP, RFC 1035 §4.2.1.
const SMALLEST_UDP_SIZE: u16 = 512;

/// The most that the length before a message over TCP can say, RFC 1035 §4.2.2.
const TCP_SIZE: u16 = u16::MAX;

/// How many times as long as it may be a response is that is tried with pointers.
const SPELLED_OUT: usize = 4;

/// The names that ask a server for its name (RFC 4892 §2.1, and the older custom that it cites).
const IDENTITY_NAMES: [&[u8]; 2] = [b"\x02id\x06server\x00", b"\x08hostname\x04bind\x00"];

/// The longest string in TXT data, RFC 1035 §3.3.
const LONGEST_STRING: usize = 255;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams: responses are short.
    Udp,
    /// A connection in clear.
    Tcp,
    /// DNS over TLS.
    Tls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// How and when a message came, and the chance that goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Who sent it.
    pub peer: IpAddr,
    /// How.
    pub transport: Transport,
    /// Chance.
    pub draw: Draw,
    /// When, in seconds since 1970 by the wall clock.
    pub unix_secs: u32,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response is in the buffer.
    Answered {
        /// Its code.
        rcode: Rcode,
        /// The service and the region whose addresses it holds.
        steered: Option<(ServiceId, Chosen)>,
        /// What the query's cookie showed, if it had one.
        cookie: Option<Standing>,
        /// How it was sent: whole, or as the reminder that a limit leaves.
        pace: Pace,
    },
    /// There is nothing to send.
    Dropped(DropReason),
}

/// Answers a message. `out` is overwritten; given room for a whole response of the transport
/// (1,232 bytes over UDP), nothing is allocated. `limit` is asked at most once, and not for clients
/// whose cookie shows that they are who they say.
pub fn respond(
    live: &Live,
    message: &[u8],
    arrival: Arrival,
    limit: impl FnOnce() -> Pace,
    out: &mut Vec<u8>,
) -> Outcome {
    let mut name = WireName::EMPTY;
    let mut message = read(message, &mut name);
    let secrets = live.cookies.at(arrival.unix_secs);
    let ahead = Ahead::default();
    respond_to((live, &**secrets), &mut message, arrival, ahead, limit, out)
}

/// As [`respond()`], for a message that has been read and whose answer may have been looked for.
/// `secrets` are of its time.
pub(super) fn respond_to<'l>(
    (live, secrets): (&'l Live, &Secrets),
    message: &mut Message<'_>,
    arrival: Arrival,
    ahead: Ahead<'l>,
    limit: impl FnOnce() -> Pace,
    out: &mut Vec<u8>,
) -> Outcome {
    out.clear();
    let (head, content) = match message {
        Message::Heard(head, content) => (head, &*content),
        Message::Silence(reason) => return Outcome::Dropped(*reason),
    };
    let cookie = trade_cookies(secrets, head, arrival);
    let options = settle_options(head, arrival.transport);
    let pace = match cookie {
        Some(Standing::Valid) => Pace::Whole,
        Some(Standing::New | Standing::Invalid) | None => limit(),
    };
    match pace {
        Pace::Whole => {}
        Pace::Reminder => forgo_extras(head),
        Pace::Silent => return Outcome::Dropped(DropReason::Limited),
    }
    let size = size(head, arrival.transport);
    let head = &*head;
    let mut reply = Reply::begin(head, &live.snapshot.plan.node.name, size, out);
    let mut steered = None;
    match (content, options, pace) {
        (_, Err(rcode), _) => reply.rcode = rcode,
        (Content::Query(_), Ok(()), Pace::Reminder) => remind(cookie, &mut reply),
        (Content::Query(query), Ok(()), _) => {
            steered = answer(live, query, asker(head, arrival), ahead, &mut reply);
        }
        (Content::Bare(rcode), Ok(()), _) => reply.rcode = confirm(cookie, *rcode),
        (Content::Signed(_), Ok(()), _) => reply.rcode = Rcode::NotAuth,
    }
    let rcode = reply.finish(size);
    if reply.is_truncated()
        && let (Content::Query(query), Pace::Whole, Transport::Udp) =
            (content, pace, arrival.transport)
    {
        shorten(live, (head, query), (arrival, ahead), size, out);
    }
    if let (Content::Signed(record), Rcode::NotAuth) = (content, rcode) {
        tsig::refuse(record, size, out);
    }
    Outcome::Answered {
        rcode,
        steered,
        cookie,
        pace,
    }
}

thread_local! {
    /// Room for responses that are spelled out, and for what is made of them.
    static LONG: RefCell<(Vec<u8>, Compressor)> = RefCell::default();
}

/// Has the response with pointers wherever there may be some, if it fits so, if need be without what may be left out.
fn shorten(
    live: &Live,
    (head, query): (&Head<'_>, &Query<'_>),
    (arrival, ahead): (Arrival, Ahead<'_>),
    size: usize,
    out: &mut Vec<u8>,
) {
    let (node, room) = (&live.snapshot.plan.node.name, size * SPELLED_OUT);
    LONG.with_borrow_mut(|(whole, compressor)| {
        for is_lean in [false, true] {
            let mut reply = Reply::begin(head, node, room, whole);
            if is_lean {
                reply = reply.lean();
            }
            answer(live, query, asker(head, arrival), ahead, &mut reply);
            reply.finish(room);
            let is_whole = !reply.is_truncated();
            let shorter = is_whole.then(|| compressor.compress(whole)).flatten();
            if let Some(shorter) = shorter.filter(|shorter| shorter.len() <= size) {
                out.clear();
                out.extend_from_slice(shorter);
                return;
            }
        }
    });
}

fn asker(head: &Head<'_>, arrival: Arrival) -> Asker {
    Asker {
        client: client(head, arrival.peer),
        draw: arrival.draw,
    }
}

/// Puts the cookie that the client gets in the place of the one that it showed.
fn trade_cookies(secrets: &Secrets, head: &mut Head<'_>, arrival: Arrival) -> Option<Standing> {
    let shown = head.edns.as_mut()?.cookie.as_mut()?;
    let (standing, given) = secrets.judge(*shown, arrival.peer, arrival.unix_secs);
    *shown = given;
    Some(standing)
}

/// Leaves out the options that mean nothing over this transport.
fn settle_options(head: &mut Head<'_>, transport: Transport) -> Result<(), Rcode> {
    let Some(edns) = &mut head.edns else {
        return Ok(());
    };
    // RFC 7830 §6: padding what anybody can read hides nothing.
    edns.wants_padding &= transport == Transport::Tls;
    match (transport, edns.keepalive) {
        // RFC 7828 §3.2.1: over UDP it is ignored, whatever it says.
        (Transport::Udp, _) => edns.keepalive = Keepalive::Absent,
        // RFC 7828 §3.1: a query leaves the time to the server.
        (Transport::Tcp | Transport::Tls, Keepalive::Malformed) => return Err(Rcode::FormErr),
        (Transport::Tcp | Transport::Tls, Keepalive::Absent | Keepalive::Asked) => {}
    }
    Ok(())
}

/// A response over the limit is no longer than its query, but for a server cookie.
fn forgo_extras(head: &mut Head<'_>) {
    if let Some(edns) = &mut head.edns {
        edns.wants_nsid = false;
    }
}

/// Says no more than where to ask again: over TCP, or with the cookie that comes with it.
fn remind(cookie: Option<Standing>, reply: &mut Reply<'_, '_>) {
    match cookie {
        // RFC 7873 §5.2.3, §5.2.4: who comes back with this cookie is not limited.
        Some(_) => reply.rcode = Rcode::BadCookie,
        None => reply.truncate(),
    }
}

/// RFC 7873 §5.4: a query for nothing but a cookie is told whether the one that it shows is good.
fn confirm(cookie: Option<Standing>, rcode: Rcode) -> Rcode {
    match (cookie, rcode) {
        (Some(Standing::Invalid), Rcode::NoError) => Rcode::BadCookie,
        _ => rcode,
    }
}

/// RFC 6891 §6.2.3–6.2.5: the lesser of what both sides can, and never under 512 bytes.
fn size(head: &Head<'_>, transport: Transport) -> usize {
    usize::from(match transport {
        Transport::Tcp | Transport::Tls => TCP_SIZE,
        Transport::Udp => head.edns.as_ref().map_or(SMALLEST_UDP_SIZE, |edns| {
            edns.udp_size.clamp(SMALLEST_UDP_SIZE, OWN_UDP_SIZE)
        }),
    })
}

fn answer<'l>(
    live: &'l Live,
    query: &Query<'_>,
    asker: Asker,
    ahead: Ahead<'l>,
    reply: &mut Reply<'_, '_>,
) -> Option<(ServiceId, Chosen)> {
    match (query.qclass, query.qtype) {
        (CLASS_CH, _) => identify(live, query, reply),
        // RFC 9824 §3.4: a type that only marks denials is no type to ask for.
        (CLASS_IN, rtype::NXNAME) => {
            reply.rcode = Rcode::FormErr;
            reply.error = Some(ExtendedError::INVALID_QUERY_TYPE);
        }
        // RFC 6895 §3.1: these are records of messages, and nobody's data.
        (CLASS_IN, rtype::OPT | rtype::TKEY | rtype::TSIG) => reply.rcode = Rcode::FormErr,
        // RFC 5936 §2.2.1: no zone is given away.
        (CLASS_IN, rtype::AXFR | rtype::IXFR) => refuse(reply, "zones are not transferred"),
        (CLASS_IN, _) => {
            return answer_plainly(live, query, ahead, asker.draw, reply)
                .or_else(|| look_up(live, query, asker, ahead, reply));
        }
        _ => refuse(reply, "no other class than IN has data"),
    }
    None
}

/// For whom a query is: the first address of its client subnet, or its sender.
pub(super) fn client(head: &Head<'_>, peer: IpAddr) -> IpAddr {
    let subnet = head.edns.as_ref().and_then(|edns| edns.subnet);
    let client = subnet.and_then(|subnet| subnet.client());
    client.unwrap_or(peer)
}

fn refuse(reply: &mut Reply<'_, '_>, why: &'static str) {
    reply.rcode = Rcode::Refused;
    reply.error = Some(ExtendedError::not_authoritative(why));
}

/// RFC 4892: the node's name, to whoever debugs.
fn identify(live: &Live, query: &Query<'_>, reply: &mut Reply<'_, '_>) {
    let name = query.name;
    if query.qtype != rtype::TXT || !IDENTITY_NAMES.contains(&name) {
        refuse(reply, "of class CH only this server's names are told");
        return;
    }
    let node = live.snapshot.plan.node.name.as_bytes();
    let text = node.get(..LONGEST_STRING).unwrap_or(node);
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let fixed = Fixed {
        rtype: rtype::TXT,
        class: CLASS_CH,
        ttl: 0,
    };
    reply.is_authoritative = true;
    let owner = Owner::question(name.len());
    reply.record(Section::Answer, owner, fixed, &[&[length], text]);
}
