//! A connection to an origin over HTTP/2, on which many requests run at once.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::heard::{Heard, KeepAlive, Listening};
use super::long_blocks::LongBlocks;
use super::receiving::Receiving;
use super::rules::check_values;
use super::sending::{SendError, send_body};
use super::{LARGEST_HEAD, STREAM_BUFFER, STREAM_WINDOW};
use crate::proxy::announced::{Announced, Announcing};
use crate::proxy::body::{Body, BodyError, DISCARD};
use crate::proxy::guard::MOST_INTERIM;
use crate::proxy::sieved::Sieved;

/// An idle origin is asked this often whether it is there.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// What an origin may be ahead of its clients on a whole connection, bytes: so much that clients which do not read, each of
/// which holds a stream's window, hold up nobody else.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Requests that were given up, and how long what an origin still says of them is expected: until it has heard of that, and
/// all that it sent before has come. The h2 crate answers every frame of a stream that it has forgotten with a reset, and ends the
/// connection, with all who are on it, at a number of those; there is none here, since clients decide how many leave.
const MOST_GIVEN_UP: usize = 16_384;
const GIVEN_UP_FOR: Duration = Duration::from_secs(30);

/// Requests at once on a connection whose origin has not said yet how many it takes (RFC 9113 §6.5.2 advises no fewer).
pub(in crate::proxy) const MOST_AT_FIRST: usize = 100;

/// A connection that requests may be sent on.
#[derive(Clone)]
pub(in crate::proxy) struct Http2 {
    requests: SendRequest<Bytes>,
    takes_websockets: Announced,
    long_blocks: LongBlocks,
    heard: Heard,
    open: Arc<AtomicUsize>,
}

/// Room for one request on a connection. No more are begun than its origin takes: what would wait within the h2 crate is sent
/// even if nobody waits for it any more.
pub(in crate::proxy) struct Place {
    connection: Http2,
    taken: Taken,
}

/// What counts as long as a stream is open.
pub(super) struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there is no answer.
pub(in crate::proxy) enum Unanswered {
    /// Nothing of the request was sent, and here is its body.
    Unsent(h2::Error, Body),
    /// The request's body broke off.
    Client(BodyError),
    /// The connection broke or ended before anything was said of the request.
    Closed(h2::Error),
    /// The origin broke the stream or the connection off, or said what is no answer.
    Broken(h2::Error),
    /// The origin said what is no answer.
    Malformed(&'static str),
}

impl Http2 {
    /// Begins to speak HTTP/2 on a connection that is fresh.
    pub(in crate::proxy) async fn open<S>(stream: S) -> Result<Self, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = Heard::default();
        let long_blocks = LongBlocks::default();
        let stream = Sieved::of_origin(stream, long_blocks.clone());
        let (stream, takes_websockets) = Announcing::new(stream, heard.clone());
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(MOST_AT_FIRST)
            .max_header_list_size(LARGEST_HEAD)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(STREAM_BUFFER)
            .max_concurrent_reset_streams(MOST_GIVEN_UP)
            .reset_stream_duration(GIVEN_UP_FOR)
            .max_local_error_reset_streams(None)
            .handshake(stream)
            .await?;
        let pings = connection.ping_pong();
        tokio::spawn(drive(connection, heard.clone(), pings));
        Ok(Self {
            requests,
            takes_websockets,
            long_blocks,
            heard,
            open: Arc::default(),
        })
    }

    /// Whether it takes no more requests: it has ended, its origin has said that it ends, or says nothing any more.
    pub(in crate::proxy) fn is_closed(&self) -> bool {
        let nobody = &mut Context::from_waker(Waker::noop());
        self.heard.is_given_up()
            || matches!(
                self.requests.clone().poll_ready(nobody),
                Poll::Ready(Err(_))
            )
    }

    /// Whether no request is open.
    pub(in crate::proxy) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// How many requests its origin takes at once, as far as it has said so.
    pub(in crate::proxy) fn most_at_once(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Room for a request, if its origin takes another.
    pub(in crate::proxy) fn place(&self) -> Option<Place> {
        let most = self.most_at_once();
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let another = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(set, fetch, another).ok()?;
        Some(Place {
            connection: self.clone(),
            taken: Taken(self.open.clone()),
        })
    }
}

impl Place {
    /// The connection that it is on.
    pub(in crate::proxy) fn connection(&self) -> &Http2 {
        &self.connection
    }

    /// Listens whether its origin says anything from now on.
    pub(in crate::proxy) fn listen(&self) -> Listening {
        self.connection.heard.listen()
    }

    /// Whether its origin has said how many requests it takes at once.
    pub(in crate::proxy) fn is_announced(&self) -> bool {
        self.connection.takes_websockets.borrow().is_some()
    }

    /// Whether its origin takes WebSockets, once it has said so.
    pub(in crate::proxy) fn takes_websockets(&self) -> Announced {
        self.connection.takes_websockets.clone()
    }

