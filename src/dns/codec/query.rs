//! Queries: any bytes become a query, a refusal to send, or silence (RFC 1035 §4.1, RFC 6891,
//! RFC 8906, RFC 9619). Strict, and without allocation.

use super::code::{Rcode, rtype};
use super::cursor::Cursor;
use super::edns::{Edns, Malformed, skip_record_body};
use super::name::{WireName, read_name};
use super::tsig;

/// The length of a header, RFC 1035 §4.1.1.
pub(in crate::dns) const HEADER: usize = 12;

const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;

/// What every response takes from its query.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Head<'q> {
    /// Names the exchange.
    pub(in crate::dns) id: u16,
    /// As they came.
    pub(in crate::dns) flags: u16,
    /// The header and the question as they came, case kept; without a question if there is none to send back.
    pub(in crate::dns) opening: &'q [u8],
    /// What OPT says; `None`: no OPT, and none in the response (RFC 6891 §7).
    pub(in crate::dns) edns: Option<Edns>,
}

/// A query that can be looked up.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Query<'q> {
    /// In lower case.
    pub(in crate::dns) name: &'q [u8],
    pub(in crate::dns) qtype: u16,
    pub(in crate::dns) qclass: u16,
}

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) enum Message<'q> {
    /// To be answered.
    Heard(Head<'q>, Content<'q>),
    /// Not to be answered.
    Silence(DropReason),
}

/// What a message asks for.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) enum Content<'q> {
    /// Records.
    Query(Query<'q>),
    /// Nothing that could be looked up: it is answered with this code.
    Bare(Rcode),
    /// Whatever it is, signed, with a TSIG record that stands here.
    Signed(&'q [u8]),
}

impl<'q> Message<'q> {
    fn bare(head: Head<'q>, rcode: Rcode) -> Self {
        Self::Heard(head, Content::Bare(rcode))
    }
}

/// Why a message gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Shorter than a header: there is no ID to answer to.
    Short,
    /// A response: an answer could start a loop between two servers.
    Response,
    /// Its client's network was sent enough.
    Limited,
    /// Its sender has no port, or the system does not say where it was sent to.
    Unanswerable,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Short,
        Self::Response,
        Self::Limited,
        Self::Unanswerable,
    ];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Response => "response",
            Self::Limited => "limited",
            Self::Unanswerable => "unanswerable",
        }
    }
}

/// How many records a header announces.
struct Counts {
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

/// Reads a message. `name` is the place for the name that it asks for.
#[inline]
pub(in crate::dns) fn read<'q>(message: &'q [u8], name: &'q mut WireName) -> Message<'q> {
    let mut cursor = Cursor::new(message);
    let Some((id, flags, counts)) = read_header(&mut cursor) else {
        return Message::Silence(DropReason::Short);
    };
    if flags & QR != 0 {
        return Message::Silence(DropReason::Response);
    }
    let mut head = Head {
        id,
        flags,
        opening: message.get(..HEADER).unwrap_or_default(),
        edns: None,
    };
    // What follows the header depends on the opcode, so that for another it cannot be read.
    if flags & OPCODE != 0 {
        head.edns = find_opt(&mut cursor, &counts);
        return Message::bare(head, Rcode::NotImp);
    }
    if counts.questions != 1 {
        return read_without_question(head, cursor, &counts);
    }
    let question = read_question(&mut cursor);
    let question = question.and_then(|(raw, qtype, qclass)| Some((name.set(raw)?, qtype, qclass)));
    let Some((name, qtype, qclass)) = question else {
        return Message::bare(head, Rcode::FormErr);
    };
    head.opening = message.get(..cursor.position()).unwrap_or_default();
    let Ok(signature) = read_records(cursor, &counts, qtype, &mut head.edns) else {
        return Message::bare(head, Rcode::FormErr);
    };
    if head.edns.as_ref().is_some_and(|edns| edns.is_bad_version) {
        return Message::bare(head, Rcode::BadVers);
    }
    if let Some(record) = signature {
        return Message::Heard(head, Content::Signed(record));
    }
    let query = Query {
        name,
        qtype,
        qclass,
    };
    Message::Heard(head, Content::Query(query))
}

/// RFC 9619 §4: a query has exactly one question.
fn read_without_question<'q>(
    mut head: Head<'q>,
    mut cursor: Cursor<'q>,
    counts: &Counts,
) -> Message<'q> {
    let mut opt = None;
    // RFC 7873 §5.4: who asks for a cookie needs none.
    if counts.questions == 0
        && read_records(cursor, counts, 0, &mut opt).is_ok()
        && opt.is_some_and(|edns| edns.cookie.is_some())
    {
        head.edns = opt;
        return Message::bare(head, Rcode::NoError);
    }
    head.edns = find_opt(&mut cursor, counts);
    Message::bare(head, Rcode::FormErr)
}

