//! Signatures that were made for queries, kept for those who ask the same again.
//!
//! Bounded, without locks, and of memory that is there from the beginning: a signature has four places to choose from,
//! and what stands there gives way. Names that nobody asks for twice cost a signature each, as they would without this.

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};
use smallvec::SmallVec;

use super::super::random_key;
use super::key::Signature;
use super::signer::ToSign;

/// How many RRsets' signatures are kept at most: five megabytes.
const PLACES: usize = 32_768;

/// Signatures of an RRset: one, and two while an algorithm rolls over.
const MOST_KEPT: usize = 2;

/// Of a signature.
const SIGNATURE_WORDS: usize = size_of::<Signature>() / size_of::<u64>();

const TAG_WORDS: usize = 2;

/// The signatures of an RRset, in the order of the keys that make them.
pub(in crate::dns) type Made = SmallVec<[Signature; MOST_KEPT]>;

/// Signatures by what they are made of.
pub(in crate::dns) struct Memo {
    places: Box<[Place]>,
    /// With a key of its own: the names are the client's.
    hasher: SipHasher13,
}

/// What stands for all that signatures depend on. Whoever does not know the hasher's key finds no two RRsets with
/// the same 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Tag([u64; TAG_WORDS]);

/// A tag and its signatures, which one thread may write while others read: whoever reads sees by `turn` whether it has
/// read words of two.
#[derive(Default)]
struct Place {
    /// Odd while it is written; 0: nothing is there yet.
    turn: AtomicU64,
    tag: [AtomicU64; TAG_WORDS],
    count: AtomicU64,
    signatures: [[AtomicU64; SIGNATURE_WORDS]; MOST_KEPT],
}

impl Place {
    fn is_empty(&self) -> bool {
        self.turn.load(Ordering::Relaxed) == 0
    }

    fn read(&self, tag: Tag) -> Option<Made> {
        let turn = self.turn.load(Ordering::Acquire);
        if turn == 0 || turn % 2 == 1 || Tag(load(&self.tag)) != tag {
            return None;
        }
        let count = usize::try_from(self.count.load(Ordering::Relaxed)).ok()?;
        let signatures = self.signatures.iter().take(count);
        let made = signatures.map(|words| to_bytes(load(words))).collect();
        fence(Ordering::Acquire);
        (self.turn.load(Ordering::Relaxed) == turn).then_some(made)
    }

    /// Whoever comes while another writes leaves the place to it.
    fn write(&self, tag: Tag, made: &Made) {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn % 2 == 1 {
            return;
        }
        let mine = turn + 1;
        // Acquires what the writer before released, so that none of its words comes after one of these.
        let (taken, refused) = (Ordering::Acquire, Ordering::Relaxed);
        let taking = self.turn.compare_exchange(turn, mine, taken, refused);
        if taking.is_err() {
            return;
        }
        fence(Ordering::Release);
        store(&self.tag, tag.0);
        let count = u64::try_from(made.len()).unwrap_or_default();
        self.count.store(count, Ordering::Relaxed);
        for (words, signature) in self.signatures.iter().zip(made) {
            store(words, to_words(signature));
        }
        self.turn.store(mine + 1, Ordering::Release);
    }
}

fn load<const N: usize>(words: &[AtomicU64; N]) -> [u64; N] {
    words.each_ref().map(|word| word.load(Ordering::Relaxed))
}

fn store<const N: usize>(words: &[AtomicU64; N], values: [u64; N]) {
    for (word, value) in words.iter().zip(values) {
        word.store(value, Ordering::Relaxed);
    }
}

fn to_words(signature: &Signature) -> [u64; SIGNATURE_WORDS] {
    let mut words = [0; SIGNATURE_WORDS];
    for (word, eight) in words.iter_mut().zip(signature.as_chunks().0) {
        *word = u64::from_ne_bytes(*eight);
    }
    words
}

