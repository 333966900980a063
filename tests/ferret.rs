//! Ferret's zones and queries: what four name servers answer, this one answers; what they find fault
//! with, is told with its line. `tests/data/ferret/README.md` says where they come from.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod dns_support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dns_support::plan::snapshot;
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use meridian::config::{Loaded, Problems, load};
use meridian::dns::{Arrival, Live, Outcome, Pace, Signing, Transport, respond};
use meridian::steering::Draw;
use serde_json::Value;

/// Where no zone is steered, chance and client do not matter.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Its answers rename to the zone's origin, its DNAME to `com.`: the two were cut differently.
const CONTRADICTORY: [u64; 1] = [2624];

/// The four servers of 2021.
const SERVERS: [&str; 4] = ["bind", "nsd", "knot", "pdns"];

fn tests(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ferret");
    let packed = std::fs::read(path.join(file)).unwrap();
    let mut text = String::new();
    ruzstd::decoding::StreamingDecoder::new(&*packed)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let lines = text.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// In memory if that can be: thousands of small files take a disk its time.
fn folder() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// Loads zones, each from a master file of its own.
fn load_zones<'a>(
    folder: &Path,
    zones: impl Iterator<Item = (&'a str, String, &'a str)>,
) -> Result<Loaded, Problems> {
    let mut yaml = "regions: { eu-west-1: { addresses: [192.0.2.1] } }
services: { www: { hosts: [www.example.com] } }
zones:
"
    .to_owned();
    for (origin, file, text) in zones {
        std::fs::write(folder.join(&file), text).unwrap();
        writeln!(yaml, "  '{origin}': {{ file: '{file}' }}").unwrap();
    }
    let path = folder.join("edge.yaml");
    std::fs::write(&path, yaml).unwrap();
    load(&[path], &|_| None)
}

/// What is compared of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    rcode: String,
    is_authoritative: bool,
    answer: BTreeSet<String>,
    /// Less the apex's NS.
    authority: BTreeSet<String>,
    /// The addresses of name servers at or below the cut that is referred to.
    glue: BTreeSet<String>,
}

impl Answer {
    fn new(
        rcode: &str,
        is_authoritative: bool,
        [answer, authority, additional]: [BTreeSet<String>; 3],
        apex: &str,
    ) -> Self {
        let is_apex_ns = |record: &String| record.starts_with(apex) && word(record, 2) == "NS";
        let authority: BTreeSet<String> = authority
            .into_iter()
            .filter(|record| !is_apex_ns(record))
            .collect();
        let is_glue = |record: &String| {
            let server = word(record, 0);
            ["A", "AAAA"].contains(&word(record, 2))
                && authority.iter().any(|referral| {
                    let cut = word(referral, 0);
                    let is_below = server == cut || server.ends_with(&format!(".{cut}"));
                    is_below
                        && authority
                            .iter()
                            .any(|ns| word(ns, 2) == "NS" && word(ns, 3) == server)
                })
        };
        Self {
            rcode: rcode.to_owned(),
            is_authoritative,
            answer,
            glue: additional.into_iter().filter(is_glue).collect(),
            authority,
        }
    }

    /// What a server answered.
    fn expected(value: &Value, apex: &str) -> Self {
        let section = |name: &str| {
            let records = value[name].as_array().into_iter().flatten();
            records
                .map(|record| record.as_str().unwrap().to_owned())
                .collect()
        };
        let flags = value["flags"].as_str().unwrap();
        Self::new(
            value["rcode"].as_str().unwrap(),
            flags.split(' ').any(|flag| flag == "AA"),
            ["answer", "authority", "additional"].map(section),
            apex,
        )
    }

    /// What this one answers.
    fn given(live: &Live, qname: &str, qtype: &str, apex: &str) -> Self {
        let mut out = Vec::new();
        let query = query(qname, qtype);
        let arrival = Arrival {
            peer: CLIENT,
            transport: Transport::Tcp,
            draw: Draw(0),
            unix_secs: 0,
        };
        let outcome = respond(live, &query, arrival, || Pace::Whole, &mut out);
        assert!(matches!(outcome, Outcome::Answered { .. }), "{qname}");
        let message = Message::from_vec(&out).unwrap();
        let shown = |records: &[Record]| records.iter().map(show).collect();
        let rcode = match message.metadata.response_code.low() {
            0 => "NOERROR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            6 => "YXDOMAIN",
            _ => "another",
        };
        let sections = [
            shown(&message.answers),
            shown(&message.authorities),
            shown(&message.additionals),
        ];
        Self::new(rcode, message.metadata.authoritative, sections, apex)
    }
}

fn word(record: &str, index: usize) -> &str {
    record.split(' ').nth(index).unwrap_or_default()
}

/// Without EDNS, RD clear.
fn query(qname: &str, qtype: &str) -> Vec<u8> {
    let number: u16 = match qtype {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "TXT" => 16,
        "AAAA" => 28,
        "DNAME" => 39,
        _ => 0,
    };
    assert_ne!(number, 0, "{qtype}");
    let mut wire = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in qname.trim_end_matches('.').split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend(number.to_be_bytes());
    wire.extend([0, 1]);
    wire
}

/// `owner ttl TYPE rdata`.
fn show(record: &Record) -> String {
    assert_eq!(record.dns_class, DNSClass::IN);
    let data = match &record.data {
        RData::Unknown { code, rdata } if u16::from(*code) == 39 => {
            let target = Name::read(&mut BinDecoder::new(&rdata.anything)).unwrap();
            return format!("{} {} DNAME {target}", record.name, record.ttl);
        }
        RData::TXT(texts) => {
            let texts = texts.txt_data.iter();
            let quoted = texts.map(|text| format!("\"{}\"", String::from_utf8_lossy(text)));
            quoted.collect::<Vec<_>>().join(" ")
        }
        data => data.to_string(),
    };
    let (owner, ttl) = (&record.name, record.ttl);
    format!("{owner} {ttl} {} {data}", record.record_type())
}

