//! What zones hold and what they lack, with the rule of the RFC above each exchange.

use std::sync::Arc;

use super::exchange::{
    SOA, check, exchange_over, extended_error, live, live_of, query, show, with_opt,
};
use crate::config::plan::SigningAlgorithm;
use crate::dns::testing::{NOW, plan, snapshot};
use crate::dns::{Key, Live, Signing, Times, Transport, ZoneKeys};

#[test]
fn records_are_answered_with_authority() {
    let live = live();
    // RFC 1034 §4.3.1: AA set, RA clear; RFC 1035 §4.1.1: RD copied.
    check(
        &live,
        &query("mail.example.com", "A"),
        "0 aa rd\nan mail.example.com. 3600 A 192.0.2.25",
    );
    check(
        &live,
        &query("example.com", "MX"),
        "0 aa rd\nan example.com. 3600 MX 10 mail.example.com.",
    );
}

#[test]
fn a_dname_that_leads_on_and_on_is_said_once() {
    let zone = "nameservers: { ns: [192.0.2.1] }, records: { a: { DNAME: x.b }, b: { DNAME: a } }";
    let live = live_of(zone);
    let response = exchange_over(&live, &query("www.a.example.com", "A"), Transport::Tcp);
    let shown = show(&response.unwrap());
    // RFC 6672 §3.1: it stands in the answer; records are there once (RFC 2181 §5).
    for (rtype, count) in [(" DNAME ", 2), (" CNAME ", 12)] {
        let lines = shown.lines().filter(|line| line.contains(rtype));
        assert_eq!(lines.count(), count, "{shown}");
    }
}

#[test]
fn the_case_of_the_question_is_kept() {
    // RFC 4343 §4.1: names match whatever their case, and the question goes back as it came.
    check(
        &live(),
        &query("mAIL.eXample.COM", "A"),
        "0 aa rd\nan mAIL.eXample.COM. 3600 A 192.0.2.25",
    );
}

