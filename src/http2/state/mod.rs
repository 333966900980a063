//! The state of a connection: what has come of it, and what is to be written. It reads and writes no socket.
//!
//! `receiving` takes the frames of its peer, `settling` those of the connection as a whole · `sending` says what there is to
//! say · `asking` is what a client's side does that a server's does not.

mod asking;
mod receiving;
mod sending;
mod settling;

pub(crate) use self::asking::{Announced, MOST_AT_FIRST};

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::Request;

use self::asking::Server;
use self::receiving::OpenHead;
use super::Limits;
use super::cut::Cut;
use super::error::{Ended, Error, Reason, Wrong};
use super::flood::Flood;
use super::frame::{GOAWAY, LARGEST_FRAME, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use super::head::NoMessage;
use super::hpack::Decoder;
use super::outbox::Outbox;
use super::stream::Stream;
use super::window::{FIRST, Inbound, Outbound};

/// What may wait to be written before no more content is taken for it, bytes.
const MOST_TO_WRITE: usize = 64 << 10;

/// Whatever else waits to be written, such as answers to PINGs: beyond it nothing is read.
pub(super) const MOST_UNREAD: usize = 4 * MOST_TO_WRITE;

/// Streams that a connection has room for while there are none.
const MOST_KEPT: usize = 3;

/// Told to a client with the first GOAWAY, and told back behind all that it had sent before it knew.
const FAREWELL: [u8; 8] = *b"farewell";

/// The last stream that is answered of a client that may not know yet that the edge ends: any (RFC 9113 §6.8).
const ANY_STREAM: u32 = u32::MAX >> 1;

/// RFC 9113 §6.5.2, RFC 8441 §3.
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A connection, as the two sides of its streams see it.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    /// What is known of whom it asks; none: it is asked.
    server: Option<Box<Server>>,
    decoder: Decoder,
    flood: Flood,
    /// A head of which more is to come.
    open_head: Option<OpenHead>,
    has_settings: bool,
    frames: u64,
    /// How often something came.
    heard: u64,
    /// Frames of heads and of content among that.
    spoken: u64,
    streams: HashMap<u32, Stream, RandomState>,
    /// Those that were reset.
    cut: Cut,
    /// Streams whose requests nobody has taken yet.
    begun: VecDeque<u32>,
    /// Why others are none, as far as nobody has heard of it.
    refused: VecDeque<NoMessage>,
    /// The last stream that was begun.
    last: u32,
    /// Streams that are not over.
    open: u32,
    from: Inbound,
    to: Outbound,
    /// Bytes of content that were said so far.
    said: u64,
    /// The window of streams that begin.
    first_window: u32,
    /// Whether its peer was told, or is to be, that no table is used for what it is told.
    table: NoTable,
    out: Outbox,
    /// Streams that have something to say and no room for it on the connection, the first one first.
    waiting: VecDeque<u32>,
    /// How many have their turn and have not taken it.
    turns: usize,
    farewell: Farewell,
    /// Whether no more streams are begun.
    is_left: bool,
    ended: Option<Arc<Ended>>,
    /// Who reads and writes it, unless that is under way.
    io: Option<Waker>,
}

/// What there is of a peer by which one knows that it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signs {
    /// How often something came.
    heard: u64,
    /// Frames of heads and of content among that.
    pub(crate) spoken: u64,
    /// Bytes that were written.
    taken: u64,
    /// Whether something waits to be written.
    waits: bool,
}

impl Signs {
    /// Whether it was there since then: who takes nothing of what waits for it is not, whatever it says.
    pub(crate) fn are_of_life_since(&self, before: &Self) -> bool {
        if self.waits {
            self.taken != before.taken
        } else {
            self.heard != before.heard
        }
    }
}

/// Whether the edge takes no more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    No,
    /// Its client was told, and may not know it yet.
    Told,
    /// Nothing beyond this stream is answered.
    Final(u32),
}

