//! A client's connection: its streams, each of which is a request, and when it ends.

use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::heard::{Heard, KeepAlive};
use super::long_blocks::LongBlocks;
use super::stream::turn;
use super::tunnel::Tunnels;
use super::{LARGEST_HEAD, STREAM_BUFFER, STREAM_WINDOW};
use crate::proxy::calm::Calm;
use crate::proxy::gather::Gather;
use crate::proxy::handler::{Handler, Times};
use crate::proxy::sieved::Sieved;

/// Requests at once on one connection.
const MOST_STREAMS: u32 = 256;

/// What a client may be ahead of its origins on all streams of a connection, bytes.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Requests whose rest is not wanted, and how long that may still come: until the client has heard of it. What it sends for
/// others counts as its error, of which the h2 crate bears 1,024.
const MOST_REFUSED: usize = 1_024;
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Serves a connection until it ends. From `stop` on it takes only what its client has sent already.
pub(in crate::proxy) async fn serve<S>(
    stream: S,
    times: Times,
    stop: CancellationToken,
    handler: impl Handler,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let heard = Heard::default();
    let stream = Calm::new(stream, times.head, heard.clone());
    let long_blocks = LongBlocks::default();
    let stream = Gather::new(Sieved::of_client(stream, long_blocks.clone()));
    let shaking_hands = Builder::new()
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD)
        .enable_connect_protocol()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(STREAM_BUFFER)
        .max_concurrent_reset_streams(MOST_REFUSED)
        .reset_stream_duration(REFUSED_FOR)
        .handshake(stream);
    let ended = match shaking_hands.await {
        Ok(connection) => converse(connection, (heard, long_blocks), times, stop, &handler).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended");
    }
}

async fn converse<S>(
    mut connection: Connection<S, Bytes>,
    (heard, long_blocks): (Heard, LongBlocks),
    times: Times,
    stop: CancellationToken,
    handler: &impl Handler,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut life = Life::new(
        times.idle,
        KeepAlive::new(heard, connection.ping_pong(), times.idle),
    );
    let mut under_way: UnderWay<'_> = FuturesUnordered::new();
    under_way.push(Box::pin(async move {
        stop.cancelled().await;
        Event::Stop
    }));
    under_way.push(look_at(life.next_ask));
    loop {
        match next(&mut connection, &mut under_way).await {
            Next::Request(request, respond) => {
                life.begin();
                let beside = (life.tunnels.clone(), long_blocks.clone());
                // Made in its box, because all of its 10 KiB would be moved there.
                let answering = Box::write(Box::new_uninit(), async move {
                    let answering = pin!(turn(handler, request, respond, beside, times.idle));
                    // A panic costs its own stream, which is reset, and is told by whoever handles panics.
                    let _ = AssertUnwindSafe(answering).catch_unwind().await;
                    Event::Answered
                });
                under_way.push(Box::into_pin(answering));
            }
            Next::Event(Event::Answered) => life.end(),
            Next::Event(Event::Stop) => connection.graceful_shutdown(),
            Next::Event(Event::Look) => match life.look() {
                Look::Again(at) => under_way.push(look_at(at)),
                Look::Idle(at) => {
                    connection.graceful_shutdown();
                    under_way.push(look_at(at));
                }
                Look::Gone => return Ok(()),
            },
            Next::End(ended) => {
                if let Some(wrong) = ended.as_ref().err().and_then(wrong) {
                    handler.break_off(wrong);
                }
                return ended;
            }
        }
    }
}

/// What a client did wrong, if that ends its connection.
fn wrong(error: &h2::Error) -> Option<String> {
    let is_wrong = match error.get_io() {
        Some(io) => io.kind() == io::ErrorKind::InvalidData,
        None => error.is_library(),
    };
    is_wrong.then(|| error.to_string())
}

/// All that a connection waits for beside its bytes. Each is polled only when it wakes.
type UnderWay<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send + 'a>>>;

/// What has come to pass.
enum Event {
    /// A request was answered, or given up.
    Answered,
    /// It is time to look whether anybody is there.
    Look,
    /// The edge ends.
    Stop,
}

/// What a connection goes on with.
#[expect(
    clippy::large_enum_variant,
    reason = "most are the large one, which would have to be boxed for each request"
)]
enum Next {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    Event(Event),
    End(Result<(), h2::Error>),
}

fn look_at(at: Instant) -> Pin<Box<dyn Future<Output = Event> + Send>> {
    Box::pin(async move {
        tokio::time::sleep_until(at).await;
        Event::Look
    })
}

/// What is next. Answers that are ready have their turn first: what they say leaves together when the connection has its own.
async fn next<S>(connection: &mut Connection<S, Bytes>, under_way: &mut UnderWay<'_>) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        if let Poll::Ready(Some(event)) = under_way.poll_next_unpin(cx) {
            return Poll::Ready(Next::Event(event));
        }
        connection.poll_accept(cx).map(|accepted| match accepted {
            Some(Ok((request, respond))) => Next::Request(request, respond),
            Some(Err(error)) => Next::End(Err(error)),
            None => Next::End(Ok(())),
        })
    })
    .await
}

/// How long a connection lives.
struct Life {
    /// Requests that are under way: head read, answer not yet sent.
    requests: usize,
    tunnels: Tunnels,
    /// How long it may be without either.
    idle: Duration,
    /// Since when it is, while it is.
    idle_since: Instant,
    /// Whether its client was told that it ends.
    is_ending: bool,
    keep_alive: KeepAlive,
    next_ask: Instant,
}

/// What is seen of a connection.
enum Look {
    /// It goes on; when to look again.
    Again(Instant),
    /// There was nothing for so long that it ends as soon as its client has read what was sent; when to look again.
    Idle(Instant),
    /// Nobody is there, or what was sent last is not taken.
    Gone,
}

impl Life {
    fn new(idle: Duration, keep_alive: KeepAlive) -> Self {
        let now = Instant::now();
        Self {
            requests: 0,
            tunnels: Tunnels::default(),
            idle,
            idle_since: now,
            is_ending: false,
            keep_alive,
            next_ask: now + idle,
        }
    }

    fn begin(&mut self) {
        self.requests += 1;
    }

    fn end(&mut self) {
        self.requests = self.requests.saturating_sub(1);
        if self.requests == 0 {
            self.idle_since = Instant::now();
        }
    }

    fn look(&mut self) -> Look {
        let now = Instant::now();
        if self.next_ask <= now {
            match self.keep_alive.look() {
                Some(wait) => self.next_ask = now + wait,
                None => return Look::Gone,
            }
        }
        if self.requests > 0 || self.tunnels.are_open() {
            self.idle_since = now;
        }
        let idle_until = self.idle_since + self.idle;
        if idle_until > now {
            return Look::Again(self.next_ask.min(idle_until));
        }
        if std::mem::replace(&mut self.is_ending, true) {
            return Look::Gone;
        }
        self.idle_since = now;
        Look::Idle(self.next_ask.min(now + self.idle))
    }
}
