//! Bounds of DNS, each at its last value that works and at the first that does not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use meridian::config::plan::SigningAlgorithm;
use meridian::dns::{create_keys, load_keys};
use socket2::{Domain, Socket, Type};
use support::{DnsClient, Edge, query, wait_until};

const A: u16 = 1;
const TXT: u16 = 16;
const RRSIG: u16 = 46;

fn yaml(node: &str, records: &str) -> String {
    format!(
        "node: {{ name: {node} }}
listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}
services: {{ api: {{ hosts: [api.example.com] }} }}
zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    dnssec: {{ keys: keys }}
    records: {{ end: {{ A: [192.0.2.9] }}, {records} }}
"
    )
}

#[test]
fn a_chain_is_followed_for_twelve_names() {
    let links = |count: usize| (1..count).map(|i| format!("c{i}: {{ CNAME: c{} }}, ", i + 1));
    let chain: String = links(13).collect();
    let edge = Edge::start(&yaml("edge", &format!("{chain} c13: {{ CNAME: end }}")));
    let client = DnsClient::of(edge.address("dns"));
    // From `c3` on there are eleven links, and `end` is the twelfth name.
    for (start, links, arrives) in [("c3", 11, true), ("c2", 12, false), ("c1", 12, false)] {
        let reply = client.ask(query(&format!("{start}.example.com"), A, &[]));
        let answers = &reply.0.answers;
        let cnames = answers
            .iter()
            .filter(|r| r.record_type() == RecordType::CNAME);
        assert_eq!(cnames.count(), links, "{start}");
        assert_eq!(!reply.addresses().is_empty(), arrives, "{start}");
        assert_eq!(reply.0.metadata.response_code, ResponseCode::NoError);
    }
}

#[test]
fn a_query_over_udp_has_2048_bytes_and_no_more() {
    let edge = Edge::start(&yaml("edge", ""));
    let client = DnsClient::of(edge.address("dns"));
    let empty = query("end.example.com", A, &[]).len();
    for (length, code) in [
        (2_048, ResponseCode::NoError),
        (2_049, ResponseCode::FormErr),
        (9_000, ResponseCode::FormErr),
    ] {
        let padding = u16::try_from(length - empty - 4).unwrap();
        let mut option = vec![0, 12];
        option.extend(padding.to_be_bytes());
        option.resize(length - empty, 0);
        let asks = query("end.example.com", A, &option);
        assert_eq!(asks.len(), length);
        assert_eq!(client.ask(asks).0.metadata.response_code, code, "{length}");
    }
}

#[test]
fn a_node_says_128_bytes_of_its_name() {
    for length in [127, 128, 129, 200] {
        let name = "n".repeat(length);
        let edge = Edge::start(&yaml(&name, ""));
        let client = DnsClient::of(edge.address("dns"));
        let reply = client.ask(query("end.example.com", A, &[0, 3, 0, 0])).0;
        let edns = reply.edns.unwrap();
        let Some(EdnsOption::NSID(said)) = edns.option(EdnsCode::NSID) else {
            panic!("no NSID")
        };
        assert_eq!(said.as_ref(), &name.as_bytes()[..length.min(128)]);
    }
}

#[test]
fn a_signature_holds_for_clocks_that_are_an_hour_behind() {
    let unix = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let before = unix();
    let edge = Edge::start(&yaml("edge", ""));
    let after = unix();
    let client = DnsClient::of(edge.address("dns"));
    let reply = client.ask(query("end.example.com", RRSIG, &[]));
    let [ref record] = reply.0.answers[..] else {
        panic!("one signature: {}", reply.0)
    };
    let RData::Unknown { rdata, .. } = &record.data else {
        panic!("{record}")
    };
    // RFC 4034 §3.1: the type, algorithm, labels and TTL come before the times.
    let time = |at: usize| {
        let bytes = rdata.anything[at..at + 4].try_into().unwrap();
        u64::from(u32::from_be_bytes(bytes))
    };
    let (expiration, inception) = (time(8), time(12));
    assert!((before..=after).contains(&(inception + 3_600)));
    assert!((before..=after).contains(&(expiration - 14 * 86_400)));
}

