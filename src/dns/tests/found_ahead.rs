//! What UDP looks for ahead, for a batch, changes no answer: every name, type, client and state.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::exchange::{query, respond_both_ways, with_do, with_opt};
use crate::config::plan::Plan;
use crate::dns::testing::{NOW, clients, read, signing, snapshot};
use crate::dns::{Arrival, Live, Signing, Transport};
use crate::geo::ClientMap;
use crate::health::Health;
use crate::ids::{Id, ServiceId};
use crate::steering::{Admin, Draw, Percent};

const YAML: &str = "
node: { location: [50.11, 8.68] }
geo: { networks: { 10.0.0.0/9: one, 10.128.0.0/10: two, 10.192.0.0/11: named } }
regions:
  one: { location: [38.95, -77.45], addresses: [192.0.2.1, 192.0.2.2, '2001:db8::1'] }
  two: { location: [50.11, 8.68], addresses: [192.0.2.3] }
  named: { location: [35.62, 139.78], addresses: [lb.example.net] }
services:
  plain: { hosts: [plain.example.com], regions: [one, two], dns: { answers: 2 } }
  named: { hosts: [named.example.com] }
  drawn: { hosts: [drawn.example.com], regions: [one, two], steering: { policy: weighted } }
  strict: { hosts: [strict.example.com], regions: [one, two], steering: { when_none_healthy: none } }
  wild: { hosts: ['*.wild.example.com'], regions: [one, two] }
zones:
  example.com:
    nameservers: { ns1: [192.0.2.53] }
    dnssec: { algorithm: ed25519, keys: keys }
    records: { beside: { service: plain, TXT: [text] }, alias: { CNAME: plain } }
";

const NAMES: [&str; 11] = [
    "plain", "PLAIN", "named", "drawn", "strict", "beside", "a.wild", "*.wild", "alias", "ns1",
    "nothing",
];

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| Arc::new(read(YAML)));

static CLIENTS: LazyLock<Arc<ClientMap>> = LazyLock::new(|| Arc::new(clients(&PLAN)));

static SIGNING: LazyLock<Signing> = LazyLock::new(|| signing(&PLAN));

/// What a service's regions are in, the same for each service.
fn live(states: &[(Health, Admin)], is_signed: bool) -> Live {
    let mut snapshot = snapshot(Arc::clone(&PLAN), |service: ServiceId, member| {
        let state = states.get((service.index() + member.region.index()) % states.len());
        (member.health, member.admin) = *state.unwrap();
    });
    snapshot.clients = Arc::clone(&CLIENTS);
    let unsigned = Signing::default();
    let signing = if is_signed { &*SIGNING } else { &unsigned };
    Live::compile(Arc::new(snapshot), signing, None)
}

fn states() -> impl Strategy<Value = Vec<(Health, Admin)>> {
    let health = prop_oneof![3 => Just(Health::Healthy), 1 => Just(Health::Unhealthy)];
    let admin = prop_oneof![
        6 => Just(Admin::Enabled),
        1 => Just(Admin::Drained),
        1 => (1_u8..100).prop_map(|share| Admin::Returning(Percent::new(share))),
    ];
    prop::collection::vec((health, admin), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_answer_that_is_found_ahead_is_the_answer(
        states in states(),
        is_signed: bool,
        asked in prop::collection::vec(
            (0..NAMES.len(), prop::sample::select(vec!["A", "AAAA", "HTTPS", "TXT", "ANY"]), any::<u32>(), any::<u64>()),
            16,
        ),
    ) {
        let live = live(&states, is_signed);
        for (name, qtype, low, draw) in asked {
            let query = query(&format!("{}.example.com", NAMES[name]), qtype);
            let [_, b, c, _] = low.to_be_bytes();
            let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 10, b, c];
            let signed = with_do(query.clone(), &subnet);
            for query in [query.clone(), with_opt(query, 1232, 0, &subnet), signed] {
                let arrival = Arrival {
                    peer: IpAddr::V4(Ipv4Addr::from_bits(low)),
                    transport: Transport::Udp,
                    draw: Draw(draw),
                    unix_secs: NOW,
                };
                respond_both_ways(&live, &query, arrival);
            }
        }
    }
}
