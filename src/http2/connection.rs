//! A connection whose frames are read and written.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_util::io::poll_read_buf;

use super::Limits;
use super::error::{Ended, Reason, Wrong};
use super::flood::FLOOD;
use super::frame::{DATA, Frame, HEAD, LARGEST_FRAME, PREFACE};
use super::handles::{Incoming, Outgoing, Pinger, Requests};
use super::head::NoMessage;
use super::state::{Shared, Signs, State};

/// What is read at once, bytes: first, and where that was filled.
const ROOM: usize = LARGEST_FRAME + HEAD;
const MORE_ROOM: usize = 2 * ROOM;

/// What is written without waiting for more, bytes: a TLS record's worth (RFC 8446 §5.1).
const ENOUGH: usize = 16 << 10;

/// How often the tasks that are ready go first, so that what they say leaves together. By measurement: 5,000 answers to
/// `h2load -c 32 -m 8` take 5,160 writes with none of them, 2,670 with one, 1,410 with three.
const TURNS: u8 = 3;

/// A request and the two sides of its stream.
pub(crate) type Accepted = (Request<()>, Incoming, Outgoing);

/// What a client has begun.
#[expect(
    clippy::large_enum_variant,
    reason = "most are the large one, which would have to be boxed for each request"
)]
pub(crate) enum Came {
    Request(Accepted),
    /// What is none, and was refused.
    NoRequest(NoMessage),
}

/// One side of a connection.
pub(crate) struct Connection<S> {
    stream: S,
    shared: Shared,
    input: BytesMut,
    /// What is read at once, bytes.
    room: usize,
    /// What of a client's preface is still to come.
    preface: &'static [u8],
    /// How long the preface, each head and each frame but DATA may take.
    limit: Duration,
    /// The frame that is arriving, and when it must have come.
    arriving: Option<(u64, Pin<Box<Sleep>>)>,
    /// How often the task was put behind those that are ready, since there is something to write.
    turns: u8,
    /// Whether all that was written is on its way.
    is_flushed: bool,
}

thread_local! {
    /// Where connections read that hold nothing themselves.
    static SPARE: RefCell<BytesMut> = RefCell::default();
}

impl<S> Connection<S> {
    /// A server's side, whose client has said nothing yet. The preface, and each head, take at most `limit`.
    pub(crate) fn answering(stream: S, limits: Limits, limit: Duration) -> Self {
        Self::new(stream, State::answering(limits), PREFACE, limit)
    }

    /// A client's side, and who sends requests on it. Each head takes at most `limit`.
    pub(crate) fn asking(stream: S, limits: Limits, limit: Duration) -> (Requests, Self) {
        let (state, announced) = State::asking(limits);
        let connection = Self::new(stream, state, &[], limit);
        (
            Requests::new(connection.shared.clone(), announced),
            connection,
        )
    }

    fn new(stream: S, state: State, preface: &'static [u8], limit: Duration) -> Self {
        Self {
            stream,
            shared: Shared::new(state),
            input: BytesMut::new(),
            room: ROOM,
            preface,
            limit,
            arriving: None,
            turns: 0,
            is_flushed: true,
        }
    }

    /// Who asks whether its peer is there.
    pub(crate) fn pinger(&self) -> Pinger {
        Pinger::new(self.shared.clone())
    }

    /// What there is of its peer so far.
    pub(crate) fn signs(&self) -> Signs {
        self.shared.lock().signs()
    }

    /// Takes only what its client has sent before it hears of that, and ends when it is answered.
    pub(crate) fn say_farewell(&mut self) {
        self.shared.lock().say_farewell();
    }

    /// Takes no more after its farewell, whether its client has heard that or not.
    pub(crate) fn close_the_door(&mut self) {
        self.shared.lock().close_the_door();
    }

    /// It is polled before its task waits again: what is said meanwhile need not wake it.
    pub(crate) fn attend(&self) {
        self.shared.lock().set_io(None);
    }

    /// A frame that should come whole and has not, by number.
    fn unfinished(&self) -> Option<u64> {
        if !self.preface.is_empty() {
            return Some(0);
        }
        let state = self.shared.lock();
        if state.is_head_open() {
            return Some(state.frames());
        }
        let is_data = |input: &[u8]| {
            let head = input.first_chunk::<HEAD>();
            head.is_some_and(|head| Frame::of(*head).kind == DATA)
        };
        let is_arriving = !self.input.is_empty() && !is_data(&self.input);
        is_arriving.then(|| state.frames() + 1)
    }

