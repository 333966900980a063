//! What a client's side does: it begins streams, and reads the heads of answers.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::sync::watch;

use super::super::error::{Error, Reason, Wrong};
use super::super::frame::PREFACE;
use super::super::head::Protocol;
use super::super::hpack::write_request;
use super::super::stream::Stream;
use super::{
    ANY_STREAM, ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, INITIAL_WINDOW_SIZE, Limits,
    MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE, MOST_UNREAD, State,
};

/// Requests at once of a server that has not said yet how many it takes (RFC 9113 §6.5.2 advises no fewer).
pub(crate) const MOST_AT_FIRST: usize = 100;

/// Whether a server takes CONNECT for a protocol (RFC 8441 §3); none: it has not said yet.
pub(crate) type Announced = watch::Receiver<Option<bool>>;

/// What a server has said of itself.
#[derive(Debug)]
pub(super) struct Server {
    /// How many requests it takes at once; whoever does not say that takes any.
    most_streams: usize,
    takes_protocols: bool,
    /// None once its connection has ended.
    announce: Option<watch::Sender<Option<bool>>>,
}

impl Server {
    /// Takes a setting.
    pub(super) fn set(&mut self, setting: u16, value: u32) -> Result<(), Wrong> {
        match setting {
            MAX_CONCURRENT_STREAMS => {
                self.most_streams = usize::try_from(value).unwrap_or(usize::MAX);
            }
            ENABLE_PUSH if value != 0 => {
                return Err(Wrong::protocol("a server enables pushes to it"));
            }
            ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(Wrong::protocol(
                    "ENABLE_CONNECT_PROTOCOL is neither 0 nor 1",
                ));
            }
            ENABLE_CONNECT_PROTOCOL => self.takes_protocols = value == 1,
            _ => {}
        }
        Ok(())
    }

    /// All settings of a frame are taken.
    pub(super) fn settle(&self) {
        if let Some(announce) = &self.announce {
            announce.send_replace(Some(self.takes_protocols));
        }
    }

    /// Says nothing any more.
    pub(super) fn end(&mut self) {
        self.announce = None;
    }
}

impl State {
    /// A client's side.
    pub(in crate::http2) fn asking(limits: Limits) -> (Self, Announced) {
        let (announce, announced) = watch::channel(None);
        let server = Server {
            most_streams: usize::MAX,
            takes_protocols: false,
            announce: Some(announce),
        };
        let mut state = Self::new(limits, Some(Box::new(server)));
        state.out.push(PREFACE);
        state.introduce(&[
            (ENABLE_PUSH, 0),
            (INITIAL_WINDOW_SIZE, limits.stream_window),
            (MAX_HEADER_LIST_SIZE, limits.head),
        ]);
        (state, announced)
    }

    /// Whether this is a client's side.
    pub(super) fn is_asking(&self) -> bool {
        self.server.is_some()
    }

    /// Begins a stream with the head of a request, which may be all of it.
    pub(in crate::http2) fn ask(&mut self, head: &Request<()>, is_all: bool) -> Result<u32, Error> {
        if let Some(how) = &self.ended {
            return Err(Error::Unsent(how.clone()));
        }
        if self.is_left {
            return Err(Error::Left(Reason::NO_ERROR));
        }
        // The numbers of clients are odd (RFC 9113 §5.1.1).
        let id = if self.last == 0 { 1 } else { self.last + 2 };
        self.last = id;
        self.is_left = id + 2 > ANY_STREAM;
        let mut stream = Stream::asked(head.method(), self.out.end(), self.first_windows());
        stream.to.has_ended = is_all;
        self.streams.insert(id, stream);
        self.open += 1;
        let mut block = self.begin_block();
        let protocol = head.extensions().get::<Protocol>();
        write_request(head, protocol.map(Protocol::as_str), &mut block);
        self.write_block(id, block, head.headers(), is_all);
        self.flood.send(0);
        self.wake_io();
        Ok(id)
    }

    /// The next head of an answer: interim ones are before the last.
    pub(in crate::http2) fn poll_head(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Error>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Error::Over));
        };
        if let Some(head) = stream.from.pop_head() {
            return Poll::Ready(Ok(head));
        }
        if let Some(why) = &stream.broken {
            return Poll::Ready(Err(why.clone()));
        }
        stream.from.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Streams above the last one that a GOAWAY names were not looked at.
    pub(super) fn leave_above(&mut self, last: u32, reason: Reason) {
        let under_way = self.streams.iter().filter(|(_, stream)| !stream.is_over());
        let above: Vec<u32> = under_way
            .map(|(id, _)| *id)
            .filter(|id| *id > last)
            .collect();
        for id in above {
            self.break_off(id, Error::Left(reason));
        }
    }

    /// How many requests its server takes at once.
    pub(in crate::http2) fn most_streams(&self) -> usize {
        let server = self.server.as_ref().filter(|_| self.has_settings);
        server.map_or(MOST_AT_FIRST, |server| server.most_streams)
    }

    /// Whether its server has so much to read that it gets no more requests meanwhile.
    pub(in crate::http2) fn is_crowded(&self) -> bool {
        self.out.len() > MOST_UNREAD
    }

    /// Whether its peer has said what it takes.
    pub(in crate::http2) fn is_settled(&self) -> bool {
        self.has_settings
    }

    /// Whether no request can be sent any more.
    pub(in crate::http2) fn takes_no_more(&self) -> bool {
        self.is_left || self.has_ended()
    }

    /// Sends no more requests.
    pub(in crate::http2) fn leave(&mut self) {
        if !self.takes_no_more() {
            self.go_away(0, Reason::NO_ERROR);
        }
        self.is_left = true;
        self.wake_io();
    }
}
