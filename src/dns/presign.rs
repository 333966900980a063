//! Signs the HTTPS RRsets of several regions that are not signed with the Plan, when a table that can answer them is
//! about to be published.
//!
//! Such an RRset follows from a ranking (RFC 9460 §2.4.1). Where a Plan has more of them than are signed with it,
//! those that a snapshot can give and the one before could not are signed here: some before it is published, which
//! are all that a few services need, and more of them beside those who answer. Whoever asks before the turn of what
//! it is answered has that signed then. Writes nothing but the memo of these.

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

/// As many as are signed before a table is published: at 14 µs each they hold back a change of health for as long as
/// a change of 10,000 services may take.
const MOST_AT_ONCE: usize = 1_024;

/// How many RRsets are looked at for each that may be signed: the memo may have them already.
const MOST_KNOWN: usize = 8;

/// As many places' choices as are gone through for RRsets: 64 services of 4,096 places. Whoever asks for what is
/// beyond has it signed.
const MOST_CHOICES: usize = 262_144;

/// Signs what services answer that `previous`, which is published, answers otherwise, as far as there is time for it
/// before `live` is too. Returns how many RRsets it was.
pub fn presign_at_once(live: &Live, previous: &Live) -> usize {
    let mut presigner = Presigner::new(live, Left::of(MOST_AT_ONCE));
    presigner.sign_all(Some(previous), || true);
    presigner.signed
}

/// Signs what services answer that `previous` answered otherwise, for as long as `is_wanted`. Returns
/// how many RRsets it was; `None` if it did not come to its end.
pub fn presign(
    live: &Live,
    previous: Option<&Live>,
    is_wanted: impl Fn() -> bool,
) -> Option<usize> {
    let mut presigner = Presigner::new(live, Left::of(MOST));
    let is_done = presigner.sign_all(previous, is_wanted);
    is_done.then_some(presigner.signed)
}

/// What is left of the work that is done ahead of queries.
struct Left {
    to_sign: usize,
    rrsets: usize,
    choices: usize,
}

impl Left {
    /// To sign so many.
    fn of(most: usize) -> Self {
        Self {
            to_sign: most,
            rrsets: most * MOST_KNOWN,
            choices: MOST_CHOICES,
        }
    }

    fn is_used_up(&self) -> bool {
        self.to_sign == 0 || self.rrsets == 0
    }

    /// Every different RRset of a service, whatever the place and the name. What is drawn for each query is not known
    /// before it.
    fn rankings(&mut self, service: &SteeredService) -> Vec<(Chosen, Choice)> {
        let mut known = HashSet::new();
        let choices = service.choices().take(self.choices);
        let choices = choices.inspect(|_| self.choices -= 1);
        let rankings = choices.filter_map(|choice| {
            let chosen = choice.https_of_several()?;
            let is_new = known.insert(choice.ranking(chosen, 0)?);
            is_new.then_some((chosen, *choice))
        });
        rankings.collect()
    }
}

struct Presigner<'a> {
    live: &'a Live,
    /// Answers that nobody gets.
    out: Vec<u8>,
    left: Left,
    signed: usize,
}

impl<'a> Presigner<'a> {
    fn new(live: &'a Live, left: Left) -> Self {
        Self {
            live,
            out: Vec::new(),
            left,
            signed: 0,
        }
    }

