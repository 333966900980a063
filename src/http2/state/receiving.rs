//! Takes the frames of a peer (RFC 9113 §6).

use bytes::{Buf, BytesMut};
use http::{HeaderMap, StatusCode};

use super::super::error::{Error, Reason, Wrong};
use super::super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEAD, HEADERS, LARGEST_FRAME,
    PADDED, PING, PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::super::head::{Fields, NoMessage, told_length};
use super::super::stream::Stream;
use super::super::window::{Inbound, Outbound};
use super::{Farewell, State};

/// Bytes of a block of fields: of more, nobody keeps a part until it is whole. Huffman's code of what may be in a head is
/// seldom longer than that.
const LONGEST_BLOCK: usize = 512 << 10;

/// What PRIORITY says, and HEADERS may.
const PRIORITY_LENGTH: usize = 5;

/// Shorter content is copied rather than kept where it was read, with all that was read beside it.
const SHORT: usize = 8 << 10;

/// A head that has begun.
#[derive(Debug)]
pub(super) struct OpenHead {
    stream: u32,
    is_all: bool,
    block: Vec<u8>,
}

impl State {
    /// Takes all frames that have come whole.
    pub(in crate::http2) fn receive(&mut self, input: &mut BytesMut) -> Result<(), Wrong> {
        self.heard += 1;
        while let Some(head) = input.first_chunk::<HEAD>() {
            let frame = Frame::of(*head);
            if frame.length > LARGEST_FRAME {
                return Err(Wrong::new(Reason::FRAME_SIZE_ERROR, "a frame is too long"));
            }
            if input.len() < HEAD + frame.length {
                break;
            }
            input.advance(HEAD);
            self.take(frame, input)?;
        }
        Ok(())
    }

    /// Whether a head is arriving that has not come whole.
    pub(in crate::http2) fn is_head_open(&self) -> bool {
        self.open_head.is_some()
    }

    /// Frames that have come and that begin something: all but CONTINUATION.
    pub(in crate::http2) fn frames(&self) -> u64 {
        self.frames
    }

    fn take(&mut self, frame: Frame, input: &mut BytesMut) -> Result<(), Wrong> {
        self.frames += u64::from(frame.kind != CONTINUATION);
        self.spoken += u64::from([HEADERS, DATA].contains(&frame.kind));
        self.flood.receive(frame)?;
        if !std::mem::replace(&mut self.has_settings, true)
            && (frame.kind != SETTINGS || frame.has(ACK))
        {
            return Err(Wrong::protocol("a connection does not begin with SETTINGS"));
        }
        let goes_on = |open: &OpenHead| frame.kind == CONTINUATION && frame.stream == open.stream;
        if !self.open_head.as_ref().is_none_or(goes_on) {
            return Err(Wrong::protocol("another frame comes within a head"));
        }
        if frame.kind == DATA {
            return self.take_data(frame, input);
        }
        let payload = input.get(..frame.length).unwrap_or_default();
        let taken = match frame.kind {
            HEADERS => self.take_headers(frame, payload),
            CONTINUATION => self.take_continuation(frame, payload),
            PRIORITY => take_priority(frame),
            RST_STREAM => self.take_reset(frame, payload),
            SETTINGS => self.take_settings(frame, payload),
            PUSH_PROMISE => Err(Wrong::protocol("nobody was asked to push")),
            PING => self.take_ping(frame, payload),
            GOAWAY => self.take_go_away(frame, payload),
            WINDOW_UPDATE => self.take_window(frame, payload),
            // RFC 9113 §5.5.
            _ => Ok(()),
        };
        input.advance(frame.length);
        taken
    }