fn to_bytes(words: [u64; SIGNATURE_WORDS]) -> Signature {
    let mut signature = [0; size_of::<Signature>()];
    for (eight, word) in signature.as_chunks_mut().0.iter_mut().zip(words) {
        *eight = word.to_ne_bytes();
    }
    signature
}

impl Memo {
    /// With room for [`PLACES`], or for none where nothing is kept.
    pub(in crate::dns) fn new(is_used: bool) -> Self {
        let places = if is_used { PLACES } else { 0 };
        Self {
            places: std::iter::repeat_with(Place::default)
                .take(places)
                .collect(),
            hasher: SipHasher13::new_with_key(&random_key()),
        }
    }

    /// The tag of an RRset, of a zone whose name is the last `apex_length` bytes of the owner.
    pub(in crate::dns) fn tag(&self, set: ToSign<'_>, apex_length: usize, rdata: &[&[u8]]) -> Tag {
        // Names and data are no longer (RFC 1035 §3.1, §3.2.1).
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        let [zone, rtype] = [short(apex_length), set.rtype].map(u64::from);
        let mut hasher = self.hasher;
        hasher.write_u64(zone << 48 | rtype << 32 | u64::from(set.original_ttl));
        // A name says itself where it ends.
        hasher.write(set.owner);
        for data in rdata {
            hasher.write_u16(short(data.len()));
            hasher.write(data);
        }
        let Hash128 { h1, h2 } = hasher.finish128();
        Tag([h1, h2])
    }

    /// The signatures of an RRset, made by `sign` unless they are known; `None` if they cannot be made. The tag is
    /// of all that they depend on.
    pub(in crate::dns) fn signatures(
        &self,
        tag: Tag,
        sign: impl FnOnce() -> Option<Made>,
    ) -> Option<Made> {
        let places = || self.places_of(tag);
        if let Some(made) = places().find_map(|place| place.read(tag)) {
            return Some(made);
        }
        let made = sign()?;
        let free = places().find(|place| place.is_empty());
        let place = free.or_else(|| places().next());
        if let Some(place) = place.filter(|_| made.len() <= MOST_KEPT) {
            place.write(tag, &made);
        }
        Some(made)
    }

    /// How many are kept.
    #[cfg(test)]
    pub(in crate::dns) fn len(&self) -> usize {
        let kept = self.places.iter().filter(|place| !place.is_empty());
        kept.count()
    }

