//! Pointers for all names that may be pointers (RFC 1035 §4.1.4), where a response has no room for them spelled out.
//! Others are copied as the table has them, in which only owner names are.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::code::rtype;
use super::cursor::Cursor;
use super::name::LONGEST_NAME;
use super::query::HEADER;

/// What a pointer can mean.
const FURTHEST: u16 = 0x3fff;

/// Room for a name.
type Spelled = SmallVec<[u8; LONGEST_NAME]>;

/// Shortens responses, one after the other in the same room.
#[derive(Debug, Default)]
pub(in crate::dns) struct Compressor {
    out: Vec<u8>,
    /// Where names stand, by what their lower case is hashed to.
    places: Vec<(u64, u16)>,
}

impl Compressor {
    /// A response in as few bytes as it can have; `None`: it is none.
    pub(in crate::dns) fn compress(&mut self, response: &[u8]) -> Option<&[u8]> {
        self.out.clear();
        self.places.clear();
        let mut cursor = Cursor::new(response);
        let head = cursor.bytes(HEADER)?;
        self.out.extend_from_slice(head);
        let [_, _, questions, records @ ..] = head.as_chunks::<2>().0 else {
            return None;
        };
        for _ in 0..u16::from_be_bytes(*questions) {
            self.name(response, &mut cursor)?;
            self.copy(&mut cursor, 4)?;
        }
        let counts = records.iter().map(|count| u16::from_be_bytes(*count));
        for _ in 0..counts.map(u32::from).sum() {
            self.record(response, &mut cursor)?;
        }
        cursor.is_at_end().then_some(&self.out)
    }

    fn record<'r>(&mut self, response: &'r [u8], cursor: &mut Cursor<'r>) -> Option<()> {
        self.name(response, cursor)?;
        let type_class_ttl: [u8; 8] = cursor.array()?;
        let length = usize::from(cursor.u16()?);
        let end = cursor.position() + length;
        self.out.extend_from_slice(&type_class_ttl);
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let (before, names) = names_in(u16::from_be_bytes(*type_class_ttl.first_chunk()?));
        self.copy(cursor, before)?;
        for _ in 0..names {
            self.name(response, cursor)?;
        }
        self.copy(cursor, end.checked_sub(cursor.position())?)?;
        let length = u16::try_from(self.out.len() - length_at - 2).ok()?;
        let place = self.out.get_mut(length_at..)?.first_chunk_mut()?;
        *place = length.to_be_bytes();
        Some(())
    }

    fn copy(&mut self, cursor: &mut Cursor<'_>, length: usize) -> Option<()> {
        self.out.extend_from_slice(cursor.bytes(length)?);
        Some(())
    }

    /// Writes a name as far as it does not stand anywhere yet.
    fn name<'r>(&mut self, response: &'r [u8], cursor: &mut Cursor<'r>) -> Option<()> {
        let name = spelled(response, cursor)?;
        let mut key = name.clone();
        key.make_ascii_lowercase();
        let mut at = 0;
        loop {
            let (key, rest) = (key.get(at..)?, name.get(at..)?);
            let length = usize::from(*rest.first()?);
            if length == 0 {
                self.out.push(0);
                return Some(());
            }
            let hash = FixedState::default().hash_one(key);
            if let Some(place) = self.place(hash, key) {
                let pointer = !FURTHEST | place;
                self.out.extend_from_slice(&pointer.to_be_bytes());
                return Some(());
            }
            let place = u16::try_from(self.out.len()).ok();
            if let Some(place) = place.filter(|place| *place <= FURTHEST) {
                self.places.push((hash, place));
            }
            self.out.extend_from_slice(rest.get(..=length)?);
            at += 1 + length;
        }
    }

    /// Where a name stands, whatever its case.
    fn place(&self, hash: u64, key: &[u8]) -> Option<u16> {
        let alike = self.places.iter().filter(|(of, _)| *of == hash);
        let mut places = alike.map(|(_, place)| *place);
        places.find(|place| {
            let mut cursor = Cursor::new(&self.out);
            let stands = cursor.bytes((*place).into());
            let stands = stands.and_then(|_| spelled(&self.out, &mut cursor));
            stands.is_some_and(|name| name.eq_ignore_ascii_case(key))
        })
    }
}

