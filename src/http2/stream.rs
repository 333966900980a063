//! What is known of one stream.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::error::{Error, Wrong};
use super::head::told_length;
use super::window::{Inbound, Outbound};

/// A stream that has begun, until it is over and nobody asks for it any more.
#[derive(Debug)]
pub(super) struct Stream {
    /// The request of a client, until somebody takes it.
    pub(super) request: Option<Request<()>>,
    pub(super) from: Inflow,
    pub(super) to: Outflow,
    /// Why it is over before its time, if it is.
    pub(super) broken: Option<Error>,
    /// Whether it counts as open.
    is_open: bool,
}

/// What comes.
#[derive(Debug)]
pub(super) struct Inflow {
    pub(super) window: Inbound,
    /// The answer to what was asked; none: a request.
    answer: Option<Answer>,
    content: Content,
    /// Bytes of content that are still to come, if that was told.
    left: Option<u64>,
    trailers: Option<Result<HeaderMap, Error>>,
    pub(super) has_ended: bool,
    /// Whether somebody reads it.
    pub(super) is_wanted: bool,
    pub(super) waker: Option<Waker>,
}

/// The heads of an answer.
#[derive(Debug)]
struct Answer {
    to: Asked,
    /// Those that nobody has read yet.
    heads: VecDeque<Response<()>>,
    /// How many interim ones came.
    interim: u8,
    /// Whether the last one has come.
    has_begun: bool,
}

/// What was asked for, as far as the length of the answer depends on it (RFC 9110 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Connect,
    Head,
    Content,
}

/// What goes.
#[derive(Debug)]
pub(super) struct Outflow {
    pub(super) window: Outbound,
    pub(super) has_begun: bool,
    pub(super) has_ended: bool,
    /// How many bytes were to be written on the connection before its own.
    pub(super) behind: u64,
    /// Whether it has its turn, and has not taken it yet.
    pub(super) has_turn: bool,
    /// Whether somebody writes it.
    pub(super) is_wanted: bool,
    pub(super) waker: Option<Waker>,
}

/// Content that nobody has read yet.
#[derive(Debug, Default)]
struct Content {
    pieces: VecDeque<Bytes>,
    /// Short pieces in one, behind the others: what would hold each is larger than it.
    short: BytesMut,
}

