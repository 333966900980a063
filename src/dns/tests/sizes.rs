//! How long a response may be.

use super::exchange::{
    CLIENT_COOKIE, RESOLVER, check, cookie_in, cookie_option, exchange_over, live, query, show,
    with_opt,
};
use crate::dns::Transport;
use crate::steering::Draw;

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
        let mut name = crate::dns::codec::name::WireName::EMPTY;
        use crate::dns::codec::query::{Content, Message};
        let read = crate::dns::codec::query::read(&plain, &mut name);
        let Message::Heard(head, Content::Query(asked)) = read else {
            panic!("a query");
        };
        let mut out = Vec::new();
        let mut reply = crate::dns::codec::reply::Reply::begin(&head, "n", size, &mut out);
        let asker = crate::dns::lookup::Asker {
            client: RESOLVER,
            draw: Draw(0),
        };
        crate::dns::lookup::look_up(&live, &asked, asker, Default::default(), &mut reply);
        reply.finish(size);
        assert_eq!(out[2] & 2 == 0, fits);
    }
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
