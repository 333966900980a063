//! Keys of a zone: what they are, when they count, and what they sign.
//!
//! A key's times say what happens to it and when, as BIND's tools write them, so that a roll-over
//! is a matter of dates and not of commands at the right moment (RFC 6781 §4.1, RFC 7583).

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use hickory_proto::rr::Name;

use super::super::codec::name::to_key;
use crate::config::plan::SigningAlgorithm;

/// A key that signs keys: the parent's DS points at it (RFC 4034 §2.1.1, SEP).
const KEY_SIGNING: u16 = 257;

/// The protocol field of every DNSKEY, RFC 4034 §2.1.2.
const PROTOCOL: u8 = 3;

/// SHA-256 in DS records, RFC 4509.
const DIGEST_SHA256: u8 = 2;

/// An uncompressed point of SEC 1 §2.3.3, of which DNSKEY holds the rest (RFC 6605 §4).
const UNCOMPRESSED: u8 = 4;

/// A signature, which has the same length with both algorithms (RFC 6605 §4, RFC 8080 §4).
pub(in crate::dns) type Signature = [u8; 64];

/// What is wrong with key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Wrong lengths, or halves of two keys.
    #[error("the private key does not fit the public one")]
    Mismatch,
    /// Flags that no zone key has.
    #[error("flags {0}: 256 (zone signing) or 257 (key signing) are expected")]
    Flags(u16),
    /// The system gives no randomness.
    #[error("no key could be made")]
    Generate,
}

/// When a key counts, in seconds since 1970; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// In the DNSKEY RRset from here on.
    pub publish: Option<u32>,
    /// Signs from here on.
    pub activate: Option<u32>,
    /// Signs no more.
    pub inactive: Option<u32>,
    /// Out of the DNSKEY RRset.
    pub delete: Option<u32>,
    /// Announced to the parent by CDS and CDNSKEY from here on; `None`: once it signs.
    pub sync_publish: Option<u32>,
    /// No longer announced.
    pub sync_delete: Option<u32>,
}

impl Times {
    /// Whether a key with them signs data.
    pub fn is_active(&self, now: u32) -> bool {
        let from = self.activate.or(self.publish);
        is_within(now, from, self.inactive.or(self.delete))
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        let times = [
            self.publish,
            self.activate,
            self.inactive,
            self.delete,
            self.sync_publish,
            self.sync_delete,
        ];
        times.into_iter().flatten()
    }
}

