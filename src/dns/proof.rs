//! What a signed zone adds to answers: signatures, and proofs that a name or a type is not there
//! (RFC 4035 §3.1, RFC 9824).
//!
//! What a query alone can name is signed here: names that do not exist, and names made by a wildcard,
//! which are answered as if they stood in the zone (RFC 9824 §3.3).

use super::codec::code::{Rcode, rtype};
use super::codec::reply::{Fixed, Section};
use super::dnssec::{ToSign, nsec};
use super::lookup::{Hit, Search, Sought, Source, Step};
use super::table::{Node, RrSet, SteeredService, SteeredType, ZoneFacts};

/// The types of a name that does not exist (RFC 9824 §3.1).
const NOTHING: [u16; 3] = [rtype::RRSIG, rtype::NSEC, rtype::NXNAME];

/// An RRset that stands in the response, whose owner only the query knows.
struct Unsigned {
    section: Section,
    rtype: u16,
    /// As the zone has it, and as the response says.
    original_ttl: u32,
    ttl: u32,
}

impl Unsigned {
    fn of(section: Section, set: &RrSet) -> Self {
        Self {
            section,
            rtype: set.rtype(),
            original_ttl: set.ttl(),
            ttl: set.ttl(),
        }
    }

    fn denial(section: Section, zone: &ZoneFacts) -> Self {
        Self {
            section,
            rtype: rtype::NSEC,
            original_ttl: zone.negative_ttl,
            ttl: zone.negative_ttl,
        }
    }
}

