//! Cookies and the response rate limit over real sockets: what floods and real clients get.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod dns_support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dns_support::{Server, live_of, message, plan};
use meridian::config::plan::RateLimit;

const PATIENCE: Duration = Duration::from_secs(20);

/// How long a response that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(300);

/// A server on loopback that limits loopback too.
fn limited(responses_per_second: u32, slip: u32) -> Server {
    let server = Server::start("127.0.0.1:0");
    let mut plan = plan::plan();
    plan.rate_limit = Some(RateLimit {
        responses_per_second,
        slip,
        exempt: Vec::new(),
    });
    server.live.store(Arc::new(live_of(plan, |_| {})));
    server
}

/// A socket at an address of loopback: Linux has all of 127.0.0.0/8.
fn client(address: &str, server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(server.address).unwrap();
    socket
}

/// A query with an OPT record that has a COOKIE option; none if it is empty.
fn with_cookie(id: u16, name: &str, qtype: u16, cookie: &[u8]) -> Vec<u8> {
    let mut wire = message(id, name, qtype);
    wire[11] = 1;
    wire.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
    let option = match cookie {
        [] => Vec::new(),
        _ => [&[0, 10, 0, u8::try_from(cookie.len()).unwrap()], cookie].concat(),
    };
    wire.extend(u16::try_from(option.len()).unwrap().to_be_bytes());
    wire.extend(option);
    wire
}

fn exchange(socket: &UdpSocket, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send(query).unwrap();
    let mut buffer = vec![0; 2000];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// Bytes of the responses that have come so far.
fn drain(socket: &UdpSocket) -> usize {
    let mut buffer = [0; 2000];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).sum()
}

#[test]
fn a_flood_is_made_smaller_and_a_cookie_holder_gets_every_answer() {
    let server = limited(5, 2);
    // A network among those that flood, whose client has asked before.
    let holder = client("127.7.1.200", &server);
    let asks = with_cookie(1, "big.example.com", 16, b"resolver");
    let first = exchange(&holder, &asks, PATIENCE).unwrap();
    let cookie = first[first.len() - 24..].to_vec();
    assert_eq!(cookie[..8], *b"resolver");

    let flood: Vec<UdpSocket> = (0..4)
        .flat_map(|network| (1..=16).map(move |host| format!("127.7.{network}.{host}")))
        .map(|address| client(&address, &server))
        .collect();
    let (mut bytes_in, mut bytes_out) = (0, 0);
    for round in 0..100 {
        let query = with_cookie(round, "big.example.com", 16, &[]);
        for socket in &flood {
            bytes_in += socket.send(&query).unwrap();
        }
        let asks = with_cookie(round, "big.example.com", 16, &cookie);
        let answer = exchange(&holder, &asks, PATIENCE).expect("every answer");
        assert!(answer.len() > 800, "a whole one");
        for socket in &flood {
            socket.set_nonblocking(true).unwrap();
            bytes_out += drain(socket);
        }
    }
    // The holder's last answer shares a queue with the flood's last ones, or comes after them.
    std::thread::sleep(SILENCE);
    bytes_out += flood.iter().map(drain).sum::<usize>();
    assert!(
        bytes_out < bytes_in,
        "{bytes_out} bytes for {bytes_in} that came"
    );
    assert!(bytes_out > 0, "a burst and the reminders");
}

#[test]
fn every_second_response_over_the_limit_is_a_reminder() {
    let server = limited(1, 2);
    let socket = client("127.7.0.1", &server);
    let mut ask = |id| {
        let query = message(id, "mail.example.com", 1);
        exchange(&socket, &query, SILENCE).map(|response| response[2] & 2 != 0)
    };
    assert_eq!(ask(1), Some(false));
    // 1 s has not passed, unless the machine stands still.
    let over: Vec<Option<bool>> = (2..4).map(&mut ask).collect();
    assert_eq!(over, [None, Some(true)]);
    // Another network is not concerned.
    let other = client("127.7.1.1", &server);
    let query = message(1, "mail.example.com", 1);
    assert_eq!(exchange(&other, &query, PATIENCE).unwrap()[2] & 2, 0);
}

/// Uses up the second's worth of the network that dig and kdig ask from.
fn use_up(server: &Server) {
    let socket = client("127.0.0.1", server);
    for id in 0..3 {
        exchange(&socket, &message(id, "mail.example.com", 1), SILENCE);
    }
}

#[test]
fn dig_comes_back_with_the_cookie_of_badcookie() {
    let server = limited(1, 1);
    use_up(&server);
    let answer = server.ask("dig", "mail.example.com A +norec +cookie");
    assert!(answer.contains("BADCOOKIE, retrying"), "{answer}");
    assert!(answer.contains("status: NOERROR"), "{answer}");
    assert!(answer.contains("192.0.2.25"), "{answer}");
    assert!(answer.contains("(good)"), "{answer}");
}

#[test]
fn dig_and_kdig_take_a_cookie_and_are_known_by_it() {
    let server = limited(1, 0);
    let first = server.ask("dig", "mail.example.com A +norec +cookie=7265736f6c766572");
    let cookie = first
        .lines()
        .find_map(|line| line.strip_prefix("; COOKIE: ")?.strip_suffix(" (good)"))
        .unwrap_or_else(|| panic!("a good cookie in\n{first}"));
    assert_eq!(cookie.len(), 48);
    use_up(&server);
    // Over the limit, and silent to others: who is answered is known.
    for (tool, words) in [("dig", "+tries=1 +time=5"), ("kdig", "+retry=0 +time=5")] {
        for _ in 0..2 {
            let words = format!("mail.example.com A +norec {words} +cookie={cookie}");
            let answer = server.ask(tool, &words);
            assert!(answer.contains("192.0.2.25"), "{tool}:\n{answer}");
            assert!(
                answer.to_lowercase().contains(cookie),
                "{tool} keeps its cookie:\n{answer}"
            );
        }
    }
}

#[test]
fn a_client_without_cookies_comes_back_over_tcp() {
    let server = limited(1, 1);
    use_up(&server);
    let answer = server.ask("dig", "mail.example.com A +norec +nocookie");
    assert!(answer.contains("Truncated, retrying in TCP"), "{answer}");
    assert!(answer.contains("192.0.2.25"), "{answer}");
}

#[test]
fn a_new_limit_is_in_force_at_once_and_what_was_sent_is_remembered() {
    let server = limited(1, 0);
    let socket = client("127.7.0.1", &server);
    let ask = |id, patience| {
        let query = message(id, "mail.example.com", 1);
        exchange(&socket, &query, patience).is_some()
    };
    assert!(ask(1, PATIENCE));
    assert!(!ask(2, SILENCE));
    let mut plan = plan::plan();
    plan.rate_limit = None;
    server.live.store(Arc::new(live_of(plan, |_| {})));
    assert!((3..100).all(|id| ask(id, PATIENCE)));
}
