//! What an HTTP/2 client's frames may cost: those that ask for work and bring nothing are counted. Pure.
//!
//! The h2 crate bounds what a connection may hold: heads, CONTINUATION frames, streams that were reset before
//! they were taken. It takes PING, SETTINGS, PRIORITY, empty DATA, small WINDOW_UPDATE and resets of streams
//! that were taken for as long as they come. RFC 9113 §10.5 leaves it to the server to call that a flood.

use std::time::Duration;

use tokio::time::Instant;

use super::framing::{
    CONTINUATION, DATA, END_HEADERS, Frame, HEAD, HEADERS, PREFACE, RST_STREAM, WINDOW_UPDATE,
};

/// Frames of a kind that may come at once.
const BURST: u32 = 2_000;

/// Frames of a kind that may come in a second, on and on.
const A_SECOND: u32 = 500;

/// What the reset of a request costs: it may have made a connection to an origin.
const RESET: u32 = 2;

/// WINDOW_UPDATEs that a frame of an answer's body pays for: clients that acknowledge every frame, of the stream and of
/// the connection, send so many for a message of a few bytes.
const WINDOWS_A_FRAME: u32 = 2;

/// Walks over the bytes of one direction from frame to frame.
#[derive(Debug, Default)]
struct Walk {
    /// Bytes of a payload that are still to come.
    skip: usize,
    head: [u8; HEAD],
    /// How much of `head` has come.
    have: usize,
}

impl Walk {
    /// Over what a client says, whose frames begin behind its preface.
    fn of_client() -> Self {
        Self {
            skip: PREFACE,
            ..Self::default()
        }
    }

    fn over(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while let Some(byte) = bytes.first() {
            if self.skip > 0 {
                let length = bytes.len().min(self.skip);
                self.skip -= length;
                bytes = bytes.get(length..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
                self.have += 1;
                bytes = bytes.get(1..).unwrap_or_default();
            }
            if self.have == HEAD {
                let frame = Frame::of(self.head);
                (self.have, self.skip) = (0, frame.length);
                each(frame);
            }
        }
    }

    /// Of the frame whose payload is passing.
    fn kind(&self) -> u8 {
        Frame::of(self.head).kind
    }

    fn is_between_frames(&self) -> bool {
        self.skip == 0 && self.have == 0
    }
}

/// Frames that may still come.
#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            since: now,
        }
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(BURST);
    }

    /// Whether there is this much left; time has brought some back.
    fn spend(&mut self, cost: u32) -> bool {
        if self.left < cost {
            let now = Instant::now();
            let passed = now.duration_since(self.since).min(Duration::from_mins(1));
            let brought = passed.as_millis() * u128::from(A_SECOND) / 1000;
            self.earn(u32::try_from(brought).unwrap_or(BURST));
            self.since = now;
        }
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

/// The frames of one connection, both ways.
#[derive(Debug)]
pub(super) struct Frames {
    from_client: Walk,
    to_client: Walk,
    /// For frames that only concern the connection; what is sent to the client pays for them.
    control: Allowance,
    /// For WINDOW_UPDATE that nothing has paid for.
    windows: Allowance,
    /// WINDOW_UPDATEs that frames of answers have paid for, whenever they come: a client that was busy acknowledges all at once.
    paid_windows: u32,
    /// Whether a head goes on in a CONTINUATION.
    is_head_open: bool,
    /// Frames of the client that begin something: all but CONTINUATION.
    begun: u32,
}

impl Frames {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            from_client: Walk::of_client(),
            to_client: Walk::default(),
            control: Allowance::new(now),
            windows: Allowance::new(now),
            paid_windows: 0,
            is_head_open: false,
            begun: 0,
        }
    }

    /// Which frame of the client is still to come, if it is one that should come whole: the preface, a
    /// head (RFC 9113 §4.3), or any other that is no DATA. A number of its own for each.
    pub(super) fn unfinished(&self) -> Option<u32> {
        let client = &self.from_client;
        let is_data = self.begun > 0 && client.have == 0 && client.kind() == DATA;
        let is_arriving = !client.is_between_frames() && !is_data;
        (self.is_head_open || is_arriving).then_some(self.begun)
    }

    /// Takes what came from the client; whether it is still no flood.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> bool {
        let (mut is_bearable, control, windows) = (true, &mut self.control, &mut self.windows);
        let (is_head_open, begun) = (&mut self.is_head_open, &mut self.begun);
        let paid_windows = &mut self.paid_windows;
        self.from_client.over(bytes, |frame| {
            if matches!(frame.kind, HEADERS | CONTINUATION) {
                *is_head_open = frame.flags & END_HEADERS == 0;
            }
            *begun = begun.wrapping_add(u32::from(frame.kind != CONTINUATION));
            is_bearable &= match frame.kind {
                HEADERS => true,
                DATA => !frame.may_be_padding_alone() || control.spend(1),
                RST_STREAM => control.spend(RESET),
                WINDOW_UPDATE => match paid_windows.checked_sub(1) {
                    Some(left) => {
                        *paid_windows = left;
                        true
                    }
                    None => windows.spend(1),
                },
                _ => control.spend(1),
            };
        });
        is_bearable
    }

    /// Takes what went to the client.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let (control, paid_windows) = (&mut self.control, &mut self.paid_windows);
        self.to_client.over(bytes, |frame| match frame.kind {
            HEADERS => control.earn(1),
            DATA => {
                control.earn(1);
                if frame.length > 0 {
                    *paid_windows = paid_windows.saturating_add(WINDOWS_A_FRAME);
                }
            }
            _ => {}
        });
    }

    /// Whether a frame may be written to the client now.
    pub(super) fn is_between_frames(&self) -> bool {
        self.to_client.is_between_frames()
    }
}

