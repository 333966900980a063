//! Numbers that the protocol assigns: types, classes, response codes, options, extended errors.

/// Record types that this server treats apart; every other is just a number.
pub(in crate::dns) mod rtype {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const NS: u16 = 2;
    pub(in crate::dns) const CNAME: u16 = 5;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const MX: u16 = 15;
    pub(in crate::dns) const TXT: u16 = 16;
    pub(in crate::dns) const AAAA: u16 = 28;
    pub(in crate::dns) const DNAME: u16 = 39;
    pub(in crate::dns) const OPT: u16 = 41;
    pub(in crate::dns) const DS: u16 = 43;
    pub(in crate::dns) const RRSIG: u16 = 46;
    pub(in crate::dns) const NSEC: u16 = 47;
    pub(in crate::dns) const DNSKEY: u16 = 48;
    pub(in crate::dns) const CDS: u16 = 59;
    pub(in crate::dns) const CDNSKEY: u16 = 60;
    pub(in crate::dns) const HTTPS: u16 = 65;
    pub(in crate::dns) const NXNAME: u16 = 128;
    pub(in crate::dns) const TKEY: u16 = 249;
    pub(in crate::dns) const TSIG: u16 = 250;
    pub(in crate::dns) const IXFR: u16 = 251;
    pub(in crate::dns) const AXFR: u16 = 252;
    pub(in crate::dns) const ANY: u16 = 255;
}

/// The Internet.
pub(in crate::dns) const CLASS_IN: u16 = 1;
/// Chaos: what servers tell of themselves.
pub(in crate::dns) const CLASS_CH: u16 = 3;

/// Any class, of records that belong to a message.
pub(in crate::dns) const CLASS_ANY: u16 = 255;

/// A response code (RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rcode {
    /// No error.
    NoError,
    /// The query cannot be understood.
    FormErr,
    /// The server cannot answer now.
    ServFail,
    /// The name does not exist.
    NxDomain,
    /// The kind of query is not supported.
    NotImp,
    /// The server will not answer this.
    Refused,
    /// A name made by DNAME is too long (RFC 6672 §2.2).
    YxDomain,
    /// The query is signed with a key that is not known (RFC 8945 §5.2.1).
    NotAuth,
    /// The EDNS version is not supported (RFC 6891 §9).
    BadVers,
    /// The server cookie is missing or wrong (RFC 7873 §8).
    BadCookie,
}

impl Rcode {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NoError,
        Self::FormErr,
        Self::ServFail,
        Self::NxDomain,
        Self::NotImp,
        Self::Refused,
        Self::YxDomain,
        Self::NotAuth,
        Self::BadVers,
        Self::BadCookie,
    ];

    /// The code, of which the header holds the low four bits and OPT the others.
    pub fn code(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::YxDomain => 6,
            Self::NotAuth => 9,
            Self::BadVers => 16,
            Self::BadCookie => 23,
        }
    }

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "noerror",
            Self::FormErr => "formerr",
            Self::ServFail => "servfail",
            Self::NxDomain => "nxdomain",
            Self::NotImp => "notimp",
            Self::Refused => "refused",
            Self::YxDomain => "yxdomain",
            Self::NotAuth => "notauth",
            Self::BadVers => "badvers",
            Self::BadCookie => "badcookie",
        }
    }
}

/// An extended error (RFC 8914 §4), with a text for whoever debugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct ExtendedError {
    pub(in crate::dns) code: u16,
    pub(in crate::dns) text: &'static str,
}

impl ExtendedError {
    /// RFC 8914 §4.4: the answer may not be what it should be.
    pub(in crate::dns) const FAIL_OPEN: Self = Self {
        code: 3,
        text: "when_none_healthy: all (no region is able)",
    };

    /// The same, where regions without the type are able.
    pub(in crate::dns) const FAIL_OPEN_FOR_TYPE: Self = Self {
        code: 3,
        text: "when_none_healthy: all (no region with this type is able)",
    };

    /// RFC 9824 §3.4: NXNAME is no type to ask for.
    pub(in crate::dns) const INVALID_QUERY_TYPE: Self = Self {
        code: 30,
        text: "NXNAME only marks denials",
    };

    /// RFC 8914 §4.21: this server is not who to ask, for a reason that nobody else can guess.
    pub(in crate::dns) const fn not_authoritative(text: &'static str) -> Self {
        Self { code: 20, text }
    }

    /// RFC 8914 §4.1: none of the others says it.
    pub(in crate::dns) const fn other(text: &'static str) -> Self {
        Self { code: 0, text }
    }

    /// The bytes of its option: head, code and text.
    pub(in crate::dns) fn length(self) -> usize {
        4 + 2 + self.text.len()
    }
}
