//! Micro-benchmarks of the DNS room: answering, finding a client, building and rebuilding tables.
//!
//! `cargo bench --bench dns` prints a table. `cargo bench --bench dns -- CASE COUNT` only answers COUNT
//! queries of a case, for a profiler to watch.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench reads the clock, and one that cannot go on should stop loudly"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use meridian::config::plan::{Plan, SigningAlgorithm};
use meridian::control::World;
use meridian::dns::{
    Arrival, Key, Live, Outcome, Pace, Signing, Times, Transport, ZoneKeys, respond,
};
use meridian::geo::{ClientMap, Database};
use meridian::health::{Failure, ProbeResult, Report, TargetKey, Verdict};
use meridian::ids::{Id, RegionId, ServiceId};
use meridian::prefix::Prefix;
use meridian::steering::Draw;

/// Names of the zone, and how many of a thousand queries ask for one that is not there.
const NAMES: u32 = 10_000;
const MISSING_OF_1000: u64 = 90;

/// Queries that are made before they are asked, over and over.
const QUERIES: usize = 100_000;

const UNIX_SECS: u32 = 1_800_000_000;

const TYPE_A: u16 = 1;
const OPTION_CLIENT_SUBNET: u16 = 8;
const OPTION_COOKIE: u16 = 10;
const DNSSEC_OK: u16 = 0x8000;

/// What is asked, and of which table.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    question: Question,
    is_signed: bool,
    has_cookie: bool,
}

#[derive(Clone, Copy)]
enum Question {
    /// One of the zone's names, or one that it lacks.
    Static,
    /// A name that is steered by latency, with a client subnet of its own in every query.
    Steered,
}

const CASES: [Case; 6] = [
    Case {
        name: "static",
        question: Question::Static,
        is_signed: false,
        has_cookie: false,
    },
    Case {
        name: "steered",
        question: Question::Steered,
        is_signed: false,
        has_cookie: false,
    },
    Case {
        name: "signed-static",
        question: Question::Static,
        is_signed: true,
        has_cookie: false,
    },
    Case {
        name: "signed-steered",
        question: Question::Steered,
        is_signed: true,
        has_cookie: false,
    },
    Case {
        name: "signed-static-cookies",
        question: Question::Static,
        is_signed: true,
        has_cookie: true,
    },
    Case {
        name: "signed-steered-cookies",
        question: Question::Steered,
        is_signed: true,
        has_cookie: true,
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match &arguments[..] {
        [] => report_all(),
        [case, count] => {
            let case = CASES.iter().find(|known| known.name == case);
            let count = count.parse().expect("COUNT is a number");
            Bench::new(case.expect("CASE is one of the table's")).answer(count);
        }
        _ => panic!("usage: dns [CASE COUNT]"),
    }
}

fn report_all() {
    println!("| what | time |\n|---|---|");
    for case in &CASES {
        let mut bench = Bench::new(case);
        bench.answer(QUERIES);
        let each = timed(|| bench.answer(10 * QUERIES)) / (10 * QUERIES as u32);
        println!("| answer, {} | {} ns |", case.name, each.as_nanos());
    }
    find_clients();
    compile_prefixes();
    flip_health();
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// SplitMix64: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn address(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.next() as u32)
    }
}

