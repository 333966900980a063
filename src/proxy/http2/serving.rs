//! A client's connection: its streams, each of which is a request, and when it ends.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keep_alive::{KeepAlive, Rhythm};
use super::stream::turn;
use super::tunnel::Tunnels;
use super::{LARGEST_HEAD, STREAM_WINDOW};
use crate::http2::{Accepted, Came, Connection, Ended, Limits, NoMessage, Pinger, Signs};
use crate::proxy::guard::{LONGEST_TRAILERS, PARSED_FIELDS};
use crate::proxy::handler::{Handler, Times};
use crate::proxy::lingering::linger;
use crate::proxy::problem::Problem;
use crate::registered::Registered;

/// Requests at once on one connection.
const MOST_STREAMS: u32 = 256;

/// What a client may be ahead of its origins on all streams of a connection, bytes.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How long a client may take to say that it has heard the farewell.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

static FLOODS: Registered<(), 1> =
    Registered::new(|()| metrics::counter!("meridian_http2_floods_total"));

/// Serves a connection until it ends. From `stop` on it takes only what its client has sent already.
pub(in crate::proxy) async fn serve<S>(
    mut stream: S,
    times: Times,
    stop: CancellationToken,
    handler: impl Handler,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = Limits {
        streams: MOST_STREAMS,
        stream_window: STREAM_WINDOW,
        window: CONNECTION_WINDOW,
        head: LARGEST_HEAD,
        trailers: LONGEST_TRAILERS,
        trailer_fields: PARSED_FIELDS,
        interim: 0,
    };
    let connection = Connection::answering(&mut stream, limits, times.head);
    match converse(connection, times, stop, &handler).await {
        Ok(()) => linger(stream).await,
        Err(error) => tracing::debug!(%error, "client connection ended"),
    }
}

async fn converse<S>(
    mut connection: Connection<S>,
    times: Times,
    stop: CancellationToken,
    handler: &impl Handler,
) -> Result<(), Arc<Ended>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut life = Life::new(times.idle, connection.pinger());
    let mut under_way: UnderWay<'_> = FuturesUnordered::new();
    under_way.push(Box::pin(async move {
        stop.cancelled().await;
        Event::Stop
    }));
    under_way.push(look_at(life.next_ask));
    loop {
        match next(&mut connection, &mut under_way).await {
            Next::Request(accepted) => {
                life.begin();
                let tunnels = life.tunnels.clone();
                // Made in its box, because all of its 10 KiB would be moved there.
                let answering = Box::write(Box::new_uninit(), async move {
                    let answering = pin!(turn(handler, accepted, tunnels, times.idle));
                    // A panic costs its own stream, which is reset, and is told by whoever handles panics.
                    let _ = AssertUnwindSafe(answering).catch_unwind().await;
                    Event::Answered
                });
                under_way.push(Box::into_pin(answering));
            }
            Next::NoRequest(wrong) => note_refusal(wrong, handler),
            Next::Event(Event::Answered) => life.end(),
            Next::Event(Event::Stop) => {
                connection.say_farewell();
                under_way.push(Box::pin(async {
                    tokio::time::sleep(HEARD_WITHIN).await;
                    Event::Unheard
                }));
            }
            Next::Event(Event::Unheard) => connection.close_the_door(),
            Next::Event(Event::Look) => match life.look(connection.signs()) {
                Look::Again(at) => under_way.push(look_at(at)),
                Look::Idle(at) => {
                    connection.say_farewell();
                    under_way.push(look_at(at));
                }
                Look::Gone => return Err(Arc::new(Ended::Closed)),
            },
            Next::End(ended) => {
                while let Some(wrong) = connection.take_refused() {
                    note_refusal(wrong, handler);
                }
                if let Err(how) = &ended {
                    note(how, handler);
                }
                return ended;
            }
        }
    }
}

/// Tells of a request that is none.
fn note_refusal(wrong: NoMessage, handler: &impl Handler) {
    match wrong {
        NoMessage::Malformed(what) => handler.note_refusal(&Problem::Malformed(what.into()), false),
        NoMessage::TooLarge => {
            let most = format!("a head has {LARGEST_HEAD} bytes at most");
            handler.note_refusal(&Problem::HeadersTooLarge(most), true);
        }
    }
}

/// Tells what a client did wrong, if that has ended its connection.
fn note(how: &Ended, handler: &impl Handler) {
    if how.is_flood() {
        FLOODS.increment(&());
    }
    if let Ended::Wrong(wrong) = how {
        handler.break_off(wrong.to_string());
    }
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
    /// A client may not have heard of that: it has had time enough.
    Unheard,
}

/// What a connection goes on with.
#[expect(
    clippy::large_enum_variant,
    reason = "most are the large one, which would have to be boxed for each request"
)]
enum Next {
    Request(Accepted),
    NoRequest(NoMessage),
    Event(Event),
    End(Result<(), Arc<Ended>>),
}

fn look_at(at: Instant) -> Pin<Box<dyn Future<Output = Event> + Send>> {
    Box::pin(async move {
        tokio::time::sleep_until(at).await;
        Event::Look
    })
}

/// What is next. Answers that are ready have their turn first: what they say leaves together when the connection has its own.
async fn next<S>(connection: &mut Connection<S>, under_way: &mut UnderWay<'_>) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        connection.attend();
        if let Poll::Ready(Some(event)) = under_way.poll_next_unpin(cx) {
            return Poll::Ready(Next::Event(event));
        }
        connection.poll(cx).map(|accepted| match accepted {
            Some(Ok(Came::Request(accepted))) => Next::Request(accepted),
            Some(Ok(Came::NoRequest(wrong))) => Next::NoRequest(wrong),
            Some(Err(how)) => Next::End(Err(how)),
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
    pinger: Pinger,
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
    fn new(idle: Duration, pinger: Pinger) -> Self {
        let now = Instant::now();
        Self {
            requests: 0,
            tunnels: Tunnels::default(),
            idle,
            idle_since: now,
            is_ending: false,
            keep_alive: KeepAlive::new(Rhythm {
                every: idle,
                within: idle,
                again_after: idle,
            }),
            pinger,
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

    fn look(&mut self, signs: Signs) -> Look {
        let now = Instant::now();
        if self.next_ask <= now {
            match self.keep_alive.look(signs, || self.pinger.ping()) {
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
