//! What a signed zone adds to answers: signatures, and proofs that a name or a type is not there
//! (RFC 4035 §3.1, RFC 9824).
//!
//! What a query alone can name is signed here: names that do not exist, and names made by a wildcard,
//! which are answered as if they stood in the zone (RFC 9824 §3.3).

use smallvec::SmallVec;

use super::codec::code::{Rcode, rtype};
use super::codec::reply::{Fixed, Section};
use super::dnssec::{Memo, NOTHING, ToSign, bitmap, nsec};
use super::lookup::{Hit, Search, Sought, Source, Step};
use super::table::{
    ALIAS_TYPES, Denials, HttpsData, Node, Proofs, Ranking, RrSet, SteeredSignatures, ZoneFacts,
};

/// An RRset that stands in the response, whose owner only the query knows.
struct Unsigned<'r> {
    section: Section,
    rtype: u16,
    /// As the zone has it, and as the response says.
    original_ttl: u32,
    ttl: u32,
    rdata: SmallVec<[&'r [u8]; 32]>,
}

impl<'r> Unsigned<'r> {
    fn of(section: Section, set: &'r RrSet, ttl: u32) -> Self {
        Self {
            section,
            rtype: set.rtype(),
            original_ttl: set.ttl(),
            ttl,
            rdata: set.rdata().collect(),
        }
    }

    /// The one NSEC of a name (RFC 9077 §3: it lives as long as a negative answer).
    fn denial(section: Section, zone: &ZoneFacts, rdata: &'r [u8]) -> Self {
        Self {
            section,
            rtype: rtype::NSEC,
            original_ttl: zone.negative_ttl,
            ttl: zone.negative_ttl,
            rdata: SmallVec::from_slice(&[rdata]),
        }
    }
}

