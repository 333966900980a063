//! Flow control (RFC 9113 §5.2).

use super::error::{Reason, Wrong};

/// The largest window there is.
const LARGEST: i64 = (1 << 31) - 1;

/// The window of a connection before anything else is settled, and of its streams (RFC 9113 §6.9.2).
pub(super) const FIRST: u32 = 65_535;

/// What may be sent to a peer: less than nothing, where it has made its windows smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outbound(i64);

impl Outbound {
    pub(super) fn new(bytes: u32) -> Self {
        Self(i64::from(bytes))
    }

    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.0 -= i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// Changes it by so many bytes, if it stays a window.
    pub(super) fn change(&mut self, bytes: i64) -> Result<(), Wrong> {
        let changed = self.0 + bytes;
        if changed > LARGEST {
            return Err(Wrong::new(Reason::FLOW_CONTROL_ERROR, "a window overflows"));
        }
        self.0 = changed;
        Ok(())
    }
}

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    /// What it is granted at most.
    most: u32,
    /// What of it is left.
    left: u32,
    /// What was read, and is not granted again yet.
    read: u32,
}

impl Inbound {
    pub(super) fn new(most: u32) -> Self {
        Self {
            most,
            left: most,
            read: 0,
        }
    }

    /// Takes what has come, if it was granted.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Wrong> {
        let bytes = u32::try_from(bytes).ok();
        let left = bytes.and_then(|bytes| self.left.checked_sub(bytes));
        let wrong = Wrong::new(
            Reason::FLOW_CONTROL_ERROR,
            "more came than there is a window for",
        );
        self.left = left.ok_or(wrong)?;
        Ok(())
    }

    /// Notes what was read; what is to be granted for it now: not before it is half of what is left, so that this is seldom
    /// where much is, and soon where what nobody reads leaves little.
    pub(super) fn read(&mut self, bytes: usize) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.read = self.read.saturating_add(bytes).min(self.most - self.left);
        if self.read < self.left / 2 || self.read == 0 {
            return None;
        }
        self.left += self.read;
        Some(std::mem::take(&mut self.read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_granted_again_by_parts() {
        let mut window = Inbound::new(100);
        window.take(40).unwrap();
        assert_eq!(window.read(29), None);
        assert_eq!(window.read(11), Some(40));
        window.take(100).unwrap();
        assert!(window.take(1).is_err());
        assert_eq!(window.read(100), Some(100));
    }

    #[test]
    fn what_nobody_reads_does_not_hold_back_what_is_read() {
        let mut window = Inbound::new(100);
        window.take(95).unwrap();
        assert_eq!(window.read(2), Some(2));
        window.take(7).unwrap();
        assert_eq!(window.read(1), Some(1));
    }

    #[test]
    fn no_more_is_granted_than_came() {
        let mut window = Inbound::new(100);
        window.take(50).unwrap();
        assert_eq!(window.read(80), Some(50));
    }

    #[test]
    fn a_window_may_be_less_than_nothing_and_never_overflows() {
        let mut window = Outbound::new(10);
        window.change(-30).unwrap();
        assert_eq!(window.room(), 0);
        window.change(25).unwrap();
        assert_eq!(window.room(), 5);
        assert!(window.change(LARGEST - 4).is_err());
        window.change(LARGEST - 5).unwrap();
    }
}
