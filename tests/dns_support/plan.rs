//! A Plan by hand: two zones, a service of each kind, three regions.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData};

use super::lib::config::load_text;
use super::lib::config::plan::*;
use super::lib::dns::{Key, Signing, Times, ZoneKeys};
use super::lib::geo::{ClientMap, Database};
use super::lib::health::Health;
use super::lib::ids::{Id, RegionId, ServiceId, Table};
use super::lib::latency::Estimate;
use super::lib::steering::{Admin, Edge, MemberState, ServiceState, Snapshot, stable_hash};
use super::lib::units::Ttl;

/// Seconds since 1970.
pub const NOW: u32 = 1_800_000_000;

/// A Plan as it is written.
#[allow(dead_code, reason = "not every test needs it")]
#[track_caller]
pub fn read(yaml: &str) -> Plan {
    match load_text("edge.yaml", yaml, &|_| None) {
        Ok(loaded) => loaded.plan,
        Err(problems) => panic!("{problems}\n{yaml}"),
    }
}

/// With a new key for each zone that is to be signed.
#[allow(dead_code, reason = "not every test needs it")]
pub fn signing(plan: &Plan) -> Signing {
    let keys = plan.zones.iter().map(|zone| {
        let algorithm = zone.dnssec.as_ref()?.algorithm;
        let (key, _) = Key::generate(algorithm, Times::default()).unwrap();
        Some(Arc::new(ZoneKeys { keys: vec![key] }))
    });
    Signing::new(keys.collect(), NOW)
}

