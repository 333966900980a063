//! A stream that is read in large pieces while much arrives.
//!
//! rustls reads a record at most at a time (16 KiB), which costs a system call each. Here what fills the room that it gives is
//! followed by a larger read, from which it is then served. Room for that is the core's: a connection holds some only
//! while there is something in it that was not taken.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::write_through::write_through;

/// What is read at once, bytes: a MiB takes 18 calls, where record by record it takes 69.
const PIECE: usize = 64 << 10;

/// A read that brought less than this was all there was, so the next one need not be large.
const LEAST: usize = PIECE / 4;

/// Rooms that a core keeps while no connection has anything in them.
const MOST_SPARE: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// What was read and not taken yet.
struct Piece {
    room: Box<[u8]>,
    unread: Range<usize>,
    /// Whether more is likely to wait.
    is_much: bool,
}

/// Reads ahead of whoever reads it.
pub(super) struct Bulk<S> {
    stream: S,
    piece: Option<Piece>,
    /// Whether the last read was filled.
    is_much: bool,
}

impl Piece {
    fn poll_read(
        stream: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self>> {
        let mut piece = Self {
            room: take_room(),
            unread: 0..0,
            is_much: false,
        };
        let mut read = ReadBuf::new(&mut piece.room);
        ready!(stream.poll_read(cx, &mut read))?;
        let length = read.filled().len();
        piece.unread = 0..length;
        piece.is_much = length >= LEAST;
        Poll::Ready(Ok(piece))
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let unread = self.room.get(self.unread.clone()).unwrap_or_default();
        let length = unread.len().min(buf.remaining());
        buf.put_slice(unread.get(..length).unwrap_or_default());
        self.unread.start += length;
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let room = std::mem::take(&mut self.room);
        // Fails where the thread ends, which keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST_SPARE {
                spare.push(room);
            }
        });
    }
}

fn take_room() -> Box<[u8]> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice())
}

impl<S> Bulk<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            piece: None,
            is_much: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bulk<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.piece.is_none() && !this.is_much {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            this.is_much = buf.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        let mut piece = match this.piece.take() {
            Some(piece) => piece,
            None => ready!(Piece::poll_read(Pin::new(&mut this.stream), cx))?,
        };
        piece.give(buf);
        this.is_much = piece.is_much;
        this.piece = Some(piece).filter(|piece| !piece.unread.is_empty());
        Poll::Ready(Ok(()))
    }
}

write_through!(Bulk);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What has come of a connection, in these lengths if not all at once, and how often it was read.
    struct Come {
        bytes: Vec<u8>,
        lengths: Vec<usize>,
        reads: usize,
    }

    impl Come {
        fn all(length: usize) -> Self {
            let bytes = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]);
            Self {
                bytes: bytes.collect(),
                lengths: Vec::new(),
                reads: 0,
            }
        }
    }

    impl AsyncRead for Come {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            let most = self.lengths.pop().unwrap_or(usize::MAX).max(1);
            let length = self.bytes.len().min(buf.remaining()).min(most);
            buf.put_slice(&self.bytes.drain(..length).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        }
    }

    async fn read(bulk: &mut Bulk<Come>, room: usize) -> Vec<u8> {
        let mut bytes = vec![0; room];
        let length = bulk.read(&mut bytes).await.unwrap();
        bytes.truncate(length);
        bytes
    }

    #[tokio::test]
    async fn much_that_has_come_is_read_in_large_pieces() {
        let mut bulk = Bulk::new(Come::all(1 << 20));
        let mut rest = 1 << 20;
        while rest > 0 {
            rest -= read(&mut bulk, 4 << 10).await.len();
        }
        assert_eq!(bulk.stream.reads, 1 + (1 << 20) / PIECE);
        assert!(bulk.piece.is_none());
        assert_eq!(SPARE.with_borrow(Vec::len), 1);
    }

    #[tokio::test]
    async fn little_that_has_come_is_read_as_it_was_asked_for() {
        let mut bulk = Bulk::new(Come::all(1_000));
        bulk.stream.lengths = vec![10; 100];
        while !read(&mut bulk, 4 << 10).await.is_empty() {}
        assert_eq!(bulk.stream.reads, 101);
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
    }

    #[tokio::test]
    async fn a_core_keeps_few_rooms_however_many_connections_had_one() {
        let mut all: Vec<_> = (0..2 * MOST_SPARE)
            .map(|_| Bulk::new(Come::all(2 * PIECE)))
            .collect();
        for bulk in &mut all {
            read(bulk, 4 << 10).await;
            read(bulk, 4 << 10).await;
            assert!(bulk.piece.is_some());
        }
        drop(all);
        assert_eq!(SPARE.with_borrow(Vec::len), MOST_SPARE);
    }

    proptest! {
        #[test]
        fn what_has_come_is_given_as_it_came(
            length in 0..4 * PIECE,
            lengths in proptest::collection::vec(1..2 * PIECE, 0..20),
            rooms in proptest::collection::vec(1..PIECE, 1..20),
        ) {
            let mut bulk = Bulk::new(Come::all(length));
            let expected = bulk.stream.bytes.clone();
            bulk.stream.lengths = lengths;
            let mut given = Vec::new();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for room in rooms.iter().cycle() {
                let piece = runtime.block_on(read(&mut bulk, *room));
                if piece.is_empty() {
                    break;
                }
                given.extend(piece);
            }
            prop_assert!(given == expected);
        }
    }
}
