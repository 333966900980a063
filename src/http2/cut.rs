//! Streams that were reset. What comes on them was on its way when they were (RFC 9113 §5.1); on others that are over nothing may
//! come.

use std::collections::VecDeque;

/// Streams that are remembered. Of those before, nobody knows how they ended.
const MOST_CUT: usize = 256;

/// The streams of a client that were reset by either side, or refused.
#[derive(Debug, Default)]
pub(super) struct Cut {
    streams: VecDeque<u32>,
    /// Up to this one, any may be among them.
    forgotten: u32,
}

impl Cut {
    pub(super) fn push(&mut self, stream: u32) {
        if self.streams.len() == MOST_CUT {
            let oldest = self.streams.pop_front().unwrap_or_default();
            self.forgotten = self.forgotten.max(oldest);
        }
        self.streams.push_back(stream);
    }

    /// Whether it may have been reset.
    pub(super) fn has(&self, stream: u32) -> bool {
        stream <= self.forgotten || self.streams.contains(&stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_streams_that_were_reset_long_ago_nobody_knows_which_they_were() {
        let mut cut = Cut::default();
        let most = u32::try_from(MOST_CUT).unwrap();
        (0..most).for_each(|number| cut.push(4 * number + 1));
        assert!(cut.has(1) && cut.has(5) && !cut.has(3));
        cut.push(4 * most + 1);
        cut.push(4 * most + 5);
        assert!(cut.has(3) && cut.has(5));
        assert!(!cut.has(7) && cut.has(9) && cut.has(4 * most + 5));
        assert_eq!(cut.streams.len(), MOST_CUT);
    }
}
