mod asking;
mod flow;
mod wrong;

use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::http2::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEAD, HEADERS, PADDED, written,
};
use crate::http2::{what_comes, what_is_answered};

const LIMITS: Limits = Limits {
    streams: 3,
    stream_window: 1_000,
    window: 70_000,
    head: 1_000,
    trailers: 200,
    trailer_fields: 5,
    interim: 2,
};

/// POST to https://a/, of the static table but for the authority.
const POST: &[u8] = &[0x83, 0x87, 0x84, 0x41, 1, b'a'];

/// `x: 1`, which goes into no table.
const FIELD: &[u8] = &[0, 1, b'x', 1, b'1'];

/// The kind, the flags, the stream and the payload of a frame.
type Said = (u8, u8, u32, Vec<u8>);

/// A connection whose peer has said SETTINGS, and that has said its own.
struct Both {
    state: State,
    input: BytesMut,
}

impl Both {
    fn new() -> Self {
        Self::of(State::answering(LIMITS))
    }

    fn of(state: State) -> Self {
        let mut both = Self {
            state,
            input: BytesMut::new(),
        };
        both.hear(SETTINGS, 0, 0, &[]).unwrap();
        both.said();
        both
    }

    fn hear(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Wrong> {
        let frame = written(kind, flags, stream, payload);
        self.input.extend_from_slice(&frame);
        let taken = self.state.receive(&mut self.input);
        assert!(taken.is_err() || self.input.is_empty());
        taken
    }

    /// Hears the head of a request; whether somebody is to answer it.
    fn begin(&mut self, stream: u32, is_all: bool) -> bool {
        let end = if is_all { END_STREAM } else { 0 };
        self.hear(HEADERS, END_HEADERS | end, stream, POST).unwrap();
        self.state.accept().is_some()
    }

    /// What was said since the last time.
    fn said(&mut self) -> Vec<Said> {
        let mut bytes = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(self.state.out().poll_write(&mut bytes, &mut cx).is_ready());
        self.state.has_written();
        let (mut rest, mut said) = (&*bytes, Vec::new());
        while let Some((head, behind)) = rest.split_first_chunk::<HEAD>() {
            let frame = Frame::of(*head);
            let (payload, behind) = behind.split_at(frame.length);
            said.push((frame.kind, frame.flags, frame.stream, payload.to_vec()));
            rest = behind;
        }
        said
    }

    fn read(&mut self, stream: u32) -> Poll<Option<Result<Bytes, String>>> {
        let mut cx = Context::from_waker(Waker::noop());
        let read = self.state.poll_data(stream, &mut cx);
        read.map_err(|error| error.to_string())
    }

    fn answer(&mut self, stream: u32) {
        let head = (StatusCode::OK, &HeaderMap::new());
        self.state.send_head(stream, head, true).unwrap();
    }

    /// As the two sides of a stream do when they are dropped.
    fn leave(&mut self, stream: u32) {
        self.state.leave_reading(stream);
        self.state.leave_writing(stream);
    }
}

fn reset(stream: u32, reason: Reason) -> Said {
    (RST_STREAM, 0, stream, reason.0.to_be_bytes().to_vec())
}

fn reason(wrong: Result<(), Wrong>) -> Reason {
    wrong.unwrap_err().reason
}

#[test]
fn a_request_with_content_and_trailers_is_read_and_answered_and_forgotten() {
    let mut both = Both::new();
    assert!(both.begin(1, false));
    both.hear(DATA, PADDED, 1, &[2, b'h', b'i', 0, 0]).unwrap();
    both.hear(HEADERS, END_HEADERS | END_STREAM, 1, FIELD)
        .unwrap();
    assert_eq!(both.read(1), Poll::Ready(Some(Ok("hi".into()))));
    assert_eq!(both.read(1), Poll::Ready(None));
    assert!(!both.state.is_read(1), "there are trailers");
    let trailers = both.state.take_trailers(1).unwrap().unwrap();
    assert_eq!(trailers["x"], "1");
    assert!(both.state.is_read(1));
    both.answer(1);
    assert_eq!(
        both.said(),
        [(HEADERS, END_HEADERS | END_STREAM, 1, vec![0x88])]
    );
    both.leave(1);
    assert!(both.state.streams.is_empty() && both.state.is_idle());
    assert!(both.said().is_empty());
}

#[test]
fn short_pieces_of_content_are_put_together_and_order_is_kept() {
    let mut both = Both::new();
    both.state.limits.stream_window = 70_000;
    assert!(both.begin(1, false));
    let long = vec![7; 9_000];
    for piece in [b"a", b"b", &long[..], b"c", b"d"] {
        both.hear(DATA, 0, 1, piece).unwrap();
    }
    let mut pieces = Vec::new();
    while let Poll::Ready(Some(Ok(piece))) = both.read(1) {
        pieces.push(piece);
    }
    assert_eq!(pieces, [&b"ab"[..], &long, b"cd"]);
}

#[test]
fn content_of_any_length_leaves_in_frames_of_16_kib() {
    let mut both = Both::new();
    assert!(both.begin(1, true));
    let head = (StatusCode::OK, &HeaderMap::new());
    both.state.send_head(1, head, false).unwrap();
    both.state.send_data(1, Bytes::new(), false).unwrap();
    both.state
        .send_data(1, vec![7; 40_000].into(), true)
        .unwrap();
    let said = both.said();
    let lengths: Vec<_> = said[1..]
        .iter()
        .map(|said| (said.1, said.3.len()))
        .collect();
    assert_eq!(lengths, [(0, 16_384), (0, 16_384), (END_STREAM, 7_232)]);
}

#[test]
fn fields_that_one_frame_has_no_room_for_go_on_in_others() {
    let mut both = Both::new();
    assert!(both.begin(1, true));
    let mut headers = HeaderMap::new();
    headers.insert("x", "a".repeat(40_000).parse().unwrap());
    both.state
        .send_head(1, (StatusCode::OK, &headers), true)
        .unwrap();
    let said = both.said();
    let frames: Vec<_> = said.iter().map(|said| (said.0, said.1)).collect();
    assert_eq!(
        frames,
        [
            (HEADERS, END_STREAM),
            (CONTINUATION, 0),
            (CONTINUATION, END_HEADERS)
        ]
    );
}

#[test]
fn a_client_with_a_smaller_table_hears_once_that_none_is_used() {
    let mut both = Both::new();
    both.hear(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 100]).unwrap();
    both.hear(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).unwrap();
    both.said();
    let blocks = [1, 3].map(|stream| {
        assert!(both.begin(stream, true));
        both.answer(stream);
        both.said().remove(0).3
    });
    assert_eq!(blocks, [vec![0x20, 0x88], vec![0x88]]);
}

