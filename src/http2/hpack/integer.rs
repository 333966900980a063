//! Numbers whose first bits share a byte with something else (RFC 7541 §5.1).

/// What is left of a block of fields.
#[derive(Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

/// The most bytes behind the first one: enough for any length that a block can have.
const MOST_BYTES: u32 = 4;

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number that begins in the last `bits` of `first`; none: it does not end, or is too large for anything.
    pub(super) fn number(&mut self, first: u8, bits: u32) -> Option<usize> {
        let most = (1_usize << bits) - 1;
        let begun = usize::from(first) & most;
        if begun < most {
            return Some(begun);
        }
        let mut number = begun;
        for at in 0..MOST_BYTES {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

/// Writes a number behind the bits that `first` has beside its last `bits`.
pub(super) fn write_number(first: u8, bits: u32, number: usize, block: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    let low = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let Some(mut rest) = number.checked_sub(most) else {
        return block.push(first | low(number));
    };
    block.push(first | low(most));
    while rest >= 0x80 {
        block.push(0x80 | low(rest & 0x7f));
        rest >>= 7;
    }
    block.push(low(rest));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7541 appendix C.1.
    #[test]
    fn the_examples_of_the_rfc_are_written_and_read() {
        for (bits, number, bytes) in [
            (5, 10, &[0b01010][..]),
            (5, 1337, &[0b11111, 0b1001_1010, 0b0000_1010]),
            (8, 42, &[42]),
        ] {
            let mut block = Vec::new();
            write_number(0, bits, number, &mut block);
            assert_eq!(block, bytes);
            let mut input = Input(&block[1..]);
            assert_eq!(input.number(block[0], bits), Some(number));
        }
    }

    #[test]
    fn a_number_that_does_not_end_is_none() {
        assert_eq!(Input(&[]).number(0x7f, 7), None);
        assert_eq!(Input(&[0xff]).number(0x7f, 7), None);
        assert_eq!(Input(&[0x80; 99]).number(0x7f, 7), None);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(number in 0..(1_usize << 27), bits in 4..8_u32) {
            let mut block = Vec::new();
            write_number(0, bits, number, &mut block);
            let mut input = Input(&block[1..]);
            prop_assert_eq!(input.number(block[0], bits), Some(number));
            prop_assert!(input.0.is_empty());
        }
    }
}
