//! A client's connection, whose reading side is lent to the body of a request while that is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Method, Request};
use tokio::io::{AsyncWrite, ReadHalf, Sink, WriteHalf};

use super::super::inbox::Inbox;
use super::from_client::FromClient;
use crate::proxy::body::MOST_DISCARDED;
use crate::proxy::guard::{Part, Refusal, Requests};
use crate::proxy::inbound::is_safe;
use crate::proxy::interim::Interim;
use crate::proxy::tunnel::{Io, Tunnel};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Both directions of a connection.
pub(super) struct Line {
    side: Side,
    inbox: Box<Inbox<Requests>>,
    /// Why nothing more is read.
    ended: Option<Ended>,
    /// How much of the request was read for nobody.
    discarded: usize,
    /// Interim answers that wait to be written, and how much of them was.
    text: Vec<u8>,
    written: usize,
}

enum Side {
    Whole(Box<dyn Io>),
    /// A body has the other half.
    Lent(WriteHalf<Box<dyn Io>>, Arc<Desk>),
    /// It is a tunnel, or about to be something else.
    Gone(Sink),
}

/// Why nothing more is read of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has ended its side, or its connection broke.
    Closed,
    /// Its connection broke within a body, and whoever read that was not told.
    Lost,
    /// What it sent is no request, or too much that nobody wants.
    GivenUp,
}

/// What a client is taken for that has sent a whole request and ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HalfClosed {
    /// It has given its request up: nothing is lost by that, and a long poll need not go on for nobody.
    Gone,
    /// It waits for its answer: what it asked for may have happened, and only the answer says so.
    Waits,
}

impl HalfClosed {
    pub(super) fn of(method: &Method) -> Self {
        if is_safe(method) {
            Self::Gone
        } else {
            Self::Waits
        }
    }
}

/// Where a body that is being read speaks with its connection.
#[derive(Default)]
pub(super) struct Desk {
    said: Mutex<Said>,
    connection: AtomicWaker,
}

#[derive(Default)]
struct Said {
    given_back: Option<GivenBack>,
    /// The body was asked for, and its client waits for that.
    wants_body: bool,
}

/// The reading side, when nobody reads the body any more.
pub(super) struct GivenBack {
    pub(super) half: ReadHalf<Box<dyn Io>>,
    pub(super) inbox: Box<Inbox<Requests>>,
    pub(super) ended: Option<Ended>,
}

impl Desk {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give_back(&self, given_back: GivenBack) {
        self.said().given_back = Some(given_back);
        self.connection.wake();
    }

    /// The client is to be told that its body is wanted.
    pub(super) fn ask_for_body(&self) {
        self.said().wants_body = true;
        self.connection.wake();
    }
}