impl Content {
    fn push(&mut self, piece: Bytes) {
        if !self.short.is_empty() {
            self.pieces.push_back(self.short.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let first = self.pieces.pop_front();
        first.or_else(|| (!self.short.is_empty()).then(|| self.short.split().freeze()))
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.short.is_empty()
    }

    fn clear(&mut self) -> usize {
        let length = self.short.len() + self.pieces.iter().map(Bytes::len).sum::<usize>();
        *self = Self::default();
        length
    }
}

impl Stream {
    /// One that a client has begun; how long its content is, if that was told.
    pub(super) fn begun(
        request: Request<()>,
        left: Option<u64>,
        windows: (Inbound, Outbound),
    ) -> Self {
        Self::new(Some(request), (None, left), windows)
    }

    /// One that this side has begun, behind so many bytes that are to be written before.
    pub(super) fn asked(method: &Method, behind: u64, windows: (Inbound, Outbound)) -> Self {
        let mut stream = Self::new(None, (Some(Answer::to(method)), None), windows);
        (stream.to.has_begun, stream.to.behind) = (true, behind);
        stream
    }

    fn new(
        request: Option<Request<()>>,
        (answer, left): (Option<Answer>, Option<u64>),
        windows: (Inbound, Outbound),
    ) -> Self {
        Self {
            request,
            from: Inflow {
                window: windows.0,
                answer,
                content: Content::default(),
                left,
                trailers: None,
                has_ended: false,
                is_wanted: true,
                waker: None,
            },
            to: Outflow {
                window: windows.1,
                has_begun: false,
                has_ended: false,
                behind: 0,
                has_turn: false,
                is_wanted: true,
                waker: None,
            },
            broken: None,
            is_open: true,
        }
    }

    /// Counts as open no more; whether it did.
    pub(super) fn close(&mut self) -> bool {
        std::mem::replace(&mut self.is_open, false)
    }

    /// Whether nothing of what this side asks is written, since so many bytes are.
    pub(super) fn is_unsent(&self, written: u64) -> bool {
        self.from.answer.is_some() && written <= self.to.behind
    }

    /// Whether nothing more comes or goes.
    pub(super) fn is_over(&self) -> bool {
        self.broken.is_some() || self.from.has_ended && self.to.has_ended
    }

    /// Whether nobody has any use for what is known of it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.is_over() && self.request.is_none() && !self.from.is_wanted && !self.to.is_wanted
    }

    /// Nothing more comes or goes; how many bytes of content nobody reads any more.
    pub(super) fn break_off(&mut self, why: Error) -> usize {
        self.broken = Some(why);
        for waker in [&mut self.from.waker, &mut self.to.waker] {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
        // What has come whole stays so for whoever reads it, and what has come of an answer is passed on.
        let is_read = self.from.has_ended && self.request.is_none();
        if is_read || self.from.answer.is_some() {
            0
        } else {
            self.from.content.clear()
        }
    }
}

impl Answer {
    fn to(method: &Method) -> Self {
        Self {
            to: match *method {
                Method::CONNECT => Asked::Connect,
                Method::HEAD => Asked::Head,
                _ => Asked::Content,
            },
            heads: VecDeque::new(),
            interim: 0,
            has_begun: false,
        }
    }

    /// How long the content behind its head is, if that is told.
    fn length(&self, head: &Response<()>) -> Result<Option<u64>, Wrong> {
        let told = told_length(head.headers()).map_err(Wrong::protocol)?;
        let is_bodiless =
            [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status());
        Ok(match self.to {
            Asked::Connect if head.status().is_success() => None,
            Asked::Head => Some(0),
            Asked::Connect | Asked::Content if is_bodiless => Some(0),
            Asked::Connect | Asked::Content => told,
        })
    }
}

impl Inflow {
    /// Whether a head is next, of an answer that has not begun.
    pub(super) fn awaits_head(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.has_begun)
    }

    /// Takes the head of an answer, of which no more than so many are interim.
    pub(super) fn take_head(
        &mut self,
        head: Response<()>,
        is_all: bool,
        most_interim: u8,
    ) -> Result<(), Wrong> {
        let Some(answer) = &mut self.answer else {
            return Err(Wrong::protocol("an answer comes to nothing"));
        };
        if head.status().is_informational() {
            if is_all {
                return Err(Wrong::protocol("an interim answer ends its stream"));
            }
            if answer.interim == most_interim {
                return Err(Wrong::protocol("there is no end of interim answers"));
            }
            answer.interim += 1;
        } else {
            answer.has_begun = true;
            self.left = answer.length(&head)?;
        }
        if is_all {
            self.end(None)?;
        }
        if let Some(answer) = &mut self.answer {
            answer.heads.push_back(head);
        }
        self.wake();
        Ok(())
    }

    /// A head of an answer that has come.
    pub(super) fn pop_head(&mut self) -> Option<Response<()>> {
        self.answer.as_mut()?.heads.pop_front()
    }

    /// Counts content, of which there is as much as was told.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Wrong> {
        if let Some(left) = self.left {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let left = left.checked_sub(bytes);
            self.left = Some(left.ok_or(Wrong::protocol("there is more content than was told"))?);
        }
        Ok(())
    }

    pub(super) fn push(&mut self, content: Bytes) {
        self.content.push(content);
        self.wake();
    }

    pub(super) fn push_short(&mut self, content: &[u8]) {
        self.content.short.extend_from_slice(content);
        self.wake();
    }

    /// Takes the end, behind as much as was told.
    pub(super) fn end(&mut self, trailers: Option<Result<HeaderMap, Error>>) -> Result<(), Wrong> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(Wrong::protocol("a body is shorter than Content-Length"));
        }
        (self.trailers, self.has_ended) = (trailers, true);
        self.wake();
        Ok(())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Content that has come.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.content.pop()
    }

    /// Nobody wants what has come; how much that was.
    pub(super) fn clear(&mut self) -> usize {
        self.content.clear()
    }

    pub(super) fn take_trailers(&mut self) -> Option<Result<HeaderMap, Error>> {
        self.trailers.take()
    }

    /// Whether all has come, and was read.
    pub(super) fn is_read(&self) -> bool {
        self.has_ended && self.content.is_empty() && self.trailers.is_none()
    }
}
