//! Which streams ended with a block of fields that is longer than trailers may be.
//!
//! Of fields that come to more than [`LARGEST_HEAD`](super::LARGEST_HEAD) the h2 crate leaves out what is beyond, and says so
//! of heads alone. What it leaves out of trailers, their block tells: a field that is not among those is in the block
//! itself, at five bits a byte or more (RFC 7541 appendix B), or in the table, whose entries are of at most 4 KiB. So
//! trailers of which something was left out have either more than [`LONGEST_TRAILERS`] left, or a longer block.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use crate::proxy::guard::{LONGEST_TRAILERS, PARSED_FIELDS};

/// What RFC 9113 §6.5.2 counts for each field beside its text.
const OVERHEAD: usize = 32;

/// Streams that are told apart; beyond that all of the connection count as such.
const MOST_NOTED: usize = 64;

/// Noted where a connection's frames pass, asked where its trailers are read.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct LongBlocks(Arc<Mutex<Vec<u32>>>);

impl LongBlocks {
    pub(in crate::proxy) fn note(&self, stream: u32) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() <= MOST_NOTED {
            noted.push(stream);
        }
    }

    pub(in crate::proxy) fn have(&self, stream: u32) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.len() > MOST_NOTED || noted.contains(&stream)
    }

    /// Whether these trailers of a stream are too long, or may lack something because they were.
    pub(super) fn are_too_long(&self, trailers: &HeaderMap, stream: u32) -> bool {
        let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            name.as_str().len() + value.len() + OVERHEAD
        };
        trailers.len() > PARSED_FIELDS
            || trailers.iter().map(size).sum::<usize>() > LONGEST_TRAILERS
            || self.have(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_64_streams_with_long_blocks_all_trailers_of_a_connection_are_too_long() {
        let (blocks, none) = (LongBlocks::default(), HeaderMap::new());
        for stream in (1..).step_by(2).take(MOST_NOTED) {
            blocks.note(stream);
            assert!(blocks.are_too_long(&none, stream));
        }
        assert!(!blocks.are_too_long(&none, 999));
        blocks.note(201);
        assert!(blocks.are_too_long(&none, 999));
    }
}
