//! Signs the HTTPS RRsets of several regions as soon as a table that can answer them is published.
//!
//! Such an RRset follows from a ranking (RFC 9460 §2.4.1), so that its signatures belong to a snapshot
//! and not to the Plan. They take longer to make than a change of health may take to reach those who
//! ask: the table is in force at once, and whoever asks before its turn has it signed then. Writes
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
    use std::sync::Arc;

    use super::super::testing::{plan, snapshot};
    use super::super::{Arrival, Key, Outcome, Pace, Signing, Times, Transport, ZoneKeys, respond};
    use super::*;
    use crate::config::plan::SigningAlgorithm;
    use crate::health::Health;
    use crate::ids::{Id, ServiceId};
    use crate::steering::{Draw, MemberState};

    /// A question for the HTTPS records of api.example.com, with DO set.
    const QUESTION: &[u8] = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\
        \x03api\x07example\x03com\x00\x00\x41\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    fn signing() -> Signing {
        let (key, _) = Key::generate(SigningAlgorithm::Ed25519, Times::default()).unwrap();
        let keys = Arc::new(ZoneKeys { keys: vec![key] });
        Signing::new(Arc::new([Some(keys), None]), 1_800_000_000)
    }

    fn ask(live: &Live, draw: u64) -> Vec<u8> {
        let arrival = Arrival {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transport: Transport::Udp,
            draw: Draw(draw),
            unix_secs: 1_800_000_000,
        };
        let mut out = Vec::new();
        let outcome = respond(live, QUESTION, arrival, || Pace::Whole, &mut out);
        assert!(matches!(outcome, Outcome::Answered { .. }));
        out
    }

    #[test]
    fn who_asks_once_a_table_is_signed_waits_for_no_signature() {
        let plan = Arc::new(plan());
        let live = Live::compile(Arc::new(snapshot(plan, |_, _| {})), &signing(), None);
        let signed = presign(&live, None, || true).unwrap();
        let kept = live.answers.memo().len();
        assert!(signed > 0 && kept > 0);
        for draw in 0..8 {
            let answer = ask(&live, draw);
            assert_eq!(answer[7], 4, "three HTTPS records and their signature");
        }
        assert_eq!(live.answers.memo().len(), kept);
    }

    #[test]
    fn what_did_not_change_is_not_signed_again() {
        let (plan, signing) = (Arc::new(plan()), signing());
        let calm = Live::compile(Arc::new(snapshot(plan.clone(), |_, _| {})), &signing, None);
        let all = presign(&calm, None, || true).unwrap();
        let later = |change: fn(ServiceId, &mut MemberState)| {
            let mut snapshot = snapshot(plan.clone(), change);
            snapshot.clients = calm.snapshot.clients.clone();
            let live = Live::compile(Arc::new(snapshot), &signing, Some(&calm));
            presign(&live, Some(&calm), || true).unwrap()
        };
        assert_eq!(later(|_, _| {}), 0);
        let again = later(|service, member| {
            if service == Id::at(0) && member.region == Id::at(0) {
                member.health = Health::Unhealthy;
            }
        });
        assert!(again > 0 && again < all, "{again} of {all}");
    }

    #[test]
    fn a_newer_table_ends_the_work_on_an_older_one() {
        let live = Live::compile(
            Arc::new(snapshot(Arc::new(plan()), |_, _| {})),
            &signing(),
            None,
        );
        assert_eq!(presign(&live, None, || false), None);
        assert_eq!(live.answers.memo().len(), 0);
    }
}