#[test]
fn what_does_not_exist_is_denied_with_the_soa() {
    let live = live();
    // RFC 2308 §2.1, §3: NXDOMAIN, the SOA's TTL is the lesser of its own and `minimum`.
    check(
        &live,
        &query("nothing.example.com", "A"),
        &format!("3 aa rd\n{SOA}"),
    );
    // RFC 2308 §2.2: NODATA.
    check(
        &live,
        &query("mail.example.com", "TXT"),
        &format!("0 aa rd\n{SOA}"),
    );
    // RFC 4592 §2.2.2, RFC 8020: an empty non-terminal exists.
    check(
        &live,
        &query("ent.example.com", "TXT"),
        &format!("0 aa rd\n{SOA}"),
    );
    check(
        &live,
        &query("x.ent.example.com", "TXT"),
        &format!("3 aa rd\n{SOA}"),
    );
    // Types that nobody knows are NODATA, RFC 8906 §3.1.2.
    check(
        &live,
        &query("mail.example.com", "TYPE65280"),
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn a_cname_is_followed_inside_the_zones() {
    let live = live();
    // RFC 1034 §3.6.2.
    check(
        &live,
        &query("hop1.example.com", "AAAA"),
        "0 aa rd
         an hop1.example.com. 300 CNAME HOP2.example.com.
         an HOP2.example.com. 300 CNAME mail.example.com.
         an mail.example.com. 3600 AAAA 2001:db8::25",
    );
    check(
        &live,
        &query("hop1.example.com", "CNAME"),
        "0 aa rd\nan hop1.example.com. 300 CNAME HOP2.example.com.",
    );
    // Beyond the zones the resolver asks on.
    check(
        &live,
        &query("away.example.com", "A"),
        "0 aa rd\nan away.example.com. 300 CNAME elsewhere.example.net.",
    );
    // RFC 6604 §3: the code is that of the last name. RFC 2308 §2.1: with its zone's SOA.
    check(
        &live,
        &query("gone.example.com", "A"),
        &format!("3 aa rd\nan gone.example.com. 300 CNAME nothing.example.com.\n{SOA}"),
    );
}

#[test]
fn a_loop_of_cnames_is_said_once() {
    let response = exchange_over(&live(), &query("loop.example.com", "A"), Transport::Udp).unwrap();
    assert_eq!(show(&response).lines().count(), 2);
}

#[test]
fn wildcards_stand_for_what_does_not_exist() {
    let live = live();
    // RFC 4592 §3.3.1: the owner is the name asked for.
    check(
        &live,
        &query("a.b.wild.example.com", "A"),
        "0 aa rd\nan a.b.wild.example.com. 300 A 192.0.2.77",
    );
    // §2.2.1: a name that exists is not the wildcard's, and nothing below it is.
    check(
        &live,
        &query("held.wild.example.com", "A"),
        &format!("0 aa rd\n{SOA}"),
    );
    check(
        &live,
        &query("x.held.wild.example.com", "A"),
        &format!("3 aa rd\n{SOA}"),
    );
    // §2.3: asked for by its own name it is a name like any other.
    check(
        &live,
        &query("*.wild.example.com", "A"),
        "0 aa rd\nan *.wild.example.com. 300 A 192.0.2.77",
    );
    // A type that the wildcard does not have: NODATA.
    check(
        &live,
        &query("a.wild.example.com", "MX"),
        &format!("0 aa rd\n{SOA}"),
    );
    // §4.2: below `*` nothing is synthesised from it.
    check(
        &live,
        &query("x.*.wild.example.com", "A"),
        &format!("3 aa rd\n{SOA}"),
    );
}

#[test]
fn delegations_are_referred() {
    let live = live();
    let referral = "0 rd
        ns sub.example.com. 3600 NS ns.sub.example.com.
        ns sub.example.com. 3600 NS ns1.example.com.
        ar ns.sub.example.com. 3600 A 192.0.2.99
        ar ns1.example.com. 3600 A 192.0.2.53";
    // RFC 1034 §4.2.1: at the cut and below it, AA clear, with glue (RFC 9471).
    check(&live, &query("sub.example.com", "NS"), referral);
    check(&live, &query("below.sub.example.com", "A"), referral);
    check(&live, &query("ns.sub.example.com", "A"), referral);
    // RFC 4035 §3.1.4.1: DS is the parent's.
    check(
        &live,
        &query("sub.example.com", "DS"),
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn a_dname_renames_what_lies_below_it() {
    let live = live();
    // RFC 6672 §3.1.
    check(
        &live,
        &query("host.old.example.com", "A"),
        "0 aa rd
         an old.example.com. 600 DNAME DNAME [5, 110, 101, 119, 101, 114, 7, 101, 120, 97, 109, 112, 108, 101, 3, 99, 111, 109, 0]
         an host.old.example.com. 600 CNAME host.newer.example.com.
         an host.newer.example.com. 600 A 192.0.2.88",
    );
    // §2.3: the owner itself is not renamed.
    check(
        &live,
        &query("old.example.com", "A"),
        &format!("0 aa rd\n{SOA}"),
    );
    // §2.2: a name that would be too long.
    let long = format!(
        "{0}.{0}.{0}.{1}.old.example.com",
        "a".repeat(63),
        "b".repeat(45)
    );
    let response = exchange_over(&live, &query(&long, "A"), Transport::Tcp).unwrap();
    assert_eq!(show(&response).lines().next(), Some("6 aa rd"));
}

#[test]
fn name_servers_of_a_zone_come_with_the_addresses_that_it_knows() {
    check(
        &live(),
        &query("example.com", "NS"),
        "0 aa rd\nan example.com. 3600 NS ns1.example.com.\nan example.com. 3600 NS ns2.example.com.\nar ns1.example.com. 3600 A 192.0.2.53\nar ns2.example.com. 3600 A 198.51.100.53",
    );
}

#[test]
fn a_compact_denial_comes_with_nxdomain_for_whoever_says_so() {
    let (key, _) = Key::generate(SigningAlgorithm::Ed25519, Times::default()).unwrap();
    let keys = Arc::new(ZoneKeys { keys: vec![key] });
    let signing = Signing::new(Arc::new([Some(keys), None]), NOW);
    let snapshot = snapshot(Arc::new(plan()), |_, _| {});
    let live = Live::compile(Arc::new(snapshot), &signing, None);
    let check = |flags: u8, code: u8| {
        let mut asks = with_opt(query("nothing.example.com", "A"), 1232, 0, &[]);
        let at = asks.len() - 4;
        asks[at] = flags;
        let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
        // RFC 9824 §5.1: CO comes back, as DO does.
        assert_eq!(
            (response[3] & 15, response[response.len() - 4]),
            (code, flags)
        );
    };
    check(0x80, 0);
    check(0xc0, 3);
    // Without DO nothing is proven, and nothing is to be told by other means.
    check(0x00, 3);
}

#[test]
fn any_gets_one_rrset() {
    let live = live();
    // RFC 8482 §4.1.
    check(
        &live,
        &query("mail.example.com", "ANY"),
        "0 aa rd\nan mail.example.com. 3600 A 192.0.2.25",
    );
    check(
        &live,
        &query("api.example.com", "ANY"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("nothing.example.com", "ANY"),
        &format!("3 aa rd\n{SOA}"),
    );
}

#[test]
fn other_zones_are_refused_and_it_is_said_why() {
    let asks = with_opt(query("www.example.net", "A"), 1232, 0, &[]);
    let response = exchange_over(&live(), &asks, Transport::Udp).unwrap();
    assert_eq!(show(&response), "5 rd");
    assert_eq!(extended_error(&response), Some(20));
    // The parent of a zone is none of ours, and the root neither.
    check(&live(), &query("com", "NS"), "5 rd");
    check(&live(), &query(".", "NS"), "5 rd");
}
