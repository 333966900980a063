//! Chance and hashing, both given from outside: draws, weighted orders and rendezvous hashing.

/// A number that stands for chance: random for a new client, the client's own where it must be stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(pub u64);

/// A hash that every edge and every version computes alike (FNV-1a, 64 bits, then mixed).
pub fn stable_hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// Spreads every bit of the input over all of the output (the finaliser of SplitMix64).
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What a draw makes of one candidate: independent between candidates, stable for each.
pub(super) fn score(draw: Draw, candidate: u64) -> u64 {
    mix(draw.0 ^ candidate.rotate_left(32))
}

/// How long a candidate of this weight takes to "arrive": exponential with rate `weight`, so that
/// the first to arrive is drawn in proportion to the weights and removing one moves only its share
/// (weighted rendezvous hashing). Weight 0 never arrives.
pub(super) fn arrival(draw: Draw, candidate: u64, weight: u32) -> f64 {
    let high = u32::try_from(score(draw, candidate) >> 32).unwrap_or(u32::MAX);
    let uniform = (f64::from(high) + 0.5) / 4_294_967_296.0;
    -uniform.ln() / f64::from(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let candidates = [
            (stable_hash("a"), 3),
            (stable_hash("b"), 1),
            (stable_hash("c"), 0),
        ];
        let mut firsts = [0_u32; 3];
        for i in 0..40_000 {
            let draw = Draw(mix(i));
            let first = (0..3)
                .min_by(|x, y| {
                    let at = |i: usize| arrival(draw, candidates[i].0, candidates[i].1);
                    at(*x).total_cmp(&at(*y))
                })
                .unwrap();
            firsts[first] += 1;
        }
        assert!((29_400..30_600).contains(&firsts[0]), "{firsts:?}");
        assert_eq!(firsts[2], 0);
    }

    #[test]
    fn a_hash_is_the_same_on_every_edge() {
        assert_eq!(stable_hash("us-east-1"), stable_hash("us-east-1"));
        assert_ne!(stable_hash("us-east-1"), stable_hash("us-east-2"));
    }
}