/// What of the data of a type of RFC 1035 stands before its names, and how many these are. In data of other types no name may be a pointer
/// (RFC 3597 §4).
fn names_in(rtype: u16) -> (usize, usize) {
    match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR => (0, 1),
        rtype::MX => (2, 1),
        rtype::SOA => (0, 2),
        _ => (0, 0),
    }
}

/// A name, wherever the parts of it stand.
fn spelled<'r>(response: &'r [u8], cursor: &mut Cursor<'r>) -> Option<Spelled> {
    let mut name = Spelled::new();
    let mut place = *cursor;
    // Each pointer leads further to the front, so that they come to an end.
    let mut front = None;
    loop {
        match place.u8()? {
            0 => break,
            length @ 1..=63 => {
                name.push(length);
                name.extend_from_slice(place.bytes(usize::from(length))?);
            }
            high @ 192..=255 => {
                let to = u16::from_be_bytes([high, place.u8()?]) & FURTHEST;
                if front.is_none() {
                    *cursor = place;
                }
                if front.is_some_and(|front| to >= front) {
                    return None;
                }
                front = Some(to);
                place = Cursor::new(response);
                place.bytes(to.into())?;
            }
            64..=191 => return None,
        }
    }
    if front.is_none() {
        *cursor = place;
    }
    name.push(0);
    (name.len() <= LONGEST_NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{MX, NS, SOA, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
    use proptest::prelude::*;

    use super::*;

    fn compress(response: &[u8]) -> Option<Vec<u8>> {
        let mut compressor = Compressor::default();
        // What was shortened before leaves nothing behind.
        compressor.compress(&[
            0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'c', b'o', b'm', 0, 0,
        ]);
        compressor.compress(response).map(<[u8]>::to_vec)
    }

    fn written(message: &Message, names: NameEncoding) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut encoder = BinEncoder::new(&mut wire);
        encoder.set_name_encoding(names);
        message.emit(&mut encoder).unwrap();
        wire
    }

    fn response(records: Vec<Record>) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.metadata.response_code = ResponseCode::NoError;
        let name = Name::from_ascii("Www.example.com.").unwrap();
        message.add_query(Query::query(name, RecordType::NS));
        message.add_answers(records);
        message
    }

    fn name() -> impl Strategy<Value = Name> {
        let label = prop::sample::select(vec!["a", "B", "b", "www", "example", "com", "Com"]);
        prop::collection::vec(label, 0..5).prop_map(|labels| Name::from_labels(labels).unwrap())
    }

    fn data() -> impl Strategy<Value = RData> {
        prop_oneof![
            name().prop_map(|name| RData::NS(NS(name))),
            (any::<u16>(), name())
                .prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
            (name(), name()).prop_map(|(m, r)| RData::SOA(SOA::new(m, r, 1, 2, 3, 4, 5))),
            Just(RData::TXT(TXT::new(vec!["a text".to_owned()]))),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_shortened_says_the_same(
            records in prop::collection::vec((name(), data()), 0..12),
        ) {
            let records = records.into_iter().map(|(name, data)| Record::from_rdata(name, 60, data));
            let message = response(records.collect());
            let whole = written(&message, NameEncoding::Uncompressed);
            let shorter = compress(&whole).unwrap();
            prop_assert_eq!(Message::from_vec(&shorter).unwrap(), message.clone());
            prop_assert_eq!(compress(&shorter), Some(shorter.clone()));
            // What others compress is shortened as far, names of which only the case differs further.
            let compressed = written(&message, NameEncoding::Compressed);
            prop_assert!(shorter.len() <= compressed.len());
            prop_assert_eq!(compress(&compressed), Some(shorter));
        }

        #[test]
        fn what_is_no_response_is_not_shortened(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = compress(&bytes);
        }
    }

    #[test]
    fn pointers_that_lead_nowhere_come_to_an_end() {
        let mut wire = written(&response(Vec::new()), NameEncoding::Uncompressed);
        wire[7] = 1;
        let at = u8::try_from(wire.len()).unwrap();
        wire.extend([0xc0, at, 0, 2, 0, 1, 0, 0, 0, 9, 0, 0]);
        assert_eq!(compress(&wire), None);
    }
}