    fn take_data(&mut self, frame: Frame, input: &mut BytesMut) -> Result<(), Wrong> {
        if frame.stream == 0 || self.is_unbegun(frame.stream) {
            return Err(Wrong::protocol("DATA comes on no stream"));
        }
        self.from.take(frame.length)?;
        let payload = input.get(..frame.length).unwrap_or_default();
        let length = without_padding(frame, payload)?.len();
        if length == 0 && !frame.has(END_STREAM) {
            self.flood.bring_nothing()?;
        }
        // What is on its way when a stream ends is nobody's.
        let stream = self.streams.get_mut(&frame.stream);
        let stream = stream.filter(|stream| stream.broken.is_none());
        let admitted = stream.map(|stream| admit(stream, frame, length));
        if admitted == Some(Ok(Admitted::Wanted)) {
            self.push(frame, length, input);
            self.release(frame.length - length);
        } else {
            input.advance(frame.length);
            self.release(frame.length);
        }
        match admitted {
            Some(admitted) => self.judge(frame.stream, admitted.map(|_| ())),
            None => self.check_late(frame.stream),
        }
    }

    /// What comes on a stream that is over, and was not reset, was not on its way when it ended: its client had said so, or begun
    /// one after it.
    fn check_late(&self, id: u32) -> Result<(), Wrong> {
        if self.is_asking() || self.streams.contains_key(&id) || self.cut.has(id) {
            return Ok(());
        }
        let what = "something comes on a stream that is over";
        Err(Wrong::new(Reason::STREAM_CLOSED, what))
    }

    /// Keeps the content of a frame for whoever reads its stream.
    fn push(&mut self, frame: Frame, length: usize, input: &mut BytesMut) {
        let Some(stream) = self.streams.get_mut(&frame.stream) else {
            return;
        };
        let from = usize::from(frame.has(PADDED));
        if length < SHORT {
            let content = input.get(from..from + length);
            stream.from.push_short(content.unwrap_or_default());
            input.advance(frame.length);
        } else {
            let payload = input.split_to(frame.length).freeze();
            stream.from.push(payload.slice(from..from + length));
        }
        let padding = stream.from.window.read(frame.length - length);
        if let Some(more) = padding.filter(|_| !stream.from.has_ended) {
            self.grant(frame.stream, more);
        }
    }

    /// The stream goes on if all was right, or is reset.
    fn judge(&mut self, id: u32, taken: Result<(), Wrong>) -> Result<(), Wrong> {
        match taken {
            Ok(()) => {
                self.close_if_over(id);
                Ok(())
            }
            Err(wrong) => self.refuse(id, wrong),
        }
    }

    fn take_headers(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        if frame.stream.is_multiple_of(2) {
            return Err(Wrong::protocol("HEADERS come on no stream of a client"));
        }
        let mut block = without_padding(frame, payload)?;
        if frame.has(PRIORITIZED) {
            let rest = block.get(PRIORITY_LENGTH..);
            block = rest.ok_or(Wrong::new(
                Reason::FRAME_SIZE_ERROR,
                "HEADERS end within a priority",
            ))?;
        }
        let is_all = frame.has(END_STREAM);
        if frame.has(END_HEADERS) {
            return self.take_block(frame.stream, is_all, block);
        }
        self.open_head = Some(OpenHead {
            stream: frame.stream,
            is_all,
            block: block.to_vec(),
        });
        Ok(())
    }

    fn take_continuation(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        let mut open = self
            .open_head
            .take()
            .ok_or(Wrong::protocol("CONTINUATION comes of nothing"))?;
        if open.block.len() + payload.len() > LONGEST_BLOCK {
            return Err(Wrong::new(
                Reason::ENHANCE_YOUR_CALM,
                "a head is longer than anybody keeps",
            ));
        }
        open.block.extend_from_slice(payload);
        if frame.has(END_HEADERS) {
            return self.take_block(open.stream, open.is_all, &open.block);
        }
        self.open_head = Some(open);
        Ok(())
    }

