//! DNS over TCP (RFC 7766) and over TLS (RFC 7858): framing, pipelining, time-outs and bounds.
//!
//! A task for each connection, so that a slow client holds up nobody but itself.
//!
//! `framing` where messages begin and end · `seats` how many connections there may be.

mod framing;
mod seats;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
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
use super::count::{Counters, End, Refused, Tally, Unread};
use super::rate_limit::Pace;
use super::respond::Transport;
use super::table::Ahead;
use crate::clock;
use framing::{LENGTH_BYTES, Output, begun, whole_message};
use seats::{Clients, Seat};

/// How long a message may take once its first byte is there.
const REST_OF_MESSAGE: Duration = Duration::from_secs(5);

/// How long a client may take to read what it asked for.
const WRITE: Duration = Duration::from_secs(5);

/// Responses that wait to be written before the next message is read from the buffer.
const WRITE_BUFFER: usize = 1 << 16;

/// How long accepting rests when the process is out of sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections without a query are kept open at the end: the first query of a client that has just
/// connected is on its way.
const LAST_QUERIES: Duration = Duration::from_secs(1);

/// As much as is known to have been sent or not, where a client takes no more: a TLS record.
const WRITTEN_AT_ONCE: usize = 1 << 14;

/// Serves a listener until `stop`, and its connections to the end of what they have asked.
pub async fn serve_tcp(
    listener: TcpListener,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let shared = Arc::new(Shared::new(Transport::Tcp, live, stop));
    accept(listener, shared, |shared, stream, peer, seat| async move {
        shared.converse(stream, peer, seat).await;
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
    accept(listener, shared, move |shared, stream, peer, seat| {
        let acceptor = TlsAcceptor::from(tls.load_full());
        async move {
            let patience = shared.handshake_timeout();
            let shaking = timeout(patience, acceptor.accept(stream));
            match seat.unless_taken(shaking).await {
                Some(Ok(Ok(stream))) => shared.converse(stream, peer, seat).await,
                Some(Ok(Err(_)) | Err(_)) | None => shared.counters.failed_handshake(),
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
    serve: impl Fn(Arc<Shared>, TcpStream, IpAddr, Seat) -> F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    let begin = |stream: TcpStream, peer: IpAddr| {
        let seat = match shared.clients.admit(peer) {
            Ok(seat) => seat,
            Err(refused) => return shared.counters.refused_connection(refused),
        };
        // Responses are written whole, so that waiting to fill a segment gains nothing.
        let _ = stream.set_nodelay(true);
        connections.spawn(serve(Arc::clone(&shared), stream, peer, seat));
    };
    while let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => begin(stream, peer.ip()),
            Err(_) => {
                shared.counters.refused_connection(Refused::Accept);
                sleep(ACCEPT_PAUSE).await;
            }
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
    async fn converse(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: IpAddr,
        mut seat: Seat,
    ) {
        let mut input = BytesMut::with_capacity(4096);
        let end = self
            .exchange(&mut stream, &mut input, peer, &mut seat)
            .await;
        self.counters.ended(end);
        match end {
            End::Unread => self.counters.behind(begun(&input)),
            End::Message => {
                self.counters.behind(begun(&input));
                say_goodbye(stream).await;
            }
            End::Client | End::Idle | End::Incomplete | End::Stopping => say_goodbye(stream).await,
            // Another has its place already: goodbye is said as far as nobody has to wait for it.
            End::Displaced => {
                let _ = timeout(Duration::ZERO, stream.shutdown()).await;
            }
        }
    }

    async fn exchange(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        input: &mut BytesMut,
        peer: IpAddr,
        seat: &mut Seat,
    ) -> End {
        let mut output = Output::default();
        let mut response = Vec::new();
        loop {
            let goes_on = self.answer_all(input, &mut output, &mut response, peer);
            let mut written = 0;
            let writing = write(stream, &output.bytes, &mut written);
            if !matches!(timeout(WRITE, writing).await, Ok(Ok(()))) {
                self.counters.unsent(output.unsent(written));
                return End::Unread;
            }
            output.bytes.clear();
            match goes_on {
                Next::Read => match self.read_message(stream, input, seat).await {
                    Ok(()) => {}
                    Err(end) => return end,
                },
                Next::Answer => {}
                Next::Close => return End::Message,
            }
        }
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

    /// Reads until a whole message is there, or none will be.
    async fn read_message(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        input: &mut BytesMut,
        seat: &mut Seat,
    ) -> Result<(), End> {
        if input.is_empty() {
            seat.rest();
            let first = timeout(IDLE, stream.read_buf(input));
            let first = seat.unless_taken(self.ending.run_until_cancelled(first));
            match first.await {
                Some(Some(Ok(Ok(count)))) if count > 0 => seat.stir(),
                Some(Some(Ok(Ok(_) | Err(_)))) => return Err(End::Client),
                Some(Some(Err(_))) => return Err(End::Idle),
                Some(None) => return Err(End::Stopping),
                None => return Err(End::Displaced),
            }
        }
        // One deadline for the whole message, however many pieces it comes in.
        let deadline = Instant::now() + REST_OF_MESSAGE;
        while whole_message(input).is_none() {
            let more = timeout_at(deadline, stream.read_buf(input)).await;
            if !matches!(more, Ok(Ok(count)) if count > 0) {
                self.counters.incomplete();
                return Err(End::Incomplete);
            }
        }
        Ok(())
    }
}

/// Writes and flushes all of `bytes`; what TLS keeps to itself does not count as `written`.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    written: &mut usize,
) -> io::Result<()> {
    for part in bytes.chunks(WRITTEN_AT_ONCE) {
        let mut left = part;
        while !left.is_empty() {
            let count = stream.write(left).await?;
            stream.flush().await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left.advance(count);
            *written += count;
        }
    }
    Ok(())
}

/// TLS says goodbye, so that the client can tell an end from an attack.
async fn say_goodbye(mut stream: impl AsyncWrite + Unpin) {
    let _ = timeout(WRITE, stream.shutdown()).await;
}

/// What a connection does next.
enum Next {
    Read,
    Answer,
    Close,
}
