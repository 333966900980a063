//! Any bytes are frames or the beginning of one, and their pieces make no difference; nor do they to what an origin announces, or
//! to what is left of its frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy::{what_frames_come, what_is_announced, what_is_sieved};

/// RFC 9113 §3.4.
const PREFACE: usize = 24;

/// The frames of RFC 9113 §4.1, read from all bytes at once.
fn frames(bytes: &[u8]) -> (Vec<(u8, u8, usize)>, bool) {
    let Some(mut rest) = bytes.get(PREFACE..) else {
        return (Vec::new(), true);
    };
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, payload @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames.push((*kind, *flags, length));
        match payload.get(length..) {
            Some(behind) => rest = behind,
            None => return (frames, true),
        }
    }
    (frames, !rest.is_empty())
}

fuzz_target!(|bytes: &[u8]| {
    let announced = what_is_announced(bytes, bytes.len());
    let left = what_is_sieved(bytes, PREFACE, bytes.len(), bytes.len());
    for piece in [1, 7, bytes.len()] {
        assert_eq!(what_frames_come(bytes, piece), frames(bytes));
        assert_eq!(what_is_announced(bytes, piece), announced);
        assert_eq!(what_is_sieved(bytes, PREFACE, piece, 5), left);
    }
});
