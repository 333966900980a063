//! The way of most steered answers: a region's addresses, for a name and a client that were found ahead.
//!
//! Writes what `lookup` would in far fewer steps, or nothing: then the question is `lookup`'s. Every test that
//! asks both holds them to each other.

use super::Live;
use super::codec::code::rtype;
use super::codec::query::Query;
use super::codec::reply::{Owner, Reply, Section};
use super::table::{Ahead, Chosen, SteeredType};
use crate::ids::ServiceId;
use crate::steering::Draw;

/// Answers a question of class IN where the client's place alone decides; `None` if it is not as simple as that.
#[inline]
pub(super) fn answer_plainly(
    live: &Live,
    query: &Query<'_>,
    ahead: Ahead<'_>,
    draw: Draw,
    reply: &mut Reply<'_, '_>,
) -> Option<(ServiceId, Chosen)> {
    let rtype = match query.qtype {
        rtype::A => SteeredType::A,
        rtype::AAAA => SteeredType::Aaaa,
        _ => return None,
    };
    let (node, located) = (ahead.node?, ahead.located?);
    if node.is_special() || node.name() != query.name {
        return None;
    }
    let service = live.answers.service(located.service)?;
    let chosen = service.plainly(located.place, rtype)?;
    let (rotation, answer) = service.offer.answer(chosen.member(), rtype, draw)?;
    reply.is_authoritative = true;
    reply.scope = located.scope;
    let owner = Owner::question(query.name.len());
    answer.write_for(reply, Section::Answer, owner, service.ttl);
    if reply.wants_dnssec()
        && let Some(proofs) = node.proofs()
        && let Some(rrsigs) = proofs.steered.of(chosen.member(), rtype, rotation)
    {
        rrsigs.write_for(reply, Section::Answer, owner, service.ttl);
    }
    Some((located.service, chosen))
}
