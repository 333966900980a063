//! Whatever is asked of a signed zone, a client that reads signatures gets one with every RRset, and
//! a proof with every denial. That they are valid, the validators of `tests/dnssec.rs` say.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::DecodeError;
use libfuzzer_sys::fuzz_target;
use meridian::config::plan::SigningAlgorithm;
use meridian::config::read_name;
use meridian::control::World;
use meridian::dns::{
    Arrival, Live, Outcome, Pace, Signing, Transport, ZoneKeys, create_keys, respond,
};
use meridian::geo::{ClientMap, Database};
use meridian::steering::Draw;

const YAML: &str = "
keys: [{ id: 1, secret: the-same-in-every-run }]
regions:
  us-east-1: { addresses: [192.0.2.10, 192.0.2.11, '2001:db8::1'] }
  eu-west-1: { addresses: [198.51.100.10] }
services:
  www: { hosts: [www.e.test, '*.w.e.test'] }
  any: { hosts: [any.e.test], steering: { policy: weighted } }
zones:
  e.test:
    nameservers: { ns1: [192.0.2.53] }
    dnssec: { keys: keys }
    records:
      '@': { MX: [10 mail], TXT: [text], service: www }
      alias: { CNAME: www }
      away: { CNAME: example.net. }
      a.deep: { A: [192.0.2.9] }
      '*.wild': { A: [192.0.2.1] }
      '*.ca': { CNAME: deep }
      d: { DNAME: deep }
      lab: { NS: [ns.lab] }
      ns.lab: { A: [192.0.2.2] }
      sub: { NS: [ns.lab], DS: ['60485 13 2 AABBCCDDEEFF00112233445566778899AABBCCDDEEFF00112233445566778899'] }
";

const NOW: u32 = 1_800_000_000;

static LIVE: LazyLock<Live> = LazyLock::new(|| {
    let loaded = meridian::config::load_text("fuzz.yaml", YAML, &|_| None).expect("it is valid");
    let folder = tempfile::tempdir().expect("a folder for keys");
    let keys = keys(folder.path());
    let clients = Arc::new(ClientMap::compile(&loaded.plan, &Database::built_in()));
    let (snapshot, _) = World::new(Arc::new(loaded.plan), clients).snapshot(0);
    Live::compile(
        Arc::new(snapshot),
        &Signing::new(Arc::new([Some(keys)]), NOW),
        None,
    )
});

fn keys(folder: &Path) -> Arc<ZoneKeys> {
    let zone = read_name(b"e.test.").expect("a name");
    let made = create_keys(folder, &zone, SigningAlgorithm::Ed25519, NOW);
    Arc::new(made.expect("keys are made"))
}

/// Labels that names of the zone are made of, and some that it has not.
const LABELS: [&str; 20] = [
    "www", "w", "any", "alias", "away", "a", "deep", "wild", "ca", "d", "lab", "ns", "sub", "x",
    "*", "ns1", "mail", "old", "W", "\0",
];

const NS: u16 = 2;
const CNAME: u16 = 5;
const DNAME: u16 = 39;
const NSEC: u16 = 47;

/// Types that answers differ by; others are taken from the bytes.
const TYPES: [u16; 16] = [1, 2, 5, 6, 15, 16, 28, 39, 43, 46, 47, 48, 59, 60, 65, 255];

/// A question that can be read: DO and CO as the first byte says, the type, then a label a byte.
fn question(bytes: &[u8]) -> Option<Vec<u8>> {
    let [flags, kind, labels @ ..] = bytes else {
        return None;
    };
    let mut wire = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in labels.iter().take(8) {
        let label = LABELS[usize::from(*label) % LABELS.len()];
        wire.push(u8::try_from(label.len()).expect("labels are short"));
        wire.extend(label.as_bytes());
    }
    wire.extend(b"\x01e\x04test\x00");
    let qtype = TYPES
        .get(usize::from(*kind))
        .copied()
        .unwrap_or((*kind).into());
    wire.extend(qtype.to_be_bytes());
    wire.extend([0, 1]);
    let size = if flags & 2 == 0 { 1232_u16 } else { 512 };
    wire.extend([0, 0, 41]);
    wire.extend(size.to_be_bytes());
    wire.extend([0, 0, flags & 0xc0, 0, 0, 0]);
    Some(wire)
}

