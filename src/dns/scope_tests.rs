//! Scopes as answers have them, whatever the policy and the configuration (RFC 7871 §7.2.1).
//!
//! The oracle asks for every client that the configuration can tell apart: a prefix is a true scope
//! when all clients in it get the same, whichever regions are drained, and are the same to the rules.
//! An order by distance counts also where an override or residency leaves nothing of it to see.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::testing::{read, snapshot};
use super::tests::exchange::respond_both_ways;
use super::{Arrival, Live, Outcome, Signing, Transport};
use crate::config::plan::{ClientMatch, Plan, Service};
use crate::earth::Country;
use crate::geo::{ClientMap, Database};
use crate::health::Health;
use crate::ids::{Id, ServiceId};
use crate::latency::{Measurement, Network, Row, Source};
use crate::prefix::Prefix;
use crate::steering::{Admin, Draw, Percent};

/// What the test's database knows of: its only borders.
const KNOWN: [&str; 5] = [
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/25",
    "203.0.113.128/25",
    "2001:db8:1::/48",
];

static DATABASE: LazyLock<Database> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/city.mmdb");
    Database::open(&file).unwrap()
});

/// Networks around those that the database knows, so that borders cross.
fn network() -> impl Strategy<Value = Prefix> {
    let four = (0usize..4, 0u8..=255, 16u8..=32).prop_map(|(known, host, length)| {
        let known: Prefix = KNOWN[known].parse().unwrap();
        let IpAddr::V4(base) = known.address() else {
            unreachable!("the first four are IPv4")
        };
        let address = Ipv4Addr::from_bits(base.to_bits() ^ u32::from(host));
        Prefix::around(address.into(), length)
    });
    let six = (0u8..=255, 40u8..=64).prop_map(|(subnet, length)| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 1, u16::from(subnet) << 8, 0, 0, 0, 0);
        Prefix::around(address.into(), length)
    });
    prop_oneof![3 => four, 1 => six]
}