    /// Ready when the frame that is arriving has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(frame) = self.unfinished() else {
            self.arriving = None;
            return Poll::Pending;
        };
        if self.arriving.as_ref().is_none_or(|(of, _)| *of != frame) {
            self.arriving = Some((frame, Box::pin(tokio::time::sleep(self.limit))));
        }
        match &mut self.arriving {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Takes what has come.
    fn take_input(&mut self) -> Result<(), Wrong> {
        while let Some((expected, behind)) = self.preface.split_first() {
            let Some(byte) = self.input.first() else {
                return Ok(());
            };
            if byte != expected {
                return Err(Wrong::protocol(
                    "a connection does not begin with the preface",
                ));
            }
            self.input.advance(1);
            self.preface = behind;
        }
        self.shared.lock().receive(&mut self.input)
    }

    /// Why a request was none, and was refused: also of those that came with what has ended the connection.
    pub(crate) fn take_refused(&self) -> Option<NoMessage> {
        self.shared.lock().take_refused()
    }

    fn accept(&self) -> Option<Came> {
        let mut state = self.shared.lock();
        if let Some(wrong) = state.take_refused() {
            return Some(Came::NoRequest(wrong));
        }
        let (id, request) = state.accept()?;
        let from = Incoming::new(self.shared.clone(), id);
        let to = Outgoing::new(self.shared.clone(), id);
        Some(Came::Request((request, from, to)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// What its client begins next; none: the connection has ended as it should.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Came, Arc<Ended>>>> {
        self.poll_until(Self::accept, cx)
    }

    /// Runs until it has ended; none: as it should. Nobody asks a client's side for anything.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Ended>>> {
        self.attend();
        let ended = self.poll_until(|_| None::<Infallible>, cx);
        ended.map(|ended| ended.and_then(Result::err))
    }

    /// Reads and writes until there is something new.
    fn poll_until<T>(
        &mut self,
        news: impl Fn(&Self) -> Option<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Arc<Ended>>>> {
        loop {
            if let Some(news) = news(self) {
                return Poll::Ready(Some(Ok(news)));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(how)) => return Poll::Ready(self.end(how, cx)),
                Poll::Pending => {}
            }
            let was_clogged = self.shared.lock().is_clogged();
            match self.poll_write(cx) {
                // What was not read may be now.
                Poll::Ready(Ok(())) if was_clogged => {}
                Poll::Ready(Ok(())) if self.shared.lock().is_done() => {
                    // Whoever has gone needs no farewell.
                    return Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| None);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(self.end(Ended::Io(error), cx)),
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads, and takes what was read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.shared.lock().is_clogged() {
            return Poll::Pending;
        }
        if self.input.is_empty() {
            self.input = SPARE.take();
        }
        self.input.reserve(self.room);
        let room = self.input.capacity() - self.input.len();
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input);
        let Poll::Ready(read) = read else {
            self.give_room_back();
            let late = Wrong::new(Reason::ENHANCE_YOUR_CALM, "a head that does not end");
            return self.poll_late(cx).map(|()| Err(Ended::Wrong(late)));
        };
        let length = read.map_err(Ended::Io)?;
        if length == 0 {
            return Poll::Ready(Err(Ended::Closed));
        }
        self.room = if length == room { MORE_ROOM } else { ROOM };
        Poll::Ready(self.take_input().map_err(Ended::Wrong))
    }

    /// Nothing is left of what was read: others may read there.
    fn give_room_back(&mut self) {
        if self.input.is_empty() {
            SPARE.set(std::mem::take(&mut self.input));
        }
    }

    /// Writes what is to be said, once those who are ready have said theirs.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        // What is said from here on wakes it.
        state.set_io(Some(cx.waker().clone()));
        state.has_written();
        let length = state.out().len();
        if length == 0 && self.is_flushed {
            return Poll::Ready(Ok(()));
        }
        if (1..ENOUGH).contains(&length) && self.turns < TURNS {
            self.turns += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.turns = 0;
        let written = state.out().poll_write(&mut self.stream, cx);
        self.is_flushed = written.is_ready();
        state.has_written();
        written
    }

    /// Ends the connection, and says so as far as that can be said at once.
    fn end<T>(&mut self, how: Ended, cx: &mut Context<'_>) -> Option<Result<T, Arc<Ended>>> {
        let mut state = self.shared.lock();
        let is_idle = state.is_idle();
        let how = state.end(how);
        let _ = state.out().poll_write(&mut self.stream, cx);
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        let is_wrong = matches!(*how, Ended::Wrong(_));
        (is_wrong || !is_idle).then_some(Err(how))
    }
}

/// Whoever still holds a side of a stream hears that there is nobody any more.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if !state.has_ended() {
            state.end(Ended::Closed);
        }
    }
}

