//! What a client's side asks, and what comes of it.

use http::{Method, Request, Response};

use super::*;
use crate::http2::frame::{PREFACE, PUSH_PROMISE};
use crate::http2::head::Protocol;

/// `:status` of the static table: 200, 204.
const OK: &[u8] = &[0x88];
const NO_CONTENT: &[u8] = &[0x89];

/// `:status: 103`, and three bytes as the length of content.
const HINT: &[u8] = b"\x08\x03103";
const THREE: &[u8] = &[0x0f, 0x0d, 1, b'3'];

/// Frames of a stream: their kinds, flags and payloads.
type Frames = Vec<(u8, u8, Vec<u8>)>;

/// A side that has said its preface and its settings.
fn introduced() -> (State, Announced) {
    let (mut state, announced) = State::asking(LIMITS);
    state.out = Outbox::default();
    (state, announced)
}

fn asking() -> Both {
    Both::of(introduced().0)
}

fn request(method: Method) -> Request<()> {
    let request = Request::builder().method(method).uri("http://a/");
    request.body(()).unwrap()
}

impl Both {
    /// Asks, and says all of it; the stream.
    fn ask(&mut self, method: Method, is_all: bool) -> u32 {
        let stream = self.state.ask(&request(method), is_all).unwrap();
        self.said();
        stream
    }