    /// Sends a request and waits for the head of its answer. Interim answers are heard meanwhile. What is left of the
    /// request when the answer begins is sent on.
    pub(in crate::proxy) async fn ask(
        self,
        request: Request<Body>,
        heard: impl Fn(&Response<()>),
    ) -> Result<Response<Receiving>, Unanswered> {
        let (mut head, body) = request.into_parts();
        let is_tunnel = head.method == Method::CONNECT;
        if !is_tunnel {
            tell_length(&mut head, &body);
        }
        let is_all = !is_tunnel && body.is_end_stream();
        let request = Request::from_parts(head, ());
        let mut requests = self.connection.requests;
        let (answer, stream) = match requests.send_request(request, is_all) {
            Ok(sent) => sent,
            Err(error) => return Err(Unanswered::Unsent(error, body)),
        };
        let (stream, back) = if is_tunnel {
            (None, Some(stream))
        } else {
            ((!is_all).then_some(stream), None)
        };
        let mut rest = stream.map(|stream| upload(body, stream));
        let answer = wait(answer, &mut rest, heard).await?;
        let taken = Arc::new(self.taken);
        let rest = rest.map(|rest| send_on(rest, taken.clone()));
        let (head, body) = answer.into_parts();
        let body = Receiving::behind(&head.headers, body, self.connection.long_blocks);
        let body = body.answering(back, Exchange { taken, rest });
        Ok(Response::from_parts(head, body))
    }
}

/// What lasts as long as an answer is read.
pub(super) struct Exchange {
    taken: Arc<Taken>,
    rest: Option<oneshot::Sender<()>>,
}

impl Exchange {
    /// The answer has come whole, or nobody wants what is left of it: then the request is of no use either.
    pub(super) fn end(self, is_whole: bool) {
        if let Some(rest) = self.rest.filter(|_| is_whole) {
            // It may have been sent already.
            let _ = rest.send(());
        }
        drop(self.taken);
    }
}

/// Sends the rest of a request on while its answer is read, and for a while after that.
fn send_on(rest: Upload, taken: Arc<Taken>) -> oneshot::Sender<()> {
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        let over = async {
            if ended.await.is_ok() {
                tokio::time::sleep(DISCARD).await;
            }
        };
        tokio::select! {
            // Whether it was sent whole is its origin's to judge.
            _ = rest => {}
            () = over => {}
        }
        drop(taken);
    });
    end
}

/// Says how long a body is if that is known, and of methods that have one also that there is none (RFC 9110 §8.6).
fn tell_length(head: &mut Parts, body: &Body) {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
    let length = body.size_hint().exact();
    if let Some(length) = length.filter(|length| *length > 0 || has_body) {
        let length = || HeaderValue::from(length);
        head.headers.entry(CONTENT_LENGTH).or_insert_with(length);
    }
}

/// The rest of a request on its way.
type Upload = Pin<Box<dyn Future<Output = Result<(), SendError<h2::Error>>> + Send>>;

fn upload(body: Body, mut stream: SendStream<Bytes>) -> Upload {
    Box::pin(async move {
        // How long it may take is the business of whoever waits for the answer.
        send_body(body, &mut stream, Duration::ZERO).await
    })
}

/// Waits for the answer while the request is sent.
async fn wait(
    mut answer: ResponseFuture,
    rest: &mut Option<Upload>,
    heard: impl Fn(&Response<()>),
) -> Result<Response<RecvStream>, Unanswered> {
    let mut interim = 0;
    poll_fn(|cx| {
        if let Some(Poll::Ready(sent)) = rest.as_mut().map(|rest| rest.as_mut().poll(cx)) {
            *rest = None;
            // Why the origin takes no more, the answer tells.
            if let Err(SendError::Body(error)) = sent {
                return Poll::Ready(Err(Unanswered::Client(error)));
            }
        }
        while let Poll::Ready(Some(Ok(said))) = answer.poll_informational(cx) {
            interim += 1;
            if interim > MOST_INTERIM {
                let why = "there is no end of interim answers";
                return Poll::Ready(Err(Unanswered::Malformed(why)));
            }
            if said.status() == StatusCode::SWITCHING_PROTOCOLS {
                let why = "101 is no status of HTTP/2 (RFC 9113 §8.6)";
                return Poll::Ready(Err(Unanswered::Malformed(why)));
            }
            if let Err(why) = check_values(said.headers()) {
                return Poll::Ready(Err(Unanswered::Malformed(why)));
            }
            heard(&said);
        }
        Pin::new(&mut answer)
            .poll(cx)
            .map_err(|error| match interim {
                0 if error.is_io() => Unanswered::Closed(error),
                _ => Unanswered::Broken(error),
            })
    })
    .await
}

/// Runs a connection until it ends, or its origin does not say any more that it is there.
async fn drive<S>(connection: Connection<S, Bytes>, heard: Heard, mut pings: Option<PingPong>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    let mut keep_alive = KeepAlive::new(KEEP_ALIVE_EVERY);
    let mut wait = KEEP_ALIVE_EVERY;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an origin's connection ended");
                }
                return;
            }
            () = tokio::time::sleep(wait) => match keep_alive.look(heard.count(), || ping(pings.as_mut())) {
                Some(again) => wait = again,
                None => return,
            }
        }
    }
}

/// Asks whether an origin is there.
fn ping(pings: Option<&mut PingPong>) {
    if let Some(pings) = pings {
        // An earlier answer was heard, and is still to be taken before the next question.
        let nobody = &mut Context::from_waker(Waker::noop());
        let _: Poll<_> = pings.poll_pong(nobody);
        // If it cannot be asked, the connection has ended, which its task finds out.
        let _ = pings.send_ping(Ping::opaque());
    }
}