/// A service's rules, and where the networks of `geo.networks` are.
#[derive(Clone, Debug)]
struct Rules {
    policy: &'static str,
    networks: Vec<(Prefix, u8)>,
    overrides: Vec<(Result<Prefix, &'static str>, u8)>,
    resides: bool,
    measured: Vec<(Network, u8, f64)>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let policy = prop::sample::select(vec!["latency", "geo", "weighted", "priority"]);
    let networks = prop::collection::btree_map(network(), 0u8..3, 0..5);
    let country = prop::sample::select(vec!["JP", "DE", "US"]);
    let whose = prop_oneof![3 => network().prop_map(Ok), 1 => country.prop_map(Err)];
    let overrides = prop::collection::vec((whose, 0u8..3), 0..4);
    let country = prop::sample::select(vec!["JP", "DE", "US"]);
    let whose = prop_oneof![
        3 => network().prop_map(Network::Prefix),
        1 => country.prop_map(|country| Network::Country(country.parse().unwrap())),
    ];
    let measured = prop::collection::vec((whose, 0u8..3, 1.0..300.0), 0..8);
    (policy, networks, overrides, any::<bool>(), measured).prop_map(
        |(policy, networks, overrides, resides, measured)| Rules {
            policy,
            networks: networks.into_iter().collect(),
            overrides,
            resides,
            measured,
        },
    )
}

impl Rules {
    fn plan(&self) -> Plan {
        let mut geo = String::new();
        for (network, region) in &self.networks {
            write!(geo, "'{network}': r{region}, ").unwrap();
        }
        let mut overrides = String::new();
        for (clients, region) in &self.overrides {
            match clients {
                Ok(network) => write!(overrides, "{{ network: '{network}', "),
                Err(country) => write!(overrides, "{{ country: [{country}], "),
            }
            .unwrap();
            write!(overrides, "prefer: [r{region}] }}, ").unwrap();
        }
        let residency = if self.resides {
            "residency: { by: client_country, allow: { DE: [r1], JP: [r0, r2] } }, "
        } else {
            ""
        };
        let yaml = format!(
            "geo: {{ networks: {{ {geo} }} }}
regions:
  r0: {{ location: [38.95, -77.45], addresses: [192.0.2.1, '2001:db8::1'] }}
  r1: {{ location: [50.11, 8.68], addresses: [192.0.2.2, '2001:db8::2'] }}
  r2: {{ location: [35.62, 139.78], addresses: [192.0.2.3, '2001:db8::3'] }}
services:
  api: {{ hosts: [api.example.com], {residency}steering: {{ policy: {}, overrides: [ {overrides} ] }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
",
            self.policy
        );
        read(&yaml)
    }

    /// The ranking that overrides and residency choose from.
    fn by_policy_alone(&self) -> Self {
        Self {
            overrides: Vec::new(),
            resides: false,
            ..self.clone()
        }
    }

    /// What is served under every drain.
    fn drains(&self) -> Vec<Live> {
        let plan = Arc::new(self.plan());
        let clients = Arc::new(self.client_map(&plan));
        Out::all()
            .map(|drained| live(&plan, &clients, drained, Out(0)))
            .collect()
    }

    fn client_map(&self, plan: &Plan) -> ClientMap {
        let measured = self.measured.iter();
        let rows: Vec<Row> = measured
            .map(|(network, region, ms)| Row {
                network: *network,
                region: format!("r{region}").into(),
                measurement: Measurement {
                    ms: *ms,
                    samples: None,
                    at_ms: 0,
                    source: Source::Import,
                    trust: 1.0,
                    networks: None,
                },
            })
            .collect();
        ClientMap::measured(plan, &DATABASE, None, &rows)
    }

    /// The first client of every stretch of a family that no rule and no datum can divide.
    fn clients(&self) -> Vec<IpAddr> {
        let known = KNOWN.iter().map(|known| known.parse().unwrap());
        let networks = self.networks.iter().map(|(network, _)| *network);
        let overrides = self
            .overrides
            .iter()
            .filter_map(|(clients, _)| clients.ok());
        let measured = self
            .measured
            .iter()
            .filter_map(|(network, ..)| match network {
                Network::Prefix(prefix) => Some(*prefix),
                Network::Asn(_) | Network::Country(_) => None,
            });
        let mut clients: Vec<IpAddr> = known
            .chain(networks)
            .chain(measured)
            .chain(overrides)
            .flat_map(|prefix| [prefix.address(), after(prefix)])
            .chain([
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                BEHIND_MAPPED.into(),
            ])
            .collect();
        let mapped: Vec<IpAddr> = clients.iter().filter_map(mapped).collect();
        clients.extend(mapped);
        clients.sort_unstable();
        clients.dedup();
        clients
    }
}

/// The first IPv6 address behind those that are IPv4's (RFC 4291 §2.5.5.2).
const BEHIND_MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 1, 0, 0, 0);

/// The IPv6 address that an IPv4 address is, too.
fn mapped(client: &IpAddr) -> Option<IpAddr> {
    match client {
        IpAddr::V4(v4) => Some(v4.to_ipv6_mapped().into()),
        IpAddr::V6(_) => None,
    }
}

/// The first address behind a prefix.
fn after(prefix: Prefix) -> IpAddr {
    match prefix.last() {
        IpAddr::V4(last) => Ipv4Addr::from_bits(last.to_bits() + 1).into(),
        IpAddr::V6(last) => Ipv6Addr::from_bits(last.to_bits() + 1).into(),
    }
}

/// Which of three regions are out.
#[derive(Clone, Copy)]
struct Out(usize);

impl Out {
    fn all() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    fn has(self, region: usize) -> bool {
        self.0 & (1 << region) != 0
    }
}

fn live(plan: &Arc<Plan>, clients: &Arc<ClientMap>, drained: Out, unhealthy: Out) -> Live {
    let mut snapshot = snapshot(plan.clone(), |_, member| {
        let region = member.region.index();
        if drained.has(region) {
            member.admin = Admin::Drained;
        }
        if unhealthy.has(region) {
            member.health = Health::Unhealthy;
        }
    });
    snapshot.clients = clients.clone();
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
}

/// What a client gets, and the scope that comes with it.
fn ask(live: &Live, client: IpAddr, draw: u64) -> (Vec<u8>, u8) {
    let (qtype, family, octets) = match client {
        IpAddr::V4(v4) => (1, 1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (28, 2, v6.octets().to_vec()),
    };
    let length = u8::try_from(octets.len()).unwrap();
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    query.extend(b"\x03api\x07example\x03com\x00");
    query.extend([0, qtype, 0, 1]);
    query.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, length + 8]);
    query.extend([0, 8, 0, length + 4, 0, family, length * 8, 0]);
    query.extend(octets);
    let arrival = Arrival {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        transport: Transport::Udp,
        draw: Draw(draw),
        unix_secs: 1_800_000_000,
    };
    let (outcome, mut response) = respond_both_ways(live, &query, arrival);
    assert!(matches!(outcome, Outcome::Answered { .. }));
    // The option: its head of four bytes, the family, the source, the scope and the address.
    let echo = query.len() - usize::from(length) - 8;
    let found = response
        .windows(7)
        .position(|window| *window == query[echo..echo + 7])
        .expect("the subnet comes back");
    let scope = response[found + 7];
    response.drain(found..found + 8 + usize::from(length));
    (response, scope)
}

/// All that tells a client from another: what it gets under any drain, and by which rules.
#[derive(Debug, PartialEq)]
struct Standing {
    answers: Vec<Vec<u8>>,
    /// The order of the unknown follows the edge's own round trips, which may change.
    is_known: bool,
    overridden: Option<usize>,
    resident: Option<Country>,
}

fn standing(rules: &Rules, service: &Service, drains: &[Live], client: IpAddr) -> Standing {
    let location = DATABASE.lookup(client);
    // Of two that light forbids together the one that is said of a wider network counts for nothing.
    let measured_regions = || {
        let snapshot = &drains[0].snapshot;
        let (plan, service, client) = (&snapshot.plan, ServiceId::at(0), client.to_canonical());
        let estimates = snapshot.clients.estimates(plan, service, &location, client);
        estimates.map_or(0, |estimates| {
            estimates
                .iter()
                .filter(|(_, estimate)| estimate.is_measured())
                .count()
        })
    };
    let by_distance = matches!(rules.policy, "latency" | "geo");
    let is_placed = location.point.is_some()
        || rules
            .networks
            .iter()
            .any(|(network, _)| network.contains(client.to_canonical()))
        // One region's round trip does not tell it from the others.
        || rules.policy == "latency" && measured_regions() >= 2;
    let is_theirs = |clients: &ClientMatch| match clients {
        ClientMatch::Network(network) => network.contains(client.to_canonical()),
        ClientMatch::Country(countries) => location
            .country
            .is_some_and(|country| countries.contains(&country)),
    };
    let resident = location
        .country
        .filter(|country| rules.resides && ["DE", "JP"].contains(&country.as_str()));
    Standing {
        answers: drains
            .iter()
            .flat_map(|live| (0..3).map(|draw| ask(live, client, draw << 40).0))
            .collect(),
        is_known: by_distance && is_placed,
        overridden: service
            .overrides
            .iter()
            .position(|entry| is_theirs(&entry.clients)),
        resident,
    }
}

/// The shortest prefix around a client in which all of its family have its standing.
fn widest(client: IpAddr, standings: &[(IpAddr, Standing)]) -> Prefix {
    let (_, own) = standings
        .iter()
        .rfind(|(first, _)| first.is_ipv4() == client.is_ipv4() && *first <= client)
        .expect("every family begins with a client");
    let is_uniform = |prefix: &Prefix| {
        let within = standings
            .iter()
            .filter(|(first, _)| prefix.contains(*first));
        let before = standings
            .iter()
            .rfind(|(first, _)| first.is_ipv4() == client.is_ipv4() && *first <= prefix.address());
        within.chain(before).all(|(_, standing)| standing == own)
    };
    (0..=128)
        .map(|length| Prefix::around(client, length))
        .find(is_uniform)
        .expect("a client agrees with itself")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_scope_is_the_widest_prefix_of_those_who_get_the_same(
        rules in rules(),
        drained in 0usize..8,
        unhealthy in 0usize..8,
        others in prop::collection::vec(network(), 4),
    ) {
        let plan = Arc::new(rules.plan());
        let clients = Arc::new(rules.client_map(&plan));
        let service = plan.services.of(ServiceId::at(0));
        let drains: Vec<Live> = [&rules, &rules.by_policy_alone()]
            .into_iter()
            .flat_map(Rules::drains)
            .collect();
        let standings: Vec<(IpAddr, Standing)> = rules
            .clients()
            .into_iter()
            .map(|client| (client, standing(&rules, service, &drains, client)))
            .collect();
        // Whatever is up or down, the scope is that of the ranking.
        let now = live(&plan, &clients, Out(drained), Out(unhealthy));
        let firsts = standings.iter().map(|(first, _)| *first);
        let others: Vec<IpAddr> = others.iter().flat_map(|network| [network.address(), network.last()]).collect();
        let others = others.iter().filter_map(mapped).chain(others.iter().copied());
        let mut scopes = Vec::new();
        for client in firsts.chain(others) {
            let (answer, scope) = ask(&now, client, 0);
            let scope = Prefix::around(client, scope);
            prop_assert_eq!(scope, widest(client, &standings), "{}", client);
            scopes.push((scope, answer));
        }
        for (scope, answer) in &scopes {
            for (other, others) in &scopes {
                if scope == other {
                    prop_assert_eq!(answer, others, "two clients of {}", scope);
                } else {
                    prop_assert!(!scope.contains(other.address()), "{} and {}", scope, other);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn while_a_region_leaves_little_by_little_whoever_is_within_a_scope_gets_the_same(
        rules in rules(),
        leaving in 0usize..3,
        fresh in 1u8..100,
        // Of IPv6 near the IPv4-mapped addresses, too.
        asked in prop::collection::vec((any::<u32>(), any::<u128>(), 0_u128..1 << 52), 8),
    ) {
        let plan = Arc::new(rules.plan());
        let clients = Arc::new(ClientMap::compile(&plan, &DATABASE));
        let mut snapshot = snapshot(plan, |_, member| {
            if member.region.index() == leaving {
                let (fresh, sessions) = (Percent::new(fresh), Percent::ALL);
                member.admin = Admin::Leaving { fresh, sessions };
            }
        });
        snapshot.clients = clients;
        let live = Live::compile(Arc::new(snapshot), &Signing::default(), None);
        let v4 = asked.iter().map(|(bits, ..)| IpAddr::from(Ipv4Addr::from_bits(*bits)));
        let v6 = asked.iter().flat_map(|(_, bits, low)| [*bits, *low]);
        let v6 = v6.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
        let mapped = v4.clone().filter_map(|client| mapped(&client));
        let mut scopes = Vec::new();
        for client in v4.chain(v6).chain(mapped) {
            let (answer, length) = ask(&live, client, 0);
            let scope = Prefix::around(client, length);
            scopes.push(scope);
            for other in [scope.address(), scope.last()] {
                prop_assert_eq!(ask(&live, other, 0), (answer.clone(), length), "{} {}", scope, other);
            }
        }
        for (scope, other) in scopes.iter().flat_map(|scope| scopes.iter().map(move |other| (scope, other))) {
            prop_assert!(scope == other || !scope.contains(other.address()), "{} and {}", scope, other);
        }
    }
}
