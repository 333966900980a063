//! The world that the tables speak of: `us`, `eu` and `ap`, listed in this order, and an edge near `eu`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::load_text;
use crate::config::plan::{Access, VersionForm};
use crate::control::World;
use crate::geo::{ClientMap, Database};
use crate::health::{Health, Phases, ProbeResult, Report, Verdict as Said};
use crate::ids::{Id, RegionId, ServiceId};
use crate::positions::{self, Position, parse_vector};
use crate::steering::{
    Admin, Ask, Decision, Draw, FailOpen, Percent, Reason, Refusal, Require, Rule, Snapshot,
    Spread, Vantage, Verdict, reopen, steer,
};

/// A client in Tokyo, by `geo.networks`.
pub(super) const IN_AP: &str = "10.3.0.1";
/// A client in Virginia, by `geo.networks`.
pub(super) const IN_US: &str = "10.1.0.1";
/// A client of Japan (WIDE), by the built-in database.
pub(super) const IN_JAPAN: &str = "203.178.141.194";
/// A client of the Netherlands (RIPE NCC), by the built-in database.
pub(super) const IN_THE_NETHERLANDS: &str = "193.0.6.139";
/// A client whose place nobody knows (RFC 5737).
pub(super) const SOMEWHERE: &str = "192.0.2.77";

/// Beside the edge that the tables stand at.
const NEAR_EU: &str = "node: { location: [50.03, 8.57] }";

/// Three regions, one service, and how they are.
pub(super) struct Scene {
    world: World,
    facts: Vec<(RegionId, Fact)>,
    pub(super) snapshot: Snapshot,
}

#[derive(Clone, Copy)]
enum Fact {
    Health(Health),
    Admin(Admin),
}

impl Fact {
    fn parse(word: &str) -> Self {
        match word {
            "unknown" => Self::Health(Health::Unknown),
            "healthy" => Self::Health(Health::Healthy),
            "degraded" => Self::Health(Health::Degraded),
            "unhealthy" => Self::Health(Health::Unhealthy),
            "ejected" => Self::Health(Health::Ejected),
            "draining" => Self::Admin(Admin::Draining),
            "drained" => Self::Admin(Admin::Drained),
            "returning" => Self::Admin(Admin::Returning(Percent::new(50))),
            "leaving" => Self::Admin(Admin::Leaving {
                fresh: Percent::new(50),
                sessions: Percent::new(80),
            }),
            _ => panic!("`{word}` is no fact"),
        }
    }
}

impl Scene {
    /// A service with these keys, seen from an edge near `eu`; every region is healthy.
    pub(super) fn new(service: &str) -> Self {
        Self::load(NEAR_EU, service)
    }

    /// The same, seen from an edge that does not say where it stands.
    pub(super) fn of_edge_without_location(service: &str) -> Self {
        Self::load("", service)
    }

    fn load(node: &str, service: &str) -> Self {
        let yaml = format!(
            "{node}
regions:
  us: {{ location: [38.95, -77.45], addresses: [192.0.2.1] }}
  eu: {{ location: [50.11, 8.68], addresses: [192.0.2.2] }}
  ap: {{ location: [35.62, 139.78], addresses: [192.0.2.3] }}
geo: {{ networks: {{ 10.1.0.0/16: us, 10.2.0.0/16: eu, 10.3.0.0/16: ap }} }}
services:
  api: {{ hosts: [api.example.com], {service} }}
"
        );
        Self::of_yaml(&yaml)
    }

    /// Any configuration whose first service is meant.
    pub(super) fn of_yaml(yaml: &str) -> Self {
        let plan = match load_text("meridian.yaml", yaml, &|_| None) {
            Ok(loaded) => Arc::new(loaded.plan),
            Err(problems) => panic!("{problems}"),
        };
        let clients = Arc::new(ClientMap::compile(&plan, &Database::built_in()));
        let mut world = World::new(plan.clone(), clients);
        let (snapshot, _) = world.snapshot(0);
        let healthy = Fact::Health(Health::Healthy);
        Self {
            world,
            facts: plan.regions.ids().map(|region| (region, healthy)).collect(),
            snapshot,
        }
        .renewed()
    }

    /// Adds facts such as `us=unhealthy eu=drained eu=degraded`.
    pub(super) fn with(mut self, facts: &str) -> Self {
        for (region, word) in pairs(facts) {
            self.facts.push((self.region(region), Fact::parse(word)));
        }
        self.renewed()
    }