    fn head(&mut self, stream: u32) -> Poll<Result<Response<()>, String>> {
        let mut cx = Context::from_waker(Waker::noop());
        let head = self.state.poll_head(stream, &mut cx);
        head.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn status(&mut self, stream: u32) -> u16 {
        match self.head(stream) {
            Poll::Ready(Ok(head)) => head.status().as_u16(),
            Poll::Ready(Err(why)) => panic!("{why}"),
            Poll::Pending => panic!("there is no head"),
        }
    }

    fn why(&mut self, stream: u32) -> Error {
        let mut cx = Context::from_waker(Waker::noop());
        match self.state.poll_broken(stream, &mut cx) {
            Poll::Ready(why) => why,
            Poll::Pending => panic!("it goes on"),
        }
    }
}

#[test]
fn a_client_says_its_preface_and_settings_and_then_what_it_asks() {
    let (mut state, announced) = State::asking(LIMITS);
    state.ask(&request(Method::GET), true).unwrap();
    let mut connect = request(Method::CONNECT);
    let protocol = Protocol::from_static("websocket");
    connect.extensions_mut().insert(protocol);
    connect.headers_mut().insert("x", "1".parse().unwrap());
    state.ask(&connect, false).unwrap();
    let (_, said) = state.show();
    let settings = [0, 2, 0, 0, 0, 0, 0, 4, 0, 0, 3, 0xe8, 0, 6, 0, 0, 3, 0xe8];
    let more = (LIMITS.window - 65_535).to_be_bytes();
    let connect = [
        b"\x02\x07CONNECT\x86\x01\x01a\x84",
        &b"\x00\x09:protocol\x09websocket"[..],
        FIELD,
    ];
    let expected = [
        PREFACE.to_vec(),
        written(SETTINGS, 0, 0, &settings),
        written(WINDOW_UPDATE, 0, 0, &more),
        written(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &[0x82, 0x86, 1, 1, b'a', 0x84],
        ),
        written(HEADERS, END_HEADERS, 3, &connect.concat()),
    ];
    assert_eq!(
        said.escape_ascii().to_string(),
        expected.concat().escape_ascii().to_string()
    );
    assert_eq!(*announced.borrow(), None);
}

#[test]
fn an_answer_is_its_heads_its_content_and_its_trailers() {
    let mut both = asking();
    let stream = both.ask(Method::GET, true);
    both.hear(HEADERS, END_HEADERS, stream, HINT).unwrap();
    both.hear(HEADERS, END_HEADERS, stream, &[OK, FIELD].concat())
        .unwrap();
    both.hear(DATA, 0, stream, b"hi").unwrap();
    both.hear(HEADERS, END_HEADERS | END_STREAM, stream, FIELD)
        .unwrap();
    assert_eq!(both.status(stream), 103);
    assert_eq!(both.status(stream), 200);
    assert_eq!(both.read(stream), Poll::Ready(Some(Ok("hi".into()))));
    assert_eq!(both.read(stream), Poll::Ready(None));
    assert_eq!(both.state.take_trailers(stream).unwrap().unwrap()["x"], "1");
    both.leave(stream);
    assert!(both.state.streams.is_empty() && both.state.is_idle());
    assert!(both.said().is_empty());
}

#[test]
fn content_goes_with_a_request_and_may_go_on_behind_its_answer() {
    let mut both = asking();
    let stream = both.ask(Method::POST, false);
    both.hear(HEADERS, END_HEADERS | END_STREAM, stream, OK)
        .unwrap();
    assert_eq!(both.status(stream), 200);
    let content = Bytes::from_static(b"more");
    both.state.send_data(stream, content, true).unwrap();
    assert_eq!(both.said(), [(DATA, END_STREAM, stream, b"more".to_vec())]);
    assert!(both.state.is_idle());
}

#[test]
fn what_is_no_answer_costs_its_request_alone() {
    let length = |status: &[u8]| [status, THREE].concat();
    let cases: Vec<(&str, Method, Frames)> = vec![
        ("content first", Method::GET, vec![(DATA, 0, vec![1])]),
        ("no status", Method::GET, vec![(HEADERS, 0, FIELD.to_vec())]),
        ("a request", Method::GET, vec![(HEADERS, 0, POST.to_vec())]),
        (
            "an interim answer that is all",
            Method::GET,
            vec![(HEADERS, END_STREAM, HINT.to_vec())],
        ),
        (
            "interim answers without end",
            Method::GET,
            vec![(HEADERS, 0, HINT.to_vec()); 3],
        ),
        (
            "an upper-case name",
            Method::GET,
            vec![(HEADERS, 0, [OK, &[0, 1, b'X', 0]].concat())],
        ),
        (
            "a head that is too large",
            Method::GET,
            vec![(HEADERS, 0, [OK, &FIELD.repeat(100)].concat())],
        ),
        (
            "more than told",
            Method::GET,
            vec![(HEADERS, 0, length(OK)), (DATA, 0, b"four".to_vec())],
        ),
        (
            "less than told",
            Method::GET,
            vec![(HEADERS, 0, length(OK)), (DATA, END_STREAM, b"2".to_vec())],
        ),
        (
            "nothing of what was told",
            Method::GET,
            vec![(HEADERS, END_STREAM, length(OK))],
        ),
        (
            "content to a HEAD",
            Method::HEAD,
            vec![(HEADERS, 0, length(OK)), (DATA, 0, b"1".to_vec())],
        ),
        (
            "content of none",
            Method::GET,
            vec![(HEADERS, 0, NO_CONTENT.to_vec()), (DATA, 0, b"1".to_vec())],
        ),
        (
            "two heads",
            Method::GET,
            vec![
                (HEADERS, 0, OK.to_vec()),
                (HEADERS, END_STREAM, OK.to_vec()),
            ],
        ),
    ];
    for (name, method, frames) in cases {
        let mut both = asking();
        let (stream, other) = (both.ask(method, true), both.ask(Method::GET, true));
        for (kind, flags, payload) in frames {
            both.hear(kind, flags | END_HEADERS, stream, &payload)
                .unwrap();
        }
        assert_eq!(
            both.said(),
            [reset(stream, Reason::PROTOCOL_ERROR)],
            "{name}"
        );
        assert!(both.why(stream).is_wrong(), "{name}");
        both.hear(HEADERS, END_HEADERS | END_STREAM, other, OK)
            .unwrap();
        assert_eq!(both.status(other), 200);
    }
}

#[test]
fn an_answer_that_ends_without_the_content_that_it_told_has_never_begun() {
    let mut both = asking();
    let stream = both.ask(Method::GET, true);
    let head = [OK, THREE].concat();
    both.hear(HEADERS, END_HEADERS | END_STREAM, stream, &head)
        .unwrap();
    assert!(matches!(both.head(stream), Poll::Ready(Err(_))));
}

#[test]
fn an_answer_without_content_may_tell_how_long_it_would_be() {
    for (method, head) in [
        (Method::HEAD, OK),
        (Method::GET, NO_CONTENT),
        (Method::GET, &[0x8b]),
    ] {
        let mut both = asking();
        let stream = both.ask(method, true);
        let head = [head, THREE].concat();
        both.hear(HEADERS, END_HEADERS | END_STREAM, stream, &head)
            .unwrap();
        assert!(matches!(both.head(stream), Poll::Ready(Ok(_))), "{head:?}");
        assert_eq!(both.read(stream), Poll::Ready(None));
    }
    let mut both = asking();
    let tunnel = both.ask(Method::CONNECT, false);
    both.hear(HEADERS, END_HEADERS, tunnel, &[OK, THREE].concat())
        .unwrap();
    both.hear(DATA, 0, tunnel, b"four").unwrap();
    assert_eq!(both.read(tunnel), Poll::Ready(Some(Ok("four".into()))));
}

#[test]
fn what_a_server_may_not_do_ends_the_connection() {
    let cases = [
        ("a push", (PUSH_PROMISE, 1, &[0, 0, 0, 2, 0x82][..])),
        ("an answer to nothing", (HEADERS, 3, OK)),
        ("a stream of its own", (HEADERS, 2, OK)),
        ("content of nothing", (DATA, 3, b"x")),
        ("a reset of nothing", (RST_STREAM, 3, &[0; 4])),
        ("pushes enabled", (SETTINGS, 0, &[0, 2, 0, 0, 0, 1])),
        (
            "protocols more than enabled",
            (SETTINGS, 0, &[0, 8, 0, 0, 0, 2]),
        ),
    ];
    for (name, (kind, stream, payload)) in cases {
        let mut both = asking();
        both.ask(Method::GET, true);
        let wrong = both.hear(kind, END_HEADERS, stream, payload);
        let flags = if kind == SETTINGS { 0 } else { END_HEADERS };
        let wrong = wrong.and_then(|()| both.hear(kind, flags, stream, payload));
        assert_eq!(reason(wrong), Reason::PROTOCOL_ERROR, "{name}");
    }
}

#[test]
fn a_server_says_how_many_requests_it_takes_and_whether_protocols() {
    let (state, announced) = introduced();
    assert_eq!(state.most_streams(), MOST_AT_FIRST);
    let mut both = Both::of(state);
    assert_eq!(
        both.state.most_streams(),
        usize::MAX,
        "it has said nothing of it"
    );
    assert_eq!(*announced.borrow(), Some(false));
    both.hear(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 7, 0, 8, 0, 0, 0, 1])
        .unwrap();
    assert_eq!(both.state.most_streams(), 7);
    assert_eq!(*announced.borrow(), Some(true));
}

