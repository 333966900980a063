//! A connection to an origin over HTTP/2, on which many requests run at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::keep_alive::{KeepAlive, Rhythm};
use super::receiving::Receiving;
use super::rules::check_values;
use super::sending::{Manner, SendError, send_body};
use super::{LARGEST_HEAD, STREAM_WINDOW};
use crate::http2::{Announced, Connection, Error, Incoming, Limits, Outgoing, Reason, Requests};
use crate::proxy::body::{Body, BodyError, DISCARD};
use crate::proxy::guard::{LONGEST_TRAILERS, MOST_INTERIM, PARSED_FIELDS};

/// An origin that lets requests wait is asked after this time whether it is there.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// And then no more often than this, as long as it says nothing else: servers of gRPC end connections on which they are asked
/// more than twice within five minutes, and have said nothing.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(310);

/// How long it may take to answer that.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// What an origin may be ahead of its clients on a whole connection, bytes: so much that clients which do not read, each of
/// which holds a stream's window, hold up nobody else.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// How long an origin may take to say how many requests it takes at once (RFC 9113 §3.4: the first thing that it says).
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// A head whose origin has begun to say it may take so long.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// A connection that requests may be sent on.
#[derive(Clone)]
pub(in crate::proxy) struct Http2 {
    requests: Requests,
    opened: Instant,
    life: Arc<Life>,
}

/// What is known of a connection beside what its origin says.
#[derive(Default)]
struct Life {
    /// Requests that are under way.
    open: AtomicUsize,
    /// Whether it has let a request wait for too long, without a word.
    is_given_up: AtomicBool,
}

impl Life {
    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }
}

/// Room for one request on a connection, of which no more are begun than its origin takes.
pub(in crate::proxy) struct Place {
    connection: Http2,
    taken: Taken,
}