impl<'a> Search<'a, '_, '_, '_> {
    /// Writes an RRset of a node, with its signatures.
    pub(super) fn write(&mut self, section: Section, hit: &Hit<'a>, set: &RrSet) {
        match hit.source {
            Source::Own => set.write(self.reply, section, hit.sought.owner),
            Source::Wildcard => {
                set.write_unsigned(self.reply, section, hit.sought.owner);
                self.write_signatures(section, hit, set);
            }
        }
    }

    /// Writes the signatures of an RRset that stands in the response already.
    pub(super) fn write_signatures(&mut self, section: Section, hit: &Hit<'a>, set: &RrSet) {
        if !self.reply.wants_dnssec() {
            return;
        }
        match hit.source {
            Source::Own => set.write_signatures(self.reply, section, hit.sought.owner),
            Source::Wildcard => {
                let what = Unsigned::of(section, set);
                self.sign(&hit.sought, self.zone_of(hit.node), what, set.rdata());
            }
        }
    }

    /// Writes the signatures of what a service has answered.
    pub(super) fn write_steered_signatures(
        &mut self,
        hit: &Hit<'a>,
        service: &SteeredService,
        member: usize,
        rtype: SteeredType,
        rotation: usize,
    ) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let ttl = service.ttl;
        if matches!(hit.source, Source::Own) {
            let fixed = Fixed::internet(rtype::RRSIG, ttl);
            for rrsig in hit.node.steered_signatures.of(member, rtype, rotation) {
                self.reply
                    .record(Section::Answer, hit.sought.owner, fixed, &[rrsig]);
            }
            return;
        }
        let (section, original_ttl) = (Section::Answer, service.offer.ttl);
        let what = Unsigned {
            section,
            rtype: rtype.number(),
            original_ttl,
            ttl,
        };
        let rdata = service.offer.rdata(member, rtype, rotation);
        self.sign(&hit.sought, self.zone_of(hit.node), what, rdata);
    }

    /// Proves that a name does not exist, if the zone is signed: by saying that it does, with no
    /// type, and with the code of a name that exists unless the client understands both.
    pub(super) fn prove_no_name(&mut self, sought: &Sought, zone: &'a ZoneFacts) {
        if zone.signer.is_some() && self.reply.wants_dnssec() {
            self.write_nsec(Section::Authority, sought, zone, NOTHING.into_iter());
            if !self.reply.wants_denial_code() {
                self.reply.rcode = Rcode::NoError;
            }
        }
    }

    /// Proves that a name has no records of a type, if the zone is signed.
    pub(super) fn prove_no_type(&mut self, hit: &Hit<'a>) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let denials = &hit.node.denials;
        match (&hit.source, denials.of(self.qtype)) {
            (_, None) => {}
            (Source::Own, Some(nsec)) => {
                nsec.write(self.reply, Section::Authority, hit.sought.owner);
            }
            (Source::Wildcard, Some(_)) => {
                if let Some(zone) = self.zone_of(hit.node) {
                    let types = denials.types_beside(self.qtype);
                    self.write_nsec(Section::Authority, &hit.sought, zone, types);
                }
            }
        }
    }

    /// Whether a node is in a signed zone.
    pub(super) fn has_denials(&self, node: &Node) -> bool {
        node.denials.of(0).is_some()
    }

    /// The NSEC of a name, which whoever asks for it gets as an answer.
    pub(super) fn tell_denial(&mut self, hit: &Hit<'a>) -> Step {
        match (&hit.source, self.zone_of(hit.node)) {
            (Source::Wildcard, Some(zone)) => {
                let types = hit.node.denials.types_beside(0);
                self.write_nsec(Section::Answer, &hit.sought, zone, types);
            }
            (Source::Own | Source::Wildcard, _) => {
                if let Some(nsec) = hit.node.denials.of(0) {
                    nsec.write(self.reply, Section::Answer, hit.sought.owner);
                }
            }
        }
        Step::Done(None)
    }

    /// RFC 8482 §7: of the signatures of a name, asked for by type, those of one RRset are enough.
    pub(super) fn tell_signatures(&mut self, hit: &Hit<'a>) -> Step {
        let zone = self.zone_of(hit.node);
        match (&hit.source, hit.node.rrsets.first(), zone) {
            (Source::Own, set, _) => {
                if let Some(set) = set.or(hit.node.denials.of(0)) {
                    set.write_signatures(self.reply, Section::Answer, hit.sought.owner);
                }
            }
            (Source::Wildcard, Some(set), _) => {
                let what = Unsigned::of(Section::Answer, set);
                self.sign(&hit.sought, zone, what, set.rdata());
            }
            // Nothing but what a service answers: the name has its NSEC.
            (Source::Wildcard, None, Some(facts)) => {
                let types = hit.node.denials.types_beside(0);
                let rdata = nsec(hit.sought.name.as_bytes(), types);
                let what = Unsigned::denial(Section::Answer, facts);
                self.sign(&hit.sought, zone, what, std::iter::once(rdata.as_slice()));
            }
            (Source::Wildcard, None, None) => {}
        }
        Step::Done(None)
    }

    /// RFC 4035 §3.1.4: the zone below is signed and how, or it is not.
    pub(super) fn prove_delegation(&mut self, sought: &Sought, node: &'a Node) {
        if !self.reply.wants_dnssec() {
            return;
        }
        let cut = sought.owner.suffix(node.name_length);
        if let Some(proof) = node.rrset(rtype::DS).or(node.denials.of(rtype::DS)) {
            // An unsigned zone proves nothing of its delegations.
            if self.zone_of(node).is_some_and(|zone| zone.signer.is_some()) {
                proof.write(self.reply, Section::Authority, cut);
            }
        }
    }

    fn write_nsec(
        &mut self,
        section: Section,
        sought: &Sought,
        zone: &'a ZoneFacts,
        types: impl Iterator<Item = u16>,
    ) {
        let rdata = nsec(sought.name.as_bytes(), types);
        let ttl = zone.negative_ttl;
        let fixed = Fixed::internet(rtype::NSEC, ttl);
        self.reply.record(section, sought.owner, fixed, &[&rdata]);
        let what = Unsigned::denial(section, zone);
        self.sign(sought, Some(zone), what, std::iter::once(rdata.as_slice()));
    }

    /// Signs what the table could not.
    fn sign<'r>(
        &mut self,
        sought: &Sought,
        zone: Option<&'a ZoneFacts>,
        what: Unsigned,
        rdata: impl Iterator<Item = &'r [u8]>,
    ) {
        let Some(signer) = zone.and_then(|zone| zone.signer.as_ref()) else {
            return;
        };
        let owner = sought.name.as_bytes();
        let set = ToSign {
            owner,
            rtype: what.rtype,
            original_ttl: what.original_ttl,
        };
        let fixed = Fixed::internet(rtype::RRSIG, what.ttl);
        for rrsig in signer.sign_online(set, rdata) {
            self.reply
                .record(what.section, sought.owner, fixed, &[&rrsig]);
        }
    }
}