#[test]
fn streams_that_are_over_leave_no_room_behind_that_an_idle_connection_would_hold() {
    let mut both = Both::new();
    both.state.limits.streams = 300;
    let streams = || (1..).step_by(2).take(300);
    assert!(streams().all(|stream| both.begin(stream, true)));
    for stream in streams() {
        both.answer(stream);
        both.leave(stream);
    }
    assert_eq!(both.state.streams.capacity(), 0);
}

#[test]
fn a_head_in_pieces_is_as_good_as_one() {
    let mut both = Both::new();
    both.hear(HEADERS, END_STREAM, 1, &POST[..2]).unwrap();
    assert!(both.state.is_head_open());
    both.hear(CONTINUATION, 0, 1, &POST[2..2]).unwrap();
    both.hear(CONTINUATION, END_HEADERS, 1, &POST[2..]).unwrap();
    let (_, request) = both.state.accept().unwrap();
    assert_eq!(request.uri(), "https://a/");
}

#[test]
fn a_head_that_is_longer_than_anybody_keeps_ends_the_connection() {
    let mut both = Both::new();
    both.hear(HEADERS, 0, 1, &[0; 16_384]).unwrap();
    let ended = (0..64).find_map(|_| both.hear(CONTINUATION, 0, 1, &[0; 16_384]).err());
    assert_eq!(ended.unwrap().reason, Reason::ENHANCE_YOUR_CALM);
}

#[test]
fn a_head_or_trailers_that_are_too_long_cost_their_request_alone() {
    let mut both = Both::new();
    let long = [POST, &[0, 1, b'x', 127, 0xff, 7], &[b'a'; 1_150]].concat();
    both.hear(HEADERS, END_HEADERS, 1, &long).unwrap();
    assert!(both.state.accept().is_none());
    let answer = (
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        b"\x08\x03431".to_vec(),
    );
    assert_eq!(both.said(), [answer, reset(1, Reason::NO_ERROR)]);
    assert!(both.begin(3, false));
    both.hear(HEADERS, END_HEADERS | END_STREAM, 3, &FIELD.repeat(6))
        .unwrap();
    assert_eq!(both.read(3), Poll::Ready(None));
    let trailers = both.state.take_trailers(3);
    assert!(matches!(trailers, Err(Error::TrailersTooLarge)));
}

#[test]
fn requests_beyond_those_at_once_are_refused() {
    let mut both = Both::new();
    assert!([1, 3, 5].into_iter().all(|stream| both.begin(stream, true)));
    assert!(!both.begin(7, true));
    assert_eq!(both.said(), [reset(7, Reason::REFUSED_STREAM)]);
    both.answer(1);
    assert!(both.begin(9, true), "one is over");
}

#[test]
fn a_request_and_its_reset_that_come_together_reach_nobody() {
    let mut both = Both::new();
    both.hear(HEADERS, END_HEADERS, 1, POST).unwrap();
    both.hear(RST_STREAM, 0, 1, &[0, 0, 0, 8]).unwrap();
    assert!(both.state.accept().is_none());
    assert!(both.state.streams.is_empty() && both.state.is_idle());
}

#[test]
fn what_has_come_whole_can_be_read_though_its_stream_is_reset() {
    let mut both = Both::new();
    for (stream, flags) in [(1, END_STREAM), (3, 0)] {
        assert!(both.begin(stream, false));
        both.hear(DATA, flags, stream, b"hi").unwrap();
        both.hear(RST_STREAM, 0, stream, &[0, 0, 0, 8]).unwrap();
    }
    assert_eq!(both.read(1), Poll::Ready(Some(Ok("hi".into()))));
    assert_eq!(both.read(1), Poll::Ready(None));
    assert!(matches!(both.read(3), Poll::Ready(Some(Err(_)))));
}