impl Line {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self {
            side: Side::Whole(io),
            inbox: Box::default(),
            ended: None,
            discarded: 0,
            text: Vec::new(),
            written: 0,
        }
    }

    fn take_side(&mut self) -> Side {
        std::mem::replace(&mut self.side, Side::Gone(tokio::io::sink()))
    }

    /// The head that has come.
    pub(super) fn head(&mut self) -> Result<Option<Request<()>>, Refusal> {
        self.discarded = 0;
        self.inbox.head()
    }

    /// Whether something has come that was not taken.
    pub(super) fn has_more(&self) -> bool {
        !self.inbox.input.is_empty()
    }

    /// Reads what has come; 0: no more will.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Side::Whole(io) = &mut self.side else {
            return Poll::Ready(Ok(0));
        };
        self.inbox.poll_fill_seldom(io, cx)
    }

    /// The body of the request whose head was taken last. `waits`: until it is asked for, its client sends none.
    pub(super) fn body(&mut self, waits: bool) -> FromClient {
        if self.inbox.messages.is_over() {
            return FromClient::none();
        }
        if let Some(whole) = self.whole_body() {
            return FromClient::whole(whole);
        }
        match self.take_side() {
            Side::Whole(io) => {
                let (half, to_client) = tokio::io::split(io);
                let desk = Arc::<Desk>::default();
                self.side = Side::Lent(to_client, desk.clone());
                let inbox = std::mem::take(&mut self.inbox);
                let waits = waits && inbox.input.is_empty();
                FromClient::lent(half, inbox, desk, waits)
            }
            side @ (Side::Lent(..) | Side::Gone(_)) => {
                self.side = side;
                FromClient::none()
            }
        }
    }

    /// A body of known length that has come with its head.
    fn whole_body(&mut self) -> Option<Bytes> {
        if !self.inbox.has_come(self.inbox.messages.left()) {
            return None;
        }
        match self.inbox.part() {
            Ok(Some(Part::Data(data))) => Some(data),
            Ok(_) | Err(_) => None,
        }
    }

    /// Takes what is to be said before the answer.
    pub(super) fn hear(&mut self, interim: &Interim, cx: &mut Context<'_>) {
        interim.take_into(&mut self.text);
        if let Side::Lent(_, desk) = &self.side {
            desk.connection.register(cx.waker());
            if std::mem::take(&mut desk.said().wants_body) {
                self.text.extend_from_slice(CONTINUE);
            }
        }
    }

    /// Writes what was heard.
    pub(super) fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.text.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest @ [_, ..]) = self.text.get(self.written..) {
            match ready!(writer(&mut self.side).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
        self.text.clear();
        self.written = 0;
        writer(&mut self.side).poll_flush(cx)
    }

    /// What was heard and not written.
    pub(super) fn take_text(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.text);
        text.drain(..std::mem::take(&mut self.written));
        text
    }

    pub(super) fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        writer(&mut self.side)
    }

    /// Ready when nobody reads the request's body any more.
    pub(super) fn poll_given_back(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Side::Lent(_, desk) = &self.side else {
            return Poll::Ready(());
        };
        desk.connection.register(cx.waker());
        let Some(given_back) = desk.said().given_back.take() else {
            return Poll::Pending;
        };
        if let Side::Lent(to_client, _) = self.take_side() {
            self.side = Side::Whole(given_back.half.unsplit(to_client));
        }
        self.inbox = given_back.inbox;
        self.ended = given_back.ended;
        Poll::Ready(())
    }

    /// Ready when the client has gone. Nothing else ends the wait for an answer, so what comes meanwhile is kept, or read
    /// away if it is of a body that nobody wants.
    ///
    /// A client that has ended its side behind a whole request may have gone, or may wait for the answer: nobody can tell.
    pub(super) fn poll_gone(&mut self, half_closed: HalfClosed, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_given_back(cx));
        match self.ended {
            Some(Ended::Lost) => return Poll::Ready(()),
            Some(Ended::Closed | Ended::GivenUp) => return Poll::Pending, // Whoever read the body knows.
            None => {}
        }
        ready!(self.poll_over(cx));
        if self.ended.is_none() && !self.has_more() {
            let filled = ready!(self.poll_fill(cx));
            if !matches!(filled, Ok(1..)) {
                self.ended = Some(Ended::Closed);
            }
            if matches!(filled, Ok(0)) && half_closed == HalfClosed::Waits {
                return Poll::Pending; // If it is gone, writing to it will tell.
            }
        }
        match self.ended {
            Some(Ended::Closed | Ended::Lost) => Poll::Ready(()),
            Some(Ended::GivenUp) | None => Poll::Pending,
        }
    }

    /// Ready when the request has come whole, or no more of it will.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_given_back(cx));
        while self.ended.is_none() && !self.inbox.messages.is_over() {
            match self.inbox.part() {
                Ok(Some(part)) => self.discard(&part),
                Ok(None) if self.inbox.messages.is_over() => {}
                Ok(None) if matches!(ready!(self.poll_fill(cx)), Ok(1..)) => {}
                Ok(None) => self.ended = Some(Ended::Closed),
                Err(_) => self.ended = Some(Ended::GivenUp),
            }
        }
        Poll::Ready(())
    }

    fn discard(&mut self, part: &Part) {
        if let Part::Data(data) = part {
            self.discarded = self.discarded.saturating_add(data.len());
        }
        if self.discarded > MOST_DISCARDED {
            self.ended = Some(Ended::GivenUp);
        }
    }

    /// How much of the request was read for nobody, bytes.
    pub(super) fn discarded(&self) -> usize {
        self.discarded
    }

    /// Nothing more is made of what comes.
    pub(super) fn give_up(&mut self) {
        self.ended = Some(Ended::GivenUp);
    }

    /// Whether some of a request may still come that nobody wants.
    pub(super) fn is_under_way(&self) -> bool {
        match self.side {
            Side::Lent(..) => true,
            Side::Whole(_) | Side::Gone(_) => {
                self.ended.is_none() && !self.inbox.messages.is_over()
            }
        }
    }

    /// Whether the request has come whole, and the next one may follow.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.side, Side::Whole(_)) && self.ended.is_none() && self.inbox.messages.is_over()
    }

    /// Gives back the memory that the next request may do without.
    pub(super) fn shrink(&mut self) {
        if !self.has_more() {
            self.inbox.shrink();
        }
    }

    /// The connection, for what follows HTTP on it.
    pub(super) fn leave(&mut self) -> Tunnel {
        match self.take_side() {
            Side::Whole(io) => Tunnel::new(self.inbox.take_rest(), io),
            Side::Lent(..) | Side::Gone(_) => Tunnel::closed(),
        }
    }
}

fn writer(side: &mut Side) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
    match side {
        Side::Whole(io) => Pin::new(io),
        Side::Lent(half, _) => Pin::new(half),
        Side::Gone(sink) => Pin::new(sink),
    }
}
