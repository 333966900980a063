//! One request of a client over HTTP/2 and its answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, DATE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Body as HttpBody;
use tokio::sync::oneshot;

use super::sending::{Manner, SendError, send_body};
use super::tunnel::{Stream, Tunnels};
use super::uploading::Uploading;
use crate::http2::{Accepted, Error, Incoming, OF_CONNECTIONS, Outgoing, Reason};
use crate::proxy::access_log::Logged;
use crate::proxy::answer_head::{date, is_bodiless, length_unsent};
use crate::proxy::body::Source;
use crate::proxy::expect::expects_continue;
use crate::proxy::handler::{Answer, Handler};
use crate::proxy::headers::is_of_connection;
use crate::proxy::interim::Interim;
use crate::proxy::tunnel::{Tunnel, may_leave};

/// What of a stream may leave HTTP.
struct Leaving {
    from: Incoming,
    leave: oneshot::Sender<Tunnel>,
    tunnels: Tunnels,
}

/// Answers a request; its client takes something of the answer within `limit` each time.
pub(super) async fn turn(
    handler: &impl Handler,
    (request, from, mut to): Accepted,
    tunnels: Tunnels,
    limit: Duration,
) {
    let is_head = request.method() == Method::HEAD;
    let interim = Interim::default();
    let (request, leaving) = receive(request, from, tunnels, &interim);
    let answer = {
        // Pinned where it is made: it is too large to be moved for each request.
        let answering = pin!(handler.answer(request, None, Some(&interim)));
        wait(handler, &mut to, &interim, answering).await
    };
    // None: its client has given it up.
    let Some(answer) = answer else { return };
    let (mut head, mut body) = answer.response.into_parts();
    become_http2(&mut head.headers);
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH); // RFC 9110 §8.6.
    }
    let said = match leaving {
        Some(leaving) if head.status.is_success() => {
            head.headers.remove(CONTENT_LENGTH);
            leave(to, &head, leaving)
        }
        Some(_) | None => say(to, (head, &mut body), is_head, limit).await,
    };
    if let Err(error) = said {
        tracing::debug!(%error, "an answer was not sent whole");
        if error.is_unread() {
            body.goes_unread();
        }
        if let SendError::Stream(error) = error {
            tell(&error, handler, &interim);
        }
    }
    drop(answer.in_flight);
}

/// The request as it is answered.
fn receive(
    mut request: Request<()>,
    from: Incoming,
    tunnels: Tunnels,
    interim: &Interim,
) -> (Request<Source>, Option<Leaving>) {
    if request.method() == Method::CONNECT {
        let leave = may_leave(request.extensions_mut());
        let leaving = Leaving {
            from,
            leave,
            tunnels,
        };
        return (request.map(|()| Source::Nothing), Some(leaving));
    }
    let ask = expects_continue(&request).then(|| interim.clone());
    let body = Uploading::behind(request.headers(), from, ask);
    (request.map(|()| Source::Upload(body)), None)
}

/// Waits for the answer, and passes on what is said before it; none: the client has given the request up.
async fn wait(
    handler: &impl Handler,
    to: &mut Outgoing,
    interim: &Interim,
    mut answering: Pin<&mut impl Future<Output = Answer>>,
) -> Option<Answer> {
    poll_fn(|cx| {
        // First: who has given it up is not to have it sent to an origin, nor to be told that its body broke off.
        if let Poll::Ready(why) = to.poll_broken(cx) {
            tell(&why, handler, interim);
            return Poll::Ready(None);
        }
        let answered = answering.as_mut().poll(cx);
        for head in interim.take() {
            // A client that has gone is found out above.
            let _ = to.say_interim(&head);
        }
        answered.map(Some)
    })
    .await
}

/// Tells what a client did wrong, if its stream was reset for that.
fn tell(why: &Error, handler: &impl Handler, interim: &Interim) {
    if let Some(wrong) = why.wrong() {
        handler.note_reset(interim, wrong.to_string());
    }
}

/// Makes the fields of an answer those of HTTP/2.
fn become_http2(headers: &mut HeaderMap) {
    if headers.keys().any(|name| is_of_connection(name.as_str())) {
        for name in OF_CONNECTIONS {
            headers.remove(name);
        }
    }
    headers.entry(DATE).or_insert_with(date);
}

/// Sends an answer.
async fn say(
    mut to: Outgoing,
    (mut head, body): (Parts, &mut Logged),
    is_head: bool,
    limit: Duration,
) -> Result<(), SendError> {
    let is_unsent = is_head || is_bodiless(head.status);
    let length = if is_unsent {
        length_unsent(head.status, &head.headers, body, is_head)
    } else {
        body.size_hint().exact()
    };
    if let Some(length) = length {
        let length = || HeaderValue::from(length);
        head.headers.entry(CONTENT_LENGTH).or_insert_with(length);
    }
    let is_all = is_unsent || body.is_end_stream();
    begin(&mut to, &head, is_all)?;
    if is_all {
        return Ok(());
    }
    let manner = Manner {
        limit,
        broken: Reason::INTERNAL_ERROR,
    };
    send_body(body, &mut to, manner).await
}

/// Sends the head of an answer.
fn begin(to: &mut Outgoing, head: &Parts, is_all: bool) -> Result<(), SendError> {
    let said = to.send_head((head.status, &head.headers), is_all);
    if said.is_err() {
        to.reset(Reason::INTERNAL_ERROR);
    }
    Ok(said?)
}

/// Lets the stream leave HTTP.
fn leave(mut to: Outgoing, head: &Parts, leaving: Leaving) -> Result<(), SendError> {
    begin(&mut to, head, false)?;
    let tunnel = Stream::tunnel(to, leaving.from, Some(leaving.tunnels));
    // Whoever would have it may have given up.
    let _ = leaving.leave.send(tunnel);
    Ok(())
}
