//! Says what there is to say, and what the two sides of a stream do.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::super::error::{Error, Reason};
use super::super::frame::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, LARGEST_FRAME};
use super::super::hpack::{write_field, write_no_table, write_status};
use super::super::stream::Stream;
use super::{NoTable, State};

/// Room for the fields of most answers, bytes.
const USUAL_BLOCK: usize = 512;

impl State {
    /// The stream, as long as something may be said on it.
    fn writable(&mut self, id: u32) -> Result<&mut Stream, Error> {
        let stream = self.streams.get_mut(&id).ok_or(Error::Over)?;
        match &stream.broken {
            Some(why) => Err(why.clone()),
            None if stream.to.has_ended => Err(Error::Over),
            None => Ok(stream),
        }
    }

    /// Says the head of an answer, which may be all of it.
    pub(in crate::http2) fn send_head(
        &mut self,
        id: u32,
        (status, headers): (StatusCode, &HeaderMap),
        is_all: bool,
    ) -> Result<(), Error> {
        let stream = self.writable(id)?;
        if stream.to.has_begun {
            return Err(Error::Over);
        }
        stream.to.has_begun = !status.is_informational();
        stream.to.has_ended = is_all;
        self.write_head(id, status, headers, is_all);
        self.close_if_over(id);
        self.wake_io();
        Ok(())
    }

    pub(super) fn write_head(
        &mut self,
        id: u32,
        status: StatusCode,
        headers: &HeaderMap,
        is_all: bool,
    ) {
        let mut block = self.begin_block();
        write_status(status, &mut block);
        self.write_block(id, block, headers, is_all);
        self.flood.send(0);
    }

    /// Says trailers, which end the stream.
    pub(in crate::http2) fn send_trailers(
        &mut self,
        id: u32,
        trailers: &HeaderMap,
    ) -> Result<(), Error> {
        let stream = self.writable(id)?;
        stream.to.has_ended = true;
        let block = self.begin_block();
        self.write_block(id, block, trailers, true);
        self.leave_turn(id);
        self.close_if_over(id);
        self.wake_io();
        Ok(())
    }

    pub(super) fn begin_block(&mut self) -> Vec<u8> {
        let mut block = Vec::with_capacity(USUAL_BLOCK);
        if self.table == NoTable::Due {
            self.table = NoTable::Told;
            write_no_table(&mut block);
        }
        block
    }

    /// In as many frames as it takes.
    pub(super) fn write_block(
        &mut self,
        id: u32,
        mut block: Vec<u8>,
        headers: &HeaderMap,
        is_all: bool,
    ) {
        for (name, value) in headers {
            write_field(name, value, &mut block);
        }
        let mut kind = (HEADERS, if is_all { END_STREAM } else { 0 });
        let mut rest = &*block;
        while let Some((first, behind)) = rest.split_at_checked(LARGEST_FRAME) {
            self.out.push_frame(kind.0, kind.1, id, first);
            (kind, rest) = ((CONTINUATION, 0), behind);
        }
        self.out.push_frame(kind.0, kind.1 | END_HEADERS, id, rest);
    }

    /// How much content may be said, once some may.
    pub(in crate::http2) fn poll_room(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        let room = match self.writable(id) {
            Ok(stream) => stream.to.window.room(),
            Err(error) => return Poll::Ready(Err(error)),
        };
        if room == 0 {
            self.leave_turn(id);
            self.wait_for_room(id, cx);
            return Poll::Pending;
        }
        let (had_turn, space) = (self.take_turn(id), self.space());
        let is_alone = self.waiting.is_empty() && self.turns == 0;
        if space > 0 && (had_turn || is_alone) {
            let most = if is_alone { space } else { LARGEST_FRAME };
            return Poll::Ready(Ok(room.min(space).min(most)));
        }
        self.wait_for_room(id, cx);
        if had_turn {
            self.waiting.push_front(id); // There was no room for it.
        } else if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
        if self.turns == 0 {
            self.give_turns();
        }
        Poll::Pending
    }

