//! What a client's frames may cost: those that ask for work and bring nothing are counted.
//!
//! RFC 9113 §10.5 leaves it to the server which of PING, SETTINGS, PRIORITY, empty DATA, CONTINUATION, resets and the like
//! it calls a flood.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{Reason, Wrong};
use super::frame::{DATA, Frame, HEADERS, RST_STREAM, WINDOW_UPDATE};

/// Frames of a kind that may come at once.
const BURST: u32 = 2_000;

/// Frames of a kind that may come in a second, on and on.
const A_SECOND: u32 = 500;

/// What the reset of a request costs, whoever resets it: it may have made a connection to an origin.
const RESET: u32 = 2;

/// Frames that may be on their way of an answer that nobody waits for any more: its head and its trailers.
const LATE_FRAMES: u32 = 2;

/// WINDOW_UPDATEs that each piece of content pays for, and of how many bytes such a piece is at most: peers that acknowledge every frame, of the
/// stream and of the connection, send so many for a message of a few bytes, and those that grant what they have read as they read it some for
/// every few hundred.
const WINDOWS_A_PIECE: u32 = 2;
const PIECE: usize = 256;

pub(super) const FLOOD: Wrong = Wrong::new(Reason::ENHANCE_YOUR_CALM, "a flood of frames");

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

    /// Spends this much, if there is so much left; time has brought some back.
    fn spend(&mut self, cost: u32) -> Result<(), Wrong> {
        if self.left < cost {
            let now = Instant::now();
            let passed = now.duration_since(self.since).min(Duration::from_mins(1));
            let brought = passed.as_millis() * u128::from(A_SECOND) / 1000;
            self.earn(u32::try_from(brought).unwrap_or(BURST));
            self.since = now;
        }
        self.left = self.left.checked_sub(cost).ok_or(FLOOD)?;
        Ok(())
    }
}

/// What the frames of one connection have cost and brought.
#[derive(Debug)]
pub(super) struct Flood {
    /// For frames that only concern the connection; what is sent to the client pays for them.
    control: Allowance,
    /// For WINDOW_UPDATE that nothing has paid for.
    windows: Allowance,
    /// WINDOW_UPDATEs that frames of answers have paid for, whenever they come: a client that was busy acknowledges all at once.
    paid_windows: u32,
    /// Frames of streams that are over: they may have been on their way, and some say of each frame which they get that it is late.
    paid_late: u32,
}

