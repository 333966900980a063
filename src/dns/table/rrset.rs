//! RRsets, encoded once when the table is compiled.

use std::sync::Arc;

use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::dns::codec::code::{CLASS_IN, rtype};
use crate::dns::codec::reply::{Fixed, Owner, RECORD_HEAD, Reply, Section, each_record};

/// A pointer to the question's name.
const QUESTION: [u8; 2] = [0xc0, 0x0c];

/// Bytes that the processor fetches from memory together.
const CACHE_LINE: usize = 64;

/// How many bytes are touched: one of each cache line of 193 bytes, wherever they begin. A name of usual length, an address
/// and its signature are shorter.
pub(super) const TOUCHED: usize = 4;

/// Records of one owner and type as they are copied into a response, and their signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct RrSet {
    /// The records, and their signatures behind them: one copy writes both. In front of them may
    /// stand the name of a [`Named`].
    bytes: Box<[u8]>,
    /// Where the signatures begin.
    signatures_at: u32,
    ttl: u32,
    rtype: u16,
    count: u16,
    signature_count: u16,
    /// Where the records begin.
    records_at: u8,
}

impl RrSet {
    /// Encodes records. What occurs twice is taken once (RFC 2181 §5).
    pub(in crate::dns) fn new<D: AsRef<[u8]>>(rtype: u16, ttl: u32, data: &[D]) -> Self {
        let mut bytes = Vec::new();
        let count = append_distinct(&mut bytes, rtype, ttl, data);
        Self {
            signatures_at: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            bytes: bytes.into_boxed_slice(),
            ttl,
            rtype,
            count,
            signature_count: 0,
            records_at: 0,
        }
    }

    /// With these signatures, the data of RRSIG records; they live as long as what they cover
    /// (RFC 4034 §3).
    pub(in crate::dns) fn signed(self, rrsigs: &[Arc<[u8]>]) -> Self {
        let mut bytes = self.records().to_vec();
        let signatures_at = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let signature_count = append_distinct(&mut bytes, rtype::RRSIG, self.ttl, rrsigs);
        Self {
            bytes: bytes.into_boxed_slice(),
            signatures_at,
            signature_count,
            records_at: 0,
            ..self
        }
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
        each_record(self.records()).filter_map(|record| record.get(RECORD_HEAD..))
    }

    /// Copies them, and their signatures for whoever asks for DNSSEC.
    pub(in crate::dns) fn write(&self, reply: &mut Reply<'_, '_>, section: Section, owner: Owner) {
        if reply.wants_dnssec() {
            let count = self.count.saturating_add(self.signature_count);
            let all = self.bytes.get(self.records_at.into()..).unwrap_or_default();
            reply.copy(section, owner, all, count);
        } else {
            self.write_unsigned(reply, section, owner);
        }
    }

    /// Copies them alone.
    pub(in crate::dns) fn write_unsigned(
        &self,
        reply: &mut Reply<'_, '_>,
        section: Section,
        owner: Owner,
    ) {
        reply.copy(section, owner, self.records(), self.count);
    }

    /// Copies them alone, with another TTL.
    pub(in crate::dns) fn write_for(
        &self,
        reply: &mut Reply<'_, '_>,
        section: Section,
        owner: Owner,
        ttl: u32,
    ) {
        if ttl == self.ttl {
            self.write_unsigned(reply, section, owner);
        } else {
            reply.copy_for(section, owner, self.records(), self.count, ttl);
        }
    }

    /// Copies the signatures alone.
    pub(in crate::dns) fn write_signatures(
        &self,
        reply: &mut Reply<'_, '_>,
        section: Section,
        owner: Owner,
    ) {
        let signatures = self.bytes.get(self.split()..).unwrap_or_default();
        reply.copy(section, owner, signatures, self.signature_count);
    }

    fn records(&self) -> &[u8] {
        let places = self.records_at.into()..self.split();
        self.bytes.get(places).unwrap_or_default()
    }

    fn split(&self) -> usize {
        usize::try_from(self.signatures_at).unwrap_or(usize::MAX)
    }
}

/// A name and perhaps an RRset of it, one behind the other in memory.
#[derive(Debug)]
pub(in crate::dns) struct Named {
    set: RrSet,
}

impl Named {
    /// At most 255 bytes of a name.
    pub(super) fn new(name: &[u8], set: Option<RrSet>) -> Self {
        let set = set.unwrap_or_default();
        let shift = u8::try_from(name.len()).unwrap_or(u8::MAX);
        Self {
            set: RrSet {
                bytes: [name, &set.bytes].concat().into_boxed_slice(),
                signatures_at: set.signatures_at.saturating_add(shift.into()),
                records_at: shift,
                ..set
            },
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        self.set.bytes.get(..self.name_length()).unwrap_or_default()
    }

    pub(super) fn touched(&self) -> [u8; TOUCHED] {
        let bytes = &*self.set.bytes;
        let of_line = |line: usize| bytes.get(line * CACHE_LINE);
        let places = [of_line(0), of_line(1), of_line(2), bytes.last()];
        places.map(|byte| byte.copied().unwrap_or_default())
    }

    pub(super) fn name_length(&self) -> usize {
        self.set.records_at.into()
    }

    pub(super) fn rrset(&self) -> Option<&RrSet> {
        (self.set.count > 0).then_some(&self.set)
    }
}

/// Appends records of the question's name, and returns how many.
fn append_distinct<D: AsRef<[u8]>>(bytes: &mut Vec<u8>, rtype: u16, ttl: u32, data: &[D]) -> u16 {
    let mut count = 0_u16;
    for (index, rdata) in data.iter().enumerate() {
        let rdata = rdata.as_ref();
        let mut earlier = data.iter().take(index);
        if !earlier.any(|earlier| earlier.as_ref() == rdata) {
            append_record(bytes, &QUESTION, Fixed::internet(rtype, ttl), rdata);
            count = count.saturating_add(1);
        }
    }
    count
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
