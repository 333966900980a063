//! What is not answered is refused in a way that the client can read: the code, the reason, and an
//! OPT record if the query had one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use support::{DnsClient, Edge, query};

const YAML: &str = "
listen: { dns: ['127.0.0.1:0'] }
regions: { us-east-1: { addresses: [192.0.2.1] } }
services: { api: { hosts: [api.example.com] } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
";

/// RFC 8914 §4.21: not authoritative.
const NOT_OURS: Option<u16> = Some(20);

/// The question is followed by an OPT record of 11 bytes.
const OPT: usize = 11;

fn asks(qtype: u16) -> Vec<u8> {
    query("example.com", qtype, &[])
}

fn of_class(class: u8) -> Vec<u8> {
    let mut asks = asks(1);
    let at = asks.len() - OPT - 1;
    asks[at] = class;
    asks
}

fn of_opcode(opcode: u8) -> Vec<u8> {
    let mut asks = asks(6);
    asks[2] |= opcode << 3;
    asks
}

/// A second question, and a record in the answer section, which no query has.
fn doubled(count: usize) -> Vec<u8> {
    let mut asks = asks(1);
    let more: &[u8] = match count {
        5 => b"\x07example\x03com\x00\x00\x1c\x00\x01",
        _ => b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00",
    };
    asks[count] += 1;
    let at = asks.len() - OPT;
    asks.splice(at..at, more.iter().copied());
    asks
}

/// The same without OPT.
fn plain(mut asks: Vec<u8>) -> Vec<u8> {
    asks.truncate(asks.len() - OPT);
    asks[11] = 0;
    asks
}

#[test]
fn a_refusal_says_why_and_has_an_opt_if_the_query_had_one() {
    let edge = Edge::start(YAML);
    let client = DnsClient::of(edge.address("dns"));
    for (what, asks, code, reason) in [
        (
            "another zone",
            query("example.net", 1, &[]),
            ResponseCode::Refused,
            NOT_OURS,
        ),
        ("AXFR", asks(252), ResponseCode::Refused, NOT_OURS),
        ("IXFR", asks(251), ResponseCode::Refused, NOT_OURS),
        ("class CH", of_class(3), ResponseCode::Refused, NOT_OURS),
        ("class HS", of_class(4), ResponseCode::Refused, NOT_OURS),
        ("class ANY", of_class(255), ResponseCode::Refused, NOT_OURS),
        ("NXNAME", asks(128), ResponseCode::FormErr, Some(30)),
        ("TSIG", asks(250), ResponseCode::FormErr, None),
        ("NOTIFY", of_opcode(4), ResponseCode::NotImp, None),
        ("UPDATE", of_opcode(5), ResponseCode::NotImp, None),
        ("two questions", doubled(5), ResponseCode::FormErr, None),
        ("an answer", doubled(7), ResponseCode::FormErr, None),
    ] {
        let refused = client.ask(asks.clone()).0;
        assert_eq!(refused.metadata.response_code, code, "{what}");
        let edns = refused.edns.unwrap_or_else(|| panic!("{what}: no OPT"));
        let said = edns.option(EdnsCode::from(15)).map(|option| {
            let EdnsOption::Unknown(_, data) = option else {
                panic!("{what}: {option:?}")
            };
            u16::from_be_bytes([data[0], data[1]])
        });
        assert_eq!(said, reason, "{what}");

        let refused = client.ask(plain(asks)).0;
        assert_eq!(refused.metadata.response_code, code, "{what}, without OPT");
        assert!(refused.edns.is_none(), "{what}, without OPT");
    }
}
