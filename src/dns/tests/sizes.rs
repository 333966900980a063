//! How long a response may be.

use super::exchange::{
    CLIENT_COOKIE, RESOLVER, check, cookie_in, cookie_option, exchange_over, live, live_of, query,
    show, with_opt,
};
use crate::dns::{Live, Transport};
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

/// example.com with so many servers of `big`, whose names are long and alike.
fn many_servers(count: usize) -> (Live, Vec<u8>) {
    let long = [["a"; 63].concat(), ["b"; 63].concat()].join(".");
    let servers: Vec<String> = (0..count).map(|n| format!("s{n}.{long}.big")).collect();
    let glue = servers
        .iter()
        .map(|name| format!("{name}: {{ A: 192.0.2.1 }}"));
    let glue: Vec<String> = glue.collect();
    let zone = format!(
        "nameservers: {{ ns: [192.0.2.1] }}, records: {{ big: {{ NS: [{}] }}, {} }}",
        servers.join(", "),
        glue.join(", ")
    );
    (live_of(&zone), query("www.big.EXAMPLE.com", "A"))
}

#[test]
fn what_fits_with_pointers_in_its_data_is_no_truncated_response() {
    let (live, asks) = many_servers(3);
    let whole = exchange_over(&live, &asks, Transport::Tcp).unwrap();
    let shorter = exchange_over(&live, &asks, Transport::Udp).unwrap();
    assert!(whole.len() > 900 && shorter.len() < 512);
    let lines = |response| show(response).to_ascii_lowercase();
    assert_eq!(lines(&shorter), lines(&whole));
    assert_eq!(shorter[..38], whole[..38], "the question as it came");
    let roomy = with_opt(asks, 1_232, 0, &[]);
    let spelled = exchange_over(&live, &roomy, Transport::Udp).unwrap();
    assert!(spelled.len() > 900, "it fits as it is");
}

#[test]
fn addresses_that_may_be_left_out_truncate_no_response() {
    let label = "a".repeat(63);
    let servers = (0..8).map(|n| format!("n{n}.{label}: [192.0.2.1, '2001:db8::1']"));
    let servers: Vec<String> = servers.collect();
    let live = live_of(&format!("nameservers: {{ {} }}", servers.join(", ")));
    let asks = query("example.com", "NS");
    let whole = exchange_over(&live, &asks, Transport::Tcp).unwrap();
    let shorter = exchange_over(&live, &asks, Transport::Udp).unwrap();
    let (whole, shorter) = (show(&whole), show(&shorter));
    let of_servers = |shown: &str| shown.lines().filter(|line| line.contains(" NS ")).count();
    assert_eq!(
        (of_servers(&whole), of_servers(&shorter)),
        (8, 8),
        "{shorter}"
    );
    assert!(whole.contains("192.0.2.1") && !shorter.contains("192.0.2.1"));
}

#[test]
fn a_response_over_four_times_its_limit_is_not_tried_with_pointers() {
    for (count, fits) in [(6, true), (7, false)] {
        let (live, asks) = many_servers(count);
        let spelled = exchange_over(&live, &asks, Transport::Tcp).unwrap();
        assert_eq!(spelled.len() <= 4 * 512, fits);
        let response = exchange_over(&live, &asks, Transport::Udp).unwrap();
        assert_eq!(response[2] & 2 == 0, fits, "{count}");
    }
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
