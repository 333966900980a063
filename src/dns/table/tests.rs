//! The table says what `steer` says, whatever the facts.

use std::sync::Arc;

use proptest::prelude::*;

use super::{AnswerTable, Cause, Chosen, Found, Lasting, Signing, SteeredType};
use crate::config::plan::{Plan, SigningAlgorithm, WhenNoneHealthy};
use crate::dns::codec::code::rtype;
use crate::dns::testing::{NOW, addresses, plan, snapshot};
use crate::dns::{Key, Times, ZoneKeys};
use crate::geo::PlaceId;
use crate::health::Health;
use crate::ids::{Id, RegionId, ServiceId};
use crate::steering::{Admin, Ask, Draw, Percent, Snapshot, Spread, steer, steer_among};

/// Compiled on what `previous` has, where that is right.
fn table(
    snapshot: Arc<Snapshot>,
    signing: &Signing,
    previous: Option<&AnswerTable>,
) -> AnswerTable {
    let lasting = Lasting::of(&snapshot.plan, signing, previous.map(AnswerTable::lasting));
    AnswerTable::compile(snapshot, lasting, previous)
}

fn health(index: u8) -> Health {
    [
        Health::Unknown,
        Health::Healthy,
        Health::Degraded,
        Health::Unhealthy,
    ][usize::from(index)]
}

fn admin(index: u8) -> Admin {
    let share = Percent::new(index * 10);
    match index {
        0..3 => Admin::Enabled,
        3 => Admin::Draining,
        4 => Admin::Drained,
        5..8 => Admin::Returning(share),
        _ => Admin::Leaving {
            fresh: Percent::new(100 - index * 10),
            sessions: Percent::ALL,
        },
    }
}

fn has_type(snapshot: &Snapshot, region: RegionId, rtype: SteeredType) -> bool {
    let addresses = addresses(&snapshot.plan, region);
    match rtype {
        SteeredType::A => addresses.iter().any(|address| address.is_ipv4()),
        SteeredType::Aaaa => addresses.iter().any(|address| address.is_ipv6()),
        SteeredType::Https => !addresses.is_empty(),
    }
}

proptest! {
    #[test]
    fn the_answer_table_equals_steer(
        facts in proptest::collection::vec((0u8..4, 0u8..11, 0u32..4), 9),
        place in 0usize..3,
        spread in 0u8..100,
        draw: u64,
    ) {
        let draw = Draw(draw);
        let place = PlaceId::at(place);
        let spread = Spread::at(Percent::new(spread)).unwrap();
        let snapshot = snapshot(Arc::new(plan()), |service, member| {
            let (h, a, weight) = facts[service.index() * 3 + member.region.index()];
            (member.health, member.admin, member.weight) = (health(h), admin(a), weight);
        });
        let snapshot = Arc::new(snapshot);
        let table = table(snapshot.clone(), &Signing::default(), None);
        for service in snapshot.plan.services.ids() {
            let ask = Ask { spread, ..Ask::dns(service, place) };
            let decision = steer(&snapshot, &ask, draw);
            let choice = table.choice(&snapshot, service, (place, spread), draw).unwrap();
            prop_assert_eq!(choice.verdict(), decision.verdict);
            for rtype in SteeredType::ALL {
                let first = decision
                    .ranked
                    .iter()
                    .map(|choice| choice.region)
                    .find(|region| has_type(&snapshot, *region, rtype));
                let among = || {
                    let has = |region| has_type(&snapshot, region, rtype);
                    let among = steer_among(&snapshot, &ask, draw, has);
                    among.ranked.first().map(|choice| choice.region)
                };
                prop_assert_eq!(choice.of(rtype).map(|chosen| chosen.region), first.or_else(among));
            }
        }
    }

    #[test]
    fn an_answer_is_empty_only_if_no_region_has_the_type_or_none_may_fail_open(
        facts in proptest::collection::vec((0u8..4, 0u8..11, 0u32..4), 9),
        has in proptest::collection::vec(0usize..4, 3),
        place in 0usize..3,
        spread in 0u8..100,
        draw: u64,
    ) {
        let mut plan = plan();
        for (region, has) in (0..).map(RegionId::at).zip(&has) {
            let families: [&[&str]; 4] =
                [&[], &["192.0.2.1"], &["2001:db8::1"], &["192.0.2.1", "2001:db8::1"]];
            plan.regions.of_mut(region).addresses =
                families[*has].iter().map(|address| address.parse().unwrap()).collect();
        }
        let snapshot = snapshot(Arc::new(plan), |service, member| {
            let (h, a, weight) = facts[service.index() * 3 + member.region.index()];
            (member.health, member.admin, member.weight) = (health(h), admin(a), weight);
        });
        let snapshot = Arc::new(snapshot);
        let table = table(snapshot.clone(), &Signing::default(), None);
        let at = (PlaceId::at(place), Spread::at(Percent::new(spread)).unwrap());
        for (service, of) in snapshot.plan.services.iter() {
            let choice = table.choice(&snapshot, service, at, Draw(draw)).unwrap();
            for rtype in SteeredType::ALL {
                let any_has = snapshot.plan.regions.ids().any(|id| has_type(&snapshot, id, rtype));
                let is_empty = choice.of(rtype).is_none();
                if of.when_none_healthy == WhenNoneHealthy::All {
                    prop_assert_eq!(is_empty, !any_has, "{:?} {:?}", rtype, choice);
                } else {
                    prop_assert!(any_has || is_empty, "{:?} {:?}", rtype, choice);
                }
            }
        }
    }
}