/// A peer whose own table is smaller than one is before anything is settled must hear that no more of it is used (RFC 7541
/// §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoTable {
    Untold,
    Due,
    Told,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // What a fault has left half done is at worst one stream that hangs.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A server's side.
    pub(super) fn answering(limits: Limits) -> Self {
        let mut state = Self::new(limits, None);
        state.introduce(&[
            (MAX_CONCURRENT_STREAMS, limits.streams),
            (INITIAL_WINDOW_SIZE, limits.stream_window),
            (MAX_HEADER_LIST_SIZE, limits.head),
            (ENABLE_CONNECT_PROTOCOL, 1),
        ]);
        state
    }

    fn new(limits: Limits, server: Option<Box<Server>>) -> Self {
        Self {
            limits,
            server,
            decoder: Decoder::default(),
            flood: Flood::new(),
            open_head: None,
            has_settings: false,
            frames: 0,
            heard: 0,
            spoken: 0,
            streams: HashMap::default(),
            cut: Cut::default(),
            begun: VecDeque::new(),
            refused: VecDeque::new(),
            last: 0,
            open: 0,
            from: Inbound::new(limits.window.max(FIRST)),
            to: Outbound::new(FIRST),
            said: 0,
            first_window: FIRST,
            table: NoTable::Untold,
            out: Outbox::default(),
            waiting: VecDeque::new(),
            turns: 0,
            farewell: Farewell::No,
            is_left: false,
            ended: None,
            io: None,
        }
    }

    /// Says the first words (RFC 9113 §3.4).
    fn introduce(&mut self, settings: &[(u16, u32)]) {
        let setting =
            |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let settings: Vec<u8> = settings.iter().flat_map(setting).collect();
        self.out.push_frame(SETTINGS, 0, 0, &settings);
        if let Some(more) = self
            .limits
            .window
            .checked_sub(FIRST)
            .filter(|more| *more > 0)
        {
            self.grant(0, more);
        }
    }

    fn grant(&mut self, stream: u32, bytes: u32) {
        self.out
            .push_frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// What was read, or is not wanted: as much may come again on the connection.
    fn release(&mut self, bytes: usize) {
        if let Some(more) = self.from.read(bytes) {
            self.grant(0, more);
        }
    }

    /// The next request, unless its client has given it up.
    pub(super) fn accept(&mut self) -> Option<(u32, Request<()>)> {
        while let Some(id) = self.begun.pop_front() {
            let request = self
                .streams
                .get_mut(&id)
                .and_then(|stream| stream.request.take());
            if let Some(request) = request {
                return Some((id, request));
            }
        }
        None
    }

    /// Why a request was none, and was refused.
    pub(super) fn take_refused(&mut self) -> Option<NoMessage> {
        self.refused.pop_front()
    }

    /// How often something came.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// What there is of its peer so far.
    pub(super) fn signs(&self) -> Signs {
        Signs {
            heard: self.heard,
            spoken: self.spoken,
            taken: self.out.written(),
            waits: !self.out.is_empty(),
        }
    }

    /// Asks whether its peer is there.
    pub(super) fn ping(&mut self) {
        self.out.push_frame(PING, 0, 0, &[0; 8]);
    }

    /// Takes no more than what its client has sent before it hears of it.
    pub(super) fn say_farewell(&mut self) {
        if self.farewell == Farewell::No && self.ended.is_none() {
            self.farewell = Farewell::Told;
            self.go_away(ANY_STREAM, Reason::NO_ERROR);
            self.out.push_frame(PING, 0, 0, &FAREWELL);
        }
    }

    /// Takes nothing that is not here by now, once it has said farewell.
    pub(super) fn close_the_door(&mut self) {
        if self.farewell == Farewell::Told && self.ended.is_none() {
            self.farewell = Farewell::Final(self.last);
            self.go_away(self.last, Reason::NO_ERROR);
        }
    }

    fn go_away(&mut self, last: u32, reason: Reason) {
        let payload = [last.to_be_bytes(), reason.0.to_be_bytes()].concat();
        self.out.push_frame(GOAWAY, 0, 0, &payload);
    }

    /// Resets a stream.
    fn reset(&mut self, id: u32, reason: Reason) {
        self.out
            .push_frame(RST_STREAM, 0, id, &reason.0.to_be_bytes());
        if self.is_asking() {
            self.flood.leave();
        }
    }

    /// Resets a stream for what its peer did. Of a client that counts, as if it had reset it.
    fn refuse(&mut self, id: u32, wrong: Wrong) -> Result<(), Wrong> {
        self.reset(id, wrong.reason);
        let stream = self.streams.get(&id);
        if stream.is_some_and(|stream| stream.request.is_some()) {
            self.refused.push_back(NoMessage::Malformed(wrong.what));
        }
        self.break_off(id, Error::Wrong(wrong));
        if self.is_asking() {
            Ok(())
        } else {
            self.flood.reset()
        }
    }

    /// A stream is over before its time.
    fn break_off(&mut self, id: u32, why: Error) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let unread = stream.break_off(why);
        let is_unknown = stream.request.is_some();
        self.open -= u32::from(stream.close());
        self.release(unread);
        self.leave_turn(id);
        if is_unknown {
            // Nobody has heard of it.
            self.remove(id);
        } else {
            self.forget(id);
        }
    }

    fn remove(&mut self, id: u32) {
        let stream = self.streams.remove(&id);
        if stream.is_some_and(|stream| stream.broken.is_some()) && !self.is_asking() {
            self.cut.push(id);
        }
        if self.streams.is_empty() && self.streams.capacity() > MOST_KEPT {
            self.streams = HashMap::default();
        }
    }

    /// Both sides of a stream have said all.
    fn close(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.open -= u32::from(stream.close());
        }
    }

    /// Forgets a stream that is over, if nobody asks for it any more.
    fn forget(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(Stream::is_forgotten) {
            self.remove(id);
        }
    }

    /// Ends the connection, and all that is under way on it.
    pub(super) fn end(&mut self, how: Ended) -> Arc<Ended> {
        let written = self.out.written();
        if let Ended::Wrong(wrong) = &how {
            // RFC 9113 §6.8: it never grows.
            let last = match self.farewell {
                Farewell::Final(last) => last,
                Farewell::No | Farewell::Told if self.is_asking() => 0,
                Farewell::No | Farewell::Told => self.last,
            };
            self.go_away(last, wrong.reason);
        }
        let how = Arc::new(how);
        self.ended = Some(how.clone());
        self.server.iter_mut().for_each(|server| server.end());
        let under_way = self.streams.iter().filter(|(_, stream)| !stream.is_over());
        let why = |stream: &Stream| {
            if stream.is_unsent(written) {
                Error::Unsent(how.clone())
            } else {
                Error::Connection(how.clone())
            }
        };
        let broken: Vec<_> = under_way.map(|(id, stream)| (*id, why(stream))).collect();
        for (id, why) in broken {
            self.break_off(id, why);
        }
        how
    }

    /// Whether nothing more is written or read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// Whether all is said: no more requests are taken, and those that were are answered.
    pub(super) fn is_done(&self) -> bool {
        let takes_no_more = self.is_left || matches!(self.farewell, Farewell::Final(_));
        takes_no_more && self.open == 0 && self.begun.is_empty() && self.out.is_empty()
    }

    /// Whether so much waits to be written that nothing is read meanwhile. What a server answers is bounded by windows, and it
    /// may not read on before that is read.
    pub(super) fn is_clogged(&self) -> bool {
        self.out.len() > MOST_UNREAD && !self.is_asking()
    }

    /// What is to be written; who writes it tells with [`State::has_written`].
    pub(super) fn out(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// There may be room for those who wait for it.
    pub(super) fn has_written(&mut self) {
        if !self.waiting.is_empty() && self.out.len() <= MOST_TO_WRITE / 2 {
            self.give_turns();
        }
    }

    /// Room for content of any stream on the connection.
    fn space(&self) -> usize {
        let space = MOST_TO_WRITE.saturating_sub(self.out.len());
        space.min(self.to.room())
    }

    /// Lets the first of those who wait say a frame each, as many as there is room for.
    fn give_turns(&mut self) {
        let space = self.space();
        if space == 0 {
            return;
        }
        for _ in 0..=space / LARGEST_FRAME {
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.to.has_turn = true;
            self.turns += 1;
            if let Some(waker) = stream.to.waker.take() {
                waker.wake();
            }
        }
    }

    /// A stream takes its turn; whether it had one.
    fn take_turn(&mut self, id: u32) -> bool {
        let stream = self.streams.get_mut(&id);
        let had = stream.is_some_and(|stream| std::mem::take(&mut stream.to.has_turn));
        self.turns = self.turns.saturating_sub(usize::from(had));
        had
    }

    /// A stream waits no more.
    fn leave_turn(&mut self, id: u32) {
        self.waiting.retain(|waiting| *waiting != id);
        if self.take_turn(id) && self.turns == 0 {
            self.give_turns();
        }
    }

    /// Who reads and writes begins to, or waits from now on.
    pub(super) fn set_io(&mut self, waker: Option<Waker>) {
        self.io = waker;
    }

    /// Wakes who writes, unless that is under way.
    fn wake_io(&mut self) {
        if let Some(io) = self.io.take() {
            io.wake();
        }
    }

    /// Each stream with all that has come of it, and all that is to be written.
    pub(super) fn show(&mut self) -> (Vec<String>, Vec<u8>) {
        let mut ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.sort_unstable();
        let shown = ids.into_iter().map(|id| {
            let mut content = Vec::new();
            while let Some(piece) = self.pop(id) {
                content.extend_from_slice(&piece);
            }
            format!(
                "{id} {} {:?}",
                content.escape_ascii(),
                self.streams.get(&id)
            )
        });
        let shown = shown.collect();
        let mut said = Vec::new();
        let nobody = &mut Context::from_waker(Waker::noop());
        let _ = self.out.poll_write(&mut said, nobody);
        (shown, said)
    }

    /// Content that has come of a stream.
    fn pop(&mut self, id: u32) -> Option<Bytes> {
        let stream = self.streams.get_mut(&id)?;
        let content = stream.from.pop()?;
        let more = stream.from.window.read(content.len());
        let more = more.filter(|_| !stream.from.has_ended && stream.broken.is_none());
        if let Some(more) = more {
            self.grant(id, more);
        }
        self.release(content.len());
        if !self.out.is_empty() {
            self.wake_io();
        }
        Some(content)
    }
}

#[cfg(test)]
mod tests;