    /// Four of them: while a half of all is taken, all four are for one tag in sixteen.
    fn places_of(&self, tag: Tag) -> impl Iterator<Item = &Place> {
        let [[a, b], [c, d]] = tag.0.map(|half| [half, half >> 32]);
        [a, b, c, d].into_iter().filter_map(|part| {
            let part = usize::try_from(part & u64::from(u32::MAX)).ok()?;
            self.places.get(part.checked_rem(self.places.len())?)
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
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn signed(byte: u8) -> Made {
        SmallVec::from_elem([byte; 64], 1)
    }

    fn set(rtype: u16, original_ttl: u32) -> ToSign<'static> {
        ToSign {
            owner: b"\x01a\x00",
            rtype,
            original_ttl,
        }
    }

    fn tag(memo: &Memo, of: &[u8]) -> Tag {
        memo.tag(set(1, 60), 1, &[of])
    }

    fn ask(memo: &Memo, of: &[u8], sign: Made) -> Made {
        memo.signatures(tag(memo, of), || Some(sign)).unwrap()
    }

    #[test]
    fn what_was_signed_is_not_signed_again() {
        let memo = Memo::new(true);
        assert_eq!(ask(&memo, b"a", signed(1)), signed(1));
        assert_eq!(ask(&memo, b"a", signed(2)), signed(1));
        assert_eq!(ask(&memo, b"b", signed(3)), signed(3));
        let two: Made = [signed(4), signed(5)].concat().into();
        assert_eq!(ask(&memo, b"c", two.clone()), two);
        assert_eq!(ask(&memo, b"c", signed(6)), two);
    }

    #[test]
    fn what_cannot_be_signed_is_tried_again() {
        let memo = Memo::new(true);
        assert_eq!(memo.signatures(tag(&memo, b"a"), || None), None);
        assert_eq!(ask(&memo, b"a", signed(1)), signed(1));
    }

    #[test]
    fn two_signatures_are_kept_and_three_are_made_each_time() {
        let memo = Memo::new(true);
        for (count, expected) in [(2, 1), (3, 2)] {
            let made = |byte| SmallVec::from_elem([byte; 64], count);
            let of = [u8::try_from(count).unwrap()];
            assert_eq!(ask(&memo, &of, made(1)), made(1));
            assert_eq!(ask(&memo, &of, made(2)), made(expected));
        }
    }

    #[test]
    fn whatever_signatures_depend_on_makes_another_tag() {
        let memo = Memo::new(false);
        let (usual, data): (_, [&[u8]; 2]) = (set(1, 60), [b"ab", b"c"]);
        let tag = memo.tag(usual, 1, &data);
        assert_eq!(tag, memo.tag(usual, 1, &data));
        let owner = ToSign {
            owner: b"\x01b\x00",
            ..usual
        };
        let others = [
            memo.tag(owner, 1, &data),
            memo.tag(set(2, 60), 1, &data),
            memo.tag(set(1, 61), 1, &data),
            memo.tag(usual, 3, &data),
            memo.tag(usual, 1, &[b"a", b"bc"]),
            memo.tag(usual, 1, &[b"abc"]),
            memo.tag(usual, 1, &[b"abc", b""]),
            Memo::new(false).tag(usual, 1, &data),
        ];
        for (index, other) in others.into_iter().enumerate() {
            assert_ne!(other, tag, "{index}");
            assert!(!others.get(..index).unwrap().contains(&other), "{index}");
        }
    }

    #[test]
    fn more_than_there_are_places_is_answered_rightly_all_the_same() {
        let memo = Memo::new(true);
        for round in 0..2 {
            for number in 0..u32::try_from(PLACES).unwrap() * 2 {
                let of = number.to_be_bytes();
                let expected: Made = SmallVec::from_elem([of; 16].concat().try_into().unwrap(), 1);
                assert_eq!(
                    ask(&memo, &of, expected.clone()),
                    expected,
                    "in round {round}"
                );
            }
        }
        assert!(memo.len() > PLACES * 9 / 10);
    }

    #[test]
    fn while_there_is_room_hardly_anything_is_signed_twice() {
        let memo = Memo::new(true);
        let mut signed = 0;
        for _ in 0..2 {
            for number in 0..u32::try_from(PLACES).unwrap() / 5 {
                memo.signatures(tag(&memo, &number.to_be_bytes()), || {
                    signed += 1;
                    Some(Made::new())
                });
            }
        }
        let again = signed - PLACES / 5;
        assert!(again <= 20, "{again} of {} in the second round", PLACES / 5);
    }

    #[test]
    fn nobody_reads_half_of_one_and_half_of_another() {
        let place = Place::default();
        let is_over = AtomicBool::new(false);
        let tag = |number: u8| Tag([number.into(); 2]);
        std::thread::scope(|scope| {
            for writer in [1_u8, 2] {
                let (place, is_over) = (&place, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        place.write(tag(writer), &signed(writer));
                    }
                });
            }
            let mut seen = [0_u32; 2];
            while seen.iter().any(|count| *count < 1_000) {
                for (reader, count) in [1_u8, 2].into_iter().zip(&mut seen) {
                    if let Some(made) = place.read(tag(reader)) {
                        assert_eq!(made, signed(reader));
                        *count += 1;
                    }
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn without_signed_zones_there_is_no_room_and_no_need() {
        let memo = Memo::new(false);
        assert_eq!(ask(&memo, b"a", signed(1)), signed(1));
        assert_eq!(ask(&memo, b"a", signed(2)), signed(2));
    }
}
