//! Queries: any bytes become a query, a refusal to send, or silence (RFC 1035 §4.1, RFC 6891,
//! RFC 8906, RFC 9619). Strict, and without allocation.

use super::code::{Rcode, rtype};
use super::cursor::Cursor;
use super::edns::{Edns, skip_record_body};
use super::name::{WireName, read_name};

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
    /// The question as it came, case kept; empty if there is none to send back.
    pub(in crate::dns) question: &'q [u8],
    /// What OPT says; `None`: no OPT, and none in the response (RFC 6891 §7).
    pub(in crate::dns) edns: Option<Edns>,
}

/// A query that can be looked up.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Query<'q> {
    pub(in crate::dns) head: Head<'q>,
    /// In lower case.
    pub(in crate::dns) name: &'q [u8],
    pub(in crate::dns) qtype: u16,
    pub(in crate::dns) qclass: u16,
}

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) enum Message<'q> {
    /// To be looked up.
    Query(Query<'q>),
    /// To be answered with this code and nothing else.
    Bare(Head<'q>, Rcode),
    /// Not to be answered.
    Silence(DropReason),
}

impl<'q> Message<'q> {
    /// What the response takes from it, if there is to be one.
    pub(in crate::dns) fn head_mut(&mut self) -> Result<&mut Head<'q>, DropReason> {
        match self {
            Self::Query(query) => Ok(&mut query.head),
            Self::Bare(head, _) => Ok(head),
            Self::Silence(reason) => Err(*reason),
        }
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
        question: &[],
        edns: None,
    };
    // What follows the header depends on the opcode, so that for another it cannot be read.
    if flags & OPCODE != 0 {
        head.edns = find_opt(&mut cursor, &counts);
        return Message::Bare(head, Rcode::NotImp);
    }
    // RFC 7873 §5.4: who asks for a cookie needs no question.
    if counts.questions == 0
        && let Records::Fine(Some(edns)) = read_records(cursor, &counts, 0)
        && edns.cookie.is_some()
    {
        head.edns = Some(edns);
        return Message::Bare(head, Rcode::NoError);
    }
    // RFC 9619 §4: any other query has exactly one question.
    if counts.questions != 1 {
        head.edns = find_opt(&mut cursor, &counts);
        return Message::Bare(head, Rcode::FormErr);
    }
    let question = read_question(&mut cursor);
    let question = question.and_then(|(raw, qtype, qclass)| Some((name.set(raw)?, qtype, qclass)));
    let Some((name, qtype, qclass)) = question else {
        return Message::Bare(head, Rcode::FormErr);
    };
    head.question = message.get(HEADER..cursor.position()).unwrap_or_default();
    match read_records(cursor, &counts, qtype) {
        Records::Malformed(edns) => Message::Bare(Head { edns, ..head }, Rcode::FormErr),
        Records::Fine(edns) => {
            head.edns = edns;
            if edns.is_some_and(|edns| edns.is_bad_version) {
                return Message::Bare(head, Rcode::BadVers);
            }
            Message::Query(Query {
                head,
                name,
                qtype,
                qclass,
            })
        }
    }
}

fn read_header(cursor: &mut Cursor<'_>) -> Option<(u16, u16, Counts)> {
    let id = cursor.u16()?;
    let flags = cursor.u16()?;
    let counts = Counts {
        questions: cursor.u16()?,
        answers: cursor.u16()?,
        authorities: cursor.u16()?,
        additionals: cursor.u16()?,
    };
    Some((id, flags, counts))
}

fn read_question<'q>(cursor: &mut Cursor<'q>) -> Option<(&'q [u8], u16, u16)> {
    Some((read_name(cursor)?, cursor.u16()?, cursor.u16()?))
}

/// The OPT of a message that is refused anyway, if it can be found: a refusal has one too
/// (RFC 6891 §6.1.1).
fn find_opt(cursor: &mut Cursor<'_>, counts: &Counts) -> Option<Edns> {
    for _ in 0..counts.questions {
        read_question(cursor)?;
    }
    let records = u32::from(counts.answers) + u32::from(counts.authorities);
    for _ in 0..records {
        read_record(cursor)?;
    }
    for _ in 0..counts.additionals {
        match read_record(cursor)? {
            Record::Opt(edns) => return Some(edns),
            Record::BadOpt => return Some(Edns::default()),
            Record::Other => {}
        }
    }
    None
}

/// What stands behind the question.
enum Records {
    Fine(Option<Edns>),
    /// With what was understood of OPT, so that the refusal has one too.
    Malformed(Option<Edns>),
}

/// A query has no answers, and authorities only to say from where a zone transfer should begin
/// (RFC 1995 §3). The additional section may hold one OPT and records for others to read.
fn read_records(mut cursor: Cursor<'_>, counts: &Counts, qtype: u16) -> Records {
    let authorities_allowed = if qtype == rtype::IXFR { 1 } else { 0 };
    if counts.answers != 0 || counts.authorities > authorities_allowed {
        // The question has been read.
        let behind = Counts {
            questions: 0,
            ..*counts
        };
        return Records::Malformed(find_opt(&mut cursor, &behind));
    }
    for _ in 0..counts.authorities {
        if !matches!(read_record(&mut cursor), Some(Record::Other)) {
            return Records::Malformed(None);
        }
    }
    let mut found = None;
    for _ in 0..counts.additionals {
        match read_record(&mut cursor) {
            Some(Record::Other) => {}
            // RFC 6891 §6.1.1: more than one OPT is an error.
            Some(Record::Opt(edns)) if found.is_none() => found = Some(edns),
            Some(Record::Opt(_)) | None => return Records::Malformed(found),
            Some(Record::BadOpt) => return Records::Malformed(Some(Edns::default())),
        }
    }
    if cursor.is_at_end() {
        Records::Fine(found)
    } else {
        Records::Malformed(found)
    }
}

enum Record {
    Opt(Edns),
    BadOpt,
    Other,
}

fn read_record(cursor: &mut Cursor<'_>) -> Option<Record> {
    // RFC 6891 §6.1.2: the name of an OPT is the root, which is a single zero.
    let is_root = cursor.rest().first() == Some(&0);
    cursor.skip_name()?;
    if cursor.u16()? != rtype::OPT {
        skip_record_body(cursor)?;
        return Some(Record::Other);
    }
    match Edns::read(cursor)? {
        Ok(edns) if is_root => Some(Record::Opt(edns)),
        Ok(_) | Err(_) => Some(Record::BadOpt),
    }
}