impl Flood {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            control: Allowance::new(now),
            windows: Allowance::new(now),
            paid_windows: 0,
            paid_late: 0,
        }
    }

    /// Takes a frame of the peer, if it is still no flood. What HEADERS and RST_STREAM cost depends on their stream, and what DATA
    /// does on what it brings.
    pub(super) fn receive(&mut self, frame: Frame) -> Result<(), Wrong> {
        match frame.kind {
            HEADERS | RST_STREAM | DATA => Ok(()),
            WINDOW_UPDATE => match self.paid_windows.checked_sub(1) {
                Some(left) => {
                    self.paid_windows = left;
                    Ok(())
                }
                None => self.windows.spend(1),
            },
            _ => self.control.spend(1),
        }
    }

    /// Takes DATA that brings nothing.
    pub(super) fn bring_nothing(&mut self) -> Result<(), Wrong> {
        self.control.spend(1)
    }

    /// Takes a request that is reset, for what is wrong with it or by its client.
    pub(super) fn reset(&mut self) -> Result<(), Wrong> {
        self.control.spend(RESET)
    }

    /// Notes that nobody waits for an answer any more.
    pub(super) fn leave(&mut self) {
        self.paid_late = self.paid_late.saturating_add(LATE_FRAMES);
    }

    /// Takes a frame of a stream that is over.
    pub(super) fn late(&mut self) -> Result<(), Wrong> {
        match self.paid_late.checked_sub(1) {
            Some(left) => {
                self.paid_late = left;
                Ok(())
            }
            None => self.reset(),
        }
    }

    /// Notes that a frame with a head, or with content of so many bytes, goes to the peer.
    pub(super) fn send(&mut self, content: usize) {
        self.control.earn(1);
        self.paid_late = self.paid_late.saturating_add(1);
        let pieces = u32::try_from(content.div_ceil(PIECE)).unwrap_or(u32::MAX);
        let windows = pieces.saturating_mul(WINDOWS_A_PIECE);
        self.paid_windows = self.paid_windows.saturating_add(windows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::frame::{CONTINUATION, END_STREAM, PING, PRIORITY, SETTINGS};

    fn frame(kind: u8, flags: u8, length: usize) -> Frame {
        Frame {
            length,
            kind,
            flags,
            stream: 1,
        }
    }

    /// How many of these frames are bearable.
    #[track_caller]
    fn check_most(kind: u8, length: usize, most: u32) {
        let (mut flood, frame) = (Flood::new(), frame(kind, 0, length));
        for number in 0..most {
            assert_eq!(flood.receive(frame), Ok(()), "{number}");
        }
        assert_eq!(flood.receive(frame), Err(FLOOD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_bearable_and_one_more_is_a_flood() {
        check_most(PING, 8, BURST);
        check_most(SETTINGS, 0, BURST);
        check_most(PRIORITY, 5, BURST);
        check_most(CONTINUATION, 0, BURST);
        check_most(0x42, 1, BURST);
        check_most(WINDOW_UPDATE, 4, BURST);
        let mut flood = Flood::new();
        let nothing = (0..).take_while(|_| flood.bring_nothing().is_ok()).count();
        assert_eq!(u32::try_from(nothing).unwrap(), BURST);
        let mut flood = Flood::new();
        let resets = (0..).take_while(|_| flood.reset().is_ok()).count();
        assert_eq!(u32::try_from(resets).unwrap(), BURST / RESET);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_left_may_say_what_was_on_its_way() {
        let mut flood = Flood::new();
        (0..10 * BURST).for_each(|_| flood.leave());
        for number in 0..10 * BURST * LATE_FRAMES + BURST / RESET {
            assert!(flood.late().is_ok(), "{number}");
        }
        assert_eq!(flood.late(), Err(FLOOD));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_their_bodies_are_no_flood() {
        let mut flood = Flood::new();
        for _ in 0..10 * BURST {
            flood.receive(frame(HEADERS, 4, 20)).unwrap();
            flood.receive(frame(DATA, 0, 1)).unwrap();
            flood.receive(frame(DATA, END_STREAM, 0)).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_acknowledges_every_frame_of_an_answer_is_no_flood_however_small_they_are() {
        let mut flood = Flood::new();
        for _ in 0..10 * BURST {
            flood.send(5);
            flood.receive(frame(WINDOW_UPDATE, 0, 4)).unwrap();
            flood.receive(frame(WINDOW_UPDATE, 0, 4)).unwrap();
            flood.receive(frame(PING, 0, 8)).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_late_to_acknowledge_what_it_was_sent() {
        let mut flood = Flood::new();
        (0..10 * BURST).for_each(|_| flood.send(50));
        for number in 0..21 * BURST {
            assert!(
                flood.receive(frame(WINDOW_UPDATE, 0, 4)).is_ok(),
                "{number}"
            );
        }
        assert!(flood.receive(frame(WINDOW_UPDATE, 0, 4)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_256_bytes_of_content_pay_for_two_windows_and_an_empty_frame_for_none() {
        for (length, windows) in [(256, 3), (1, 3), (0, 1), (257, 5), (16_384, 129)] {
            let (mut flood, mut sent) = (Flood::new(), 0);
            let window = frame(WINDOW_UPDATE, 0, 4);
            while (0..windows).all(|_| flood.receive(window).is_ok()) {
                flood.send(length);
                sent += 1;
            }
            assert!(
                (BURST - windows..=BURST).contains(&sent),
                "{length}: {sent}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_pays_for_so_many_a_second() {
        let (mut flood, ping) = (Flood::new(), frame(PING, 0, 8));
        while flood.receive(ping).is_ok() {}
        tokio::time::advance(Duration::from_secs(1)).await;
        let more = (0..).take_while(|_| flood.receive(ping).is_ok()).count();
        assert_eq!(u32::try_from(more).unwrap(), A_SECOND);
    }
}
