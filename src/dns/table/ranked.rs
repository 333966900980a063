//! HTTPS RRsets of several regions (RFC 9460 §2.4.1): one for each ranking of a service's regions, of which an answer
//! shows the beginning.
//!
//! Whatever health, places and draws make of the order, it is one of a number that the Plan bounds. So these are
//! signed with the Plan like all else, and a change of health signs nothing. A Plan that has too many is warned of.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinDecodable;

use super::choice::{ALTERNATIVES, SteeredType};
use super::lasting::offers;
use super::names::{NodeDraft, Unindexed, WILDCARD};
use super::offer::Offer;
use super::rrset::RrSet;
use super::signing::Signing;
use crate::config::plan::Plan;
use crate::dns::dnssec::ZoneKeys;
use crate::ids::ServiceId;

/// RRsets that are signed with a Plan: one name of 51 regions with an address each, 161 of ten, or 10,900 of three. At
/// 14 µs each they are two seconds of a processor for the first Plan; what one has beyond is signed once a snapshot
/// needs it.
const MOST: usize = 131_072;

/// The beginning of a ranking, by the regions' places among the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::dns) struct Ranking {
    pub(super) first: u16,
    /// Where the first one's addresses begin.
    pub(super) rotation: u16,
    pub(super) behind: [Option<u16>; ALTERNATIVES],
}

/// By ranking, the signatures of a name's RRsets.
pub(super) type RankedSignatures = HashMap<Ranking, RrSet>;

impl Ranking {
    /// The first region's place.
    pub(super) fn first(self) -> usize {
        self.first.into()
    }

    /// The places of those behind the first.
    pub(super) fn behind(self) -> impl Iterator<Item = usize> {
        self.behind.into_iter().flatten().map(usize::from)
    }

    /// Every one that a service's answers can show, but for those of one region alone.
    pub(super) fn all(offer: &Offer) -> impl Iterator<Item = Self> {
        let firsts = members(offer).flat_map(move |first| {
            let rotations = offer.rotations(first.into(), SteeredType::Https);
            let rotations = (0..rotations).filter_map(|rotation| u16::try_from(rotation).ok());
            rotations.map(move |rotation| (first, rotation))
        });
        firsts.flat_map(move |(first, rotation)| {
            let seconds = others(offer, first);
            seconds.flat_map(move |second| {
                let thirds = others(offer, first).filter(move |third| *third != second);
                let thirds = std::iter::once(None).chain(thirds.map(Some));
                thirds.map(move |third| Self {
                    first,
                    rotation,
                    behind: [Some(second), third],
                })
            })
        })
    }

    /// How many those are.
    pub(super) fn count(offer: &Offer) -> usize {
        let counts = members(offer).map(|first| {
            // A second one alone, or a third one of all others behind it.
            let others = others(offer, first).count();
            offer.rotations(first.into(), SteeredType::Https) * others * others
        });
        counts.sum()
    }
}

fn members(offer: &Offer) -> impl Iterator<Item = u16> {
    let members = 0..offer.regions().count();
    members.filter_map(|member| u16::try_from(member).ok())
}

/// Those that an HTTPS record can lead to when a region fails.
fn others(offer: &Offer, first: u16) -> impl Iterator<Item = u16> {
    members(offer).filter(move |other| *other != first && offer.is_alternative((*other).into()))
}

/// What is left of [`MOST`] while names are gone through.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new() -> Self {
        Self(MOST)
    }

    /// Takes as much as a name needs, if that is there: a name is signed whole or not at all.
    pub(super) fn take(&mut self, offer: &Offer) -> bool {
        let left = self.0.checked_sub(Ranking::count(offer));
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// The service of a name whose HTTPS records can be signed ahead of queries: a wildcard's have names that only queries
/// know.
pub(super) fn rankable(node: &NodeDraft) -> Option<ServiceId> {
    node.steered.filter(|_| !node.name.starts_with(&WILDCARD))
}

/// The signed zones of a Plan have more of these RRsets than are signed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManyRankings {
    /// How many they have.
    pub count: usize,
    /// How many are signed with a Plan at most.
    pub most: usize,
    /// The names whose are not signed with it, none of them.
    pub unsigned: Vec<Name>,
    /// From when on, in seconds since 1970: from now, or from a time of a key.
    pub from: u32,
}

/// What the signed zones of a Plan have too much of, now or by the keys that sign later: when the most names are
/// concerned, and first so. `keys` are in the order of the Plan's zones; those that a zone does not have yet are made at
/// once. `now` is in seconds since 1970.
pub fn too_many_rankings(
    plan: &Plan,
    keys: &[Option<Arc<ZoneKeys>>],
    now: u32,
) -> Option<TooManyRankings> {
    let zones = || keys.iter().flatten();
    zones().next()?;
    let offers = offers(plan);
    // In the order in which they are signed.
    let names = Unindexed::compile(plan, &Signing::default());
    let after = |time: &u32| zones().filter_map(|keys| keys.next_change(*time)).min();
    let told = std::iter::successors(Some(now), after).filter_map(|from| {
        let is_signed = |zone: usize| {
            let keys = keys.get(zone).and_then(Option::as_ref);
            keys.is_some_and(|keys| keys.keys.is_empty() || keys.is_signing(from))
        };
        let signed = names.nodes.iter().filter(|node| is_signed(node.zone));
        let steered = signed.filter_map(|node| Some((node, &**offers.of(rankable(node)?))));
        unsigned(steered, from)
    });
    told.reduce(|most, next| {
        if next.unsigned.len() > most.unsigned.len() {
            next
        } else {
            most
        }
    })
}