#[test]
fn a_key_file_has_64_kib_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path();
    let zone = Name::from_ascii("example.com.").unwrap();
    create_keys(keys, &zone, SigningAlgorithm::Ed25519, 1_000).unwrap();
    for entry in fs::read_dir(keys).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        for (length, is_taken) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
            // Of a comment, and of a line that nobody knows.
            let filled = format!("{text};{}\n", "x".repeat(length - text.len() - 2));
            assert_eq!(filled.len(), length);
            fs::write(&file, filled).unwrap();
            let loaded = load_keys(keys, &zone);
            assert_eq!(loaded.is_ok(), is_taken, "{length} of {}", file.display());
        }
        fs::write(&file, text).unwrap();
    }
}

/// A connection from `source` whose kernel keeps little of what is not read or not sent.
fn unready_to_read(source: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.set_send_buffer_size(4_096).unwrap();
    let source = SocketAddr::from((source, 0));
    socket.bind(&source.into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

/// Asks without reading until nothing more can be sent.
fn stuff(stream: &mut TcpStream, asks: &[u8]) {
    stream.set_nonblocking(true).unwrap();
    let mut rest = 0;
    let mut stuck = 0;
    // The edge reads on for as long as its responses go somewhere.
    while stuck < 20 {
        match stream.write(&asks[rest..]) {
            Ok(count) => {
                rest = (rest + count) % asks.len();
                stuck = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                stuck += 1;
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn a_client_that_does_not_read_costs_little_and_is_cut_off_after_5_s() {
    let big = format!("big: {{ TXT: ['{}'] }}", "x".repeat(60_000));
    let edge = Edge::start(&yaml("edge", &big));
    let asks = query("big.example.com", TXT, &[]);
    let length = u16::try_from(asks.len()).unwrap();
    let asks = [&length.to_be_bytes(), &asks[..]].concat();
    let server = edge.address("dns");
    // So many that what the process does besides does not matter.
    let mut streams: Vec<TcpStream> = (0..64)
        .map(|i| unready_to_read([127, 0, 0, 2 + i % 4], server))
        .collect();
    let before = edge.process.resident_kib();
    let began = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    std::thread::scope(|scope| {
        for stream in &mut streams {
            scope.spawn(|| stuff(stream, &asks));
        }
    });
    // Each holds what was read of its queries, and responses up to the one that passes 64 KiB.
    let grown = edge.process.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 512, "{grown} KiB for 64 clients");
    for stream in &mut streams {
        stream.set_nonblocking(true).unwrap();
    }
    // Cut off: nothing can be written any more, not even after reading what is there.
    let is_cut_off = |stream: &mut TcpStream| {
        let written = stream.write(&asks[..1]);
        written.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    };
    let mut left = streams;
    assert!(wait_until(|| {
        left.retain_mut(|stream| !is_cut_off(stream));
        left.is_empty()
    }));
    let tcp = |reason| {
        let labels = ["transport=\"tcp\"", reason];
        edge.counted("meridian_dns_dropped_total", &labels)
    };
    assert!(wait_until(|| tcp("reason=\"unsent\"") >= 64));
    let took = (SystemTime::UNIX_EPOCH.elapsed().unwrap() - began).as_secs_f64();
    assert!((4.5..10.0).contains(&took), "{took} s");
}

#[test]
fn what_a_connection_does_not_finish_is_counted() {
    let edge =
        Edge::start(&yaml("edge", "").replace("listen: {", "listen: { dns_tls: ['127.0.0.1:0'],"));
    let counted = |transport: &str, reason: &str| {
        let labels = [
            format!("transport=\"{transport}\""),
            format!("reason=\"{reason}\""),
        ];
        edge.counted(
            "meridian_dns_dropped_total",
            &labels.each_ref().map(|l| &**l),
        )
    };
    let say = |protocol: &str, words: &[u8]| {
        let mut stream = TcpStream::connect(edge.address(protocol)).unwrap();
        stream.write_all(words).unwrap();
    };
    // A connection that says nothing leaves nothing out.
    say("dns", b"");
    say("dns", b"\x00\x20half of it");
    say("dns_tls", b"GET / HTTP/1.0\r\n\r\n");
    assert!(wait_until(|| {
        counted("tcp", "incomplete") == 1 && counted("tls", "handshake") == 1
    }));
    assert_eq!(counted("tls", "incomplete"), 0);
}