/// The RRsets of a section, by owner and type, that have no signature beside them.
fn unsigned(records: &[Record]) -> BTreeSet<(Name, u16)> {
    let key = |record: &Record, rtype: u16| (record.name.to_lowercase(), rtype);
    let mut sets = BTreeSet::new();
    let mut signed = BTreeSet::new();
    for record in records {
        match &record.data {
            // RFC 4034 §3.1.1: the first field is the type that is signed.
            RData::Unknown { code, rdata } if *code == RecordType::RRSIG => {
                let data = &rdata.anything;
                signed.insert(key(record, u16::from_be_bytes([data[0], data[1]])));
            }
            _ => {
                sets.insert(key(record, record.record_type().into()));
            }
        }
    }
    sets.difference(&signed).cloned().collect()
}

/// Whether a CNAME is what a DNAME made of the question (RFC 6672 §5.3.1: it has no signature).
fn is_made(answers: &[Record], owner: &Name) -> bool {
    let dnames = answers
        .iter()
        .filter(|record| u16::from(record.record_type()) == DNAME);
    dnames
        .map(|record| &record.name)
        .any(|name| name != owner && name.zone_of(owner))
}

fn check(message: &Message) {
    let done = [ResponseCode::NoError, ResponseCode::NXDomain];
    let is_internet = message
        .queries
        .iter()
        .any(|query| query.query_class() == DNSClass::IN);
    if message.metadata.truncation
        || !is_internet
        || !done.contains(&message.metadata.response_code)
    {
        return;
    }
    let reads_signatures = message
        .edns
        .as_ref()
        .is_some_and(|edns| edns.flags().dnssec_ok);
    if !reads_signatures {
        return;
    }
    for (owner, rtype) in unsigned(&message.answers) {
        assert!(
            rtype == CNAME && is_made(&message.answers, &owner),
            "{owner} {rtype} in\n{message}"
        );
    }
    // RFC 4035 §2.2: the name servers of a delegation are the child's to sign.
    for (owner, rtype) in unsigned(&message.authorities) {
        assert!(rtype == NS, "{owner} {rtype} in\n{message}");
    }
    let denies = message.answers.is_empty() && message.metadata.authoritative;
    let is_denial = |record: &Record| u16::from(record.record_type()) == NSEC;
    assert!(
        !denies || message.authorities.iter().any(is_denial),
        "no proof in\n{message}"
    );
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let is_built = first & 1 == 0;
    let asked = if is_built {
        question(bytes)
    } else {
        Some(bytes.to_vec())
    };
    let Some(asked) = asked else { return };
    let peer = IpAddr::V4(Ipv4Addr::new(203, 178, 141, 1));
    for transport in Transport::ALL {
        let draw = Draw(u64::from(*first) << 29);
        let arrival = Arrival {
            peer,
            transport,
            draw,
            unix_secs: NOW,
        };
        let mut out = Vec::new();
        let outcome = respond(&LIVE, &asked, arrival, || Pace::Whole, &mut out);
        if !matches!(outcome, Outcome::Answered { .. }) {
            assert!(out.is_empty());
            continue;
        }
        assert!(
            out.len() >= 12 && out[..2] == asked[..2],
            "a header with the query's ID"
        );
        assert!(!matches!(transport, Transport::Udp) || out.len() <= 1_232);
        match Message::from_vec(&out) {
            Ok(message) => check(&message),
            // RFC 7871 §6 has it as "no address"; the reader has no word for that.
            Err(DecodeError::UnknownAddressFamily(0)) => {}
            Err(error) => panic!("{error} in {out:?}"),
        }
    }
});
