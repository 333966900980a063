//! DNS over UDP: a thread for each socket, batched receive and send, no allocation per query.
//!
//! A socket for all addresses answers from the one that was asked (RFC 2181 §4): responses are sent
//! in runs that leave from the same address, because the batched call has one set of control
//! messages.

mod address;
mod batch;
mod sending;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, recvmmsg};
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address::{Family, Local};
use self::batch::Batch;
use self::sending::{Responses, Run, send_run};
use super::Live;
use super::codec::name::WireName;
use super::count::{Counters, Tally};
use super::rate_limit::{Rate, RateLimiter};
use super::respond::Transport;
use super::table::GROUP;
use crate::clock;
use crate::per_core::serve_on;

/// Datagrams of one system call. More gains nothing: 32 share its cost already.
const BATCH: usize = 32;

/// The longest query. One that is longer is cut and found malformed.
const QUERY_BYTES: usize = 2048;

/// From one query to the next in memory. With a power of two, the heads of all queries of a batch would
/// compete for the same few places of the processor's nearest cache.
const QUERY_STRIDE: usize = QUERY_BYTES + 64;

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

/// A datagram that came.
#[derive(Clone, Copy)]
struct Received<S> {
    /// The system tells it of every datagram.
    from: Option<S>,
    to: Option<Local>,
    length: usize,
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
            self.received.push(Received {
                from: message.address,
                to: self.is_wildcard.then(|| Local::of(&message)).flatten(),
                length: message.bytes,
            });
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