/// One key pair.
#[derive(Debug)]
pub struct Key {
    /// The kind of signatures it makes.
    pub algorithm: SigningAlgorithm,
    /// When it counts.
    pub times: Times,
    flags: u16,
    tag: u16,
    public: Vec<u8>,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// A new key that signs keys and data (a combined signing key), and its private half.
    pub fn generate(
        algorithm: SigningAlgorithm,
        times: Times,
    ) -> Result<(Self, Vec<u8>), KeyError> {
        let (pair, private) = match algorithm {
            SigningAlgorithm::EcdsaP256Sha256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                let pair = pair.map_err(|_| KeyError::Generate)?;
                let private = pair.private_key().as_be_bytes();
                let private = private.map_err(|_| KeyError::Generate)?.as_ref().to_vec();
                (Pair::P256(pair), private)
            }
            SigningAlgorithm::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
                let seed = pair.seed().map_err(|_| KeyError::Generate)?;
                let private = seed.as_be_bytes().map_err(|_| KeyError::Generate)?;
                let private = private.as_ref().to_vec();
                (Pair::Ed25519(pair), private)
            }
        };
        let public = pair.public().to_vec();
        Ok((
            Self::of(algorithm, KEY_SIGNING, public, pair, times),
            private,
        ))
    }

    /// A key from its halves: `public` as in DNSKEY, `private` as in BIND's files.
    pub fn new(
        algorithm: SigningAlgorithm,
        flags: u16,
        public: Vec<u8>,
        private: &[u8],
        times: Times,
    ) -> Result<Self, KeyError> {
        if flags & !1 != 256 {
            return Err(KeyError::Flags(flags));
        }
        let pair = match algorithm {
            SigningAlgorithm::EcdsaP256Sha256 => {
                let point = [&[UNCOMPRESSED], public.as_slice()].concat();
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(kind, private, &point).map(Pair::P256)
            }
            SigningAlgorithm::Ed25519 => {
                Ed25519KeyPair::from_seed_and_public_key(private, &public).map(Pair::Ed25519)
            }
        };
        let pair = pair.map_err(|_| KeyError::Mismatch)?;
        Ok(Self::of(algorithm, flags, public, pair, times))
    }

    fn of(
        algorithm: SigningAlgorithm,
        flags: u16,
        public: Vec<u8>,
        pair: Pair,
        times: Times,
    ) -> Self {
        Self {
            algorithm,
            times,
            flags,
            tag: tag(&dnskey(algorithm, flags, &public)),
            public,
            pair,
        }
    }

    /// Whether it signs keys, so that the parent has a DS for it.
    pub fn is_key_signing(&self) -> bool {
        self.flags == KEY_SIGNING
    }

    /// 257 for keys that sign keys, 256 for others.
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// The public half, as DNSKEY has it.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The data of its DNSKEY record (RFC 4034 §2.1).
    pub fn dnskey(&self) -> Vec<u8> {
        dnskey(self.algorithm, self.flags, &self.public)
    }

    /// The number by which signatures name it (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The data of a DS record for it; `owner` is the zone's name on the wire, in lower case
    /// (RFC 4034 §5.1, RFC 4509).
    pub fn ds(&self, owner: &[u8]) -> Vec<u8> {
        let mut rdata = self.tag().to_be_bytes().to_vec();
        rdata.extend([self.algorithm.number(), DIGEST_SHA256]);
        let digested = [owner, &self.dnskey()].concat();
        rdata.extend_from_slice(digest::digest(&digest::SHA256, &digested).as_ref());
        rdata
    }

    /// Whether the data of a DS record is of it: by SHA-256, and by its number alone where the digest is another.
    pub fn is_meant_by(&self, zone: &Name, ds: &[u8]) -> bool {
        let own = self.ds(&to_key(zone));
        match ds.get(3) {
            Some(&DIGEST_SHA256) => *ds == *own,
            Some(_) | None => ds.get(..3) == own.get(..3),
        }
    }

    /// The DS record of a zone's key, as a master file has it (RFC 4034 §5.3).
    pub fn ds_record(&self, zone: &Name) -> String {
        let digest: String = self
            .ds(&to_key(zone))
            .iter()
            .skip(4)
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let (tag, algorithm) = (self.tag(), self.algorithm.number());
        format!("{zone} IN DS {tag} {algorithm} {DIGEST_SHA256} {digest}")
    }

    /// Signs (RFC 6605 §4, RFC 8080 §4); `None` if the system gives no randomness.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Signature> {
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).ok()?,
            Pair::Ed25519(pair) => pair.sign(message),
        };
        signature.as_ref().try_into().ok()
    }

    pub(super) fn is_published(&self, now: u32) -> bool {
        // A key that signs must be known (RFC 4035 §2.2), unless its times say otherwise.
        let from = self.times.publish.or(self.times.activate);
        is_within(now, from, self.times.delete)
    }

    /// Whether it signs data. When algorithms roll over, it does so before its DNSKEY is there and after
    /// that is gone: who has the DNSKEY set of a time wants signatures of every algorithm in it
    /// (RFC 6781 §4.1.4).
    pub(super) fn is_active(&self, now: u32) -> bool {
        self.times.is_active(now)
    }

    /// Whether it signs the DNSKEY RRset that it is in.
    fn is_in_use(&self, now: u32) -> bool {
        self.is_published(now) && self.is_active(now)
    }

    pub(super) fn is_announced(&self, now: u32) -> bool {
        let is_due = match self.times.sync_publish {
            Some(from) => from <= now,
            // What it has signed is in caches after it signs no more.
            None => self.is_published(now) && is_within(now, self.times.activate, None),
        };
        let is_over = |until: Option<u32>| until.is_some_and(|until| until <= now);
        // Of a key that is deleted the parent has nothing to keep.
        is_due
            && !is_over(self.times.sync_delete)
            && !is_over(self.times.delete)
            && self.is_key_signing()
    }
}

fn dnskey(algorithm: SigningAlgorithm, flags: u16, public: &[u8]) -> Vec<u8> {
    let mut rdata = flags.to_be_bytes().to_vec();
    rdata.extend([PROTOCOL, algorithm.number()]);
    rdata.extend_from_slice(public);
    rdata
}