    /// How much content others have said so far, if a stream waits for nothing but its turn.
    pub(in crate::http2) fn said_meanwhile(&self, id: u32) -> Option<u64> {
        let stream = self.streams.get(&id)?;
        (stream.to.window.room() > 0).then_some(self.said)
    }

    fn wait_for_room(&mut self, id: u32, cx: &Context<'_>) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.to.waker = Some(cx.waker().clone());
        }
    }

    /// Says content, of which there is no more than there was room for.
    pub(in crate::http2) fn send_data(
        &mut self,
        id: u32,
        mut content: Bytes,
        is_all: bool,
    ) -> Result<(), Error> {
        let stream = self.writable(id)?;
        if content.is_empty() && !is_all {
            return Ok(()); // Some count frames that bring nothing as a flood.
        }
        stream.to.window.spend(content.len());
        stream.to.has_ended = is_all;
        self.to.spend(content.len());
        self.said += u64::try_from(content.len()).unwrap_or(u64::MAX);
        while content.len() > LARGEST_FRAME {
            let first = content.split_to(LARGEST_FRAME);
            self.push_data(id, 0, first);
        }
        self.push_data(id, if is_all { END_STREAM } else { 0 }, content);
        if is_all {
            self.leave_turn(id);
        }
        self.close_if_over(id);
        self.wake_io();
        Ok(())
    }

    fn push_data(&mut self, id: u32, flags: u8, content: Bytes) {
        self.flood.send(content.len());
        self.out.push_content(DATA, flags, id, content);
    }

    /// Gives a stream up.
    pub(in crate::http2) fn give_up(&mut self, id: u32, reason: Reason) {
        if self
            .streams
            .get(&id)
            .is_some_and(|stream| !stream.is_over())
        {
            self.reset(id, reason);
            self.break_off(id, Error::Over);
            self.wake_io();
        }
    }

    /// Why it is over before its time, once it is.
    pub(in crate::http2) fn poll_broken(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Error::Over);
        };
        match &stream.broken {
            Some(why) => Poll::Ready(why.clone()),
            None => {
                stream.to.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Content as it comes; none: there is no more.
    pub(in crate::http2) fn poll_data(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(content) = self.pop(id) {
            return Poll::Ready(Some(Ok(content)));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Some(Err(Error::Over)));
        };
        if stream.from.has_ended {
            return Poll::Ready(None);
        }
        if let Some(why) = &stream.broken {
            return Poll::Ready(Some(Err(why.clone())));
        }
        stream.from.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The trailers, behind all content; none: there are none.
    pub(in crate::http2) fn take_trailers(&mut self, id: u32) -> Result<Option<HeaderMap>, Error> {
        let stream = self.streams.get_mut(&id).ok_or(Error::Over)?;
        stream.from.take_trailers().transpose()
    }

    /// Whether all that comes has been read.
    pub(in crate::http2) fn is_read(&self, id: u32) -> bool {
        self.streams
            .get(&id)
            .is_some_and(|stream| stream.from.is_read())
    }

    /// Nobody reads a stream any more.
    pub(in crate::http2) fn leave_reading(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.from.is_wanted = false;
            let unread = stream.from.clear();
            self.release(unread);
            self.close_if_over(id);
            self.forget(id);
            self.wake_io();
        }
    }

    /// Nobody writes a stream any more; one whose end was not said is given up.
    pub(in crate::http2) fn leave_writing(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.to.is_wanted = false;
        if !stream.to.has_ended {
            self.give_up(id, Reason::CANCEL);
        }
        self.forget(id);
    }

    /// A stream on which all is said, and of which nobody wants what is still to come, is at its end (RFC 9113 §8.1).
    pub(super) fn close_if_over(&mut self, id: u32) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let (from, to) = (&stream.from, &stream.to);
        if stream.broken.is_some() || !to.has_ended {
            return;
        }
        if from.has_ended {
            self.close(id);
        } else if !from.is_wanted {
            self.reset(
                id,
                if self.is_asking() {
                    Reason::CANCEL
                } else {
                    Reason::NO_ERROR
                },
            );
            self.break_off(id, Error::Over);
        }
    }
}
