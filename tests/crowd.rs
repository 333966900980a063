//! A crowd of idle and of slow clients: real connections by the thousand, and somebody else who is served all the
//! while.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Edge, Origin, trusting_anybody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const IDLE: usize = 10_000;
const SLOW: usize = 1_000;

/// What an idle connection over TLS may cost, KiB of resident memory.
const KIB_OF_AN_IDLE_ONE: usize = 72;

/// What a slow request over TLS may cost, KiB.
const KIB_OF_A_SLOW_ONE: usize = 96;

/// Handshakes at once.
const AT_ONCE: usize = 64;

type Client = TlsStream<TcpStream>;

/// The `number`-th client: every thousand has an address of its own, so that ports do not run out.
async fn connect(target: SocketAddr, number: usize, tls: &TlsConnector) -> Client {
    let last = u8::try_from(number / 1_000).unwrap() + 2;
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
        .unwrap();
    let stream = socket.connect(target).await.unwrap();
    let name = "www.example.com".try_into().unwrap();
    tls.connect(name, stream).await.unwrap()
}

/// Clients that have said this and got as many bytes of an answer as this, from the `first`-th on.
async fn crowd(
    target: SocketAddr,
    numbers: std::ops::Range<usize>,
    text: &'static str,
    wants_answer: bool,
) -> Vec<Client> {
    let tls = trusting_anybody(&[b"http/1.1"]);
    let (at_once, mut all) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for number in numbers {
        let permit = at_once.clone().acquire_owned().await.unwrap();
        let tls = tls.clone();
        all.spawn(async move {
            let mut client = connect(target, number, &tls).await;
            client.write_all(text.as_bytes()).await.unwrap();
            client.flush().await.unwrap();
            if wants_answer {
                let mut answer = vec![0; 12];
                client.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, b"HTTP/1.1 200");
            }
            drop(permit);
            client
        });
    }
    all.join_all().await
}

/// Requests of somebody else, on new connections, all of which must be answered.
fn somebody_else(edge: &Edge, when: &str) {
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let answer = edge.curl("www.example.com", "/", &[]);
        assert_eq!(answer.status, 200, "{when}: {}", answer.head);
    }
    println!("{when}: 20 requests took {:?}", began.elapsed());
}

fn kib_each(edge: &Edge, before: u64, count: usize) -> usize {
    let grown = edge.process.resident_kib().saturating_sub(before);
    usize::try_from(grown).unwrap() / count
}

#[test]
fn ten_thousand_idle_tls_connections_and_a_thousand_slow_senders_starve_nobody() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let origin = Origin::start("o");
    let limits = "connections: 20000, requests: 20000";
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0', timeouts: {{ headers: 10m, idle: 10m }}, limits: {{ {limits} }} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], timeouts: {{ idle: 10m }} }} }}
",
        origin.url()
    ));
    let (runtime, https) = (Runtime::new().unwrap(), edge.address("https"));
    somebody_else(&edge, "alone");
    let before = edge.process.resident_kib();
    let get = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    let idle = runtime.block_on(crowd(https, 0..IDLE, get, true));
    let of_idle = kib_each(&edge, before, IDLE);
    println!("an idle connection costs {of_idle} KiB");
    somebody_else(&edge, "beside the idle");
    let before = edge.process.resident_kib();
    let head = "GET / HTTP/1.1\r\nHost: www.exam";
    let body = "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1000000\r\n\r\nx";
    let half = IDLE + SLOW / 2;
    let slow_heads = runtime.block_on(crowd(https, IDLE..half, head, false));
    let slow_bodies = runtime.block_on(crowd(https, half..IDLE + SLOW, body, false));
    somebody_else(&edge, "beside all");
    let of_slow = kib_each(&edge, before, SLOW);
    println!("a slow sender costs {of_slow} KiB");
    assert_eq!(
        edge.counted("meridian_http_connections", &[]),
        u64::try_from(IDLE + SLOW).unwrap(),
        "all of them are still there"
    );
    assert!(of_idle <= KIB_OF_AN_IDLE_ONE, "{of_idle} KiB");
    assert!(of_slow <= KIB_OF_A_SLOW_ONE, "{of_slow} KiB");
    assert_eq!(edge.counted("meridian_http_problems_total", &[]), 0);
    runtime.shutdown_timeout(Duration::ZERO);
    drop((idle, slow_heads, slow_bodies));
}
