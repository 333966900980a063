//! A storm of malformed messages, at whatever rate the machine can send: who asks properly is
//! answered, memory stays where it was, and the counters account for every datagram.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use support::{DnsClient, Edge, Reply, query, wait_until};

const YAML: &str = "
listen: { dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }
regions: { us-east-1: { addresses: [192.0.2.1] } }
services: { api: { hosts: [api.example.com] } }
zones:
  example.com:
    nameservers: { ns1: [192.0.2.53] }
    records: { mail: { A: [192.0.2.25] }, '*.wild': { A: [192.0.2.7] } }
";

const RIGHT: [(&str, [u8; 4]); 3] = [
    ("api.example.com", [192, 0, 2, 1]),
    ("mail.example.com", [192, 0, 2, 25]),
    ("x.wild.example.com", [192, 0, 2, 7]),
];

const SENDERS: u64 = 4;
const DATAGRAMS: u64 = 200_000;

/// The most that UDP over IPv4 carries.
const LARGEST: usize = 65_507;

/// KiB that the process may have grown by: far below what a few bytes for each datagram would be.
const GROWTH_KIB: u64 = 8 * 1024;

/// One malformed message of any kind.
fn malformed(random: &mut Rng) -> Vec<u8> {
    let good = query("api.example.com", 1, &[]);
    // Where the question's name begins, and where the OPT record does.
    let (name, opt) = (12, good.len() - 11);
    let mut bytes = good.clone();
    match random.u8(..13) {
        0 => bytes = (0..random.usize(..600)).map(|_| random.u8(..)).collect(),
        1 => bytes.truncate(random.usize(..good.len())),
        2 => bytes[2] |= 0x80,
        // A label of a kind that there is not, and one that reaches past the end.
        3 => bytes[name] = random.u8(0x40..0xc0),
        4 => bytes[name + 4] = 63,
        // Pointers: to themselves, ahead, and past the end.
        5 => bytes.splice(name.., [0xc0, 12, 0, 1, 0, 1]).for_each(drop),
        6 => bytes[name..name + 2].copy_from_slice(&[0xc0 | random.u8(..64), random.u8(..)]),
        // Several OPT records, one that is not the root's, options past the end.
        7 => {
            bytes[11] = 2;
            bytes.extend_from_within(opt..);
        }
        8 => bytes.splice(opt..=opt, *b"\x01x\x00").for_each(drop),
        9 => bytes = query("api.example.com", 1, &[0, 8, 0, 200, 0, 1]),
        // A subnet of no family, too long or with a scope; a cookie that is too short.
        10 => {
            let mut subnet = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
            subnet[random.usize(4..8)] = random.u8(33..);
            bytes = query("api.example.com", 1, &subnet);
        }
        11 => {
            let length = random.u8(..8);
            let cookie = [&[0, 10, 0, length][..], &vec![7; usize::from(length)]].concat();
            bytes = query("api.example.com", 1, &cookie);
        }
        _ => match random.u8(..100) {
            0 => bytes.resize(LARGEST, 0),
            1..30 => bytes.clear(),
            _ => {
                for _ in 0..4 {
                    let at = random.usize(2..bytes.len());
                    bytes[at] = random.u8(..);
                }
            }
        },
    }
    bytes
}

/// Sends a share of the storm; how many datagrams went out.
fn send_storm(server: SocketAddr, seed: u64) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    let mut random = Rng::with_seed(seed);
    let sends = (0..DATAGRAMS / SENDERS).map(|_| socket.send(&malformed(&mut random)));
    sends.map(|sent| u64::from(sent.is_ok())).sum()
}

/// Connections that say something malformed, wait for what comes of it, or do not.
fn send_garbage(server: SocketAddr, stop: &AtomicBool) {
    let mut random = Rng::with_seed(7766);
    while !stop.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(server).unwrap();
        for _ in 0..random.u8(..4) {
            let message = malformed(&mut random);
            let length = u16::try_from(message.len()).unwrap();
            // The edge may have had enough of this connection.
            let _ = stream.write_all(&[&length.to_be_bytes(), &message[..]].concat());
        }
        let _ = stream.write_all(&[random.u8(..)]);
        if random.bool() {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

fn is_right(message: &Message, expected: [u8; 4]) -> bool {
    let data: Vec<&RData> = message.answers.iter().map(|record| &record.data).collect();
    matches!(data[..], [RData::A(a)] if a.0.octets() == expected)
}

/// Reads the answers that have come; how many they are. Every one must be right.
fn read_all(socket: &UdpSocket) -> u64 {
    let mut buffer = [0; 1500];
    let mut answers = 0;
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let message = Message::from_vec(&buffer[..length]).unwrap();
                let (_, expected) = RIGHT[usize::from(message.metadata.id) % RIGHT.len()];
                assert!(is_right(&message, expected), "{message}");
                answers += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return answers;
            }
        }
    }
}

