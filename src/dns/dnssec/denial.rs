//! Denials: one NSEC that begins at the name itself (compact denial, RFC 9824 §3).
//!
//! It says that nothing lies between the name and the first name that can follow it, and which
//! types the name has. A name that does not exist has the one type NXNAME.

use smallvec::SmallVec;

use super::super::codec::name::{LONGEST_NAME, parent};

/// The longest label, RFC 1035 §2.3.4.
const LONGEST_LABEL: usize = 63;

/// Types as an NSEC has them: the window that every usual type is in fits without an allocation.
pub(in crate::dns) type Bitmap = SmallVec<[u8; LONGEST_WINDOW]>;

/// A window with its number and its length.
const LONGEST_WINDOW: usize = 34;

/// The data of an NSEC: the longest name and a window fit without an allocation.
pub(in crate::dns) type Nsec = SmallVec<[u8; LONGEST_NAME + LONGEST_WINDOW]>;

/// The types of a name that does not exist: RRSIG, NSEC and NXNAME (RFC 9824 §3.1).
pub(in crate::dns) const NOTHING: [u8; 19] = [
    0, 17, 0, 0, 0, 0, 0, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80,
];

/// The data of the NSEC of a name of a zone, in wire format and lower case.
pub(in crate::dns) fn nsec(name: &[u8], apex: &[u8], bitmap: &[u8]) -> Nsec {
    let mut rdata = successor(name, apex);
    rdata.extend_from_slice(bitmap);
    rdata
}

/// The name that follows at once in canonical order (RFC 4034 §6.1, RFC 4471 §3.1.2): a child
/// `\000`, or where that would be too long, the next label. The last name of a zone is followed by
/// the zone's own (RFC 4034 §4.1.1).
fn successor(name: &[u8], apex: &[u8]) -> Nsec {
    let mut next = Nsec::new();
    if name.len() + 2 <= LONGEST_NAME {
        next.extend_from_slice(&[1, 0]);
        next.extend_from_slice(name);
        return next;
    }
    // Its labels in the zone, least first.
    let grown = std::iter::successors(Some(name), |name| parent(name))
        .take_while(|name| name.len() > apex.len())
        .find_map(|name| Some((next_label(name)?, parent(name)?)));
    match grown {
        Some((label, above)) => {
            next.extend_from_slice(&label);
            next.extend_from_slice(above);
        }
        None => next.extend_from_slice(apex),
    }
    next
}

/// The label, with its length, that follows that of a name which has no room for children.
fn next_label(name: &[u8]) -> Option<SmallVec<[u8; 1 + LONGEST_LABEL]>> {
    let (length, rest) = name.split_first()?;
    let label = rest.get(..usize::from(*length))?;
    if label.is_empty() {
        return None;
    }
    if label.len() < LONGEST_LABEL && name.len() < LONGEST_NAME {
        let grown = std::iter::once(length + 1).chain(label.iter().copied());
        return Some(grown.chain([0]).collect());
    }
    // The last byte that can grow does, and what follows it is cut off.
    let last = label.iter().rposition(|byte| *byte != u8::MAX)?;
    let (kept, _) = label.split_at_checked(last + 1)?;
    let mut grown = SmallVec::new();
    grown.push(u8::try_from(kept.len()).ok()?);
    grown.extend_from_slice(kept);
    if let Some(byte) = grown.last_mut() {
        // In canonical order capital letters do not exist.
        *byte = if *byte == b'A' - 1 {
            b'Z' + 1
        } else {
            *byte + 1
        };
    }
    Some(grown)
}

/// Types in order. RFC 4034 §4.1.2: windows of 256, each with its number, its length and its bits.
pub(in crate::dns) fn bitmap(types: impl Iterator<Item = u16>) -> Bitmap {
    let mut bitmap = Bitmap::new();
    let mut window: Option<(u8, [u8; 32])> = None;
    for rtype in types {
        let [number, low] = rtype.to_be_bytes();
        if window.is_some_and(|(known, _)| known != number) {
            append_window(&mut bitmap, window.take());
        }
        let (_, bits) = window.get_or_insert((number, [0; 32]));
        if let Some(byte) = bits.get_mut(usize::from(low / 8)) {
            *byte |= 0x80 >> (low % 8);
        }
    }
    append_window(&mut bitmap, window);
    bitmap
}

