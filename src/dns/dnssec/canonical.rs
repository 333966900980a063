//! The canonical form of an RRset (RFC 4034 §6.2 and §6.3), which is what is signed.

use std::ops::Range;

use smallvec::SmallVec;

use super::super::codec::code::CLASS_IN;
use super::super::codec::name::parent;
use super::signer::ToSign;

/// What is signed at once: that of RRsets of usual length needs no allocation.
pub(super) type Bytes = SmallVec<[u8; 4_096]>;

/// A part of RDATA in front of or among names.
enum Part {
    /// So many bytes that stay as they are.
    Bytes(usize),
    /// A character-string.
    Text,
    /// A name, whose letters are lowered.
    Name,
}

/// Where the names of a type's RDATA stand: RFC 4034 §6.2 with what RFC 6840 §5.1 takes back.
/// HINFO, which the list has too, holds no names.
fn parts(rtype: u16) -> &'static [Part] {
    use Part::{Bytes, Name, Text};
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => &[Name],
        // SOA, MINFO, RP
        6 | 14 | 17 => &[Name, Name],
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => &[Bytes(2), Name],
        // PX
        26 => &[Bytes(2), Name, Name],
        // SRV
        33 => &[Bytes(6), Name],
        // NAPTR
        35 => &[Bytes(4), Text, Text, Text, Name],
        _ => &[],
    }
}

/// Puts the names in RDATA into lower case.
fn lower_names(rtype: u16, rdata: &mut [u8]) {
    let mut at = 0;
    for part in parts(rtype) {
        let rest = rdata.get(at..).unwrap_or_default();
        let length = match part {
            Part::Bytes(count) => *count,
            Part::Text => rest.first().map_or(0, |length| usize::from(*length) + 1),
            Part::Name => name_length(rest),
        };
        if let (Part::Name, Some(name)) = (part, rdata.get_mut(at..at + length)) {
            name.make_ascii_lowercase();
        }
        at += length;
    }
}

fn name_length(wire: &[u8]) -> usize {
    let end = std::iter::successors(Some(wire), |rest| parent(rest)).last();
    end.map_or(0, |end| wire.len() - end.len() + 1)
}

/// Appends an RRset in canonical form and order, as it is signed behind the RRSIG's own fields.
pub(super) fn append_rrset<'a>(
    bytes: &mut Bytes,
    set: ToSign<'_>,
    rdata: impl Iterator<Item = &'a [u8]>,
) {
    let mut data: SmallVec<[u8; 2_048]> = SmallVec::new();
    let mut records: SmallVec<[Range<usize>; 32]> = SmallVec::new();
    for record in rdata {
        let from = data.len();
        data.extend_from_slice(record);
        lower_names(set.rtype, data.get_mut(from..).unwrap_or_default());
        records.push(from..data.len());
    }
    let data_of = |record: &Range<usize>| data.get(record.clone()).unwrap_or_default();
    records.sort_unstable_by(|a, b| data_of(a).cmp(data_of(b)));
    records.dedup_by(|a, b| data_of(a) == data_of(b));
    for record in records.iter().map(data_of) {
        bytes.extend_from_slice(set.owner);
        bytes.extend_from_slice(&set.rtype.to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        bytes.extend_from_slice(&set.original_ttl.to_be_bytes());
        let length = u16::try_from(record.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_rdata(rtype: u16, rdata: &[u8]) -> Vec<u8> {
        let mut canonical = rdata.to_vec();
        lower_names(rtype, &mut canonical);
        canonical
    }

    #[test]
    fn names_in_data_are_lowered_and_nothing_else_is() {
        let name = b"\x03WwW\x02Ex\x00";
        let mx = [&b"\x41\x42"[..], name].concat();
        assert_eq!(canonical_rdata(15, &mx), b"\x41\x42\x03www\x02ex\x00");
        let naptr = [&b"\x00\x0a\x00\x0b\x01S\x01E\x01R"[..], name].concat();
        assert_eq!(
            canonical_rdata(35, &naptr),
            b"\x00\x0a\x00\x0b\x01S\x01E\x01R\x03www\x02ex\x00"
        );
        let text = b"\x03WwW";
        assert_eq!(canonical_rdata(16, text), text);
        // SVCB came after RFC 4034, so that its target stays as it is (RFC 9460 §2.2, RFC 3597 §7).
        let svcb = [&b"\x00\x01"[..], name].concat();
        assert_eq!(canonical_rdata(64, &svcb), svcb);
    }

    #[test]
    fn data_that_ends_too_soon_stays_as_it_is() {
        for rdata in [&b""[..], b"\x41", b"\x00\x0a\x03Ww"] {
            canonical_rdata(15, rdata);
            canonical_rdata(6, rdata);
            canonical_rdata(35, rdata);
        }
    }
}