/// Clients, some of whom the test's database places.
#[allow(dead_code, reason = "not every test needs it")]
pub fn clients(plan: &Plan) -> ClientMap {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/city.mmdb");
    ClientMap::compile(plan, &Database::open(&file).unwrap())
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub fn record(owner: &str, ttl: u32, data: RData) -> ZoneRecord {
    ZoneRecord {
        owner: name(owner),
        ttl: Ttl::from_secs(ttl),
        data,
    }
}

pub fn a(text: &str) -> RData {
    RData::A(A(text.parse().unwrap()))
}

pub fn aaaa(text: &str) -> RData {
    RData::AAAA(AAAA(text.parse().unwrap()))
}

pub fn ns(text: &str) -> RData {
    RData::NS(NS(name(text)))
}

pub fn cname(text: &str) -> RData {
    RData::CNAME(CNAME(name(text)))
}

pub fn txt(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}

fn dname(wire: &[u8]) -> RData {
    RData::Unknown {
        code: 39.into(),
        rdata: NULL::with(wire.to_vec()),
    }
}

pub fn soa(zone: &str) -> RData {
    RData::SOA(SOA::new(
        name(&format!("ns1.{zone}")),
        name(&format!("hostmaster.{zone}")),
        7,
        7200,
        3600,
        1_209_600,
        60,
    ))
}

fn region(name: &str, addresses: &[&str]) -> Region {
    Region {
        name: name.into(),
        location: None,
        jurisdiction: None,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        alias: None,
        origins: Vec::new(),
        proxy_protocol: None,
        weight: 100,
    }
}

fn service(name: &str, policy: Policy, when_none_healthy: WhenNoneHealthy) -> Service {
    Service {
        name: name.into(),
        hosts: vec![HostPattern::Exact(format!("{name}.example.com").into())],
        regions: (0..3)
            .map(|i| Member {
                region: RegionId::at(i),
                weight: 1,
            })
            .collect(),
        policy,
        overrides: Vec::new(),
        when_none_healthy,
        health: health(),
        affinity: None,
        consistency: None,
        writes: Writes::Nearest,
        residency: None,
        timeouts: OriginTimeouts {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            request: Duration::ZERO,
        },
        retries: Retries {
            attempts: 2,
            budget: "20%".parse().unwrap(),
            methods: RetryMethods::Safe,
            on_status: Vec::new(),
            per_try: Duration::ZERO,
            backoff: Duration::ZERO,
            hedge_after: Duration::ZERO,
            buffer: 64 << 10,
        },
        limits: Limits {
            body: 0,
            headers: 65_536,
            in_flight_per_region: 0,
            body_rate: 0,
        },
        dns: ServiceDns {
            ttl: Ttl::from_secs(30),
            ttl_min: Ttl::from_secs(5),
            answers: 1,
        },
        min_regions: 1,
        ramp: None,
    }
}

fn health() -> HealthCheck {
    let three = NonZeroU8::new(3).unwrap();
    HealthCheck {
        protocol: None,
        port: None,
        host: "api.example.com".into(),
        path: "/health".into(),
        method: http::Method::GET,
        statuses: vec![200..=399],
        body: None,
        interval: Duration::from_secs(10),
        recheck_interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        failure_threshold: three,
        success_threshold: three,
        verify_tls: true,
        min_healthy: 1,
        passive: None,
    }
}

/// `api` by priority, `pick` by weight, `strict` refuses when nobody is able.
pub fn plan() -> Plan {
    let many: String = "x".repeat(200);
    let mut records = vec![
        record("example.com.", 3600, soa("example.com.")),
        record("example.com.", 3600, ns("ns1.example.com.")),
        record("example.com.", 3600, ns("ns2.example.com.")),
        record("example.com.", 3600, txt("v=spf1 -all")),
        record(
            "example.com.",
            3600,
            RData::MX(MX::new(10, name("mail.example.com."))),
        ),
        record("ns1.example.com.", 3600, a("192.0.2.53")),
        record("ns2.example.com.", 3600, a("198.51.100.53")),
        record("mail.example.com.", 3600, a("192.0.2.25")),
        record("mail.example.com.", 3600, aaaa("2001:db8::25")),
        record("www.example.com.", 300, cname("api.example.com.")),
        record("hop1.example.com.", 300, cname("HOP2.example.com.")),
        record("hop2.example.com.", 300, cname("mail.example.com.")),
        record("away.example.com.", 300, cname("elsewhere.example.net.")),
        record("gone.example.com.", 300, cname("nothing.example.com.")),
        record("loop.example.com.", 300, cname("loop.example.com.")),
        record("deep.ent.example.com.", 300, txt("deep")),
        record("*.wild.example.com.", 300, txt("wild")),
        record("*.wild.example.com.", 300, a("192.0.2.77")),
        record("held.wild.example.com.", 300, txt("held")),
        record("sub.example.com.", 3600, ns("ns.sub.example.com.")),
        record("sub.example.com.", 3600, ns("ns1.example.com.")),
        record("ns.sub.example.com.", 3600, a("192.0.2.99")),
        record("below.sub.example.com.", 3600, a("192.0.2.98")),
        record(
            "old.example.com.",
            600,
            dname(b"\x05newer\x07example\x03com\x00"),
        ),
        record("host.newer.example.com.", 600, a("192.0.2.88")),
        record("example.org.", 3600, soa("example.org.")),
    ];
    records.extend((0..4).map(|i| record("big.example.com.", 300, txt(&format!("{i}{many}")))));
    records.extend((0..8).map(|i| record("many.example.com.", 300, txt(&format!("{i}{many}")))));
    let (org, com): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|record| record.owner == name("example.org."));
    let steered = |text: &str, service: usize| (name(text), ServiceId::at(service));
    Plan {
        node: Node {
            region: None,
            drain_delay: Duration::ZERO,
            upgrade_socket: None,
            name: "fra-edge-1".into(),
            location: None,
            state_dir: None,
            drain_timeout: Duration::from_secs(30),
        },
        listen: Listen {
            dns: Vec::new(),
            dns_tls: Vec::new(),
            https: vec!["0.0.0.0:8443".parse().unwrap()],
            https_ports: vec![8443],
            http: Vec::new(),
            http_mode: HttpMode::Redirect,
            admin: None,
            timeouts: ClientTimeouts {
                handshake: Duration::from_secs(10),
                headers: Duration::from_secs(10),
                idle: Duration::from_secs(60),
            },
            limits: ClientLimits {
                connections: None,
                connections_per_client: 0,
                requests: None,
                delay: Duration::ZERO,
                memory: None,
            },
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::Optional,
            errors: ErrorDetail::Full,
        },
        tls: Tls {
            certificates: Vec::new(),
            clients: None,
            origins: OriginTls {
                ca: None,
                verify: true,
                server_name: None,
                identity: None,
            },
        },
        admin: AdminAccess::default(),
        access_log: None,
        rate_limit: None,
        geo: Geo {
            database: None,
            networks: Vec::new(),
            asns: None,
        },
        latency: Latency::default(),
        keys: Vec::new(),
        regions: Table::from_vec(vec![
            region("one", &["203.0.113.10", "203.0.113.11", "2001:db8:1::10"]),
            region("two", &["203.0.113.20"]),
            region("three", &["2001:db8:3::30"]),
        ]),
        origins: Table::default(),
        services: Table::from_vec(vec![
            service("api", Policy::Priority, WhenNoneHealthy::All),
            service("pick", Policy::Weighted, WhenNoneHealthy::All),
            service("strict", Policy::Priority, WhenNoneHealthy::None),
        ]),
        domains: Table::default(),
        zones: vec![
            Zone {
                origin: name("example.com."),
                records: com,
                steered: vec![
                    steered("example.com.", 0),
                    steered("api.example.com.", 0),
                    steered("*.api.example.com.", 0),
                    steered("pick.example.com.", 1),
                    steered("strict.example.com.", 2),
                ],
                dnssec: None,
            },
            Zone {
                origin: name("example.org."),
                records: org,
                steered: Vec::new(),
                dnssec: None,
            },
        ],
    }
}

/// A snapshot in which every region is healthy, but for what `change` does to each member.
pub fn snapshot(plan: Arc<Plan>, change: impl Fn(ServiceId, &mut MemberState)) -> Snapshot {
    let services = Table::like(&plan.services, |id| {
        let service = plan.services.of(id);
        let members = service.regions.iter().map(|member| {
            let mut state = MemberState {
                region: member.region,
                seed: stable_hash(&plan.regions.of(member.region).name),
                weight: member.weight,
                health: Health::Healthy,
                admin: Admin::Enabled,
                forced: None,
            };
            change(id, &mut state);
            state
        });
        Arc::new(ServiceState {
            members: members.collect(),
            able_origins: Vec::new(),
            ttl: service.dns.ttl,
        })
    });
    Snapshot {
        generation: 1,
        clients: Arc::new(ClientMap::default()),
        services,
        edge: Edge {
            by_round_trip: None,
            by_distance: None,
            round_trips: Table::like(&plan.regions, |_| Estimate::Unknown),
        },
        positions: Table::default(),
        plan,
    }
}

/// The addresses of a region, as the Plan has them.
#[allow(dead_code, reason = "not every test needs it")]
pub fn addresses(plan: &Plan, region: RegionId) -> &[IpAddr] {
    &plan.regions.of(region).addresses
}
