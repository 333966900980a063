//! Signs the HTTPS RRsets of several regions that are not signed with the Plan, as soon as a table that can answer
//! them is published.
//!
//! Such an RRset follows from a ranking (RFC 9460 §2.4.1). Where a Plan has more of them than are signed with it,
//! those that a snapshot can give are signed here. That takes longer than a change of health may take to reach
//! those who ask: the table is in force at once, and whoever asks before its turn has it signed then. Writes
//! nothing but the memo.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use super::Live;
use super::codec::OWN_UDP_SIZE;
use super::codec::code::rtype;
use super::codec::edns::Edns;
use super::codec::query::{HEADER, Head};
use super::codec::reply::Reply;
use super::lookup::{Asker, Search, Sought, own};
use super::table::{Ahead, Choice, Chosen, Steered, SteeredService};

/// As many as the memo keeps without many giving way to each other; the others are signed when they
/// are asked for.
const MOST: usize = 8_192;

/// Signs what services answer that `previous` answered otherwise, for as long as `is_wanted`. Returns
/// how many RRsets it was; `None` if it did not come to its end.
pub fn presign(
    live: &Live,
    previous: Option<&Live>,
    is_wanted: impl Fn() -> bool,
) -> Option<usize> {
    let mut presigner = Presigner {
        live,
        out: Vec::new(),
        signed: 0,
    };
    for steered in live.answers.signed_steered() {
        if previous.is_some_and(|previous| live.answers.answers_as(&previous.answers, steered.id)) {
            continue;
        }
        let proofs = steered.node.proofs();
        if proofs.is_some_and(|proofs| proofs.steered.is_ranked()) {
            continue;
        }
        for (chosen, choice) in rankings(steered.service) {
            if !is_wanted() {
                return None;
            }
            presigner.sign(&steered, chosen, &choice);
        }
        if presigner.signed >= MOST {
            break;
        }
    }
    Some(presigner.signed)
}

/// Every different RRset of a service, whatever the place. What is drawn for each query is not known
/// before it.
fn rankings(service: &SteeredService) -> impl Iterator<Item = (Chosen, Choice)> {
    let mut known = HashSet::new();
    service.choices().filter_map(move |choice| {
        let chosen = choice.https_of_several()?;
        let behind: Vec<usize> = choice.alternatives().collect();
        let is_new = known.insert((chosen.member(), behind));
        is_new.then_some((chosen, *choice))
    })
}

struct Presigner<'a> {
    live: &'a Live,
    /// Answers that nobody gets.
    out: Vec<u8>,
    signed: usize,
}

