//! Steered names: what each service answers at each place, decided by `steer` when the snapshot
//! is built, or per query where a draw decides.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::choice::{ALTERNATIVES, Cause, Choice, Chosen, Plain, SteeredType};
use super::offer::Offer;
use crate::config::plan::{Plan, Policy, WhenNoneHealthy};
use crate::geo::PlaceId;
use crate::ids::{Id, RegionId, ServiceId};
use crate::steering::{
    Admin, Ask, Decision, Draw, MemberState, Percent, Rule, Snapshot, Spread, Verdict, steer,
    steer_among,
};

/// What a service answers.
#[derive(Debug)]
pub(in crate::dns) struct SteeredService {
    id: ServiceId,
    /// Seconds, as it is now.
    pub(in crate::dns) ttl: u32,
    /// What its regions publish.
    pub(in crate::dns) offer: Arc<Offer>,
    choices: Arc<Choices>,
    /// In the order of the places' ids; empty where the place does not decide alone.
    plain: Arc<[Plain]>,
    is_shared_out: bool,
}

#[derive(Debug)]
enum Choices {
    /// For clients whose places among a hundred are below a share, in order, and the last for all. More than one
    /// only while regions leave or come back little by little.
    ByPlace(Vec<Band>),
    /// `weighted` draws for every query.
    PerQuery,
}

/// What clients up to a share are answered, in the order of the places' ids.
#[derive(Debug)]
struct Band {
    below: Percent,
    choices: Vec<Choice>,
}

/// Choices of services that decide alike under one snapshot: most of many services do.
#[derive(Debug, Default)]
pub(super) struct Shared {
    known: HashMap<Deciding, (Arc<Choices>, Arc<[Plain]>)>,
}

/// All that a service's choices follow from, under one snapshot.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Deciding {
    class: Option<usize>,
    offer: *const Offer,
    policy: Policy,
    when_none_healthy: WhenNoneHealthy,
    members: Vec<MemberState>,
    /// Residency is a service's own.
    resident: Option<ServiceId>,
}

impl SteeredService {
    /// Decides for every place, or takes over what was decided for a service alike.
    pub(super) fn compile(
        snapshot: &Snapshot,
        id: ServiceId,
        offer: Arc<Offer>,
        shared: &mut Shared,
    ) -> Self {
        let (service, state) = snapshot.service(id);
        let mut compiled = Self {
            id,
            ttl: state.ttl.secs(),
            offer,
            choices: Arc::new(Choices::PerQuery),
            plain: Arc::default(),
            is_shared_out: state.is_shared_out(),
        };
        if service.policy != Policy::Weighted {
            let deciding = Deciding {
                class: snapshot.clients.class_of(id),
                offer: Arc::as_ptr(&compiled.offer),
                policy: service.policy,
                when_none_healthy: service.when_none_healthy,
                members: state.members.clone(),
                resident: service.residency.as_ref().map(|_| id),
            };
            let choices = shared.known.entry(deciding);
            let (choices, plain) = choices.or_insert_with(|| {
                let choices = compiled.everywhere(snapshot);
                let plain = compiled.plain_of(&choices);
                (Arc::new(choices), plain)
            });
            compiled.choices = Arc::clone(choices);
            compiled.plain = Arc::clone(plain);
        }
        compiled
    }

