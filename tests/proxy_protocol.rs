//! The PROXY protocol of a real edge: from trusted proxies, HAProxy and curl among them, and to origins.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Edge, Haproxy, Origin, read_head, run, wait_until};

/// A client that no proxy of ours is.
const CLIENT: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 5000 443\r\n";

const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";

fn yaml(listen: &str, regions: &str, service: &str) -> String {
    format!(
        "node: {{ name: fra-1 }}
listen:
  https: ['127.0.0.1:0']
  http: ['127.0.0.1:0']
  http_mode: serve
  admin: '127.0.0.1:0'
  timeouts: {{ handshake: 1s }}
  {listen}
access_log: {{ to: access.log }}
tls: {{ origins: {{ verify: false }} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
{regions}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
{service}"
    )
}

/// An edge before one origin that says whom it is told of.
struct Face {
    edge: Edge,
    origin: Origin,
}

impl Face {
    fn start(listen: &str) -> Self {
        let origin = Origin::start("here");
        origin.set_answer(|seen| {
            let told = seen.header("x-forwarded-for").to_owned();
            axum::response::Response::new(format!("for {told}").into())
        });
        let regions = format!(
            "  here: {{ location: [0, 0], origins: ['{}'] }}",
            origin.url()
        );
        let edge = Edge::start(&yaml(listen, &regions, ""));
        Self { edge, origin }
    }

    /// All that comes back until the edge ends the connection.
    fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.edge.address("http")).unwrap();
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).unwrap();
        let _ = stream.write_all(bytes);
        let mut said = Vec::new();
        match stream.read_to_end(&mut said) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the connection stays open")
            }
            Ok(_) | Err(_) => {}
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    fn headers(&self, result: &str) -> u64 {
        let label = format!("result=\"{result}\"");
        self.edge.counted("meridian_proxy_headers_total", &[&label])
    }
}

/// The first line of the access log, once it is there.
#[track_caller]
fn first_line(edge: &Edge) -> serde_json::Value {
    let log = edge.folder.path().join("access.log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(wait_until(|| read().contains('\n')));
    serde_json::from_str(read().lines().next().unwrap()).unwrap()
}

#[track_caller]
fn check_client(said: &str, client: &str) {
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(said.ends_with(&format!("for {client}")), "{said}");
}

/// A header of version 2 for 203.0.113.7.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    header.extend_from_slice(&[203, 0, 113, 7, 192, 0, 2, 1, 0x13, 0x88, 0x01, 0xbb]);
    header.extend_from_slice(b"\x04\0\0"); // An extension that says nothing.
    header
}

