//! Huffman's code of RFC 7541 appendix B.
//!
//! It is canonical: among codes of one length the order is that of their symbols, and longer ones follow shorter ones. So
//! the lengths alone tell all of it.

/// Bits of each symbol's code; the last one is the end of the string, which none may have.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const END: u16 = 256;

/// The longest code, bits.
const LONGEST: usize = 30;

/// Bits that tell most symbols at once.
const SHORT: u32 = 8;

struct Code {
    /// By the next eight bits: a symbol whose code they begin with, and its length; zero: it is longer.
    short: [(u8, u8); 1 << SHORT],
    /// By length: the first code of it, how many there are, and where their symbols begin.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    begin: [u32; LONGEST + 1],
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
}

static CODE: Code = Code::new();

impl Code {
    #[expect(
        clippy::indexing_slicing,
        clippy::as_conversions,
        reason = "computed by the compiler, which a wrong index would stop"
    )]
    const fn new() -> Self {
        let mut code = Self {
            short: [(0, 0); 1 << SHORT],
            first: [0; LONGEST + 1],
            count: [0; LONGEST + 1],
            begin: [0; LONGEST + 1],
            symbols: [0; 257],
        };
        let (mut next, mut placed, mut length) = (0_u32, 0, 1);
        while length <= LONGEST {
            next <<= 1;
            code.first[length] = next;
            code.begin[length] = placed as u32;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[placed] = symbol as u16;
                    if length <= SHORT as usize {
                        let spare = SHORT as usize - length;
                        let mut at = (next as usize) << spare;
                        while at < (next as usize + 1) << spare {
                            code.short[at] = (symbol as u8, length as u8);
                            at += 1;
                        }
                    }
                    (next, placed) = (next + 1, placed + 1);
                    code.count[length] += 1;
                }
                symbol += 1;
            }
            length += 1;
        }
        code
    }

    /// The symbol whose code the bits begin with, of which the first is the highest, and its length.
    fn symbol(&self, bits: u64) -> Option<(u16, u32)> {
        let next = usize::try_from(bits >> (64 - SHORT)).ok()?;
        let (symbol, length) = self.short.get(next)?;
        if *length > 0 {
            return Some((u16::from(*symbol), u32::from(*length)));
        }
        let lengths = SHORT + 1..=u32::try_from(LONGEST).unwrap_or_default();
        lengths.into_iter().find_map(|length| {
            let code = u32::try_from(bits >> (64 - length)).ok()?;
            let of = usize::try_from(length).ok()?;
            let nth = code.checked_sub(*self.first.get(of)?)?;
            let nth = (nth < *self.count.get(of)?).then_some(nth)?;
            let at = usize::try_from(self.begin.get(of)? + nth).ok()?;
            Some((*self.symbols.get(at)?, length))
        })
    }
}

/// Adds what a string says to `text`; none: it is not of this code (RFC 7541 §5.2).
pub(super) fn decode(string: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut have, mut rest) = (0_u64, 0_u32, string);
    loop {
        while have <= 56
            && let Some((byte, behind)) = rest.split_first()
        {
            bits |= u64::from(*byte) << (56 - have);
            (have, rest) = (have + 8, behind);
        }
        // What is no whole symbol at the end is fewer than eight bits of the code of the end, which are ones.
        if have < 8 && bits == !(u64::MAX >> have) {
            return Some(());
        }
        let (symbol, length) = CODE.symbol(bits)?;
        if length > have || symbol == END {
            return None;
        }
        text.push(u8::try_from(symbol).ok()?);
        (bits, have) = (bits << length, have - length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut bytes, mut bits, mut have) = (Vec::new(), 0_u64, 0);
        for symbol in text {
            let length = usize::from(LENGTHS[usize::from(*symbol)]);
            let ordered = CODE.symbols.iter();
            let of_length =
                ordered.filter(|symbol| usize::from(LENGTHS[usize::from(**symbol)]) == length);
            let nth = of_length
                .take_while(|other| **other != u16::from(*symbol))
                .count();
            bits = bits << length | (u64::from(CODE.first[length]) + u64::try_from(nth).unwrap());
            have += length;
            while have >= 8 {
                have -= 8;
                bytes.push(u8::try_from(bits >> have & 0xff).unwrap());
            }
        }
        if have > 0 {
            let padded = bits << (8 - have) | (0xff >> have);
            bytes.push(u8::try_from(padded & 0xff).unwrap());
        }
        bytes
    }

    fn decoded(string: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(string, &mut text)?;
        Some(text)
    }

    /// RFC 7541 appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let examples: [(&str, &[u8]); 4] = [
            (
                "www.example.com",
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ],
            ),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            (
                "custom-key",
                &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f],
            ),
            ("307", &[0x64, 0x0e, 0xff]),
        ];
        for (text, string) in examples {
            assert_eq!(decoded(string).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), string);
        }
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn padding_is_fewer_than_eight_ones_and_nothing_else() {
        assert_eq!(decoded(&[0x1f]).unwrap(), b"a", "three ones behind 00011");
        assert_eq!(decoded(&[0x18]), None, "zeros");
        assert_eq!(decoded(&[0x1f, 0xff]), None, "eleven ones");
        assert_eq!(decoded(&[0xff]), None, "eight ones");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None, "the end itself");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)).unwrap(), text);
        }

        #[test]
        fn what_is_read_is_written_in_one_way_only(string in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(text) = decoded(&string) {
                prop_assert_eq!(encode(&text), string);
            }
        }
    }
}
