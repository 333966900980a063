//! RRsets, encoded once when the table is compiled.

use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::dns::codec::code::CLASS_IN;
use crate::dns::codec::reply::{Fixed, Owner, Reply, Section};

/// Records of one owner and type as they are copied into a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct RrSet {
    rtype: u16,
    records: Box<[u8]>,
    /// Where each record's owner is, a pointer to the question's name.
    owners: Box<[u32]>,
}

impl RrSet {
    /// Encodes records; what occurs twice is taken once (RFC 2181 §5).
    pub(in crate::dns) fn new(rtype: u16, ttl: u32, data: &[Vec<u8>]) -> Self {
        let mut records = Vec::new();
        let mut owners = Vec::new();
        for (index, rdata) in data.iter().enumerate() {
            if data.iter().take(index).any(|earlier| earlier == rdata) {
                continue;
            }
            owners.push(u32::try_from(records.len()).unwrap_or(u32::MAX));
            append_record(
                &mut records,
                &[0xc0, 0x0c],
                Fixed::internet(rtype, ttl),
                rdata,
            );
        }
        Self {
            rtype,
            records: records.into_boxed_slice(),
            owners: owners.into_boxed_slice(),
        }
    }

    /// Their type.
    pub(in crate::dns) fn rtype(&self) -> u16 {
        self.rtype
    }

    /// Copies them.
    pub(in crate::dns) fn write(&self, reply: &mut Reply<'_, '_>, section: Section, owner: Owner) {
        let count = u16::try_from(self.owners.len()).unwrap_or(u16::MAX);
        reply.copy(section, owner, &self.records, count, &self.owners);
    }
}

/// Records of several owners, spelled out: glue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct Spelled {
    records: Vec<u8>,
    count: u16,
}

impl Spelled {
    /// Appends a record.
    pub(in crate::dns) fn push(&mut self, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) {
        append_record(&mut self.records, owner, Fixed::internet(rtype, ttl), rdata);
        self.count = self.count.saturating_add(1);
    }

    /// The records and how many there are.
    pub(in crate::dns) fn parts(&self) -> (&[u8], u16) {
        (&self.records, self.count)
    }
}

fn append_record(out: &mut Vec<u8>, owner: &[u8], fixed: Fixed, rdata: &[u8]) {
    out.extend_from_slice(owner);
    out.extend_from_slice(&fixed.rtype.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&fixed.ttl.to_be_bytes());
    let length = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(rdata);
}

/// The data on the wire, names spelled out (RFC 3597 §4); `None` for what cannot be encoded.
pub(in crate::dns) fn encode(data: &RData) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    u16::try_from(wire.len()).ok()?;
    Some(wire)
}
