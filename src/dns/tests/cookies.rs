//! Cookies (RFC 7873), and what clients over the limit are told.

use super::exchange::{
    CLIENT_COOKIE, check, cookie_in, cookie_option, exchange_over, extended_code, live, paced,
    query, show, with_opt,
};
use crate::dns::{DropReason, Outcome, Pace, Transport};

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