fn append_window(bitmap: &mut Bitmap, window: Option<(u8, [u8; 32])>) {
    let Some((number, bits)) = window else { return };
    let used = bits
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bitmap.push(number);
    bitmap.push(u8::try_from(used).unwrap_or_default());
    bitmap.extend_from_slice(bits.get(..used).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    use proptest::prelude::*;

    #[test]
    fn types_are_bits_in_windows() {
        // RFC 4034 §4.3: A MX RRSIG NSEC TYPE1234.
        let bitmap = bitmap([1, 15, 46, 47, 1234].into_iter());
        let mut expected = vec![0, 6, 0x40, 0x01, 0, 0, 0, 0x03, 4, 0x1b];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(*bitmap, expected);
    }

    #[test]
    fn a_name_that_does_not_exist_is_denied_in_one_record() {
        // RFC 9824 §3.1: a.example.com. NSEC \000.a.example.com. RRSIG NSEC NXNAME
        let name = b"\x01a\x07example\x03com\x00";
        assert_eq!(*bitmap([46, 47, 128].into_iter()), NOTHING);
        let rdata = nsec(name, b"\x00", &NOTHING);
        let (next, bitmap) = rdata.split_at(name.len() + 2);
        assert_eq!(next, b"\x01\x00\x01a\x07example\x03com\x00");
        assert_eq!(bitmap[..2], [0, 17]);
        assert_eq!((bitmap[2 + 5], bitmap[2 + 16]), (0x03, 0x80));
    }

    /// RFC 4034 §6.1: label by label from the right, as bytes.
    fn order(a: &[u8], b: &[u8]) -> Ordering {
        let labels = |name: &[u8]| {
            let mut labels: Vec<Vec<u8>> = std::iter::successors(Some(name), |name| parent(name))
                .filter(|name| name[0] > 0)
                .map(|name| name[1..=usize::from(name[0])].to_vec())
                .collect();
            labels.reverse();
            labels
        };
        labels(a).cmp(&labels(b))
    }

    fn any_name() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0xff_u8), Just(b'@'), Just(0_u8), b'a'..=b'z'];
        let label = proptest::collection::vec(byte, 1..=63);
        proptest::collection::vec(label, 1..6).prop_filter_map("too long", |labels| {
            let mut name: Vec<u8> = labels
                .iter()
                .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], &label[..]].concat())
                .collect();
            name.push(0);
            (name.len() <= LONGEST_NAME).then_some(name)
        })
    }

    proptest! {
        #[test]
        fn the_successor_is_a_later_name_of_the_zone_or_the_zone_s_own(name in any_name(), labels in 0_usize..6) {
            let names: Vec<&[u8]> = std::iter::successors(Some(&*name), |name| parent(name)).collect();
            let apex = names[names.len().saturating_sub(labels + 1)];
            let next = successor(&name, apex);
            prop_assert!(next.len() <= LONGEST_NAME);
            prop_assert!(std::iter::successors(Some(&*next), |name| parent(name)).any(|above| above == apex));
            let has_room = name.len() + 2 <= LONGEST_NAME;
            prop_assert!(order(&name, &next) == Ordering::Less || *next == *apex && !has_room);
        }
    }

    #[test]
    fn a_name_without_room_for_children_is_followed_by_its_sibling() {
        let label = |byte: u8, count: u8| [vec![count], vec![byte; usize::from(count)]].concat();
        let name = |last: Vec<u8>| {
            let rest = [label(b'b', 63), label(b'b', 63), label(b'b', 63), vec![0]].concat();
            [last, rest].concat()
        };
        let longest = name(label(b'a', 61));
        assert_eq!(longest.len(), LONGEST_NAME);
        let next = successor(&longest, b"\x00");
        assert_eq!(next[..62], [&[61], &[b'a'; 60][..], b"b"].concat()[..]);
        let full = successor(&name(label(0xff, 61)), b"\x00");
        assert_eq!(
            full[..65],
            [&[63], &[b'b'; 62][..], b"c", &[63]].concat()[..]
        );
    }

    #[test]
    fn the_last_name_of_a_zone_is_followed_by_the_zone_s_own() {
        let label = |count: u8| [vec![count], vec![0xff; usize::from(count)]].concat();
        let apex = b"\x04test\x00";
        let last = [&label(56), &label(63), &label(63), &label(63), &apex[..]].concat();
        assert_eq!(last.len(), LONGEST_NAME);
        assert_eq!(*successor(&last, apex), *apex);
    }
}