/// What counts as long as a stream is open.
pub(super) struct Taken(Arc<Life>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was heard of an origin before a request was sent.
pub(in crate::proxy) struct Listening {
    connection: Http2,
    before: u64,
}

impl Listening {
    /// The request has waited too long: where nothing at all has come meanwhile, the connection may lead nowhere, and gets no
    /// others.
    pub(in crate::proxy) fn give_up_if_silent(&self) {
        let Http2 { requests, life, .. } = &self.connection;
        if requests.heard() == self.before {
            life.is_given_up.store(true, Ordering::Relaxed);
        }
    }
}

/// Why there is no answer.
pub(in crate::proxy) enum Unanswered {
    /// Nothing of the request was sent, and here is its body.
    Unsent(Error, Body),
    /// The request's body broke off.
    Client(BodyError),
    /// The connection broke or ended before anything was said of the request.
    Closed(Error),
    /// The origin broke the stream or the connection off, or said what is no answer.
    Broken(Error),
    /// The origin said what is no answer.
    Malformed(&'static str),
}

impl Http2 {
    /// Begins to speak HTTP/2 on a connection that is fresh.
    pub(in crate::proxy) fn open<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = Limits {
            streams: 0,
            stream_window: STREAM_WINDOW,
            window: CONNECTION_WINDOW,
            head: LARGEST_HEAD,
            trailers: LONGEST_TRAILERS,
            trailer_fields: PARSED_FIELDS,
            interim: MOST_INTERIM,
        };
        let (requests, connection) = Connection::asking(stream, limits, HEAD_WITHIN);
        let life: Arc<Life> = Arc::default();
        tokio::spawn(drive(connection, life.clone()));
        Self {
            requests,
            opened: Instant::now(),
            life,
        }
    }

    /// When it was.
    pub(in crate::proxy) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether it takes no more requests: it has ended, its origin has said that it ends, or says nothing any more.
    pub(in crate::proxy) fn is_closed(&self) -> bool {
        self.life.is_given_up.load(Ordering::Relaxed) || self.requests.are_over()
    }

    /// Whether no request is open.
    pub(in crate::proxy) fn is_idle(&self) -> bool {
        self.life.is_idle()
    }

    /// Whether so much waits for its origin to take it that it gets no more.
    pub(in crate::proxy) fn is_crowded(&self) -> bool {
        self.requests.are_crowded()
    }

    /// How many requests its origin takes at once, as far as it has said so.
    pub(in crate::proxy) fn most_at_once(&self) -> usize {
        self.requests.most_at_once()
    }

    /// Room for a request, if its origin takes another, and has taken those before.
    pub(in crate::proxy) fn place(&self) -> Option<Place> {
        let most = self.requests.most_now();
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let another = |open: usize| (open < most).then_some(open + 1);
        self.life.open.fetch_update(set, fetch, another).ok()?;
        Some(Place {
            connection: self.clone(),
            taken: Taken(self.life.clone()),
        })
    }
}

impl Place {
    /// Listens whether its origin says anything from now on.
    pub(in crate::proxy) fn listen(&self) -> Listening {
        Listening {
            before: self.connection.requests.heard(),
            connection: self.connection.clone(),
        }
    }

    /// Whether its origin has said how many requests it takes at once.
    pub(in crate::proxy) fn is_announced(&self) -> bool {
        self.connection.requests.is_settled()
    }

    /// Its connection, once its origin has said what it takes, or nothing for a while.
    pub(in crate::proxy) fn settled(&self) -> impl Future<Output = Http2> + use<> {
        let (mut said, connection) = (self.takes_websockets(), self.connection.clone());
        async move {
            // Or the connection has ended.
            let _ = tokio::time::timeout(SETTLES_WITHIN, said.wait_for(Option::is_some)).await;
            connection
        }
    }

    /// Whether its origin takes WebSockets, once it has said so.
    pub(in crate::proxy) fn takes_websockets(&self) -> Announced {
        self.connection.requests.announced()
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
        let (mut from, to) = match self.connection.requests.ask(&request, is_all) {
            Ok(sides) => sides,
            Err(error) => return Err(Unanswered::Unsent(error, body)),
        };
        let (mut rest, mut back) = (None, None);
        if is_tunnel {
            back = Some(to);
        } else if !is_all {
            rest = Some(upload(body, to));
        }
        let answer = wait(&mut from, &mut rest, heard).await?;
        let taken = Arc::new(self.taken);
        let rest = rest.map(|rest| send_on(rest, taken.clone()));
        let exchange = Exchange { taken, rest };
        let body = Receiving::behind(answer.headers(), from, back, exchange);
        Ok(answer.map(|()| body))
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
type Upload = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

fn upload(body: Body, mut stream: Outgoing) -> Upload {
    Box::pin(async move {
        // How long it may take is the business of whoever waits for the answer.
        let manner = Manner {
            limit: Duration::ZERO,
            broken: Reason::CANCEL,
        };
        send_body(body, &mut stream, manner).await
    })
}

/// Waits for the answer while the request is sent.
async fn wait(
    from: &mut Incoming,
    rest: &mut Option<Upload>,
    heard: impl Fn(&Response<()>),
) -> Result<Response<()>, Unanswered> {
    let mut has_spoken = false;
    poll_fn(|cx| {
        if let Some(Poll::Ready(sent)) = rest.as_mut().map(|rest| rest.as_mut().poll(cx)) {
            *rest = None;
            // Why the origin takes no more, the answer tells.
            if let Err(SendError::Body(error)) = sent {
                return Poll::Ready(Err(Unanswered::Client(error)));
            }
        }
        loop {
            let said = match ready!(from.poll_head(cx)) {
                Ok(said) if !said.status().is_informational() => return Poll::Ready(Ok(said)),
                Ok(said) => said,
                Err(error) if error.is_cut_off() && !has_spoken => {
                    return Poll::Ready(Err(Unanswered::Closed(error)));
                }
                Err(error) => return Poll::Ready(Err(Unanswered::Broken(error))),
            };
            if let Err(why) = check_interim(&said) {
                return Poll::Ready(Err(Unanswered::Malformed(why)));
            }
            has_spoken = true;
            heard(&said);
        }
    })
    .await
}

fn check_interim(said: &Response<()>) -> Result<(), &'static str> {
    if said.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("101 is no status of HTTP/2 (RFC 9113 §8.6)");
    }
    check_values(said.headers())
}

/// Runs a connection until it ends, or its origin does not say any more that it is there.
async fn drive<S>(mut connection: Connection<S>, life: Arc<Life>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pinger = connection.pinger();
    let mut keep_alive = KeepAlive::new(Rhythm {
        every: KEEP_ALIVE_EVERY,
        within: PONG_WITHIN,
        again_after: ASKED_AGAIN_AFTER,
    });
    let mut wait = KEEP_ALIVE_EVERY;
    loop {
        let looked = tokio::time::timeout(wait, poll_fn(|cx| connection.poll_end(cx))).await;
        if let Ok(ended) = looked {
            if let Some(how) = ended {
                tracing::debug!(%how, "an origin's connection ended");
            }
            return;
        }
        let signs = connection.signs();
        if life.is_idle() {
            wait = keep_alive.rest(signs);
            continue;
        }
        match keep_alive.look(signs, || pinger.ping()) {
            Some(again) => wait = again,
            None => return,
        }
    }
}
