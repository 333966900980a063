//! From a name to records: chains, wildcards, referrals and denials (RFC 1034 §4.3.2, RFC 2308,
//! RFC 4592, RFC 6672). What services answer is `steered`'s.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::Live;
use super::codec::code::{ExtendedError, Rcode, rtype};
use super::codec::name::WireName;
use super::codec::query::Query;
use super::codec::reply::{Fixed, Owner, Reply, Section};
use super::table::{Ahead, Chosen, Delegation, Found, Node, Redirection, SteeredType, ZoneFacts};
use crate::ids::ServiceId;
use crate::steering::Draw;

/// How many names of a chain one answer looks up, as BIND does; what a longer one leads to, the resolver asks for.
const LONGEST_CHAIN: usize = 12;

/// For whom an answer is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// The client, or the first address of its network.
    pub(super) client: IpAddr,
    /// Chance.
    pub(super) draw: Draw,
}

/// A name that is looked up, and where it stands in the response.
#[derive(Clone, Copy)]
pub(super) struct Sought<'n> {
    /// In lower case.
    pub(super) name: &'n [u8],
    pub(super) owner: Owner,
    /// The name that is asked for.
    question: &'n [u8],
    /// What CNAMEs have led to, this name last; none have, if it is the question's.
    chased: &'n [WireName],
}

/// What answers for a name.
pub(super) struct Hit<'s, 'a> {
    pub(super) sought: &'s Sought<'s>,
    pub(super) node: &'a Node,
    pub(super) source: Source,
}

/// Whose records answer for a name.
pub(super) enum Source {
    /// Its own.
    Own,
    /// Those of a wildcard.
    Wildcard,
}

/// What follows a step of the search.
#[expect(
    clippy::large_enum_variant,
    reason = "a box would allocate for every CNAME"
)]
pub(super) enum Step {
    Done,
    /// A CNAME leads on, to the name that stands there.
    Chase(WireName, Owner),
}

/// A search under way.
pub(super) struct Search<'a, 'r, 'q, 'o> {
    pub(super) live: &'a Live,
    pub(super) qtype: u16,
    pub(super) asker: Asker,
    /// What was found for the question's name and its service before.
    pub(super) ahead: Ahead<'a>,
    /// The last service that had a say, and its region.
    pub(super) steered: Option<(ServiceId, Chosen)>,
    /// RRsets that were signed for it: neither with the Plan nor before.
    pub(super) signed: usize,
    pub(super) reply: &'r mut Reply<'q, 'o>,
}

/// Looks up a question of class IN.
pub(super) fn look_up<'a>(
    live: &'a Live,
    query: &Query<'_>,
    asker: Asker,
    ahead: Ahead<'a>,
    reply: &mut Reply<'_, '_>,
) -> Option<(ServiceId, Chosen)> {
    let mut search = Search::new(live, query.qtype, asker, ahead, reply);
    let mut owner = Owner::question(query.name.len());
    let mut chased: SmallVec<[WireName; LONGEST_CHAIN]> = SmallVec::new();
    for _ in 0..LONGEST_CHAIN {
        let sought = Sought {
            name: chased.last().map_or(query.name, WireName::as_bytes),
            owner,
            question: query.name,
            chased: &chased,
        };
        let next = match search.step(&sought) {
            Step::Done => return search.steered,
            // What a longer response would go on with, the resolver asks for.
            Step::Chase(_, at) if !at.is_within_reach() => return search.steered,
            Step::Chase(next, at) => {
                owner = at;
                next
            }
        };
        let is_known = |known: &WireName| known.as_bytes() == next.as_bytes();
        if query.name == next.as_bytes() || chased.iter().any(is_known) {
            return search.steered; // A loop: every record of it has been said.
        }
        chased.push(next);
    }
    search.steered
}

impl<'n> Sought<'n> {
    /// The name that is asked for.
    pub(super) fn question(name: &'n [u8]) -> Self {
        Self {
            name,
            owner: Owner::question(name.len()),
            question: name,
            chased: &[],
        }
    }

    /// Whether a CNAME has led here.
    fn is_chained(&self) -> bool {
        !self.chased.is_empty()
    }