#[test]
fn a_trusted_proxy_s_header_says_who_the_client_is() {
    let face = Face::start("trusted_proxies: [127.0.0.0/8]");
    check_client(&face.say([CLIENT, GET].concat().as_bytes()), "203.0.113.7");
    check_client(
        &face.say(&[&binary(), GET.as_bytes()].concat()),
        "203.0.113.7",
    );
    let six = "PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n";
    check_client(&face.say([six, GET].concat().as_bytes()), "2001:db8::7");
    // Nobody is spoken for: the connection's own address counts.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    check_client(
        &face.say(["PROXY UNKNOWN\r\n", GET].concat().as_bytes()),
        "127.0.0.1",
    );
    check_client(&face.say(&[local, GET.as_bytes()].concat()), "127.0.0.1");
    // None is needed unless it is required.
    check_client(&face.say(GET.as_bytes()), "127.0.0.1");
    assert_eq!((face.headers("passed"), face.headers("own")), (3, 2));
    let line = first_line(&face.edge);
    assert_eq!(line["client"], "203.0.113.7", "{line:#}");
    assert!(
        line["peer"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{line:#}"
    );
}

#[test]
fn a_header_in_pieces_is_the_same_header() {
    let face = Face::start("trusted_proxies: [127.0.0.0/8]");
    let mut stream = TcpStream::connect(face.edge.address("http")).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in [CLIENT, GET].concat().as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    check_client(&said, "203.0.113.7");
}

#[test]
fn nobody_else_s_header_is_believed() {
    for listen in [
        "",
        "trusted_proxies: [10.0.0.0/8]",
        "trusted_proxies: [10.0.0.0/8]\n  proxy_protocol: required",
        "trusted_proxies: [127.0.0.0/8]\n  proxy_protocol: off",
    ] {
        let face = Face::start(listen);
        let said = face.say([CLIENT, GET].concat().as_bytes());
        assert!(said.starts_with("HTTP/1.1 400 "), "{listen}: {said}");
        let said = face.say(&[&binary(), GET.as_bytes()].concat());
        assert!(!said.contains("200 OK"), "{listen}: {said}");
        check_client(&face.say(GET.as_bytes()), "127.0.0.1");
        assert_eq!(face.headers("passed"), 0);
        assert!(face.origin.seen().len() == 1, "{listen}");
    }
}

#[test]
fn where_it_is_required_a_trusted_proxy_without_one_is_closed() {
    let face = Face::start("trusted_proxies: [127.0.0.1/32]\n  proxy_protocol: required");
    assert_eq!(face.say(GET.as_bytes()), "");
    assert_eq!(face.headers("missing"), 1);
    check_client(&face.say([CLIENT, GET].concat().as_bytes()), "203.0.113.7");
    // Whoever is no proxy of ours has none to send.
    let url = format!("http://{}/", face.edge.address("http"));
    let curl = run(Command::new("curl").args([
        "-sS",
        "--interface",
        "127.0.0.2",
        "-H",
        "Host: www.example.com",
        &url,
    ]));
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "for 127.0.0.2");
    assert!(!face.origin.seen().is_empty());
}

#[test]
fn a_header_that_is_none_or_stalls_ends_the_connection() {
    let face = Face::start("trusted_proxies: [127.0.0.0/8]");
    let mut wrong_sum = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13".to_vec();
    wrong_sum.extend_from_slice(&[203, 0, 113, 7, 192, 0, 2, 1, 0x13, 0x88, 0x01, 0xbb]);
    wrong_sum.extend_from_slice(b"\x03\0\x04abcd");
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for header in [
        &b"PROXY TCP4 203.0.113.7 192.0.2.1 5000\r\n"[..],
        b"PROXY / HTTP/1.1\r\n",
        long.as_bytes(),
        &wrong_sum,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert_eq!(face.say(&[header, GET.as_bytes()].concat()), "");
    }
    assert_eq!(face.headers("malformed"), 5);
    assert_eq!(face.say(b"PROXY TCP4 203."), "");
    assert_eq!(face.headers("late"), 1);
    assert!(face.origin.seen().is_empty());
}

#[test]
fn steering_goes_by_the_client_that_the_header_names() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let regions = format!(
        "  near: {{ location: [0, 0], origins: ['{}'] }}\n  far: {{ location: [0, 0], origins: ['{}'] }}",
        near.url(),
        far.url()
    );
    let yaml = yaml("trusted_proxies: [127.0.0.0/8]", &regions, "").replace(
        "policy: priority",
        "policy: priority, overrides: [{ network: 203.0.113.0/24, prefer: [far] }]",
    );
    let face = Face {
        edge: Edge::start(&yaml),
        origin: near,
    };
    assert!(face.say(GET.as_bytes()).ends_with("near"));
    assert!(face.say([CLIENT, GET].concat().as_bytes()).ends_with("far"));
}

#[test]
fn curl_s_header_is_read_before_tls_and_in_clear() {
    let face = Face::start("trusted_proxies: [127.0.0.2/32]\n  proxy_protocol: required");
    for protocol in ["https", "http"] {
        let address = face.edge.address(protocol);
        let url = format!("{protocol}://www.example.com:{}/", address.port());
        let resolve = format!("www.example.com:{}:127.0.0.1", address.port());
        let mut command = Command::new("curl");
        command.args(["-sSk", "--interface", "127.0.0.2", "--haproxy-protocol"]);
        let told = run(command.args(["--resolve", &resolve, &url])).stdout;
        assert_eq!(String::from_utf8_lossy(&told), "for 127.0.0.2");
    }
    assert_eq!(face.headers("passed"), 2);
}

