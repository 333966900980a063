//! Any EDNS options of a query that is fine otherwise (client subnets, cookies, keepalive, padding) get an
//! answer, and what comes back of them is what RFC 7871 §7.2.1 and RFC 7873 §5.2 say.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use meridian::control::World;
use meridian::dns::{Arrival, Live, Outcome, Pace, Rcode, Signing, Transport, respond};
use meridian::geo::{ClientMap, Database};
use meridian::steering::Draw;

const YAML: &str = "
node: { location: [50.11, 8.68] }
keys: [{ id: 1, secret: the-same-in-every-run }]
regions:
  us-east-1: { addresses: [192.0.2.10, '2001:db8::1'] }
  eu-west-1: { addresses: [198.51.100.10] }
services: { www: { hosts: [www.example.com] } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
";

const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x07example\x03com\x00\x00\x01\x00\x01";
const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00";

const CLIENT_SUBNET: u16 = 8;
const COOKIE: u16 = 10;

static LIVE: LazyLock<Live> = LazyLock::new(|| {
    let loaded = meridian::config::load_text("fuzz.yaml", YAML, &|_| None).expect("it is valid");
    let clients = Arc::new(ClientMap::compile(&loaded.plan, &Database::built_in()));
    let (snapshot, _) = World::new(Arc::new(loaded.plan), clients).snapshot(0);
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
});

/// The options of some bytes, up to where they stop being any.
fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((data, behind)) = rest.split_at_checked(length) else { break };
        found.push((u16::from_be_bytes([*a, *b]), data));
        bytes = behind;
    }
    found
}

fuzz_target!(|asked: &[u8]| {
    let Ok(length) = u16::try_from(asked.len()) else { return };
    let message = [QUESTION, OPT, &length.to_be_bytes(), asked].concat();
    let arrival = Arrival {
        peer: IpAddr::V4(Ipv4Addr::new(203, 178, 141, 1)),
        transport: Transport::Tcp,
        draw: Draw(7),
        unix_secs: 1_800_000_000,
    };
    let mut out = Vec::new();
    let outcome = respond(&LIVE, &message, arrival, || Pace::Whole, &mut out);
    let Outcome::Answered { rcode, .. } = outcome else { panic!("a query is answered") };
    if rcode != Rcode::NoError {
        assert_eq!(rcode, Rcode::FormErr);
        return;
    }
    // One A record stands before OPT, whose options are the last of the message.
    let at = QUESTION.len() + 16 + OPT.len() + 2;
    let said = options(&out[at..]);
    let of = |options: &[(u16, &[u8])], wanted| {
        let found = options.iter().find(|(code, _)| *code == wanted);
        found.map(|(_, data)| data.to_vec())
    };
    let asked = options(asked);
    match (of(&asked, CLIENT_SUBNET), of(&said, CLIENT_SUBNET)) {
        (None, None) => {}
        (Some(asked), Some(said)) => {
            assert!(asked[..3] == said[..3] && asked[4..] == said[4..], "all but the scope");
            assert!(asked[2] != 0 || said[3] == 0, "a source of 0 has a scope of 0");
        }
        (asked, said) => panic!("{asked:?} was asked, {said:?} said"),
    }
    match (of(&asked, COOKIE), of(&said, COOKIE)) {
        (None, None) => {}
        (Some(asked), Some(said)) => assert!(said.len() == 24 && asked[..8] == said[..8]),
        (asked, said) => panic!("{asked:?} was asked, {said:?} said"),
    }
});
