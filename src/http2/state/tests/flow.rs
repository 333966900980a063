//! Windows, and whose turn it is.

use super::*;

#[test]
fn a_window_is_granted_again_as_it_is_read_and_never_before() {
    let mut both = Both::new();
    assert!(both.begin(1, false));
    both.hear(DATA, 0, 1, &[0; 1_000]).unwrap();
    assert!(both.said().is_empty());
    assert!(both.read(1).is_ready());
    let granted = 1_000_u32.to_be_bytes().to_vec();
    assert_eq!(both.said(), [(WINDOW_UPDATE, 0, 1, granted)]);
    both.hear(DATA, 0, 1, &[0; 1_000]).unwrap();
    both.hear(DATA, 0, 1, &[0]).unwrap();
    assert_eq!(both.said(), [reset(1, Reason::FLOW_CONTROL_ERROR)]);
}

#[test]
fn no_content_is_left_unread_on_the_window_of_the_connection() {
    let mut both = Both::new();
    both.state.limits.stream_window = 70_000;
    let granted = |both: &mut Both| -> usize {
        let updates = both
            .said()
            .into_iter()
            .filter(|said| said.0 == WINDOW_UPDATE && said.2 == 0);
        updates
            .map(|said| u32::from_be_bytes(said.3[..].try_into().unwrap()) as usize)
            .sum()
    };
    let (mut sent, mut back) = (0, 0);
    for stream in (1..2_001).step_by(10) {
        // Reset by its client with all that came.
        both.state.flood = Flood::new();
        let come = [
            written(HEADERS, END_HEADERS, stream, POST),
            written(DATA, END_STREAM, stream, &[0; 200]),
            written(RST_STREAM, 0, stream, &[0; 4]),
        ];
        both.input.extend_from_slice(&come.concat());
        both.state.receive(&mut both.input).unwrap();
        assert!(both.state.accept().is_none());
        sent += 200;
        // Read by nobody, reset by its client, longer than it may be, and behind its end.
        for (stream, what) in [
            (stream + 2, 0),
            (stream + 4, 1),
            (stream + 6, 2),
            (stream + 8, 3),
        ] {
            assert!(both.begin(stream, what == 3));
            both.state.flood = Flood::new();
            both.hear(DATA, 0, stream, &[0; 200]).unwrap();
            match what {
                0 => both.state.leave_reading(stream),
                1 => both.hear(RST_STREAM, 0, stream, &[0; 4]).unwrap(),
                _ => {}
            }
            both.hear(DATA, PADDED, stream, &[9; 200]).unwrap();
            both.leave(stream);
            sent += 400;
            back += granted(&mut both);
        }
    }
    assert!(sent - back < 35_000, "{sent} came, {back} may come again");
}

#[test]
fn what_is_said_of_a_stream_waits_for_its_window_and_the_connection_s() {
    let mut both = Both::new();
    let mut cx = Context::from_waker(Waker::noop());
    let first = [0, 4, 0, 0, 0, 10];
    both.hear(SETTINGS, 0, 0, &first).unwrap();
    assert!(both.begin(1, true));
    let room =
        |both: &mut Both, cx: &mut Context<'_>| both.state.poll_room(1, cx).map(Result::unwrap);
    let head = (StatusCode::OK, &HeaderMap::new());
    both.state.send_head(1, head, false).unwrap();
    assert_eq!(room(&mut both, &mut cx), Poll::Ready(10));
    both.state
        .send_data(1, Bytes::from_static(&[7; 10]), false)
        .unwrap();
    assert!(room(&mut both, &mut cx).is_pending());
    both.hear(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 4]).unwrap();
    both.hear(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 6]).unwrap();
    assert!(
        room(&mut both, &mut cx).is_pending(),
        "it had become less than nothing"
    );
    both.hear(WINDOW_UPDATE, 0, 1, &[0, 1, 0, 0]).unwrap();
    assert_eq!(
        room(&mut both, &mut cx),
        Poll::Ready(MOST_TO_WRITE - both.state.out.len())
    );
    both.said();
    let content = vec![7; 65_535 - 10].into();
    both.state.send_data(1, content, false).unwrap();
    both.said();
    assert!(
        room(&mut both, &mut cx).is_pending(),
        "the connection's window is spent"
    );
    both.hear(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 5]).unwrap();
    assert_eq!(room(&mut both, &mut cx), Poll::Ready(5));
}

#[test]
fn streams_that_say_much_take_turns_and_hold_up_no_small_answer() {
    let mut both = Both::new();
    let mut cx = Context::from_waker(Waker::noop());
    let large = [0x3f, 0xff, 0, 0];
    let settings = [&[0, 4][..], &large].concat();
    both.hear(SETTINGS, 0, 0, &settings).unwrap();
    both.hear(WINDOW_UPDATE, 0, 0, &large).unwrap();
    let mut sent = [0; 3];
    let head = (StatusCode::OK, &HeaderMap::new());
    let streams = [1, 3, 5];
    for stream in streams {
        assert!(both.begin(stream, true));
        both.state.send_head(stream, head, false).unwrap();
    }
    for _ in 0..100 {
        // The first one always asks first, and for all that there is.
        for (stream, sent) in streams.into_iter().zip(&mut sent) {
            while let Poll::Ready(room) = both.state.poll_room(stream, &mut cx) {
                let room = room.unwrap();
                let content = vec![7; room].into();
                both.state.send_data(stream, content, false).unwrap();
                *sent += room;
            }
        }
        both.said();
    }
    let (least, most) = (sent.iter().min(), sent.iter().max());
    assert!(least.unwrap() * 10 > most.unwrap() * 9, "{sent:?}");
    // One that leaves with its turn holds up nobody.
    both.state.give_up(3, Reason::CANCEL);
    both.said();
    assert!(both.state.poll_room(5, &mut cx).is_ready());
}
