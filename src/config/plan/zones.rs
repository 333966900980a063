//! `zones`: what DNS is authoritative for.

use hickory_proto::rr::{Name, RData};

use super::FileRef;
use crate::ids::ServiceId;
use crate::units::Ttl;

/// A zone: all that is not steered, as records.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The apex, lower case and absolute.
    pub origin: Name,
    /// Every record, SOA and NS included; owners are at or below the apex.
    pub records: Vec<ZoneRecord>,
    /// Names that services answer for, wildcards as `*`.
    pub steered: Vec<(Name, ServiceId)>,
    /// How it is signed; none: not at all.
    pub dnssec: Option<Dnssec>,
}

/// How a zone is signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Dnssec {
    /// Of keys that are made; those that are there keep theirs.
    pub algorithm: SigningAlgorithm,
    /// The folder of its keys, in BIND's format.
    pub keys: FileRef,
}

/// A DNSSEC algorithm (RFC 8624 §3.1 recommends these two for signing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningAlgorithm {
    /// RFC 6605.
    EcdsaP256Sha256,
    /// RFC 8080.
    Ed25519,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::EcdsaP256Sha256, Self::Ed25519];

    /// As DNSKEY, DS and RRSIG call it.
    pub fn number(self) -> u8 {
        match self {
            Self::EcdsaP256Sha256 => 13,
            Self::Ed25519 => 15,
        }
    }

    /// As IANA's registry calls it.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Self::Ed25519 => "ED25519",
        }
    }
}

/// A record of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneRecord {
    /// Lower case and absolute.
    pub owner: Name,
    /// Of its RRset.
    pub ttl: Ttl,
    /// The data.
    pub data: RData,
}