    /// `false` if it was no longer wanted.
    fn sign_all(&mut self, previous: Option<&Live>, is_wanted: impl Fn() -> bool) -> bool {
        let answers = &self.live.answers;
        let is_new = |steered: &Steered<'_>| {
            !previous.is_some_and(|previous| answers.answers_as(&previous.answers, steered.id))
        };
        let mut names: Vec<Steered<'_>> = answers.unranked().filter(is_new).collect();
        names.sort_unstable_by_key(|steered| steered.id);
        for names in names.chunk_by(|a, b| a.id == b.id) {
            let Some(Steered { service, .. }) = names.first() else {
                continue;
            };
            for (chosen, choice) in self.left.rankings(service) {
                for steered in names {
                    if self.left.is_used_up() {
                        return true;
                    }
                    if !is_wanted() {
                        return false;
                    }
                    self.sign(steered, chosen, &choice);
                }
            }
        }
        true
    }

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
            let (live, ahead) = (self.live, Ahead::default());
            let mut search = Search::new(live, rtype::HTTPS, asker, ahead, &mut reply);
            search.write_https(&hit, steered.service, steered.id, chosen, choice);
            self.signed += search.signed;
            self.left.to_sign = self.left.to_sign.saturating_sub(search.signed);
            self.left.rrsets = self.left.rrsets.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use super::super::testing::{clients, plan, read, signing, snapshot};
    use super::super::tests::exchange::{query, respond_both_ways, with_do};
    use super::super::{Arrival, Outcome, Transport};
    use super::*;
    use crate::config::plan::Plan;
    use crate::health::Health;
    use crate::ids::{Id, ServiceId};
    use crate::steering::{Draw, MemberState};

    /// Services that have so many regions, far from each other, and so many names each.
    fn plan_of(policy: &str, regions: usize, services: usize, names: usize) -> Arc<Plan> {
        let (mut networks, mut yaml) = (String::new(), "regions:\n".to_owned());
        for region in 0..regions {
            let location = format!("location: [{}, {}]", region, 3 * region);
            writeln!(
                yaml,
                "  r{region}: {{ {location}, addresses: [192.0.2.{region}] }}"
            )
            .unwrap();
            write!(networks, "10.{region}.0.0/16: r{region}, ").unwrap();
        }
        writeln!(yaml, "geo: {{ networks: {{ {networks} }} }}\nservices:").unwrap();
        for service in 0..services {
            let hosts = (0..names).map(|name| format!("n{name}.s{service}.example.com"));
            let hosts = hosts.collect::<Vec<_>>().join(", ");
            let steering = format!("steering: {{ policy: {policy} }}");
            writeln!(yaml, "  s{service}: {{ hosts: [{hosts}], {steering} }}").unwrap();
        }
        yaml.push_str(
            "zones:\n  example.com:\n    nameservers: { ns1: [192.0.2.53] }\n    dnssec: { algorithm: ed25519, keys: keys }\n",
        );
        Arc::new(read(&yaml))
    }

    fn live_of(plan: &Arc<Plan>, change: impl Fn(ServiceId, &mut MemberState)) -> Live {
        let mut snapshot = snapshot(Arc::clone(plan), change);
        snapshot.clients = Arc::new(clients(plan));
        Live::compile(Arc::new(snapshot), &signing(plan), None)
    }

    /// Asks for HTTPS records and their signatures. Returns how many records the answer has.
    fn ask(live: &Live, name: &str, draw: u64) -> u8 {
        let asks = with_do(query(name, "HTTPS"), &[]);
        let arrival = Arrival {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transport: Transport::Udp,
            draw: Draw(draw << 32 | draw),
            unix_secs: 1_800_000_000,
        };
        let (outcome, out) = respond_both_ways(live, &asks, arrival);
        assert!(matches!(outcome, Outcome::Answered { .. }));
        out[7]
    }

    #[test]
    fn whatever_is_up_or_drawn_no_query_has_https_records_signed() {
        let mut plan = plan();
        plan.zones[0].dnssec = plan_of("priority", 1, 1, 1).zones[0].dnssec.clone();
        let plan = Arc::new(plan);
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
            assert_eq!(signed_later(&live), 0);
            assert_eq!(
                presign(&live, None, || true),
                Some(0),
                "there is nothing left"
            );
        }
    }

    /// How many RRsets were not signed with the Plan.
    fn signed_later(live: &Live) -> usize {
        live.answers.memo().len() + live.answers.signed_ahead().len()
    }

    #[test]
    fn a_service_of_52_regions_is_signed_when_a_table_needs_it() {
        let name = "n0.s0.example.com";
        let live = live_of(&plan_of("priority", 52, 1, 1), |_, _| {});
        assert_eq!(presign(&live, None, || true), Some(1));
        assert_eq!(signed_later(&live), 1);
        assert_eq!(ask(&live, name, 0), 4);
        assert_eq!(signed_later(&live), 1, "nothing is signed for whoever asks");
        for number in 0..100 {
            ask(&live, &format!("x{number}.example.com"), 0);
        }
        assert_eq!(live.answers.memo().len(), 100);
        assert_eq!(
            live.answers.signed_ahead().len(),
            1,
            "it has a place of its own"
        );
    }

    /// What a change of one service's first region has signed, of two services.
    fn signed_after(change: fn(ServiceId, &mut MemberState)) -> [usize; 2] {
        let plan = plan_of("priority", 52, 2, 1);
        let (signing, clients) = (signing(&plan), Arc::new(clients(&plan)));
        let live = |change: fn(ServiceId, &mut MemberState), before: Option<&Live>| {
            let mut snapshot = snapshot(plan.clone(), change);
            snapshot.clients = clients.clone();
            Live::compile(Arc::new(snapshot), &signing, before)
        };
        let calm = live(|_, _| {}, None);
        assert_eq!(presign(&calm, None, || true), Some(2));
        let live = live(change, Some(&calm));
        let at_once = presign_at_once(&live, &calm);
        assert_eq!(ask(&live, "n0.s0.example.com", 0), 4);
        assert_eq!(ask(&live, "n0.s1.example.com", 0), 4);
        [at_once, signed_later(&live)]
    }

    #[test]
    fn what_changed_is_signed_before_the_table_is_published_and_nothing_else_is() {
        assert_eq!(signed_after(|_, _| {}), [0, 2]);
        let one_is_down = signed_after(|service, member| {
            if service == Id::at(0) && member.region == Id::at(0) {
                member.health = Health::Unhealthy;
            }
        });
        assert_eq!(one_is_down, [1, 3]);
    }

    #[test]
    fn of_more_than_8192_the_rest_is_left_to_those_who_ask_and_1024_are_signed_at_once() {
        // Each name has one for whoever is at each of 52 regions, and far too many orders to sign with the Plan.
        let plan = plan_of("geo", 52, 1, (MOST_AT_ONCE + MOST) / 52 + 1);
        let live = live_of(&plan, |_, _| {});
        let before = live_of(&plan_of("priority", 1, 1, 1), |_, _| {});
        assert_eq!(presign_at_once(&live, &before), MOST_AT_ONCE);
        // What was signed at once takes nothing of it.
        assert_eq!(presign(&live, None, || true), Some(MOST));
        assert!(signed_later(&live) > MOST);
    }

    #[test]
    fn what_is_signed_already_is_looked_at_and_not_signed_again() {
        let live = live_of(&plan_of("geo", 52, 1, 2), |_, _| {});
        assert!(presign(&live, None, || true) >= Some(2 * 52));
        assert_eq!(presign(&live, None, || true), Some(0));
    }

    /// How many RRsets of two names at 52 places are signed with so much left.
    fn signed_with(rrsets: usize, choices: usize) -> usize {
        let live = live_of(&plan_of("geo", 52, 1, 2), |_, _| {});
        let left = Left {
            to_sign: MOST,
            rrsets,
            choices,
        };
        let mut presigner = Presigner::new(&live, left);
        assert!(presigner.sign_all(None, || true));
        presigner.signed
    }

    #[test]
    fn what_is_gone_through_for_signatures_is_bounded() {
        assert_eq!(signed_with(10, MOST_CHOICES), 10);
        // Some places are answered alike.
        assert!((2..=2 * 10).contains(&signed_with(MOST, 10)));
        assert!(signed_with(MOST, MOST_CHOICES) >= 2 * 52);
    }

    #[test]
    fn a_newer_table_ends_the_work_on_an_older_one() {
        let live = live_of(&plan_of("priority", 52, 1, 1), |_, _| {});
        assert_eq!(presign(&live, None, || false), None);
        assert_eq!(signed_later(&live), 0);
    }
}
