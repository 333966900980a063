//! What a service answers for a name that a search has come to: the records of a region, or its name.

use std::borrow::Cow;

use super::codec::code::{ExtendedError, Rcode, rtype};
use super::codec::name::WireName;
use super::codec::reply::{Fixed, Owner, RECORD_HEAD, Section};
use super::lookup::{Hit, Search, Step};
use super::table::{Alias, Choice, Chosen, Located, NotAble, SteeredService, SteeredType};
use crate::ids::ServiceId;
use crate::steering::{Refusal, Spread};

impl<'a> Search<'a, '_, '_, '_> {
    /// Where the service's region is given by name, the name is another name for every type.
    pub(super) fn steer_alias(&mut self, hit: &Hit<'_, 'a>) -> Option<Step> {
        let id = hit.node.steered?;
        let service = self.live.answers.service(id)?;
        if !service.offer.has_aliases() {
            return None;
        }
        let choice = self.choose(id, service);
        let chosen = choice.alias()?;
        self.tell_failing_open(&choice, Some(chosen));
        match (self.qtype, hit.node.proofs()) {
            (rtype::NSEC | rtype::RRSIG, Some(_)) => Some(self.tell_alias_denial(hit)),
            _ => Some(self.write_region(hit, service, id, chosen, SteeredType::A)),
        }
    }

    fn choose(&mut self, id: ServiceId, service: &'a SteeredService) -> Cow<'a, Choice> {
        let known = self.ahead.located.filter(|located| located.service == id);
        let (place, scope) = match known {
            Some(Located { place, scope, .. }) => (place, scope),
            None => self.live.snapshot.clients.locate(id, self.asker.client),
        };
        self.reply.scope = self.reply.scope.max(scope);
        let mut spread = Spread::default();
        if service.is_shared_out() {
            let (own, scope) = Spread::of_network(self.asker.client);
            spread = own;
            self.reply.scope = self.reply.scope.max(scope);
        }
        service.choose(&self.live.snapshot, (place, spread), self.asker.draw)
    }

    /// What the service answers for the client's place: records of the first of the types that the
    /// region chosen for it has.
    pub(super) fn steer(
        &mut self,
        hit: &Hit<'_, 'a>,
        id: ServiceId,
        types: &[SteeredType],
    ) -> Step {
        let Some(service) = self.live.answers.service(id) else {
            return self.deny_type(hit);
        };
        let choice = self.choose(id, service);
        if let Some(refusal) = choice.refusal() {
            return self.fail(refusal);
        }
        let first = first_of(&choice, types);
        self.tell_failing_open(&choice, first.map(|(_, chosen)| chosen));
        match first {
            Some((SteeredType::Https, chosen)) if choice.https_of_several().is_some() => {
                self.write_https(hit, service, id, chosen, &choice)
            }
            Some((rtype, chosen)) => self.write_region(hit, service, id, chosen, rtype),
            None => self.deny_type(hit),
        }
    }

    fn tell_failing_open(&mut self, choice: &Choice, chosen: Option<Chosen>) {
        match choice.fails_open(chosen) {
            Some(NotAble::Anybody) => self.reply.error = Some(ExtendedError::FAIL_OPEN),
            Some(NotAble::OfTheType) => self.reply.error = Some(ExtendedError::FAIL_OPEN_FOR_TYPE),
            None => {}
        }
    }

    fn write_region(
        &mut self,
        hit: &Hit<'_, 'a>,
        service: &SteeredService,
        id: ServiceId,
        chosen: Chosen,
        rtype: SteeredType,
    ) -> Step {
        self.steered = Some((id, chosen));
        let (offer, owner) = (&service.offer, hit.sought.owner);
        if let Some(alias) = offer.alias(chosen.member()) {
            return self.chase_alias(hit, alias, service.ttl, chosen.member());
        }
        if let Some((rotation, answer)) = offer.answer(chosen.member(), rtype, self.asker.draw) {
            answer.write_for(self.reply, Section::Answer, owner, service.ttl);
            self.write_steered_signatures(hit, service.ttl, answer, |steered| {
                steered.of(chosen.member(), rtype, rotation)
            });
        }
        Step::Done
    }

    /// RFC 9460 §2.4.1: what the region publishes, and behind it, by priority, the names of the regions
    /// that a client should try when that fails.
    pub(super) fn write_https(
        &mut self,
        hit: &Hit<'_, 'a>,
        service: &SteeredService,
        id: ServiceId,
        chosen: Chosen,
        choice: &Choice,
    ) -> Step {
        self.steered = Some((id, chosen));
        let (offer, rtype) = (&service.offer, SteeredType::Https);
        let (Some((rotation, first)), Some(zone)) = (
            offer.answer(chosen.member(), rtype, self.asker.draw),
            self.zone_of(hit.node),
        ) else {
            return Step::Done;
        };
        let (section, owner) = (Section::Answer, hit.sought.owner);
        first.write_for(self.reply, section, owner, service.ttl);
        let behind = offer.behind(choice.alternatives(), &zone.apex);
        let fixed = Fixed::internet(rtype.number(), service.ttl);
        for rdata in &behind {
            self.reply.record(section, owner, fixed, &[rdata]);
        }
        let ranking = choice.ranking(chosen, rotation);
        self.sign_https(hit, ranking, first, &behind, service.ttl);
        Step::Done
    }

    fn chase_alias(&mut self, hit: &Hit<'_, 'a>, alias: &Alias, ttl: u32, member: usize) -> Step {
        // Its data is what follows the fields of the one record.
        let at = self.reply.end() + RECORD_HEAD;
        let (owner, length) = (hit.sought.owner, alias.target.len());
        alias
            .rrset
            .write_for(self.reply, Section::Answer, owner, ttl);
        self.write_steered_signatures(hit, ttl, &alias.rrset, |steered| steered.alias(member));
        match WireName::joined(&alias.target, &[]) {
            Some(name) if self.qtype != rtype::CNAME && self.qtype != rtype::ANY => {
                Step::Chase(name, Owner::at(at, length))
            }
            Some(_) | None => Step::Done,
        }
    }

    /// No region may answer: a refusal beats a breach. What a chain has said so far is taken back.
    fn fail(&mut self, refusal: Refusal) -> Step {
        self.steered = None;
        self.reply.clear();
        self.reply.is_authoritative = false;
        self.reply.rcode = Rcode::ServFail;
        self.reply.error = Some(ExtendedError::other(match refusal {
            Refusal::NoneHealthy => "when_none_healthy: none (no region is able)",
            Refusal::Residency => "residency (it allows no region)",
            Refusal::Primary => "writes.failover: none (the primary is not able)",
        }));
        Step::Done
    }
}

/// The first of the types that a region is chosen for: of those whose region is able, if there are any.
fn first_of(choice: &Choice, types: &[SteeredType]) -> Option<(SteeredType, Chosen)> {
    let chosen = || {
        let types = types.iter();
        types.filter_map(|rtype| Some((*rtype, choice.of(*rtype)?)))
    };
    let is_able = |(_, chosen): &(_, Chosen)| choice.fails_open(Some(*chosen)).is_none();
    chosen().find(is_able).or_else(|| chosen().next())
}
