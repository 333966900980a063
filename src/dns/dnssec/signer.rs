//! Signatures over RRsets (RFC 4034 §3, RFC 4035 §2.2), and those that are kept from table to table.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::codec::name::label_count;
use super::canonical::{Bytes, append_rrset};
use super::key::{Key, Signed, ZoneKeys};
use super::memo::Made;
use aws_lc_rs::digest;

const DAY: u32 = 86_400;

/// How long a signature holds.
const VALIDITY: u32 = 14 * DAY;

/// A signature is replaced when it would hold for no longer than this: long enough to notice, over
/// holidays too, that nothing signs any more (RFC 6781 §4.4.2).
const REFRESH: u32 = 7 * DAY;

/// What is due within this is replaced along with what is due, so that signing comes once a day.
const TOGETHER: u32 = DAY;

/// Clocks of validators may be behind by this (RFC 6781 §4.4.2.1).
const CLOCK_SKEW: u32 = 3_600;

/// A clock that was ahead when a signature was made and is set back by more than this has it replaced: it does not hold
/// yet, or not for validators whose clocks are behind.
const SET_BACK: u32 = CLOCK_SKEW / 2;

/// Whether what was signed at a time is of a clock that was ahead.
pub(in crate::dns) fn is_of_the_future(signed_at: u32, now: u32) -> bool {
    signed_at > now.saturating_add(SET_BACK)
}

/// RRSIG RDATA without the signer's name and the signature (RFC 4034 §3.1).
const RRSIG_FIXED: usize = 18;

/// The beginning of RRSIG RDATA.
type Head = [u8; RRSIG_FIXED];

/// An RRset to sign.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct ToSign<'a> {
    /// On the wire, in lower case.
    pub(in crate::dns) owner: &'a [u8],
    pub(in crate::dns) rtype: u16,
    /// Seconds; a response may say less.
    pub(in crate::dns) original_ttl: u32,
}

/// What signs a zone until its keys or its signatures are due to change.
#[derive(Debug)]
pub(in crate::dns) struct Signer {
    apex: Box<[u8]>,
    keys: Arc<ZoneKeys>,
    now: u32,
}

/// Signatures by what they are made of, so that a table takes over those of the one before.
#[derive(Debug, Default)]
pub(in crate::dns) struct Signatures {
    made: HashMap<[u8; 32], Lasting>,
}

#[derive(Clone, Debug)]
struct Lasting {
    rrsig: Arc<[u8]>,
    expiration: u32,
}

/// How much of the processors signing takes.
#[derive(Clone, Copy)]
pub(in crate::dns) enum Haste<'a> {
    /// All of them.
    AtOnce,
    /// One, with rests. The function waits for as long as one takes, and tells whether to go on.
    Beside(&'a (dyn Fn() -> bool + Sync)),
}

/// RRsets between two rests: 4 ms if all are signed.
const BETWEEN_RESTS: usize = 256;

/// Signatures while a table is compiled.
pub(in crate::dns) struct SigningRun<'p> {
    previous: Option<&'p Signatures>,
    signatures: Signatures,
    renew_at: u32,
    haste: Haste<'p>,
    /// RRsets until the next rest.
    until_rest: usize,
    is_given_up: bool,
}

impl<'p> SigningRun<'p> {
    /// Begins with the signatures of the table before.
    pub(in crate::dns) fn new(previous: Option<&'p Signatures>, haste: Haste<'p>) -> Self {
        Self {
            previous,
            signatures: Signatures::default(),
            renew_at: u32::MAX,
            haste,
            until_rest: 0,
            is_given_up: false,
        }
    }

    /// Whether it was given up, so that not all is signed.
    pub(in crate::dns) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// What was used, and when the first of it has to be replaced, in seconds since 1970.
    pub(in crate::dns) fn finish(self) -> (Signatures, u32) {
        (self.signatures, self.renew_at)
    }

    /// Takes over what another run used.
    pub(in crate::dns) fn merge(&mut self, other: Self) {
        self.signatures.made.extend(other.signatures.made);
        self.due_at(other.renew_at);
        self.is_given_up |= other.is_given_up;
    }

    /// Rests if it is time to. Returns whether to go on.
    fn goes_on(&mut self) -> bool {
        if let Haste::Beside(rest) = self.haste
            && !self.is_given_up
        {
            if self.until_rest == 0 {
                self.is_given_up = !rest();
                self.until_rest = BETWEEN_RESTS;
            }
            self.until_rest -= 1;
        }
        !self.is_given_up
    }

    fn due_at(&mut self, time: u32) {
        self.renew_at = self.renew_at.min(time);
    }
}

impl Signer {
    /// The signer of a zone; `None` without a key that is active at `now`.
    pub(in crate::dns) fn new(apex: &[u8], keys: Arc<ZoneKeys>, now: u32) -> Option<Self> {
        keys.is_signing(now).then(|| Self {
            apex: apex.into(),
            keys,
            now,
        })
    }

    /// Signatures of an RRset, as RDATA of RRSIG records: one of each key that signs such data.
    /// Those of the table before are taken over while they hold for long enough. None in a run that was given up.
    pub(in crate::dns) fn sign(
        &self,
        run: &mut SigningRun<'_>,
        set: ToSign<'_>,
        rdata: &[&[u8]],
    ) -> Vec<Arc<[u8]>> {
        if !run.goes_on() {
            return Vec::new();
        }
        let mut message = self.message(set, rdata.iter().copied());
        let keys = self.keys.signing(self.now, signed(set.rtype));
        keys.filter_map(|key| self.sign_once(run, key, set, &mut message))
            .collect()
    }

