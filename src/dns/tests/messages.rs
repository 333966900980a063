//! Any message: every opcode, type, class and flag, and what is malformed (RFC 8906).

use hickory_proto::op::Message;
use proptest::prelude::*;

use super::exchange::{check, cookie_option, exchange_over, live, query, with_opt};
use crate::dns::Transport;

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
    // QR, AA and RD; RA, Z, AD and CD (RFC 4035 §3.1.6) clear.
    assert_eq!((response[2], response[3]), (0x85, 0x00));
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