#[test]
fn a_server_that_leaves_answers_what_it_has_looked_at_and_nothing_above() {
    let mut both = asking();
    let streams = [1, 3, 5].map(|_| both.ask(Method::GET, true));
    both.hear(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]).unwrap();
    assert!(both.state.takes_no_more());
    let asked = both.state.ask(&request(Method::GET), true);
    assert!(asked.unwrap_err().is_left());
    for above in &streams[1..] {
        let why = both.why(*above);
        assert!(why.is_left() && why.is_unprocessed());
    }
    both.hear(HEADERS, END_HEADERS | END_STREAM, 1, OK).unwrap();
    assert_eq!(both.status(1), 200);
    assert!(both.state.is_done());
}

#[test]
fn a_request_that_was_refused_was_not_looked_at_and_one_that_was_reset_may_have_been() {
    let mut both = asking();
    for (code, is_unprocessed) in [(7, true), (8, false)] {
        let stream = both.ask(Method::GET, true);
        both.hear(RST_STREAM, 0, stream, &[0, 0, 0, code]).unwrap();
        let why = both.why(stream);
        assert_eq!(
            (why.is_unprocessed(), why.is_left()),
            (is_unprocessed, false)
        );
    }
}

#[test]
fn when_a_connection_ends_what_of_it_was_never_written_is_known() {
    let mut both = asking();
    let written = both.ask(Method::POST, false);
    let unwritten = both.state.ask(&request(Method::POST), false).unwrap();
    both.state.end(Ended::Closed);
    assert!(both.why(written).is_cut_off() && !both.why(written).is_unprocessed());
    assert!(both.why(unwritten).is_unprocessed());
    let asked = both.state.ask(&request(Method::GET), true);
    assert!(asked.unwrap_err().is_unprocessed());
}

