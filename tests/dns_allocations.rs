//! What a query over UDP costs in memory: nothing, and what the cryptographic library takes where a name has to be
//! signed. The whole process is counted, so that this is a binary with one test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod dns_support;

use std::alloc::System;
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use dns_support::message;
use dns_support::plan::{clients, read, signing};
use meridian::control::World;
use meridian::dns::{Live, RateLimiter, bind, serve_udp};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often each question is asked while allocations are counted.
const TIMES: u16 = 100;

const DNSSEC_OK: u16 = 0x8000;

const A: u16 = 1;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const HTTPS: u16 = 65;

/// A static zone and steered names of each policy, for clients whom the test's database places.
fn yaml() -> String {
    let mut yaml = "node: { location: [50.11, 8.68] }
dns: { rate_limit: { responses_per_second: 100000, exempt: [] } }
geo: { networks: { 198.18.0.0/16: r0, 198.19.0.0/16: r1 } }
regions:
  r0: { location: [38.95, -77.45], addresses: [192.0.2.1, 192.0.2.2, '2001:db8::1'] }
  r1: { location: [50.11, 8.68], addresses: [192.0.2.3, '2001:db8::2'] }
  r2: { location: [35.62, 139.78], addresses: [192.0.2.4, '2001:db8::3'] }
services:
  www: { hosts: [www.example.com, '*.www.example.com'] }
  pick: { hosts: [pick.example.com], steering: { policy: weighted } }
zones:
  example.com: { nameservers: { ns1: [192.0.2.53] }, records: RECORDS }
  example.org: { nameservers: { ns1: [192.0.2.53] }, dnssec: { keys: keys }, records: RECORDS }
  example.info: { nameservers: { ns1: [192.0.2.53] }, dnssec: { algorithm: ed25519, keys: keys }, records: RECORDS }
"
    .to_owned();
    let long = "x".repeat(250);
    let mut records = "{ mail: { A: [192.0.2.25], AAAA: ['2001:db8::25'] }, alias: { CNAME: mail }, sub: { NS: [ns.sub] }, \
         ns.sub: { A: [192.0.2.99] }, '*.wild': { TXT: [wild] }, steered: { service: www }, '*.steered': { service: www }, long: { TXT: ["
        .to_owned();
    for number in 0..8 {
        write!(records, "'{number}{long}', ").unwrap();
    }
    records.push_str("] } }");
    yaml = yaml.replace("RECORDS", &records);
    yaml
}

fn live() -> Live {
    let plan = Arc::new(read(&yaml()));
    let clients = Arc::new(clients(&plan));
    let (snapshot, _) = World::new(Arc::clone(&plan), clients).snapshot(0);
    Live::compile(Arc::new(snapshot), &signing(&plan), None)
}

/// A question with an OPT record: its flags and options.
fn with_opt(question: Vec<u8>, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut wire = question;
    wire[11] += 1;
    wire.extend([0, 0, 41, 0x04, 0xd0, 0, 0]);
    wire.extend(flags.to_be_bytes());
    wire.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
    wire.extend(options);
    wire
}

/// With a TSIG record behind the question.
fn tsig(mut question: Vec<u8>) -> Vec<u8> {
    question[11] += 1;
    let data = [&b"\x0bhmac-sha256\x00"[..], &[0; 16]].concat();
    question.extend(b"\x01k\x00\x00\xfa\x00\xff\0\0\0\0\0");
    question.push(u8::try_from(data.len()).unwrap());
    [question, data].concat()
}

fn asks(name: &str, qtype: u16) -> Vec<u8> {
    message(7, name, qtype)
}

/// A client subnet: 198.18.7.0/24, or a /56 of IPv6.
const SUBNETS: [&[u8]; 2] = [
    &[0, 8, 0, 7, 0, 1, 24, 0, 198, 18, 7],
    &[0, 8, 0, 11, 0, 2, 56, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0],
];

