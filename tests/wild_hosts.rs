//! A service that takes whatever name clients ask for below its own: what they name costs nobody else anything.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Edge, Origin, TlsOrigin, certificate, raw_origin, read_head};

/// An edge in front of one origin, and how many connections that has had.
fn edge() -> (Edge, Arc<AtomicUsize>) {
    let connections = Arc::<AtomicUsize>::default();
    let counted = connections.clone();
    let origin = raw_origin(move |mut stream, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        loop {
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            if stream.get_mut().write_all(answer).is_err() || read_head(&mut stream).is_empty() {
                return;
            }
        }
    });
    let edge = Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve }}
regions: {{ eu: {{ origins: ['http://{origin}'] }} }}
services: {{ any: {{ hosts: ['*.example.com'], steering: {{ policy: priority }}, health: {{ path: /health }} }} }}
"
    ));
    (edge, connections)
}

/// The status that a request for this host gets on a connection.
fn ask(client: &mut BufReader<TcpStream>, host: &str) -> u16 {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    client.get_mut().write_all(request.as_bytes()).unwrap();
    let head = read_head(client);
    head.split(' ').nth(1).unwrap_or(&head).parse().unwrap()
}

#[test]
fn names_without_end_share_the_connections_to_an_origin() {
    let (edge, connections) = edge();
    let client = TcpStream::connect(edge.address("http")).unwrap();
    let mut client = BufReader::new(client);
    for number in 0..500 {
        assert_eq!(ask(&mut client, &format!("n{number}.example.com")), 204);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_no_name_of_dns_is_no_host() {
    let (edge, connections) = edge();
    for label in ["a".repeat(64), "a.".repeat(121), "a.".to_owned()] {
        let client = TcpStream::connect(edge.address("http")).unwrap();
        let host = format!("{label}.example.com");
        assert_eq!(ask(&mut BufReader::new(client), &host), 400, "{host}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[test]
fn names_that_an_origin_has_no_certificate_for_speak_not_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "near", "here.example.com");
    let (near, far) = (TlsOrigin::start(&cert, &key, &[]), Origin::start("far"));
    let edge = Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
tls: {{ origins: {{ ca: '{}' }} }}
regions:
  near: {{ origins: ['https://127.0.0.1:{}'] }}
  far: {{ origins: ['{}'] }}
services:
  any:
    hosts: ['*.example.com']
    steering: {{ policy: priority }}
    health: {{ protocol: tcp, interval: 1s, passive: {{ consecutive_failures: 2 }} }}
",
        cert.display(),
        near.port,
        far.url()
    ));
    let ask = |host: &str| {
        let mut client = TcpStream::connect(edge.address("http")).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said
    };
    for host in ["a.here.example.com", "there.example.com", "x!y.example.com"] {
        for _ in 0..3 {
            let said = ask(host);
            assert!(said.ends_with("\r\n\r\nfar"), "{host}: {said}");
        }
    }
    assert!(ask("here.example.com").contains("s_server"));
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    let near = &status["regions"][0]["services"][0];
    assert_eq!(near["health"], "healthy", "{status}");
    assert!(near["origins"][0]["ejected"].is_null(), "{status}");
}
