//! A connection to an origin over HTTP/2, on which many requests run at once.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::heard::{Heard, KeepAlive};
use super::receiving::Receiving;
use super::sending::{SendError, send_body};
use super::{STREAM_BUFFER, STREAM_WINDOW};
use crate::proxy::announced::{Announced, Announcing};
use crate::proxy::body::{Body, BodyError};

/// An idle origin is asked this often whether it is there.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// What an origin may be ahead of its clients on a whole connection, bytes: so much that clients which do not read, each of
/// which holds a stream's window, hold up nobody else.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// The most interim answers before the final one: there is no end of them otherwise.
const MOST_INTERIM: usize = 16;

/// A connection that requests may be sent on.
#[derive(Clone)]
pub(in crate::proxy) struct Http2 {
    requests: SendRequest<Bytes>,
    pub(in crate::proxy) takes_websockets: Announced,
}

/// Why there is no answer.
pub(in crate::proxy) enum Unanswered {
    /// Nothing of the request was sent, and here is its body.
    Unsent(h2::Error, Body),
    /// The request's body broke off.
    Client(BodyError),
    /// The origin broke the stream or the connection off, or said what is no answer.
    Broken(h2::Error),
    /// There is no end of interim answers.
    Endless,
}

impl Http2 {
    /// Begins to speak HTTP/2 on a connection that is fresh.
    pub(in crate::proxy) async fn open<S>(stream: S) -> Result<Self, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = Heard::default();
        let (stream, takes_websockets) = Announcing::new(stream, heard.clone());
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(STREAM_BUFFER)
            .handshake(stream)
            .await?;
        let keep_alive = KeepAlive::new(heard, connection.ping_pong(), KEEP_ALIVE_EVERY);
        tokio::spawn(drive(connection, keep_alive));
        Ok(Self {
            requests,
            takes_websockets,
        })
    }

    /// Whether it takes no more requests: it has ended, or its origin has said that it ends.
    pub(in crate::proxy) fn is_closed(&mut self) -> bool {
        let nobody = &mut Context::from_waker(Waker::noop());
        matches!(self.requests.poll_ready(nobody), Poll::Ready(Err(_)))
    }

    /// Waits until it takes a request.
    pub(in crate::proxy) async fn ready(&mut self) -> Result<(), h2::Error> {
        poll_fn(|cx| self.requests.poll_ready(cx)).await
    }

    /// Sends a request and waits for the head of its answer. Interim answers are heard meanwhile. What is left of the
    /// request when the answer begins is sent on.
    pub(in crate::proxy) async fn ask(
        mut self,
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
        let (answer, stream) = match self.requests.send_request(request, is_all) {
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
        if let Some(rest) = rest {
            tokio::spawn(rest);
        }
        let (head, body) = answer.into_parts();
        let body = Receiving::answer(&head.headers, body, back);
        Ok(Response::from_parts(head, body))
    }
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

fn upload(body: Body, mut stream: SendStream<Bytes>) -> Upload {
    Box::pin(async move {
        // How long it may take is the business of whoever waits for the answer.
        send_body(body, &mut stream, Reason::CANCEL, Duration::ZERO).await
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
                return Poll::Ready(Err(Unanswered::Endless));
            }
            heard(&said);
        }
        Pin::new(&mut answer).poll(cx).map_err(Unanswered::Broken)
    })
    .await
}

/// Runs a connection until it ends, or its origin does not say any more that it is there.
async fn drive<S>(connection: Connection<S, Bytes>, mut keep_alive: KeepAlive)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    let mut wait = KEEP_ALIVE_EVERY;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an origin's connection ended");
                }
                return;
            }
            () = tokio::time::sleep(wait) => match keep_alive.look() {
                Some(again) => wait = again,
                None => return,
            }
        }
    }
}