impl Ended {
    /// Whether its client sent more frames than anybody bears.
    pub(crate) fn is_flood(&self) -> bool {
        matches!(self, Self::Wrong(wrong) if *wrong == FLOOD)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::{HeaderMap, StatusCode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::http2::frame::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, written};
    use crate::http2::state::MOST_UNREAD;

    const LIMITS: Limits = Limits {
        streams: 100,
        stream_window: 1 << 16,
        window: 1 << 16,
        head: 1_000,
        trailers: 100,
        trailer_fields: 4,
        interim: 0,
    };

    /// https://a/, of the static table but for the authority.
    const GET: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'a'];

    /// A client that has said SETTINGS, and its connection.
    async fn both(pipe: usize) -> (DuplexStream, Connection<DuplexStream>) {
        let (mut client, edge) = duplex(pipe);
        let hello = [&PREFACE[..], &written(SETTINGS, 0, 0, &[])].concat();
        client.write_all(&hello).await.unwrap();
        (
            client,
            Connection::answering(edge, LIMITS, Duration::from_secs(10)),
        )
    }

    async fn accepted(connection: &mut Connection<DuplexStream>) -> Accepted {
        match poll_fn(|cx| connection.poll(cx)).await {
            Some(Ok(Came::Request(accepted))) => accepted,
            Some(Ok(Came::NoRequest(_)) | Err(_)) | None => panic!("no request came"),
        }
    }

    fn poll_once(connection: &mut Connection<DuplexStream>) {
        let nobody = &mut Context::from_waker(std::task::Waker::noop());
        assert!(connection.poll(nobody).is_pending());
    }

    #[tokio::test]
    async fn answers_that_are_ready_together_leave_together() {
        let (mut client, mut edge) = both(1 << 16).await;
        for stream in [1, 3] {
            let get = written(HEADERS, END_HEADERS | END_STREAM, stream, GET);
            client.write_all(&get).await.unwrap();
        }
        let (mut first, mut second) = (accepted(&mut edge).await, accepted(&mut edge).await);
        let mut said = [0; 1_000];
        for to in [&mut first.2, &mut second.2] {
            to.send_head((StatusCode::OK, &HeaderMap::new()), true)
                .unwrap();
            poll_once(&mut edge);
            let nobody = &mut Context::from_waker(std::task::Waker::noop());
            let mut early = tokio::io::ReadBuf::new(&mut said);
            assert!(
                Pin::new(&mut client)
                    .poll_read(nobody, &mut early)
                    .is_pending()
            );
        }
        (2..=TURNS).for_each(|_| poll_once(&mut edge));
        let length = client.read(&mut said).await.unwrap();
        let answers = said[..length]
            .windows(10)
            .filter(|said| said[..5] == [0, 0, 1, 1, 5]);
        assert_eq!(answers.count(), 2);
    }

    #[tokio::test]
    async fn nothing_is_read_of_a_client_that_does_not_take_what_it_is_told() {
        let (mut client, mut edge) = both(1_000).await;
        let nobody = &mut Context::from_waker(std::task::Waker::noop());
        let mut answered = 0;
        for stream in (1..).step_by(2) {
            tokio::task::yield_now().await; // Tokio lets nobody read for ever.
            let get = written(HEADERS, END_HEADERS | END_STREAM, stream, GET);
            if Pin::new(&mut client).poll_write(nobody, &get).is_pending() {
                break;
            }
            while let Poll::Ready(Some(Ok(Came::Request((_, _, mut to))))) = edge.poll(nobody) {
                to.send_head((StatusCode::OK, &HeaderMap::new()), true)
                    .unwrap();
                answered += 1;
            }
        }
        // Ten bytes each.
        let most = MOST_UNREAD / 10;
        assert!((most..most + 500).contains(&answered), "{answered}");
        let mut heard = vec![0; MOST_UNREAD];
        tokio::select! {
            heard = client.read_exact(&mut heard) => drop(heard.unwrap()),
            _ = accepted(&mut edge) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_all_at_once_is_read_on_at_once() {
        let (mut client, mut edge) = both(1 << 20).await;
        let get = |stream| written(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        client.write_all(&get(1)).await.unwrap();
        let (_, _, mut to) = accepted(&mut edge).await;
        let mut headers = HeaderMap::new();
        headers.insert("x", "a".repeat(MOST_UNREAD).parse().unwrap());
        to.send_head((StatusCode::OK, &headers), true).unwrap();
        let asked_later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.write_all(&get(3)).await.unwrap();
        };
        let answered = tokio::time::timeout(Duration::from_secs(2), accepted(&mut edge));
        let (accepted, ()) = tokio::join!(answered, asked_later);
        assert!(accepted.is_ok());
    }
}