    /// As [`Signer::sign`], for an owner that only the query knows; behind their [heads](Signer::heads) and the
    /// signer's name they are the RDATA of RRSIG records.
    pub(in crate::dns) fn sign_online<'r>(
        &self,
        set: ToSign<'_>,
        rdata: impl Iterator<Item = &'r [u8]>,
    ) -> Option<Made> {
        let mut message = self.message(set, rdata);
        let keys = self.keys.signing(self.now, Signed::Data);
        keys.map(|key| key.sign(message.under(&self.head(key, set))))
            .collect()
    }

    /// What RRSIG RDATA says before the signer's name, of each that [`Signer::sign_online`] makes, in the same order.
    pub(in crate::dns) fn heads(&self, set: ToSign<'_>) -> impl Iterator<Item = Head> {
        let keys = self.keys.signing(self.now, Signed::Data);
        keys.map(move |key| self.head(key, set))
    }

    /// The signer's name: that of the zone.
    pub(in crate::dns) fn name(&self) -> &[u8] {
        &self.apex
    }

    /// The data of the records that tell of the keys, by type: DNSKEY, CDS, CDNSKEY (RFC 7344).
    pub(in crate::dns) fn key_records(&self) -> [Vec<Vec<u8>>; 3] {
        let published = self.keys.published(self.now);
        let announced = || self.keys.announced(self.now);
        [
            published.map(Key::dnskey).collect(),
            announced().map(|key| key.ds(&self.apex)).collect(),
            announced().map(Key::dnskey).collect(),
        ]
    }

    fn message<'r>(&self, set: ToSign<'_>, rdata: impl Iterator<Item = &'r [u8]>) -> Message {
        let mut bytes = Bytes::from_slice(&Head::default());
        bytes.extend_from_slice(&self.apex);
        let rrset_at = bytes.len();
        append_rrset(&mut bytes, set, rdata);
        Message { bytes, rrset_at }
    }

    fn sign_once(
        &self,
        run: &mut SigningRun<'_>,
        key: &Key,
        set: ToSign<'_>,
        message: &mut Message,
    ) -> Option<Arc<[u8]>> {
        let fingerprint = fingerprint(key, set, message.rrset());
        let kept = run
            .previous
            .and_then(|previous| previous.made.get(&fingerprint));
        let lasts = |made: &&Lasting| {
            let is_due = made.expiration <= self.now + REFRESH + TOGETHER;
            !is_due && !is_of_the_future(made.expiration - VALIDITY, self.now)
        };
        // Within one run the same RRset may come twice.
        let known = run.signatures.made.get(&fingerprint).or(kept.filter(lasts));
        let made = match known {
            Some(made) => made.clone(),
            None => Lasting {
                rrsig: self.rrsig(key, set, message)?,
                expiration: self.now + VALIDITY,
            },
        };
        run.due_at(made.expiration - REFRESH);
        let rrsig = made.rrsig.clone();
        run.signatures.made.insert(fingerprint, made);
        Some(rrsig)
    }

    fn rrsig(&self, key: &Key, set: ToSign<'_>, message: &mut Message) -> Option<Arc<[u8]>> {
        let head = self.head(key, set);
        let signature = key.sign(message.under(&head))?;
        Some([&head, &*self.apex, &signature].concat().into())
    }

    fn head(&self, key: &Key, set: ToSign<'_>) -> Head {
        let [type_high, type_low] = set.rtype.to_be_bytes();
        let [tag_high, tag_low] = key.tag().to_be_bytes();
        let mut head = Head::default();
        let (what, rest) = head.split_at_mut(4);
        let (times, tag) = rest.split_at_mut(12);
        what.copy_from_slice(&[
            type_high,
            type_low,
            key.algorithm.number(),
            labels(set.owner),
        ]);
        let numbers = [
            set.original_ttl,
            self.now + VALIDITY,
            self.now.saturating_sub(CLOCK_SKEW),
        ];
        for (place, number) in times.as_chunks_mut().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        tag.copy_from_slice(&[tag_high, tag_low]);
        head
    }
}

/// What is signed (RFC 4034 §3.1.8.1): the RRSIG's own data, which every key has another of, and the RRset.
struct Message {
    bytes: Bytes,
    /// Where the RRset begins.
    rrset_at: usize,
}

impl Message {
    fn rrset(&self) -> &[u8] {
        self.bytes.get(self.rrset_at..).unwrap_or_default()
    }

    fn under(&mut self, head: &Head) -> &[u8] {
        if let Some(place) = self.bytes.first_chunk_mut() {
            *place = *head;
        }
        &self.bytes
    }
}

/// Which kind of key signs a type (RFC 4035 §2.2, RFC 7344 §4.1).
fn signed(rtype: u16) -> Signed {
    use super::super::codec::code::rtype::{CDNSKEY, CDS, DNSKEY};
    match rtype {
        DNSKEY | CDS | CDNSKEY => Signed::Keys,
        _ => Signed::Data,
    }
}

/// RFC 4034 §3.1.3: neither the root nor a leading `*` counts.
fn labels(owner: &[u8]) -> u8 {
    let wildcard = usize::from(owner.starts_with(b"\x01*"));
    u8::try_from(label_count(owner) - wildcard).unwrap_or(u8::MAX)
}

/// What makes a signature another one, but for its times.
fn fingerprint(key: &Key, set: ToSign<'_>, canonical: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&key.dnskey());
    context.update(&set.rtype.to_be_bytes());
    context.update(canonical);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
