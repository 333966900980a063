//! Signed messages (RFC 8945): this server shares keys with nobody, and says so instead of answering unsigned.

use super::code::{CLASS_ANY, rtype};
use super::cursor::Cursor;
use super::name::read_name;

/// RFC 8945 §3: the key is not known.
const BADKEY: u16 = 17;

/// The length of a signature that is not there, and of other data.
const NO_MAC: [u8; 2] = [0; 2];
const NO_MORE: [u8; 2] = [0; 2];

/// Type, class, TTL and length of data.
const RECORD_HEAD: usize = 10;

/// Where a header counts the additional records; there are few.
const LAST_COUNT: usize = 11;

/// What a refusal repeats of a TSIG record.
struct Tsig<'q> {
    key: &'q [u8],
    algorithm: &'q [u8],
    /// When it was signed, and by how much clocks may differ.
    time_and_fudge: [u8; 8],
    original_id: [u8; 2],
}

impl<'q> Tsig<'q> {
    /// Reads a whole record, whose length is known to be right.
    fn read(record: &'q [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(record);
        let key = read_name(&mut cursor)?;
        // RFC 8945 §4.2: of class ANY, with a TTL of 0.
        if [cursor.u16()?, cursor.u16()?] != [rtype::TSIG, CLASS_ANY] || cursor.u32()? != 0 {
            return None;
        }
        cursor.u16()?;
        let algorithm = read_name(&mut cursor)?;
        let time_and_fudge = cursor.array()?;
        let length = cursor.u16()?;
        cursor.bytes(length.into())?;
        let original_id = cursor.array()?;
        cursor.u16()?;
        let length = cursor.u16()?;
        cursor.bytes(length.into())?;
        cursor.is_at_end().then_some(Self {
            key,
            algorithm,
            time_and_fudge,
            original_id,
        })
    }
}

/// Whether the record is a well-formed TSIG.
pub(super) fn is_well_formed(record: &[u8]) -> bool {
    Tsig::read(record).is_some()
}

/// RFC 8945 §5.2.1, §5.3.2: appends the TSIG of a response that nothing signs to a response that is complete. It is
/// left out where it makes the response longer than `size`.
pub(in crate::dns) fn refuse(record: &[u8], size: usize, response: &mut Vec<u8>) {
    let Some(tsig) = Tsig::read(record) else {
        return;
    };
    let data = [
        tsig.algorithm,
        &tsig.time_and_fudge,
        &NO_MAC,
        &tsig.original_id,
    ];
    let error = [BADKEY.to_be_bytes(), NO_MORE];
    let error = error.as_flattened();
    let length: usize = data.iter().map(|part| part.len()).sum::<usize>() + error.len();
    if response.len() + tsig.key.len() + RECORD_HEAD + length > size {
        return;
    }
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let head = [rtype::TSIG, CLASS_ANY, 0, 0, length].map(u16::to_be_bytes);
    if let Some(count) = response.get_mut(LAST_COUNT) {
        *count = count.saturating_add(1);
        let parts = [tsig.key, head.as_flattened()].into_iter();
        for part in parts.chain(data).chain([error]) {
            response.extend_from_slice(part);
        }
    }
}
