//! DNS over UDP: a thread for each socket, batched receive and send, no allocation per query.
//!
//! A socket for all addresses answers from the one that was asked (RFC 2181 §4): responses are sent
//! in runs that leave from the same address, because the batched call has one set of control
//! messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6,
    SockaddrLike, recvmmsg, sendmmsg,
};
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Live;
use super::codec::name::WireName;
use super::codec::query::{Content, Message};
use super::cookie::Secrets;
use super::count::{Counters, Tally, Unread};
use super::rate_limit::{Pace, Rate, RateLimiter};
use super::respond::{Transport, client};
use super::table::{Ahead, GROUP, Wanted};
use crate::clock;
use crate::per_core::serve_on;

/// Datagrams of one system call. More gains nothing: 32 share its cost already.
const BATCH: usize = 32;

/// The longest query. One that is longer is cut and found malformed.
const QUERY_BYTES: usize = 2048;

/// From one query to the next in memory. With a power of two, the heads of all queries of a batch would
/// compete for the same few places of the processor's nearest cache.
const QUERY_STRIDE: usize = QUERY_BYTES + 64;

/// Room for a response, so that none allocates; no power of two, as above.
const RESPONSE_BYTES: usize = 1536 + 64;

/// How often a thread that receives nothing looks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// How many batches a busy thread answers between two looks, which take a lock.
const STOP_CHECK_BATCHES: u32 = 64;

/// The least datagrams that a system call has room for. Room costs time, too: there is twice as much
/// as the last call needed, and all of it once that was too little.
const LEAST_ROOM: usize = 8;

/// How long a thread waits after an error of the socket that is not about one datagram.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Batches that are answered once a socket is to be closed: more than its queue holds of the smallest
/// datagrams, so that only those who go on asking are cut off.
const LAST_BATCHES: usize = 4096;

/// Serves a socket on a thread of its own, which is this core's, until `stop`, and then what waits in it; `tasks` count the thread.
/// `limiter` is every socket's.
pub fn serve_udp(
    socket: UdpSocket,
    core: usize,
    live: Arc<ArcSwap<Live>>,
    limiter: Arc<RateLimiter>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    socket.set_read_timeout(Some(STOP_CHECK))?;
    let address = socket.local_addr()?;
    let counted = tasks.token();
    std::thread::Builder::new()
        .name("dns-udp".to_owned())
        .spawn(move || {
            serve_on(core);
            match address {
                SocketAddr::V4(_) => Worker::<SockaddrIn>::new(&socket, &live, limiter).run(&stop),
                SocketAddr::V6(_) => Worker::<SockaddrIn6>::new(&socket, &live, limiter).run(&stop),
            }
            drop(counted);
        })
}

/// Addresses of one family.
trait Family: SockaddrLike + Copy {
    /// Whom it means.
    fn peer(&self) -> (IpAddr, u16);
    /// Room for the control message that names the local address.
    fn control_space() -> Vec<u8>;
}

impl Family for SockaddrIn {
    fn peer(&self) -> (IpAddr, u16) {
        (self.ip().into(), self.port())
    }

    fn control_space() -> Vec<u8> {
        cmsg_space!(libc::in_pktinfo)
    }
}

impl Family for SockaddrIn6 {
    fn peer(&self) -> (IpAddr, u16) {
        (self.ip().into(), self.port())
    }

    fn control_space() -> Vec<u8> {
        cmsg_space!(libc::in6_pktinfo)
    }
}

/// The local address that a datagram was sent to, and its interface where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Local {
    address: IpAddr,
    interface: u32,
}

impl Local {
    fn of<S: SockaddrLike>(message: &RecvMsg<'_, '_, S>) -> Option<Self> {
        message.cmsgs().ok()?.find_map(|control| {
            // `ipi_spec_dst` is the address to answer from, also where the query was broadcast.
            if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                let address = IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                return Some(Self {
                    address,
                    interface: 0,
                });
            }
            let ControlMessageOwned::Ipv6PacketInfo(info) = control else {
                return None;
            };
            let address = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Any other address is routed as the host routes it, be the way back another or not.
            let interface = if address.is_unicast_link_local() {
                info.ipi6_ifindex
            } else {
                0
            };
            Some(Self {
                address: address.into(),
                interface,
            })
        })
    }

    /// Calls `send` with the control message that makes a datagram leave from here.
    fn with_control<R>(self, send: impl FnOnce(&[ControlMessage<'_>]) -> R) -> R {
        match self.address {
            IpAddr::V4(address) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            IpAddr::V6(address) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: address.octets(),
                    },
                    ipi6_ifindex: self.interface,
                };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])
            }
        }
    }
}

