//! Any state of the world, and any client that asks in it: what the properties quantify over.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use crate::config::load_text;
use crate::config::plan::{Access, Plan};
use crate::control::World;
use crate::geo::{ClientMap, Database, PlaceId};
use crate::health::Health;
use crate::ids::{Id, RegionId, ServiceId};
use crate::latency::Estimate;
use crate::positions::{self, Position, Vector};
use crate::steering::{
    Admin, Ask, Decision, Draw, Require, Snapshot, Spread, Vantage, steer_among,
};

pub(super) const REGIONS: [&str; 4] = ["us", "eu", "ap", "sa"];
const LABELS: [&str; 7] = [
    "one",
    "TWO",
    "three",
    "unlisted",
    "one, TWO",
    "unlisted,three",
    "TWO , three",
];

/// Every policy with every rule for writes and for who comes back.
fn services() -> String {
    let mut services = String::new();
    for policy in ["priority", "weighted", "geo", "latency"] {
        for (writes, rule) in [
            ("nearest", "{ to: nearest }"),
            ("primary", "{ to: { primary: eu } }"),
            ("fenced", "{ to: { primary: eu }, failover: none }"),
            (
                "home",
                "{ to: home, key: { header: X-T }, homes: { k0: ap } }",
            ),
        ] {
            for back in ["all", "none"] {
                services += &format!(
                    "
  {policy}-{writes}-{back}:
    hosts: [{policy}-{writes}-{back}.example.com]
    regions: [sa, us, eu, ap]
    writes: {rule}
    affinity: {{ by: client_ip }}
    consistency: {{ read_your_writes: true, domain: orders, wait: 100ms }}
    residency: {{ by: {{ header: X-J }}, allow: {{ one: [eu], two: [us, ap], three: [sa, eu, us] }} }}
    steering:
      policy: {policy}
      when_none_healthy: {back}
      overrides: [ {{ country: [JP], prefer: [ap, eu] }}, {{ network: 10.9.0.0/16, prefer: [sa] }} ]
"
                );
            }
        }
    }
    services
}

pub(super) static PLAN: LazyLock<(Arc<Plan>, Arc<ClientMap>)> = LazyLock::new(|| {
    let yaml = format!(
        "
node: {{ location: [50.03, 8.57] }}
geo: {{ networks: {{ 10.1.0.0/16: us, 10.2.0.0/16: eu, 10.3.0.0/16: ap, 10.9.1.0/24: us }} }}
regions:
  us: {{ location: [38.95, -77.45], addresses: [192.0.2.1] }}
  eu: {{ location: [50.11, 8.68], addresses: [192.0.2.2] }}
  ap: {{ location: [35.62, 139.78], addresses: [192.0.2.3] }}
  sa: {{ addresses: [192.0.2.4] }}
services:{}",
        services()
    );
    let plan = match load_text("meridian.yaml", &yaml, &|_| None) {
        Ok(loaded) => Arc::new(loaded.plan),
        Err(problems) => panic!("{problems}"),
    };
    let clients = Arc::new(ClientMap::compile(&plan, &Database::built_in()));
    (plan, clients)
});

/// One region's facts.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) health: Health,
    pub(super) admin: Admin,
    pub(super) weight: u32,
    pub(super) round_trip_ms: Option<u32>,
    /// What each of its two origins has said, if it has.
    pub(super) applied: [Option<Entries>; 2],
}

/// Of each region a position: epoch and number in one; 0 is no entry.
pub(super) type Entries = [u64; 4];

fn vector(entries: Entries) -> Vector {
    let mut vector = Vector::default();
    for (region, entry) in REGIONS.iter().zip(entries).filter(|(_, entry)| *entry > 0) {
        let position = Position {
            epoch: entry / 4,
            seq: entry % 4,
        };
        vector.set(&(*region).into(), position);
    }
    vector
}

fn entries() -> impl Strategy<Value = Entries> {
    // Small, so that what is required has often been applied.
    [0u64..6, 0u64..6, 0u64..3, 0u64..2]
}

fn facts() -> impl Strategy<Value = Facts> {
    let health = prop_oneof![
        1 => Just(Health::Unknown),
        1 => Just(Health::Healthy),
        1 => Just(Health::Degraded),
        2 => Just(Health::Unhealthy),
        1 => Just(Health::Ejected),
    ];
    let admin = prop_oneof![
        3 => Just(Admin::Enabled),
        1 => Just(Admin::Draining),
        1 => Just(Admin::Drained),
    ];
    let applied = || prop::option::of(entries());
    let round_trip = prop::option::of(0u32..300);
    (health, admin, 0u32..4, round_trip, [applied(), applied()]).prop_map(
        |(health, admin, weight, round_trip_ms, applied)| Facts {
            health,
            admin,
            weight,
            round_trip_ms,
            applied,
        },
    )
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    service: usize,
    place: usize,
    vantage: Vantage,
    pub(super) access: Access,
    pub(super) affinity: Option<usize>,
    label: Option<usize>,
    key: Option<u8>,
    pub(super) saw: Option<Entries>,
    pub(super) pin: Option<usize>,
    draw: u64,
}

