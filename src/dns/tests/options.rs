//! EDNS: what its options say, and what they get.

use super::exchange::{check, exchange_over, live, options, query, show, with_opt};
use crate::dns::Transport;

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
