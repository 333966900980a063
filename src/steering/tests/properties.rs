//! What holds whatever the facts: every policy, write rule and client, in any state of the world.

use proptest::prelude::*;

use super::any_world::{Facts, PLAN, REGIONS, asker, snapshot, world};
use crate::config::plan::{Access, Writes};
use crate::geo::PlaceId;
use crate::health::Health;
use crate::ids::{Id, RegionId};
use crate::positions::Standing;
use crate::steering::{
    Admin, Ask, Decision, Draw, FailOpen, MemberState, Reason, Refusal, Step, Verdict, reopen,
    stable_hash, steer,
};

fn regions(decision: &Decision) -> Vec<RegionId> {
    decision.ranked.iter().map(|choice| choice.region).collect()
}

fn name(region: RegionId) -> &'static str {
    REGIONS[region.index()]
}

fn is_chosen_freely(member: &MemberState) -> bool {
    member.health.is_able() && member.admin == Admin::Enabled
}

proptest! {
    #[test]
    fn no_unhealthy_region_is_chosen_while_an_eligible_healthy_one_exists(
        facts in world(), asker in asker()
    ) {
        let snapshot = snapshot(&facts);
        let decision = asker.ask(&snapshot);
        let members = &snapshot.services.of(asker.service()).members;
        let allowed = asker.allowed();
        let eligible = members
            .iter()
            .any(|member| allowed.contains(&name(member.region)) && is_chosen_freely(member));
        if eligible {
            for region in regions(&decision) {
                let health = facts[region.index()].health;
                prop_assert!(health.is_able(), "{} in {:?}", name(region), decision);
            }
            prop_assert!(!matches!(decision.verdict, Verdict::FailOpen(_)));
        }
    }

    #[test]
    fn a_drained_region_is_chosen_only_for_its_sessions_its_writes_or_in_need(
        facts in world(), asker in asker()
    ) {
        let decision = asker.ask(&snapshot(&facts));
        if decision.verdict != Verdict::Steered {
            return Ok(());
        }
        let able_dominates = decision.ranked.iter().any(|choice| {
            facts[choice.region.index()].admin == Admin::Enabled
                && choice.standing == Standing::Dominates
        });
        for region in regions(&decision) {
            let session = facts[region.index()].admin == Admin::Draining
                && asker.affinity == Some(region.index());
            let only_it_can = !able_dominates && asker.dominated_by(region, &facts);
            prop_assert!(
                facts[region.index()].admin == Admin::Enabled || session || only_it_can,
                "{} in {decision:?}", name(region)
            );
        }
    }

    #[test]
    fn residency_is_never_broken(facts in world(), asker in asker()) {
        let decision = asker.ask(&snapshot(&facts));
        let reopened = reopen(&snapshot(&facts), asker.service(), Access::Read, &decision);
        let back = reopened.iter().flat_map(regions);
        for region in regions(&decision).into_iter().chain(back) {
            prop_assert!(asker.allowed().contains(&name(region)), "{decision:?}");
        }
    }

    #[test]
    fn among_those_that_have_it_the_rules_are_the_same(
        facts in world(), asker in asker(), has in proptest::collection::vec(any::<bool>(), 4)
    ) {
        let snapshot = snapshot(&facts);
        let decision = asker.ask_among(&snapshot, |region| has[region.index()]);
        let members = &snapshot.services.of(asker.service()).members;
        let may = |region: RegionId| has[region.index()] && asker.allowed().contains(&name(region));
        for region in regions(&decision) {
            prop_assert!(may(region), "{decision:?}");
        }
        let (any_may, mut eligible) = (
            members.iter().any(|member| may(member.region)),
            members.iter().filter(|member| may(member.region) && is_chosen_freely(member)),
        );
        prop_assert_eq!(decision.verdict == Verdict::Refused(Refusal::Residency), !any_may);
        if eligible.next().is_some() {
            prop_assert!(!matches!(decision.verdict, Verdict::FailOpen(_)), "{:?}", decision);
        }
    }

    #[test]
    fn equal_questions_have_equal_answers(facts in world(), asker in asker()) {
        let (first, second) = (snapshot(&facts), snapshot(&facts));
        prop_assert_eq!(asker.ask(&first), asker.ask(&first));
        prop_assert_eq!(asker.ask(&first), asker.ask(&second));
    }

    #[test]
    fn no_region_is_tried_twice_and_ranks_count_from_0(facts in world(), asker in asker()) {
        let decision = asker.ask(&snapshot(&facts));
        let mut once = regions(&decision);
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), decision.ranked.len(), "{:?}", decision);
        if !decision.ranked.is_empty() {
            prop_assert!(decision.ranked.iter().any(|choice| choice.rank == 0), "{:?}", decision);
        }
    }

    #[test]
    fn a_refusal_has_no_region_and_everything_else_has_one(facts in world(), asker in asker()) {
        let snapshot = snapshot(&facts);
        let decision = asker.ask(&snapshot);
        let refused = matches!(decision.verdict, Verdict::Refused(_));
        prop_assert_eq!(decision.ranked.is_empty(), refused, "{:?}", decision);
        let (service, _) = snapshot.service(asker.service());
        if service.name.ends_with("-all") {
            prop_assert!(decision.verdict != Verdict::Refused(Refusal::NoneHealthy));
        } else {
            prop_assert!(!matches!(decision.verdict, Verdict::FailOpen(_)));
        }
    }

    #[test]
    fn what_does_not_dominate_is_never_said_to_be_fresh(facts in world(), asker in asker()) {
        let decision = asker.ask(&snapshot(&facts));
        let must_be_fresh = asker.access == Access::Read
            && (asker.saw.is_some() || asker.pin.is_some());
        for choice in decision.ranked.iter().filter(|_| must_be_fresh) {
            prop_assert!(
                choice.standing != Standing::Dominates || asker.dominated_by(choice.region, &facts),
                "{} in {decision:?}", name(choice.region)
            );
        }
    }

    #[test]
    fn the_last_step_of_a_region_says_whether_it_is_tried(facts in world(), asker in asker()) {
        let decision = asker.ask(&snapshot(&facts));
        let tried = regions(&decision);
        for region in (0..REGIONS.len()).map(RegionId::at) {
            let last = decision.steps.iter().rfind(|step| step.region == region);
            prop_assert!(last.is_some(), "nothing is said of {} in {decision:?}", name(region));
            prop_assert_eq!(
                last.map(|step| step.kept), Some(tried.contains(&region)),
                "{} in {:?}", name(region), decision
            );
        }
    }

    #[test]
    fn when_failing_open_the_drained_come_last(facts in world(), asker in asker()) {
        let decision = asker.ask(&snapshot(&facts));
        let Verdict::FailOpen(who) = decision.verdict else { return Ok(()) };
        let by_rank = {
            let mut ranked = decision.ranked.clone();
            ranked.sort_by_key(|choice| choice.rank);
            ranked
        };
        let drained: Vec<bool> = by_rank
            .iter()
            .map(|choice| facts[choice.region.index()].admin != Admin::Enabled)
            .collect();
        prop_assert!(drained.is_sorted(), "{decision:?}");
        prop_assert_eq!(drained[0], who == FailOpen::Drained);
    }

    #[test]
    fn places_are_numbered_through_when_failing_open_too(facts in world(), asker in asker()) {
        let decision = asker.ask(&snapshot(&facts));
        if let Verdict::FailOpen(_) = decision.verdict {
            let listed = |step: &Step| {
                if let Reason::Listed { place } = step.reason { Some(place) } else { None }
            };
            let places: Vec<u8> = decision.steps.iter().filter_map(listed).collect();
            prop_assert!(places.is_sorted_by(|one, next| one < next), "{decision:?}");
        }
    }

    #[test]
    fn a_service_has_an_able_region_unless_a_stranger_meets_it_failing_open_or_closed(
        facts in world(), asker in asker(),
    ) {
        let snapshot = snapshot(&facts);
        let (_, state) = snapshot.service(asker.service());
        let ask = Ask::http(asker.service(), PlaceId::NOWHERE, Access::Read);
        let verdict = steer(&snapshot, &ask, Draw(1)).verdict;
        prop_assert_eq!(state.has_able(), verdict == Verdict::Steered, "{:?}", verdict);
    }

    #[test]
    fn without_failover_only_an_able_primary_takes_writes(facts in world(), asker in asker()) {
        let snapshot = snapshot(&facts);
        let decision = asker.ask(&snapshot);
        let (service, _) = snapshot.service(asker.service());
        if asker.access == Access::Write
            && let Writes::Primary { region, .. } = service.writes
            && service.name.contains("fenced")
        {
            prop_assert!(regions(&decision).iter().all(|tried| *tried == region));
            prop_assert!(decision.ranked.is_empty() || facts[region.index()].health.is_able());
        }
    }

    #[test]
    fn removing_a_region_moves_only_its_own_share_of_a_weighted_service(
        weights in [1u32..9, 1u32..9, 1u32..9, 1u32..9],
        gone in 0usize..4,
        client in "[a-z0-9.]{1,12}",
    ) {
        let facts = |gone: Option<usize>| {
            [0, 1, 2, 3].map(|at| Facts {
                health: if gone == Some(at) { Health::Unhealthy } else { Health::Healthy },
                admin: Admin::Enabled,
                weight: weights[at],
                round_trip_ms: None,
                applied: [None, None],
            })
        };
        let service = PLAN.0.service("weighted-nearest-all").unwrap();
        let ask = Ask::http(service, PlaceId::NOWHERE, Access::Read);
        let draw = Draw(stable_hash(&client));
        let order = |gone| regions(&steer(&snapshot(&facts(gone)), &ask, draw));
        let (before, after) = (order(None), order(Some(gone)));
        let rest: Vec<RegionId> =
            before.into_iter().filter(|region| region.index() != gone).collect();
        prop_assert_eq!(after, rest);
    }

    #[test]
    fn a_heavier_weight_only_draws_clients_to_it(
        weights in [0u32..9, 0u32..9, 0u32..9, 0u32..9],
        heavier in 0usize..4,
        draw: u64,
    ) {
        let facts = |more: u32| {
            [0, 1, 2, 3].map(|at| Facts {
                health: Health::Healthy,
                admin: Admin::Enabled,
                weight: if at == heavier { weights[at] + more } else { weights[at] },
                round_trip_ms: None,
                applied: [None, None],
            })
        };
        let service = PLAN.0.service("weighted-nearest-all").unwrap();
        let ask = Ask::http(service, PlaceId::NOWHERE, Access::Read);
        let first = |more| regions(&steer(&snapshot(&facts(more)), &ask, Draw(draw)))[0];
        let (before, after) = (first(0), first(3));
        prop_assert!(after == before || after.index() == heavier);
    }
}