/// RFC 4034 appendix B, of a key's data.
fn tag(dnskey: &[u8]) -> u16 {
    let sum: u32 = dnskey
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    let folded = (sum + (sum >> 16)) & 0xffff;
    u16::try_from(folded).unwrap_or(u16::MAX)
}

fn is_within(now: u32, from: Option<u32>, to: Option<u32>) -> bool {
    from.is_none_or(|from| from <= now) && to.is_none_or(|to| now < to)
}

impl Pair {
    fn public(&self) -> &[u8] {
        match self {
            // The point without the byte that says that it is not compressed.
            Self::P256(pair) => pair.public_key().as_ref().get(1..).unwrap_or_default(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

/// The keys of one zone.
#[derive(Debug, Default)]
pub struct ZoneKeys {
    /// In no order.
    pub keys: Vec<Key>,
}

impl ZoneKeys {
    /// The keys of the DNSKEY RRset.
    pub(super) fn published(&self, now: u32) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.is_published(now))
    }

    /// The keys whose DS the parent should have.
    pub(super) fn announced(&self, now: u32) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.is_announced(now))
    }

    /// The keys that a DS can be made for: of the past and the future too, as long as they are not
    /// deleted, because a roll-over begins with the parent (RFC 6781 §4.1.2).
    pub fn for_parent(&self, now: u32) -> impl Iterator<Item = &Key> {
        let lives_on = move |key: &&Key| is_within(now, None, key.times.delete);
        self.keys
            .iter()
            .filter(|key| key.is_key_signing())
            .filter(lives_on)
    }

    /// The keys that sign at `now`: the one kind for keys, the other for data. Where an algorithm
    /// has one kind alone, it signs both.
    pub(super) fn signing(&self, now: u32, signed: Signed) -> impl Iterator<Item = &Key> {
        let signs = move |key: &Key| match signed {
            Signed::Keys => key.is_in_use(now),
            Signed::Data => key.is_active(now),
        };
        let fits = move |key: &Key| key.is_key_signing() == (signed == Signed::Keys);
        self.keys.iter().filter(move |key| {
            let alike = self
                .keys
                .iter()
                .filter(|other| other.algorithm == key.algorithm);
            let mut signing = alike.filter(|other| signs(other));
            signs(key) && (fits(key) || signing.all(|other| !fits(other)))
        })
    }

    /// Whether the zone is signed at `now`: a key signs data, and whoever validates can know it.
    pub fn is_signing(&self, now: u32) -> bool {
        self.signing(now, Signed::Data)
            .any(|key| key.is_published(now))
    }

    /// Whether keys sign both what the zone has and, where its parent may have a DS, the keys themselves.
    pub fn is_whole(&self, now: u32) -> bool {
        let mut of_keys = self.signing(now, Signed::Keys);
        self.is_signing(now) && of_keys.any(Key::is_key_signing)
    }

    /// What the keys sign at `now`.
    pub fn signs(&self, now: u32) -> Signs {
        match (self.is_signing(now), self.is_whole(now)) {
            (_, true) => Signs::All,
            (true, false) => Signs::DataAlone,
            (false, false) => Signs::Nothing,
        }
    }

    /// When they first sign less than they do at `now`, by their times, and what then.
    pub fn signs_less_from(&self, now: u32) -> Option<(u32, Signs)> {
        let changes = std::iter::successors(self.next_change(now), |at| self.next_change(*at));
        let mut changes = changes.map(|at| (at, self.signs(at)));
        changes.find(|(_, signs)| *signs < self.signs(now))
    }

    /// When the times of a key next change anything.
    pub(in crate::dns) fn next_change(&self, now: u32) -> Option<u32> {
        let times = self.keys.iter().flat_map(|key| key.times.all());
        times.filter(|time| *time > now).min()
    }
}

/// What a zone's keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signs {
    /// None is active.
    Nothing,
    /// What the zone has; of the keys themselves no signature leads to a DS, which is made for key-signing keys alone.
    DataAlone,
    /// Both.
    All,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Signed {
    /// DNSKEY, CDS and CDNSKEY.
    Keys,
    /// Everything else.
    Data,
}