#[test]
fn haproxy_in_front_tells_of_its_clients_in_both_versions() {
    let face = Face::start("trusted_proxies: [127.0.0.1/32]\n  proxy_protocol: required");
    let mut passed = 0;
    for protocol in ["https", "http"] {
        let edge = face.edge.address(protocol);
        for option in [
            "send-proxy",
            "send-proxy-v2",
            "send-proxy-v2 proxy-v2-options crc32c",
        ] {
            let server = format!("server edge {edge} source 127.0.0.1 {option}");
            let front = Haproxy::start("tcp", "", &[&server]);
            let address = front.address;
            let url = format!("{protocol}://www.example.com:{}/", address.port());
            let resolve = format!("www.example.com:{}:127.0.0.1", address.port());
            let mut command = Command::new("curl");
            command.args(["-sSk", "--interface", "127.0.0.3"]);
            let told = run(command.args(["--resolve", &resolve, &url])).stdout;
            assert_eq!(
                String::from_utf8_lossy(&told),
                "for 127.0.0.3",
                "{protocol} {option}"
            );
            passed += 1;
        }
    }
    assert!(face.headers("passed") >= passed);
    assert_eq!(face.headers("malformed"), 0);
}

/// An origin that keeps what its connections begin with, and answers every request on them.
#[derive(Clone, Default)]
struct Witness {
    begun: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Witness {
    fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let witness = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let witness = witness.clone();
                std::thread::spawn(move || witness.serve(BufReader::new(stream)));
            }
        });
        address
    }

    /// Up to the request's own first line is what the connection begins with.
    fn serve(&self, mut stream: BufReader<TcpStream>) {
        let mut begun = Vec::new();
        while !begun.ends_with(b"GET ") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            begun.push(byte[0]);
        }
        begun.truncate(begun.len() - 4);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if !line.starts_with("/health ") {
            self.begun.lock().unwrap().push(begun);
        } else if begun != b"PROXY UNKNOWN\r\n" && begun != b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" {
            return; // A check that does not say that it is the edge's own.
        }
        while !read_head(&mut stream).is_empty() {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if stream.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    }
}

#[test]
fn an_origin_is_told_of_the_client_in_these_bytes_and_connections_are_not_shared() {
    for version in ["v1", "v2"] {
        let witness = Witness::default();
        let region = format!(
            "  here: {{ location: [0, 0], origins: ['http://{}'], proxy_protocol: {version} }}",
            witness.start()
        );
        let edge = Edge::start(&yaml("trusted_proxies: [127.0.0.0/8]", &region, ""));
        assert!(
            wait_until(|| {
                let (_, status) = edge.admin("GET", "/api/v1/status", "");
                status["regions"][0]["state"] == "healthy"
            }),
            "health checks begin with LOCAL or UNKNOWN"
        );
        let get = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        let ask = |stream: &mut BufReader<TcpStream>| {
            stream.get_mut().write_all(get.as_bytes()).unwrap();
            assert!(read_head(stream).starts_with("HTTP/1.1 200 "));
            stream.read_exact(&mut [0; 2]).unwrap();
        };
        let connect = |header: &[u8]| {
            let mut stream = TcpStream::connect(edge.address("http")).unwrap();
            stream.write_all(header).unwrap();
            BufReader::new(stream)
        };
        let mut first = connect(CLIENT.as_bytes());
        ask(&mut first);
        ask(&mut first);
        let mut second = connect(&binary());
        ask(&mut second);
        ask(&mut first);
        let begun = witness.begun.lock().unwrap().clone();
        assert_eq!(
            begun.len(),
            2,
            "one for each client's connection: {begun:?}"
        );
        for header in begun {
            if version == "v1" {
                assert_eq!(String::from_utf8(header).unwrap(), CLIENT);
            } else {
                let mut expected = binary();
                expected.truncate(28);
                expected[15] = 12;
                assert_eq!(header, expected);
            }
        }
        let own = connect(b"").into_inner();
        let (client, edge_end) = (own.local_addr().unwrap(), own.peer_addr().unwrap());
        ask(&mut BufReader::new(own));
        let told = witness.begun.lock().unwrap().last().unwrap().clone();
        if version == "v1" {
            let expected = format!(
                "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
                client.port(),
                edge_end.port()
            );
            assert_eq!(String::from_utf8(told).unwrap(), expected);
        } else {
            assert_eq!(told[24..26], client.port().to_be_bytes());
        }
    }
}