/// A datagram that came.
#[derive(Clone, Copy)]
struct Received<S> {
    from: S,
    to: Option<Local>,
    length: usize,
}

/// Responses that wait to be sent, and places for more: each by parts, as the system call takes them.
struct Responses<S> {
    to: SmallVec<[Option<S>; BATCH]>,
    from: SmallVec<[Option<Local>; BATCH]>,
    /// Those that wait come first.
    bytes: Vec<Vec<u8>>,
}

impl<S> Responses<S> {
    fn with_room() -> Self {
        let place = || Vec::with_capacity(RESPONSE_BYTES);
        Self {
            to: SmallVec::new(),
            from: SmallVec::new(),
            bytes: std::iter::repeat_with(place).take(BATCH).collect(),
        }
    }

    /// Where the next one is written.
    fn place(&mut self) -> Option<&mut Vec<u8>> {
        self.bytes.get_mut(self.to.len())
    }

    /// Keeps what was written there.
    fn keep(&mut self, received: Received<S>) {
        self.to.push(Some(received.from));
        self.from.push(received.to);
    }

    fn clear(&mut self) {
        self.to.clear();
        self.from.clear();
    }
}

/// One thread's socket and buffers.
struct Worker<S> {
    fd: RawFd,
    /// Whether it is bound to all addresses, so that every datagram says where it was sent to.
    is_wildcard: bool,
    live: Cache<Arc<ArcSwap<Live>>, Arc<Live>>,
    limiter: Arc<RateLimiter>,
    counters: Counters,
    queries: Box<[[u8; QUERY_STRIDE]; BATCH]>,
    /// What the queries ask for.
    names: Box<[WireName; GROUP]>,
    incoming: MultiHeaders<S>,
    outgoing: MultiHeaders<S>,
    received: SmallVec<[Received<S>; BATCH]>,
    /// How many datagrams the next system call has room for.
    room: usize,
    responses: Responses<S>,
}

impl<S: Family> Worker<S> {
    /// Takes a socket that the caller keeps open for as long as the worker runs.
    fn new(socket: &UdpSocket, live: &Arc<ArcSwap<Live>>, limiter: Arc<RateLimiter>) -> Self {
        // Room for control messages costs time, and only a socket for all addresses gets any.
        let is_wildcard = socket
            .local_addr()
            .is_ok_and(|address| address.ip().is_unspecified());
        let control = || is_wildcard.then(S::control_space);
        Self {
            fd: socket.as_raw_fd(),
            is_wildcard,
            live: Cache::new(Arc::clone(live)),
            limiter,
            counters: Counters::of(Transport::Udp),
            queries: Box::new([[0; QUERY_STRIDE]; BATCH]),
            names: Box::new([WireName::EMPTY; GROUP]),
            incoming: MultiHeaders::preallocate(BATCH, control()),
            outgoing: MultiHeaders::preallocate(BATCH, control()),
            received: SmallVec::new(),
            room: LEAST_ROOM,
            responses: Responses::with_room(),
        }
    }