    /// Adds measured round trips in ms, such as `us=90 eu=10`.
    pub(super) fn measured(mut self, round_trips: &str) -> Self {
        for (region, ms) in pairs(round_trips) {
            let phases = Phases {
                first_byte: Duration::from_millis(ms.parse().unwrap()),
                ..Phases::default()
            };
            let prefix = format!("api/{region}/");
            let (key, _, _) = self
                .world
                .checks()
                .find(|(key, _, _)| key.starts_with(&prefix))
                .unwrap();
            let report = Report {
                key: key.clone(),
                verdict: Said::Healthy,
                flip_in: None,
                result: ProbeResult {
                    began: Instant::now(),
                    ended: Instant::now(),
                    outcome: Ok(phases),
                    applied: None,
                },
            };
            self.world.report(report, 0, (0, 0));
        }
        self.renewed()
    }

    /// `region`'s only origin says at `now_ms` what it has applied.
    pub(super) fn applied(self, region: &str, vector: &str, now_ms: u64) -> Self {
        let applied = parse_vector(vector, VersionForm::Integer).unwrap();
        self.world
            .applied("api")
            .unwrap()
            .report(positions::Report {
                region: &region.into(),
                origin: "origin",
                applied: &applied,
                asked_at_ms: now_ms,
                now_ms,
            });
        self
    }

    /// What is known of positions.
    pub(super) fn positions(&self) -> &positions::Applied {
        self.world.applied("api").unwrap()
    }

    /// `region` acknowledges a write.
    pub(super) fn committed(self, region: &str, seq: u64, now_ms: u64) -> Self {
        let applied = self.world.applied("api").unwrap();
        applied.committed(&region.into(), Position { epoch: 0, seq }, now_ms);
        self
    }

    fn renewed(mut self) -> Self {
        (self.snapshot, _) = self.world.snapshot(0);
        let state = Arc::make_mut(self.snapshot.services.of_mut(ServiceId::at(0)));
        for (region, fact) in &self.facts {
            let mut members = state.members.iter_mut();
            let member = members.find(|member| member.region == *region);
            match (member, fact) {
                (Some(member), Fact::Health(health)) => member.health = *health,
                (Some(member), Fact::Admin(admin)) => member.admin = *admin,
                (None, Fact::Health(_) | Fact::Admin(_)) => {}
            }
        }
        self
    }

    pub(super) fn region(&self, name: &str) -> RegionId {
        let region = self.world.plan().region(name);
        region.unwrap_or_else(|| panic!("there is no region `{name}`"))
    }

    pub(super) fn name(&self, region: RegionId) -> &str {
        &self.snapshot.plan.regions.of(region).name
    }

    /// What is decided for a client.
    pub(super) fn decide(&self, client: &Client<'_>) -> Decision {
        self.decide_and(client, |_, _, _| ()).0
    }

    /// What is left for a client none of whose regions can be reached; nothing: an empty line.
    pub(super) fn told_reopened(&self, client: &Client<'_>) -> String {
        let decision = self.decide(client);
        let reopened = reopen(&self.snapshot, ServiceId::at(0), client.access, &decision);
        reopened.map_or_else(String::new, |reopened| self.told(&reopened))
    }

    /// What is decided for a client, and whether that lasts.
    pub(super) fn decide_lasting(&self, client: &Client<'_>) -> (Decision, bool) {
        self.decide_and(client, Decision::lasts)
    }

    /// What is decided for a client, and whether that is so for whoever asks from its place.
    pub(super) fn decide_for_place(&self, client: &Client<'_>) -> (Decision, bool) {
        self.decide_and(client, Decision::is_of_place)
    }