/// A table, the queries for it, and a buffer.
struct Bench {
    live: Live,
    queries: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Bench {
    fn new(case: &Case) -> Self {
        let plan = Arc::new(plan(&zone_yaml()));
        let signing = case.is_signed.then(signing).unwrap_or_default();
        let live = compile(&plan, &Database::built_in(), &signing);
        let mut bench = Self {
            live,
            queries: Vec::new(),
            out: Vec::with_capacity(1536),
        };
        let mut numbers = Numbers(1);
        let cookie = case.has_cookie.then(|| bench.cookie());
        bench.queries = (0..QUERIES)
            .map(|_| query(case, cookie.as_deref(), &mut numbers))
            .collect();
        bench
    }

    /// A client cookie with the server cookie that the edge gives for it.
    fn cookie(&mut self) -> Vec<u8> {
        let asks = message("www", &[(OPTION_COOKIE, b"resolver".to_vec())], 0);
        self.respond(&asks);
        self.out[self.out.len() - 24..].to_vec()
    }

    fn answer(&mut self, count: usize) {
        let queries = std::mem::take(&mut self.queries);
        for query in queries.iter().cycle().take(count) {
            self.respond(query);
        }
        self.queries = queries;
    }

    fn respond(&mut self, query: &[u8]) {
        let arrival = Arrival {
            peer: Ipv4Addr::LOCALHOST.into(),
            transport: Transport::Udp,
            draw: Draw(7),
            unix_secs: UNIX_SECS,
        };
        let outcome = respond(&self.live, query, arrival, || Pace::Whole, &mut self.out);
        assert!(matches!(black_box(outcome), Outcome::Answered { .. }));
    }
}

fn query(case: &Case, cookie: Option<&[u8]>, numbers: &mut Numbers) -> Vec<u8> {
    let flags = if case.is_signed { DNSSEC_OK } else { 0 };
    let mut options = Vec::new();
    let name = match case.question {
        Question::Static => {
            let kind = if numbers.below(1_000) < MISSING_OF_1000 {
                'x'
            } else {
                'h'
            };
            format!("{kind}{}", numbers.below(NAMES.into()))
        }
        Question::Steered => {
            let [a, b, c, _] = numbers.address().octets();
            options.push((OPTION_CLIENT_SUBNET, vec![0, 1, 24, 0, a, b, c]));
            "www".to_owned()
        }
    };
    options.extend(cookie.map(|cookie| (OPTION_COOKIE, cookie.to_vec())));
    message(&name, &options, flags)
}

/// A query for an A of `name`.example.com; with OPT if anything in it is said.
fn message(name: &str, options: &[(u16, Vec<u8>)], flags: u16) -> Vec<u8> {
    let has_opt = flags != 0 || !options.is_empty();
    let mut wire = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(has_opt)];
    for label in [name, "example", "com", ""] {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.extend(TYPE_A.to_be_bytes());
    wire.extend([0, 1]);
    if has_opt {
        let data: Vec<u8> = options
            .iter()
            .flat_map(|(code, data)| {
                let length = data.len() as u16;
                [&code.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
            })
            .collect();
        wire.extend([0, 0, 41, 0x04, 0xd0, 0, 0]);
        wire.extend(flags.to_be_bytes());
        wire.extend((data.len() as u16).to_be_bytes());
        wire.extend(data);
    }
    wire
}

/// The zone and the service that `run.py` has for the whole server, too.
fn zone_yaml() -> String {
    let mut yaml = "node: { location: [50.11, 8.68] }
regions:
  us-east-1: { addresses: [192.0.2.10] }
  eu-west-1: { addresses: [198.51.100.10] }
  ap-northeast-1: { addresses: [203.0.113.10] }
services: { www: { hosts: [www.example.com] } }
zones:
  example.com:
    nameservers: { ns1: [192.0.2.53] }
    dnssec: { keys: keys }
    records:
"
    .to_owned();
    for i in 0..NAMES {
        let _ = writeln!(
            yaml,
            "      h{i}: {{ A: [{}] }}",
            Ipv4Addr::from(0x0a00_0000 + i)
        );
    }
    yaml
}

fn plan(yaml: &str) -> Plan {
    meridian::config::load_text("bench.yaml", yaml, &|_| None)
        .expect("it is valid")
        .plan
}

fn signing() -> Signing {
    let (key, _) = Key::generate(SigningAlgorithm::EcdsaP256Sha256, Times::default())
        .expect("the system has randomness");
    let keys = Some(Arc::new(ZoneKeys { keys: vec![key] }));
    Signing::new(Arc::new([keys]), UNIX_SECS)
}

fn compile(plan: &Arc<Plan>, database: &Database, signing: &Signing) -> Live {
    let clients = Arc::new(ClientMap::compile(plan, database));
    let (snapshot, _) = World::new(Arc::clone(plan), clients).snapshot(0);
    Live::compile(Arc::new(snapshot), signing, None)
}

/// Where random addresses are, by the built-in database.
fn find_clients() {
    let plan = plan(&zone_yaml());
    let clients = ClientMap::compile(&plan, &Database::built_in());
    let mut numbers = Numbers(2);
    let addresses: Vec<IpAddr> = (0..QUERIES).map(|_| numbers.address().into()).collect();
    let rounds = 100;
    let all = timed(|| {
        for address in addresses.iter().cycle().take(rounds * QUERIES) {
            black_box(clients.locate(ServiceId::at(0), *address));
        }
    });
    let each = all.as_secs_f64() * 1e9 / (rounds * QUERIES) as f64;
    println!(
        "| find a client among {} prefixes | {each:.1} ns |",
        clients.prefixes()
    );
}

/// A million networks of their own regions, over the built-in database.
fn compile_prefixes() {
    let mut plan = plan(&zone_yaml());
    let mut numbers = Numbers(3);
    plan.geo.networks = (0..1_000_000)
        .map(|_| {
            let prefix = Prefix::around(numbers.address().into(), 24);
            (prefix, RegionId::at(numbers.below(3) as usize))
        })
        .collect();
    plan.geo.networks.sort_unstable();
    plan.geo.networks.dedup_by_key(|(prefix, _)| *prefix);
    let database = Database::built_in();
    let mut prefixes = 0;
    let time = timed(|| prefixes = ClientMap::compile(&plan, &database).prefixes());
    println!(
        "| compile {} networks to {prefixes} prefixes | {} ms |",
        plan.geo.networks.len(),
        time.as_millis()
    );
}

/// One target of 10,000 services in 20 regions fails: from its report to the table that DNS answers from.
fn flip_health() {
    let mut yaml = "node: { location: [50.11, 8.68] }\nregions:\n".to_owned();
    for region in 0..20 {
        let (lat, lon) = (region * 8 - 80, region * 17 - 170);
        let _ = writeln!(
            yaml,
            "  r{region}: {{ addresses: [192.0.2.{region}], location: [{lat}, {lon}] }}"
        );
    }
    yaml.push_str("services:\n");
    for service in 0..10_000 {
        let _ = writeln!(yaml, "  s{service}: {{ hosts: [s{service}.example.com] }}");
    }
    yaml.push_str("zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }\n");
    let start = Instant::now();
    let plan = Arc::new(plan(&yaml));
    println!(
        "| load 10,000 services in 20 regions | {} ms |",
        start.elapsed().as_millis()
    );
    let clients = Arc::new(ClientMap::compile(&plan, &Database::built_in()));
    let mut world = World::new(Arc::clone(&plan), clients);
    let (snapshot, _) = world.snapshot(0);
    let mut live = None;
    let built = timed(|| {
        live = Some(Live::compile(Arc::new(snapshot), &Signing::default(), None));
    });
    println!("| build their table | {} ms |", built.as_millis());
    let key: TargetKey = world
        .checks()
        .next()
        .map(|(key, ..)| Arc::clone(key))
        .expect("there are targets");
    for (at_ms, verdict) in [(1, Verdict::Unhealthy), (2, Verdict::Healthy)] {
        let before = live.take();
        let report = report_of(&key, verdict);
        let start = Instant::now();
        world.report(report, at_ms, (at_ms, at_ms));
        let folded = start.elapsed();
        let (snapshot, _) = world.snapshot(at_ms);
        let shot = start.elapsed();
        live = Some(Live::compile(
            Arc::new(snapshot),
            &Signing::default(),
            before.as_ref(),
        ));
        println!(
            "| one of their targets becomes {} | {:.1} ms (fold {:.1}, snapshot {:.1}) |",
            verdict.as_str(),
            start.elapsed().as_secs_f64() * 1e3,
            folded.as_secs_f64() * 1e3,
            (shot - folded).as_secs_f64() * 1e3,
        );
    }
}

fn report_of(key: &TargetKey, verdict: Verdict) -> Report {
    let now = tokio::time::Instant::now();
    Report {
        key: Arc::clone(key),
        verdict,
        flip_in: None,
        result: ProbeResult {
            began: now,
            ended: now,
            outcome: Err(Failure::Connect("refused".to_owned())),
            applied: None,
        },
    }
}