impl<'a> Search<'a, '_, '_, '_> {
    /// Writes an RRset of a node, with its signatures.
    pub(super) fn write(&mut self, section: Section, hit: &Hit<'_, 'a>, set: &RrSet) {
        match hit.source {
            Source::Own => set.write(self.reply, section, hit.sought.owner),
            Source::Wildcard => {
                set.write_unsigned(self.reply, section, hit.sought.owner);
                self.write_signatures(section, hit, set);
            }
        }
    }

    /// Writes the signatures of an RRset that stands in the response already.
    pub(super) fn write_signatures(&mut self, section: Section, hit: &Hit<'_, 'a>, set: &RrSet) {
        if !self.reply.wants_dnssec() {
            return;
        }
        match hit.source {
            Source::Own => set.write_signatures(self.reply, section, hit.sought.owner),
            Source::Wildcard => {
                let what = Unsigned::of(section, set, set.ttl());
                self.sign(hit.sought, self.zone_of(hit.node), &what);
            }
        }
    }

    /// Writes the signatures of what a service has answered, whose TTL may be less than the one that
    /// is signed. `find` finds those that the table has.
    pub(super) fn write_steered_signatures(
        &mut self,
        hit: &Hit<'_, 'a>,
        ttl: u32,
        answer: &RrSet,
        find: impl FnOnce(&'a SteeredSignatures) -> Option<&'a RrSet>,
    ) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let section = Section::Answer;
        match (&hit.source, hit.node.proofs()) {
            (_, None) => {}
            (Source::Own, Some(proofs)) => {
                if let Some(rrsigs) = find(&proofs.steered) {
                    rrsigs.write_for(self.reply, section, hit.sought.owner, ttl);
                }
            }
            (Source::Wildcard, Some(_)) => {
                let what = Unsigned::of(section, answer, ttl);
                self.sign(hit.sought, self.zone_of(hit.node), &what);
            }
        }
    }

    /// Writes the signatures of an HTTPS RRset that is put together for a ranking, and makes them for a name that
    /// only the query knows, or where a Plan has more rankings than are signed with it.
    pub(super) fn sign_https(
        &mut self,
        hit: &Hit<'_, 'a>,
        ranking: Option<Ranking>,
        first: &RrSet,
        behind: &[HttpsData],
        ttl: u32,
    ) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let section = Section::Answer;
        if let (Source::Own, Some(ranking), Some(proofs)) =
            (&hit.source, ranking, hit.node.proofs())
            && let Some(rrsigs) = proofs.steered.ranked(ranking)
        {
            rrsigs.write_for(self.reply, section, hit.sought.owner, ttl);
            return;
        }
        let mut what = Unsigned::of(section, first, ttl);
        what.rdata.extend(behind.iter().map(|rdata| &**rdata));
        let (answers, zone) = (&self.live.answers, self.zone_of(hit.node));
        let memo = match hit.source {
            Source::Own => answers.signed_ahead(),
            Source::Wildcard => answers.memo(),
        };
        self.sign_once(memo, hit.sought, zone, &what);
    }

    /// The NSEC of a name that is another name, or its signature, to whoever asks for it.
    pub(super) fn tell_alias_denial(&mut self, hit: &Hit<'_, 'a>) -> Step {
        let denial = hit.node.proofs().and_then(|proofs| proofs.denials.alias());
        match (&hit.source, self.zone_of(hit.node), denial) {
            (Source::Own, _, Some(nsec)) if self.qtype == rtype::RRSIG => {
                nsec.write_signatures(self.reply, Section::Answer, hit.sought.owner);
            }
            (Source::Own, _, Some(nsec)) => {
                nsec.write(self.reply, Section::Answer, hit.sought.owner);
            }
            (Source::Wildcard, Some(zone), Some(_)) => {
                self.tell_nsec(hit.sought, zone, &bitmap(ALIAS_TYPES.into_iter()));
            }
            (_, _, _) => {}
        }
        Step::Done
    }

    /// Proves that a name of a signed zone does not exist: by saying that it does, with no type, and with the code of
    /// a name that exists unless the client understands both.
    pub(super) fn prove_no_name(&mut self, sought: &Sought<'_>, zone: &'a ZoneFacts) {
        self.write_nsec(Section::Authority, sought, zone, &NOTHING);
        if !self.reply.wants_denial_code() {
            self.reply.rcode = Rcode::NoError;
        }
    }

    /// What a name of a signed zone has that does not exist, to whoever asks for it: the NSEC, which says that it is
    /// there itself, and its signature.
    pub(super) fn tell_no_name(&mut self, sought: &Sought<'_>, zone: &'a ZoneFacts) {
        self.tell_nsec(sought, zone, &NOTHING);
    }

    /// The NSEC of a name that only the query knows, or its signature, to whoever asks for it.
    fn tell_nsec(&mut self, sought: &Sought<'_>, zone: &'a ZoneFacts, bitmap: &[u8]) {
        let section = Section::Answer;
        if self.qtype == rtype::NSEC {
            self.write_nsec(section, sought, zone, bitmap);
        } else {
            let rdata = nsec(sought.name, &zone.apex, bitmap);
            self.sign(sought, Some(zone), &Unsigned::denial(section, zone, &rdata));
        }
    }

    /// Proves that a name has no records of a type, if the zone is signed.
    pub(super) fn prove_no_type(&mut self, hit: &Hit<'_, 'a>) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let Some(Proofs { denials, .. }) = hit.node.proofs() else {
            return;
        };
        match (&hit.source, self.zone_of(hit.node)) {
            (Source::Own, _) => {
                let nsec = denials.of(self.qtype);
                nsec.write(self.reply, Section::Authority, hit.sought.owner);
            }
            (Source::Wildcard, Some(zone)) => {
                let types = bitmap(denials.types_beside(self.qtype));
                self.write_nsec(Section::Authority, hit.sought, zone, &types);
            }
            (Source::Wildcard, None) => {}
        }
    }

    /// The NSEC of a name, which whoever asks for it gets as an answer.
    pub(super) fn tell_denial(&mut self, hit: &Hit<'_, 'a>, denials: &'a Denials) -> Step {
        match (&hit.source, self.zone_of(hit.node)) {
            (Source::Wildcard, Some(zone)) => {
                self.tell_nsec(hit.sought, zone, &bitmap(denials.types_beside(0)));
            }
            (Source::Own | Source::Wildcard, _) => {
                let nsec = denials.all();
                nsec.write(self.reply, Section::Answer, hit.sought.owner);
            }
        }
        Step::Done
    }

    /// RFC 8482 §7: of the signatures of a name, asked for by type, those of one RRset are enough.
    pub(super) fn tell_signatures(&mut self, hit: &Hit<'_, 'a>, denials: &'a Denials) -> Step {
        let section = Section::Answer;
        let zone = self.zone_of(hit.node);
        match (&hit.source, hit.node.rrsets().next(), zone) {
            (Source::Own, set, _) => {
                let set = set.unwrap_or(denials.all());
                set.write_signatures(self.reply, section, hit.sought.owner);
            }
            (Source::Wildcard, Some(set), _) => {
                let what = Unsigned::of(section, set, set.ttl());
                self.sign(hit.sought, zone, &what);
            }
            // Nothing but what a service answers: the name has its NSEC.
            (Source::Wildcard, None, Some(facts)) => {
                self.tell_nsec(hit.sought, facts, &bitmap(denials.types_beside(0)));
            }
            (Source::Wildcard, None, None) => {}
        }
        Step::Done
    }

    /// RFC 4035 §3.1.4: the zone below is signed and how, or it is not.
    pub(super) fn prove_delegation(&mut self, sought: &Sought<'_>, node: &'a Node) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let cut = sought.owner.suffix(node.name().len());
        // An unsigned zone proves nothing of its delegations.
        if let Some(Proofs { denials, .. }) = node.proofs() {
            let proof = node.rrset(rtype::DS).unwrap_or(denials.of(rtype::DS));
            proof.write(self.reply, Section::Authority, cut);
        }
    }

    fn write_nsec(
        &mut self,
        section: Section,
        sought: &Sought<'_>,
        zone: &'a ZoneFacts,
        bitmap: &[u8],
    ) {
        let rdata = nsec(sought.name, &zone.apex, bitmap);
        let ttl = zone.negative_ttl;
        let fixed = Fixed::internet(rtype::NSEC, ttl);
        self.reply.record(section, sought.owner, fixed, &[&rdata]);
        if self.reply.wants_dnssec() {
            self.sign(sought, Some(zone), &Unsigned::denial(section, zone, &rdata));
        }
    }

    /// Signs what the table could not.
    fn sign(&mut self, sought: &Sought<'_>, zone: Option<&'a ZoneFacts>, what: &Unsigned<'_>) {
        self.sign_once(self.live.answers.memo(), sought, zone, what);
    }

    fn sign_once(
        &mut self,
        memo: &Memo,
        sought: &Sought<'_>,
        zone: Option<&'a ZoneFacts>,
        what: &Unsigned<'_>,
    ) {
        let Some(zone) = zone else { return };
        let Some(signer) = &zone.signer else { return };
        let set = ToSign {
            owner: sought.name,
            rtype: what.rtype,
            original_ttl: what.original_ttl,
        };
        let signed = &mut self.signed;
        let tag = memo.tag(set, zone.apex.len(), &what.rdata);
        let made = memo.signatures(tag, || {
            *signed += 1;
            signer.sign_online(set, what.rdata.iter().copied())
        });
        let fixed = Fixed::internet(rtype::RRSIG, what.ttl);
        for (head, signature) in signer.heads(set).zip(made.iter().flatten()) {
            let rdata = [&head, signer.name(), signature];
            self.reply.record(what.section, sought.owner, fixed, &rdata);
        }
    }
}