/// Asks over UDP at a steady rate, whatever comes back; what it asked, and what was answered.
fn ask_steadily(server: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut asked, mut answered) = (0_u64, 0);
    while !stop.load(Ordering::Relaxed) {
        // IDs that tell which question it was, also when they begin again.
        let id = u16::try_from(asked % 60_000).unwrap();
        let (name, _) = RIGHT[usize::from(id) % RIGHT.len()];
        let mut asks = query(name, 1, &[]);
        asks[..2].copy_from_slice(&id.to_be_bytes());
        socket.send(&asks).unwrap();
        asked += 1;
        answered += read_all(&socket);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // The last answers are under way; those to what was lost never come.
    wait_until(|| {
        answered += read_all(&socket);
        asked - answered <= dropped_at(server.port())
    });
    (asked, answered)
}

/// Asks over one connection, one question after the other. Nothing is lost there.
fn ask_over_tcp(server: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut stream = TcpStream::connect(server).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut answered = 0;
    for (name, expected) in RIGHT.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let asks = query(name, 1, &[]);
        let length = u16::try_from(asks.len()).unwrap();
        stream
            .write_all(&[&length.to_be_bytes(), &asks[..]].concat())
            .unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert!(is_right(&Message::from_vec(&answer).unwrap(), *expected));
        answered += 1;
    }
    answered
}

/// Datagrams that the kernel did not give to the sockets of a port: they were full (proc_net(5)).
fn dropped_at(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let sockets = table.lines().filter(|line| line.contains(&local));
    sockets
        .map(|line| {
            line.split_whitespace()
                .last()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

/// Packets that the loopback interface had no room for.
fn dropped_by_loopback() -> u64 {
    let file = "/sys/class/net/lo/statistics/rx_dropped";
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// What the counters say of a transport: messages that came, and those that were answered or dropped.
fn accounts(edge: &Edge, transport: &str) -> (u64, u64) {
    let transport = format!("transport=\"{transport}\"");
    let dropped = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        edge.counted("meridian_dns_dropped_total", &[&transport, &reason])
    };
    let received = edge.counted("meridian_dns_queries_total", &[&transport]);
    let answered = edge.counted("meridian_dns_responses_total", &[&transport]);
    assert_eq!(dropped("panic"), 0);
    // What was not sent was counted as a response too.
    let not_answered = ["short", "response", "limited", "unanswerable"].map(dropped);
    (received, answered + not_answered.iter().sum::<u64>())
}

#[test]
fn who_asks_properly_is_answered_in_a_storm_of_malformed_messages() {
    let edge = Edge::start(YAML);
    let server = edge.address("dns");
    let loopback_before = dropped_by_loopback();
    let memory_before = edge.process.resident_kib();
    let stop = AtomicBool::new(false);
    let (storm, (asked, answered), over_tcp) = std::thread::scope(|scope| {
        let steady = scope.spawn(|| ask_steadily(server, &stop));
        let over_tcp = scope.spawn(|| ask_over_tcp(server, &stop));
        let garbage = scope.spawn(|| send_garbage(server, &stop));
        let senders = (0..SENDERS).map(|seed| scope.spawn(move || send_storm(server, seed)));
        let senders: Vec<_> = senders.collect();
        let storm: u64 = senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .sum();
        stop.store(true, Ordering::Relaxed);
        garbage.join().unwrap();
        (storm, steady.join().unwrap(), over_tcp.join().unwrap())
    });
    assert!(storm > DATAGRAMS * 9 / 10 && asked > 100 && over_tcp > 100);

    // Every datagram was counted, or found the socket full.
    let lost = || {
        let (received, _) = accounts(&edge, "udp");
        (storm + asked) - received
    };
    let full = || dropped_at(server.port());
    let explained = || full() + dropped_by_loopback() - loopback_before;
    assert!(
        wait_until(|| lost() <= explained()) && full() <= lost(),
        "{} of {} are lost, sockets were full for {}",
        lost(),
        storm + asked,
        full()
    );
    let udp = ["transport=\"udp\"", "reason=\"queue\""];
    let counted = || edge.counted("meridian_dns_dropped_total", &udp);
    assert!(
        wait_until(|| counted() == full()),
        "{} of {}",
        counted(),
        full()
    );
    for transport in ["udp", "tcp"] {
        let adds_up = || {
            let (received, accounted) = accounts(&edge, transport);
            received == accounted
        };
        let are_accounted = wait_until(adds_up);
        assert!(
            are_accounted,
            "{transport}: {:?}",
            accounts(&edge, transport)
        );
        let label = format!("transport=\"{transport}\"");
        for (counter, kind) in [
            ("meridian_dns_dropped_total", "reason=\"short\""),
            ("meridian_dns_dropped_total", "reason=\"response\""),
            ("meridian_dns_responses_total", "rcode=\"formerr\""),
            ("meridian_dns_responses_total", "rcode=\"notimp\""),
        ] {
            assert!(
                edge.counted(counter, &[&label, kind]) > 0,
                "{transport} {kind}"
            );
        }
    }
    // Who is not answered was among the lost.
    assert!(asked - answered <= explained(), "{answered} of {asked}");
    let client = DnsClient::of(server);
    for (name, expected) in RIGHT {
        let Reply(message) = client.ask(query(name, 1, &[]));
        assert!(is_right(&message, expected), "{message}");
    }
    let grown = edge.process.resident_kib().saturating_sub(memory_before);
    assert!(grown < GROWTH_KIB, "{grown} KiB");
}
