//! The body of an origin's answer, with the connection that it comes on.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;

use super::super::body::{Body, BodyError, DISCARD};
use super::super::guard::{Answers, Part};
use super::Http1;
use super::inbox::Inbox;
use super::outbox::Outbox;
use crate::proxy::tunnel::{Io, Tunnel};

/// An answer's body that is read as it comes.
pub(in crate::proxy) struct Reading {
    /// Until the body is over.
    from: Option<(From, Box<Inbox<Answers>>)>,
    /// Whether another request may follow.
    keeps: bool,
    /// How long its origin keeps the connection for that, if it was said.
    kept_for: Option<Duration>,
    /// The connection, when it is free for that.
    free: Option<Http1>,
    /// Why the body broke off, which is told a turn later.
    broken: Option<BodyError>,
}

/// Where it is read.
enum From {
    Whole(Box<dyn Io>),
    /// The request is still being sent, by a task of its own: its client may not read before it has sent all.
    Half(ReadHalf<Box<dyn Io>>, Sending),
}

/// Is dropped when the answer is given up, and with it what is left of the request; told so, when the answer has come whole.
type Sending = oneshot::Sender<()>;

impl Reading {
    /// The request was sent whole.
    pub(super) fn of(connection: Http1, keeps: bool) -> Self {
        let Http1 {
            io,
            inbox,
            kept_for,
        } = connection;
        let mut reading = Self {
            from: Some((From::Whole(io), inbox)),
            keeps,
            kept_for,
            free: None,
            broken: None,
        };
        reading.end_if_over();
        reading
    }

    /// The origin answers before it has the whole request.
    pub(super) fn while_sending(connection: Http1, outbox: Outbox<Body>) -> Self {
        let Http1 { io, inbox, .. } = connection;
        let (read, write) = tokio::io::split(io);
        let (sending, answered) = oneshot::channel();
        tokio::spawn(send_on(outbox, write, answered));
        let mut reading = Self {
            from: Some((From::Half(read, sending), inbox)),
            keeps: false,
            kept_for: None,
            free: None,
            broken: None,
        };
        reading.end_if_over();
        reading
    }

    /// The connection, if the body is over and another request may be sent.
    pub(in crate::proxy) fn take_connection(&mut self) -> Option<Http1> {
        self.free.take()
    }

    /// The connection when it has left HTTP (101): without anything to say, if its request was not sent whole.
    pub(in crate::proxy) fn into_tunnel(self) -> Tunnel {
        match self.from {
            Some((From::Whole(io), mut inbox)) => Tunnel::new(inbox.take_rest(), io),
            Some((From::Half(..), _)) | None => Tunnel::closed(),
        }
    }

    /// All of it, if its length was told and it has come with its head: then there is nothing to wait for.
    pub(in crate::proxy) fn take_whole(&mut self) -> Option<Bytes> {
        let Some((From::Whole(_), inbox)) = &mut self.from else {
            return None;
        };
        if !inbox.has_come(inbox.messages.left()) {
            return None;
        }
        let Ok(Some(Part::Data(whole))) = inbox.part() else {
            return None;
        };
        self.end_if_over();
        Some(whole)
    }

    fn end_if_over(&mut self) {
        if self
            .from
            .as_ref()
            .is_none_or(|(_, inbox)| !inbox.messages.is_over())
        {
            return;
        }
        match self.from.take() {
            Some((From::Whole(io), mut inbox)) if self.keeps && inbox.is_spent() => {
                inbox.shrink();
                let kept_for = self.kept_for;
                self.free = Some(Http1 {
                    io,
                    inbox,
                    kept_for,
                });
            }
            Some((From::Half(_, sending), _)) => {
                // It may have been sent already.
                let _ = sending.send(());
            }
            Some((From::Whole(_), _)) | None => {}
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, BodyError>> {
        let Some((from, inbox)) = &mut self.from else {
            return Poll::Ready(Ok(None));
        };
        loop {
            let part = inbox.part().map_err(BodyError::broken)?;
            if part.is_some() || inbox.messages.is_over() {
                return Poll::Ready(Ok(part));
            }
            let filled = ready!(match from {
                From::Whole(io) => inbox.poll_fill(io, cx),
                From::Half(io, _) => inbox.poll_fill(io, cx),
            });
            if filled.map_err(BodyError::broken)? > 0 {
                continue;
            }
            let ends_here = inbox.messages.lasts_to_the_end();
            self.from = None;
            return Poll::Ready(if ends_here { Ok(None) } else { Err(cut_off()) });
        }
    }
}

fn cut_off() -> BodyError {
    let why = "the connection was closed before its end";
    BodyError::broken(io::Error::new(io::ErrorKind::UnexpectedEof, why))
}

/// Sends the rest of a request on while its answer is read, and for a while after that.
async fn send_on(
    outbox: Outbox<Body>,
    io: WriteHalf<Box<dyn Io>>,
    answered: oneshot::Receiver<()>,
) {
    let over = async {
        if answered.await.is_ok() {
            tokio::time::sleep(DISCARD).await;
        }
    };
    tokio::select! {
        () = send(outbox, io) => {}
        () = over => {}
    }
}

/// Sends the rest of a request. If its client gives up, the origin is told that no more of it comes.
async fn send(mut outbox: Outbox<Body>, mut io: WriteHalf<Box<dyn Io>>) {
    let sent = poll_fn(|cx| outbox.poll_send(&mut io, cx)).await;
    if sent.is_err() {
        // It is about to be closed anyway.
        let _ = io.shutdown().await;
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let part = match ready!(self.poll_part(cx)) {
            Ok(part) => part,
            Err(error) => {
                // What a server has not written when a body fails is lost; it writes when it has to wait.
                (self.from, self.broken) = (None, Some(error));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        self.end_if_over();
        Poll::Ready(part.map(|part| {
            Ok(match part {
                Part::Data(data) => Frame::data(data),
                Part::Trailers(trailers) => Frame::trailers(trailers),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.from.is_none() && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self
            .from
            .as_ref()
            .map_or(Some(0), |(_, inbox)| inbox.messages.left());
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