    /// Takes a head, or trailers, whose fields count for the connection whoever wants them.
    fn take_block(&mut self, id: u32, is_all: bool, block: &[u8]) -> Result<(), Wrong> {
        let is_new = self.is_unbegun(id);
        if is_new && self.is_asking() {
            return Err(Wrong::protocol(
                "HEADERS come on a stream that was not begun",
            ));
        }
        let stream = self.streams.get(&id);
        let is_answer = stream.is_some_and(|stream| stream.from.awaits_head());
        let mut fields = if is_new || is_answer {
            let room = usize::try_from(self.limits.head).unwrap_or(usize::MAX);
            // Each counts 32 beside its text, so that those bound how many there are.
            Fields::new(usize::MAX, room)
        } else {
            Fields::new(self.limits.trailer_fields, self.limits.trailers)
        };
        let decoded = self.decoder.decode(block, |field| fields.take(field));
        decoded.map_err(|error| Wrong::new(Reason::COMPRESSION_ERROR, error.what()))?;
        if is_new {
            self.last = id;
            return self.begin(id, is_all, fields);
        }
        let Some(stream) = self
            .streams
            .get_mut(&id)
            .filter(|stream| stream.broken.is_none())
        else {
            self.check_late(id)?;
            return self.flood.late();
        };
        let taken = if is_answer {
            take_answer(stream, is_all, fields, self.limits.interim)
        } else {
            take_trailers(stream, is_all, fields)
        };
        self.judge(id, taken)
    }

    fn begin(&mut self, id: u32, is_all: bool, fields: Fields) -> Result<(), Wrong> {
        if matches!(self.farewell, Farewell::Final(last) if id > last) {
            self.cut.push(id);
            return Ok(());
        }
        if self.open >= self.limits.streams {
            self.cut.push(id);
            self.reset(id, Reason::REFUSED_STREAM);
            return self.flood.reset();
        }
        let malformed = |what| NoMessage::Malformed(what);
        let request = fields.into_request().and_then(|request| {
            let length = told_length(request.headers()).map_err(malformed)?;
            match length {
                Some(1..) if is_all => Err(malformed("a body is shorter than Content-Length")),
                Some(_) | None => Ok((request, length)),
            }
        });
        let (request, length) = match request {
            Ok(request) => request,
            Err(wrong) => {
                self.cut.push(id);
                self.refused.push_back(wrong);
                return self.refuse_head(id, is_all, wrong);
            }
        };
        let windows = self.first_windows();
        let mut stream = Stream::begun(request, length, windows);
        stream.from.has_ended = is_all;
        self.streams.insert(id, stream);
        self.open += 1;
        self.begun.push_back(id);
        Ok(())
    }

    /// The windows of a stream that begins.
    pub(super) fn first_windows(&self) -> (Inbound, Outbound) {
        (
            Inbound::new(self.limits.stream_window),
            Outbound::new(self.first_window),
        )
    }

    fn refuse_head(&mut self, id: u32, is_all: bool, wrong: NoMessage) -> Result<(), Wrong> {
        if let NoMessage::Malformed(_) = wrong {
            self.reset(id, Reason::PROTOCOL_ERROR);
            return self.flood.reset();
        }
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.write_head(id, status, &HeaderMap::new(), true);
        if !is_all {
            self.reset(id, Reason::NO_ERROR);
        }
        Ok(())
    }

    fn take_reset(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        let code = number(payload, "RST_STREAM is of four bytes")?;
        if frame.stream == 0 || self.is_unbegun(frame.stream) {
            return Err(Wrong::protocol("RST_STREAM comes on no stream"));
        }
        let stream = self.streams.get(&frame.stream);
        if !self.is_asking() {
            self.flood.reset()?;
        } else if stream.is_none_or(Stream::is_over) {
            self.flood.late()?;
        }
        self.break_off(frame.stream, Error::Reset(Reason(code)));
        Ok(())
    }

