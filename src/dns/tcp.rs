//! DNS over TCP (RFC 7766) and over TLS (RFC 7858): framing, pipelining, time-outs and bounds.
//!
//! A task for each connection, so that a slow client holds up nobody but itself.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Live;
use super::codec::IDLE;
use super::codec::name::WireName;
use super::count::{Counters, Tally, Unread};
use super::rate_limit::Pace;
use super::respond::Transport;
use super::table::Ahead;
use crate::clock;
use crate::prefix::Prefix;

/// How long a message may take once its first byte is there.
const REST_OF_MESSAGE: Duration = Duration::from_secs(5);

/// How long a client may take to read what it asked for.
const WRITE: Duration = Duration::from_secs(5);

/// Connections of one listener.
const MOST_CONNECTIONS: usize = 1024;

/// Connections of one client: an IPv4 address, or the /64 that a site has of IPv6 (RFC 7766 §6.2.2).
const MOST_PER_CLIENT: usize = 32;

/// Responses that wait to be written before the next message is read from the buffer.
const WRITE_BUFFER: usize = 1 << 16;

/// How long accepting rests when the process is out of sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections without a query are kept open at the end: the first query of a client that has just
/// connected is on its way.
const LAST_QUERIES: Duration = Duration::from_secs(1);

/// The length before a message, RFC 1035 §4.2.2.
const LENGTH_BYTES: usize = 2;

/// Serves a listener until `stop`, and its connections to the end of what they have asked.
pub async fn serve_tcp(
    listener: TcpListener,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let shared = Arc::new(Shared::new(Transport::Tcp, live, stop));
    accept(listener, shared, |shared, stream, peer| async move {
        shared.converse(stream, peer).await;
    })
    .await
}

/// As [`serve_tcp`], over TLS. Every connection takes the configuration that is current then.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let shared = Arc::new(Shared::new(Transport::Tls, live, stop));
    accept(listener, shared, move |shared, stream, peer| {
        let acceptor = TlsAcceptor::from(tls.load_full());
        async move {
            let patience = shared.handshake_timeout();
            match timeout(patience, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => shared.converse(stream, peer).await,
                Ok(Err(_)) | Err(_) => shared.counters.failed_handshake(),
            }
        }
    })
    .await
}

/// What the connections of a listener have in common.
struct Shared {
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    /// Connections that ask nothing end.
    ending: CancellationToken,
    counters: Counters,
    clients: Clients,
}

/// Accepts until `stop`, then waits for the connections.
async fn accept<F>(
    listener: TcpListener,
    shared: Arc<Shared>,
    serve: impl Fn(Arc<Shared>, TcpStream, IpAddr) -> F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    let begin = |stream: TcpStream, peer: IpAddr| {
        let Some(seat) = shared.clients.admit(peer) else {
            shared.counters.refused_connection();
            return;
        };
        // Responses are written whole, so that waiting to fill a segment gains nothing.
        let _ = stream.set_nodelay(true);
        let conversation = serve(Arc::clone(&shared), stream, peer);
        connections.spawn(async move {
            conversation.await;
            drop(seat);
        });
    };
    while let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => begin(stream, peer.ip()),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
    let listener = listener.into_std()?;
    // Connections that wait in a listener are reset when it closes.
    while let Ok((stream, peer)) = listener.accept() {
        stream.set_nonblocking(true)?;
        begin(TcpStream::from_std(stream)?, peer.ip());
    }
    drop(listener);
    connections.close();
    // What is still connected then is told to end.
    let _ = timeout(LAST_QUERIES, connections.wait()).await;
    shared.ending.cancel();
    connections.wait().await;
    Ok(())
}

impl Shared {
    fn new(transport: Transport, live: Arc<ArcSwap<Live>>, stop: CancellationToken) -> Self {
        Self {
            live,
            stop,
            ending: CancellationToken::new(),
            counters: Counters::of(transport),
            clients: Clients::default(),
        }
    }

    fn handshake_timeout(&self) -> Duration {
        let live = self.live.load();
        live.snapshot.plan.listen.timeouts.handshake
    }