/// The kind, flags and length of each frame in a client's bytes that come in pieces of this size, and whether another is
/// begun. For fuzzing.
pub fn what_frames_come(bytes: &[u8], piece: usize) -> (Vec<(u8, u8, usize)>, bool) {
    let (mut walk, mut come) = (Walk::of_client(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        walk.over(piece, |frame| {
            come.push((frame.kind, frame.flags, frame.length))
        });
    }
    (come, !walk.is_between_frames())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::framing::END_STREAM;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: u32) -> Vec<u8> {
        let [_, high, middle, low] = length.to_be_bytes();
        let mut bytes = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![0; usize::try_from(length).unwrap()]);
        bytes
    }

    fn client() -> Frames {
        let mut frames = Frames::new();
        assert!(frames.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        frames
    }

    /// How many of these frames are bearable.
    #[track_caller]
    fn check_most(kind: u8, length: u32, most: u32) {
        let (mut frames, bytes) = (client(), frame(kind, 0, length));
        for number in 0..most {
            assert!(frames.receive(&bytes), "{number}");
        }
        assert!(!frames.receive(&bytes));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_bearable_and_one_more_is_a_flood() {
        check_most(DATA, 0, BURST);
        check_most(PING, 8, BURST);
        check_most(4, 0, BURST);
        check_most(2, 5, BURST);
        check_most(0x42, 1, BURST);
        check_most(WINDOW_UPDATE, 4, BURST);
        check_most(RST_STREAM, 4, BURST / RESET);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_their_bodies_are_no_flood() {
        let mut frames = client();
        for _ in 0..10 * BURST {
            assert!(frames.receive(&frame(HEADERS, 4, 20)));
            assert!(frames.receive(&frame(DATA, 0, 1)));
            assert!(frames.receive(&frame(DATA, END_STREAM, 0)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_acknowledges_every_frame_of_an_answer_is_no_flood_however_small_they_are() {
        let mut frames = client();
        for number in 0..10 * BURST {
            frames.send(&frame(DATA, 0, 5 + number % 100));
            assert!(frames.receive(&frame(WINDOW_UPDATE, 0, 4)));
            assert!(frames.receive(&frame(WINDOW_UPDATE, 0, 4)));
            assert!(frames.receive(&frame(PING, 0, 8)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_late_to_acknowledge_what_it_was_sent() {
        let mut frames = client();
        for _ in 0..10 * BURST {
            frames.send(&frame(DATA, 0, 50));
        }
        for number in 0..21 * BURST {
            assert!(frames.receive(&frame(WINDOW_UPDATE, 0, 4)), "{number}");
        }
        assert!(!frames.receive(&frame(WINDOW_UPDATE, 0, 4)));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_an_answer_pay_for_two_windows_each_and_for_none_if_they_are_empty() {
        for (length, windows, most) in [(64, 3, BURST), (1, 3, BURST), (0, 1, BURST)] {
            let (mut frames, mut sent) = (client(), 0);
            let acknowledged = frame(WINDOW_UPDATE, 0, 4).repeat(windows);
            while frames.receive(&acknowledged) {
                frames.send(&frame(DATA, 0, length));
                sent += 1;
            }
            assert!((most - 2..=most).contains(&sent), "{length}: {sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_pays_for_so_many_a_second() {
        let (mut frames, ping) = (client(), frame(PING, 0, 8));
        while frames.receive(&ping) {}
        tokio::time::advance(Duration::from_secs(1)).await;
        let more = (0..).take_while(|_| frames.receive(&ping)).count();
        assert_eq!(u32::try_from(more).unwrap(), A_SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_make_no_difference() {
        let (ping, all) = (frame(PING, 0, 8), frame(PING, 0, 8).repeat(2_000));
        for size in [1, 5, 13, all.len()] {
            let mut frames = client();
            assert!(
                all.chunks(size).all(|piece| frames.receive(piece)),
                "{size}"
            );
            assert!(
                !ping.chunks(size).all(|piece| frames.receive(piece)),
                "{size}"
            );
        }
    }
}