fn unsigned<'a>(
    steered: impl Iterator<Item = (&'a NodeDraft, &'a Offer)>,
    from: u32,
) -> Option<TooManyRankings> {
    let (mut count, mut room, mut unsigned) = (0, Room::new(), Vec::new());
    for (node, offer) in steered {
        count += Ranking::count(offer);
        if !room.take(offer) {
            unsigned.extend(Name::from_bytes(&node.name));
        }
    }
    (!unsigned.is_empty()).then_some(TooManyRankings {
        count,
        most: MOST,
        unsigned,
        from,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::SigningAlgorithm;
    use crate::dns::testing::{NOW, read};
    use crate::dns::{Key, Times};

    /// Of so many regions of one address each, in a zone with these settings.
    fn too_many(regions: usize, zone: &str) -> Option<TooManyRankings> {
        too_many_of(regions, "www.example.com, '*.example.com'", zone)
    }

    fn too_many_of(regions: usize, hosts: &str, zone: &str) -> Option<TooManyRankings> {
        let region = |number| format!("  r{number}: {{ addresses: [192.0.2.{number}] }}\n");
        let regions: String = (0..regions).map(region).collect();
        let yaml = format!(
            "regions:\n{regions}services: {{ www: {{ hosts: [{hosts}] }} }}\n\
             zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }}{zone} }} }}\n"
        );
        let plan = read(&yaml);
        let keys = plan.zones.iter().map(|zone| {
            zone.dnssec.as_ref()?;
            Some(Arc::default())
        });
        let keys: Vec<Option<Arc<ZoneKeys>>> = keys.collect();
        too_many_rankings(&plan, &keys, NOW)
    }

    /// Keys that sign from a time to another.
    fn signs(from: Option<u32>, until: Option<u32>) -> Option<Arc<ZoneKeys>> {
        let times = Times {
            activate: from,
            inactive: until,
            ..Times::default()
        };
        let (key, _) = Key::generate(SigningAlgorithm::Ed25519, times).unwrap();
        Some(Arc::new(ZoneKeys { keys: vec![key] }))
    }

    #[test]
    fn only_zones_whose_keys_sign_now_or_later_have_too_many() {
        let region = |number| format!("  r{number}: {{ addresses: [192.0.2.{number}] }}\n");
        let regions: String = (0..45).map(region).collect();
        let zone = "{ nameservers: { ns1: [192.0.2.53] }, dnssec: { keys: keys } }";
        let plan = read(&format!(
            "regions:\n{regions}services: {{ www: {{ hosts: [a.test, b.test] }} }}\n\
             zones: {{ a.test: {zone}, b.test: {zone} }}\n"
        ));
        let from = |a: Option<Arc<ZoneKeys>>, b: Option<Arc<ZoneKeys>>| {
            let told = too_many_rankings(&plan, &[a, b], NOW)?;
            Some((told.from, told.unsigned.len()))
        };
        let (now, later) = (None, Some(NOW + 1_000));
        assert_eq!(from(signs(now, None), signs(now, None)), Some((NOW, 1)));
        assert_eq!(from(signs(now, None), signs(now, Some(NOW))), None);
        // Neither has too many alone, nor if one ends when the other begins.
        assert_eq!(from(signs(now, None), None), None);
        assert_eq!(from(signs(now, later), signs(later, None)), None);
        let both_later = from(signs(now, None), signs(later, None));
        assert_eq!(both_later, Some((NOW + 1_000, 1)));
    }

    #[test]
    fn one_name_of_51_regions_is_signed_with_the_plan_and_of_52_it_is_not() {
        let signed = ", dnssec: { keys: keys }";
        assert_eq!(too_many(51, signed), None);
        let told = too_many(52, signed).unwrap();
        assert_eq!((told.count, told.most), (52 * 51 * 51, 131_072));
        let names: Vec<String> = told.unsigned.iter().map(Name::to_string).collect();
        assert_eq!(names, ["www.example.com."]);
        assert_eq!(too_many(52, ""), None);
    }

    #[test]
    fn where_there_is_room_for_one_name_of_two_the_other_one_is_told() {
        let hosts = "b.example.com, a.example.com, '*.example.com'";
        let told = too_many_of(45, hosts, ", dnssec: { keys: keys }").unwrap();
        assert_eq!(told.count, 2 * 45 * 44 * 44);
        let names: Vec<String> = told.unsigned.iter().map(Name::to_string).collect();
        assert_eq!(names, ["b.example.com."]);
    }
}
