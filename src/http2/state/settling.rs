//! Takes what a peer says of the connection as a whole: SETTINGS, PING and GOAWAY.

use super::super::error::{Reason, Wrong};
use super::super::frame::{ACK, Frame, PING, SETTINGS};
use super::{ANY_STREAM, ENABLE_PUSH, FAREWELL, INITIAL_WINDOW_SIZE, NoTable, State};

/// The table of a peer that has said nothing of it (RFC 9113 §6.5.2).
const FIRST_TABLE: u32 = 4_096;

impl State {
    pub(super) fn take_settings(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        if frame.stream != 0 {
            return Err(Wrong::protocol("SETTINGS come on a stream"));
        }
        let wrong = Wrong::new(Reason::FRAME_SIZE_ERROR, "SETTINGS are of another length");
        if frame.has(ACK) {
            return payload.is_empty().then_some(()).ok_or(wrong);
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(wrong);
        }
        for [high, low, value @ ..] in settings {
            let setting = u16::from_be_bytes([*high, *low]);
            let value = u32::from_be_bytes(*value);
            self.set(setting, value)?;
            if let Some(server) = &mut self.server {
                server.set(setting, value)?;
            }
        }
        if let Some(server) = &self.server {
            server.settle();
        }
        self.out.push_frame(SETTINGS, ACK, 0, &[]);
        Ok(())
    }

    /// What matters to who never pushes, and refers to no table of its own.
    fn set(&mut self, setting: u16, value: u32) -> Result<(), Wrong> {
        const HEADER_TABLE_SIZE: u16 = 1;
        const MAX_FRAME_SIZE: u16 = 5;
        match setting {
            ENABLE_PUSH if value > 1 => Err(Wrong::protocol("ENABLE_PUSH is neither 0 nor 1")),
            MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                Err(Wrong::protocol("MAX_FRAME_SIZE is none"))
            }
            INITIAL_WINDOW_SIZE => self.set_window(value),
            HEADER_TABLE_SIZE if value < FIRST_TABLE && self.table == NoTable::Untold => {
                self.table = NoTable::Due;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn set_window(&mut self, bytes: u32) -> Result<(), Wrong> {
        if bytes > i32::MAX.unsigned_abs() {
            return Err(Wrong::new(
                Reason::FLOW_CONTROL_ERROR,
                "INITIAL_WINDOW_SIZE is none",
            ));
        }
        let more = i64::from(bytes) - i64::from(self.first_window);
        self.first_window = bytes;
        for stream in self.streams.values_mut() {
            stream.to.window.change(more)?;
            if let Some(waker) = stream.to.waker.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    pub(super) fn take_ping(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        if frame.stream != 0 {
            return Err(Wrong::protocol("PING comes on a stream"));
        }
        if payload.len() != FAREWELL.len() {
            return Err(Wrong::new(
                Reason::FRAME_SIZE_ERROR,
                "PING is of eight bytes",
            ));
        }
        if !frame.has(ACK) {
            self.out.push_frame(PING, ACK, 0, payload);
        } else if payload == FAREWELL {
            self.close_the_door();
        }
        Ok(())
    }

    pub(super) fn take_go_away(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Wrong> {
        if frame.stream != 0 {
            return Err(Wrong::protocol("GOAWAY comes on a stream"));
        }
        let Some(([last, reason], _)) = payload.as_chunks::<4>().0.split_first_chunk::<2>() else {
            let what = "GOAWAY is of eight bytes at least";
            return Err(Wrong::new(Reason::FRAME_SIZE_ERROR, what));
        };
        self.is_left = true;
        if self.is_asking() {
            let last = u32::from_be_bytes(*last) & ANY_STREAM;
            self.leave_above(last, Reason(u32::from_be_bytes(*reason)));
        }
        Ok(())
    }
}
