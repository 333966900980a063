//! Signatures that were made for queries, kept for those who ask the same again.
//!
//! Bounded and without locks: a signature has two places to choose from, and what stands there gives
//! way. Names that nobody asks for twice cost a signature each, as they would without this.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// How many signatures are kept: some ten megabytes if all are of long names.
const PLACES: usize = 32_768;

/// What is longer is signed anew each time.
pub(in crate::dns) const LONGEST_KEPT: usize = 1_024;

/// Signatures by what they are made of.
pub(in crate::dns) struct Memo {
    places: Box<[ArcSwapOption<Kept>]>,
    /// With a key of its own: the names are the client's.
    hasher: RandomState,
}

/// RRSIG RDATA of an RRset.
#[derive(Debug)]
pub(in crate::dns) struct Kept {
    of: Box<[u8]>,
    pub(in crate::dns) rrsigs: Vec<Vec<u8>>,
}

impl Memo {
    /// With room for [`PLACES`], or for none where nothing is signed.
    pub(in crate::dns) fn new(is_used: bool) -> Self {
        let places = if is_used { PLACES } else { 0 };
        Self {
            places: std::iter::repeat_with(ArcSwapOption::empty)
                .take(places)
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// The signatures of an RRset, made by `sign` unless they are known. `of` is all that they
    /// depend on.
    pub(in crate::dns) fn signatures(
        &self,
        of: &[u8],
        sign: impl FnOnce() -> Vec<Vec<u8>>,
    ) -> Arc<Kept> {
        let places = if of.len() <= LONGEST_KEPT {
            self.places_of(of)
        } else {
            [None, None]
        };
        for place in places.into_iter().flatten() {
            let kept = place.load();
            if let Some(kept) = &*kept
                && *kept.of == *of
            {
                return Arc::clone(kept);
            }
        }
        let kept = Arc::new(Kept {
            of: of.into(),
            rrsigs: sign(),
        });
        let [first, second] = places;
        let free = second.filter(|place| place.load().is_none());
        if let Some(place) = free.or(first) {
            place.store(Some(Arc::clone(&kept)));
        }
        kept
    }

    /// How many are kept.
    #[cfg(test)]
    pub(in crate::dns) fn len(&self) -> usize {
        let kept = self.places.iter().filter(|place| place.load().is_some());
        kept.count()
    }

    fn places_of(&self, of: &[u8]) -> [Option<&ArcSwapOption<Kept>>; 2] {
        let [a, b, c, d, e, f, g, h] = self.hasher.hash_one(of).to_ne_bytes();
        [[a, b, c, d], [e, f, g, h]].map(|half| {
            let half = usize::try_from(u32::from_ne_bytes(half)).ok()?;
            self.places.get(half.checked_rem(self.places.len())?)
        })
    }
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = self.places.len();
        f.debug_struct("Memo").field("places", &places).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(byte: u8) -> Vec<Vec<u8>> {
        vec![vec![byte]]
    }

    #[test]
    fn what_was_signed_is_not_signed_again() {
        let memo = Memo::new(true);
        assert_eq!(memo.signatures(b"a", || signed(1)).rrsigs, signed(1));
        assert_eq!(memo.signatures(b"a", || signed(2)).rrsigs, signed(1));
        assert_eq!(memo.signatures(b"b", || signed(3)).rrsigs, signed(3));
    }

    #[test]
    fn what_is_too_long_is_signed_each_time() {
        let memo = Memo::new(true);
        for (length, expected) in [(LONGEST_KEPT, 1), (LONGEST_KEPT + 1, 2)] {
            let of = vec![0; length];
            memo.signatures(&of, || signed(1));
            assert_eq!(memo.signatures(&of, || signed(2)).rrsigs, signed(expected));
        }
    }

    #[test]
    fn more_than_there_are_places_is_answered_rightly_all_the_same() {
        let memo = Memo::new(true);
        for round in 0..2 {
            for number in 0..u32::try_from(PLACES).unwrap() * 2 {
                let of = number.to_be_bytes();
                let expected = vec![of.to_vec()];
                let kept = memo.signatures(&of, || expected.clone());
                assert_eq!(kept.rrsigs, expected, "in round {round}");
            }
        }
    }

    #[test]
    fn without_signed_zones_there_is_no_room_and_no_need() {
        let memo = Memo::new(false);
        assert_eq!(memo.signatures(b"a", || signed(1)).rrsigs, signed(1));
    }
}