impl Presigner<'_> {
    fn sign(&mut self, steered: &Steered<'_>, chosen: Chosen, choice: &Choice) {
        let dnssec_ok = Edns {
            dnssec_ok: true,
            ..Edns::default()
        };
        let head = Head {
            id: 0,
            flags: 0,
            opening: &[0; HEADER],
            edns: Some(dnssec_ok),
        };
        let sought = Sought::question(steered.node.name());
        for draw in steered.service.offer.https_draws(chosen.member()) {
            let mut reply = Reply::begin(&head, "", OWN_UDP_SIZE.into(), &mut self.out);
            let asker = Asker {
                client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                draw,
            };
            let hit = own(&sought, steered.node);
            Search::new(self.live, rtype::HTTPS, asker, Ahead::default(), &mut reply).write_https(
                &hit,
                steered.service,
                steered.id,
                chosen,
                choice,
            );
            self.signed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use super::super::testing::{plan, snapshot};
    use super::super::{Arrival, Key, Outcome, Pace, Signing, Times, Transport, ZoneKeys, respond};
    use super::*;
    use crate::config::load_text;
    use crate::config::plan::{Plan, SigningAlgorithm};
    use crate::health::Health;
    use crate::ids::{Id, ServiceId};
    use crate::steering::{Draw, MemberState};

    fn signing() -> Signing {
        let (key, _) = Key::generate(SigningAlgorithm::Ed25519, Times::default()).unwrap();
        let keys = Arc::new(ZoneKeys { keys: vec![key] });
        Signing::new(Arc::new([Some(keys), None]), 1_800_000_000)
    }

    /// Services that have so many regions by priority, and so many names each.
    fn plan_of(regions: usize, services: usize, names: usize) -> Arc<Plan> {
        let mut yaml = "regions:\n".to_owned();
        for region in 0..regions {
            writeln!(yaml, "  r{region}: {{ addresses: [192.0.2.{region}] }}").unwrap();
        }
        yaml.push_str("services:\n");
        for service in 0..services {
            let hosts: Vec<String> = (0..names)
                .map(|name| format!("n{name}.s{service}.example.com"))
                .collect();
            let hosts = hosts.join(", ");
            writeln!(
                yaml,
                "  s{service}: {{ hosts: [{hosts}], steering: {{ policy: priority }} }}"
            )
            .unwrap();
        }
        yaml.push_str("zones: { example.com: { nameservers: { ns1: [192.0.2.53] }, dnssec: { keys: keys } } }\n");
        match load_text("presign.yaml", &yaml, &|_| None) {
            Ok(loaded) => Arc::new(loaded.plan),
            Err(problems) => panic!("{problems}"),
        }
    }

    fn live_of(plan: &Arc<Plan>, change: impl Fn(ServiceId, &mut MemberState)) -> Live {
        let snapshot = snapshot(Arc::clone(plan), change);
        Live::compile(Arc::new(snapshot), &signing(), None)
    }

    /// Asks for HTTPS records with DO set. Returns how many records the answer has.
    fn ask(live: &Live, name: &str, draw: u64) -> u8 {
        let mut question = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.extend(b"\x00\x00\x41\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00");
        let arrival = Arrival {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transport: Transport::Udp,
            draw: Draw(draw << 32 | draw),
            unix_secs: 1_800_000_000,
        };
        let mut out = Vec::new();
        let outcome = respond(live, &question, arrival, || Pace::Whole, &mut out);
        assert!(matches!(outcome, Outcome::Answered { .. }));
        out[7]
    }

    #[test]
    fn whatever_is_up_or_drawn_no_query_has_https_records_signed() {
        let plan = Arc::new(plan());
        for down in 0..8_usize {
            let live = live_of(&plan, |_, member| {
                if down >> member.region.index() & 1 == 1 {
                    member.health = Health::Unhealthy;
                }
            });
            for draw in 0..64 {
                for name in ["api.example.com", "pick.example.com", "example.com"] {
                    let records = ask(&live, name, draw);
                    // Those of the regions that may be chosen, and their signature.
                    let able = 3 - u8::try_from(down.count_ones()).unwrap();
                    let expected = if able == 0 { 3 } else { able };
                    assert_eq!(records, expected + 1, "{name}, {down:03b}");
                }
            }
            assert_eq!(live.answers.memo().len(), 0);
            assert_eq!(
                presign(&live, None, || true),
                Some(0),
                "there is nothing left"
            );
        }
    }

    #[test]
    fn a_service_of_32_regions_is_signed_with_the_plan_and_one_of_33_once_a_table_needs_it() {
        let name = "n0.s0.example.com";
        let live = live_of(&plan_of(32, 1, 1), |_, _| {});
        assert_eq!(presign(&live, None, || true), Some(0));
        assert_eq!(ask(&live, name, 0), 4);
        assert_eq!(live.answers.memo().len(), 0);
        let live = live_of(&plan_of(33, 1, 1), |_, _| {});
        assert_eq!(presign(&live, None, || true), Some(1));
        assert_eq!(live.answers.memo().len(), 1);
        assert_eq!(ask(&live, name, 0), 4);
        assert_eq!(
            live.answers.memo().len(),
            1,
            "nothing is signed for whoever asks"
        );
    }

    #[test]
    fn what_did_not_change_is_not_signed_again() {
        let (plan, signing) = (plan_of(33, 2, 1), signing());
        let calm = Live::compile(Arc::new(snapshot(plan.clone(), |_, _| {})), &signing, None);
        assert_eq!(presign(&calm, None, || true), Some(2));
        let later = |change: fn(ServiceId, &mut MemberState)| {
            let mut snapshot = snapshot(plan.clone(), change);
            snapshot.clients = calm.snapshot.clients.clone();
            let live = Live::compile(Arc::new(snapshot), &signing, Some(&calm));
            presign(&live, Some(&calm), || true)
        };
        assert_eq!(later(|_, _| {}), Some(0));
        let again = later(|service, member| {
            if service == Id::at(0) && member.region == Id::at(0) {
                member.health = Health::Unhealthy;
            }
        });
        assert_eq!(again, Some(1));
    }

    #[test]
    fn of_more_than_8192_the_rest_is_left_to_those_who_ask() {
        // Each has 4 × 3² of them, and 910 names fit into what is signed with the Plan.
        let live = live_of(&plan_of(4, 1, 910 + MOST + 1), |_, _| {});
        assert_eq!(presign(&live, None, || true), Some(MOST));
    }

    #[test]
    fn a_newer_table_ends_the_work_on_an_older_one() {
        let live = live_of(&plan_of(33, 1, 1), |_, _| {});
        assert_eq!(presign(&live, None, || false), None);
        assert_eq!(live.answers.memo().len(), 0);
    }
}