    /// The names whose records the response has already.
    fn before(&self) -> impl Iterator<Item = &'n [u8]> {
        let (question, chased) = (self.question, self.chased);
        let before = chased.split_last().map(|(_, before)| before);
        let before = before.map(|before| {
            let before = before.iter().map(WireName::as_bytes);
            std::iter::once(question).chain(before)
        });
        before.into_iter().flatten()
    }
}

impl<'a, 'r, 'q, 'o> Search<'a, 'r, 'q, 'o> {
    pub(super) fn new(
        live: &'a Live,
        qtype: u16,
        asker: Asker,
        ahead: Ahead<'a>,
        reply: &'r mut Reply<'q, 'o>,
    ) -> Self {
        Self {
            live,
            qtype,
            asker,
            ahead,
            steered: None,
            signed: 0,
            reply,
        }
    }
}

impl<'a> Search<'a, '_, '_, '_> {
    fn step(&mut self, sought: &Sought<'_>) -> Step {
        let names = self.live.answers.names();
        let name = sought.name;
        let ahead = self.ahead.node.filter(|_| !sought.is_chained());
        // RFC 4035 §3.1.4.1: DS is the parent's to answer.
        let above = (self.qtype == rtype::DS).then(|| names.find_above(name));
        let found = above.flatten();
        match found.unwrap_or_else(|| names.find(name, ahead)) {
            Found::Outside => self.leave(sought),
            Found::Missing(zone) => self.deny_name(sought, zone),
            Found::Redirected(node, dname) => self.redirect(&own(sought, node), dname),
            Found::Delegated(node, met) if met.is_cut && self.qtype == rtype::DS => {
                self.answer_from(&own(sought, node))
            }
            Found::Delegated(node, met) => self.refer(sought, node, met.delegation),
            Found::Node(node) => self.answer_from(&own(sought, node)),
            Found::Wildcard(node) => self.answer_from(&Hit {
                sought,
                node,
                source: Source::Wildcard,
            }),
        }
    }

    pub(super) fn zone_of(&self, node: &Node) -> Option<&'a ZoneFacts> {
        self.live.answers.names().zone_of(node)
    }

    /// The name is in no zone: refused, but for the end of a chain, which is the resolver's to ask
    /// others for.
    fn leave(&mut self, sought: &Sought<'_>) -> Step {
        if !sought.is_chained() {
            self.reply.rcode = Rcode::Refused;
            self.reply.error = Some(ExtendedError::not_authoritative(
                "no zone here has the name",
            ));
        }
        Step::Done
    }

    /// RFC 6604 §3: the code is that of the last name of the chain.
    fn deny_name(&mut self, sought: &Sought<'_>, zone: &'a ZoneFacts) -> Step {
        let is_proven = zone.signer.is_some() && self.reply.wants_dnssec();
        if is_proven && matches!(self.qtype, rtype::NSEC | rtype::RRSIG) {
            self.reply.is_authoritative = true;
            self.tell_no_name(sought, zone);
            return Step::Done;
        }
        self.reply.rcode = Rcode::NxDomain;
        self.deny(sought, zone);
        if is_proven {
            self.prove_no_name(sought, zone);
        }
        Step::Done
    }

    pub(super) fn deny_type(&mut self, hit: &Hit<'_, 'a>) -> Step {
        if let Some(zone) = self.zone_of(hit.node) {
            self.deny(hit.sought, zone);
            self.prove_no_type(hit);
        }
        Step::Done
    }

    /// RFC 2308 §2: the SOA says for how long the name or its type is known not to exist.
    fn deny(&mut self, sought: &Sought<'_>, zone: &ZoneFacts) {
        self.reply.is_authoritative = true;
        if let Some(soa) = &zone.negative_soa {
            let apex = sought.owner.suffix(zone.apex.len());
            soa.write(self.reply, Section::Authority, apex);
        }
    }

    /// RFC 1034 §4.2.1: whom to ask instead. Not authoritative, unless a chain of this zone led here.
    fn refer(&mut self, sought: &Sought<'_>, node: &'a Node, delegation: &Delegation) -> Step {
        let cut = sought.owner.suffix(node.name().len());
        delegation
            .servers
            .write(self.reply, Section::Authority, cut);
        self.prove_delegation(sought, node);
        let (glue, count) = delegation.glue.parts();
        self.reply.copy_spelled(Section::Additional, glue, count);
        let (siblings, count) = delegation.siblings.parts();
        self.reply.copy_if_room(siblings, count);
        Step::Done
    }

    /// RFC 6672 §3.1: the DNAME, and a CNAME made of it with its TTL.
    fn redirect(&mut self, hit: &Hit<'_, 'a>, dname: &Redirection) -> Step {
        self.reply.is_authoritative = true;
        let (sought, node) = (hit.sought, hit.node);
        let records = node.rrset(rtype::DNAME);
        if let Some(records) = records.filter(|_| !self.was_redirected(sought, node)) {
            let owner = sought.owner.suffix(node.name().len());
            records.write(self.reply, Section::Answer, owner);
        }
        let name = sought.name;
        let front = name
            .get(..name.len().saturating_sub(node.name().len()))
            .unwrap_or_default();
        // RFC 6672 §2.2: the new name may be too long to exist.
        let Some(target) = WireName::joined(front, &dname.target) else {
            self.reply.rcode = Rcode::YxDomain;
            return Step::Done;
        };
        let fixed = Fixed::internet(rtype::CNAME, dname.ttl);
        let data = [target.as_bytes()];
        let owner = self
            .reply
            .record(Section::Answer, sought.owner, fixed, &data);
        if self.qtype == rtype::CNAME || self.qtype == rtype::ANY {
            return Step::Done;
        }
        Step::Chase(target, owner)
    }

    /// Whether the response has the DNAME of a node: it has led a name before to where it is looked for now.
    fn was_redirected(&self, sought: &Sought<'_>, node: &Node) -> bool {
        let names = self.live.answers.names();
        sought.before().any(|name| {
            matches!(names.find(name, None), Found::Redirected(known, _) if std::ptr::eq(known, node))
        })
    }

    fn answer_from(&mut self, hit: &Hit<'_, 'a>) -> Step {
        self.reply.is_authoritative = true;
        let node = hit.node;
        if let (Some(service), Some(rtype)) = (node.steered, SteeredType::of(self.qtype)) {
            return self.steer(hit, service, &[rtype]);
        }
        if let Some(step) = self.steer_alias(hit) {
            return step;
        }
        if let Some(records) = node.rrset(self.qtype) {
            self.write(Section::Answer, hit, records);
            if let (rtype::NS, Some(addresses)) = (self.qtype, node.server_addresses()) {
                let (addresses, count) = addresses.parts();
                self.reply.copy_if_room(addresses, count);
            }
            return Step::Done;
        }
        match (self.qtype, node.proofs(), node.cname()) {
            (rtype::ANY, _, _) => self.pick_any(hit),
            (rtype::NSEC, Some(proofs), _) => self.tell_denial(hit, &proofs.denials),
            (rtype::RRSIG, Some(proofs), _) => self.tell_signatures(hit, &proofs.denials),
            (_, _, Some(cname)) => self.chase(hit, cname),
            (_, _, None) => self.deny_type(hit),
        }
    }

    /// RFC 1034 §3.6.2: a CNAME answers for every type but its own, and the search begins again.
    fn chase(&mut self, hit: &Hit<'_, 'a>, cname: &Redirection) -> Step {
        let fixed = Fixed::internet(rtype::CNAME, cname.ttl);
        let owner = hit.sought.owner;
        let data = [&*cname.target];
        let owner = self.reply.record(Section::Answer, owner, fixed, &data);
        if let Some(records) = hit.node.rrset(rtype::CNAME) {
            self.write_signatures(Section::Answer, hit, records);
        }
        match WireName::joined(&cname.key, &[]) {
            Some(name) => Step::Chase(name, owner),
            None => Step::Done,
        }
    }

    /// RFC 8482 §4.1: one of the RRsets, which may be what a service answers.
    fn pick_any(&mut self, hit: &Hit<'_, 'a>) -> Step {
        match (hit.node.rrsets().next(), hit.node.steered) {
            (Some(records), _) => {
                self.write(Section::Answer, hit, records);
                Step::Done
            }
            (None, Some(service)) => self.steer(hit, service, &SteeredType::ALL),
            (None, None) => self.deny_type(hit),
        }
    }
}

pub(super) fn own<'s, 'a>(sought: &'s Sought<'_>, node: &'a Node) -> Hit<'s, 'a> {
    let source = Source::Own;
    Hit {
        sought,
        node,
        source,
    }
}
