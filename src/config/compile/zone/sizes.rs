//! Whether what a name has fits an answer: an RRset is answered whole (RFC 2181 §5), and a referral with its glue
//! (RFC 9471 §3.1).

use std::collections::BTreeMap;

use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use super::draft::{Draft, Record};
use crate::config::problem::Problem;
use crate::config::rdata::written;

/// A message over TCP, RFC 1035 §4.2.2.
const MESSAGE: usize = 65_535;

/// The header, and an OPT with every option that is answered.
const AROUND: usize = 12 + 250;

/// Type and class of a question; type, class, TTL and length of a record.
const QUESTION: usize = 4;
const RECORD: usize = 10;

/// An owner that stands in the message already.
const POINTER: usize = 2;

/// A signature without its record and its signer's name, and how many there are while an algorithm rolls over.
const SIGNATURE: usize = 18 + 64;
const SIGNATURES: usize = 2;

/// What of a name no answer holds, told of the record that is too much.
pub(super) fn too_large(draft: &Draft<'_>, owner: &Name, records: &[&Record]) -> Vec<Problem> {
    let room = room(draft, owner);
    let mut sizes: BTreeMap<u16, usize> = BTreeMap::new();
    let mut problems = Vec::new();
    for record in records {
        let size = sizes.entry(record.rtype().into()).or_default();
        let before = *size;
        *size += POINTER + RECORD + length(&record.data) + glue(draft, owner, record);
        if before <= room && *size > room {
            let rtype = written(record.rtype());
            let message = format!(
                "the {rtype} records of {owner} have over {room} bytes with all that stands beside them: no answer holds them"
            );
            problems.push(Problem::new(Some(record.at.clone()), message));
        }
    }
    problems
}

/// What is left of a message for the records of a name.
fn room(draft: &Draft<'_>, owner: &Name) -> usize {
    let signature = POINTER + RECORD + SIGNATURE + spelled(&draft.origin);
    let signatures = if draft.is_signed() {
        SIGNATURES * signature
    } else {
        0
    };
    MESSAGE - AROUND - QUESTION - spelled(owner) - signatures
}

/// The addresses without which a referral is none.
fn glue(draft: &Draft<'_>, owner: &Name, record: &Record) -> usize {
    let RData::NS(server) = &record.data else {
        return 0;
    };
    if !draft.is_cut(owner) || !owner.zone_of(&server.0) {
        return 0;
    }
    let key = server.0.to_lowercase();
    let addresses = draft.at(&key).filter(|record| record.is_address());
    let sizes = addresses.map(|record| spelled(&key) + RECORD + length(&record.data));
    sizes.sum()
}

/// A name on the wire.
fn spelled(name: &Name) -> usize {
    1 + name.iter().map(|label| 1 + label.len()).sum::<usize>()
}

/// Data on the wire, names spelled out.
fn length(data: &RData) -> usize {
    if matches!(data, RData::A(_)) {
        return 4;
    }
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    // What cannot be encoded is longer than any message.
    data.emit(&mut encoder).map_or(MESSAGE, |()| wire.len())
}