#[test]
fn the_rest_of_a_request_that_is_answered_is_not_wanted() {
    let mut both = Both::new();
    assert!(both.begin(1, false));
    both.answer(1);
    both.state.leave_reading(1);
    assert_eq!(both.said()[1..], [reset(1, Reason::NO_ERROR)]);
    both.hear(DATA, END_STREAM, 1, b"late").unwrap();
    both.state.leave_writing(1);
    assert!(both.state.streams.is_empty());
}

#[test]
fn an_answer_that_is_given_up_is_reset() {
    let mut both = Both::new();
    assert!(both.begin(1, true) && both.begin(3, true));
    both.leave(1);
    assert_eq!(both.said(), [reset(1, Reason::CANCEL)]);
    both.state
        .send_head(3, (StatusCode::OK, &HeaderMap::new()), false)
        .unwrap();
    both.state.give_up(3, Reason::INTERNAL_ERROR);
    both.leave(3);
    assert_eq!(both.said()[1..], [reset(3, Reason::INTERNAL_ERROR)]);
    assert!(both.state.streams.is_empty() && both.state.is_idle());
}

#[test]
fn before_it_ends_a_connection_answers_what_its_client_sent_before_it_knew() {
    let mut both = Both::new();
    assert!(both.begin(1, true));
    both.state.say_farewell();
    let any = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec();
    let asked = (PING, 0, 0, FAREWELL.to_vec());
    assert_eq!(both.said(), [(GOAWAY, 0, 0, any), asked]);
    assert!(both.begin(3, true), "it does not know yet");
    both.hear(PING, ACK, 0, &FAREWELL).unwrap();
    assert_eq!(both.said(), [(GOAWAY, 0, 0, vec![0, 0, 0, 3, 0, 0, 0, 0])]);
    assert!(!both.begin(5, true), "it should have known");
    both.answer(1);
    assert!(!both.state.is_done());
    both.answer(3);
    both.said();
    assert!(both.state.is_done());
}

#[test]
fn the_last_stream_that_is_answered_never_grows() {
    let mut both = Both::new();
    assert!(both.begin(1, true));
    both.state.say_farewell();
    both.hear(PING, ACK, 0, &FAREWELL).unwrap();
    assert!(!both.begin(3, true));
    both.said();
    let wrong = both.hear(PING, 0, 1, &[0; 8]).unwrap_err();
    both.state.end(Ended::Wrong(wrong));
    let last = both.said().pop().unwrap();
    assert_eq!((last.0, &last.3[..4]), (GOAWAY, &[0, 0, 0, 1][..]));
}

#[test]
fn whoever_leaves_gets_its_answers() {
    let mut both = Both::new();
    assert!(both.begin(1, true));
    both.hear(GOAWAY, 0, 0, &[0; 8]).unwrap();
    assert!(!both.state.is_done());
    both.answer(1);
    assert!(!both.state.is_done(), "it is not written yet");
    both.said();
    assert!(both.state.is_done());
}

#[test]
fn when_a_connection_ends_so_does_all_that_is_under_way() {
    let mut both = Both::new();
    assert!(both.begin(1, false));
    both.hear(HEADERS, END_HEADERS, 3, POST).unwrap();
    both.state.end(Ended::Closed);
    assert!(
        both.state.accept().is_none(),
        "nobody is there for its answer"
    );
    let mut cx = Context::from_waker(Waker::noop());
    assert!(both.state.poll_broken(1, &mut cx).is_ready());
    assert!(matches!(both.read(1), Poll::Ready(Some(Err(_)))));
    both.leave(1);
    assert!(both.state.streams.is_empty() && both.state.is_idle());
}

proptest! {
    #[test]
    fn whatever_comes_costs_a_stream_or_the_connection_and_its_pieces_make_no_difference(
        frames in prop::collection::vec(
            (0..11_u8, any::<u8>(), 0..9_u32, prop::collection::vec(any::<u8>(), 0..40), any::<bool>()),
            0..40,
        ),
        piece in 1..60_usize,
        is_answer: bool,
    ) {
        let mut bytes = [&[0, 0, 0, SETTINGS][..], &[0; 5]].concat();
        for (kind, flags, stream, payload, is_head) in frames {
            let head = if is_answer { vec![0x88] } else { POST.to_vec() };
            let payload = if is_head { [&head, FIELD].concat() } else { payload };
            let (length, flags) = (payload.len(), if is_head { flags & !0x28 } else { flags });
            bytes.extend(Frame { length, kind, flags, stream }.head());
            bytes.extend(payload);
        }
        if is_answer {
            prop_assert_eq!(what_is_answered(&bytes, piece), what_is_answered(&bytes, bytes.len()));
        } else {
            prop_assert_eq!(what_comes(&bytes, piece), what_comes(&bytes, bytes.len()));
        }
    }
}
