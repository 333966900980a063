//! The record types that can be written, and the fields of each.

use std::borrow::Cow;

use hickory_proto::rr::RecordType;

use super::field::Field;

/// The types that have a form of their own: mnemonic, number, fields in order.
pub(super) static TYPES: &[(&str, u16, &[Field])] = {
    use Field::*;
    &[
        ("A", 1, &[Ipv4]),
        ("NS", 2, &[Name]),
        ("CNAME", 5, &[Name]),
        ("SOA", 6, &[Name, Name, U32, Time, Time, Time, Time]),
        ("MB", 7, &[Name]),
        ("MG", 8, &[Name]),
        ("MR", 9, &[Name]),
        ("PTR", 12, &[Name]),
        ("HINFO", 13, &[Text, Text]),
        ("MINFO", 14, &[Name, Name]),
        ("MX", 15, &[U16, Name]),
        ("TXT", 16, &[Texts]),
        ("RP", 17, &[Name, Name]),
        ("AFSDB", 18, &[U16, Name]),
        ("X25", 19, &[Text]),
        ("ISDN", 20, &[Texts]),
        ("RT", 21, &[U16, Name]),
        ("KEY", 25, &[U16, U8, Algorithm, Base64]),
        ("PX", 26, &[U16, Name, Name]),
        ("NSAP-PTR", 23, &[Name]),
        ("GPOS", 27, &[Text, Text, Text]),
        ("AAAA", 28, &[Ipv6]),
        ("LOC", 29, &[Location]),
        ("EID", 31, &[Hex]),
        ("NIMLOC", 32, &[Hex]),
        ("SRV", 33, &[U16, U16, U16, Name]),
        ("NAPTR", 35, &[U16, U16, Text, Text, Text, Name]),
        ("KX", 36, &[U16, Name]),
        ("CERT", 37, &[CertificateType, U16, Algorithm, Base64]),
        ("DNAME", 39, &[Name]),
        ("APL", 42, &[Prefixes]),
        ("DS", 43, &[U16, Algorithm, U8, Hex]),
        ("SSHFP", 44, &[U8, U8, Hex]),
        ("IPSECKEY", 45, &[U8, Gateway, OptionalBase64]),
        ("DNSKEY", 48, &[U16, U8, Algorithm, Base64]),
        ("DHCID", 49, &[Base64]),
        ("TLSA", 52, &[U8, U8, U8, Hex]),
        ("SMIMEA", 53, &[U8, U8, U8, Hex]),
        ("NINFO", 56, &[Texts]),
        ("RKEY", 57, &[U16, U8, Algorithm, Base64]),
        ("TALINK", 58, &[Name, Name]),
        ("CDS", 59, &[U16, Algorithm, U8, Hex]),
        ("CDNSKEY", 60, &[U16, U8, Algorithm, Base64]),
        ("OPENPGPKEY", 61, &[Base64]),
        ("CSYNC", 62, &[U32, U16, TypeBitmap]),
        ("ZONEMD", 63, &[U32, U8, U8, Hex]),
        ("SVCB", 64, &[U16, Name, ServiceParameters]),
        ("HTTPS", 65, &[U16, Name, ServiceParameters]),
        ("SPF", 99, &[Texts]),
        ("NID", 104, &[U16, Groups]),
        ("L32", 105, &[U16, Ipv4]),
        ("L64", 106, &[U16, Groups]),
        ("LP", 107, &[U16, Name]),
        ("EUI48", 108, &[Hyphenated]),
        ("EUI64", 109, &[Hyphenated]),
        ("URI", 256, &[U16, U16, Value]),
        ("CAA", 257, &[U8, Tag, Value]),
        ("AVC", 258, &[Texts]),
        ("RESINFO", 261, &[Texts]),
        ("WALLET", 262, &[Texts]),
        ("TA", 32_768, &[U16, Algorithm, U8, Hex]),
        ("DLV", 32_769, &[U16, Algorithm, U8, Hex]),
    ]
};

/// Types that are nobody's data: reserved, OPT, signatures and denials, which a signer makes, and
/// QTYPEs and meta-types (RFC 6895 §3.1).
static NO_DATA: &[std::ops::RangeInclusive<u16>] =
    &[0..=0, 41..=41, 46..=47, 50..=51, 128..=255, 65_535..=65_535];

/// What a signer adds to a zone (RFC 4034 §3, §4; RFC 5155 §3, §4), and the next one makes anew.
static MADE_BY_SIGNERS: &[(&str, u16)] = &[
    ("RRSIG", 46),
    ("NSEC", 47),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
];

/// The mnemonics of the types that can be written.
pub(in crate::config) fn mnemonics() -> impl Iterator<Item = &'static str> + Clone {
    TYPES.iter().map(|(mnemonic, ..)| *mnemonic)
}

/// The type of a mnemonic, or of `TYPE65534` (RFC 3597 §5).
pub(in crate::config) fn record_type(mnemonic: &str) -> Option<RecordType> {
    let number = number(mnemonic)?;
    let is_data = !NO_DATA.iter().any(|range| range.contains(&number));
    is_data.then(|| RecordType::from(number))
}

/// A type as it is written: its mnemonic, or `TYPE65534`.
pub(in crate::config) fn written(record_type: RecordType) -> Cow<'static, str> {
    let number = u16::from(record_type);
    let known = TYPES.iter().find(|(_, known, _)| *known == number);
    known.map_or_else(
        || format!("TYPE{number}").into(),
        |(mnemonic, ..)| (*mnemonic).into(),
    )
}

/// Whether it is a type that only a signer writes.
pub(in crate::config) fn is_made_by_signers(mnemonic: &str) -> bool {
    number(mnemonic).is_some_and(|number| MADE_BY_SIGNERS.iter().any(|(_, made)| *made == number))
}

/// The number of any type that has a name here, or of `TYPE65534`.
pub(super) fn number(mnemonic: &str) -> Option<u16> {
    let is_meant = |known: &str| known.eq_ignore_ascii_case(mnemonic);
    let data = TYPES.iter().map(|(known, number, _)| (*known, *number));
    let known = data.chain(MADE_BY_SIGNERS.iter().copied());
    let mut numbers = known.filter(|(known, _)| is_meant(known));
    if let Some((_, number)) = numbers.next() {
        return Some(number);
    }
    let upper = mnemonic.to_ascii_uppercase();
    upper.strip_prefix("TYPE")?.parse().ok()
}

/// The fields of a type that has a form of its own.
pub(super) fn fields(number: u16) -> Option<&'static [Field]> {
    let known = TYPES.iter().find(|(_, known, _)| *known == number);
    known.map(|(.., fields)| *fields)
}