#[test]
fn connections_to_origins_end_with_the_client_s() {
    let witness = Witness::default();
    let listener = witness.start();
    let region = format!(
        "  here: {{ location: [0, 0], origins: ['http://{listener}'], proxy_protocol: v1 }}"
    );
    let edge = Edge::start(&yaml("", &region, "    health: { interval: 10m }\n"));
    let open = || {
        let port = format!(":{:04X}", listener.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let established = table.lines().filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[1].ends_with(&port) && fields[3] == "01"
        });
        established.count()
    };
    assert!(wait_until(|| open() == 0), "the health check is over");
    let mut client = TcpStream::connect(edge.address("http")).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    client.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(open(), 1, "kept for this client's next request");
    drop(client);
    assert!(wait_until(|| open() == 0));
}

#[test]
fn haproxy_as_the_origin_takes_both_versions_before_tls_and_in_clear() {
    for (scheme, bind) in [
        ("http", "accept-proxy"),
        (
            "https",
            "accept-proxy ssl crt FOLDER/both.pem alpn h2,http/1.1",
        ),
    ] {
        let answer =
            "http-request return status 200 content-type text/plain lf-string \"%[src] %[dst]\"";
        let behind = Haproxy::start("http", bind, &[answer]);
        for version in ["v1", "v2"] {
            let region = format!(
                "  here: {{ location: [0, 0], origins: ['{scheme}://{}'], proxy_protocol: {version} }}",
                behind.address
            );
            let edge = Edge::start(&yaml("trusted_proxies: [127.0.0.1/32]", &region, ""));
            assert!(
                wait_until(|| {
                    let (_, status) = edge.admin("GET", "/api/v1/status", "");
                    status["regions"][0]["state"] == "healthy"
                }),
                "HAProxy takes the header of health checks"
            );
            let own = edge.curl("www.example.com", "/", &["--interface", "127.0.0.2"]);
            assert_eq!(own.body, "127.0.0.2 127.0.0.1", "{scheme} {version}");
            let line = first_line(&edge);
            let tls = line["phases"]["tls_ms"].as_f64().unwrap();
            assert_eq!(tls > 0.0, scheme == "https", "{line:#}");
            assert!(line["phases"]["connect_ms"].as_f64().unwrap() > 0.0);
            let face = Face {
                edge,
                origin: Origin::start("unused"),
            };
            let six = "PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n";
            let said = face.say([six, GET].concat().as_bytes());
            assert!(said.ends_with("2001:db8::7 2001:db8::1"), "{said}");
        }
    }
}

#[test]
fn health_checks_go_by_a_header_that_a_reload_gives_or_takes() {
    let answer = "http-request return status 200";
    let behind = Haproxy::start("http", "accept-proxy", &[answer]);
    let yaml = |header: &str| {
        let region = format!(
            "  here: {{ location: [0, 0], origins: ['http://{}'] {header} }}",
            behind.address
        );
        yaml("", &region, "    health: { interval: 300ms }")
    };
    let edge = Edge::start(&yaml(""));
    let becomes = |health: &str| {
        wait_until(|| edge.admin("GET", "/api/v1/status", "").1["regions"][0]["state"] == health)
    };
    assert!(becomes("unhealthy"));
    edge.write(&yaml(", proxy_protocol: v2"));
    assert!(becomes("healthy"));
    edge.write(&yaml(""));
    assert!(becomes("unhealthy"));
}
