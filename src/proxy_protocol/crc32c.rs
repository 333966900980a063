//! CRC32c (RFC 9260, Appendix A): a few dozen bytes once a connection, so bit by bit.

/// Castagnoli's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What stands in the place of a checksum while it is computed.
pub(super) const ZERO: [u8; 4] = [0; 4];

/// Of the parts as if they were one.
pub(super) fn crc32c<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            let mask = (crc & 1).wrapping_neg();
            (crc >> 1) ^ (POLYNOMIAL & mask)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, Appendix B.4, and the check value of the catalog of CRCs.
    #[test]
    fn known_sums_come_out() {
        assert_eq!(crc32c([&b"123456789"[..]]), 0xe306_9283);
        assert_eq!(crc32c([&b"1234"[..], b"56789"]), 0xe306_9283);
        assert_eq!(crc32c([&[0; 32][..]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32][..]]), 0x62a8_ab43);
    }
}
