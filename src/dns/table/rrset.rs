//! RRsets, encoded once when the table is compiled.

use std::sync::Arc;

use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::dns::codec::code::{CLASS_IN, rtype};
use crate::dns::codec::reply::{Fixed, Owner, Reply, Section};

/// A record's fields between its owner and its data: type, class, TTL, length.
const FIXED: usize = 10;

/// A pointer to the question's name.
const QUESTION: [u8; 2] = [0xc0, 0x0c];

/// Records of one owner and type as they are copied into a response, and their signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct RrSet {
    rtype: u16,
    ttl: u32,
    records: Records,
    signatures: Records,
}

/// Records of the question's name, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Records {
    bytes: Box<[u8]>,
    /// Where each record's owner is, a pointer to the question's name.
    owners: Box<[u32]>,
}

impl Records {
    /// What occurs twice is taken once (RFC 2181 §5).
    fn new<D: AsRef<[u8]>>(rtype: u16, ttl: u32, data: &[D]) -> Self {
        let mut bytes = Vec::new();
        let mut owners = Vec::new();
        for (index, rdata) in data.iter().enumerate() {
            let rdata = rdata.as_ref();
            if data
                .iter()
                .take(index)
                .any(|earlier| earlier.as_ref() == rdata)
            {
                continue;
            }
            owners.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            append_record(&mut bytes, &QUESTION, Fixed::internet(rtype, ttl), rdata);
        }
        Self {
            bytes: bytes.into_boxed_slice(),
            owners: owners.into_boxed_slice(),
        }
    }

    fn write(&self, reply: &mut Reply<'_, '_>, section: Section, owner: Owner) {
        let count = u16::try_from(self.owners.len()).unwrap_or(u16::MAX);
        reply.copy(section, owner, &self.bytes, count, &self.owners);
    }

    fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        let starts = self.owners.iter().map(|at| usize::try_from(*at).ok());
        let ends = self
            .owners
            .iter()
            .skip(1)
            .map(|at| usize::try_from(*at).ok());
        let ends = ends.chain([Some(self.bytes.len())]);
        starts
            .zip(ends)
            .filter_map(|(from, to)| self.bytes.get(from? + QUESTION.len() + FIXED..to?))
    }
}

impl RrSet {
    /// Encodes records.
    pub(in crate::dns) fn new<D: AsRef<[u8]>>(rtype: u16, ttl: u32, data: &[D]) -> Self {
        Self {
            rtype,
            ttl,
            records: Records::new(rtype, ttl, data),
            signatures: Records::default(),
        }
    }

    /// With these signatures, the data of RRSIG records; they live as long as what they cover
    /// (RFC 4034 §3).
    pub(in crate::dns) fn signed(mut self, rrsigs: &[Arc<[u8]>]) -> Self {
        self.signatures = Records::new(rtype::RRSIG, self.ttl, rrsigs);
        self
    }

    /// Their type.
    pub(in crate::dns) fn rtype(&self) -> u16 {
        self.rtype
    }

    /// Seconds.
    pub(in crate::dns) fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The data of each.
    pub(in crate::dns) fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        self.records.rdata()
    }

    /// Copies them, and their signatures for whoever asks for DNSSEC.
    pub(in crate::dns) fn write(&self, reply: &mut Reply<'_, '_>, section: Section, owner: Owner) {
        self.write_unsigned(reply, section, owner);
        if reply.wants_dnssec() {
            self.write_signatures(reply, section, owner);
        }
    }

    /// Copies them alone.
    pub(in crate::dns) fn write_unsigned(
        &self,
        reply: &mut Reply<'_, '_>,
        section: Section,
        owner: Owner,
    ) {
        self.records.write(reply, section, owner);
    }

    /// Copies the signatures alone.
    pub(in crate::dns) fn write_signatures(
        &self,
        reply: &mut Reply<'_, '_>,
        section: Section,
        owner: Owner,
    ) {
        self.signatures.write(reply, section, owner);
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