fn read_header(cursor: &mut Cursor<'_>) -> Option<(u16, u16, Counts)> {
    let header = cursor.array::<HEADER>()?;
    let mut fields = header.as_chunks().0.iter();
    let mut field = || fields.next().map(|bytes| u16::from_be_bytes(*bytes));
    let (id, flags) = (field()?, field()?);
    let counts = Counts {
        questions: field()?,
        answers: field()?,
        authorities: field()?,
        additionals: field()?,
    };
    Some((id, flags, counts))
}

fn read_question<'q>(cursor: &mut Cursor<'q>) -> Option<(&'q [u8], u16, u16)> {
    let name = read_name(cursor)?;
    let [a, b, c, d] = cursor.array()?;
    Some((name, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The OPT of a message that is refused anyway, if it can be found: a refusal has one too
/// (RFC 6891 §6.1.1).
fn find_opt(cursor: &mut Cursor<'_>, counts: &Counts) -> Option<Edns> {
    for _ in 0..counts.questions {
        read_question(cursor)?;
    }
    let records = u32::from(counts.answers) + u32::from(counts.authorities);
    let mut edns = Edns::default();
    for _ in 0..records {
        read_record(cursor, &mut edns)?;
    }
    for _ in 0..counts.additionals {
        match read_record(cursor, &mut edns)? {
            Record::Opt => return Some(edns),
            Record::BadOpt => return Some(Edns::default()),
            Record::Tsig | Record::Other => {}
        }
    }
    None
}

/// A query has no answers, and authorities only to say from where a zone transfer should begin
/// (RFC 1995 §3). The additional section may hold one OPT and records for others to read. What was
/// understood of OPT is in `opt` even if the rest is malformed, so that the refusal has one too. Returns the TSIG
/// record of a signed message.
#[inline]
fn read_records<'q>(
    mut cursor: Cursor<'q>,
    counts: &Counts,
    qtype: u16,
    opt: &mut Option<Edns>,
) -> Result<Option<&'q [u8]>, Malformed> {
    if let [0, 0, 1] = [counts.answers, counts.authorities, counts.additionals]
        && let Some(edns) = Edns::of_subnet_alone(cursor.rest())
    {
        *opt = Some(edns);
        return Ok(None);
    }
    let authorities_allowed = if qtype == rtype::IXFR { 1 } else { 0 };
    if counts.answers != 0 || counts.authorities > authorities_allowed {
        // The question has been read.
        let behind = Counts {
            questions: 0,
            ..*counts
        };
        *opt = find_opt(&mut cursor, &behind);
        return Err(Malformed);
    }
    let mut edns = Edns::default();
    for _ in 0..counts.authorities {
        if !matches!(read_record(&mut cursor, &mut edns), Some(Record::Other)) {
            return Err(Malformed);
        }
    }
    let mut signature = None;
    for _ in 0..counts.additionals {
        let from = cursor.rest();
        // RFC 8945 §5.1: nothing stands behind it.
        if signature.is_some() {
            return Err(Malformed);
        }
        match read_record(&mut cursor, &mut edns) {
            Some(Record::Other) => {}
            Some(Record::Tsig) => {
                let record = from.get(..from.len() - cursor.rest().len());
                signature = record.filter(|record| tsig::is_well_formed(record));
                if signature.is_none() {
                    return Err(Malformed);
                }
            }
            // RFC 6891 §6.1.1: more than one OPT is an error.
            Some(Record::Opt) if opt.is_none() => *opt = Some(edns),
            Some(Record::Opt) | None => return Err(Malformed),
            Some(Record::BadOpt) => {
                *opt = Some(Edns::default());
                return Err(Malformed);
            }
        }
    }
    if cursor.is_at_end() {
        Ok(signature)
    } else {
        Err(Malformed)
    }
}

enum Record {
    /// What it says is in the place for it.
    Opt,
    BadOpt,
    Tsig,
    Other,
}

/// Reads a record. `edns` is the place for what an OPT says; of one that breaks the rules, nothing counts.
#[inline]
fn read_record(cursor: &mut Cursor<'_>, edns: &mut Edns) -> Option<Record> {
    // RFC 6891 §6.1.2: the name of an OPT is the root, which is a single zero.
    let is_root = cursor.rest().first() == Some(&0);
    cursor.skip_name()?;
    let rtype = cursor.u16()?;
    if rtype != rtype::OPT {
        skip_record_body(cursor)?;
        let is_signature = rtype == rtype::TSIG;
        return Some(if is_signature {
            Record::Tsig
        } else {
            Record::Other
        });
    }
    match edns.read(cursor)? {
        Ok(()) if is_root => Some(Record::Opt),
        Ok(()) | Err(_) => Some(Record::BadOpt),
    }
}