pub(super) fn asker() -> impl Strategy<Value = Asker> {
    let vantage = prop_oneof![Just(Vantage::Client), Just(Vantage::Edge)];
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    let region = || prop::option::of(0..REGIONS.len());
    let label = prop::option::of(0..LABELS.len());
    (
        0usize..32,
        0usize..12,
        (vantage, access),
        region(),
        label,
        prop::option::of(0u8..6),
        prop::option::of(entries()),
        prop::option::weighted(0.2, 0..REGIONS.len()),
        any::<u64>(),
    )
        .prop_map(
            |(service, place, (vantage, access), affinity, label, key, saw, pin, draw)| Asker {
                service,
                place,
                vantage,
                access,
                affinity,
                label,
                key,
                saw,
                pin,
                draw,
            },
        )
}

pub(super) fn world() -> impl Strategy<Value = [Facts; 4]> {
    [facts(), facts(), facts(), facts()]
}

pub(super) fn snapshot(facts: &[Facts; 4]) -> Snapshot {
    let (plan, clients) = &*PLAN;
    let (mut snapshot, _) = World::new(plan.clone(), clients.clone()).snapshot(0);
    for service in plan.services.ids() {
        for member in &mut Arc::make_mut(snapshot.services.of_mut(service)).members {
            let facts = &facts[member.region.index()];
            (member.health, member.admin, member.weight) =
                (facts.health, facts.admin, facts.weight);
        }
    }
    for (region, facts) in plan.regions.ids().zip(facts) {
        let estimate = facts.round_trip_ms.map(f64::from);
        *snapshot.edge.round_trips.of_mut(region) =
            estimate.map_or(Estimate::Unknown, Estimate::Measured);
        for (origin, applied) in ["a", "b"].iter().zip(facts.applied) {
            if let Some(applied) = applied {
                snapshot
                    .positions
                    .values()
                    .next()
                    .unwrap()
                    .report(positions::Report {
                        region: &plan.regions.of(region).name,
                        origin,
                        applied: &vector(applied),
                        asked_at_ms: 0,
                        now_ms: 0,
                    });
            }
        }
    }
    snapshot
}

impl Asker {
    pub(super) fn service(&self) -> ServiceId {
        ServiceId::at(self.service)
    }

    pub(super) fn ask(&self, snapshot: &Snapshot) -> Decision {
        self.ask_among(snapshot, |_| true)
    }

    /// Asks for what only some regions have.
    pub(super) fn ask_among(
        &self,
        snapshot: &Snapshot,
        has: impl Fn(RegionId) -> bool,
    ) -> Decision {
        let saw = self.saw.map(vector);
        let key = self.key.map(|key| format!("k{key}"));
        let ask = Ask {
            service: self.service(),
            place: PlaceId::at(self.place),
            spread: Spread::default(),
            vantage: self.vantage,
            access: self.access,
            affinity: self.affinity.map(RegionId::at),
            residency: self.label.map(|label| LABELS[label]),
            write_key: key.as_deref(),
            require: Require {
                vector: saw.as_ref(),
                pin: self.pin.map(RegionId::at),
                now_ms: 0,
            },
        };
        steer_among(snapshot, &ask, Draw(self.draw), has)
    }

    /// The regions that residency allows, by this file's own reading of the configuration.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        match self.label.map(|label| LABELS[label]) {
            Some("one") => vec!["eu"],
            Some("TWO") => vec!["us", "ap"],
            Some("three" | "unlisted,three") => vec!["sa", "eu", "us"],
            Some("one, TWO") => vec![],
            Some("TWO , three") => vec!["us"],
            Some(_) | None => REGIONS.to_vec(),
        }
    }

    /// Whether a region has all that this asker must see: some origin of it lacks nothing but the
    /// region's own entry.
    pub(super) fn dominated_by(&self, region: RegionId, facts: &[Facts; 4]) -> bool {
        if self.pin.is_some_and(|pin| RegionId::at(pin) != region) {
            return false;
        }
        let Some(saw) = self.saw else { return true };
        let silent = [0; 4];
        let said = facts[region.index()].applied.iter().flatten();
        said.chain([&silent]).any(|applied| {
            (0..4).all(|writer| {
                let (have, wanted) = (applied[writer], saw[writer]);
                let included = have > 0 && have / 4 == wanted / 4 && have >= wanted;
                wanted == 0 || included || writer == region.index()
            })
        })
    }
}
