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
use super::count::{Counters, Tally, Unread};
use super::rate_limit::{Pace, Rate, RateLimiter};
use super::respond::{Transport, client};
use super::table::{Ahead, Wanted};
use crate::clock;

/// Datagrams of one system call. More gains nothing: 32 share its cost already.
const BATCH: usize = 32;

/// The longest query. One that is longer is cut and found malformed.
const QUERY_BYTES: usize = 2048;

/// From one query to the next in memory. With a power of two, the heads of all queries of a batch would
/// compete for the same few places of the processor's nearest cache.
const QUERY_STRIDE: usize = QUERY_BYTES + 64;

/// Room for a response, so that none allocates.
const RESPONSE_BYTES: usize = 1536;

/// How often a thread that receives nothing looks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// How many batches a busy thread answers between two looks, which take a lock.
const STOP_CHECK_BATCHES: u32 = 64;

/// The least datagrams that a system call has room for. Room costs time, too: there is twice as much
/// as the last call needed.
const LEAST_ROOM: usize = 8;

/// How long a thread waits after an error of the socket that is not about one datagram.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Batches that are answered once a socket is to be closed: more than its queue holds of the smallest
/// datagrams, so that only those who go on asking are cut off.
const LAST_BATCHES: usize = 4096;

/// Serves a socket on a thread of its own until `stop`, and then what waits in it; `tasks` count the thread.
/// `limiter` is every socket's.
pub fn serve_udp(
    socket: UdpSocket,
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

/// A response that waits to be sent.
struct Outgoing<S> {
    to: S,
    from: Option<Local>,
    bytes: Vec<u8>,
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
    names: Box<[WireName; BATCH]>,
    incoming: MultiHeaders<S>,
    outgoing: MultiHeaders<S>,
    received: SmallVec<[Received<S>; BATCH]>,
    responses: Vec<Outgoing<S>>,
    spare: Vec<Vec<u8>>,
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
            names: Box::new([WireName::EMPTY; BATCH]),
            incoming: MultiHeaders::preallocate(BATCH, control()),
            outgoing: MultiHeaders::preallocate(BATCH, control()),
            received: SmallVec::new(),
            responses: Vec::with_capacity(BATCH),
            spare: (0..BATCH)
                .map(|_| Vec::with_capacity(RESPONSE_BYTES))
                .collect(),
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
        let room = (2 * self.received.len()).clamp(LEAST_ROOM, BATCH);
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
        Ok(())
    }

    fn answer(&mut self) {
        let live = self.live.load();
        let now = clock::unix_secs();
        let rate = live.snapshot.plan.rate_limit.as_ref();
        let rate = rate.map(|limit| (Rate::of(limit), clock::steady_us()));
        let secrets = live.cookies.at(now);
        let with = (&**live, &**secrets);
        let mut tally = Tally::default();
        let mut places: [Option<Message<'_>>; BATCH] = [const { None }; BATCH];
        let messages = places.get_mut(..self.received.len()).unwrap_or_default();
        let queries = self.queries.iter().zip(&self.received);
        let places = messages.iter_mut().zip(self.names.iter_mut());
        let unread = places
            .zip(queries)
            .map(|((place, name), (query, received))| {
                let bytes = query.get(..received.length).unwrap_or(query);
                Unread { bytes, name, place }
            });
        Counters::read(&mut tally, unread);
        let aheads = warm(live, messages, &self.received);
        let received = self.received.iter().zip(aheads);
        for (message, (received, ahead)) in messages.iter_mut().zip(received) {
            let (peer, port) = received.from.peer();
            let mut bytes = self.spare.pop().unwrap_or_default();
            let arrival = self.counters.arrival(peer, now);
            let limit = || match &rate {
                Some((rate, now_us)) => self.limiter.pace(rate, peer, *now_us),
                None => Pace::Whole,
            };
            // Nobody can be answered at port 0, nor from an address that is not known.
            let is_answerable = port != 0 && (received.to.is_some() || !self.is_wildcard);
            let is_answered = match message {
                Some(message) if is_answerable => {
                    Counters::answer(&mut tally, with, message, arrival, ahead, limit, &mut bytes)
                }
                Some(_) => {
                    tally.count_unanswerable();
                    false
                }
                None => false,
            };
            if is_answered {
                self.responses.push(Outgoing {
                    to: received.from,
                    from: received.to,
                    bytes,
                });
            } else {
                self.spare.push(bytes);
            }
        }
        self.counters.tell(tally, live);
    }

    fn send(&mut self) {
        for run in self.responses.chunk_by(|a, b| a.from == b.from) {
            let from = run.first().and_then(|first| first.from);
            let (fd, headers, counters) = (self.fd, &mut self.outgoing, &self.counters);
            match from {
                Some(from) => from.with_control(|control| {
                    send_run(fd, headers, run, control, counters);
                }),
                None => send_run(fd, headers, run, &[], counters),
            }
        }
        let sent = self.responses.drain(..).map(|response| response.bytes);
        self.spare.extend(sent);
    }
}

/// Fetches what the queries among the messages will need; other messages need nothing.
fn warm<'l, S: Family>(
    live: &'l Live,
    messages: &[Option<Message<'_>>],
    received: &[Received<S>],
) -> SmallVec<[Ahead<'l>; BATCH]> {
    let wanted: SmallVec<[Wanted<'_>; BATCH]> = messages
        .iter()
        .zip(received)
        .map(|(message, received)| {
            let (peer, _) = received.from.peer();
            match message {
                Some(Message::Heard(head, Content::Query(query))) => Wanted {
                    name: query.name,
                    client: client(head, peer),
                },
                Some(Message::Heard(_, Content::Bare(_)) | Message::Silence(_)) | None => Wanted {
                    name: &[],
                    client: peer,
                },
            }
        })
        .collect();
    live.answers.warm(&live.snapshot, &wanted)
}

/// Sends responses that leave from one address. One that the network refuses is counted and left
/// out; the others follow.
fn send_run<S: Family>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    run: &[Outgoing<S>],
    control: &[ControlMessage<'_>],
    counters: &Counters,
) {
    let mut left = run;
    while !left.is_empty() {
        match send_some(fd, headers, left, control) {
            Ok(sent) if sent > 0 => left = left.get(sent..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => {
                counters.unsent();
                left = left.get(1..).unwrap_or_default();
            }
        }
    }
}

/// Sends what the kernel takes at once. Returns how many that were.
fn send_some<S: Family>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    run: &[Outgoing<S>],
    control: &[ControlMessage<'_>],
) -> Result<usize, Errno> {
    let slices: SmallVec<[[IoSlice<'_>; 1]; BATCH]> = run
        .iter()
        .map(|response| [IoSlice::new(&response.bytes)])
        .collect();
    let addresses: SmallVec<[Option<S>; BATCH]> =
        run.iter().map(|response| Some(response.to)).collect();
    let flags = MsgFlags::empty();
    sendmmsg(fd, headers, slices.iter(), &addresses, control, flags).map(Iterator::count)
}
