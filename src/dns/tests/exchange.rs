//! What an exchange is made of, and how it is shown; hickory-proto reads what was written.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use crate::config::load_text;
use crate::dns::codec::name::WireName;
use crate::dns::codec::query::{Content, Message as Read, read};
use crate::dns::respond::{client, respond_to};
use crate::dns::table::{Ahead, GROUP, Wanted};
use crate::dns::testing::{NOW, plan, snapshot};
use crate::dns::{Arrival, Live, Outcome, Pace, Signing, Transport, respond};
use crate::steering::{Draw, MemberState};

pub(super) const RESOLVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

pub(super) const SOA: &str =
    "ns example.com. 60 SOA ns1.example.com. hostmaster.example.com. 7 7200 3600 1209600 60";

pub(super) const CLIENT_COOKIE: [u8; 8] = *b"resolver";

pub(super) fn live() -> Live {
    live_with(|_| {})
}

/// With example.com of this, written in YAML.
pub(super) fn live_of(zone: &str) -> Live {
    let yaml = format!(
        "regions: {{ eu: {{ location: [0, 0], addresses: [192.0.2.1] }} }}
services: {{ api: {{ hosts: [api.example.net] }} }}
zones: {{ example.com: {{ {zone} }} }}
"
    );
    let loaded = load_text("edge.yaml", &yaml, &|_| None).unwrap();
    let snapshot = snapshot(Arc::new(loaded.plan), |_, _| {});
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
}

pub(super) fn live_with(change: impl Fn(&mut MemberState)) -> Live {
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
pub(in crate::dns) fn query(name: &str, qtype: &str) -> Vec<u8> {
    let mut wire = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    wire.extend(wire_name(name));
    wire.extend(rtype(qtype).to_be_bytes());
    wire.extend([0, 1]);
    wire
}

/// The same with an OPT record: the TTL's upper bytes and the options are given.
pub(in crate::dns) fn with_opt(
    mut wire: Vec<u8>,
    size: u16,
    version: u8,
    options: &[u8],
) -> Vec<u8> {
    wire[11] += 1;
    wire.extend([0, 0, 41]);
    wire.extend(size.to_be_bytes());
    wire.extend([0, version, 0, 0]);
    wire.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
    wire.extend(options);
    wire
}

/// The same, of whoever asks for signatures (RFC 3225 §3).
pub(in crate::dns) fn with_do(wire: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let mut wire = with_opt(wire, 1232, 0, options);
    let flags = wire.len() - options.len() - 4;
    wire[flags] |= 0x80;
    wire
}

pub(super) fn arrival(transport: Transport, draw: u64) -> Arrival {
    Arrival {
        peer: RESOLVER,
        transport,
        draw: Draw(draw),
        unix_secs: NOW,
    }
}

pub(super) fn exchange_over(live: &Live, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match respond_both_ways(live, query, arrival(transport, 0)) {
        (Outcome::Answered { .. }, out) => Some(out),
        (Outcome::Dropped(_), _) => None,
    }
}

/// What becomes of a message, and the response: the same whether its answer is looked for ahead, as that of
/// a batch is, or not.
#[track_caller]
pub(in crate::dns) fn respond_both_ways(
    live: &Live,
    message: &[u8],
    arrival: Arrival,
) -> (Outcome, Vec<u8>) {
    let (mut alone, mut ahead) = (Vec::with_capacity(4096), Vec::new());
    let outcome = respond(live, message, arrival, || Pace::Whole, &mut alone);
    let mut name = WireName::EMPTY;
    let mut message = read(message, &mut name);
    let mut found = [Ahead::default(); GROUP];
    if let Read::Heard(head, Content::Query(query)) = &message {
        let (name, client) = (query.name, client(head, arrival.peer));
        let wanted = [Wanted { name, client }];
        live.answers.warm(&live.snapshot, &wanted, &mut found);
    }
    let secrets = live.cookies.at(arrival.unix_secs);
    let (live, [found, ..], whole) = ((live, &**secrets), found, || Pace::Whole);
    let again = respond_to(live, &mut message, arrival, found, whole, &mut ahead);
    assert_eq!((outcome, &alone), (again, &ahead));
    (outcome, alone)
}

/// What becomes of a message, and the response, under a limit that says this.
pub(super) fn paced(live: &Live, query: &[u8], pace: Pace) -> (Outcome, Vec<u8>) {
    let mut out = Vec::new();
    let outcome = respond(live, query, arrival(Transport::Udp, 0), || pace, &mut out);
    (outcome, out)
}

#[track_caller]
pub(super) fn check(live: &Live, query: &[u8], expected: &str) {
    let response = exchange_over(live, query, Transport::Udp).expect("an answer");
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(show(&response), expected.join("\n"));
}

/// The response as text: code and flags, then a line for each record but OPT.
pub(super) fn show(response: &[u8]) -> String {
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

/// The options of the OPT record that ends a response.
pub(super) fn options(response: &[u8]) -> Vec<(u16, Vec<u8>)> {
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

pub(super) fn extended_error(response: &[u8]) -> Option<u16> {
    let all = options(response);
    let (_, data) = all.iter().find(|(code, _)| *code == 15)?;
    Some(u16::from_be_bytes([data[0], data[1]]))
}

pub(super) fn extended_text(response: &[u8]) -> String {
    let all = options(response);
    let (_, data) = all.iter().find(|(code, _)| *code == 15).unwrap();
    String::from_utf8(data[2..].to_vec()).unwrap()
}

pub(super) fn extended_code(response: &[u8]) -> u16 {
    let message = Message::from_vec(response).unwrap();
    u16::from(message.metadata.response_code)
}

/// A COOKIE option with this data.
pub(super) fn cookie_option(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[0, 10], length.as_slice(), data].concat()
}

/// The data of the COOKIE option in a response.
pub(super) fn cookie_in(response: &[u8]) -> Option<Vec<u8>> {
    let all = options(response);
    let found = all.into_iter().find(|(code, _)| *code == 10);
    found.map(|(_, data)| data)
}