fn questions(cookie: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let [four, six] = SUBNETS;
    let steered = |qtype| asks("www.example.com", qtype);
    let signed = |name, qtype| with_opt(asks(name, qtype), DNSSEC_OK, &[]);
    let with_cookie = |cookie: &[u8]| {
        let length = u16::try_from(cookie.len()).unwrap().to_be_bytes();
        with_opt(steered(A), 0, &[&[0, 10], &length[..], cookie].concat())
    };
    vec![
        ("static", asks("mail.example.com", A)),
        (
            "static with OPT",
            with_opt(asks("mail.example.com", AAAA), 0, &[]),
        ),
        ("steered", steered(A)),
        ("steered, by subnet", with_opt(steered(A), 0, four)),
        (
            "steered, by subnet of IPv6",
            with_opt(steered(AAAA), 0, six),
        ),
        ("steered, by wildcard", asks("any.www.example.com", A)),
        ("steered, HTTPS", with_opt(steered(HTTPS), 0, four)),
        ("weighted", with_opt(asks("pick.example.com", A), 0, four)),
        ("signed", signed("mail.example.org", A)),
        ("signed, NODATA", signed("mail.example.org", TXT)),
        (
            "signed, steered",
            with_opt(asks("steered.example.org", A), DNSSEC_OK, four),
        ),
        ("signed, HTTPS", signed("steered.example.org", HTTPS)),
        ("with a client cookie", with_cookie(&cookie[..8])),
        ("with a server cookie", with_cookie(cookie)),
        ("NXDOMAIN", asks("nothing.example.com", A)),
        ("NODATA", asks("mail.example.com", TXT)),
        ("a chain", asks("alias.example.com", A)),
        ("a delegation", asks("x.sub.example.com", A)),
        ("a wildcard", asks("any.wild.example.com", TXT)),
        ("too long", asks("long.example.com", TXT)),
        ("another zone", asks("example.net", A)),
        (
            "NSID",
            with_opt(asks("mail.example.com", A), 0, &[0, 3, 0, 0]),
        ),
        ("ANY", asks("mail.example.com", 255)),
        (
            "malformed",
            [&asks("mail.example.com", A)[..], &[0]].concat(),
        ),
        (
            "a malformed subnet",
            with_opt(steered(A), 0, &[0, 8, 0, 1, 0]),
        ),
        (
            "signed with an unknown key",
            tsig(asks("mail.example.com", A)),
        ),
        ("no question", vec![0; 12]),
        ("another opcode", [&[0, 7, 0x10, 0], &[0; 8][..]].concat()),
    ]
}

/// One thread's server, and a client of it.
struct Served {
    client: UdpSocket,
    response: [u8; 1536],
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn start(address: &str) -> Self {
        let mut sockets = bind(address.parse().unwrap(), 1).unwrap();
        let live = Arc::new(ArcSwap::from_pointee(live()));
        let (limiter, stop) = (Arc::new(RateLimiter::new()), CancellationToken::new());
        let (socket, tasks) = (sockets.udp.remove(0), TaskTracker::new());
        let thread = serve_udp(socket, 0, live, limiter, &tasks, stop.clone()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .connect(("127.0.0.1", sockets.address.port()))
            .unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self {
            client,
            response: [0; 1536],
            stop,
            thread: Some(thread),
        }
    }

    fn ask(&mut self, question: &[u8]) -> &[u8] {
        self.client.send(question).unwrap();
        let length = self.client.recv(&mut self.response).unwrap();
        &self.response[..length]
    }

    /// The client's cookie with the server's behind it.
    fn cookie(&mut self) -> Vec<u8> {
        let asks = with_opt(asks("mail.example.com", A), 0, b"\0\x0a\0\x08resolver");
        let answer = self.ask(&asks);
        answer[answer.len() - 24..].to_vec()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// What only queries can name in a signed zone: names that do not exist, a long one among them, a wildcard's records and
/// their denial, and what a service answers at a wildcard.
fn signed_when_asked_for(zone: &str, number: u16) -> [Vec<u8>; 5] {
    let signed = |name: &str, qtype| with_opt(asks(name, qtype), DNSSEC_OK, &[]);
    let label = "m".repeat(63);
    // 255 bytes on the wire.
    let longest = format!(
        "{number:0>63}.{label}.{label}.{}.{zone}",
        &label[zone.len() + 3..]
    );
    [
        signed(&format!("missing{number}.{zone}"), A),
        signed(&longest, A),
        signed(&format!("any{number}.wild.{zone}"), TXT),
        signed(&format!("none{number}.wild.{zone}"), A),
        signed(&format!("any{number}.steered.{zone}"), HTTPS),
    ]
}

/// Allocations of the library for a signature alone.
fn allocated_by_the_library(zone: &str) -> usize {
    let (message, random) = ([7; 300], SystemRandom::new());
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let sign = || match zone {
        "example.org" => drop(p256.sign(&random, &message).unwrap()),
        _ => drop(ed25519.sign(&message)),
    };
    sign();
    let counted = Region::new(ALLOCATOR);
    sign();
    counted.change().allocations
}

#[test]
fn a_query_over_udp_allocates_nothing() {
    // What a message that is no query adds: one that nobody answers, before one that is.
    let short = [0; 11];
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut served = Served::start(address);
        let cookie = served.cookie();
        for (what, question) in questions(&cookie) {
            // Signatures of what only queries can name are made once; so are the threads' own variables.
            served.ask(&question);
            let counted = Region::new(ALLOCATOR);
            for _ in 0..TIMES {
                served.client.send(&short).unwrap();
                served.ask(&question);
            }
            let change = counted.change();
            let allocated = (change.allocations, change.reallocations);
            assert_eq!(allocated, (0, 0), "{what}, {address}");
        }
        // Where something has to be signed first, the library that signs allocates, and nobody else does.
        for zone in ["example.org", "example.info"] {
            let of_library = allocated_by_the_library(zone);
            assert!(of_library > 0, "that is seen");
            for number in 0..TIMES {
                for question in signed_when_asked_for(zone, number) {
                    let counted = Region::new(ALLOCATOR);
                    let answer = served.ask(&question);
                    assert!(answer[7] + answer[9] > 1, "it is signed");
                    let allocated = counted.change().allocations;
                    assert_eq!(allocated, of_library, "{question:?}, {address}");
                }
            }
        }
    }
}