fn compile(plan: &Arc<Plan>, health: Health, previous: Option<&AnswerTable>) -> AnswerTable {
    let snapshot = snapshot(plan.clone(), |service, member| {
        if service == ServiceId::at(0) {
            member.health = health;
        }
    });
    let mut snapshot = Arc::new(snapshot);
    if let (Some(previous), Some(snapshot)) = (previous, Arc::get_mut(&mut snapshot)) {
        snapshot.clients = previous.snapshot.clients.clone();
    }
    table(snapshot, &Signing::default(), previous)
}

#[test]
fn a_change_of_health_costs_the_services_that_it_concerns() {
    let plan_before = Arc::new(plan());
    let before = compile(&plan_before, Health::Healthy, None);
    let after = compile(&plan_before, Health::Unhealthy, Some(&before));
    assert!(Arc::ptr_eq(&before.lasting, &after.lasting));
    let kept = |id| Arc::ptr_eq(before.services.of(id), after.services.of(id));
    assert!(!kept(ServiceId::at(0)));
    assert!(kept(ServiceId::at(1)) && kept(ServiceId::at(2)));
    let reloaded = compile(&Arc::new(plan()), Health::Healthy, Some(&before));
    assert!(!Arc::ptr_eq(&before.lasting, &reloaded.lasting));
}

#[test]
fn what_was_counted_is_known_under_the_next_plan_too() {
    let before = compile(&Arc::new(plan()), Health::Healthy, None);
    let chosen = Chosen::new(1, RegionId::at(1), Cause::ALL[0]).unwrap();
    let all = |table: &AnswerTable| table.totals().map(|(_, number)| number).sum::<u64>();
    before.count(ServiceId::at(0), chosen, 3);
    let after = compile(&Arc::new(plan()), Health::Healthy, Some(&before));
    // An answer that was on its way while the table was changed.
    before.count(ServiceId::at(0), chosen, 1);
    after.count(ServiceId::at(0), chosen, 2);
    assert_eq!((all(&before), all(&after)), (6, 6));
    let service = plan().services.of(ServiceId::at(0)).name.clone();
    let (name, _) = after.totals().find(|(_, number)| *number > 0).unwrap();
    assert_eq!(name.0, service);
}

#[test]
fn services_that_decide_alike_are_decided_once() {
    let mut plan = plan();
    let like_the_first = plan.services.of(ServiceId::at(0)).clone();
    plan.services.push(like_the_first);
    let plan = Arc::new(plan);
    let same = compile(&plan, Health::Healthy, None);
    let shares = |table: &AnswerTable, a: usize, b: usize| {
        let of = |at| table.services.of(ServiceId::at(at));
        of(a).shares_choices_with(of(b))
    };
    assert!(shares(&same, 0, 3));
    assert!(
        !shares(&same, 0, 2),
        "the third refuses where the first fails open"
    );
    // `compile` changes the first service alone.
    let different = compile(&plan, Health::Unhealthy, None);
    assert!(!shares(&different, 0, 3));
}

