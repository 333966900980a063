//! The table says what `steer` says, whatever the facts.

use std::sync::Arc;

use proptest::prelude::*;

use super::{AnswerTable, SteeredType};
use crate::dns::testing::{addresses, plan, snapshot};
use crate::geo::PlaceId;
use crate::health::Health;
use crate::ids::Id;
use crate::steering::{Admin, Ask, Draw, Snapshot, steer};

fn health(index: u8) -> Health {
    [
        Health::Unknown,
        Health::Healthy,
        Health::Degraded,
        Health::Unhealthy,
    ][usize::from(index)]
}

fn admin(index: u8) -> Admin {
    [Admin::Enabled, Admin::Draining, Admin::Drained][usize::from(index)]
}

fn has(snapshot: &Snapshot, region: crate::ids::RegionId, rtype: SteeredType) -> bool {
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
        facts in proptest::collection::vec((0u8..4, 0u8..3, 0u32..4), 9),
        place in 0usize..3,
        draw: u64,
    ) {
        let draw = Draw(draw);
        let place = PlaceId::at(place);
        let snapshot = snapshot(Arc::new(plan()), |service, member| {
            let (h, a, weight) = facts[service.index() * 3 + member.region.index()];
            (member.health, member.admin, member.weight) = (health(h), admin(a), weight);
        });
        let table = AnswerTable::compile(&snapshot, None);
        for service in snapshot.plan.services.ids() {
            let decision = steer(&snapshot, &Ask::dns(service, place), draw);
            let choice = table.choice(&snapshot, service, place, draw).unwrap();
            prop_assert_eq!(choice.verdict(), decision.verdict);
            for rtype in SteeredType::ALL {
                let first = decision
                    .ranked
                    .iter()
                    .map(|choice| choice.region)
                    .find(|region| has(&snapshot, *region, rtype));
                prop_assert_eq!(choice.of(rtype).map(|chosen| chosen.region), first);
            }
        }
    }
}

#[test]
fn a_change_of_health_keeps_the_names_that_were_compiled() {
    let plan = Arc::new(plan());
    let before = AnswerTable::compile(&snapshot(Arc::clone(&plan), |_, _| {}), None);
    let after = AnswerTable::compile(
        &snapshot(plan, |_, member| member.health = Health::Unhealthy),
        Some(&before),
    );
    assert!(Arc::ptr_eq(&before.names, &after.names));
    let reloaded = AnswerTable::compile(
        &snapshot(Arc::new(super::super::testing::plan()), |_, _| {}),
        Some(&before),
    );
    assert!(!Arc::ptr_eq(&before.names, &reloaded.names));
}
