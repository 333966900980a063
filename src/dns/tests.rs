//! Exchanges, with the rule of the RFC above each; hickory-proto reads what was written.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use proptest::prelude::*;

use super::testing::{plan, snapshot};
use super::{Arrival, DropReason, Live, Outcome, Pace, Signing, Transport, respond};
use super::{Key, Times, ZoneKeys};
use crate::config::plan::SigningAlgorithm;
use crate::health::Health;
use crate::ids::{Id, ServiceId};
use crate::steering::{Draw, MemberState};

const RESOLVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Seconds since 1970.
const NOW: u32 = 1_800_000_000;

fn live() -> Live {
    live_with(|_| {})
}

fn live_with(change: impl Fn(&mut MemberState)) -> Live {
    let snapshot = snapshot(Arc::new(plan()), |_, member| change(member));
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name
        .trim_end_matches('.')
        .split('.')
        .filter(|l| !l.is_empty())
    {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn rtype(name: &str) -> u16 {
    match name {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "DS" => 43,
        "HTTPS" => 65,
        "IXFR" => 251,
        "AXFR" => 252,
        "ANY" => 255,
        other => other.strip_prefix("TYPE").unwrap().parse().unwrap(),
    }
}

/// A query: header with RD, one question.
fn query(name: &str, qtype: &str) -> Vec<u8> {
    let mut wire = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    wire.extend(wire_name(name));
    wire.extend(rtype(qtype).to_be_bytes());
    wire.extend([0, 1]);
    wire
}

/// The same with an OPT record: the TTL's upper bytes and the options are given.
fn with_opt(mut wire: Vec<u8>, size: u16, version: u8, options: &[u8]) -> Vec<u8> {
    wire[11] += 1;
    wire.extend([0, 0, 41]);
    wire.extend(size.to_be_bytes());
    wire.extend([0, version, 0, 0]);
    wire.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
    wire.extend(options);
    wire
}

fn arrival(transport: Transport, draw: u64) -> Arrival {
    Arrival {
        peer: RESOLVER,
        transport,
        draw: Draw(draw),
        unix_secs: NOW,
    }
}

fn exchange_over(live: &Live, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    let arrival = arrival(transport, 0);
    match respond(live, query, arrival, || Pace::Whole, &mut out) {
        Outcome::Answered { .. } => Some(out),
        Outcome::Dropped(_) => None,
    }
}

fn show_rdata(rtype: &str, data: &RData) -> String {
    if let RData::Unknown { rdata, .. } = data {
        return format!("{rtype} {:?}", rdata.anything);
    }
    let RData::HTTPS(https) = data else {
        return data.to_string();
    };
    let params: Vec<String> = https
        .0
        .svc_params
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let (priority, target) = (https.0.svc_priority, &https.0.target_name);
    format!("{priority} {target} {}", params.join(" "))
}

/// The response as text: code and flags, then a line for each record but OPT.
fn show(response: &[u8]) -> String {
    let message = Message::from_vec(response).expect("hickory reads what we write");
    let flags = u16::from_be_bytes([response[2], response[3]]);
    let mut lines = vec![format!(
        "{}{}{}{}",
        flags & 15,
        if flags & 0x0400 != 0 { " aa" } else { "" },
        if flags & 0x0200 != 0 { " tc" } else { "" },
        if flags & 0x0100 != 0 { " rd" } else { "" },
    )];
    for (section, records) in [
        ("an", &message.answers),
        ("ns", &message.authorities),
        ("ar", &message.additionals),
    ] {
        for record in records {
            let rtype = record.record_type().to_string();
            lines.push(format!(
                "{section} {} {} {rtype} {}",
                record.name,
                record.ttl,
                show_rdata(&rtype, &record.data)
            ));
        }
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join("\n")
}

#[track_caller]
fn check(live: &Live, query: &[u8], expected: &str) {
    let response = exchange_over(live, query, Transport::Udp).expect("an answer");
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(show(&response), expected.join("\n"));
}

const SOA: &str =
    "ns example.com. 60 SOA ns1.example.com. hostmaster.example.com. 7 7200 3600 1209600 60";

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
fn steered_names_answer_the_addresses_of_the_region() {
    let live = live();
    check(
        &live,
        &query("api.example.com", "A"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("x.y.api.example.com", "AAAA"),
        "0 aa rd\nan x.y.api.example.com. 30 AAAA 2001:db8:1::10",
    );
    // At the apex, beside SOA, NS, MX and TXT; and behind a CNAME.
    check(
        &live,
        &query("example.com", "A"),
        "0 aa rd\nan example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("example.com", "TXT"),
        "0 aa rd\nan example.com. 3600 TXT v=spf1 -all",
    );
    check(
        &live,
        &query("www.example.com", "A"),
        "0 aa rd
         an www.example.com. 300 CNAME api.example.com.
         an api.example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("api.example.com", "TXT"),
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn https_names_the_port_and_hints_the_addresses() {
    // RFC 9460 §9, §7.
    check(
        &live(),
        &query("api.example.com", "HTTPS"),
        "0 aa rd
         an api.example.com. 30 HTTPS 1 . alpn=h2,http/1.1, port=8443 ipv4hint=203.0.113.10, ipv6hint=2001:db8:1::10,
         an api.example.com. 30 HTTPS 2 two._regions.example.com. alpn=h2,http/1.1, port=8443 ipv4hint=203.0.113.20,
         an api.example.com. 30 HTTPS 3 three._regions.example.com. alpn=h2,http/1.1, port=8443 ipv6hint=2001:db8:3::30,",
    );
}

#[test]
fn a_region_without_the_type_is_passed_over() {
    let first_down = live_with(|member| {
        if crate::ids::Id::index(member.region) == 0 {
            member.health = Health::Unhealthy;
        }
    });
    check(
        &first_down,
        &query("api.example.com", "A"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.20",
    );
    check(
        &first_down,
        &query("api.example.com", "AAAA"),
        "0 aa rd\nan api.example.com. 30 AAAA 2001:db8:3::30",
    );
    let third_alone = live_with(|member| {
        if crate::ids::Id::index(member.region) < 2 {
            member.health = Health::Unhealthy;
        }
    });
    check(
        &third_alone,
        &query("api.example.com", "A"),
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn a_refusal_at_the_end_of_a_chain_takes_back_that_a_region_answered() {
    let mut plan = plan();
    let first = plan.regions.of_mut(Id::at(0));
    first.addresses.clear();
    first.alias = Some("strict.example.com.".parse().unwrap());
    let strict: ServiceId = Id::at(2);
    let snapshot = snapshot(Arc::new(plan), |service, member| {
        if service == strict {
            member.health = Health::Unhealthy;
        }
    });
    let live = Live::compile(Arc::new(snapshot), &Signing::default(), None);
    let asks = query("api.example.com", "A");
    check(&live, &asks, "2 rd");
    let mut out = Vec::new();
    let arrival = arrival(Transport::Udp, 0);
    let outcome = respond(&live, &asks, arrival, || Pace::Whole, &mut out);
    assert!(matches!(outcome, Outcome::Answered { steered: None, .. }));
}

#[test]
fn when_nobody_is_able_it_fails_open_or_refuses() {
    let down = live_with(|member| member.health = Health::Unhealthy);
    let asks = |name| with_opt(query(name, "A"), 1232, 0, &[]);
    let open = exchange_over(&down, &asks("api.example.com"), Transport::Udp).unwrap();
    assert_eq!(show(&open).lines().next(), Some("0 aa rd"));
    // RFC 8914 §4.4, with the rule that decided.
    assert_eq!(extended_error(&open), Some(3));
    assert_eq!(
        extended_text(&open),
        "when_none_healthy: all (no region is able)"
    );
    let refused = exchange_over(&down, &asks("strict.example.com"), Transport::Udp).unwrap();
    assert_eq!(show(&refused), "2 rd");
    assert_eq!(extended_error(&refused), Some(0));
    assert_eq!(
        extended_text(&refused),
        "when_none_healthy: none (no region is able)"
    );
}

/// The options of the OPT record that ends a response.
fn options(response: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let message = Message::from_vec(response).unwrap();
    assert!(message.edns.is_some(), "a query with OPT gets one back");
    let at = (0..response.len())
        .rev()
        .find(|at| {
            response[*at..].starts_with(&[0, 0, 41, 0x04, 0xd0])
                && usize::from(u16::from_be_bytes([response[at + 9], response[at + 10]]))
                    == response.len() - at - 11
        })
        .unwrap();
    let mut rest = &response[at + 11..];
    let mut found = Vec::new();
    while let [a, b, c, d, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        found.push((u16::from_be_bytes([*a, *b]), tail[..length].to_vec()));
        rest = &tail[length..];
    }
    found
}

fn extended_error(response: &[u8]) -> Option<u16> {
    let all = options(response);
    let (_, data) = all.iter().find(|(code, _)| *code == 15)?;
    Some(u16::from_be_bytes([data[0], data[1]]))
}

fn extended_text(response: &[u8]) -> String {
    let all = options(response);
    let (_, data) = all.iter().find(|(code, _)| *code == 15).unwrap();
    String::from_utf8(data[2..].to_vec()).unwrap()
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

#[test]
fn a_subnet_comes_back_with_its_scope_and_only_when_it_came() {
    let live = live();
    // RFC 7871 §7.2.1: family, source and address as they came.
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];
    for name in ["mail.example.com", "api.example.com", "nothing.example.com"] {
        let asks = with_opt(query(name, "A"), 1232, 0, &subnet);
        let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
        assert_eq!(options(&response), [(8, vec![0, 1, 24, 0, 198, 51, 100])]);
    }
    let asks = with_opt(query("api.example.com", "A"), 1232, 0, &[]);
    assert_eq!(
        options(&exchange_over(&live, &asks, Transport::Udp).unwrap()),
        []
    );
    // Malformed: FORMERR, with the question and an OPT.
    let bad = [0, 8, 0, 7, 0, 1, 24, 8, 198, 51, 100];
    check(
        &live,
        &with_opt(query("api.example.com", "A"), 1232, 0, &bad),
        "1 rd",
    );
}

#[test]
fn edns_breaches_are_told_apart() {
    let live = live();
    let plain = query("mail.example.com", "A");
    // RFC 6891 §6.1.3: BADVERS is 16; its low four bits are 0.
    let response = exchange_over(
        &live,
        &with_opt(plain.clone(), 1232, 1, &[]),
        Transport::Udp,
    )
    .unwrap();
    assert_eq!(show(&response), "0 rd");
    assert_eq!(
        response[response.len() - 6..][..2],
        [1, 0],
        "extended code 1, version 0"
    );
    // §6.1.1: two OPTs.
    let two = with_opt(with_opt(plain.clone(), 1232, 0, &[]), 1232, 0, &[]);
    check(&live, &two, "1 rd");
    // §6.1.2: a name that is not the root.
    let mut named = plain.clone();
    named[11] = 1;
    named.extend(b"\x01a\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    check(&live, &named, "1 rd");
    // Options that nobody knows are ignored, §6.1.2.
    let unknown = with_opt(plain.clone(), 1232, 0, &[0xff, 0x00, 0, 1, 7]);
    check(
        &live,
        &unknown,
        "0 aa rd\nan mail.example.com. 3600 A 192.0.2.25",
    );
    // An option that ends too early.
    check(
        &live,
        &with_opt(plain.clone(), 1232, 0, &[0, 8, 0, 9]),
        "1 rd",
    );
    // RFC 5001 §2.1.
    let nsid = with_opt(plain, 1232, 0, &[0, 3, 0, 0]);
    let response = exchange_over(&live, &nsid, Transport::Udp).unwrap();
    assert_eq!(options(&response), [(3, b"fra-edge-1".to_vec())]);
}

#[test]
fn what_is_too_large_is_truncated_over_udp_alone() {
    let live = live();
    let plain = query("many.example.com", "TXT");
    // RFC 2181 §9: TC, and no part of the RRset.
    check(&live, &plain, "0 aa tc rd");
    check(&live, &with_opt(plain.clone(), 4096, 0, &[]), "0 aa tc rd");
    let full = exchange_over(&live, &plain, Transport::Tcp).unwrap();
    assert_eq!(show(&full).lines().count(), 9);
}

#[test]
fn a_response_fits_to_the_byte() {
    let live = live();
    let plain = query("mail.example.com", "AAAA");
    let whole = exchange_over(&live, &plain, Transport::Udp).unwrap();
    for (size, fits) in [(whole.len(), true), (whole.len() - 1, false)] {
        let mut name = super::codec::name::WireName::EMPTY;
        use super::codec::query::{Content, Message};
        let read = super::codec::query::read(&plain, &mut name);
        let Message::Heard(head, Content::Query(asked)) = read else {
            panic!("a query");
        };
        let mut out = Vec::new();
        let mut reply = super::codec::reply::Reply::begin(&head, "n", size, &mut out);
        let asker = super::lookup::Asker {
            client: RESOLVER,
            draw: Draw(0),
        };
        super::lookup::look_up(&live, &asked, asker, Default::default(), &mut reply);
        reply.finish(size);
        assert_eq!(out[2] & 2 == 0, fits);
    }
}

#[test]
fn every_opcode_type_class_and_flag_gets_an_answer() {
    let live = live();
    // RFC 8906 §3.1.4: NOTIMP.
    for opcode in 1..16u8 {
        let mut asks = query("mail.example.com", "A");
        asks[2] = opcode << 3;
        let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
        assert_eq!(
            (response.len(), response[2] >> 3 & 15, response[3] & 15),
            (12, opcode, 4)
        );
    }
    for qtype in 0..=u16::MAX {
        let asks = query("mail.example.com", &format!("TYPE{qtype}"));
        assert!(exchange_over(&live, &asks, Transport::Udp).is_some());
    }
    // RFC 8906 §3.1.3: the flags of responses, and the one that must be zero, change nothing.
    let mut flagged = query("mail.example.com", "A");
    (flagged[2], flagged[3]) = (0x07, 0xff);
    let response = exchange_over(&live, &flagged, Transport::Udp).unwrap();
    // QR, AA and RD; CD copied (RFC 4035 §3.1.6); RA, Z and AD clear.
    assert_eq!((response[2], response[3]), (0x85, 0x10));
    let mut class = query("mail.example.com", "A");
    let last = class.len() - 1;
    class[last] = 4;
    check(&live, &class, "5 rd");
    class[last] = 255;
    check(&live, &class, "5 rd");
    for qtype in ["AXFR", "IXFR"] {
        check(&live, &query("example.com", qtype), "5 rd");
    }
    // RFC 9824 §3.4.
    check(&live, &query("example.com", "TYPE128"), "1 rd");
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
fn the_node_tells_its_name() {
    let live = live();
    for name in ["id.server", "hostname.bind"] {
        let mut asks = query(name, "TXT");
        let last = asks.len() - 1;
        asks[last] = 3;
        let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
        assert!(response.ends_with(b"\x0afra-edge-1"));
    }
}

#[test]
fn malformed_queries_are_told_or_dropped() {
    let live = live();
    let plain = query("mail.example.com", "A");
    // Trailing bytes; a count that promises more; no question; two questions.
    let mut trailing = plain.clone();
    trailing.push(0);
    check(&live, &trailing, "1 rd");
    let mut promised = plain.clone();
    promised[11] = 1;
    check(&live, &promised, "1 rd");
    for count in [0, 2] {
        let mut counted = plain.clone();
        counted[5] = count;
        check(&live, &counted, "1 rd");
    }
    let mut answered = plain.clone();
    answered[7] = 1;
    check(&live, &answered, "1 rd");
    // RFC 1035 §4.1.1, and no loops between servers.
    let mut response = plain.clone();
    response[2] |= 0x80;
    assert_eq!(exchange_over(&live, &response, Transport::Udp), None);
    assert_eq!(exchange_over(&live, &plain[..11], Transport::Udp), None);
}

#[test]
fn a_weighted_service_draws_for_every_query() {
    let live = live();
    let mut seen = std::collections::BTreeSet::new();
    for draw in 0..64 {
        let mut out = Vec::new();
        let asks = query("pick.example.com", "A");
        let arrival = arrival(Transport::Udp, draw << 40);
        respond(&live, &asks, arrival, || Pace::Whole, &mut out);
        seen.insert(out[out.len() - 4..].to_vec());
    }
    assert_eq!(seen.len(), 2, "both regions that have the type");
}

#[test]
fn addresses_rotate_with_the_draw() {
    let live = live();
    let mut seen = std::collections::BTreeSet::new();
    for draw in 0..8 {
        let mut out = Vec::new();
        let asks = query("api.example.com", "A");
        let arrival = arrival(Transport::Udp, draw);
        respond(&live, &asks, arrival, || Pace::Whole, &mut out);
        seen.insert(out[out.len() - 4..].to_vec());
    }
    assert_eq!(seen.len(), 2);
}

proptest! {
    #[test]
    fn any_bytes_are_answered_or_dropped(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let live = live();
        for transport in Transport::ALL {
            let _ = exchange_over(&live, &bytes, transport);
        }
    }

    /// A query with a few bytes changed gets further than any bytes do, and what it gets is readable.
    #[test]
    fn a_damaged_query_gets_a_readable_answer(
        changes in proptest::collection::vec((2usize..110, any::<u8>()), 0..6),
        cut in 0usize..120,
    ) {
        let live = live();
        let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100, 0, 3, 0, 0, 0, 11, 0, 0];
        let options = [&subnet, cookie_option(&[1; 24]).as_slice()].concat();
        let mut asks = with_opt(query("www.sub.api.example.com", "A"), 1232, 0, &options);
        for (at, byte) in changes {
            if let Some(place) = asks.get_mut(at) {
                *place = byte;
            }
        }
        asks.truncate(cut.max(12));
        if let Some(response) = exchange_over(&live, &asks, Transport::Udp) {
            prop_assert!(response.len() <= 1232);
            prop_assert_eq!(&response[..2], &asks[..2]);
            if response[3] & 15 == 0 {
                prop_assert!(Message::from_vec(&response).is_ok());
            }
        }
    }
}

/// A COOKIE option with this data.
fn cookie_option(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[0, 10], length.as_slice(), data].concat()
}

/// The data of the COOKIE option in a response.
fn cookie_in(response: &[u8]) -> Option<Vec<u8>> {
    let all = options(response);
    let found = all.into_iter().find(|(code, _)| *code == 10);
    found.map(|(_, data)| data)
}

const CLIENT_COOKIE: [u8; 8] = *b"resolver";

/// What becomes of a message, and the response, under a limit that says this.
fn paced(live: &Live, query: &[u8], pace: Pace) -> (Outcome, Vec<u8>) {
    let mut out = Vec::new();
    let outcome = respond(live, query, arrival(Transport::Udp, 0), || pace, &mut out);
    (outcome, out)
}

fn extended_code(response: &[u8]) -> u16 {
    let message = Message::from_vec(response).unwrap();
    u16::from(message.metadata.response_code)
}

#[test]
fn a_client_cookie_gets_a_server_cookie_over_every_transport() {
    let live = live();
    let asks = with_opt(
        query("mail.example.com", "A"),
        1232,
        0,
        &cookie_option(&CLIENT_COOKIE),
    );
    for transport in Transport::ALL {
        // RFC 7873 §5.2.3: answered, and with both cookies.
        let response = exchange_over(&live, &asks, transport).unwrap();
        assert_eq!(
            show(&response),
            "0 aa rd\nan mail.example.com. 3600 A 192.0.2.25"
        );
        let cookie = cookie_in(&response).unwrap();
        assert_eq!(cookie.len(), 24);
        assert_eq!(cookie[..8], CLIENT_COOKIE);
        // §5.2.5: a valid one stays as it is.
        let again = with_opt(
            query("mail.example.com", "A"),
            1232,
            0,
            &cookie_option(&cookie),
        );
        let response = exchange_over(&live, &again, transport).unwrap();
        assert_eq!(cookie_in(&response).unwrap(), cookie);
    }
}

#[test]
fn a_wrong_server_cookie_counts_as_none() {
    let live = live();
    for server in [[1; 16].as_slice(), &[1; 8], &[1; 32]] {
        let data = [&CLIENT_COOKIE, server].concat();
        let asks = with_opt(
            query("mail.example.com", "A"),
            1232,
            0,
            &cookie_option(&data),
        );
        // RFC 7873 §5.2.4.
        let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
        assert_eq!(
            show(&response),
            "0 aa rd\nan mail.example.com. 3600 A 192.0.2.25"
        );
        let cookie = cookie_in(&response).unwrap();
        assert_eq!(cookie[..8], CLIENT_COOKIE);
        assert_ne!(cookie[8..], *server);
    }
}

#[test]
fn a_cookie_of_a_wrong_length_is_malformed_and_only_the_first_counts() {
    let live = live();
    let plain = query("mail.example.com", "A");
    for length in [0, 7, 9, 15, 41] {
        // RFC 7873 §5.2.2.
        let option = cookie_option(&vec![1; length]);
        check(&live, &with_opt(plain.clone(), 1232, 0, &option), "1 rd");
    }
    // §5.2: of several, the first.
    let both = [cookie_option(&CLIENT_COOKIE), cookie_option(&[1; 7])].concat();
    let response = exchange_over(
        &live,
        &with_opt(plain.clone(), 1232, 0, &both),
        Transport::Udp,
    );
    assert_eq!(cookie_in(&response.unwrap()).unwrap()[..8], CLIENT_COOKIE);
    // RFC 6891 §6.1.3: nobody knows what a cookie is in a later version.
    let later = with_opt(plain, 1232, 1, &cookie_option(&[1; 7]));
    let response = exchange_over(&live, &later, Transport::Udp).unwrap();
    assert_eq!((extended_code(&response), cookie_in(&response)), (16, None));
}

#[test]
fn a_cookie_may_be_asked_for_without_a_question() {
    let live = live();
    let empty = vec![0x12, 0x34, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ask = |data: &[u8]| {
        let asks = with_opt(empty.clone(), 1232, 0, &cookie_option(data));
        exchange_over(&live, &asks, Transport::Udp).unwrap()
    };
    // RFC 7873 §5.4: NOERROR to a client cookie, and to a good server cookie; BADCOOKIE to any other.
    let response = ask(&CLIENT_COOKIE);
    assert_eq!((extended_code(&response), response[5]), (0, 0));
    let cookie = cookie_in(&response).unwrap();
    assert_eq!(extended_code(&ask(&cookie)), 0);
    let response = ask(&[7; 24]);
    assert_eq!(extended_code(&response), 23);
    assert_eq!(cookie_in(&response).unwrap().len(), 24);
    // RFC 9619 §4: without a cookie there is nothing to ask.
    check(&live, &with_opt(empty, 1232, 0, &[]), "1 rd");
}

#[test]
fn over_the_limit_a_client_is_told_to_ask_over_tcp() {
    let live = live();
    let asks = with_opt(query("api.example.com", "A"), 1232, 0, &[0, 3, 0, 0]);
    let (outcome, response) = paced(&live, &asks, Pace::Reminder);
    assert_eq!(show(&response), "0 tc rd");
    // Not even the node's name, so that no response is longer than its query.
    assert!(response.len() <= asks.len());
    let Outcome::Answered { steered, pace, .. } = outcome else {
        panic!("a response");
    };
    assert_eq!((steered, pace), (None, Pace::Reminder));
    let (outcome, _) = paced(&live, &asks, Pace::Silent);
    assert_eq!(outcome, Outcome::Dropped(DropReason::Limited));
}

#[test]
fn over_the_limit_a_client_with_a_cookie_is_told_to_come_back_with_another() {
    let live = live();
    let ask = |data: &[u8]| with_opt(query("api.example.com", "A"), 1232, 0, &cookie_option(data));
    // RFC 7873 §5.2.3: BADCOOKIE.
    let (_, response) = paced(&live, &ask(&CLIENT_COOKIE), Pace::Reminder);
    assert_eq!(extended_code(&response), 23);
    assert_eq!(
        (response[2] & 2, response[7]),
        (0, 0),
        "neither TC nor answers"
    );
    // The cookie of that response opens the door.
    let cookie = cookie_in(&response).unwrap();
    let (_, response) = paced(&live, &ask(&cookie), Pace::Silent);
    assert_eq!(
        show(&response),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.10"
    );
}

#[test]
fn a_silent_limit_silences_what_cannot_be_read_too() {
    let live = live();
    let mut trailing = query("mail.example.com", "A");
    trailing.push(0);
    let (outcome, _) = paced(&live, &trailing, Pace::Silent);
    assert_eq!(outcome, Outcome::Dropped(DropReason::Limited));
    let (_, response) = paced(&live, &trailing, Pace::Reminder);
    assert_eq!(show(&response), "1 rd");
}

#[test]
fn a_connection_s_client_is_told_how_long_it_may_be_silent() {
    let live = live();
    let ask = |option: &[u8], transport| {
        let asks = with_opt(query("mail.example.com", "A"), 1232, 0, option);
        exchange_over(&live, &asks, transport).unwrap()
    };
    let (empty, timed) = ([0, 11, 0, 0], [0, 11, 0, 2, 0, 100]);
    for transport in [Transport::Tcp, Transport::Tls] {
        // RFC 7828 §3.1: in units of 100 ms.
        let response = ask(&empty, transport);
        assert_eq!(options(&response), [(11, vec![0, 100])]);
        assert_eq!(show(&ask(&timed, transport)), "1 rd");
    }
    // §3.2.1: ignored over UDP.
    for option in [empty.as_slice(), &timed] {
        let response = ask(option, Transport::Udp);
        assert_eq!((response[3] & 15, options(&response)), (0, vec![]));
    }
}

#[test]
fn responses_over_tls_are_padded_if_the_query_was() {
    let live = live();
    let asks = |name, qtype| with_opt(query(name, qtype), 1232, 0, &[0, 12, 0, 3, 0, 0, 0]);
    for (name, qtype, length) in [
        ("mail.example.com", "A", 468),
        ("many.example.com", "TXT", 4 * 468),
        ("www.example.net", "A", 468),
    ] {
        // RFC 8467 §4.2.
        let asks = asks(name, qtype);
        let response = exchange_over(&live, &asks, Transport::Tls).unwrap();
        assert_eq!(response.len(), length);
        // RFC 7830 §3: zeros, in the last option.
        let (code, padding) = options(&response).pop().unwrap();
        assert_eq!((code, padding.iter().max()), (12, Some(&0)));
        for transport in [Transport::Udp, Transport::Tcp] {
            let response = exchange_over(&live, &asks, transport).unwrap();
            assert!(options(&response).iter().all(|(code, _)| *code != 12));
        }
    }
    let unasked = with_opt(query("mail.example.com", "A"), 1232, 0, &[]);
    let response = exchange_over(&live, &unasked, Transport::Tls).unwrap();
    assert_eq!(options(&response), []);
}

#[test]
fn a_response_with_every_option_keeps_to_the_size() {
    let live = live();
    let all = [
        [0, 3, 0, 0].as_slice(),
        &[0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100],
        &cookie_option(&CLIENT_COOKIE),
        &[0, 11, 0, 0, 0, 12, 0, 0],
    ]
    .concat();
    for name in ["mail", "api", "many", "nothing", "big"] {
        for qtype in ["A", "TXT", "HTTPS"] {
            for size in [512, 600, 1232] {
                let asks = with_opt(query(&format!("{name}.example.com"), qtype), size, 0, &all);
                let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
                assert!(response.len() <= usize::from(size), "{name} {qtype} {size}");
                assert_eq!(cookie_in(&response).unwrap().len(), 24);
            }
        }
    }
}