#[test]
fn a_key_that_becomes_active_later_is_waited_for() {
    let times = Times {
        activate: Some(2_000),
        ..Times::default()
    };
    let (key, _) = Key::generate(SigningAlgorithm::Ed25519, times).unwrap();
    let keys = Some(Arc::new(ZoneKeys { keys: vec![key] }));
    let signing = Signing::new(Arc::new([keys, None]), 1_000);
    let snapshot = Arc::new(snapshot(Arc::new(plan()), |_, _| {}));
    let table = table(snapshot, &signing, None);
    assert_eq!(
        [1_999, 2_000].map(|now| table.lasting.is_due(now)),
        [false, true]
    );
}

#[test]
fn an_edge_whose_clock_was_so_far_ahead_that_no_key_signed_signs_once_the_clock_is_right() {
    let times = Times {
        inactive: Some(NOW + DAY),
        ..Times::default()
    };
    let (key, _) = Key::generate(SigningAlgorithm::Ed25519, times).unwrap();
    let keys: Arc<[_]> = Arc::new([Some(Arc::new(ZoneKeys { keys: vec![key] })), None]);
    let snapshot = Arc::new(snapshot(Arc::new(plan()), |_, _| {}));
    let at = |now, before| {
        let signing = Signing::new(Arc::clone(&keys), now);
        table(Arc::clone(&snapshot), &signing, before)
    };
    let ahead = at(NOW + 2 * DAY, None);
    assert!(!ahead.names().is_signed());
    assert!(!ahead.lasting.is_due(NOW + 2 * DAY));
    assert!(ahead.lasting.is_due(NOW));
    let right = at(NOW, Some(&ahead));
    assert!(right.names().is_signed());
    assert!(!right.lasting.is_due(NOW));
}

const DAY: u32 = 86_400;

/// A table that was signed at `NOW`, one that follows it at another time, and whether what stands at the apex was
/// signed anew.
#[track_caller]
fn check_signed_anew(now: u32, expected: bool) {
    let (key, _) = Key::generate(SigningAlgorithm::EcdsaP256Sha256, Times::default()).unwrap();
    let keys: Arc<[_]> = Arc::new([Some(Arc::new(ZoneKeys { keys: vec![key] })), None]);
    let snapshot = Arc::new(snapshot(Arc::new(plan()), |_, _| {}));
    let at = |now, before| {
        let signing = Signing::new(Arc::clone(&keys), now);
        table(Arc::clone(&snapshot), &signing, before)
    };
    let apex = |table: &AnswerTable| {
        let Found::Node(node) = table.names().find(b"\x07example\x03com\x00", None) else {
            panic!("it is a zone");
        };
        node.rrset(rtype::SOA).unwrap().clone()
    };
    let first = at(NOW, None);
    let then = at(now, Some(&first));
    let is_new = apex(&first) != apex(&then);
    assert_eq!(
        (first.lasting.is_due(now), is_new),
        (expected, expected),
        "at {now}"
    );
}

#[test]
fn a_zone_is_signed_anew_a_week_before_its_signatures_expire_and_when_the_clock_is_set_back() {
    check_signed_anew(NOW + 7 * DAY - 1, false);
    check_signed_anew(NOW + 7 * DAY, true);
    check_signed_anew(NOW + 30 * DAY, true);
    // Signatures are from an hour ago, and validators' clocks may be behind too.
    check_signed_anew(NOW - 1_800, false);
    check_signed_anew(NOW - 1_801, true);
    check_signed_anew(NOW - 2 * DAY, true);
}

#[test]
fn signing_anew_decides_nothing_anew() {
    let (key, _) = Key::generate(SigningAlgorithm::Ed25519, Times::default()).unwrap();
    let keys: Arc<[_]> = Arc::new([Some(Arc::new(ZoneKeys { keys: vec![key] })), None]);
    let snapshot = Arc::new(snapshot(Arc::new(plan()), |_, _| {}));
    let before = table(Arc::clone(&snapshot), &Signing::new(keys, NOW), None);
    let lasting = before.lasting.renewed(NOW + 7 * DAY, &|| true).unwrap();
    assert!(!lasting.is_due(NOW + 7 * DAY));
    let after = AnswerTable::compile(snapshot, lasting, Some(&before));
    let kept = |id| Arc::ptr_eq(before.services.of(id), after.services.of(id));
    assert!(before.snapshot.plan.services.ids().all(kept));
    assert!(Arc::ptr_eq(
        &before.lasting.counters,
        &after.lasting.counters
    ));
}
