//! UDP, TCP and TLS as transports: batches, source addresses, pipelining, time-outs, bounds.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod dns_support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dns_support::{Server, framed, live, message, runtime};
use meridian::dns::{bind_tcp, serve_tls};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn read_message(stream: &mut impl Read) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    for (bound, asked) in [
        (
            "0.0.0.0:0",
            ["127.0.0.1", "127.0.0.2", "127.1.2.3"].as_slice(),
        ),
        ("[::]:0", ["::1"].as_slice()),
    ] {
        let server = Server::start(bound);
        for ip in asked {
            let to = SocketAddr::new(ip.parse().unwrap(), server.address.port());
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let client = UdpSocket::bind(any).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
                .send_to(&message(7, "mail.example.com", 1), to)
                .unwrap();
            let mut buffer = [0; 1500];
            let (_, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(from, to);
        }
    }
}

#[test]
fn a_burst_of_queries_is_answered_whole() {
    let server = Server::start("127.0.0.1:0");
    let clients: Vec<UdpSocket> = (0..4)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for id in 0..50 {
        for client in &clients {
            client
                .send_to(&message(id, "api.example.com", 1), server.address)
                .unwrap();
        }
    }
    for client in &clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut ids: Vec<u16> = (0..50)
            .map(|_| {
                let mut buffer = [0; 1500];
                client.recv_from(&mut buffer).unwrap();
                u16::from_be_bytes([buffer[0], buffer[1]])
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn messages_are_pipelined_and_may_come_in_pieces() {
    let server = Server::start("127.0.0.1:0");
    let mut stream = connect(&server);
    let mut all = Vec::new();
    for id in 0..100 {
        all.extend(framed(id, "many.example.com", 16));
    }
    let (front, back) = all.split_at(1001);
    stream.write_all(front).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    stream.write_all(back).unwrap();
    for id in 0..100_u16 {
        let response = read_message(&mut stream);
        assert_eq!(response[..2], id.to_be_bytes());
        assert_eq!(response[7], 8, "all of the RRset");
    }
}

#[test]
fn a_slow_client_is_cut_off_and_holds_up_nobody() {
    let server = Server::start("127.0.0.1:0");
    let mut slow = connect(&server);
    let mut silent = connect(&server);
    let began = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    slow.write_all(&framed(1, "mail.example.com", 1)[..5])
        .unwrap();
    // Meanwhile others are served.
    let mut other = connect(&server);
    other.write_all(&framed(2, "mail.example.com", 1)).unwrap();
    assert_eq!(read_message(&mut other)[..2], [0, 2]);
    let took = |stream: &mut TcpStream| {
        assert_eq!(
            stream.read(&mut [0; 10]).unwrap(),
            0,
            "closed without an answer"
        );
        (std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - began).as_secs_f64()
    };
    let slow = took(&mut slow);
    assert!(
        (4.5..8.0).contains(&slow),
        "5 s for the rest of a message: {slow}"
    );
    let silent = took(&mut silent);
    assert!(
        (9.5..14.0).contains(&silent),
        "10 s between messages: {silent}"
    );
}

#[test]
fn a_response_sent_to_us_ends_the_connection() {
    let server = Server::start("127.0.0.1:0");
    let mut stream = connect(&server);
    let mut response = framed(1, "mail.example.com", 1);
    response[4] |= 0x80;
    stream.write_all(&response).unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let server = Server::start("127.0.0.1:0");
    let mut streams: Vec<TcpStream> = (0..33).map(|_| connect(&server)).collect();
    let mut over = streams.pop().unwrap();
    let _ = over.write_all(&framed(1, "mail.example.com", 1));
    assert_eq!(over.read(&mut [0; 10]).unwrap_or(0), 0, "closed");
    for stream in &mut streams {
        stream.write_all(&framed(3, "mail.example.com", 1)).unwrap();
        assert_eq!(read_message(stream)[..2], [0, 3]);
    }
}

#[test]
fn tls_serves_the_same() {
    let key = rcgen::generate_simple_self_signed(vec!["dns.example.com".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = serve_tls(
        listener,
        Arc::new(ArcSwap::from_pointee(config)),
        Arc::new(ArcSwap::from_pointee(live(|_| {}))),
        stop.clone(),
    );
    let thread = std::thread::spawn(|| runtime().block_on(serving).unwrap());
    let output = std::process::Command::new("kdig")
        .args(["@127.0.0.1", "-p", &address.port().to_string()])
        .args(["+tls", "api.example.com", "AAAA", "+norec"])
        .output()
        .expect("kdig: install knot-dnsutils");
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains("2001:db8:1::10"), "{answer}");
    // RFC 8467 §4.2, RFC 7828: over TLS responses are padded, and say how long they may be silent.
    let output = std::process::Command::new("kdig")
        .args(["@127.0.0.1", "-p", &address.port().to_string()])
        .args(["+tls", "+padding", "+cookie", "+edns", "api.example.com"])
        .args(["+ednsopt=11", "+norec"])
        .output()
        .expect("kdig: install knot-dnsutils");
    let answer = String::from_utf8(output.stdout).unwrap();
    for said in ["PADDING", "Received 468 B", "COOKIE", "(11): 0064"] {
        assert!(answer.contains(said), "no {said} in\n{answer}");
    }
    stop.cancel();
    thread.join().unwrap();
}

#[test]
fn at_the_end_connections_have_a_second_for_their_last_query() {
    let server = Server::start("127.0.0.1:0");
    let (mut silent, mut asking) = (connect(&server), connect(&server));
    for stream in [&mut silent, &mut asking] {
        stream.write_all(&framed(1, "mail.example.com", 1)).unwrap();
        read_message(stream);
    }
    let began = Instant::now();
    server.stop();
    asking.write_all(&framed(2, "mail.example.com", 1)).unwrap();
    assert_eq!(read_message(&mut asking)[..2], [0, 2]);
    // Whoever says nothing would be kept for ten seconds otherwise.
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    let took = began.elapsed();
    assert!((1_000..6_000).contains(&took.as_millis()), "{took:?}");
}
