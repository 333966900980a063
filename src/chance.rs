//! The one place that makes random numbers; the pure rooms are given draws.

/// Uniform over all 64-bit numbers: a client's draw, a session's number.
pub fn draw() -> u64 {
    fastrand::u64(..)
}

/// Uniform from 0 to 1: jitter.
pub fn uniform() -> f64 {
    fastrand::f64()
}

/// Uniform over the numbers below one that is not zero: a place among so many.
pub fn below(bound: usize) -> usize {
    fastrand::usize(..bound)
}

/// Sixteen random bytes as a W3C trace id or a request id has them: not all zero.
pub fn id_128() -> u128 {
    fastrand::u128(1..)
}

/// Eight random bytes as a W3C parent id has them: not all zero.
pub fn id_64() -> u64 {
    fastrand::u64(1..)
}

/// Whether as many coins all fall on their heads.
pub fn halves(coins: u32) -> bool {
    coins < u64::BITS && draw().trailing_zeros() >= coins
}