    fn decide_and<T>(
        &self,
        client: &Client<'_>,
        judge: impl FnOnce(&Decision, &Snapshot, &Ask<'_>) -> T,
    ) -> (Decision, T) {
        let service = ServiceId::at(0);
        let address: IpAddr = client.from.unwrap_or(SOMEWHERE).parse().unwrap();
        let (place, _) = self.snapshot.clients.locate(service, address);
        let vector = client
            .saw
            .map(|saw| parse_vector(saw, VersionForm::Integer).unwrap());
        let ask = Ask {
            vantage: client.vantage,
            spread: Spread::at(Percent::new(client.spread)).unwrap(),
            affinity: client.used_to.map(|region| self.region(region)),
            residency: client.resident,
            write_key: client.key,
            require: Require {
                vector: vector.as_ref(),
                pin: client.pinned.map(|region| self.region(region)),
                now_ms: client.now_ms,
            },
            ..Ask::http(service, place, client.access)
        };
        let decision = steer(&self.snapshot, &ask, Draw(client.draw));
        let judged = judge(&decision, &self.snapshot, &ask);
        (decision, judged)
    }

    /// A decision in one line: the regions in order after what kind of decision it is.
    pub(super) fn told(&self, decision: &Decision) -> String {
        let names: Vec<&str> = decision
            .ranked
            .iter()
            .map(|choice| self.name(choice.region))
            .collect();
        let names = names.join(" ");
        match decision.verdict {
            Verdict::Steered => names,
            Verdict::FailOpen(FailOpen::Unhealthy) => format!("unhealthy back: {names}"),
            Verdict::FailOpen(FailOpen::Drained) => format!("drained back: {names}"),
            Verdict::Refused(Refusal::NoneHealthy) => format!("none healthy{names}"),
            Verdict::Refused(Refusal::Residency) => format!("nobody allowed{names}"),
            Verdict::Refused(Refusal::Primary) => format!("no primary{names}"),
        }
    }

    /// The order with the reason that the last rule gave for each place.
    pub(super) fn reasons(&self, decision: &Decision) -> Vec<(&str, Reason)> {
        let last = |region| {
            let step = decision.steps.iter().rfind(|step| step.region == region);
            step.unwrap().reason
        };
        decision
            .ranked
            .iter()
            .map(|choice| (self.name(choice.region), last(choice.region)))
            .collect()
    }

    /// What the rules did to one region, in order: `kept by health, dropped by drain`.
    pub(super) fn story(&self, decision: &Decision, region: &str) -> String {
        let region = self.region(region);
        let did = |kept: bool| if kept { "kept" } else { "dropped" };
        let steps: Vec<String> = decision
            .steps
            .iter()
            .filter(|step| step.region == region)
            .map(|step| format!("{} by {}", did(step.kept), step.reason.rule().as_str()))
            .collect();
        steps.join(", ")
    }

    /// Whether any step belongs to a rule.
    pub(super) fn applied_rule(decision: &Decision, rule: Rule) -> bool {
        decision.steps.iter().any(|step| step.reason.rule() == rule)
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
}

/// Who asks; a read over HTTP without any constraint unless it says otherwise.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) from: Option<&'a str>,
    pub(super) vantage: Vantage,
    pub(super) access: Access,
    pub(super) used_to: Option<&'a str>,
    pub(super) resident: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) saw: Option<&'a str>,
    pub(super) pinned: Option<&'a str>,
    pub(super) now_ms: u64,
    pub(super) draw: u64,
    pub(super) spread: u8,
}

/// A reader of an unknown place.
pub(super) const READER: Client<'static> = Client {
    from: None,
    vantage: Vantage::Edge,
    access: Access::Read,
    used_to: None,
    resident: None,
    key: None,
    saw: None,
    pinned: None,
    now_ms: 0,
    draw: 0,
    spread: 0,
};

/// A writer of an unknown place.
pub(super) const WRITER: Client<'static> = Client {
    access: Access::Write,
    ..READER
};

impl<'a> Client<'a> {
    /// The same client from an address.
    pub(super) fn from(self, address: &'a str) -> Self {
        Self {
            from: Some(address),
            ..self
        }
    }

    /// The same client, asking DNS.
    pub(super) fn by_dns(self) -> Self {
        Self {
            vantage: Vantage::Client,
            ..self
        }
    }

    /// The same client with affinity.
    pub(super) fn used_to(self, region: &'a str) -> Self {
        Self {
            used_to: Some(region),
            ..self
        }
    }

    /// The same client with the label that residency goes by.
    pub(super) fn resident(self, label: &'a str) -> Self {
        Self {
            resident: Some(label),
            ..self
        }
    }

    /// The same client with a write key.
    pub(super) fn key(self, key: &'a str) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    /// The same client with a token.
    pub(super) fn saw(self, vector: &'a str) -> Self {
        Self {
            saw: Some(vector),
            ..self
        }
    }

    /// The same client, whose newest write went to a region that reports no positions.
    pub(super) fn pinned(self, region: &'a str) -> Self {
        Self {
            pinned: Some(region),
            ..self
        }
    }

    /// The same client later.
    pub(super) fn at(self, now_ms: u64) -> Self {
        Self { now_ms, ..self }
    }

    /// The same client at another place among a hundred.
    pub(super) fn spread(self, spread: u8) -> Self {
        Self { spread, ..self }
    }

    /// The same client with another draw.
    pub(super) fn draw(self, draw: u64) -> Self {
        Self { draw, ..self }
    }
}

/// Checks the order in which regions are tried.
#[track_caller]
pub(super) fn check(scene: &Scene, client: Client<'_>, expected: &str) {
    assert_eq!(scene.told(&scene.decide(&client)), expected);
}
