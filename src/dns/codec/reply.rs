//! Writes a response into a buffer of the caller's, within the size that the transport allows.
//!
//! Owner names are pointers, into the question or into a CNAME's data (RFC 1035 §4.1.4); data is
//! copied as the table has it. What does not fit makes the response a truncated one.

use super::code::{CLASS_IN, ExtendedError, Rcode};
use super::query::{HEADER, Head};

/// Flags that come back as they were: opcode and RD (RFC 1035 §4.1.1). CD does not (RFC 4035 §3.1.6).
const COPIED_FLAGS: u16 = 0x7900;
const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;

/// A record without its data: a pointer, type, class, TTL, length.
pub(in crate::dns) const RECORD_HEAD: usize = 12;

/// The start of a pointer; the other 14 bits are the offset.
const POINTER: u16 = 0xc000;

/// A name that stands in the response, uncompressed, so that pointers can mean it or its end.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Owner {
    at: u16,
    length: u16,
}

impl Owner {
    /// The question's name.
    pub(in crate::dns) fn question(length: usize) -> Self {
        Self::at(HEADER, length)
    }

    /// A name of `length` bytes that stands at a place of the response.
    pub(in crate::dns) fn at(at: usize, length: usize) -> Self {
        let cut = |n| u16::try_from(n).unwrap_or(0);
        Self {
            at: cut(at),
            length: cut(length),
        }
    }

    /// The last `length` bytes of the name, which are a name too.
    pub(in crate::dns) fn suffix(self, length: usize) -> Self {
        let length = u16::try_from(length).unwrap_or(0);
        Self {
            at: self.at + self.length.saturating_sub(length),
            length,
        }
    }

    fn is_question(self) -> bool {
        usize::from(self.at) == HEADER
    }

    /// Whether pointers can mean it and each end of it: they have 14 bits.
    pub(in crate::dns) fn is_within_reach(self) -> bool {
        self.at.saturating_add(self.length) < !POINTER
    }

    /// A pointer to it.
    pub(in crate::dns) fn pointer(self) -> [u8; 2] {
        (POINTER | self.at).to_be_bytes()
    }
}

/// The sections behind the question.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A response that is being written.
#[derive(Debug)]
pub(in crate::dns) struct Reply<'q, 'o> {
    head: &'q Head<'q>,
    node: &'q str,
    out: &'o mut Vec<u8>,
    limit: usize,
    fits: bool,
    /// Whether what may be left out is.
    is_lean: bool,
    answers: u16,
    authorities: u16,
    additionals: u16,
    /// The code of the response.
    pub(in crate::dns) rcode: Rcode,
    /// Whether the server speaks for the name asked for.
    pub(in crate::dns) is_authoritative: bool,
    /// More on the code.
    pub(in crate::dns) error: Option<ExtendedError>,
    /// For how long a prefix of the client's address the answer holds (RFC 7871 §7.2.1).
    pub(in crate::dns) scope: u8,
}

impl<'q, 'o> Reply<'q, 'o> {
    /// Begins a response of at most `size` bytes with the header and the question, as they came.
    pub(in crate::dns) fn begin(
        head: &'q Head<'q>,
        node: &'q str,
        size: usize,
        out: &'o mut Vec<u8>,
    ) -> Self {
        out.clear();
        out.extend_from_slice(head.opening);
        let reserved = head.edns.as_ref().map_or(0, |edns| edns.reserve(node));
        Self {
            head,
            node,
            out,
            limit: size.saturating_sub(reserved),
            fits: true,
            is_lean: false,
            answers: 0,
            authorities: 0,
            additionals: 0,
            rcode: Rcode::NoError,
            is_authoritative: false,
            error: None,
            scope: 0,
        }
    }

