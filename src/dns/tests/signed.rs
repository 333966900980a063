//! Queries that are signed (RFC 8945), with keys that nobody has told this server of.

use super::exchange::{exchange_over, live, query, with_opt};
use crate::dns::Transport;

const NOT_AUTH: u8 = 9;
const FORM_ERR: u8 = 1;

/// A TSIG record of this class, with a MAC of 32 bytes.
fn tsig(class: u8) -> Vec<u8> {
    let algorithm = b"\x0bhmac-sha256\x00";
    let time = [0, 0, 0x6b, 8, 0xb7, 0x6b, 1, 0x2c];
    let mac = [&[0, 32][..], &[b'm'; 32]].concat();
    let data = [&algorithm[..], &time, &mac, &[0x12, 0x34, 0, 0, 0, 0]].concat();
    let length = u8::try_from(data.len()).unwrap();
    let head = [0, 250, 0, class, 0, 0, 0, 0, 0, length];
    [&b"\x01k\x00"[..], &head, &data].concat()
}

fn with_records(mut query: Vec<u8>, records: &[Vec<u8>]) -> Vec<u8> {
    query[11] += u8::try_from(records.len()).unwrap();
    [query, records.concat()].concat()
}

fn answer(query: &[u8]) -> Vec<u8> {
    exchange_over(&live(), query, Transport::Udp).unwrap()
}

#[test]
fn a_key_that_is_not_known_is_told_so() {
    let plain = query("mail.example.com", "A");
    let refusal = [
        &b"\x01k\x00\x00\xfa\x00\xff\0\0\0\0\x00\x1d\x0bhmac-sha256\x00"[..],
        &[0, 0, 0x6b, 8, 0xb7, 0x6b, 1, 0x2c],
        // No MAC, the ID, BADKEY, nothing else.
        &[0, 0, 0x12, 0x34, 0, 17, 0, 0],
    ]
    .concat();
    for (asks, additionals) in [(plain.clone(), 1), (with_opt(plain, 1232, 0, &[]), 2)] {
        let response = answer(&with_records(asks, &[tsig(255)]));
        // RFC 8945 §5.2.1: NOTAUTH, and nothing of what was asked for.
        assert_eq!(
            (response[3] & 15, response[7], response[11]),
            (NOT_AUTH, 0, additionals)
        );
        // §5.1: the TSIG comes last.
        assert!(response.ends_with(&refusal), "{response:02x?}");
    }
}

#[test]
fn a_signature_that_is_malformed_or_not_the_last_record_is_a_format_error() {
    let plain = || query("mail.example.com", "A");
    let opt = || vec![0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];
    let mut short = tsig(255);
    short.pop();
    short[12] -= 1;
    let cases = [
        vec![tsig(255), tsig(255)],
        vec![tsig(255), opt()],
        vec![tsig(1)],
        vec![short],
    ];
    for records in cases {
        let response = answer(&with_records(plain(), &records));
        assert_eq!(response[3] & 15, FORM_ERR, "{records:02x?}");
    }
}

#[test]
fn a_refusal_of_a_signature_fits_512_bytes() {
    let label = [&[63][..], &[b'k'; 63]].concat();
    let key = [label.repeat(3), vec![0]].concat();
    let mut record = tsig(255);
    record.splice(..3, key);
    let asks = |labels: usize| {
        let name = vec!["a".repeat(60); labels].join(".");
        with_records(
            query(&format!("{name}.example.com"), "A"),
            &[record.clone()],
        )
    };
    // What does not fit is left out, and the code says it all the same.
    for (labels, is_there) in [(2, 1), (3, 1)] {
        let response = answer(&asks(labels));
        assert_eq!((response[3] & 15, response[11]), (NOT_AUTH, is_there));
        assert!(response.len() <= 512);
    }
    let algorithm = [label.repeat(2), vec![0]].concat();
    record.splice(203..216, algorithm.iter().copied());
    record[202] += u8::try_from(algorithm.len() - 13).unwrap();
    let response = answer(&with_records(
        query(&vec!["a".repeat(60); 3].join("."), "A"),
        &[record],
    ));
    assert_eq!((response[3] & 15, response[11]), (NOT_AUTH, 0));
}