    fn run(mut self, stop: &CancellationToken) {
        let mut batches = 0_u32;
        loop {
            match self.receive() {
                Ok(()) => {
                    self.answer();
                    self.send();
                    batches = batches.wrapping_add(1);
                    if !batches.is_multiple_of(STOP_CHECK_BATCHES) {
                        continue;
                    }
                }
                // The time-out that lets this thread look at `stop`, or a signal. A table that was
                // replaced is let go of now, for a thread with queries to do has no time to free it.
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.live.load();
                }
                Err(error) => {
                    tracing::warn!(%error, "DNS over UDP cannot receive");
                    std::thread::sleep(ERROR_PAUSE);
                }
            }
            if stop.is_cancelled() {
                return self.answer_the_rest();
            }
        }
    }

    /// Answers what waits in the socket.
    fn answer_the_rest(&mut self) {
        for _ in 0..LAST_BATCHES {
            if self.receive_with(MsgFlags::MSG_DONTWAIT).is_err() {
                return;
            }
            self.answer();
            self.send();
        }
    }

    /// Waits for one datagram and takes those that have come with it.
    fn receive(&mut self) -> Result<(), Errno> {
        self.receive_with(MsgFlags::MSG_WAITFORONE)
    }

    fn receive_with(&mut self, flags: MsgFlags) -> Result<(), Errno> {
        let room = self.room;
        self.received.clear();
        let mut slices = self.queries.each_mut().map(|slot| {
            let (query, _) = slot.split_at_mut(QUERY_BYTES);
            [IoSliceMut::new(query)]
        });
        let slices = slices.iter_mut().take(room);
        let messages = recvmmsg(self.fd, &mut self.incoming, slices, flags, None)?;
        for message in messages {
            if let Some(from) = message.address {
                let to = self.is_wildcard.then(|| Local::of(&message)).flatten();
                let length = message.bytes;
                self.received.push(Received { from, to, length });
            }
        }
        self.room = room_after(self.received.len(), room);
        Ok(())
    }

    fn answer(&mut self) {
        let live = self.live.load();
        let now = clock::unix_secs();
        let rate = live.snapshot.plan.rate_limit.as_ref();
        let secrets = live.cookies.at(now);
        let batch = Batch {
            live,
            secrets: &secrets,
            now,
            rate: rate.map(|limit| (Rate::of(limit), clock::steady_us())),
            limiter: &self.limiter,
            counters: &self.counters,
            is_wildcard: self.is_wildcard,
        };
        let mut tally = Tally::default();
        let queries = self.queries.chunks(GROUP);
        for (received, queries) in self.received.chunks(GROUP).zip(queries) {
            let names = &mut self.names;
            batch.answer(&mut tally, received, queries, names, &mut self.responses);
        }
        self.counters.tell(tally, live);
    }

    fn send(&mut self) {
        let Responses { to, from, bytes } = &self.responses;
        let mut begin = 0;
        for run in from.chunk_by(|a, b| a == b) {
            let end = begin + run.len();
            let run = Run {
                to: to.get(begin..end).unwrap_or_default(),
                bytes: bytes.get(begin..end).unwrap_or_default(),
            };
            let (fd, headers, counters) = (self.fd, &mut self.outgoing, &self.counters);
            match from.get(begin).copied().flatten() {
                Some(from) => from.with_control(|control| {
                    send_run(fd, headers, run, control, counters);
                }),
                None => send_run(fd, headers, run, &[], counters),
            }
            begin = end;
        }
        self.responses.clear();
    }
}

/// How many datagrams a system call has room for after one that had room for so many and got these.
fn room_after(received: usize, room: usize) -> usize {
    if received >= room {
        BATCH
    } else {
        (2 * received).clamp(LEAST_ROOM, BATCH)
    }
}

/// What the datagrams of one system call are answered with.
struct Batch<'a> {
    live: &'a Live,
    secrets: &'a Secrets,
    /// Seconds since 1970.
    now: u32,
    rate: Option<(Rate<'a>, u64)>,
    limiter: &'a RateLimiter,
    counters: &'a Counters,
    is_wildcard: bool,
}

impl<'a> Batch<'a> {
    /// Answers a group of datagrams. `names` are places for what they ask for.
    fn answer<S: Family>(
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
            if let Some(Message::Heard(head, Content::Query(query))) = message {
                let (peer, _) = received.from.peer();
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
        let (peer, port) = received.from.peer();
        // Nobody can be answered at port 0, nor from an address that is not known.
        if port == 0 || (received.to.is_none() && self.is_wildcard) {
            tally.count_unanswerable();
            return false;
        }
        let limit = || match &self.rate {
            Some((rate, now_us)) => self.limiter.pace(rate, peer, *now_us),
            None => Pace::Whole,
        };
        let with = (self.live, self.secrets);
        let arrival = self.counters.arrival(peer, self.now);
        Counters::answer(tally, with, message, arrival, ahead, limit, out)
    }
}

/// Responses that leave from one address.
#[derive(Clone, Copy)]
struct Run<'r, S> {
    to: &'r [Option<S>],
    bytes: &'r [Vec<u8>],
}

impl<S> Run<'_, S> {
    /// Without the first.
    fn behind(self, count: usize) -> Self {
        Self {
            to: self.to.get(count..).unwrap_or_default(),
            bytes: self.bytes.get(count..).unwrap_or_default(),
        }
    }
}

/// Sends responses that leave from one address. One that the network refuses is counted and left
/// out; the others follow.
fn send_run<S: Family>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    run: Run<'_, S>,
    control: &[ControlMessage<'_>],
    counters: &Counters,
) {
    let mut left = run;
    while !left.to.is_empty() {
        match send_some(fd, headers, left, control) {
            Ok(sent) if sent > 0 => left = left.behind(sent),
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => {
                counters.unsent();
                left = left.behind(1);
            }
        }
    }
}

/// Sends what the kernel takes at once. Returns how many that were.
fn send_some<S: Family>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    run: Run<'_, S>,
    control: &[ControlMessage<'_>],
) -> Result<usize, Errno> {
    let mut slices = [[IoSlice::new(&[])]; BATCH];
    for (slice, response) in slices.iter_mut().zip(run.bytes) {
        *slice = [IoSlice::new(response)];
    }
    let flags = MsgFlags::empty();
    sendmmsg(fd, headers, slices.iter(), run.to, control, flags).map(Iterator::count)
}
