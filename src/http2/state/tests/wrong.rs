//! What a client may not do, and what that costs it.

use super::*;

/// What is wrong by name, and the code that says so.
type Cases<T> = Vec<(&'static str, T, Reason)>;

#[test]
fn what_breaks_a_stream_costs_that_stream_alone() {
    let with = |field: &[u8]| [POST, field].concat();
    let length = with(&[0x0f, 0x0d, 1, b'3']);
    let cases: Cases<Vec<(u8, u8, Vec<u8>)>> = vec![
        (
            "a name in upper case",
            vec![(HEADERS, 0, with(&[0, 1, b'X', 0]))],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "more than told",
            vec![(HEADERS, 0, length.clone()), (DATA, 0, b"four".to_vec())],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "less than told",
            vec![
                (HEADERS, 0, length.clone()),
                (DATA, END_STREAM, b"2".to_vec()),
            ],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "nothing of three",
            vec![(HEADERS, END_STREAM, length)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA behind the end",
            vec![(HEADERS, END_STREAM, POST.to_vec()), (DATA, 0, vec![])],
            Reason::STREAM_CLOSED,
        ),
        (
            "HEADERS behind the end",
            vec![
                (HEADERS, END_STREAM, POST.to_vec()),
                (HEADERS, END_STREAM, FIELD.to_vec()),
            ],
            Reason::STREAM_CLOSED,
        ),
        (
            "trailers that end nothing",
            vec![(HEADERS, 0, POST.to_vec()), (HEADERS, 0, FIELD.to_vec())],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a pseudo-header among trailers",
            vec![
                (HEADERS, 0, POST.to_vec()),
                (HEADERS, END_STREAM, vec![0x84]),
            ],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window of nothing",
            vec![(HEADERS, 0, POST.to_vec()), (WINDOW_UPDATE, 0, vec![0; 4])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window that overflows",
            vec![
                (HEADERS, 0, POST.to_vec()),
                (WINDOW_UPDATE, 0, vec![0x7f, 0xff, 0xff, 0xff]),
            ],
            Reason::FLOW_CONTROL_ERROR,
        ),
    ];
    for (name, frames, expected) in cases {
        let mut both = Both::new();
        for (kind, flags, payload) in frames {
            let whole = if kind == HEADERS { END_HEADERS } else { 0 };
            both.hear(kind, flags | whole, 1, &payload).unwrap();
            both.state.accept();
        }
        assert_eq!(both.said(), [reset(1, expected)], "{name}");
        both.leave(1);
        assert!(
            both.state.streams.is_empty() && both.state.is_idle(),
            "{name}"
        );
        assert!(both.begin(3, true), "{name}");
    }
}

#[test]
fn what_breaks_a_connection_is_told_apart() {
    let overflow = [0x7f, 0xff, 0xff, 0xff];
    let cases: Cases<Said> = vec![
        (
            "DATA on no stream",
            (DATA, 0, 0, vec![]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA on a stream that nobody began",
            (DATA, 0, 1, vec![]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "HEADERS on a stream of ours",
            (HEADERS, END_HEADERS, 2, POST.to_vec()),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "CONTINUATION of nothing",
            (CONTINUATION, END_HEADERS, 1, vec![]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "PRIORITY on no stream",
            (2, 0, 0, vec![0; 5]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a short PRIORITY",
            (2, 0, 1, vec![0; 4]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "RST_STREAM on no stream",
            (RST_STREAM, 0, 0, vec![0; 4]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "RST_STREAM of nothing",
            (RST_STREAM, 0, 1, vec![0; 4]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a short RST_STREAM",
            (RST_STREAM, 0, 1, vec![0; 3]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "SETTINGS on a stream",
            (SETTINGS, 0, 1, vec![]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "short SETTINGS",
            (SETTINGS, 0, 0, vec![0; 5]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "an acknowledgement that says something",
            (SETTINGS, ACK, 0, vec![0; 6]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "a push that is neither",
            (SETTINGS, 0, 0, vec![0, 2, 0, 0, 0, 2]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "frames that are too short",
            (SETTINGS, 0, 0, vec![0, 5, 0, 0, 0, 2]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window of 2^31",
            (SETTINGS, 0, 0, vec![0, 4, 0x80, 0, 0, 0]),
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            "PUSH_PROMISE",
            (5, END_HEADERS, 1, vec![0; 4]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a short PING",
            (PING, 0, 0, vec![0; 7]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "PING on a stream",
            (PING, 0, 1, vec![0; 8]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "GOAWAY that does not say why",
            (GOAWAY, 0, 0, vec![0; 7]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "GOAWAY on a stream",
            (GOAWAY, 0, 1, vec![0; 8]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window of nothing",
            (WINDOW_UPDATE, 0, 0, vec![0; 4]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window on a stream that nobody began",
            (WINDOW_UPDATE, 0, 1, vec![1; 4]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a window that overflows",
            (WINDOW_UPDATE, 0, 0, overflow.to_vec()),
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            "padding that is longer than its frame",
            (HEADERS, PADDED | END_HEADERS, 1, vec![9, 0x82]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "no table",
            (HEADERS, END_HEADERS, 1, vec![0xff, 0xff, 0xff]),
            Reason::COMPRESSION_ERROR,
        ),
    ];
    for (name, (kind, flags, stream, payload), expected) in cases {
        let mut both = Both::new();
        assert_eq!(
            reason(both.hear(kind, flags, stream, &payload)),
            expected,
            "{name}"
        );
    }
    let mut both = Both::new();
    both.hear(HEADERS, 0, 1, POST).unwrap();
    assert_eq!(
        reason(both.hear(PING, 0, 0, &[0; 8])),
        Reason::PROTOCOL_ERROR
    );
    let mut silent = Both {
        state: State::answering(LIMITS),
        input: BytesMut::new(),
    };
    assert_eq!(
        reason(silent.hear(PING, 0, 0, &[0; 8])),
        Reason::PROTOCOL_ERROR
    );
}

#[test]
fn what_comes_on_a_stream_that_was_reset_was_on_its_way_and_on_one_that_is_over_breaks_the_connection()
 {
    let begun = || {
        let mut both = Both::new();
        assert!(both.begin(3, true) && both.begin(5, false) && both.begin(9, false));
        both.answer(3);
        both.leave(3);
        // Whoever answers before all has come wants no more.
        both.answer(5);
        both.leave(5);
        both.hear(RST_STREAM, 0, 9, &[0, 0, 0, 8]).unwrap();
        both.leave(9);
        assert!(both.state.streams.is_empty());
        both
    };
    let late: [(u8, u8, &[u8]); 2] = [
        (DATA, 0, b"late"),
        (HEADERS, END_HEADERS | END_STREAM, FIELD),
    ];
    for (kind, flags, payload) in late {
        for stream in [1, 3, 7] {
            let heard = begun().hear(kind, flags, stream, payload);
            assert_eq!(reason(heard), Reason::STREAM_CLOSED, "{kind} on {stream}");
        }
        for stream in [5, 9] {
            assert!(begun().hear(kind, flags, stream, payload).is_ok());
        }
    }
    for kind in [RST_STREAM, WINDOW_UPDATE] {
        assert!(begun().hear(kind, 0, 3, &[0, 0, 0, 8]).is_ok());
    }
}

#[test]
fn what_comes_on_a_stream_that_was_refused_was_on_its_way() {
    let mut both = Both::new();
    let mut bad = POST.to_vec();
    bad.extend([0, 1, b'X', 0]);
    both.hear(HEADERS, END_HEADERS, 1, &bad).unwrap();
    for stream in [3, 5, 7] {
        assert!(both.begin(stream, false));
    }
    assert!(!both.begin(9, false), "there are as many as may be");
    both.state.say_farewell();
    both.hear(PING, ACK, 0, &FAREWELL).unwrap();
    assert!(!both.begin(11, false), "it should have known");
    for stream in [1, 9, 11] {
        both.hear(DATA, END_STREAM, stream, b"late").unwrap();
    }
}