#[test]
fn what_has_come_of_an_answer_is_passed_on_before_it_is_told_that_it_broke_off() {
    let mut both = asking();
    let stream = both.ask(Method::GET, true);
    both.hear(HEADERS, END_HEADERS, stream, OK).unwrap();
    both.hear(DATA, 0, stream, b"some").unwrap();
    both.hear(RST_STREAM, 0, stream, &[0, 0, 0, 2]).unwrap();
    assert_eq!(both.status(stream), 200);
    assert_eq!(both.read(stream), Poll::Ready(Some(Ok("some".into()))));
    assert!(matches!(both.read(stream), Poll::Ready(Some(Err(_)))));
}

#[test]
fn an_answer_that_nobody_waits_for_is_reset_and_what_still_comes_of_it_is_no_flood() {
    let mut both = asking();
    both.state.limits.streams = 0;
    for _ in 0..5_000 {
        let stream = both.ask(Method::GET, true);
        both.leave(stream);
        assert_eq!(both.said(), [reset(stream, Reason::CANCEL)]);
        both.hear(HEADERS, END_HEADERS, stream, OK).unwrap();
        both.hear(DATA, 0, stream, b"late").unwrap();
        both.hear(HEADERS, END_HEADERS | END_STREAM, stream, FIELD)
            .unwrap();
        both.hear(RST_STREAM, 0, stream, &[0; 4]).unwrap();
    }
    assert!(both.state.streams.is_empty());
    let flood = (0..20_000).find_map(|_| both.hear(RST_STREAM, 0, 1, &[0; 4]).err());
    assert_eq!(flood.unwrap().reason, Reason::ENHANCE_YOUR_CALM);
}

#[test]
fn a_server_may_reset_every_request_that_is_under_way_or_answered() {
    let mut both = asking();
    for is_all in [true, false].into_iter().cycle().take(10_000) {
        let stream = both.ask(Method::POST, is_all);
        both.hear(HEADERS, END_HEADERS | END_STREAM, stream, OK)
            .unwrap();
        both.hear(RST_STREAM, 0, stream, &[0; 4]).unwrap();
        assert_eq!(both.status(stream), 200);
        both.leave(stream);
    }
    assert!(both.state.streams.is_empty() && both.said().is_empty());
}

#[test]
fn a_server_may_say_of_each_frame_that_it_comes_behind_its_answer() {
    let mut both = asking();
    for _ in 0..5_000 {
        let stream = both.ask(Method::POST, false);
        for is_all in [false, false, true] {
            both.state
                .send_data(stream, b"x"[..].into(), is_all)
                .unwrap();
        }
        both.hear(HEADERS, END_HEADERS | END_STREAM, stream, OK)
            .unwrap();
        for _ in 0..4 {
            both.hear(RST_STREAM, 0, stream, &[0, 0, 0, 5]).unwrap();
        }
        both.leave(stream);
        both.said();
    }
}

#[test]
fn a_server_that_takes_nothing_is_crowded_and_not_alive_whatever_it_says() {
    let mut both = asking();
    let began = both.state.signs();
    both.hear(PING, 0, 0, &[0; 8]).unwrap();
    assert!(!both.state.signs().are_of_life_since(&began));
    both.said();
    assert!(both.state.signs().are_of_life_since(&began));
    let mut large = request(Method::GET);
    large
        .headers_mut()
        .insert("x", "a".repeat(MOST_UNREAD).parse().unwrap());
    both.state.ask(&large, true).unwrap();
    assert!(both.state.is_crowded());
    both.said();
    assert!(!both.state.is_crowded());
}

#[test]
fn a_connection_that_nobody_asks_anything_on_ends_behind_its_last_answer() {
    let mut both = asking();
    let stream = both.ask(Method::GET, true);
    both.state.leave();
    assert_eq!(both.said(), [(GOAWAY, 0, 0, vec![0; 8])]);
    assert!(!both.state.is_done());
    both.hear(HEADERS, END_HEADERS | END_STREAM, stream, OK)
        .unwrap();
    assert!(both.state.is_done());
}
