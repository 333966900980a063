//! What share of a family's addresses are of clients of whom nobody knows where they are.
//!
//! Pure. Counted as the family's ranges come, in order.

use super::ranges::Address;

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    share: f64,
    /// Where the range began that is being counted.
    since: Option<f64>,
}

impl Unplaced {
    /// A range begins here, and reaches to the next.
    pub(super) fn begins<A: Address>(&mut self, start: A, is_unplaced: bool) {
        let at = position(start);
        if let Some(since) = self.since.take() {
            self.share += at - since;
        }
        self.since = is_unplaced.then_some(at);
    }

    /// Of all addresses: the last range reaches to their end.
    pub(super) fn share(&self) -> f64 {
        self.share + self.since.map_or(0.0, |since| 1.0 - since)
    }
}

/// Where an address lies among those of its family, from 0 to 1, by its first 64 bits.
fn position<A: Address>(address: A) -> f64 {
    let aligned = address.wide() << (128 - u32::from(A::BITS));
    let word = |shift: u32| u32::try_from(aligned >> shift & u128::from(u32::MAX)).unwrap_or(0);
    (f64::from(word(96)) + f64::from(word(64)) / WORD) / WORD
}

/// Values of 32 bits.
const WORD: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_counts_to_where_the_next_begins_and_the_last_to_the_end() {
        let counted = |ranges: &[(u32, bool)]| {
            let mut unplaced = Unplaced::default();
            for (start, is_unplaced) in ranges {
                unplaced.begins(*start, *is_unplaced);
            }
            unplaced.share()
        };
        assert_eq!(counted(&[(0, false)]), 0.0);
        assert_eq!(counted(&[(0, true)]), 1.0);
        assert_eq!(counted(&[(0, true), (1 << 30, false)]), 0.25);
        assert_eq!(
            counted(&[(0, true), (1 << 30, true), (1 << 31, false)]),
            0.5
        );
        assert_eq!(counted(&[(0, false), (3 << 30, true)]), 0.25);
        let mut of_ipv6 = Unplaced::default();
        of_ipv6.begins(0_u128, true);
        of_ipv6.begins(0x2000_u128 << 112, false);
        of_ipv6.begins(0x4000_u128 << 112, true);
        assert_eq!(of_ipv6.share(), 0.875);
    }
}