    fn take_window(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        let more = number(payload, "WINDOW_UPDATE is of four bytes")? & super::ANY_STREAM;
        let nothing = Wrong::protocol("a window grows by nothing");
        if frame.stream == 0 {
            if more == 0 {
                return Err(nothing);
            }
            self.to.change(i64::from(more))?;
            self.has_written();
            return Ok(());
        }
        if self.is_unbegun(frame.stream) {
            return Err(Wrong::protocol("WINDOW_UPDATE comes on no stream"));
        }
        let Some(stream) = self
            .streams
            .get_mut(&frame.stream)
            .filter(|stream| stream.broken.is_none())
        else {
            return Ok(());
        };
        if more == 0 {
            return self.refuse(frame.stream, nothing);
        }
        let changed = stream.to.window.change(i64::from(more));
        if let Some(waker) = stream.to.waker.take() {
            waker.wake();
        }
        self.judge(frame.stream, changed)
    }

    /// Whether nobody has begun this stream, nor one after it.
    fn is_unbegun(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last
    }
}

/// Content that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    Wanted,
    Unwanted,
}

/// Whether so many bytes of content may come on a stream, and are wanted.
fn admit(stream: &mut Stream, frame: Frame, length: usize) -> Result<Admitted, Wrong> {
    if stream.from.has_ended {
        return Err(Wrong::new(
            Reason::STREAM_CLOSED,
            "DATA comes behind the end of its stream",
        ));
    }
    if stream.from.awaits_head() {
        return Err(Wrong::protocol("DATA comes before the head of its answer"));
    }
    stream.from.window.take(frame.length)?;
    stream.from.count(length)?;
    if frame.has(END_STREAM) {
        stream.from.end(None)?;
    }
    Ok(if stream.from.is_wanted {
        Admitted::Wanted
    } else {
        Admitted::Unwanted
    })
}

fn take_answer(
    stream: &mut Stream,
    is_all: bool,
    fields: Fields,
    most_interim: u8,
) -> Result<(), Wrong> {
    let head = fields.into_response().map_err(|wrong| match wrong {
        NoMessage::TooLarge => Wrong::protocol("the head of an answer is too large"),
        NoMessage::Malformed(what) => Wrong::protocol(what),
    })?;
    stream.from.take_head(head, is_all, most_interim)
}

fn take_trailers(stream: &mut Stream, is_all: bool, fields: Fields) -> Result<(), Wrong> {
    if stream.from.has_ended {
        return Err(Wrong::new(
            Reason::STREAM_CLOSED,
            "HEADERS come behind the end of their stream",
        ));
    }
    if !is_all {
        return Err(Wrong::protocol("trailers do not end their stream"));
    }
    let trailers = match fields.into_trailers() {
        Ok(trailers) => Ok(trailers),
        Err(NoMessage::TooLarge) => Err(Error::TrailersTooLarge),
        Err(NoMessage::Malformed(what)) => return Err(Wrong::protocol(what)),
    };
    stream.from.end(Some(trailers))
}

fn take_priority(frame: Frame) -> Result<(), Wrong> {
    if frame.stream == 0 {
        return Err(Wrong::protocol("PRIORITY comes on no stream"));
    }
    if frame.length != PRIORITY_LENGTH {
        return Err(Wrong::new(
            Reason::FRAME_SIZE_ERROR,
            "PRIORITY is of five bytes",
        ));
    }
    Ok(())
}

/// RFC 9113 §6.1: the first byte tells how many of the last ones are nothing.
fn without_padding(frame: Frame, payload: &[u8]) -> Result<&[u8], Wrong> {
    if !frame.has(PADDED) {
        return Ok(payload);
    }
    let padded = payload.split_first();
    let content = padded.and_then(|(padding, rest)| {
        let length = rest.len().checked_sub(usize::from(*padding))?;
        rest.get(..length)
    });
    content.ok_or(Wrong::protocol("padding is longer than its frame"))
}

fn number(payload: &[u8], what: &'static str) -> Result<u32, Wrong> {
    let number = payload.try_into().map(u32::from_be_bytes);
    number.map_err(|_| Wrong::new(Reason::FRAME_SIZE_ERROR, what))
}
