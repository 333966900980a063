//! Any bytes over every transport, limited or not, get an answer within the transport's bounds, or none.
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
services:
  www: { hosts: [www.example.com, '*.w.example.com'] }
  any: { hosts: [any.example.com], steering: { policy: weighted } }
zones:
  example.com:
    nameservers: { ns1: [192.0.2.53] }
    records:
      '@': { MX: [10 mail], TXT: [text], service: www }
      alias: { CNAME: www }
      '*.wild': { A: [192.0.2.1] }
      d: { DNAME: example.net. }
      lab: { NS: [ns.lab] }
      ns.lab: { A: [192.0.2.2] }
";

static LIVE: LazyLock<Live> = LazyLock::new(|| {
    let loaded = meridian::config::load_text("fuzz.yaml", YAML, &|_| None).expect("it is valid");
    let clients = Arc::new(ClientMap::compile(&loaded.plan, &Database::built_in()));
    let (snapshot, _) = World::new(Arc::new(loaded.plan), clients).snapshot(0);
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
});

fuzz_target!(|message: &[u8]| {
    let peer = IpAddr::V4(Ipv4Addr::new(203, 178, 141, 1));
    let paces = [Pace::Whole, Pace::Reminder, Pace::Silent];
    let arrivals = Transport::ALL.into_iter().flat_map(|way| paces.map(|pace| (way, pace)));
    for (transport, pace) in arrivals {
        let arrival = Arrival { peer, transport, draw: Draw(7), unix_secs: 1_800_000_000 };
        let mut out = Vec::new();
        let outcome = respond(&LIVE, message, arrival, || pace, &mut out);
        let Outcome::Answered { pace, cookie, rcode, .. } = outcome else {
            assert!(out.is_empty());
            continue;
        };
        if (transport, pace, cookie) == (Transport::Udp, Pace::Reminder, None) && rcode == Rcode::NoError {
            assert!(out.len() <= message.len(), "a reminder is no longer than its query");
        }
        assert!(out.len() >= 12 && out[..2] == message[..2], "a header with the query's ID");
        assert!(out[2] & 0x80 != 0, "QR is set");
        assert!(!matches!(transport, Transport::Udp) || out.len() <= 1_232);
    }
});
