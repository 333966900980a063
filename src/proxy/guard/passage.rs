//! The requests of one connection, passed on to hyper's parser once they are judged.

use super::Refusal;
use super::pieces::{Pieces, Place};
use super::request::read_head;

/// The framing of what a client sends.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Guard {
    pieces: Pieces,
    /// Bytes that have not passed yet.
    held: Vec<u8>,
    /// How many requests' heads have passed.
    passed: u32,
    /// Whether an empty line came before the next request.
    has_empty_line: bool,
}

impl Guard {
    /// How many requests' heads have passed.
    pub(in crate::proxy) fn passed(&self) -> u32 {
        self.passed
    }

    /// Whether bytes of a head have come, and not yet all of it.
    pub(in crate::proxy) fn is_within_head(&self) -> bool {
        self.pieces.place == Place::Head && !self.held.is_empty()
    }

    /// Whether a message's body is under way.
    pub(in crate::proxy) fn is_within_body(&self) -> bool {
        self.pieces.place.is_within_body()
    }

    /// Whether nothing may be read before [`decide`](Self::decide) is called.
    pub(in crate::proxy) fn is_undecided(&self) -> bool {
        self.pieces.place == Place::Undecided
    }

    /// The request that asked for a WebSocket was answered.
    pub(in crate::proxy) fn decide(&mut self, is_tunnel: bool) {
        self.pieces.place = if is_tunnel { Place::Rest } else { Place::Head };
    }

    /// Whether bytes that came before the decision wait to be released.
    pub(in crate::proxy) fn has_more(&self) -> bool {
        self.pieces.is_unsearched() && !self.held.is_empty()
    }

    /// Judges bytes as they came. What was held before and may pass now goes to `out`, and of `bytes` as
    /// many pass after it as are told; the others are held until more has come.
    pub(in crate::proxy) fn sift(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> (usize, Result<(), Refusal>) {
        if self.held.is_empty() {
            let (passed, judged) = self.walk(bytes);
            let rest = bytes.get(passed..).unwrap_or_default();
            self.held.extend_from_slice(rest);
            (passed, judged)
        } else {
            self.held.extend_from_slice(bytes);
            (0, self.release(out))
        }
    }

    /// As [`sift`](Self::sift), with all that passes in `out`.
    pub(super) fn judge(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (passed, judged) = self.sift(bytes, out);
        out.extend_from_slice(bytes.get(..passed).unwrap_or_default());
        judged
    }

    /// Moves what is held and may pass to `out`.
    pub(in crate::proxy) fn release(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut held = std::mem::take(&mut self.held);
        let (passed, judged) = self.walk(&held);
        out.extend(held.drain(..passed));
        self.held = held;
        judged
    }

    /// Goes through whole pieces; returns how many bytes they are.
    fn walk(&mut self, bytes: &[u8]) -> (usize, Result<(), Refusal>) {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            let length = match self.pieces.next(rest) {
                Ok(Some(length)) => length,
                Ok(None) => return (passed, Ok(())),
                Err(refusal) => return (passed, Err(refusal)),
            };
            if let Err(refusal) = self.step(rest.get(..length).unwrap_or(rest)) {
                return (passed, Err(refusal));
            }
            passed += length;
        }
    }

    /// Moves on by a piece: a whole head, a line, or some of a body.
    fn step(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        if self.pieces.place != Place::Head {
            return self.pieces.pass(piece);
        }
        let place = if piece == b"\r\n" {
            self.empty_line()?;
            Place::Head
        } else {
            let place = read_head(piece)?;
            self.has_empty_line = false;
            self.passed = self.passed.wrapping_add(1);
            place
        };
        self.pieces.pass_head(place);
        Ok(())
    }

    /// RFC 9112 §2.2: an empty line before a request is ignored.
    fn empty_line(&mut self) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_empty_line, true) {
            return Err(Refusal::Malformed("empty lines instead of a request"));
        }
        Ok(())
    }
}
