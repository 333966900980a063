//! Clients that do not read: what they cost, and how long.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::clear::{GET, connect, get, yaml};
use support::frames::{END_STREAM, FrameClient, GOAWAY, RST_STREAM, open, request};
use support::{Edge, Origin, meridian, raw_origin, read_head, run, wait_until};

/// An origin that answers with as many bytes as are taken, and counts who is connected.
fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
    let connected: Arc<AtomicUsize> = Arc::default();
    let counted = connected.clone();
    let address = raw_origin(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
        let mut written = stream.get_mut().write_all(head);
        while written.is_ok() {
            written = stream.get_mut().write_all(&[b'x'; 64 << 10]);
        }
        counted.fetch_sub(1, Ordering::SeqCst);
    });
    (address, connected)
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory_and_are_given_up_after_idle() {
    let (origin, connected) = endless();
    let listen = "timeouts: { idle: 5s }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), listen, ""));
    let before = edge.process.resident_kib();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = connect(&edge);
            client.get_mut().write_all(GET.as_bytes()).unwrap();
            client
        })
        .collect();
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 50));
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 0));
    let grown = edge.process.resident_kib().saturating_sub(before);
    println!("{} KiB for each client that does not read", grown / 50);
    assert!(grown / 50 < 1536, "{grown} KiB");
    drop(clients);
}

#[test]
fn an_edge_that_holds_as_much_memory_as_it_may_sheds_requests_until_clients_let_go() {
    let (origin, _) = endless();
    let quiet = Origin::start("o");
    let config = |memory: u64| {
        format!(
            "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0', limits: {{ memory: {memory}KiB }} }}
regions: {{ here: {{ origins: ['http://{origin}'] }}, there: {{ origins: ['{}'] }} }}
services:
  www: {{ hosts: [www.example.com], regions: [there], health: {{ protocol: tcp }} }}
  endless: {{ hosts: [endless.example.com], regions: [here], health: {{ protocol: tcp }} }}
",
            quiet.url()
        )
    };
    let edge = Edge::start(&config(0));
    // Files that are mapped are no part of what may be held, so that this is about 50 MiB above what an edge at rest holds.
    let may_grow = 16 << 10;
    edge.write(&config(edge.process.resident_kib() + may_grow));
    let status = || edge.admin("GET", "/api/v1/status", "").1;
    assert!(wait_until(|| status()["config"]["generation"] == 2));
    assert!(wait_until(|| get(&mut connect(&edge)) == Some(200)));
    let greedy: Vec<_> = (0..500)
        .map(|_| {
            let mut client = connect(&edge);
            let get = GET.replace("www", "endless");
            client.get_mut().write_all(get.as_bytes()).unwrap();
            client
        })
        .collect();
    assert!(wait_until(|| get(&mut connect(&edge)) == Some(503)));
    let admin = format!("http://{}", edge.address("admin"));
    let told = || {
        let said = run(meridian().args(["events", "--admin", &admin])).stdout;
        String::from_utf8(said).unwrap()
    };
    assert!(
        told().contains("over listen.limits.memory of"),
        "{}",
        told()
    );
    drop(greedy);
    assert!(wait_until(|| get(&mut connect(&edge)) == Some(200)));
    assert!(wait_until(
        || told().contains("memory is below listen.limits.memory again")
    ));
}

#[test]
fn a_stream_whose_client_grants_no_window_is_reset_after_idle_and_the_connection_lives_on() {
    let (origin, connected) = endless();
    let other = Origin::start("o");
    let config = format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0', timeouts: {{ idle: 2s }} }}
regions: {{ here: {{ origins: ['http://{origin}'] }}, there: {{ origins: ['{}'] }} }}
services:
  www: {{ hosts: [www.example.com], regions: [here], health: {{ protocol: tcp }} }}
  api: {{ hosts: [api.example.com], regions: [there], health: {{ protocol: tcp }} }}
",
        other.url()
    );
    let edge = Edge::start(&config);
    let before = edge.process.resident_kib();
    let mut client = FrameClient::connect(edge.address("https"));
    let streams = || (1..200_u32).step_by(2);
    for stream in streams() {
        client
            .send(&open(stream, &request("GET", "/"), END_STREAM))
            .unwrap();
    }
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 100));
    let grown = edge.process.resident_kib().saturating_sub(before);
    println!("{} KiB for each stream that nobody reads", grown / 100);
    assert!(grown / 100 < 768, "{grown} KiB");
    let mut left: std::collections::HashSet<u32> = streams().collect();
    while !left.is_empty() {
        let frame = client.read().unwrap();
        if frame.kind == RST_STREAM {
            left.remove(&frame.stream);
        }
        assert_ne!(frame.kind, GOAWAY);
    }
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 0));
    let mut api = request("HEAD", "/");
    api[2].1 = b"api.example.com".to_vec();
    client.send(&open(201, &api, END_STREAM)).unwrap();
    assert_eq!(client.fate(201), support::frames::Fate::Answered(200));
}

/// An HTTP/2 origin without TLS that answers `/endless` with as much as is taken, and all else with a word.
fn endless_http2() -> (SocketAddr, tokio::runtime::Runtime) {
    use axum::body::Body;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listening).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let answer = |request: http::Request<hyper::body::Incoming>| async move {
            let chunk =
                || Ok::<_, std::convert::Infallible>(bytes::Bytes::from(vec![b'x'; 16 << 10]));
            let body = if request.uri().path() == "/endless" {
                Body::from_stream(futures_util::stream::repeat_with(chunk))
            } else {
                Body::from("ok")
            };
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        };
        while let Ok((stream, _)) = listener.accept().await {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    (address, runtime)
}

#[test]
fn clients_that_do_not_read_hold_up_nobody_else_on_the_same_http2_origin() {
    let (origin, _runtime) = endless_http2();
    let edge = Edge::start(&yaml(&format!("h2c://{origin}"), "", ""));
    let mut deaf: Vec<_> = (0..40).map(|_| connect(&edge)).collect();
    for client in &mut deaf {
        let endless = "GET /endless HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        client.get_mut().write_all(endless.as_bytes()).unwrap();
        assert!(read_head(client).starts_with("HTTP/1.1 200"));
    }
    for _ in 0..40 {
        let answer = edge.curl("www.example.com", "/", &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
}