/// Where the four break an endless chain off at different lengths, any length from the shortest up is
/// right, with a code that one of them gave or YXDOMAIN. An answer of more records than the zone has
/// comes of such a chain.
fn is_endless_alike(zone: &str, given: &Answer, expected: &[Answer]) -> bool {
    let mut lengths: Vec<&Answer> = expected.iter().collect();
    lengths.sort_by_key(|answer| answer.answer.len());
    let (shortest, longest) = (lengths[0], lengths[lengths.len() - 1]);
    let is_endless = longest.answer.len() > zone.lines().count();
    let is_between = shortest.answer.is_subset(&given.answer)
        && (given.answer.is_subset(&longest.answer) || longest.answer.is_subset(&given.answer));
    let is_code = expected.iter().any(|e| e.rcode == given.rcode) || given.rcode == "YXDOMAIN";
    is_endless && is_between && is_code && given.is_authoritative
}

#[test]
fn answers_are_those_of_four_name_servers() {
    let mut tests = tests("valid.jsonl.zst");
    tests.retain(|test| !CONTRADICTORY.contains(&test["id"].as_u64().unwrap()));
    let folder = folder();
    let zones = tests.iter().map(|test| {
        let file = format!("{}.zone", test["id"]);
        (test, file)
    });
    let origins: Vec<String> = tests
        .iter()
        .map(|test| format!("z{}.test", test["id"]))
        .collect();
    let zones = zones
        .zip(&origins)
        .map(|((test, file), origin)| (&**origin, file, test["zone"].as_str().unwrap()));
    let loaded = load_zones(folder.path(), zones).unwrap_or_else(|problems| panic!("{problems}"));
    let live = Live::compile(
        Arc::new(snapshot(Arc::new(loaded.plan), |_, _| {})),
        &Signing::default(),
        None,
    );
    let (mut unanimous, mut agreed, mut right) = (0_u32, 0_u32, 0_u32);
    for (test, origin) in tests.iter().zip(&origins) {
        let apex = format!("{origin}. ");
        let (qname, qtype) = (
            test["qname"].as_str().unwrap(),
            test["qtype"].as_str().unwrap(),
        );
        let given = Answer::given(&live, qname, qtype, &apex);
        let expected = SERVERS.map(|server| Answer::expected(&test["answers"][server], &apex));
        let is_unanimous = expected.iter().all(|answer| *answer == expected[0]);
        let zone = test["zone"].as_str().unwrap();
        let is_right = expected.contains(&given) || is_endless_alike(zone, &given, &expected);
        unanimous += u32::from(is_unanimous);
        agreed += u32::from(is_unanimous && is_right);
        right += u32::from(is_right);
        if !is_right {
            println!("{qname} {qtype} in\n{zone}");
            println!("given: {given:#?}\nexpected: {expected:#?}");
        }
    }
    let all = u32::try_from(tests.len()).unwrap();
    println!("{agreed} of {unanimous} unanimous, {right} of {all}");
    assert!(agreed * 1_000 >= unanimous * 999 && right * 100 >= all * 99);
    assert_eq!((agreed, right), (unanimous, all));
}

/// The zone's own text knows where it begins: its SOA, or else the highest name in it.
fn origin(test: &Value) -> String {
    let given = test["origin"].as_str().map(str::to_owned);
    given.unwrap_or_else(|| {
        let lines = test["zone"].as_str().unwrap().lines();
        let owners = lines.filter_map(|line| line.split(['\t', ' ']).next());
        let owners = owners.filter(|owner| !owner.is_empty());
        let highest = owners.min_by_key(|owner| owner.len());
        highest.unwrap_or("example.").to_owned()
    })
}

/// What is said of each of Ferret's conditions.
fn says(condition: u64) -> &'static [&'static str] {
    match condition {
        1 => &["has this"],
        2 => &["SOA"],
        3 => &["lies outside the zone"],
        4 => &["a CNAME beside other records"],
        5 => &["a second DNAME"],
        6 => &["a DNAME beside NS"],
        7 => &["lies below the DNAME"],
        8 => &["the delegation"],
        _ => &["has no glue", "has no address", "is an alias"],
    }
}

#[test]
fn every_fault_is_told_with_its_line() {
    let folder = folder();
    let mut faultless = 0;
    for test in tests("invalid.jsonl.zst") {
        let (id, text) = (test["id"].as_str().unwrap(), test["zone"].as_str().unwrap());
        let condition = test["cond"].as_u64().unwrap();
        let distinct: BTreeSet<&str> = text.lines().collect();
        if condition == 1 && distinct.len() == text.lines().count() {
            faultless += 1; // Two addresses of one name are no duplicate.
            continue;
        }
        let (origin, file) = (origin(&test), format!("{id}.zone"));
        let zone = (&*origin, file.clone(), text);
        let told = match load_zones(folder.path(), std::iter::once(zone)) {
            Ok(loaded) => loaded.problems(loaded.warnings.clone()),
            Err(problems) => problems,
        };
        let path: PathBuf = folder.path().join(file);
        let lines = text.lines().count();
        let is_meant = told.iter().any(|problem| {
            let at = problem.at.as_ref().filter(|at| *at.file == *path);
            let line = at.map_or(0, |at| usize::try_from(at.line).unwrap());
            let says = says(condition).iter();
            (1..=lines).contains(&line) && says.into_iter().any(|s| problem.message.contains(s))
        });
        assert!(is_meant, "{id} in\n{text}\nonly told:\n{told}");
    }
    assert!(faultless < 20, "{faultless}");
}
