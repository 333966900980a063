//! One request of a client and its answer.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};

use super::super::outbox::{HEAD, Outbox, SendError};
use super::answer_head::Asked;
use super::line::{HalfClosed, Line};
use crate::proxy::access_log::Logged;
use crate::proxy::body::{DISCARD, Source};
use crate::proxy::expect::expects_continue;
use crate::proxy::guard::keeps_connection;
use crate::proxy::handler::{Answer, Handler};
use crate::proxy::headers::upgrade_of;
use crate::proxy::interim::Interim;
use crate::proxy::tunnel::may_leave;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another request may follow.
    Next,
    /// That was the last answer.
    Last,
    /// There is nobody to speak to, or the answer broke off, which only the end of the connection tells.
    Broken,
    /// It has left HTTP.
    Left,
}

/// Answers a request whose head came after `took`.
pub(super) async fn turn(
    line: &mut Line,
    handler: &impl Handler,
    interim: &Interim,
    head: Request<()>,
    took: Duration,
) -> After {
    let asked = Asked::of(&head);
    let mut leave = None;
    let body = Source::Client(line.body(expects_continue(&head)));
    let mut request = head.map(|()| body);
    if asked.version == Version::HTTP_11 && upgrade_of(request.headers()).is_some() {
        leave = Some(may_leave(request.extensions_mut()));
    }
    let hints = (asked.version == Version::HTTP_11).then_some(interim);
    let answer = {
        // Pinned where it is made: it is too large to be moved for each request.
        let answering = pin!(handler.answer(request, Some(took), hints));
        wait(line, interim, asked.half_closed, answering).await
    };
    let Some(answer) = answer else {
        return After::Broken;
    };
    let switches = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let may_keep = asked.keeps && !handler.is_ending();
    match (say(line, &asked, answer.response, may_keep).await, leave) {
        (After::Next, _) => rest(line).await,
        (After::Last, Some(leave)) if switches => {
            // Whoever would have it may have given up.
            let _ = leave.send(line.leave());
            After::Left
        }
        (after, _) => after,
    }
}

/// Waits for the answer, and passes on what is said before it; none: the client has gone.
async fn wait(
    line: &mut Line,
    interim: &Interim,
    half_closed: HalfClosed,
    mut answering: Pin<&mut impl Future<Output = Answer>>,
) -> Option<Answer> {
    poll_fn(|cx| {
        let answered = answering.as_mut().poll(cx);
        line.hear(interim, cx);
        if let Poll::Ready(answer) = answered {
            return Poll::Ready(Some(answer));
        }
        let has_failed = matches!(line.poll_say(cx), Poll::Ready(Err(_)));
        if has_failed || line.poll_gone(half_closed, cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Sends an answer.
async fn say(line: &mut Line, asked: &Asked, answer: Response<Logged>, may_keep: bool) -> After {
    let framing = asked.framing(&answer);
    let says_close = !keeps_connection(Version::HTTP_11, answer.headers());
    let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let keeps = may_keep && !says_close && !framing.ends_connection() && !switches;
    let mut text = line.take_text();
    text.reserve(HEAD);
    asked.write_head(&answer, framing, keeps, &mut text);
    let mut outbox = Outbox::new(text, framing, answer.into_body());
    if !asked.takes_trailers {
        outbox = outbox.without_trailers();
    }
    let sent = poll_fn(|cx| {
        let sent = outbox.poll_send(&mut line.writer(), cx);
        if sent.is_pending() && line.poll_gone(asked.half_closed, cx).is_ready() {
            return Poll::Ready(None);
        }
        sent.map(Some)
    });
    match sent.await {
        Some(Ok(())) if keeps => After::Next,
        Some(Ok(())) => After::Last,
        Some(Err(SendError::Body(error))) => broken(&error),
        Some(Err(SendError::Io(error))) => {
            if error.kind() == io::ErrorKind::TimedOut {
                outbox.body().into_iter().for_each(Logged::goes_unread);
            }
            broken(&error)
        }
        None => broken("the client has gone"),
    }
}

fn broken(why: impl std::fmt::Display) -> After {
    tracing::debug!(%why, "client connection ended");
    After::Broken
}

/// Waits until the request has come whole.
async fn rest(line: &mut Line) -> After {
    if !line.is_over() {
        poll_fn(|cx| line.poll_given_back(cx)).await;
        let over = tokio::time::timeout(DISCARD, poll_fn(|cx| line.poll_over(cx))).await;
        if over.is_err() {
            line.give_up();
        }
    }
    if line.is_over() {
        After::Next
    } else {
        After::Last
    }
}
