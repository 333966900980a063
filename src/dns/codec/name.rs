//! Names as the wire has them: lower case, uncompressed, at most 255 bytes (RFC 1035 §3.1, §2.3.4).

use hickory_proto::rr::Name;

use super::cursor::Cursor;

/// The longest name on the wire, RFC 1035 §2.3.4.
pub(in crate::dns) const LONGEST_NAME: usize = 255;

/// Bytes that the processor lowers at once.
const LANES: usize = 16;

/// Room for a name, in whole lanes.
const NAME_ROOM: usize = LONGEST_NAME.next_multiple_of(LANES);

/// A name in lower case, on the stack.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct WireName {
    bytes: [u8; NAME_ROOM],
    length: u8,
}

impl WireName {
    /// No name, with room for one.
    pub(in crate::dns) const EMPTY: Self = Self {
        bytes: [0; NAME_ROOM],
        length: 0,
    };

    /// Becomes this name, in lower case; `None` when that is too long. What stands behind the name
    /// means nothing.
    pub(super) fn set(&mut self, name: &[u8]) -> Option<&[u8]> {
        self.length = u8::try_from(name.len()).ok()?;
        let (lanes, rest) = name.as_chunks::<LANES>();
        for (place, lane) in self.bytes.as_chunks_mut::<LANES>().0.iter_mut().zip(lanes) {
            *place = lowered(*lane);
        }
        match name.last_chunk::<LANES>() {
            // The last bytes once more are less work than a copy of a length that only the query knows.
            Some(last) => {
                let at = name.len() - LANES;
                *self.bytes.get_mut(at..)?.first_chunk_mut()? = lowered(*last);
            }
            None => {
                self.bytes.get_mut(..rest.len())?.copy_from_slice(rest);
                let first = self.bytes.first_chunk_mut::<LANES>()?;
                *first = lowered(*first);
            }
        }
        Some(self.as_bytes())
    }

    /// `front` and `back` as one name, in lower case; `None` when that is too long.
    pub(in crate::dns) fn joined(front: &[u8], back: &[u8]) -> Option<Self> {
        let mut bytes = [0; NAME_ROOM];
        let length = front.len() + back.len();
        bytes.get_mut(..front.len())?.copy_from_slice(front);
        bytes.get_mut(front.len()..length)?.copy_from_slice(back);
        bytes.get_mut(..length)?.make_ascii_lowercase();
        Some(Self {
            bytes,
            length: u8::try_from(length).ok()?,
        })
    }

    /// The bytes, the final zero included.
    pub(in crate::dns) fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// In lower case. A length octet is at most 63 and `A` is 65, so that this changes letters alone.
fn lowered(mut lane: [u8; LANES]) -> [u8; LANES] {
    lane.make_ascii_lowercase();
    lane
}

/// Reads an uncompressed name, as every question has it: nothing stands before it that a pointer
/// could mean. Its length is not bounded here.
pub(super) fn read_name<'q>(cursor: &mut Cursor<'q>) -> Option<&'q [u8]> {
    let start = *cursor;
    loop {
        match cursor.u8()? {
            0 => break,
            length @ 1..=63 => cursor.bytes(usize::from(length))?,
            64..=255 => return None,
        };
    }
    let length = cursor.position() - start.position();
    start.rest().get(..length)
}

/// A name of the Plan on the wire, case kept.
pub(in crate::dns) fn to_wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

/// The same in lower case, as the table is keyed.
pub(in crate::dns) fn to_key(name: &Name) -> Box<[u8]> {
    let mut wire = to_wire(name);
    wire.make_ascii_lowercase();
    wire.into_boxed_slice()
}

/// The name without its first label; `None` for the root.
pub(in crate::dns) fn parent(name: &[u8]) -> Option<&[u8]> {
    let (length, _) = name.split_first().filter(|(length, _)| **length > 0)?;
    name.get(usize::from(*length) + 1..)
}

/// How many labels a name has; the root has none.
pub(in crate::dns) fn label_count(name: &[u8]) -> usize {
    std::iter::successors(Some(name), |name| parent(name)).count() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_longer_than_255_bytes_is_refused() {
        let name = |last: usize| {
            let mut wire = Vec::new();
            for length in [63, 63, 63, last] {
                wire.push(u8::try_from(length).unwrap());
                wire.extend(vec![b'a'; length]);
            }
            wire.push(0);
            wire
        };
        let mut place = WireName::EMPTY;
        assert!(place.set(&name(61)).is_some());
        assert!(place.set(&name(62)).is_none());
    }

    #[test]
    fn letters_are_lowered_and_lengths_are_not_letters() {
        let mut name = WireName::EMPTY;
        let name = name.set(b"\x03WwW\x07eXample\x00").unwrap();
        assert_eq!(name, b"\x03www\x07example\x00");
        assert_eq!(label_count(name), 2);
        assert_eq!(parent(name), Some(&b"\x07example\x00"[..]));
        assert_eq!(parent(b"\x00"), None);
    }

    #[test]
    fn a_pointer_in_a_question_is_refused() {
        assert!(read_name(&mut Cursor::new(b"\x03www\xc0\x0c")).is_none());
    }
}