    #[cfg(test)]
    pub(super) fn shares_choices_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.choices, &other.choices)
    }

    fn everywhere(&self, snapshot: &Snapshot) -> Choices {
        // Where nothing is known of places, there is one: nowhere.
        let places = snapshot.clients.places(self.id).len().max(1);
        let bounds = shares(&snapshot.services.of(self.id).members);
        let band = |(from, below): (Percent, Percent)| Band {
            below,
            choices: (0..places)
                .map(|place| (PlaceId::at(place), Spread::at(from).unwrap_or_default()))
                .map(|(place, spread)| self.decide(snapshot, (place, spread), Draw(0)))
                .collect(),
        };
        let froms = std::iter::once(Percent::NONE).chain(bounds.iter().copied());
        Choices::ByPlace(froms.zip(bounds.iter().copied()).map(band).collect())
    }

    /// What is as simple as most answers are, out of what is answered anywhere.
    fn plain_of(&self, choices: &Choices) -> Arc<[Plain]> {
        let bands: &[Band] = match choices {
            Choices::ByPlace(bands) if !self.is_shared_out => bands,
            Choices::ByPlace(_) | Choices::PerQuery => &[],
        };
        let places = bands.first().map_or(&[][..], |band| &band.choices);
        places.iter().map(Choice::plainly).collect()
    }

    /// The region whose addresses clients of a place get, where the place alone decides.
    #[inline]
    pub(in crate::dns) fn plainly(&self, place: PlaceId, rtype: SteeredType) -> Option<Chosen> {
        let plain = self.plain.get(place.index())?;
        match rtype {
            SteeredType::A => plain.a,
            SteeredType::Aaaa => plain.aaaa,
            SteeredType::Https => None,
        }
    }

    /// Whether clients of one place are answered by their networks too.
    pub(in crate::dns) fn is_shared_out(&self) -> bool {
        self.is_shared_out
    }

    /// What it answers anywhere; none where a draw decides.
    pub(in crate::dns) fn choices(&self) -> impl Iterator<Item = &Choice> {
        let bands: &[Band] = match &*self.choices {
            Choices::ByPlace(bands) => bands,
            Choices::PerQuery => &[],
        };
        bands.iter().flat_map(|band| &band.choices)
    }

    /// What it answers at a place.
    pub(in crate::dns) fn choose(
        &self,
        snapshot: &Snapshot,
        (place, spread): (PlaceId, Spread),
        draw: Draw,
    ) -> Cow<'_, Choice> {
        let known = match &*self.choices {
            Choices::ByPlace(bands) => bands.iter().find(|band| spread.is_of(band.below)),
            Choices::PerQuery => None,
        };
        match known.and_then(|band| band.choices.get(place.index())) {
            Some(choice) => Cow::Borrowed(choice),
            None => Cow::Owned(self.decide(snapshot, (place, spread), draw)),
        }
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        (place, spread): (PlaceId, Spread),
        draw: Draw,
    ) -> Choice {
        let ask = Ask {
            spread,
            ..Ask::dns(self.id, place)
        };
        let offer = &*self.offer;
        let question = (snapshot, &ask, draw);
        let steered = steer(snapshot, &ask, draw);
        let all = self.among(question, &steered, |member| offer.publishes(member));
        let ranked = all.ranked.iter().map(|choice| choice.region);
        let alias = if answers_by_name(&snapshot.plan, ranked) {
            self.first(&all, |member| offer.alias(member).is_some())
        } else {
            None
        };
        let with = |rtype| {
            let decision = self.among(question, &all, |member| offer.has(member, rtype));
            let first = self.first(&decision, |member| offer.has(member, rtype));
            first.filter(|_| alias.is_none())
        };
        let https = with(SteeredType::Https);
        Choice {
            // Who is able and publishes nothing is able all the same.
            verdict: match steered.verdict {
                Verdict::Steered => Verdict::Steered,
                Verdict::FailOpen(_) | Verdict::Refused(_) => all.verdict,
            },
            alias,
            a: with(SteeredType::A),
            aaaa: with(SteeredType::Aaaa),
            https,
            alternatives: https.map_or([None; _], |https| self.behind(&all, https)),
        }
    }

    /// A decision, or where none of its regions has what is asked for, that among those which have: whoever asks for
    /// it can use no other. If that is a refusal, the decision stands.
    fn among<'d>(
        &self,
        (snapshot, ask, draw): (&Snapshot, &Ask<'_>, Draw),
        decision: &'d Decision,
        has: impl Fn(usize) -> bool,
    ) -> Cow<'d, Decision> {
        let has = |region| self.offer.member(region).is_some_and(&has);
        let is_found = decision.ranked.iter().any(|choice| has(choice.region));
        if is_found || !self.offer.regions().any(has) {
            return Cow::Borrowed(decision);
        }
        let among = steer_among(snapshot, ask, draw, has);
        match among.verdict {
            Verdict::Refused(_) => Cow::Borrowed(decision),
            Verdict::Steered | Verdict::FailOpen(_) => Cow::Owned(among),
        }
    }

    /// The next of the ranking that HTTPS records can lead to.
    fn behind(&self, decision: &Decision, first: Chosen) -> [Option<u16>; ALTERNATIVES] {
        let ranked = decision.ranked.iter().map(|choice| choice.region);
        let mut behind = ranked
            .skip_while(|region| *region != first.region)
            .skip(1)
            .filter_map(|region| self.offer.member(region))
            .filter(|member| self.offer.is_alternative(*member))
            .filter_map(|member| u16::try_from(member).ok());
        std::array::from_fn(|_| behind.next())
    }

    /// The first of the ranking whose offer is right.
    fn first(&self, decision: &Decision, is_right: impl Fn(usize) -> bool) -> Option<Chosen> {
        decision
            .ranked
            .iter()
            .enumerate()
            .find_map(|(rank, choice)| {
                let member = self.offer.member(choice.region)?;
                let cause = match rank {
                    0 => cause(decision, choice.region),
                    _ => Cause::Address,
                };
                let chosen = Chosen::new(member, choice.region, cause);
                chosen.filter(|_| is_right(member))
            })
    }
}

/// The shares of clients at which answers change, and all.
fn shares(members: &[MemberState]) -> BTreeSet<Percent> {
    let shares = members.iter().filter_map(|member| match member.admin {
        Admin::Returning(share) | Admin::Leaving { fresh: share, .. } => Some(share),
        Admin::Enabled | Admin::Draining | Admin::Drained => None,
    });
    let within = shares.filter(|share| *share > Percent::NONE);
    within.chain([Percent::ALL]).collect()
}

/// Whether the regions of a ranking are answered by the host name of the first that publishes anything.
/// A CNAME stands alone (RFC 1034 §3.6.2): a region given by name answers for every type or for none.
pub fn answers_by_name(plan: &Plan, ranked: impl IntoIterator<Item = RegionId>) -> bool {
    let mut regions = ranked.into_iter().map(|region| plan.regions.of(region));
    let first = regions.find(|region| region.publishes());
    first.is_some_and(|region| region.alias.is_some())
}

/// What placed the region that was chosen first.
fn cause(decision: &Decision, region: RegionId) -> Cause {
    if matches!(decision.verdict, Verdict::FailOpen(_)) {
        return Cause::WhenNoneHealthy;
    }
    let last = decision.steps.iter().rfind(|step| step.region == region);
    match last.map(|step| step.reason.rule()) {
        Some(Rule::Override) => Cause::Override,
        _ => Cause::Policy,
    }
}