    /// Answers a connection's messages in their order, until either side has enough.
    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr) {
        let mut input = BytesMut::with_capacity(4096);
        let mut output = Output::default();
        let mut response = Vec::new();
        loop {
            let goes_on = self.answer_all(&mut input, &mut output, &mut response, peer);
            if !output.bytes.is_empty() {
                let written = timeout(WRITE, stream.write_all(&output.bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    self.counters.unsent(output.responses);
                    return;
                }
                output.clear();
            }
            match goes_on {
                Next::Read if !self.read_message(&mut stream, &mut input).await => break,
                Next::Read | Next::Answer => {}
                Next::Close => break,
            }
        }
        // TLS says goodbye, so that the client can tell an end from an attack.
        let _ = timeout(WRITE, stream.shutdown()).await;
    }

    /// Answers the whole messages of `input` as far as `output` should grow.
    fn answer_all(
        &self,
        input: &mut BytesMut,
        output: &mut Output,
        response: &mut Vec<u8>,
        peer: IpAddr,
    ) -> Next {
        let live = self.live.load();
        let now = clock::unix_secs();
        let secrets = live.cookies.at(now);
        while let Some(length) = whole_message(input) {
            input.advance(LENGTH_BYTES);
            let message = input.split_to(length);
            let arrival = self.counters.arrival(peer, now);
            // Whoever has made a connection is at its address.
            let unlimited = || Pace::Whole;
            let mut tally = Tally::default();
            let mut name = WireName::EMPTY;
            let mut read = None;
            let unread = Unread {
                bytes: &message,
                name: &mut name,
                place: &mut read,
            };
            Counters::read(&mut tally, std::iter::once(unread));
            let mut is_answered = false;
            Counters::answer_each(&mut tally, read.iter_mut(), |tally, message| {
                let (with, ahead) = ((&**live, &**secrets), Ahead::default());
                is_answered =
                    Counters::answer(tally, with, message, arrival, ahead, unlimited, response);
            });
            self.counters.tell(tally, &live);
            if !is_answered {
                return Next::Close;
            }
            output.append(response);
            if output.bytes.len() >= WRITE_BUFFER {
                return Next::Answer;
            }
        }
        Next::Read
    }

    /// Reads until a whole message is there; `false` if none will be.
    async fn read_message(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        input: &mut BytesMut,
    ) -> bool {
        if input.is_empty() {
            let first = timeout(IDLE, stream.read_buf(input));
            let first = self.ending.run_until_cancelled(first).await;
            if !matches!(first, Some(Ok(Ok(count))) if count > 0) {
                return false;
            }
        }
        // One deadline for the whole message, however many pieces it comes in.
        let deadline = Instant::now() + REST_OF_MESSAGE;
        while whole_message(input).is_none() {
            let more = timeout_at(deadline, stream.read_buf(input)).await;
            if !matches!(more, Ok(Ok(count)) if count > 0) {
                self.counters.incomplete();
                return false;
            }
        }
        true
    }
}

/// Responses that wait to be written.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    responses: u64,
}

impl Output {
    fn append(&mut self, response: &[u8]) {
        let length = u16::try_from(response.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(response);
        self.responses += 1;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.responses = 0;
    }
}

/// What a connection does next.
enum Next {
    Read,
    Answer,
    Close,
}

/// The length of the message that `input` begins with, if it is all there.
fn whole_message(input: &[u8]) -> Option<usize> {
    let (length, rest) = input.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    (rest.len() >= length).then_some(length)
}

/// How many connections each client has.
#[derive(Debug, Default)]
struct Clients {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    by_client: HashMap<Prefix, usize>,
}

/// A connection's place; given back when dropped.
struct Seat {
    seats: Arc<Mutex<Seats>>,
    client: Prefix,
}

impl Clients {
    /// A seat for a client, unless it or everybody has too many.
    fn admit(&self, peer: IpAddr) -> Option<Seat> {
        let client = Prefix::around(peer, if peer.is_ipv4() { 32 } else { 64 });
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.taken >= MOST_CONNECTIONS {
            return None;
        }
        let own = seats.by_client.entry(client).or_default();
        if *own >= MOST_PER_CLIENT {
            return None;
        }
        *own += 1;
        seats.taken += 1;
        let seats = Arc::clone(&self.seats);
        Some(Seat { seats, client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.taken = seats.taken.saturating_sub(1);
        if let Some(own) = seats.by_client.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                seats.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_share_of_connections_and_no_more() {
        let clients = Clients::default();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let mut seats: Vec<Seat> = (0..MOST_PER_CLIENT)
            .map(|_| clients.admit(peer).unwrap())
            .collect();
        assert!(clients.admit(peer).is_none());
        assert!(clients.admit("192.0.2.2".parse().unwrap()).is_some());
        seats.pop();
        assert!(clients.admit(peer).is_some());
    }

    #[test]
    fn all_clients_together_are_bounded() {
        let clients = Clients::default();
        let seats: Vec<Option<Seat>> = (0..=MOST_CONNECTIONS)
            .map(|i| clients.admit(IpAddr::from([10, 0, (i >> 8) as u8, i as u8])))
            .collect();
        assert!(seats[MOST_CONNECTIONS - 1].is_some());
        assert!(seats[MOST_CONNECTIONS].is_none());
    }
}
