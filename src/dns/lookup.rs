//! From a name to records: chains, wildcards, referrals and denials (RFC 1034 §4.3.2, RFC 2308,
//! RFC 4592, RFC 6672), and the steered names among them.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::Live;
use super::codec::code::{ExtendedError, Rcode, rtype};
use super::codec::name::WireName;
use super::codec::query::Query;
use super::codec::reply::{Fixed, Owner, Reply, Section};
use super::table::{
    Chosen, Delegation, Found, Node, Redirection, SteeredService, SteeredType, ZoneFacts,
};
use crate::ids::ServiceId;
use crate::steering::{Draw, Refusal, Verdict};

/// How many CNAMEs one answer follows; what a longer chain leads to, the resolver asks for.
const LONGEST_CHAIN: usize = 8;

/// `RFC8482` and an empty string, RFC 8482 §4.2, for a name that has no RRset to pick.
const HINFO_DATA: &[u8] = b"\x07RFC8482\x00";

/// Seconds that the HINFO of RFC 8482 may be kept.
const HINFO_TTL: u32 = 3600;

/// For whom an answer is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// The client, or the first address of its network.
    pub(super) client: IpAddr,
    /// Chance.
    pub(super) draw: Draw,
}

/// A name that is looked up, and where it stands in the response.
struct Sought {
    name: WireName,
    owner: Owner,
    /// Whether a CNAME has led here.
    is_chained: bool,
}

/// What follows a step of the search.
#[expect(
    clippy::large_enum_variant,
    reason = "a box would allocate for every CNAME"
)]
enum Step {
    Done(Option<(ServiceId, Chosen)>),
    /// A CNAME leads on.
    Chase(Sought),
}

/// A search under way.
struct Search<'a, 'r, 'q, 'o> {
    live: &'a Live,
    qtype: u16,
    asker: Asker,
    reply: &'r mut Reply<'q, 'o>,
}

/// Looks up a question of class IN.
pub(super) fn look_up(
    live: &Live,
    query: &Query<'_>,
    asker: Asker,
    reply: &mut Reply<'_, '_>,
) -> Option<(ServiceId, Chosen)> {
    let mut search = Search {
        live,
        qtype: query.qtype,
        asker,
        reply,
    };
    let mut sought = Sought {
        name: query.name,
        owner: Owner::question(query.name.as_bytes().len()),
        is_chained: false,
    };
    let mut followed: SmallVec<[WireName; LONGEST_CHAIN]> = SmallVec::new();
    for _ in 0..LONGEST_CHAIN {
        let name = sought.name;
        match search.step(sought) {
            Step::Done(steered) => return steered,
            Step::Chase(next) => sought = next,
        }
        followed.push(name);
        let is_known = |known: &WireName| known.as_bytes() == sought.name.as_bytes();
        if followed.iter().any(is_known) {
            return None; // A loop: every record of it has been said.
        }
    }
    None
}