    /// Whether signatures are asked for (RFC 3225 §3).
    pub(in crate::dns) fn wants_dnssec(&self) -> bool {
        self.head.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether a compact denial may come with NXDOMAIN (RFC 9824 §5.1).
    pub(in crate::dns) fn wants_denial_code(&self) -> bool {
        self.head.edns.as_ref().is_some_and(|edns| edns.compact_ok)
    }

    /// Appends one record. Returns where its data stands, as the owner of others.
    pub(in crate::dns) fn record(
        &mut self,
        section: Section,
        owner: Owner,
        fixed: Fixed,
        data: &[&[u8]],
    ) -> Owner {
        let length: usize = data.iter().map(|part| part.len()).sum();
        if !self.has_room(RECORD_HEAD + length) {
            return owner;
        }
        self.out.extend_from_slice(&owner.pointer());
        self.out.extend_from_slice(&fixed.before_data(length));
        let at = self.out.len();
        for part in data {
            self.out.extend_from_slice(part);
        }
        self.count(section, 1);
        Owner::at(at, length)
    }

    /// Appends records that the table has encoded for the question's name, each with a pointer to it.
    pub(in crate::dns) fn copy(
        &mut self,
        section: Section,
        owner: Owner,
        records: &[u8],
        count: u16,
    ) {
        if let Some(copied) = self.append(section, records, count)
            && !owner.is_question()
        {
            for_each_record(copied, |record| set_owner(record, owner));
        }
    }

    /// As [`Reply::copy`], with another TTL.
    pub(in crate::dns) fn copy_for(
        &mut self,
        section: Section,
        owner: Owner,
        records: &[u8],
        count: u16,
        ttl: u32,
    ) {
        if let Some(copied) = self.append(section, records, count) {
            for_each_record(copied, |record| {
                set_owner(record, owner);
                set_ttl(record, ttl);
            });
        }
    }

    /// Appends records whose owners are spelled out.
    pub(in crate::dns) fn copy_spelled(&mut self, section: Section, records: &[u8], count: u16) {
        self.append(section, records, count);
    }

    /// Leaves out whatever may be.
    pub(in crate::dns) fn lean(self) -> Self {
        Self {
            is_lean: true,
            ..self
        }
    }

    /// As [`Reply::copy_spelled`], but what does not fit is left out without a word.
    pub(in crate::dns) fn copy_if_room(&mut self, records: &[u8], count: u16) {
        if !self.is_lean && self.fits && self.out.len() + records.len() <= self.limit {
            self.append(Section::Additional, records, count);
        }
    }

    fn append(&mut self, section: Section, records: &[u8], count: u16) -> Option<&mut [u8]> {
        if !self.has_room(records.len()) {
            return None;
        }
        let start = self.out.len();
        self.out.extend_from_slice(records);
        self.count(section, count);
        self.out.get_mut(start..)
    }

    fn has_room(&mut self, length: usize) -> bool {
        self.fits &= self.out.len() + length <= self.limit;
        self.fits
    }

    fn count(&mut self, section: Section, count: u16) {
        let counter = match section {
            Section::Answer => &mut self.answers,
            Section::Authority => &mut self.authorities,
            Section::Additional => &mut self.additionals,
        };
        *counter = counter.saturating_add(count);
    }

    /// Where the next record will stand.
    pub(in crate::dns) fn end(&self) -> usize {
        self.out.len()
    }

    /// Makes it a truncated one, whatever is written.
    pub(in crate::dns) fn truncate(&mut self) {
        self.fits = false;
    }

    /// Whether it has become a truncated one.
    pub(in crate::dns) fn is_truncated(&self) -> bool {
        !self.fits
    }

    /// Takes back what was written behind the question.
    pub(in crate::dns) fn clear(&mut self) {
        self.out.truncate(self.head.opening.len());
        (self.answers, self.authorities, self.additionals) = (0, 0, 0);
    }

    /// Writes OPT and the header. `size` is that of [`Reply::begin`]. Returns the code.
    pub(in crate::dns) fn finish(&mut self, size: usize) -> Rcode {
        // RFC 2181 §9: a client has no use for a part of an RRset, so that nothing is sent.
        if !self.fits {
            self.clear();
        }
        if let Some(edns) = &self.head.edns {
            let room = size.saturating_sub(self.out.len());
            edns.write(
                self.out, self.rcode, self.scope, self.node, self.error, room,
            );
            self.additionals = self.additionals.saturating_add(1);
        }
        let [_, low] = self.rcode.code().to_be_bytes();
        let flags = QR
            | self.head.flags & COPIED_FLAGS
            | if self.is_authoritative { AA } else { 0 }
            | if self.fits { 0 } else { TC }
            | u16::from(low & 0x0f);
        let questions = u16::from(self.head.opening.len() > HEADER);
        // Stores of several fields at once cost what one costs.
        let wide = |fields: [u16; 4]| {
            fields
                .into_iter()
                .fold(0, |wide, field| wide << 16 | u64::from(field))
        };
        let front = wide([self.head.id, flags, questions, self.answers]);
        let back = u32::from(self.authorities) << 16 | u32::from(self.additionals);
        if let Some(place) = self.out.first_chunk_mut::<HEADER>() {
            let (front_place, back_place) = place.split_at_mut(8);
            front_place.copy_from_slice(&front.to_be_bytes());
            back_place.copy_from_slice(&back.to_be_bytes());
        }
        self.rcode
    }
}

/// The records that stand one behind the other, each with a pointer as its owner.
pub(in crate::dns) fn each_record(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let (record, behind) = rest.split_at_checked(record_length(rest)?)?;
        rest = behind;
        Some(record)
    })
}

fn for_each_record(records: &mut [u8], mut change: impl FnMut(&mut [u8])) {
    let mut rest = records;
    while let Some(length) = record_length(rest)
        && let Some((record, behind)) = rest.split_at_mut_checked(length)
    {
        change(record);
        rest = behind;
    }
}

/// The length of the first of the records.
fn record_length(records: &[u8]) -> Option<usize> {
    let length = records.get(..RECORD_HEAD)?.last_chunk::<2>()?;
    Some(RECORD_HEAD + usize::from(u16::from_be_bytes(*length)))
}

fn set_owner(record: &mut [u8], owner: Owner) {
    if let Some(place) = record.first_chunk_mut() {
        *place = owner.pointer();
    }
}

/// Behind the pointer, the type and the class.
fn set_ttl(record: &mut [u8], ttl: u32) {
    if let Some(place) = record.get_mut(6..10) {
        place.copy_from_slice(&ttl.to_be_bytes());
    }
}

/// What stands between a record's owner and its data.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Fixed {
    pub(in crate::dns) rtype: u16,
    pub(in crate::dns) class: u16,
    pub(in crate::dns) ttl: u32,
}

impl Fixed {
    /// On the wire, with the length of the data behind.
    fn before_data(self, length: usize) -> [u8; RECORD_HEAD - 2] {
        let [type_high, type_low] = self.rtype.to_be_bytes();
        let [class_high, class_low] = self.class.to_be_bytes();
        let [a, b, c, d] = self.ttl.to_be_bytes();
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        [
            type_high, type_low, class_high, class_low, a, b, c, d, high, low,
        ]
    }

    /// Of the Internet.
    pub(in crate::dns) fn internet(rtype: u16, ttl: u32) -> Self {
        Self {
            rtype,
            class: CLASS_IN,
            ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_means_what_stands_within_14_bits() {
        assert!(Owner::at(0x3f00, 0xfe).is_within_reach());
        assert!(!Owner::at(0x3f00, 0xff).is_within_reach());
        assert_eq!(Owner::at(0x3ffe, 0).pointer(), [0xff, 0xfe]);
    }
}