impl<'a> Search<'a, '_, '_, '_> {
    fn step(&mut self, sought: Sought) -> Step {
        let names = self.live.answers.names();
        match names.find(sought.name.as_bytes()) {
            Found::Outside => self.leave(&sought),
            Found::Missing(zone) => {
                // RFC 6604 §3: the code is that of the last name of the chain.
                self.deny(&sought, Rcode::NxDomain, zone)
            }
            Found::Redirected(node, dname) => self.redirect(&sought, node, dname),
            Found::Delegated(node, met) if met.is_cut && self.qtype == rtype::DS => {
                // RFC 4035 §3.1.4.1: DS is the parent's to answer.
                self.answer_from(sought, node)
            }
            Found::Delegated(node, met) => self.refer(&sought, node, met.delegation),
            Found::Node(node) => self.answer_from(sought, node),
        }
    }

    /// The name is in no zone: refused, but for the end of a chain, which is the resolver's to ask
    /// others for.
    fn leave(&mut self, sought: &Sought) -> Step {
        if !sought.is_chained {
            self.reply.rcode = Rcode::Refused;
            self.reply.error = Some(ExtendedError::NOT_AUTHORITATIVE);
        }
        Step::Done(None)
    }

    /// RFC 2308 §2: the SOA says for how long the name or its type is known not to exist.
    fn deny(&mut self, sought: &Sought, rcode: Rcode, zone: &ZoneFacts) -> Step {
        self.reply.is_authoritative = true;
        self.reply.rcode = rcode;
        if let Some(soa) = &zone.negative_soa {
            let apex = sought.owner.suffix(zone.apex_length);
            soa.write(self.reply, Section::Authority, apex);
        }
        Step::Done(None)
    }

    fn deny_type(&mut self, sought: &Sought, node: &Node) -> Step {
        match self.live.answers.names().zone_of(node) {
            Some(zone) => self.deny(sought, Rcode::NoError, zone),
            None => Step::Done(None),
        }
    }

    /// RFC 1034 §4.2.1: whom to ask instead. Not authoritative, unless a chain of this zone led here.
    fn refer(&mut self, sought: &Sought, node: &Node, delegation: &Delegation) -> Step {
        let cut = sought.owner.suffix(node.name_length);
        delegation
            .servers
            .write(self.reply, Section::Authority, cut);
        let (glue, count) = delegation.glue.parts();
        self.reply.copy(Section::Additional, cut, glue, count, &[]);
        let (siblings, count) = delegation.siblings.parts();
        self.reply.copy_if_room(siblings, count);
        Step::Done(None)
    }

    /// RFC 6672 §3.1: the DNAME, and a CNAME made of it with its TTL.
    fn redirect(&mut self, sought: &Sought, node: &Node, dname: &Redirection) -> Step {
        self.reply.is_authoritative = true;
        if let Some(records) = node.rrset(rtype::DNAME) {
            let owner = sought.owner.suffix(node.name_length);
            records.write(self.reply, Section::Answer, owner);
        }
        let name = sought.name.as_bytes();
        let front = name
            .get(..name.len().saturating_sub(node.name_length))
            .unwrap_or_default();
        // RFC 6672 §2.2: the new name may be too long to exist.
        let Some(target) = WireName::joined(front, &dname.target) else {
            self.reply.rcode = Rcode::YxDomain;
            return Step::Done(None);
        };
        let fixed = Fixed::internet(rtype::CNAME, dname.ttl);
        let data = [target.as_bytes()];
        let owner = self
            .reply
            .record(Section::Answer, sought.owner, fixed, &data);
        if self.qtype == rtype::CNAME || self.qtype == rtype::ANY {
            return Step::Done(None);
        }
        Step::Chase(Sought {
            name: target,
            owner,
            is_chained: true,
        })
    }

    fn answer_from(&mut self, sought: Sought, node: &'a Node) -> Step {
        self.reply.is_authoritative = true;
        if let (Some(service), Some(rtype)) = (node.steered, SteeredType::of(self.qtype)) {
            return self.steer(&sought, node, service, rtype);
        }
        if let Some(records) = node.rrset(self.qtype) {
            records.write(self.reply, Section::Answer, sought.owner);
            return Step::Done(None);
        }
        if self.qtype == rtype::ANY {
            return self.pick_any(&sought, node);
        }
        match &node.cname {
            Some(cname) => self.chase(&sought, cname),
            None => self.deny_type(&sought, node),
        }
    }

    /// RFC 1034 §3.6.2: a CNAME answers for every type but its own, and the search begins again.
    fn chase(&mut self, sought: &Sought, cname: &Redirection) -> Step {
        let fixed = Fixed::internet(rtype::CNAME, cname.ttl);
        let owner = self
            .reply
            .record(Section::Answer, sought.owner, fixed, &[&cname.target]);
        match WireName::joined(&cname.key, &[]) {
            Some(name) => Step::Chase(Sought {
                name,
                owner,
                is_chained: true,
            }),
            None => Step::Done(None),
        }
    }

    /// RFC 8482 §4.1 and §4.2: one of the RRsets, or an HINFO that says why there is no more.
    fn pick_any(&mut self, sought: &Sought, node: &Node) -> Step {
        match (node.rrsets.first(), node.steered) {
            (Some(records), _) => records.write(self.reply, Section::Answer, sought.owner),
            (None, Some(_)) => {
                let fixed = Fixed::internet(rtype::HINFO, HINFO_TTL);
                self.reply
                    .record(Section::Answer, sought.owner, fixed, &[HINFO_DATA]);
            }
            (None, None) => return self.deny_type(sought, node),
        }
        Step::Done(None)
    }

    /// The addresses of the region that `steer` chose for the client's place.
    fn steer(&mut self, sought: &Sought, node: &Node, id: ServiceId, rtype: SteeredType) -> Step {
        let Some(service) = self.live.answers.service(id) else {
            return self.deny_type(sought, node);
        };
        let (place, scope) = self.live.snapshot.clients.locate(id, self.asker.client);
        self.reply.scope = scope;
        let choice = service.choose(&self.live.snapshot, place, self.asker.draw);
        if let Some(refusal) = choice.refusal() {
            return self.fail(refusal);
        }
        if matches!(choice.verdict(), Verdict::FailOpen(_)) {
            self.reply.error = Some(ExtendedError::FAIL_OPEN);
        }
        match choice.of(rtype) {
            Some(chosen) => self.write_region(sought, service, id, chosen, rtype),
            None => self.deny_type(sought, node),
        }
    }

    fn write_region(
        &mut self,
        sought: &Sought,
        service: &SteeredService,
        id: ServiceId,
        chosen: Chosen,
        rtype: SteeredType,
    ) -> Step {
        let draw = self.asker.draw;
        service.write(self.reply, sought.owner, chosen, rtype, draw);
        Step::Done(Some((id, chosen)))
    }

    /// No region may answer: a refusal beats a breach. What a chain has said so far is taken back.
    fn fail(&mut self, refusal: Refusal) -> Step {
        self.reply.clear();
        self.reply.is_authoritative = false;
        self.reply.rcode = Rcode::ServFail;
        self.reply.error = Some(ExtendedError::other(match refusal {
            Refusal::NoneHealthy => "when_none_healthy: none (no region is able)",
            Refusal::Residency => "residency (it allows no region)",
            Refusal::Primary => "writes.failover: none (the primary is not able)",
        }));
        Step::Done(None)
    }
}
